"""score: the contract that users' scripts rely on."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from emotion_circuits.directions import load_directions, save_directions

TEXTS = ("Thank you so much for your help with the move.", "How dare you, you ruined it!", "雨が降っている。")


@pytest.fixture
def argv(recorded, quick):
    return ("score", "--model", "reference/gpt2", "--vectors", recorded / "mean.safetensors")


def by_hand(lm, directions, text, emotion, layer):
    """From transformers' own hidden states: mean over tokens with a letter, without the first."""
    encoded = lm.encode([text])[0]
    with torch.inference_mode():
        states = lm.hf(input_ids=torch.tensor([encoded.ids]), output_hidden_states=True).hidden_states[layer + 1][0]
    kept = [
        k
        for k, (a, b) in enumerate(encoded.offsets)
        if k >= max(1, encoded.bos_length) and any(c.isalnum() for c in text[a:b])
    ]
    vector = directions.vectors["specific"][emotion][layer + 1].astype(np.float64)
    h = states[kept].double().numpy().mean(axis=0)
    return (
        (h - directions.generic.mean[layer + 1])
        @ (vector / np.linalg.norm(vector))
        / directions.generic.norm[layer + 1]
    )


def test_a_score_is_the_projection_of_the_definition(run, argv, recorded, one_load):
    directions = load_directions(recorded / "mean.safetensors")
    lm = one_load("reference/gpt2", device="auto", dtype="float32", bos="auto")
    rows = json.loads(run(*argv, "--text", *TEXTS[:2], "--layer", 4, "--json").out)
    for text, row in zip(TEXTS, rows, strict=False):
        assert (row["text"], row["layer"], row["position"]) == (text, 4, "mean")
        assert list(row["scores"]) == list(directions.emotions)
        for emotion, value in row["scores"].items():
            assert value == pytest.approx(by_hand(lm, directions, text, emotion, 4), abs=1e-5)


def test_lines_keep_their_own_fields(run, argv, recorded, tmp_path):
    lines = [{"id": i, "text": t, "note": {"von": "Jörg"}} for i, t in enumerate(TEXTS)]
    (tmp_path / "in.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    outcome = run(*argv, "--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.jsonl")
    assert outcome.status == 0
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [{k: row[k] for k in ("id", "text", "note")} for row in written] == lines
    assert all(set(row) == {"id", "text", "note", "scores", "layer", "position"} for row in written)
    chosen = load_directions(recorded / "mean.safetensors").chosen_layer
    expected = next(iter(chosen.values())) if len(set(chosen.values())) == 1 else dict(chosen)
    assert all(row["layer"] == expected for row in written)
    one = json.loads(run(*argv, "--text", TEXTS[1], "--json").out)[0]
    assert one["scores"] == pytest.approx(written[1]["scores"], abs=1e-5)


@pytest.mark.parametrize(("chosen", "shown"), [({"anger": 2, "apology": 2, "gratitude": 2}, 2), (None, None)])
def test_layer_is_a_number_unless_emotions_differ(run, argv, recorded, tmp_path, chosen, shown):
    chosen = chosen or {"anger": 2, "apology": 5, "gratitude": 2}
    save_directions(load_directions(recorded / "mean.safetensors").with_layers(chosen), tmp_path / "v.safetensors")
    [row] = json.loads(run(*argv[:3], "--vectors-file", tmp_path / "v.pkl", "--text", "Hello there.", "--json").out)
    assert row["layer"] == (shown or chosen)


def test_the_screen_says_what_zero_is(run, argv):
    outcome = run(*argv, "--text", *TEXTS)
    assert outcome.status == 0
    assert "0 is the mean of 32 generic texts" in outcome.out and TEXTS[2] in outcome.out


def test_the_model_follows_from_the_directions(run, argv):
    assert run("score", *argv[3:], "--text", "Hello there.").status == 0


def refused(outcome, *said):
    assert (outcome.status, outcome.out) == (2, "")
    assert 1 <= len(outcome.error_lines) <= 4
    for words in said:
        assert words in outcome.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"text": "a"}\n{"text": 3}\n', "line 2"),
        ('{"text": "a"}\n[1]\n', "line 2"),
        ('{"text": "a"}\n\n{"txt": "b"}\n', "line 3"),
        ('{"text": "a"\n', "line 1"),
        ('{"text": " "}\n', "empty text"),
        ("\n", "no texts"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(run, argv, tmp_path, content, said):
    (tmp_path / "in.jsonl").write_text(content)
    refused(run(*argv, "--input", tmp_path / "in.jsonl"), said)


def test_what_cannot_be_scored(run, argv, recorded, tmp_path, monkeypatch):
    refused(run(*argv), "--text")
    refused(run(*argv, "--text", ""), "empty")
    refused(run(*argv, "--text", "x", "--input", "y.jsonl"), "both")
    refused(run(*argv, "--input", tmp_path / "no.jsonl"), "no.jsonl")
    refused(run(*argv, "--text", "Hello", "--layer", 8), "no layer 8", "0 to 7")
    refused(run(*argv, "--text", "Hello", "--position", "sentence-end"), "another position")
    refused(run(*argv, "--text", "Hello", "--output", recorded / "set.jsonl" / "x.jsonl"), "Cannot write")
    refused(run(*argv, "--text", "Hello", "--output", "x.csv"), ".jsonl")
    refused(run("score", "--text", "Hello"), "--vectors")
    monkeypatch.chdir(tmp_path)
    refused(run(*argv[:3], "--text", "Hello"), "vectors --model reference/gpt2")


def test_directions_of_another_model_are_refused(run, argv):
    refused(run("score", "--model", "reference/gpt-neo", *argv[3:], "--text", "Hello"), "another model")


def test_a_damaged_directions_file_is_refused(run, argv, recorded, tmp_path):
    whole = (recorded / "mean.safetensors").read_bytes()
    for name, content in (("cut", whole[: len(whole) // 2]), ("empty", b""), ("noise", b"\xff" * 1000)):
        (tmp_path / f"{name}.safetensors").write_bytes(content)
        outcome = run(*argv[:3], "--vectors", tmp_path / f"{name}.safetensors", "--text", "Hello")
        refused(outcome, "not a whole safetensors file")
    refused(run(*argv[:3], "--vectors", recorded / "acts" / "generic.safetensors", "--text", "Hello"), "directions-1")


def test_bos_is_that_of_the_directions_and_another_is_refused(run, argv):
    plain, same = (json.loads(run(*argv, *bos, "--text", TEXTS[0], "--json").out) for bos in ((), ("--bos", "on")))
    assert plain == same
    other = run(*argv, "--bos", "off", "--text", TEXTS[0])
    assert other.status == 2 and "another BOS setting" in other.err and "--bos off" in other.err
