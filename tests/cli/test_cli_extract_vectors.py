"""extract and vectors: what they write equals what the library gives, and what they refuse."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from shallow import N_BLOCKS

from emotion_circuits import prompts
from emotion_circuits.directions import (
    ESTIMATORS,
    POSITIONS,
    RELATIVE_NORM,
    choose_layers,
    cleaning_rows,
    fit_directions,
    foil_rows,
    generic_statistics,
    intensity_rows,
    load_activations,
    load_directions,
    load_generic,
    save_activations,
    save_generic,
    stability_rows,
)
from emotion_circuits.directions import extract as record


def test_extract_writes_what_the_library_records(recorded, one_load, quick):
    lm = one_load("reference/gpt2", device="auto", dtype="float32", bos="auto")
    data = prompts.read_dataset(recorded / "set.jsonl")
    saved, direct = load_activations(recorded / "acts"), record(lm, data)
    assert saved.data.hash != "" and sorted(t.text for t in saved.data) == sorted(t.text for t in data)
    place = {t.text: i for i, t in enumerate(data)}
    order = [place[t.text] for t in saved.data]
    for position in POSITIONS:
        assert np.array_equal(saved.values[position], direct.values[position][:, order], equal_nan=True)
    assert len(load_activations(recorded / "acts" / "implicit").data) == len(prompts.bank().implicit())


def test_generic_statistics_survive_the_file(recorded, one_load, quick):
    lm = one_load("reference/gpt2", device="auto", dtype="float32", bos="auto")
    fresh = generic_statistics(lm, [t.text for t in prompts.generic_sample(256)])
    for found in (load_generic(recorded / "acts"), load_activations(recorded / "acts").generic):
        assert found.n_texts == fresh.n_texts
        assert all(np.array_equal(a, fresh.tensors()[name]) for name, a in found.tensors().items())


def test_extract_says_what_it_did_and_takes_some_positions(run, quick, recorded, tmp_path):
    argv = ("extract", "--model", "reference/gpt2", "--dataset", recorded / "set.jsonl", "--output", tmp_path / "a")
    result = json.loads(run(*argv, "--positions", "mean", "sentence-end", "--bos", "off", "--json").out)
    assert (result["positions"], result["bos"], result["layers"]) == (["mean", "sentence_end"], False, N_BLOCKS)
    assert result["texts"] == dict.fromkeys(prompts.bank().names, 15)
    saved = load_activations(tmp_path / "a")
    assert set(saved.values) == {"mean", "sentence_end"} and not saved.source.bos


def test_defaults_form_a_chain_through_the_results_folder(run, quick, recorded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("extract", "--model", "reference/gpt2", "--dataset", recorded / "set.jsonl").status == 0
    assert run("vectors", "--model", "reference/gpt2").status == 0
    assert (tmp_path / "results/baseline/emotion_vectors/reference--gpt2_mean.safetensors").is_file()
    shown = run("score", "--model", "reference/gpt2", "--text", "Thank you.")
    assert (shown.status, shown.err) == (0, "")


def test_vectors_writes_fitted_directions_with_layers_chosen_on_implicit_development_texts(recorded):
    found = load_directions(recorded / "mean.safetensors")
    acts = load_activations(recorded / "acts")
    fitted = fit_directions(acts, "mean", load_generic(recorded / "acts"))
    implicit = load_activations(recorded / "acts" / "implicit").select(split="development")
    assert found.chosen_layer == choose_layers(implicit, fitted)
    assert set(found.vectors) == {*ESTIMATORS, "detector"}
    spoken = load_activations(recorded / "acts" / "spoken")
    both = fit_directions(acts.with_texts(spoken), "mean", load_generic(recorded / "acts"), ["probe"])
    for emotion, vector in both.vectors["probe"].items():
        assert np.array_equal(found.vectors["detector"][emotion], vector)
    kinds = {kind for kind, _ in found.detectors.values()}
    assert len(kinds) == 1 and kinds <= set(found.vectors) and set(found.detectors) == set(found.emotions)
    for kind, by_emotion in fitted.vectors.items():
        for emotion, vector in by_emotion.items():
            assert np.array_equal(found.vectors[kind][emotion], vector)


def test_vectors_prints_every_number_beside_chance_and_n(run, recorded, tmp_path):
    outcome = run(
        "vectors", "--activations-dir", recorded / "acts", "--output", tmp_path / "v.pkl", "--kinds", "specific"
    )
    assert outcome.status == 0
    assert "note: pickles are not written" in outcome.err and (tmp_path / "v.safetensors").is_file()
    header = outcome.out.partition("───")[0].splitlines()[-1]
    assert header.count("chance") == 3 and all(name in header for name in ("by chance, 95 %", "95 % interval", " n"))
    chosen = load_directions(tmp_path / "v.safetensors").chosen_layer
    [told] = [line for line in outcome.out.splitlines() if line.startswith("Layers chosen")]
    assert {m[1]: int(m[2]) for m in re.finditer(r"(\w+) (\d+)", told)} == chosen
    rows = json.loads(run("vectors", "--activations-dir", recorded / "acts", "--output", tmp_path / "v", "--json").out)
    assert len(rows["measures"]) == 2 * 3 * (N_BLOCKS + 1)
    assert {row["n_unique"] for row in rows["measures"]} == {15}


def test_an_emotion_s_norm_is_that_of_the_file_in_spreads_of_generic_text(recorded):
    acts, found = load_activations(recorded / "acts"), load_directions(recorded / "mean.safetensors")
    for row in stability_rows(acts, found):
        if row.statistic == RELATIVE_NORM:
            raw = found.direction(row.emotion, row.layer).norm
            assert row.value == pytest.approx(raw / found.generic.unit[row.layer + 1], rel=1e-5)
            assert row.null_low <= row.chance <= row.null_high


@pytest.mark.parametrize("position", ["sentence-end", "sentence_end", "emotion-token", "last-content"])
def test_every_position_is_taken(run, recorded, tmp_path, position):
    argv = ("vectors", "--activations-dir", recorded / "acts", "--output", tmp_path / "v", "--kinds", "specific")
    assert run(*argv, "--position", position).status == 0
    found = load_directions(tmp_path / "v.safetensors")
    assert found.position == position.replace("-", "_")
    assert set(found.chosen_layer) == set(prompts.bank().emotions)


def refused(outcome, *said):
    assert (outcome.status, outcome.out) == (2, "")
    assert 1 <= len(outcome.error_lines) <= 4
    assert "Traceback" not in outcome.err
    for words in said:
        assert words in outcome.err


def test_foils_and_intensity_series_are_recorded_at_mean(recorded):
    for name, data in (("foils", prompts.bank().foils()), ("intensity", prompts.bank().intensity_series())):
        found = load_activations(recorded / "acts" / name)
        assert set(found.data) == set(data) and set(found.values) == {"mean"}


@pytest.fixture(scope="module")
def halves(recorded, tmp_path_factory):
    """The recorded activations with half of the scenarios for test, which the first ones of the bank are not."""
    folder = tmp_path_factory.mktemp("halves")
    for name in ("", "implicit", "foils", "intensity"):
        found = load_activations(recorded / "acts" / name)
        for_test = set(found.data.scenarios[1::2]) if name in ("", "implicit") else ()
        texts = tuple(replace(t, split="test") if t.scenario in for_test else t for t in found.data)
        save_activations(replace(found, data=replace(found.data, texts=texts)), folder / name)
    save_generic(load_generic(recorded / "acts"), folder)
    return folder


@pytest.mark.parametrize("show", ["cleanings", "foils", "intensity"])
def test_every_table_of_vectors_shows_what_the_library_gives(run, halves, tmp_path, show):
    argv = ("vectors", "--activations-dir", halves, "--output", tmp_path / "v.safetensors", "--kinds", "specific")
    outcome = run(*argv, "--show", show)
    assert (outcome.status, outcome.err) == (0, "")
    acts, fitted = halves, load_directions(tmp_path / "v.safetensors")
    explicit, implicit = load_activations(acts), load_activations(acts / "implicit")
    expected = {
        "cleanings": lambda: cleaning_rows(explicit, implicit, "mean", fitted.generic),
        "foils": lambda: foil_rows(explicit, implicit, load_activations(acts / "foils"), fitted),
        "intensity": lambda: intensity_rows(load_activations(acts / "intensity"), fitted, explicit.data),
    }[show]()
    rows = json.loads(run(*argv, "--show", show, "--json").out)["measures"]
    assert [row["value"] for row in rows] == [m.value if m.value == m.value else None for m in expected]
    lines = [line for line in outcome.out.splitlines() if line.partition(" ")[0] in prompts.bank().emotions]
    assert len(lines) == {"cleanings": 18, "foils": 3 * (N_BLOCKS + 2), "intensity": 3 * (N_BLOCKS + 3)}[show]
    assert "chance" in outcome.out


def test_vectors_fits_what_was_asked_for(run, recorded, tmp_path):
    argv = ("vectors", "--activations-dir", recorded / "acts", "--output", tmp_path / "v", "--kinds", "pca", "lda")
    result = json.loads(run(*argv, "--cleaning", "whitened", "--json").out)
    assert (result["kinds"], result["cleaned"]) == (["specific", "pca", "lda"], "whitened")
    found = load_directions(tmp_path / "v.safetensors")
    assert found.cleaned == "whitened" and set(found.vectors) == {"specific", "pca", "lda"}
    assert json.loads(run(*argv, "--share", "0.3", "--json").out)["cleaned"] == 0.3
    refused(run(*argv, "--share", "0.9"), "0 to 0.7")
    refused(run(*argv, "--share", "0.3", "--cleaning", "none"), "--cleaning components")
    refused(run(*argv, "--position", "emotion-token", "--show", "cleanings"), "emotion_token")
    refused(run(*argv, "--show", "foils"), "test scenarios")


def test_extract_refuses_data_sets_it_cannot_read(run, tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "a", "emotion": "anger"}\n{"text": \n')
    argv = ("extract", "--model", "reference/gpt2", "--output", tmp_path / "a", "--dataset")
    refused(run(*argv, tmp_path / "nowhere.jsonl"), "nowhere.jsonl")
    refused(run(*argv, bad), "line 2")
    refused(run(*argv, bad, "--positions", "middle"), "middle", "sentence-end")


def test_folders_that_cannot_be_written_are_refused_before_the_work(run, recorded, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    inside = file / "folder"
    refused(run("extract", "--model", "reference/gpt2", "--output", inside), "Cannot write", "is not a folder")
    refused(run("vectors", "--activations-dir", recorded / "acts", "--output", inside / "v.pkl"), "Cannot write")


def test_extract_refuses_a_folder_where_other_classes_would_remain(run, recorded, tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "activations_joy.safetensors").write_bytes(b"")
    argv = ("extract", "--model", "reference/gpt2", "--dataset", recorded / "set.jsonl", "--output", folder)
    refused(run(*argv), "activations_joy.safetensors")


def test_vectors_refuses_what_is_missing_or_damaged(run, recorded, tmp_path):
    refused(run("vectors"), "--activations-dir")
    refused(run("vectors", "--activations-dir", tmp_path), "extract")
    refused(run("vectors", "--activations-dir", recorded / "acts", "--position", "middle"), "middle")
    refused(run("vectors", "--activations-dir", recorded / "acts", "--model", "gpt2"), "another model")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for path in (recorded / "acts").glob("*.safetensors"):
        (damaged / path.name).write_bytes(path.read_bytes())
    (damaged / "generic.safetensors").unlink()
    refused(run("vectors", "--activations-dir", damaged, "--output", tmp_path / "v"), "generic")
    (damaged / "generic.safetensors").write_bytes(b"\x08" * 100)
    refused(run("vectors", "--activations-dir", damaged, "--output", tmp_path / "v"), "not a whole safetensors file")
    assert not (tmp_path / "v.safetensors").exists()


def test_texts_without_their_neutral_partners_have_no_direction(run, quick, recorded, tmp_path):
    rows = (recorded / "set.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "set.jsonl").write_text(
        "".join(row for row in rows if '"neutral"' not in row)[:2000].rsplit("\n", 1)[0]
    )
    argv = ("extract", "--model", "reference/gpt2", "--dataset", tmp_path / "set.jsonl", "--positions", "mean")
    assert run(*argv, "--output", tmp_path / "a").status == 0
    refused(run("vectors", "--activations-dir", tmp_path / "a", "--output", tmp_path / "v.safetensors"))
