"""A small study end to end: claims, texts, and what a second run, a damaged file or a broken stage brings."""

from __future__ import annotations

import html
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from emotion_circuits import prompts
from emotion_circuits._files import read_json, read_table, write_table
from emotion_circuits.analyses import Measures, Workshop, controls_of, read_choice
from emotion_circuits.analyses._sweep import SweepDevelopment
from emotion_circuits.analyses._text import best_random
from emotion_circuits.cli import main
from emotion_circuits.directions import load_directions
from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.interventions import balanced_contexts, control_slopes
from emotion_circuits.models import ModelName, model_label
from emotion_circuits.prompts import Context, bank
from emotion_circuits.report._results import read_results
from emotion_circuits.report._texts import read_texts
from emotion_circuits.scoring import slot_task
from emotion_circuits.statistics import Claim, read_claims, write_claims
from emotion_circuits.study import plan_study, run_study
from small_study import PLANS, Small

EMOTIONS = bank().emotions


def few_contexts() -> list[Context]:
    """Those that controls are tried on."""
    return balanced_contexts(prompts.contexts("test"), PLANS["steering"].text_contexts)


def test_every_claim_stands_beside_its_chance_level(undisturbed: Path) -> None:
    claims = read_claims(undisturbed / "claims.json")
    assert {(c.id, c.emotion) for c in claims} == {
        (kind, emotion)
        for kind in ("rq1.separability", "rq1.stability", "rq3.steering", "rq4.circuit")
        for emotion in ("gratitude", "anger", "apology")
    }
    for claim in claims:
        assert claim.verdict is not None
        assert claim.n_unique > 0
        defined = [claim.value is not None, claim.ci95 is not None, claim.chance is not None, claim.p is not None]
        assert all(defined) if claim.verdict != "not tested" else claim.id == "rq4.circuit" and not any(defined)
        assert all((undisturbed / path).is_file() for path in claim.evidence)


def test_every_arm_writes_after_every_test_opening_and_is_scored(small: Small, undisturbed: Path) -> None:
    written = read_texts(undisturbed, small.slug)
    assert written is not None
    openings = [c.text for c in few_contexts() if c.slot == "opening"]
    cells = [(t.arm, t.emotion) for t in written.texts]
    wanted = {("clean", None)} | {(arm, e) for arm in ("steered", "random", "prompted") for e in EMOTIONS}
    assert set(cells) == wanted and all(cells.count(cell) == len(openings) for cell in wanted)
    assert [t.prompt for t in written.texts[: len(openings)]] == openings
    assert {t.layer for t in written.texts if t.arm in ("steered", "random")} == {
        int(read_json(undisturbed / "patching" / f"{small.slug}_choice.json")["layer"])
    }
    assert {"markers", "vader", "offline"} == set(written.scores["scorer"])
    page = (undisturbed / "report" / "index.html").read_text()
    shown = written.texts[0].text.split()
    assert "What does it write?" in page and html.escape(" ".join(shown)) in page


def test_the_random_arm_is_the_control_that_raised_the_words_most(small: Small, undisturbed: Path) -> None:
    """Its slope, measured again, is the largest in the table."""
    work = Workshop(small.study(undisturbed.parent))
    lm = work.model(small.model)
    directions = load_directions(undisturbed / "emotion_vectors" / f"{small.slug}_mean.safetensors")
    choice = read_choice(undisturbed / "patching" / f"{small.slug}_choice.json")
    unit = best_random(work, small.model, controls_of(work, small.model, lm, directions), choice.layer)["anger"]
    slots = slot_task(lm, few_contexts(), prompts.bank().word_sets())
    again = control_slopes(lm, directions, slots, choice, "covariance", unit[None]).for_emotion("anger")
    table = read_table(undisturbed / "patching" / f"{small.slug}_controls.parquet")
    largest = table[(table["kind"] == "covariance") & (table["emotion"] == "anger")]["slope"].max()
    assert again[0] == pytest.approx(largest, rel=1e-3)


def test_a_second_run_computes_nothing(small: Small, undisturbed: Path) -> None:
    result = run_study(small.study(undisturbed.parent))
    assert result.computed == ()
    assert result.report.is_file()


def test_a_damaged_file_is_made_again(small: Small, undisturbed: Path) -> None:
    before = (undisturbed / "claims.json").read_bytes()
    vectors = undisturbed / "emotion_vectors" / f"{small.slug}_mean.safetensors"
    whole = vectors.read_bytes()
    vectors.write_bytes(whole[:-8])
    result = run_study(small.study(undisturbed.parent))
    assert f"directions/{small.slug}" in result.computed
    assert f"activations/{small.slug}" in result.kept
    assert vectors.read_bytes() == whole
    assert (undisturbed / "claims.json").read_bytes() == before


def test_a_stage_that_cannot_run_stops_only_what_needs_it_and_is_tried_again(
    small: Small, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(undisturbed, tmp_path / "baseline")
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(small.study(tmp_path).model_dump(mode="json", exclude_unset=True)))
    stale = tmp_path / "baseline" / "patching" / f"{small.slug}_sweep.parquet"
    stale.write_bytes(b"")

    def no_tokens(self: SweepDevelopment, work: Workshop, plan: object, name: str) -> Measures:
        raise InputError("No word of anger is one token.", found="▁furious")

    with monkeypatch.context() as patched:
        patched.setattr(SweepDevelopment, "run", no_tokens)
        assert main(["study", str(file), "--json", "--no-track"]) == 1
        out, err = capsys.readouterr()
        result = json.loads(out)
        assert err.splitlines()[-2:] == [
            f"failed: sweep/{small.slug}: No word of anger is one token. found: ▁furious",
            f"not run, because they need these: steering/{small.slug}, text/{small.slug}",
        ]
        assert list(result["failed"]) == [f"sweep/{small.slug}"]
        assert result["computed"] == ["claims", "report"], "the others go on"
        assert {claim["id"] for claim in result["claims"]} == {"rq1.separability", "rq1.stability", "rq4.circuit"}
        assert not stale.exists(), "an earlier study's rows are not taken for this one's"
        assert run_study(small.study(tmp_path)).computed == (), "what was made from what there is, is kept"
    result = run_study(small.study(tmp_path))
    assert result.failed == {} and set(result.computed) == {
        *(f"{stage}/{small.slug}" for stage in ("sweep", "steering", "text")), "claims", "report"
    }  # fmt: skip
    assert (tmp_path / "baseline" / "claims.json").read_bytes() == (undisturbed / "claims.json").read_bytes()


def test_a_model_in_a_folder_has_claims_and_tables_under_one_name(
    small: Small, undisturbed: Path, tmp_path: Path
) -> None:
    """Tables hold its path; claims, which name no place on a machine, and the report its slug."""
    name = str(tmp_path / "models" / "gpt2")
    slug = ModelName.parse(name).slug
    for path in undisturbed.rglob(f"*{small.slug}*.parquet"):
        table = read_table(path)
        new = tmp_path / path.relative_to(undisturbed).as_posix().replace(small.slug, slug)
        write_table(new, table.replace({"model": {small.model: name}}))
    claims = [c.model_copy(update={"model": model_label(name), "evidence": ()})
              for c in read_claims(undisturbed / "claims.json")]  # fmt: skip
    write_claims(tmp_path / "claims.json", [Claim.model_validate(claim.model_dump()) for claim in claims])
    [model] = (results := read_results(tmp_path)).models
    assert model.name == model.slug == slug and len(model.claims) == len(claims)
    assert all(model.measures.values()) and not any("do not cover" in note for note in results.notes)


def test_a_study_of_which_nothing_can_run_still_ends_with_a_report(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str, **options: object) -> None:
        raise MeasurementError("The engine is not exact on it.")

    monkeypatch.setattr("emotion_circuits.analyses._work.load", broken)
    torch.set_num_threads(3)
    result = run_study(small.study(tmp_path))
    assert result.claims == () and result.report.is_file() and set(result.computed) == {"claims", "report"}
    assert torch.get_num_threads() == 3, "a study leaves the caller's threads as they were"
    assert set(result.failed) | set(result.not_run) == {s.name for s in plan_study(small.study(tmp_path))} - {
        "claims", "report"
    }  # fmt: skip
