from __future__ import annotations

import json
from pathlib import Path

import pytest


def test_list_shows_the_reference_models(run):
    outcome = run("models", "list")
    assert outcome.status == 0
    for name in ("reference/gpt2", "smollm2-135m", "EleutherAI/pythia-160m", "llama"):
        assert name in outcome.out


def test_get_of_a_bundled_model_is_its_folder(run):
    folder = json.loads(run("models", "get", "reference/gpt2", "--json").out)["folder"]
    assert (Path(folder) / "config.json").is_file()


@pytest.mark.parametrize("argv", [("get", "reference/nothing"), ("verify", "./no-such-folder"), ("verify", "a//b")])
def test_unknown_models_are_bad_input(run, argv):
    outcome = run("models", *argv)
    assert (outcome.status, outcome.out) == (2, "")
    assert 1 <= len(outcome.error_lines) <= 4


def test_verify_prints_every_proof_with_its_limit(run):
    outcome = run("models", "verify", "reference/gpt2", "--device", "cpu", "--json")
    report = json.loads(outcome.out)
    assert report["model"] == "reference/gpt2"
    assert len(report["checks"]) > 5
    assert all(check["ok"] == (check["value"] <= check["limit"]) for check in report["checks"])
    assert report["ok"] == all(check["ok"] for check in report["checks"])
    assert outcome.status == (0 if report["ok"] else 1)


@pytest.mark.parametrize(
    ("value", "status", "said"), [(0.0, 0, "All 1 proofs hold."), (1.0, 1, "1 of 1 proofs failed.")]
)
def test_a_failed_proof_is_a_failure(run, monkeypatch, value, status, said):
    from emotion_circuits import engine

    verification = engine.Verification("reference/gpt2", (engine.Check("hooks left", value, 0.5),))
    monkeypatch.setattr(engine, "verify", lambda lm: verification)
    outcome = run("models", "verify", "reference/gpt2")
    assert outcome.status == status
    assert said in outcome.out.splitlines() and "Of the mean squared length" in outcome.out
