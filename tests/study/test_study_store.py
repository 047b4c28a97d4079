"""The store: what counts as finished, and what happens to results that are damaged or of another version."""

from __future__ import annotations

import json
from importlib.metadata import Distribution, PackageNotFoundError, version
from pathlib import Path

import pytest

import emotion_circuits
from emotion_circuits import _parts
from emotion_circuits._files import read_json
from emotion_circuits.errors import InputError
from emotion_circuits.study import Store, Study, keys_of, plan_study
from emotion_circuits.study._store import stage_key


def finish(folder: Path, key: str = "k1") -> Store:
    store = Store(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.txt").write_text("one")
    store.finish("stage", key, [folder / "a.txt"], 1.0, {"x": 1})
    return store


def test_a_finished_stage_is_known_to_a_later_store(tmp_path: Path) -> None:
    finish(tmp_path)
    assert Store(tmp_path).finished("stage", "k1")


@pytest.mark.parametrize("damage", ["other key", "changed file", "missing file", "other stage"])
def test_it_is_not_finished_when_anything_differs(tmp_path: Path, damage: str) -> None:
    finish(tmp_path)
    if damage == "changed file":
        (tmp_path / "a.txt").write_text("two")
    if damage == "missing file":
        (tmp_path / "a.txt").unlink()
    key = "k2" if damage == "other key" else "k1"
    assert not Store(tmp_path).finished("none" if damage == "other stage" else "stage", key)


def test_results_of_another_schema_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"schema": 0, "stages": {}}))
    with pytest.raises(InputError, match="another version") as error:
        Store(tmp_path)
    assert len(str(error.value).splitlines()) <= 4
    assert json.loads((tmp_path / "manifest.json").read_text())["schema"] == 0


def test_a_manifest_that_is_not_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(InputError):
        Store(tmp_path)


def test_an_unwritable_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "baseline")
    with pytest.raises(InputError, match="Cannot write"):
        store.finish("stage", "k", [], 0.0, {})


def test_a_source_tree_that_is_not_installed_has_keys_and_a_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_others = Distribution.from_name

    def found(name: str) -> Distribution:
        if name == "emotion-circuits":
            raise PackageNotFoundError(name)
        return of_others(name)

    monkeypatch.setattr(Distribution, "from_name", found)
    monkeypatch.delitem(vars(emotion_circuits), "__version__", raising=False)
    _parts.versions.cache_clear()
    try:
        assert finish(tmp_path).finished("stage", "k1") and stage_key("s", {}, [])
        versions = read_json(tmp_path / "manifest.json")["stages"]["stage"]["versions"]
        assert versions["emotion-circuits"] == emotion_circuits.__version__ == "0+unknown"
        assert versions["torch"] == version("torch")
    finally:
        _parts.versions.cache_clear()
        vars(emotion_circuits).pop("__version__", None)


def test_keys_follow_parameters_and_inputs() -> None:
    base = stage_key("s", {"a": 1}, ["x"])
    assert base == stage_key("s", {"a": 1}, ["x"])
    assert (
        len({base, stage_key("s", {"a": 2}, ["x"]), stage_key("s", {"a": 1}, ["y"]), stage_key("t", {"a": 1}, ["x"])})
        == 4
    )


def test_a_plan_lists_inputs_first_and_a_parameter_changes_only_what_depends_on_it() -> None:
    study = Study(models=("reference/gpt2",))
    stages = plan_study(study)
    seen: set[str] = set()
    for stage in stages:
        assert set(stage.inputs) <= seen
        seen.add(stage.name)
    before = keys_of(stages)
    other = study.model_copy(update={"steering": study.steering.model_copy(update={"doses": (-0.1, 0.1)})})
    after = keys_of(plan_study(other))
    changed = {name for name in before if before[name] != after[name]}
    steered = {f"{stage}/reference--gpt2" for stage in ("sweep", "steering", "text")}
    assert changed == steered | {"claims", "report"}


def test_the_results_folder_is_no_part_of_a_key(tmp_path: Path) -> None:
    here, there = (Study(models=("reference/gpt2",), results=tmp_path / name) for name in "ab")
    assert keys_of(plan_study(here)) == keys_of(plan_study(there))
