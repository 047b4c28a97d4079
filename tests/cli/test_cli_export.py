"""export."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from shallow import N_BLOCKS

from emotion_circuits.directions import load_directions, load_gguf_control_vector, save_directions


@pytest.fixture
def vectors(recorded):
    return ("--vectors", recorded / "mean.safetensors", "--emotion", "anger")


def test_all_layers_but_the_one_without_a_slot(run, vectors, recorded, tmp_path):
    outcome = run("export", *vectors, "--output", tmp_path / "anger.pkl", "--json")
    assert outcome.status == 0, outcome.err
    found = json.loads(outcome.out)
    assert (found["model_hint"], found["dose"], found["kind"], found["left_out"]) == ("gpt2", 0.1, "specific", [0])
    assert list(found["lengths"]) == [str(layer) for layer in range(1, N_BLOCKS)]
    norm = load_directions(recorded / "mean.safetensors").generic.unit
    assert found["lengths"]["3"] == pytest.approx(0.1 * norm[4], rel=1e-6)
    written = load_gguf_control_vector(tmp_path / "anger.gguf")
    assert (written.model_hint, list(written.directions)) == ("gpt2", list(range(1, N_BLOCKS)))


def test_the_screen_says_what_was_left_out_and_how_to_use_the_file(run, vectors, tmp_path):
    outcome = run("export", *vectors, "--output", tmp_path / "v", "--layers", 0, 3, "--dose", -0.2)
    assert outcome.status == 0, outcome.err
    assert "Left out: layer 0" in outcome.out
    assert f"--control-vector {tmp_path / 'v.gguf'}" in outcome.out
    assert list(load_gguf_control_vector(tmp_path / "v.gguf").directions) == [3]


@pytest.mark.parametrize(("spread", "unit"), [(True, "spread of generic text"), (False, "median residual norm")])
def test_the_unit_is_named_as_it_is(run, quick, recorded, tmp_path, spread, unit):
    """Files of before have no spread: their doses are in norms."""
    found = load_directions(recorded / "mean.safetensors")
    generic = found.generic if spread else replace(found.generic, spread=None)
    save_directions(replace(found, generic=generic), tmp_path / "of.safetensors")
    given = ("--vectors", tmp_path / "of.safetensors", "--emotion", "anger")
    shown = run("export", *given, "--output", tmp_path / "v", "--layers", 3)
    assert unit in " ".join(shown.out.split()) and shown.out.count("median residual norm") == (not spread)
    written = run("generate", *given, "--n-prompts", 1, "--max-tokens", 1, "--json")
    assert json.loads(written.out)["unit"].startswith(unit)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--layers", 0), "no slot for layer 0"),
        (("--layers", 4), "0 to 3"),
        (("--emotion", "joy"), "joy"),
        (("--dose", 0), "no vector"),
        (("--output", "v.safetensors"), ".gguf"),
        (("--output", "taken/v.gguf"), "Cannot write"),
        (("--model", "reference/gpt-neo"), "another model"),
        (("--position", "sentence-end"), "another position"),
    ],
)
def test_what_export_refuses(run, recorded, tmp_path, monkeypatch, argv, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("a file")
    emotion = () if "--emotion" in argv else ("--emotion", "anger")
    outcome = run("export", "--vectors", recorded / "mean.safetensors", *emotion, *argv)
    assert (outcome.status, outcome.out) == (2, "")
    assert 1 <= len(outcome.error_lines) <= 4
    assert said in outcome.err
    assert not list(tmp_path.rglob("*.gguf"))
