"""generate and sweep."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from emotion_circuits.directions import load_directions
from emotion_circuits.statistics import Measure

PROMPTS = ("She opened the letter and said:", 'The bus stopped and he said: "')


@pytest.fixture
def vectors(recorded, quick):
    return ("--model", "reference/gpt2", "--vectors", recorded / "mean.safetensors")


@pytest.fixture
def written(run, vectors):
    def write(*argv):
        outcome = run("generate", *vectors, "--emotion", "anger", "--max-tokens", 8, *argv, "--json")
        assert outcome.status == 0, outcome.err
        return json.loads(outcome.out)

    return write


def test_without_a_dose_all_three_are_the_clean_text(written):
    for row in written("--prompt", *PROMPTS, "--dose", 0)["texts"]:
        assert row["clean"] == row["steered"] == row["random"]


def test_a_dose_changes_the_text_and_not_the_clean_one(written):
    clean, steered = (written("--prompt", *PROMPTS, "--dose", dose, "--layer", 2)["texts"] for dose in (0, 1.5))
    assert [row["clean"] for row in clean] == [row["clean"] for row in steered]
    assert any(row["clean"]["text"] != row["steered"]["text"] for row in steered)
    assert all(row["steered"] != row["random"] for row in steered)


def test_samples_differ_and_a_seed_gives_them_again(written):
    argv = ("--prompt", PROMPTS[0], "--n-samples", 3, "--temperature", 1, "--dose", 0.1)
    first, again, other = written(*argv), written(*argv), written(*argv, "--seed", 7)
    assert first == again
    assert [row["sample"] for row in first["texts"]] == [0, 1, 2]
    assert len({row["clean"]["text"] for row in first["texts"]}) > 1
    assert first["texts"] != other["texts"]


def test_bundled_prompts_files_and_the_screen(run, vectors, written, tmp_path):
    assert len(written()["texts"]) == 3
    (tmp_path / "p.json").write_text(json.dumps({"prompts": list(PROMPTS)}))
    (tmp_path / "p.txt").write_text("\n".join(PROMPTS) + "\n")
    (tmp_path / "p.jsonl").write_text("".join(json.dumps({"text": p}) + "\n" for p in PROMPTS))
    found = [written("--input", tmp_path / f"p.{suffix}")["texts"] for suffix in ("json", "txt", "jsonl")]
    assert [row["prompt"] for row in found[0]] == list(PROMPTS)
    assert found[0] == found[1] == found[2]
    shown = run("generate", *vectors, "--emotion", "anger", "--max-tokens", 3, "--prompt", PROMPTS[0])
    assert shown.status == 0
    assert all(word in shown.out for word in ("clean", "steered", "random", "perplexity", "isotropic"))


def refused(outcome, *said):
    assert (outcome.status, outcome.out) == (2, "")
    assert 1 <= len(outcome.error_lines) <= 4
    for words in said:
        assert words in outcome.err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--dose", "nan"), "finite"),
        (("--dose", "inf"), "finite"),
        (("--layer", 4), "0 to 3"),
        (("--n-samples", 2), "--temperature"),
        (("--prompt", " "), "empty"),
        (("--input", "nowhere.json"), "nowhere.json"),
        (("--prompt", "x", "--max-tokens", 100000), "do not fit"),
    ],
)
def test_what_generate_refuses(run, vectors, argv, said):
    refused(run("generate", *vectors, "--emotion", "anger", *argv), said)


def test_an_unknown_emotion_and_another_model(run, vectors):
    refused(run("generate", *vectors, "--emotion", "joy"), "joy", "gratitude")
    other = ("--model", "reference/gpt-neo", *vectors[2:])
    refused(run("generate", *other, "--emotion", "anger"), "another model")
    refused(run("sweep", *other, "--layers", 1), "another model")


def test_sweep_writes_the_measures_and_says_the_cost_before(run, vectors, tmp_path):
    argv = ("sweep", *vectors, "--layers", 2, 3, "--alpha", -1, 0, 1, "--emotions", "gratitude", "--controls", 4)
    outcome = run(*argv, "--output", tmp_path / "sweep.pkl")
    assert outcome.status == 0
    assert "tokens through the model, about" in outcome.err
    table = pd.read_parquet(tmp_path / "sweep.parquet")
    assert list(table.columns) == list(Measure._fields)
    assert len(table) == 2 * 2 * 3
    assert set(table["kind"]) == {"specific, alpha -1", "specific, alpha 1"}
    words = table[table["statistic"].str.startswith("word-set")]
    assert np.isfinite(words[["value", "ci_low", "ci_high", "chance", "null_low", "null_high"]]).all(axis=None)
    assert words["p"].isin([k / 5 for k in range(1, 6)]).all()
    assert (words["n_unique"] == 12).all()
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG") and "sweep.svg" in outcome.out
    drawn = (tmp_path / "sweep.svg").read_text()
    value = words[(words["layer"] == 3) & (words["kind"] == "specific, alpha 1")]["value"].item()
    assert f"{value:.2f}".replace("-", "−") in drawn and "multiples of the raw difference vector" in drawn
    assert all(word in outcome.out for word in ("chance", "p is not adjusted", "sweep.parquet"))


def test_a_dose_that_overflows_is_reported_as_collapsed(run, vectors, tmp_path):
    argv = ("sweep", *vectors, "--layers", 3, "--dose", 0.2, 1e30, "--emotions", "anger", "--controls", 2)
    outcome = run(*argv, "--output", tmp_path / "a")
    assert outcome.status == 0, outcome.err
    [usual, broken] = [line.split() for line in outcome.out.splitlines() if ", dose " in line and "specific" in line]
    assert broken.count("–") > usual.count("–") == 0 and "nan" not in outcome.out
    assert "1 of 2 cells collapsed" in outcome.out
    found = json.loads(run(*argv, "--output", tmp_path / "b", "--json").out)
    assert found["collapsed"] == [{"emotion": "anger", "layer": 3, "dose": 1e30}]
    assert all((m["value"] is None) == m["kind"].endswith("1e+30") for m in found["measures"])


def test_an_alpha_is_a_dose_of_the_vector_s_own_length(run, vectors, recorded, tmp_path):
    directions = load_directions(recorded / "mean.safetensors")
    dose = directions.direction("anger", 3).norm / float(directions.generic.unit[4])
    argv = ("sweep", *vectors, "--layers", 3, "--emotions", "anger", "--controls", 2, "--json")
    by_alpha = json.loads(run(*argv, "--output", tmp_path / "a", "--alpha", 2).out)["measures"]
    by_dose = json.loads(run(*argv, "--output", tmp_path / "d", "--dose", repr(2 * dose)).out)["measures"]
    for a, d in zip(by_alpha, by_dose, strict=True):
        assert a["value"] == pytest.approx(d["value"], abs=2e-5)
        assert a["null_high"] == pytest.approx(d["null_high"], abs=2e-5)


def test_own_prompts_and_no_controls(run, vectors, tmp_path):
    (tmp_path / "neutral_prompts.json").write_text(
        json.dumps({"prompts": ["The train was", "He wrote:", "It rained."]})
    )
    argv = ("sweep", *vectors, "--layers", 3, "--dose", 0.2, "--emotions", "apology", "--controls", 0, "--json")
    rows = json.loads(run(*argv, "--prompts_file", tmp_path / "neutral_prompts.json", "--output", tmp_path / "x").out)
    assert rows["plots"] == [str(tmp_path / "x.png"), str(tmp_path / "x.svg")]
    [words] = [row for row in rows["measures"] if row["statistic"].startswith("word-set")]
    assert (words["n_unique"], words["chance"], words["p"]) == (3, 0.0, None)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--layers", 1, 3, 5), "0 to 3"),
        (("--dose", "nan"), "finite"),
        (("--alpha", 0), "clean run"),
        (("--alpha", 1, "--dose", 1), "both"),
        (("--emotions", "joy"), "joy"),
        (("--output", "x.csv"), ".parquet"),
        (("--prompts-file", "nowhere.json"), "nowhere.json"),
    ],
)
def test_what_sweep_refuses(run, vectors, argv, said):
    refused(run("sweep", *vectors, *argv), said)


def test_prompts_that_are_no_list_or_too_few(run, vectors, tmp_path):
    for name, content, said in (("a", "{}", "list"), ("b", "{", "JSON"), ("c", '["one"]', "several")):
        (tmp_path / f"{name}.json").write_text(content)
        refused_outcome = run(
            "sweep", *vectors, "--prompts-file", tmp_path / f"{name}.json", "--output", tmp_path / "o"
        )
        refused(refused_outcome, said)


def test_steering_at_chosen_steps(written):
    clean = written("--prompt", *PROMPTS, "--dose", 0)["texts"]
    strong = ("--prompt", *PROMPTS, "--dose", 1.5, "--layer", 2)
    never = written(*strong, "--no-steer-prompt", "--every", 0)["texts"]
    late = written(*strong, "--no-steer-prompt", "--first-step", 8)["texts"]
    always = written(*strong)["texts"]
    assert [r["steered"] for r in never] == [r["clean"] for r in clean] == [r["steered"] for r in late]
    assert [r["steered"] for r in always] != [r["steered"] for r in never]
