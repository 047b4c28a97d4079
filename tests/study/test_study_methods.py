"""The stage that sets methods beside each other: only where asked for, kept while it runs, and equal to the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from emotion_circuits._files import read_table
from emotion_circuits.analyses import _methods as stage
from emotion_circuits.analyses import read_choice
from emotion_circuits.components import MethodRow
from emotion_circuits.errors import InputError
from emotion_circuits.statistics import rows_table
from emotion_circuits.study import MethodsPlan, Study, keys_of, plan_study, run_study, study_from_mapping
from small_study import Small

TINY = MethodsPlan(pairs=4, doses=(0.3,), samples=1, controls=2, text_tokens=3, circuit=False)


@pytest.fixture(scope="module")
def folder(small: Small, undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study with this stage added, killed once while it wrote for the third of six emotions and ways."""
    results = tmp_path_factory.mktemp("methods")
    shutil.copytree(undisturbed, results / "baseline")
    asked: list[tuple[str, str]] = []
    real = stage.method_texts

    def failing(lm, directions, pairs, way, random, setting, **options):  # type: ignore[no-untyped-def]
        asked.append((pairs.emotion, way))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return real(lm, directions, pairs, way, random, setting, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "method_texts", failing)
        with pytest.raises(KeyboardInterrupt):
            run_study(small.study(results, methods=TINY))
        again = run_study(small.study(results, methods=TINY))
    assert f"methods/{small.slug}" in again.computed and f"sweep/{small.slug}" in again.kept
    assert len(asked) == 3 + 4 and asked[3] == asked[2]  # the two that were finished are not written again
    return results / "baseline"


def test_by_default_there_is_no_such_stage_and_without_limits_there_is(small: Small) -> None:
    plain = Study(models=(small.model,))
    assert plain.methods is None and f"methods/{small.slug}" not in keys_of(plan_study(plain))
    assert plain.lifted().methods == MethodsPlan()
    assert plain.model_copy(update={"methods": TINY}).lifted().methods == TINY
    assert study_from_mapping({"methods": {}}).methods == MethodsPlan()
    assert study_from_mapping({"methods": None}).methods is None


def test_a_plan_changes_only_its_stage_and_the_report(small: Small) -> None:
    before, after = (
        keys_of(plan_study(Study(models=(small.model,), methods=plan)))
        for plan in (TINY, TINY.model_copy(update={"samples": 2}))
    )
    assert {name for name in before if before[name] != after[name]} == {f"methods/{small.slug}", "claims", "report"}


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"doses": [0.1, 1.0]}, "less than 1"),
        ({"doses": [0.1, 0.1]}, "each value once"),
        ({"samples": 0}, "samples"),
        ({"dosis": [0.1]}, "did you mean doses"),
    ],
)
def test_plans_that_cannot_be_carried_out_are_refused_at_once(plan: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        study_from_mapping({"methods": plan})


def test_the_tables_hold_every_method_beside_chance(small: Small, folder: Path) -> None:
    table = read_table(folder / "patching" / f"{small.slug}_methods.parquet")
    assert list(table.columns) == list(MethodRow._fields)
    assert set(table["emotion"]) == {"gratitude", "anger", "apology"} and set(table["scorer"]) == {"offline", "markers"}
    layer = read_choice(folder / "patching" / f"{small.slug}_choice.json").layer
    assert set(table["layer"]) == {-1, layer}
    added = table[(table["method"] == "add")]
    assert np.isfinite(added[["effect", "ci_low", "chance", "p"]]).all(axis=None)
    texts = (folder / "patching" / f"{small.slug}_methods.jsonl").read_text().splitlines()
    offline = table[table["scorer"] == "offline"]
    clean = sum(json.loads(line)["arm"] == "clean" for line in texts)
    assert len(texts) == offline["n_texts"].sum() + clean
    slopes = read_table(folder / "patching" / f"{small.slug}_methods_doses.parquet")
    assert len(slopes) > 0


def test_the_report_shows_it_and_a_second_run_computes_nothing(small: Small, folder: Path) -> None:
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "Which way of changing tone is best?" in page
    assert (folder / "plots" / small.slug / "methods.png").is_file()
    assert run_study(small.study(folder.parent, methods=TINY)).computed == ()


def test_what_a_command_adds_makes_the_report_again(small: Small, folder: Path, tmp_path: Path) -> None:
    here = small.study(tmp_path)
    before = keys_of(plan_study(here))
    rows = read_table(folder / "patching" / f"{small.slug}_methods.parquet").itertuples(index=False, name=None)
    path = here.folder / "patching" / f"{small.slug}_methods.parquet"
    path.parent.mkdir(parents=True)
    rows_table(MethodRow, [MethodRow._make(row) for row in rows]).to_parquet(path)
    after = keys_of(plan_study(here))
    assert {name for name in before if before[name] != after[name]} == {"report"}
    # A study that writes the file itself does not take it for something new.
    assert (
        keys_of(plan_study(small.study(tmp_path, methods=TINY)))["report"]
        == keys_of(plan_study(small.study(folder.parent, methods=TINY)))["report"]
    )
