from __future__ import annotations

import json
from pathlib import Path

import pytest

from emotion_circuits import prompts
from emotion_circuits.errors import InputError
from emotion_circuits.prompts import bank, build, read_dataset

CLASSES = bank().names

PROFILES = [("baseline", "", 70), ("extended", "_extended", 100)]


@pytest.mark.parametrize(("profile", "suffix", "scenarios"), PROFILES)
def test_the_written_files_hold_the_profile(tmp_path, profile, suffix, scenarios):
    names = [
        *(f"{c}_prompts{suffix}.json" for c in CLASSES),
        "real_world_samples.json",
        f"emotion_dataset{suffix}.jsonl",
    ]
    assert [path.name for path in build(profile, tmp_path / "new" / "data")] == names
    folder = tmp_path / "new" / "data"
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    for c in CLASSES:
        content = json.loads((folder / f"{c}_prompts{suffix}.json").read_text())
        assert {name: len(column) for name, column in content.items()} == dict.fromkeys(
            ("prompts", "scenarios", "spans", "splits"), scenarios
        )
    lines = [json.loads(line) for line in (folder / names[-1]).read_text().splitlines()]
    assert list(lines[0]) == ["text", "emotion", "lang", "scenario", "split", "span", "also"]
    assert len(json.loads((folder / "real_world_samples.json").read_text())["prompts"]) == 35


@pytest.mark.parametrize(("profile", "suffix", "scenarios"), PROFILES)
def test_what_is_built_reads_back_as_the_same_data_set(tmp_path, profile, suffix, scenarios):
    build(profile, tmp_path)
    expected = prompts.bank().profile(profile).hash
    assert read_dataset(tmp_path / f"emotion_dataset{suffix}.jsonl").hash == expected
    assert read_dataset(tmp_path, profile).hash == expected
    assert read_dataset(tmp_path / f"emotion_dataset{suffix}.jsonl").texts == prompts.bank().profile(profile).texts


def test_building_again_changes_nothing(tmp_path):
    paths = build("baseline", tmp_path)
    before = {path: path.read_bytes() for path in paths}
    assert build("baseline", tmp_path) == paths
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_someone_s_own_prompts_are_not_overwritten_by_accident(tmp_path):
    own = tmp_path / "anger_prompts.json"
    own.write_text('{"prompts": ["mine"]}')
    with pytest.raises(InputError, match="anger_prompts"):
        build("baseline", tmp_path)
    assert list(tmp_path.iterdir()) == [own]
    build("baseline", tmp_path, overwrite=True)
    assert len(json.loads(own.read_text())["prompts"]) == 70


def test_own_prompts_become_a_data_set(tmp_path):
    for c in CLASSES:
        (tmp_path / f"{c}_prompts.json").write_text(json.dumps({"prompts": [f"{c} a", f"{c} b"]}))
    (path,) = build("baseline", tmp_path, source=tmp_path)
    assert path.name == "emotion_dataset.jsonl"
    assert read_dataset(path).hash == read_dataset(tmp_path).hash


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Cannot write"):
        build("baseline", tmp_path / "file" / "data")
    with pytest.raises(InputError, match="unknown profile"):
        build("huge", tmp_path)


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file_and_no_remains(tmp_path, monkeypatch, failure):
    path = tmp_path / "emotion_dataset.jsonl"
    path.write_text("old")

    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises((InputError, KeyboardInterrupt)):
        build("baseline", tmp_path, overwrite=True)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
