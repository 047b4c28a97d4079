"""RQ4's stages: files, claims, what a stop or a tokenizer without pairs leaves, and the report's sections."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from emotion_circuits._files import read_json, read_table
from emotion_circuits.analyses import _circuits as stage
from emotion_circuits.analyses import _pairs
from emotion_circuits.analyses._circuits import affordable_draws
from emotion_circuits.components import CPR, PairSet, n_circuits, read_depths, read_head_examples
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.prompts import bank
from emotion_circuits.statistics import read_claims
from emotion_circuits.study import ComponentsPlan, Study, keys_of, plan_study, run_study
from small_study import N_LAYERS, PLANS, Small

EMOTIONS = bank().emotions

PLAN: ComponentsPlan = PLANS["components"]


def remade(undisturbed: Path, results: Path, *lost: str) -> Path:
    """A copy of the study without some folders and without claims, as if it had been stopped before them."""
    folder = results / "baseline"
    shutil.copytree(undisturbed, folder)
    for name in lost:
        shutil.rmtree(folder / name)
    (folder / "claims.json").unlink()
    return folder


def test_every_head_and_unit_has_a_row_beside_its_chance_level(small: Small, undisturbed: Path) -> None:
    for what, number, count in (("screen", "head", 6), ("units", "unit", 768)):
        table = read_table(undisturbed / "heads" / f"{what}_{small.slug}.parquet")
        assert set(table["emotion"]) == set(EMOTIONS)
        for _, own in table.groupby("emotion"):
            assert set(zip(own["layer"], own[number], strict=True)) == {
                (x, y) for x in range(N_LAYERS) for y in range(count)
            }
        assert np.isfinite(table[["score", "p", "q", "gap", "direct", "untrained"]]).all(axis=None)
        assert (
            (table["n_pairs"] == PLAN.pairs).all()
            and (table["n_scenarios"] == 100).all()
            and table["p"].between(1e-4, 1).all()
        )
        # An untrained twin's largest score is the floor; the same for all components of an emotion.
        assert (table.groupby("emotion")["untrained"].nunique() == 1).all() and (table["untrained"] > 0).all()


def test_the_best_heads_have_examples_and_every_scenario_a_profile(small: Small, undisturbed: Path) -> None:
    examples = read_head_examples(undisturbed / "heads" / f"examples_{small.slug}.json")
    assert [e.emotion for e in examples.emotions] == list(EMOTIONS)
    assert all(len(e.examples) == PLAN.examples for e in examples.emotions)
    assert read_depths(undisturbed, small.model) is not None


def test_claims_are_of_the_circuits_in_the_file(small: Small, undisturbed: Path) -> None:
    values = read_json(undisturbed / "circuits" / f"{small.slug}.json")
    assert (values["model"], values["ranking"], values["controls"]) == (small.model, PLAN.ranking, PLAN.draws)
    claims = [c for c in read_claims(undisturbed / "claims.json") if c.question == "RQ4"]
    assert [c.emotion for c in claims] == sorted(EMOTIONS)
    tested = {e: one["tested"] for e, one in values["circuits"].items()}
    assert any(tested.values())
    for claim in claims:
        row = next(m for m in values["measures"] if m["statistic"] == CPR and m["emotion"] == claim.emotion)
        assert claim.n_unique == row["n_unique"] > 1 and claim.evidence == (f"circuits/{small.slug}.json",)
        assert CPR in claim.statistic and "0.2, 1" in claim.statistic
        if not tested[claim.emotion or ""]:
            assert claim.verdict == "not tested" and claim.value is None and "is not clear" in claim.why
            continue
        assert claim.value == pytest.approx(row["value"], rel=1e-3) and claim.chance is not None
        assert claim.ci95 is not None and claim.ci95[0] <= claim.value <= claim.ci95[1]
        assert claim.chance <= claim.nulls["random circuits"].high
        assert f"{PLAN.draws} draws" in claim.null and claim.smallest_p == pytest.approx(1 / 3, rel=1e-3)
        assert claim.p is not None and claim.p >= claim.smallest_p
        assert claim.verdict == "underpowered"  # two draws support nothing


def test_the_report_has_sections_of_heads_and_of_circuits(small: Small, undisturbed: Path) -> None:
    page = (undisturbed / "report" / "index.html").read_text(encoding="utf-8")
    assert "Which parts carry the emotion?" in page
    assert "area under the curve, sizes 0.2, 1" in page
    for name in ("heads", "circuits"):
        assert (undisturbed / "plots" / small.slug / f"{name}.png").is_file()


def test_as_many_circuits_are_drawn_as_the_plan_can_pay_for(tiny_gpt2_lm: LoadedModel) -> None:
    outcome = few = SimpleNamespace(ids_a=[(1, 2, 3)], ids_b=[(1, 2, 4)])
    cost = 6 * sum(p.numel() for block in tiny_gpt2_lm.blocks for p in block.parameters()) * len(PLAN.random_sizes)

    def drawn(budget: float, draws: int = 999) -> int:
        plan = PLAN.model_copy(update={"draws": draws, "budget": budget})
        return affordable_draws(tiny_gpt2_lm, outcome, few, plan)

    assert drawn(float("inf")) == drawn(1e30) == 999
    assert drawn(50.5 * cost) == 50 and drawn(50.5 * cost, draws=9) == 9
    assert drawn(0.1 * cost) == 2
    few = SimpleNamespace(ids_a=outcome.ids_a, ids_b=())
    cost_of_few = cost / 2
    assert drawn(20 * cost + 7.5 * cost_of_few) == 27 and drawn(9.5 * cost) == 9


def test_a_plan_of_components_changes_only_what_reads_it(small: Small) -> None:
    before, after = (
        keys_of(plan_study(Study(models=(small.model,), components=plan)))
        for plan in (PLAN, PLAN.model_copy(update={"draws": 3}))
    )
    assert {name for name in before if before[name] != after[name]} == {
        f"heads/{small.slug}",
        f"circuits/{small.slug}",
        "claims",
        "report",
    }


def test_stopped_between_two_circuits_it_ends_with_the_same_claims(
    small: Small, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = remade(undisturbed, tmp_path, "circuits")
    real, calls = stage.circuit_edges, []

    def failing(*args, **options):  # type: ignore[no-untyped-def]
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(stage, "circuit_edges", failing)
    with pytest.raises(KeyboardInterrupt):
        run_study(small.study(tmp_path))
    assert not (folder / "circuits").exists()
    again = run_study(small.study(tmp_path))
    assert f"heads/{small.slug}" in again.kept and again.computed == (f"circuits/{small.slug}", "claims")
    for name in ("claims.json", f"circuits/{small.slug}.json"):
        assert (folder / name).read_bytes() == (undisturbed / name).read_bytes()


def test_emotions_without_pairs_are_said_and_left_out(
    small: Small, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = remade(undisturbed, tmp_path, "heads", "circuits", "report")
    said: list[str] = []

    def none(lm: LoadedModel, texts: object, emotion: str) -> PairSet:
        raise InputError(f"Too few scenarios have texts of {emotion} and neutral with equally many tokens.")

    monkeypatch.setattr(_pairs, "matched_pairs", none)
    result = run_study(small.study(tmp_path), tell=said.append)
    assert set(result.computed) == {f"heads/{small.slug}", f"circuits/{small.slug}", "claims", "report"}
    circuits = [c for c in result.claims if c.question == "RQ4"]
    assert [c.emotion for c in circuits] == sorted(EMOTIONS) and len(result.claims) == 12
    assert all(c.verdict == "not tested" and "Too few scenarios" in c.why for c in circuits)
    assert not (folder / "heads").exists()
    assert read_json(folder / "circuits" / f"{small.slug}.json")["circuits"] == {}
    for emotion in EMOTIONS:
        for what in ("screen", "circuit"):
            assert any(f"no {what} of {emotion}" in line for line in said)
    assert "not tested" in result.report.read_text(encoding="utf-8")


def test_progress_counts_every_circuit_that_may_run() -> None:
    assert n_circuits(10, PLAN.draws, PLAN.dropped, len(PLAN.random_sizes) + 1) == 3 + 10 + 2 * 2 + 1
