"""score: the contract that users' scripts rely on."""

from __future__ import annotations

import io
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from emotion_circuits import prompts
from emotion_circuits.directions import load_activations, load_directions, project, save_directions
from emotion_circuits.models import first_tokens

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
        / directions.generic.unit[layer + 1]
    )


def test_a_score_is_the_projection_of_the_definition(run, argv, recorded, one_load):
    directions = load_directions(recorded / "mean.safetensors")
    lm = one_load("reference/gpt2", device="auto", dtype="float32", bos="auto")
    rows = json.loads(run(*argv, "--text", *TEXTS[:2], "--layer", 2, "--kind", "specific", "--json").out)
    for text, row in zip(TEXTS, rows, strict=False):
        assert (row["text"], row["layer"], row["position"]) == (text, 2, "mean")
        assert list(row["scores"]) == list(directions.emotions)
        for emotion, value in row["scores"].items():
            assert value == pytest.approx(by_hand(lm, directions, text, emotion, 2), abs=1e-5)


def test_lines_keep_their_own_fields(run, argv, recorded, tmp_path):
    lines = [{"id": i, "text": t, "note": {"von": "Jörg"}} for i, t in enumerate(TEXTS)]
    (tmp_path / "in.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    outcome = run(*argv, "--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.jsonl")
    assert outcome.status == 0
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [{k: row[k] for k in ("id", "text", "note")} for row in written] == lines
    assert all(set(row) == {"id", "text", "note", "scores", "percentile", "layer", "position"} for row in written)
    best = load_directions(recorded / "mean.safetensors").detectors
    chosen = {emotion: layer for emotion, (_, layer) in best.items()}
    expected = next(iter(chosen.values())) if len(set(chosen.values())) == 1 else chosen
    assert all(row["layer"] == expected for row in written)
    one = json.loads(run(*argv, "--text", TEXTS[1], "--json").out)[0]
    assert one["scores"] == pytest.approx(written[1]["scores"], abs=1e-5)


def test_a_text_without_a_score_is_named(run, argv, tmp_path, monkeypatch):
    from emotion_circuits import scoring

    whole = scoring.score_texts

    def first_lost(lm, directions, texts, **options):
        found = whole(lm, directions, texts, **options)
        lost = found[0]._replace(scores=dict.fromkeys(found[0].scores, float("nan")))
        return [lost, *found[1:]]

    monkeypatch.setattr(scoring, "score_texts", first_lost)
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS[:2]))
    outcome = run(*argv, "--input", tmp_path / "in.jsonl", "--json")
    assert outcome.status == 0
    assert "in.jsonl, line 1" in outcome.err and "not finite" in outcome.err and "line 2" not in outcome.err
    assert [None in row["scores"].values() for row in json.loads(outcome.out)] == [True, False]


@pytest.mark.parametrize(("chosen", "shown"), [({"anger": 2, "apology": 2, "gratitude": 2}, 2), (None, None)])
def test_layer_is_a_number_unless_emotions_differ(run, argv, recorded, tmp_path, chosen, shown):
    chosen = chosen or {"anger": 2, "apology": 3, "gratitude": 2}
    save_directions(load_directions(recorded / "mean.safetensors").with_layers(chosen), tmp_path / "v.safetensors")
    [row] = json.loads(run(*argv[:3], "--vectors-file", tmp_path / "v.pkl", "--text", "Hello there.", "--json").out)
    assert row["layer"] == (shown or chosen)


def test_the_screen_says_what_zero_is_and_what_is_usual(run, argv, recorded):
    outcome = run(*argv, "--text", *TEXTS)
    assert outcome.status == 0
    assert "0 is the mean of 32 generic texts" in outcome.out and TEXTS[2] in outcome.out
    found = load_directions(recorded / "mean.safetensors")
    for emotion, (kind, layer) in found.detectors.items():
        assert f"{emotion} by {kind} at layer {layer}" in outcome.out
        assert f"{emotion} {found.ordinary_score(emotion, kind, layer, 0.95):.3f}" in outcome.out


def test_percentiles_are_those_among_generic_texts(run, argv, recorded):
    """A generic text's percentile is its rank among all of them, along the kind and layer that are best."""
    found = load_directions(recorded / "mean.safetensors")
    texts = [t.text for t in prompts.ordinary(256)]
    rows = json.loads(run(*argv, "--text", *texts[::16], "--json").out)
    assert set(found.detectors) == set(found.emotions)
    for emotion, (kind, layer) in found.detectors.items():
        every = project(load_activations(recorded / "acts" / "ordinary"), found, emotion, kind, layer + 1)
        for row, score in zip(rows, every[::16], strict=True):
            assert row["scores"][emotion] == pytest.approx(score, abs=1e-5)
            assert row["percentile"][emotion] == pytest.approx(100 * (every < score).mean(), abs=1.5)


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
        ('{"text": " "}\n', "text is empty"),
        ("\n", "no texts"),
        ('{"text": "a"}\n{"text": "\\ud800 b"}', "line 2: half of a surrogate pair"),
        ('{"text": "a", "id": {"\\udfff": 1}}', "line 1: half of a surrogate pair"),
        ('{"text": "a", "text": "b"}', "'text' is there twice"),
        ('{"text": "a", "id": NaN}', "NaN is not a finite number"),
        ('{"text": "a", "id": 1e999}', "1e999 is not a finite number"),
        pytest.param(f'{{"text": "a", "id": {"9" * 5000}}}', "a value that cannot be kept", id="digits"),
        pytest.param(f'{{"text": "a", "id": {"[" * 200_000}', "line 1: nested too deeply", id="200,000 brackets"),
        pytest.param(f'{{"text": "a", "id": {"[" * 400}{"]" * 400}}}', "line 1: nested too deeply", id="400 lists"),
        ('{"text": "a"}\n{"text": "b\0"}', "line 2: not text"),
        ("id,txt\n1,a\n", "line 1: not JSON"),
    ],
)
def test_a_malformed_file_is_named_with_its_line_before_a_model_loads(run, argv, tmp_path, monkeypatch, content, said):
    monkeypatch.setattr("emotion_circuits.engine.load_verified", None)
    (tmp_path / "in.jsonl").write_text(content)
    refused(run(*argv, "--input", tmp_path / "in.jsonl"), "in.jsonl", said)


@pytest.mark.parametrize("field", ["scores", "percentile", "layer", "position"])
def test_a_field_that_score_adds_is_never_written_over(run, argv, tmp_path, monkeypatch, field):
    line = {"text": "Hello there.", field: {"mine": ["ground floor"]}}
    (tmp_path / "in.jsonl").write_text('{"text": "fine"}\n' + json.dumps(line))
    with monkeypatch.context() as patch:
        patch.setattr("emotion_circuits.engine.load_verified", None)
        refused(run(*argv, "--input", tmp_path / "in.jsonl", "--json"), "line 2", f"'{field}'", "--prefix")
    outcome = run(*argv, "--input", tmp_path / "in.jsonl", "--json", "--prefix", "ec_")
    row = json.loads(outcome.out)[1]
    assert row.items() >= line.items()
    assert {"ec_scores", "ec_percentile", "ec_layer", "ec_position"} == set(row) - set(line)


def test_a_line_is_written_back_byte_for_byte(run, argv, tmp_path):
    odd = '{ "id":1.10, "big": 123456789012345678901234, "exact": 0.10000000000000000555, "text":"\\u0041\u2028 Hi." }'
    (tmp_path / "in.jsonl").write_bytes(b"\xef\xbb\xbf" + f"\r\n{odd}\r\n\r\n".encode())
    assert run(*argv, "--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.ndjson").status == 0
    [written] = (tmp_path / "out.ndjson").read_text().rstrip("\n").split("\n")
    assert written.startswith(odd[:-2] + ', "scores": ')
    assert json.loads(written)["text"] == "A\u2028 Hi."


CSV = 'id,text\n1,"Thank you, ""dear"".\r\nAgain."\n\n2,Fine.\n'
TWO = ['Thank you, "dear".\r\nAgain.', "Fine."]


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("a.csv", CSV.encode(), TWO),
        ("a.CSV", b"\xef\xbb\xbf" + CSV.encode(), TWO),
        ("a.tsv", b"text\tid\nHello, you\t3\n", ["Hello, you"]),
        ("a.ndjson", b'{"text": "a"}\n', ["a"]),
        ("a.JSONL", '{"text": "ä"}\n'.encode("utf-16"), ["ä"]),
        ("a.txt", "\nä b\r\n\n c\u2028d\n".encode(), ["ä b", " c\u2028d"]),
        ("a.json", b'["a", {"text": "b", "id": 1}]', ["a", "b"]),
        ("a.json", b'{"prompts": ["a"]}', ["a"]),
        ("pipe", b'{"text": "a"}\n', ["a"]),
        ("-", b'{"text": "a"}\n', ["a"]),
    ],
)
def test_every_kind_of_file_of_texts_is_read(run, argv, tmp_path, monkeypatch, name, content, texts):
    monkeypatch.chdir(tmp_path)
    if name == "-":
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    elif name == "pipe":
        os.mkfifo(name)
        threading.Thread(target=Path(name).write_bytes, args=(content,)).start()
    else:
        Path(name).write_bytes(content)
    outcome = run(*argv, "--input", name, "--json")
    assert (outcome.status, [row["text"] for row in json.loads(outcome.out)]) == (0, texts)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"id,txt\n1,a\n", "line 1: the header needs a column `text`"),
        ("a.csv", b"text,id,id\na,1,2\n", "every name once"),
        ("a.csv", b'text,id\n"a\nb",1\nc\n', "line 4: 1 fields"),
        ("a.csv", b'text\na\n"never closed\n', "line 3: not a table"),
        ("a.csv", b"text,id\n ,1\n", "line 2: the text is empty"),
        ("a.tsv", b"\xff\xfeq", "UTF-8"),
        ("a.txt", b"fine\nb\xff\n", "line 2: not UTF-8"),
        ("a.xlsx", b"PK", "accepted: .jsonl"),
        ("a.json", b'{"texts": ["a"]}', "no list of texts"),
        ("a.json", b'["a", 3]', "text 2"),
    ],
)
def test_other_files_are_refused_with_their_line(run, argv, tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    refused(run(*argv, "--input", tmp_path / name), name, said)


def test_a_folder_is_no_file_of_texts(run, argv, tmp_path):
    refused(run(*argv, "--input", tmp_path), "cannot read", "directory")


def test_a_text_that_is_too_long_is_named_or_cut_at_a_token(run, argv, tmp_path, one_load):
    lm = one_load("reference/gpt2", device="auto", dtype="float32", bos="auto")
    long = "Thank you, dear, " * lm.max_positions
    (tmp_path / "in.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in ("Hi.", long)))
    count = len(lm.tokenizer(long)["input_ids"])
    refused(run(*argv, "--input", tmp_path / "in.jsonl"), "line 2", f"{count} tokens", "at most", "--truncate")
    outcome = run(*argv, "--input", tmp_path / "in.jsonl", "--truncate", "--json")
    short, cut = json.loads(outcome.out)
    assert (short["truncated"], cut["truncated"], cut["text"]) == (False, True, long)
    kept = first_tokens(lm, long)
    [ids] = [one.ids for one in lm.encode([kept])]
    whole = lm.tokenizer(long, add_special_tokens=False)["input_ids"]
    assert list(ids[int(lm.bos) :]) == whole[: lm.max_positions - int(lm.bos)]
    [alone] = json.loads(run(*argv, "--text", kept, "--json").out)
    assert alone["scores"] == pytest.approx(cut["scores"], abs=1e-6)


def test_what_cannot_be_scored(run, argv, recorded, tmp_path, monkeypatch):
    refused(run(*argv), "--text")
    refused(run(*argv, "--text", ""), "empty")
    refused(run(*argv, "--text", "x", "--input", "y.jsonl"), "both")
    refused(run(*argv, "--input", tmp_path / "no.jsonl"), "no.jsonl")
    refused(run(*argv, "--text", "Hello", "--layer", 4), "no layer 4", "0 to 3")
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
