"""A study of two models compares them; a study of one declares nothing about two."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from emotion_circuits.comparison import PairMeasure
from emotion_circuits.report import write_report
from emotion_circuits.statistics import judge, read_claims, write_claims
from emotion_circuits.study import SharingPlan, Study, plan_study, read_unjudged, run_study
from small_study import Small

EMOTIONS = ("gratitude", "anger", "apology")


def two(small: Small, results: Path) -> Study:
    sharing = SharingPlan(n_fit=100, depths=2, untrained_seeds=(0,), draws=99, steered_shuffles=2)
    return small.study(results, models=(small.model, small.other), sharing=sharing)


def pairs(small: Small) -> tuple[str, str]:
    return f"{small.slug} → {small.other_slug}", f"{small.other_slug} → {small.slug}"


LAST = "mapped_steering"


@pytest.fixture(scope="module")
def folder(small: Small, undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of one model with a second one added: of that one what maps need, and a report of all that is there."""
    results = tmp_path_factory.mktemp("maps")
    shutil.copytree(undisturbed, results / "baseline")
    result, here = run_study(two(small, results), only=(LAST,)), results / "baseline"
    assert f"sweep/{small.slug}" in result.kept and f"sweep/{small.other_slug}" in result.computed
    stages = [stage.name for stage in plan_study(two(small, results))]
    write_claims(here / "claims.json", judge(read_unjudged(here, stages)))
    write_report(here)
    return here


def test_both_directions_are_claimed_with_chance_interval_and_evidence(small: Small, folder: Path) -> None:
    claims = [c for c in read_claims(folder / "claims.json") if c.question in ("RQ2", "RQ5")]
    assert {(c.id, c.model, c.emotion) for c in claims} == {
        *(("rq2.shared", pair, None) for pair in pairs(small)),
        *((kind, p, e) for kind in ("rq5.alignment", "rq5.transfer") for p in pairs(small) for e in EMOTIONS),
    }
    for claim in claims:
        assert claim.verdict is not None and claim.ci95 is not None
        assert claim.chance is not None and claim.p is not None and claim.n_unique > 0
        assert {"untrained"} <= set(claim.floors) or claim.id == "rq5.alignment"
        assert all((folder / path).is_file() for path in claim.evidence)


def test_tables_hold_every_pair_of_layers_and_what_arrives(small: Small, folder: Path) -> None:
    layers = pd.read_parquet(folder / "cross_model" / f"{small.slug}_to_{small.other_slug}_layers.parquet")
    assert tuple(layers.columns) == PairMeasure._fields
    assert layers.groupby(["layer_a", "layer_b"]).ngroups == 9
    steering = pd.read_parquet(folder / "cross_model" / f"{small.slug}_mapped_steering.parquet")
    assert set(steering["emotion"]) == set(EMOTIONS)
    assert (folder / "alignment" / f"{small.slug}_to_{small.other_slug}.safetensors").is_file()


def test_the_report_shows_the_maps(small: Small, folder: Path) -> None:
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    for pair in pairs(small):
        assert f"<h3>{pair}</h3>" in page
    assert f"There is no emotion_vectors/{small.slug} →" not in page
    assert (folder / "plots" / "alignment" / f"{small.slug}_to_{small.other_slug}.png").is_file()


def test_a_second_run_computes_nothing(small: Small, folder: Path) -> None:
    assert run_study(two(small, folder.parent), only=(LAST,)).computed == ()


def test_one_model_or_an_untrained_second_one_is_not_compared(small: Small) -> None:
    for models in ((small.model,), (small.model, f"{small.model}?init=random&seed=0")):
        names = [stage.name for stage in plan_study(Study(models=models))]
        assert not any(name.startswith(("maps/", "fit_texts/", "mapped_steering/")) for name in names)
