"""A study of two models compares them; a study of one declares nothing about two."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from test_study_run import SMALL

from emotion_circuits.comparison import PairMeasure
from emotion_circuits.statistics import read_claims
from emotion_circuits.study import SharingPlan, Study, plan_study, run_study

EMOTIONS = ("gratitude", "anger", "apology")
PAIRS = ("reference/gpt2 → reference/gpt-neo", "reference/gpt-neo → reference/gpt2")
CLAIMS = {
    *(("rq2.shared", pair, None) for pair in PAIRS),
    *((kind, pair, emotion) for kind in ("rq5.alignment", "rq5.transfer") for pair in PAIRS for emotion in EMOTIONS),
}


def small(results: Path) -> Study:
    sharing = SharingPlan(n_fit=100, depths=2, untrained_seeds=(0,), draws=99, steered_shuffles=2)
    both = {**SMALL, "models": ("reference/gpt2", "reference/gpt-neo")}
    return Study(results=results, sharing=sharing, **both)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of one model with a second one added."""
    results = tmp_path_factory.mktemp("maps")
    shutil.copytree(undisturbed, results / "baseline")
    result = run_study(small(results))
    assert "steering/reference--gpt2" in result.kept and "steering/reference--gpt-neo" in result.computed
    return results / "baseline"


def test_both_directions_are_claimed_with_chance_interval_and_evidence(folder: Path) -> None:
    claims = [c for c in read_claims(folder / "claims.json") if c.question in ("RQ2", "RQ5")]
    assert {(c.id, c.model, c.emotion) for c in claims} == CLAIMS
    for claim in claims:
        assert claim.verdict is not None and claim.ci95 is not None
        assert claim.chance is not None and claim.p is not None and claim.n_unique > 0
        assert {"untrained"} <= set(claim.floors) or claim.id == "rq5.alignment"
        assert all((folder / path).is_file() for path in claim.evidence)


def test_tables_hold_every_pair_of_layers_and_what_arrives(folder: Path) -> None:
    layers = pd.read_parquet(folder / "cross_model" / "reference--gpt2_to_reference--gpt-neo_layers.parquet")
    assert tuple(layers.columns) == PairMeasure._fields
    assert layers.groupby(["layer_a", "layer_b"]).ngroups == 9
    steering = pd.read_parquet(folder / "cross_model" / "reference--gpt2_mapped_steering.parquet")
    assert set(steering["emotion"]) == set(EMOTIONS)
    assert (folder / "alignment" / "reference--gpt2_to_reference--gpt-neo.safetensors").is_file()


def test_the_report_shows_the_maps(folder: Path) -> None:
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    for pair in PAIRS:
        assert f"<h3>{pair}</h3>" in page
    assert "There is no emotion_vectors/reference--gpt2 →" not in page
    assert (folder / "plots" / "alignment" / "reference--gpt2_to_reference--gpt-neo.png").is_file()


def test_a_second_run_computes_nothing(folder: Path) -> None:
    assert run_study(small(folder.parent)).computed == ()


def test_one_model_or_an_untrained_second_one_is_not_compared() -> None:
    for models in (("reference/gpt2",), ("reference/gpt2", "reference/gpt2?init=random&seed=0")):
        names = [stage.name for stage in plan_study(Study(models=models))]
        assert not any(name.startswith(("maps/", "fit_texts/", "mapped_steering/")) for name in names)
