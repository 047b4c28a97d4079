from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emotion_circuits.errors import InputError
from emotion_circuits.prompts import SPLITS, bank, read_dataset

CLASSES = bank().names

texts = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=30).filter(str.strip)
rows = st.fixed_dictionaries(
    {
        "text": texts,
        "emotion": st.sampled_from(CLASSES),
        "scenario": st.integers(0, 9),
        "split": st.sampled_from(SPLITS),
    }
)


def write_lines(folder: Path, *lines: object) -> Path:
    path = folder / "own.jsonl"
    path.write_text("\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines), encoding="utf-8")
    return path


def write_classes(folder: Path, suffix: str = "", **files: object) -> Path:
    for emotion, content in files.items():
        (folder / f"{emotion}_prompts{suffix}.json").write_text(json.dumps(content))
    return folder


def refused(path: Path, *parts: str, **options: str) -> None:
    with pytest.raises(InputError) as error:
        read_dataset(path, **options)
    assert len(str(error.value).splitlines()) <= 4
    for part in parts:
        assert part in str(error.value)


@given(st.lists(rows, min_size=1, max_size=8))
def test_a_jsonl_file_keeps_every_field_and_the_order(lines):
    with tempfile.TemporaryDirectory() as folder:
        # Unescaped, so that characters which only look like line ends are in the file itself.
        path = write_lines(Path(folder), *(json.dumps(line, ensure_ascii=False) for line in lines))
        read = read_dataset(path)
    assert [(t.text, t.emotion, t.scenario, t.split) for t in read] == [
        (r["text"], r["emotion"], str(r["scenario"]), r["split"]) for r in lines
    ]


def test_spans_and_unknown_fields(tmp_path):
    line = {"text": "I am sorry.", "emotion": "apology", "lang": "en", "span": [5, 10]}
    (text,) = read_dataset(write_lines(tmp_path, line))
    assert text.marked_word == "sorry"


def test_equal_classes_without_scenarios_are_matched_row_by_row(tmp_path):
    folder = write_classes(tmp_path, **{c: {"prompts": [f"{c} a", f"{c} b"]} for c in CLASSES})
    read = read_dataset(folder)
    assert read.is_matched
    assert [t.text for t in read] == [f"{c} {row}" for row in "ab" for c in CLASSES]
    mixed = write_lines(tmp_path, *({"text": t.text, "emotion": t.emotion} for t in reversed(read.texts)))
    assert read_dataset(mixed).is_matched


def test_unequal_classes_without_scenarios_are_not_matched(tmp_path):
    folder = write_classes(tmp_path, neutral={"prompts": ["a", "b"]}, anger={"prompts": ["c"]})
    read = read_dataset(folder)
    assert len(read.scenarios) == len(read) == 3
    with pytest.raises(InputError, match="matched contrast"):
        read.require_matched("the matched contrast")


def test_two_of_five_scenarios_are_for_development_and_none_is_split(tmp_path):
    folder = write_classes(tmp_path, **{c: {"prompts": [f"{c} {i}" for i in range(10)]} for c in CLASSES})
    read = read_dataset(folder)
    development = read.select(split="development").scenarios
    assert development == ("1", "2", "6", "7")
    assert not set(development) & set(read.select(split="test").scenarios)


def test_a_profile_chooses_among_the_files_of_a_folder(tmp_path):
    write_classes(tmp_path, "_extended", anger={"prompts": ["long"]})
    assert [t.text for t in read_dataset(tmp_path)] == ["long"]
    write_classes(tmp_path, anger={"prompts": ["short"]})
    assert [t.text for t in read_dataset(tmp_path)] == ["short"]
    assert [t.text for t in read_dataset(tmp_path, "extended")] == ["long"]
    assert [t.text for t in read_dataset(tmp_path / "anger_prompts_extended.json")] == ["long"]
    refused(tmp_path, "unknown profile", profile="huge")


BAD_LINES = [
    ('{"text": "a"', "not JSON"),
    ('["a"]', "line 2"),
    ('{"emotion": "anger"}', "text"),
    ('{"text": 3, "emotion": "anger"}', "text"),
    ('{"text": "  ", "emotion": "anger"}', "empty"),
    ('{"text": "a", "emotion": "Joy!"}', "emotion"),
    ('{"text": "a", "emotion": "anger", "span": [0, 9]}', "span"),
    ('{"text": "a", "emotion": "anger", "span": [0]}', "span"),
    ('{"text": "a", "emotion": "anger", "split": "train"}', "split"),
    ('{"text": "a", "emotion": "anger", "scenario": 3}', "scenario"),
    ('{"text": "a", "emotion": "anger", "split": "test"}', "split"),
]


@pytest.mark.parametrize(("line", "named"), BAD_LINES)
def test_malformed_lines_are_named(tmp_path, line, named):
    refused(write_lines(tmp_path, {"text": "good", "emotion": "anger"}, line), "own.jsonl, line 2", named)


BAD_FILES = [
    ({"texts": []}, "prompts"),
    (["a"], "anger_prompts.json"),
    ({"prompts": "a"}, "prompts"),
    ({"prompts": ["a", 3]}, "prompts.1"),
    ({"prompts": ["a", " "]}, "prompt 2"),
    ({"prompts": ["a"], "spans": []}, "parallel"),
    ({"prompts": ["a"], "scenarios": [1, 2]}, "parallel"),
    ({"prompts": ["a"], "scenarios": [1]}, "every class file or in none"),
    ({"prompts": ["a"], "spans": [[0, 5]]}, "span"),
]


@pytest.mark.parametrize(("content", "named"), BAD_FILES)
def test_malformed_class_files_are_named(tmp_path, content, named):
    refused(write_classes(tmp_path, neutral={"prompts": ["a"]}, anger=content), "anger_prompts.json", named)


def test_what_is_no_data_set_is_refused(tmp_path):
    refused(tmp_path / "missing.jsonl", "missing.jsonl", "prompts build")
    refused(tmp_path, "no class files")
    (tmp_path / "notes.txt").write_text("x")
    refused(tmp_path / "notes.txt", "notes.txt")
    refused(write_lines(tmp_path), "no texts")
    (tmp_path / "own.jsonl").write_bytes(b'{"text": "\xff"}')
    refused(tmp_path / "own.jsonl", "UTF-8")
    (tmp_path / "anger_prompts.json").write_text('{\n"prompts": [}')
    refused(tmp_path, "anger_prompts.json, line 2")
