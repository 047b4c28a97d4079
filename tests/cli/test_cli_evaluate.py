"""generate --output and evaluate: the two commands chain."""

from __future__ import annotations

import json
import math
import shutil
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pandas as pd
import pytest

from emotion_circuits.cli import main
from emotion_circuits.models import ModelName
from emotion_circuits.models._sources import reference_folder

PROMPTS = ("She opened the letter and said:", 'The bus stopped and he said: "', "Later he wrote:")
# At a larger dose a model of few blocks invents words, which a tokenizer splits otherwise than it wrote them.
WRITING = ("--emotion", "anger", "--dose", "0.1", "--prompt", *PROMPTS, "--max-tokens", "8", "--temperature", "0.7",
           "--n-samples", "2")  # fmt: skip


@pytest.fixture
def vectors(recorded, quick):
    return ("--model", "reference/gpt2", "--vectors", recorded / "mean.safetensors")


@pytest.fixture(scope="module")
def written(recorded, shorten, tmp_path_factory):
    """A file of texts that the command wrote, and what it said; nobody changes it."""
    path, out = tmp_path_factory.mktemp("written") / "texts.jsonl", StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out):
        shorten(patch)
        argv = ("generate", "--model", "reference/gpt2", "--vectors", recorded / "mean.safetensors", *WRITING,
                "--output", path.with_suffix(""), "--json")  # fmt: skip
        assert main([str(token) for token in argv]) == 0
    return path, json.loads(out.getvalue())


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_generate_writes_a_line_for_each_text(run, vectors, written):
    path, said = written
    assert (said["n"], said["emotion"], said["dose"], said["file"]) == (18, "anger", 0.1, str(path))
    lines = lines_of(path)
    assert {line["arm"] for line in lines} == {"clean", "steered", "random"}
    for line in lines:
        expected = (None, None, None) if line["arm"] == "clean" else ("anger", 0.1, said["layer"])
        assert (line["emotion"], line["dose"], line["layer"]) == expected
        assert line["prompt"] in PROMPTS and line["sample"] in (0, 1)
    nested = json.loads(run("generate", *vectors, *WRITING, "--json").out)["texts"]
    flat = [
        (r["prompt"], r[arm]["text"], r[arm]["perplexity"]) for r in nested for arm in ("clean", "steered", "random")
    ]
    assert flat == [(line["prompt"], line["text"], line["perplexity"]) for line in lines]


def test_bundled_beginnings_as_many_as_asked_for(run, vectors):
    argv = ("generate", *vectors, "--emotion", "anger", "--max-tokens", 1, "--json", "--n-prompts")
    found = json.loads(run(*argv, 10).out)["texts"]
    assert len({row["prompt"] for row in found}) == 10
    refused(run(*argv, 61), "1 to 60")


def test_what_generate_wrote_is_evaluated(run, written, tmp_path):
    path, said = written
    outcome = run("evaluate", "--input", path, "--output", tmp_path / "e.pkl", "--json")
    assert outcome.status == 0, outcome.err
    found = json.loads(outcome.out)
    assert {row["scorer"] for row in found["scores"]} == {"markers", "vader", "offline"}
    assert {row["arm"]: row["n_texts"] for row in found["damage"]} == {"clean": 6, "random": 6, "steered": 6}
    [clean, _, steered] = found["damage"]
    assert clean["perplexity_ratio"] == 1 and all(row["regime"] for row in found["damage"])
    lines = [line for line in lines_of(path) if line["arm"] == "steered"]
    assert steered["perplexity"] == pytest.approx(math.exp(np.mean([math.log(line["perplexity"]) for line in lines])))
    own = [row for row in found["scores"] if row["arm"] == "steered" and row["scored"] == "anger"]
    assert {row["scorer"]: row["chance_of"] for row in own} == {"markers": "random", "offline": "random"}
    assert all(0 <= row["wrong_way"] <= 1 and row["layer"] == said["layer"] for row in own)
    assert {row["statistic"] for row in found["scorers"]} == {"AUROC", "accuracy"}
    table = pd.read_parquet(tmp_path / "e.parquet")
    assert len(table) == len(found["scores"]) == 3 * 8
    assert table["value"].tolist() == [row["value"] for row in found["scores"]]


def test_the_model_gives_the_perplexities_that_generate_stored(run, quick, written):
    path, _ = written
    stored, computed = (
        json.loads(run("evaluate", "--input", path, "--scorers", "markers", *argv, "--json").out)["damage"]
        for argv in ((), ("--model", "reference/gpt2", "--judge-model", "reference/gpt2"))
    )
    for one, other in zip(stored, computed, strict=True):
        assert one["perplexity"] == pytest.approx(other["perplexity"], rel=1e-4)
        assert other["judge_ratio"] == pytest.approx(other["perplexity_ratio"])
        assert one["judge_ratio"] is None


def test_the_screen(run, written):
    path, _ = written
    outcome = run("evaluate", "--input", path)
    assert outcome.status == 0
    for words in ("wrong way", "harmonic", "chance", "Damage", "regime", "real-world", "not adjusted", "left out here"):
        assert words in outcome.out
    assert "nan" not in outcome.out.lower()


def test_text_of_any_origin_without_clean_text(run, tmp_path):
    rows = [{"prompt": f"p{i}", "text": text, "more": 1} for i, text in enumerate(("Thanks!", "", "The bus is late."))]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    outcome = run("evaluate", "--input", tmp_path / "t.jsonl", "--scorers", "markers")
    assert outcome.status == 0 and "no arm `clean`" in outcome.out and "1 of 3 texts are empty" in outcome.out
    found = json.loads(run("evaluate", "--input", tmp_path / "t.jsonl", "--scorers", "markers", "--json").out)
    assert found["scores"][0]["value"] == 0.5 and found["scores"][0]["n_texts"] == 2
    assert found["scores"][0]["difference"] is None


def refused(outcome, *said):
    assert (outcome.status, outcome.out) == (2, "")
    assert 1 <= len(outcome.error_lines) <= 4
    for words in said:
        assert words in outcome.err


def test_what_evaluate_refuses(run, tmp_path, monkeypatch):
    path = tmp_path / "t.jsonl"
    path.write_text('{"prompt": "p", "text": "x"}\n')
    refused(run("evaluate"), "--input")
    refused(run("evaluate", "--input", tmp_path / "no.jsonl"), "no.jsonl")
    refused(run("evaluate", "--input", path.rename(tmp_path / "t.xlsx")), ".jsonl", ".csv")
    (tmp_path / "t.xlsx").rename(path)
    refused(run("evaluate", "--input", path, "--scorers", "joy"), "joy", "markers")
    refused(run("evaluate", "--input", path, "--scorers", "vader", "vader"), "twice")
    refused(run("evaluate", "--input", path, "--output", "x.csv"), ".parquet")
    refused(run("evaluate", "--input", path, "--model", "reference/nothing"), "reference/nothing")
    language_model = tmp_path / "lm"
    shutil.copytree(reference_folder(ModelName.parse("reference/gpt2")), language_model)
    refused(run("evaluate", "--input", path, "--scorers", f"hf:{language_model}"), "no sequence classifier", "GPT2")
    path.write_text('{"prompt": "p", "text": "x"}\n{"text": "x"}\n')
    refused(run("evaluate", "--input", path), "line 2", "prompt")
    path.write_text('{"prompt": "p", "text": "x"}\n{"prompt": "p"}\n')
    refused(run("evaluate", "--input", path), "line 2")
