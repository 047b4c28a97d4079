"""The audit command on recorded activations."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import emotion_circuits as ec
from emotion_circuits.directions import Activations, Source, save_activations
from emotion_circuits.prompts import Dataset, Text, bank

CLASSES = bank().names


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audited")
    data = Dataset("numbers", tuple(Text(f"{c} {g}", c, f"s{g:02}", "test") for c in CLASSES for g in range(24)))
    for seed, name in enumerate(("reference/gpt2", "reference/gpt-neo")):
        values = np.random.default_rng(seed).standard_normal((5, len(data), 32)).astype(np.float32)
        source = Source(model=name, revision="r", dtype="float32", bos=False, centred_norm=False)
        acts = Activations(source, data, {"sentence_end": values}, dict.fromkeys(CLASSES, 1.0))
        save_activations(acts, folder / "baseline" / "activations" / name.replace("/", "--"))
    return folder


def test_rows_table_and_figure(run, results, monkeypatch):
    monkeypatch.setattr(ec, "audit", partial(ec.audit, n_noise=10))
    found = run("audit", "--results", results, "--layers", 1, "--json")
    assert found.status == 0, found.err
    result = json.loads(found.out)
    keys = {"metric", "model", "seed_value", "on_models", "on_noise", "chance", "ceiling", "corrected", "verdict"}
    assert result["rows"] and all(keys <= set(row) for row in result["rows"])
    assert (results / "baseline/cross_model/audit.parquet").is_file()
    assert (results / "baseline/plots/audit/overlap_on_noise.png").stat().st_size > 10_000
    shown = run("audit", "--results", results, "--layers", 1)
    assert shown.status == 0 and "What to use instead" in shown.out and "artefact" in shown.out


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (("--models", "reference/gpt-neox"), "no activations of reference/gpt-neox"),
        (("--layers", "9"), "layer 9"),
    ],
)
def test_what_cannot_be_audited_is_one_clear_error(run, results, argv, problem):
    found = run("audit", "--results", results, *argv)
    assert found.status == 2 and problem in found.err and len(found.error_lines) <= 4


def test_an_empty_folder_names_the_next_step(run, tmp_path):
    found = run("audit", "--results", tmp_path)
    assert found.status == 2 and "extract" in found.err and len(found.error_lines) <= 4
