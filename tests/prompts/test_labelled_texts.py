"""Texts that others have labelled: tables, JSON lines and GoEmotions' official files."""

from __future__ import annotations

import csv
import json
import random
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emotion_circuits.errors import InputError
from emotion_circuits.prompts import GO_EMOTIONS, LabelledTexts, bank, read_labelled

COMMENTS = Path(__file__).parents[1] / "data" / "comments.jsonl"
BANK = bank()
WRITERS = {".csv": ",", ".tsv": "\t"}

cells = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=30)
labels = st.lists(st.sampled_from(["gratitude", "Thanks", "anger", "remorse", "neutral", "love", "7"]), max_size=3)
rows = st.lists(st.tuples(cells, labels), min_size=1, max_size=12)


def write(path: Path, table: list[tuple[str, list[str]]], column: str = "emotion") -> Path:
    """The same rows in the format of the suffix."""
    if path.suffix == ".jsonl":
        lines = [json.dumps({"text": text, column: own}, ensure_ascii=False) for text, own in table]
        path.write_text("\n".join(lines), "utf-8")
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=WRITERS[path.suffix])
            writer.writerows([("text", column), *((text, ", ".join(own)) for text, own in table)])
    return path


def read(table: list[tuple[str, list[str]]], suffix: str = ".jsonl", **options: object) -> LabelledTexts | str:
    """What is read of these rows, or why nothing is."""
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / f"table{suffix}", table)
        try:
            return read_labelled(path, BANK, **options)  # type: ignore[arg-type]
        except InputError as error:
            return str(error).replace(str(path), "the file")


@settings(max_examples=40)
@given(rows, st.randoms(use_true_random=False))
def test_every_format_gives_the_same_texts_in_whatever_order_they_stand(
    table: list[tuple[str, list[str]]], chance: random.Random
) -> None:
    found = read(table)
    shuffled = chance.sample(table, len(table))
    assert [read(table, ".csv"), read(table, ".tsv"), read(shuffled)] == [found] * 3


@given(rows)
def test_every_row_is_a_text_of_the_one_class_it_means_or_counted_among_the_others(
    table: list[tuple[str, list[str]]],
) -> None:
    meaning = {
        "gratitude": "gratitude",
        "Thanks": "gratitude",
        "anger": "anger",
        "remorse": "apology",
        "neutral": "neutral",
    }
    found = read(table)
    means = {text.strip(): {meaning[own] for own in labels if own in meaning} for text, labels in table}
    if isinstance(found, str):
        assert "has no texts of this study's emotions" in found and "gratitude (gratitude, grateful" in found
        return
    assert len(found.data) + sum(found.left_out.values()) == len(table)
    for text in found.data:
        assert text.split == "test" and text.span is None
        if sum(row.strip() == text.text for row, _ in table) == 1:
            assert means[text.text] == {text.emotion}
    assert len({text.scenario for text in found.data}) == len(found.data)


@settings(max_examples=25)
@given(st.integers(1, 9), st.integers(0, 3), st.permutations(range(30)))
def test_a_draw_is_of_each_class_and_depends_on_the_seed_only(most: int, seed: int, order: list[int]) -> None:
    table = [(f"text {k}", ["anger" if k % 3 else "gratitude"]) for k in range(30)]
    found = read([table[k] for k in order], most=most, seed=seed)
    assert found == read(table, most=most, seed=seed)
    assert Counter(text.emotion for text in found.data) == {"anger": most, "gratitude": most}
    assert found.left_out == {"not drawn": 30 - 2 * most}
    more = read(table, most=most + 1, seed=seed)
    assert {text.text for text in found.data} < {text.text for text in more.data}


def test_comments_of_every_class_of_a_study() -> None:
    found = read_labelled(COMMENTS, bank(["joy", "fear"]), {"sadness": "fear"})
    assert Counter(text.emotion for text in found.data) == {"neutral": 15, "joy": 15, "fear": 30}
    assert str(found) == "15 neutral, 15 joy, 30 fear; left out: 45 of other labels"
    assert read_labelled(COMMENTS, bank(["joy", "fear"]), {"neutral": "other"}).left_out == {"of other labels": 75}


def test_go_emotions_is_known_by_its_shape(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    lines = [
        "thx a lot, [NAME]! \t15\ted00abc",
        "i love it, thank u\t18,15\ted00abd",
        "so sorry\t24\ted00abe",
        '"""no"" he said. ""thats mine"""\t2\ted00abf',
        '"stop" it\t2\ted00abg',
        "its on monday\t27\ted00abh",
        "nice\t0,1\ted00abi",
        "\t15\ted00abj",
        "glad and mad\t15,2\ted00abk",
    ]
    path.write_text("\r\n".join(lines) + "\n", "utf-8")
    found = read_labelled(path, BANK)
    assert {(text.text, text.emotion) for text in found.data} == {
        ("thx a lot, [NAME]!", "gratitude"),
        ("i love it, thank u", "gratitude"),
        ("so sorry", "apology"),
        ('"no" he said. "thats mine"', "anger"),
        ('"stop" it', "anger"),
        ("its on monday", "neutral"),
    }
    assert found.left_out == {"empty": 1, "of other labels": 1, "of several classes": 1}
    mapped = read_labelled(path, BANK, {"Admiration": "gratitude", "amusement": "other"})
    assert any((text.text, text.emotion) == ("nice", "gratitude") for text in mapped.data)
    path.write_text("\n".join([*lines, "a line\twithout\tnumbers"]), "utf-8")
    with pytest.raises(InputError, match="line 10: not a line of GoEmotions"):
        read_labelled(path, BANK)
    path.write_text("\n".join([*lines, "too high\t28\ted00abl"]), "utf-8")
    with pytest.raises(InputError, match="line 10"):
        read_labelled(path, BANK)
    assert (len(GO_EMOTIONS), GO_EMOTIONS[15], GO_EMOTIONS[24], GO_EMOTIONS[27]) == (
        28,
        "gratitude",
        "remorse",
        "neutral",
    )


def test_repeated_texts_and_those_of_the_bank_are_left_out() -> None:
    own = BANK["anger"].explicit[0].text
    table = [
        ("Ta!", ["thanks"]),
        ("ta!", ["gratitude"]),
        ("TA!  ", ["gratitude"]),
        ("hm", ["anger"]),
        ("Hm", ["neutral"]),
    ]
    found = read([*table, (own, ["anger"]), (own.upper(), ["anger"]), (" ", ["anger"]), ("what", [])])
    assert not isinstance(found, str)
    assert [(text.text, text.emotion) for text in found.data] == [("TA!", "gratitude")]
    assert found.left_out == {
        "empty": 1, "of other labels": 1, "repeated": 2, "repeated under another class": 2,
        "that the study has itself": 2,
    }  # fmt: skip


def test_a_name_is_stronger_than_a_synonym_and_a_mapping_than_both(tmp_path: Path) -> None:
    pairs = "".join(f"- [I grieve for number {k}., I call number {k}.]\n" for k in range(20))
    (tmp_path / "grief.yaml").write_text(f"name: grief\npairs:\n{pairs}")
    both = bank(["sadness", tmp_path / "grief.yaml"])  # which is a synonym of sadness
    path = write(tmp_path / "t.csv", [("gone", ["grief"]), ("lost", ["sorrow"])], "labels")
    assert [text.emotion for text in read_labelled(path, both).data] == ["sadness", "grief"]
    assert {text.emotion for text in read_labelled(path, both, {"GRIEF ": "sadness"}).data} == {"sadness"}


@pytest.mark.parametrize("column", ["emotion", "label", "labels"])
def test_columns_of_labels(tmp_path: Path, column: str) -> None:
    for suffix in (*WRITERS, ".jsonl"):
        found = read_labelled(write(tmp_path / f"t{suffix}", [("ta", ["thanks"])], column), BANK)
        assert [text.emotion for text in found.data] == ["gratitude"]
    path = tmp_path / "numbers.jsonl"
    path.write_text('{"text": "ta", "labels": [15, null]}\n{"text": "ta ta"}\n')
    found = read_labelled(path, BANK, {"15": "gratitude"})
    assert len(found.data) == 1 and found.left_out == {"of other labels": 1}


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("none.csv", None, ("no file of labelled texts", "GoEmotions")),
        ("bare.csv", "text,mood\nhello,anger\n", ("holds no labels", "mood", "`emotion`")),
        ("plain.txt", "hello\n", ("holds no labels", "`emotion`")),
        ("other.tsv", "text\tlabel\nhello\tlove\nho\tlove\n", ("no texts", "love (2)", "--external-labels", "remorse")),
        ("unlabelled.csv", "text,label\nhello,\n", ("no texts", "texts without labels")),
        ("neutral.csv", "text,label\nhello,neutral\n", ("no texts", "neutral (1)")),
        ("headless.tsv", "hello\t28\tx\n", ("the header needs a column `text`",)),
        ("number.jsonl", '{"text": "hello", "label": 1.5}\n', ("line 1: not a label", "1.5")),
        ("short.csv", "text,label\nhello\n", ("line 2: 1 fields",)),
        ("no.jsonl", '{"label": "anger"}\n', ("line 1: there is no text",)),
        ("empty.csv", "", ("holds no texts",)),
    ],
)
def test_what_is_refused(name: str, content: str | None, parts: tuple[str, ...], tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as error:
        read_labelled(tmp_path / name, BANK)
    assert name in str(error.value) and len(str(error.value).splitlines()) <= 4
    assert all(part in str(error.value) for part in parts), error.value


def test_a_label_cannot_mean_a_class_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"(?s)fear=joy.*neutral, gratitude, anger, apology, other"):
        read_labelled(COMMENTS, BANK, {"fear": "joy"})
