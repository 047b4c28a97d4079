"""compare --by components: what it screens, keeps, makes again and prints."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from emotion_circuits import prompts

A, B = "reference/gpt2", "reference/gpt2-twin"


@pytest.fixture
def few_scenarios(monkeypatch):
    """Scenarios among which the reference models have pairs, with apology alone."""
    data = prompts.bank().profile("baseline")
    kept = {str(k) for k in range(43, 49)}
    texts = tuple(t for t in data if t.scenario in kept and t.emotion in ("neutral", "apology"))
    monkeypatch.setattr(prompts.Bank, "profile", lambda *_: prompts.Dataset(data.name, texts))


def test_what_is_missing_is_screened_and_what_is_kept_is_read(run, quick, tmp_path, few_scenarios, monkeypatch):
    """gpt2 and its twin, for real."""
    argv = ("compare", "--by", "components", "--model", A, "--results", tmp_path)
    found = run(*argv, "--model2", B, "--json")
    assert found.status == 0, found.err
    assert found.err.count("no direct effects") == 2
    result = json.loads(found.out)
    assert {m["kind"] for m in result["measures"]} == {"heads carry", "units carry", "heads read", "all functions"}
    overall = next(m for m in result["measures"] if (m["emotion"], m["kind"]) == ("all", "all functions"))
    assert overall["statistic"] == "correlation of profiles over relative depth"
    assert overall["null_low"] < overall["chance"] < overall["null_high"] and 0 < overall["ceiling"] <= 1
    assert overall["ci_low"] <= overall["value"] <= overall["ci_high"] and overall["n_unique"] == 6
    assert overall["value"] > overall["chance"]  # one architecture and one corpus
    assert {h["model"] for h in result["heads"]} == {A, B}
    folder = tmp_path / "baseline"
    assert sorted(f.name for f in folder.glob("heads/*twin*")) == [
        f"{name}_reference--gpt2-twin.parquet" for name in ("depth_values", "depths", "functions")
    ]
    # What is kept needs no model, and a model is like itself.
    monkeypatch.setattr("emotion_circuits.engine.load_verified", None)
    again = run(*argv, "--model2", A)
    assert again.status == 0, again.err
    assert re.search(r" 1 +\[", again.out) and "Descriptive: no claim" in again.out and "relabelled" in again.out


def test_profiles_are_made_again_once_there_is_a_direction(run, quick, tmp_path, few_scenarios, monkeypatch):
    argv = ("compare", "--by", "components", "--model", A, "--model2", A, "--results", tmp_path, "--json")
    assert run(*argv).status == 0
    vectors = tmp_path / "baseline" / "emotion_vectors" / "reference--gpt2_mean.safetensors"
    vectors.parent.mkdir()
    vectors.touch()

    class Directions:
        emotions, chosen_layer = ("apology",), {"apology": 3}

        def __getitem__(self, emotion):
            return SimpleNamespace(unit=np.eye(192)[0])

    monkeypatch.setattr("emotion_circuits.cli._compare_components.directions_if_any", lambda *_: Directions())
    found = run(*argv)
    assert found.status == 0, found.err
    assert "made again" in found.err
    assert "heads write" in {m["kind"] for m in json.loads(found.out)["measures"]}


def test_places_and_layers_are_refused(run, tmp_path):
    argv = ("compare", "--by", "components", "--model", A, "--model2", B, "--results", tmp_path)
    for more in (("--layers", 3), ("--position", "mean"), ("--activations", tmp_path)):
        found = run(*argv, *more)
        assert found.status == 2 and "over all layers" in found.err and len(found.error_lines) <= 4
