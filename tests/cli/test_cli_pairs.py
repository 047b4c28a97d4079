"""Commands about two models: what they write and print, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from emotion_circuits import prompts
from emotion_circuits.cli import _compare, main
from emotion_circuits.cli._pairs import fit_data
from emotion_circuits.comparison import PairMeasure
from emotion_circuits.geometry import load_aligner

A, B = "reference/gpt2", "reference/gpt2-twin"
FEW = ("--n-fit", "100", "--untrained", "1", "--draws", "99", "--layers", "-1", "3")


@pytest.fixture(scope="module")
def shorter(shorten):
    """As `shorten`, with implicit texts of both splits."""
    implicit = prompts.bank().implicit()
    some = {s for split in prompts.SPLITS for s in implicit.select(split=split).scenarios[:6]}
    few = prompts.Dataset(implicit.name, tuple(t for t in implicit if t.scenario in some))

    def patch(monkeypatch):
        shorten(monkeypatch)
        monkeypatch.setattr(prompts.Bank, "implicit", lambda _: few)

    return patch


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, shorter) -> Path:
    """A results folder with activations of two models on scenarios of both splits."""
    folder = tmp_path_factory.mktemp("pair")
    data = prompts.bank().profile("baseline")
    few = {s for split in prompts.SPLITS for s in data.select(split=split).scenarios[:8]}
    rows = [
        {f: getattr(t, f) for f in ("text", "emotion", "scenario", "split", "span")} for t in data if t.scenario in few
    ]
    (folder / "set.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    neutral = [r["text"] for r in rows if r["emotion"] == "neutral"]
    (folder / "neutral_prompts.json").write_text(json.dumps({"prompts": neutral}))
    with pytest.MonkeyPatch.context() as patch:
        shorter(patch)
        for model in (A, B):
            argv = ["extract", "--model", model, "--dataset", f"{folder}/set.jsonl", "--results", f"{folder}/results"]
            assert main(argv) == 0
    return folder


@pytest.fixture
def here(pair, shorter, monkeypatch) -> Path:
    shorter(monkeypatch)
    monkeypatch.chdir(pair)
    return pair / "results" / "baseline"


def test_align_writes_the_map_and_every_number_beside_its_nulls(run, here):
    found = run("align", "--model", A, "--model2", B, *FEW, "--json")
    assert found.status == 0, found.err
    result = json.loads(found.out)
    assert {m["emotion"] for m in result["measures"]} == {"gratitude", "anger", "apology", "all"}
    assert all(m["chance"] is not None and m["n_unique"] == 8 for m in result["measures"])
    aligner, metadata = load_aligner(result["file"])
    assert aligner.n_fit_ == 100 and metadata["layer_b"] == result["layer_b"] == 3
    table = pd.read_parquet(here / "cross_model" / "reference--gpt2_to_reference--gpt2-twin_layers.parquet")
    assert tuple(table.columns) == PairMeasure._fields and table.groupby(["layer_a", "layer_b"]).ngroups == 4


def test_the_data_set_s_own_neutral_texts_do_not_teach_the_map(run, here):
    found = run(
        "align", "--model1", A, "--model2", B, "--neutral_prompts_file", "neutral_prompts.json",
        "--model1_activations_dir", here / "activations/reference--gpt2",
        "--model2_activations_dir", here / "activations/reference--gpt2-twin",
        "--output", "map.pkl", "--n-components", 10, *FEW,
    )  # fmt: skip
    assert found.status == 0 and "best untrained" in found.out and "shuffled labels" in found.out, found.err
    assert "16 of the 16 texts" in found.err and "bundled neutral texts instead" in found.err
    aligner, _ = load_aligner("map.safetensors")
    assert aligner.source_.n_components == 10


def test_transfer_judges_both_directions(run, here):
    found = run("transfer", "--models", A, B, *FEW, "--shuffled", 2, "--json")
    assert found.status == 0, found.err
    measures = json.loads(found.out)["measures"]
    assert {(m["model_a"], m["model_b"]) for m in measures} == {(A, B), (B, A)}
    slopes = [m for m in measures if m["statistic"].startswith("slope of own")]
    assert len(slopes) == 12 and all(m["null"] == "2 shuffled maps" and m["n_unique"] == 24 for m in slopes)


@pytest.mark.parametrize(
    ("by", "cells"), [("vectors", 3), ("token-vectors", 3), ("subspaces", 1), ("cka", 1), ("rsa", 1), ("neighbours", 1)]
)
def test_compare_stands_between_chance_and_ceiling(run, here, by, cells):
    found = run("compare", "--by", by, "--model", A, "--model2", B, "--layers", 3, "--draws", 99, "--json")
    assert found.status == 0, found.err
    measures = json.loads(found.out)["measures"]
    assert len(measures) == cells
    for m in measures:
        assert m["null_low"] <= m["chance"] <= m["null_high"] and 0 < m["p"] <= 1 and m["ceiling"] <= 1


def test_subspace_writes_bases_and_how_stable_they_are(run, here):
    argv = ("subspace", "--activations_dir", here / "activations/reference--gpt2", "--layers", 3)
    found = run(*argv, "--output", "subspaces.pkl", "--n-components", 10)
    assert found.status == 0, found.err
    assert "k = 10 takes the paired differences" in found.err
    assert Path("subspaces.safetensors").is_file()
    [m] = json.loads(run(*argv, "--json").out)["measures"]
    assert m["ci_low"] <= m["value"] <= m["ci_high"] and m["null_high"] < m["value"]


def test_k_sweep_takes_short_names_below_one_folder(run, here, monkeypatch):
    monkeypatch.setattr(_compare, "fit_data", lambda bank, name: fit_data(bank, name, 100))
    found = run(
        "k-sweep", "--activations_dir", here / "activations", "--model1", A, "--model2", B,
        "--output", "sweep.json", "--k-values", 2, 5, "--layers", 3,
    )  # fmt: skip
    assert found.status == 0, found.err
    rows = json.loads(Path("sweep.json").read_text())["measures"]
    assert [m["kind"] for m in rows] == ["paired, k = 2, not aligned", "paired, k = 5, not aligned"]
    aligned = run("k-sweep", "--model", A, "--model2", B, "--k-values", 2, "--layers", 3, "--aligned", "--json")
    assert aligned.status == 0, aligned.err
    assert json.loads(aligned.out)["measures"][0]["value"] > rows[0]["value"]


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (("align", "--model", A, "--model2", "reference/gpt-neo"), "no activations of reference/gpt-neo"),
        (("align", "--model", A, "--model2", B, "--fit", "poetry"), "no such texts to fit maps on"),
        (("align", "--model", A, "--model2", B, *FEW[:-2], "8"), "cannot be aligned at these layers"),
        (("align", "--model", A, "--model2", B, "--layers", "-1"), "cannot be aligned at these layers"),
        (("align", "--model", A, "--model2", B, "--n-components", "500", *FEW), "cannot be reduced"),
        (("transfer", "--models", A), "two different models"),
        (("transfer", "--models", A, B, "--dose", "nan"), "not a finite number"),
        (("compare", "--model", A, "--model2", B, "--layers", "9"), "no layer 9"),
        (("compare", "--by", "components", "--model", A, "--model2", B, "--layers", "3"), "over all layers"),
        (("compare", "--by", "vectors", "--model", A, "--model2", B, "--layers", "9"), "no layer 9"),
        (("subspace",), "Neither activations nor a model"),
        (("subspace", "--model", A, "--kind", "within-class"), "belongs to one emotion"),
        (("subspace", "--model", A, "--n-components", "400", "--layers", "3"), "400"),
        (("k-sweep", "--model", A, "--model2", B, "--k-values", "0"), "No overlap for these dimensions"),
    ],
)
def test_what_cannot_be_is_one_clear_error(run, here, argv, problem):
    found = run(*argv)
    assert found.status == 2, found.out
    assert problem in found.err and len([x for x in found.error_lines if not x.startswith("note")]) <= 4
