"""heads, units, swap and circuit."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from shallow import N_BLOCKS

from emotion_circuits import prompts
from emotion_circuits.directions import load_directions, save_directions
from emotion_circuits.prompts import build

MODEL = ("--model", "reference/gpt2")
CHOSEN = (3, 4, 5, 8, 9, 13, 14, 17)
"""Scenarios of which most make pairs of anger or apology under the model, and two of gratitude."""


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Class files of some scenarios, as `prompts build` writes them."""
    folder = tmp_path_factory.mktemp("texts")
    build("baseline", folder)
    for file in folder.glob("*_prompts.json"):
        columns = json.loads(file.read_text())
        file.write_text(json.dumps({name: [values[i] for i in CHOSEN] for name, values in columns.items()}))
    return folder


@pytest.fixture
def in_folder(tmp_path, monkeypatch, quick):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_screen_of_heads_and_its_table(run, in_folder, texts):
    argv = ("heads", "screen", *MODEL, "--prompts-file", texts / "anger_prompts.json", "--exact", 3)
    found = run(*argv, "--json")
    assert found.status == 0, found.err
    assert "pairs of equally many tokens from 8 scenarios" in found.err
    result = json.loads(found.out)
    table = pd.read_parquet(in_folder / "results/baseline/heads/screen_reference--gpt2.parquet")
    assert {"layer", "head", "emotion", "score", "p"} <= set(table.columns)
    assert len(table) == N_BLOCKS * 6 and set(table["emotion"]) == {"anger"}
    best = result["best"]["anger"][0]
    assert abs(best["score"]) == table["score"].abs().max()
    assert -1 <= result["spearman"]["anger"]["spearman"] <= 1
    shown = run(*argv, "--output", in_folder / "heads.json")
    assert "Spearman of estimate and exact" in shown.out and "p max-T" in shown.out
    assert len(json.loads((in_folder / "heads.json").read_text())) == N_BLOCKS * 6


def test_ablating_and_patching_named_heads(run, in_folder, texts):
    argv = (*MODEL, "--head-spec", "2:5,3:2", "--random", 2)
    found = run("heads", "ablate", *argv, "--prompts-file", texts / "anger_prompts.json", "--method", "zero", "mean",
                "--output", "ablated.pkl", "--json")  # fmt: skip
    assert found.status == 0, found.err
    rows = json.loads(found.out)["effects"]
    assert [(r["method"], r["statistic"]) for r in rows] == [
        (m, s) for m in ("zero", "mean") for s in ("loss in emotion prompts", "loss of the gap")
    ]
    assert len(pd.read_parquet(in_folder / "ablated.parquet")) == 4
    patched = run(
        "heads", "patch", *argv, "--neutral-prompts", texts / "neutral_prompts.json",
        "--emotion-prompts", texts / "anger_prompts.json",
    )  # fmt: skip
    assert patched.status == 0 and "noising" in patched.out and "denoising" in patched.out


def test_text_without_named_heads(run, in_folder, texts):
    some = (
        "heads", "ablate", *MODEL, "--head-spec", "3:3", "--random", 2, "--prompts-file",
        texts / "apology_prompts.json", "--text", "--scorers", "markers", "--max-tokens", 4, "--n-samples", 1,
    )  # fmt: skip
    argv = (*some, "--method", "zero", "resample")
    found = run(*argv, "--json")
    assert found.status == 0, found.err
    assert "no text under ablation by resample" in found.err
    result = json.loads(found.out)
    folder = in_folder / "results/baseline/heads"
    table = pd.read_parquet(folder / "head_ablate_reference--gpt2_texts.parquet")
    assert len(table) == len(result["text_effects"]) == 2
    assert [*table["prompts"]] == ["emotion", "neutral"] and set(table["method"]) == {"zero"}
    assert table[["effect", "ci_low", "chance", "damage", "p_random"]].notna().all(axis=None)
    lines = [json.loads(line) for line in (folder / "head_ablate_reference--gpt2.jsonl").read_text().splitlines()]
    pairs = table["n_prompts"].iloc[0]
    assert len(lines) == 2 * pairs * (1 + 1 + 2) and {line["components"] for line in lines} == {"3:3"}
    assert {line["arm"] for line in lines} == {"clean", "ablated, zero", "random ablated, zero"}
    shown = run(*argv, "--output", "some.json")
    assert shown.status == 0 and "What is written without them" in shown.out and "over clean text's" in shown.out
    assert len(json.loads((in_folder / "some_texts.json").read_text())) == 2
    refused = run(*some, "--method", "resample")
    assert refused.status == 2 and "zero or mean" in refused.err
    refused = run(*argv, "--scorers", "vader")
    assert refused.status == 2 and "does not score" in refused.err


def test_effects_on_the_projection(run, in_folder, texts, recorded):
    some = (*MODEL, "--prompts-file", texts / "apology_prompts.json", "--outcome", "projection")
    vectors = ("--vectors-file", recorded / "mean.safetensors")
    found = run("heads", "ablate", *some, "--head-spec", "0:3", "--method", "zero", "--random", 2, *vectors, "--json")
    assert found.status == 0, found.err
    rows = json.loads(found.out)["effects"]
    assert len(rows) == 2 and {row["outcome"].split(" at ")[0] for row in rows} == {"projection"}
    assert all(row["ci_low"] <= row["value"] <= row["ci_high"] for row in rows)
    for argv in (
        ("heads", "patch", "--head-spec", "0:3"),
        ("units", "ablate", "--unit-spec", "0:3", "--method", "zero"),
    ):
        shown = run(*argv[:2], *some, *argv[2:], "--random", 2, *vectors)
        assert shown.status == 0 and "the residual stream's own units" in shown.out, shown.err
    early = load_directions(recorded / "mean.safetensors").with_layers(dict.fromkeys(prompts.bank().emotions, 1))
    save_directions(early, in_folder / "early.safetensors")
    beyond = run(
        "heads", "ablate", *some, "--head-spec", "3:2", "--method", "zero", "--vectors-file", "early.safetensors"
    )
    assert beyond.status == 2 and "is read before some components" in beyond.err
    nothing = run("heads", "ablate", *some, "--head-spec", "0:3")
    assert nothing.status == 2 and "There are no directions of reference/gpt2 yet" in nothing.err
    screened = run("heads", "screen", *some, "--exact", 2, *vectors)
    assert screened.status == 0 and "the residual stream's own units" in screened.out


def test_units(run, in_folder, texts):
    some = ("--prompts-file", texts / "anger_prompts.json")
    found = run("units", "screen", *MODEL, *some, "--exact", 3, "--json")
    assert found.status == 0, found.err
    table = pd.read_parquet(in_folder / "results/baseline/heads/units_reference--gpt2.parquet")
    assert len(table) == N_BLOCKS * 768 and table["exact"].notna().sum() == 3
    ablated = run("units", "ablate", *MODEL, *some, "--unit-spec", "2:5,3:700", "--method", "zero", "--random", 2)
    assert ablated.status == 0 and "2:5,3:700" in ablated.out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--head-spec", "12:99"), "no head 12:99"),
        (("--head-spec", "a:b"), "'a:b'"),
        (("--head-spec", ""), "No heads"),
        (("--head-spec", "1:1,1:1"), "twice"),
        (("--head-spec", "1:1", "--emotion", "joy"), "joy"),
        (("--head-spec", "1:1", "--output", "x.csv"), ".csv"),
        (("--head-spec", "1:1", "--prompts-file", "nowhere.json"), "nowhere.json"),
    ],
)
def test_what_is_refused(run, in_folder, argv, said):
    found = run("heads", "ablate", *MODEL, *argv)
    assert found.status == 2 and said in found.err and found.out == "" and len(found.error_lines) <= 4


def test_pairs_by_place_where_files_name_no_scenarios(texts, tmp_path):
    from emotion_circuits.cli._components import read_texts
    from emotion_circuits.cli._options import STORE_OPTIONS

    files = []
    for emotion in ("anger", "neutral"):
        columns = json.loads((texts / f"{emotion}_prompts.json").read_text())
        files.append(tmp_path / f"{emotion}_prompts.json")
        files[-1].write_text(json.dumps({"prompts": columns["prompts"]}))
    for given in (files, files[:1]):
        found = read_texts(STORE_OPTIONS, given)
        assert found.is_matched and len(found.scenarios) == len(CHOSEN)
    data = prompts.bank().profile("baseline")
    [first] = [t for t in data.select("neutral") if t.scenario == data.scenarios[CHOSEN[0]]]
    assert first.text in {t.text for t in found}
