"""A model's directions: how they are fitted, which layer is meant, and what they are projected on."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from planted import SOURCE, matched_data, plain_generic, planted, reordered

from emotion_circuits import prompts
from emotion_circuits.directions import (
    ESTIMATORS,
    KINDS,
    Activations,
    GenericStatistics,
    best_layer,
    choose_layers,
    choose_layers_within,
    cleaned_values,
    default_kinds,
    extract,
    fit_directions,
    generic_statistics,
    project,
    source_of,
)
from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.models import load
from emotion_circuits.prompts import Dataset, Text, bank
from emotion_circuits.statistics import auroc
from tiny_models import VARIANTS, direction_set, save_tiny

CLASSES = bank().names
EMOTIONS = bank().emotions


def cleaned_by_hand(values, generic, row, share, centred):
    held = np.concatenate([[0], generic.shares[row][:-1]])
    basis = generic.components[row][held < share].astype(float) if share else np.zeros((0, values.shape[-1]))
    cleaned = values - sum((np.outer(values @ b, b) for b in basis), np.zeros_like(values))
    return cleaned - cleaned.mean(axis=-1, keepdims=True) if centred else cleaned


@pytest.mark.parametrize("share", [0, 0.3, 0.5, 0.7])
@pytest.mark.parametrize("centred", [True, False])
def test_directions_are_the_estimators_on_cleaned_activations(share, centred):
    made = replace(planted(), source=SOURCE.model_copy(update={"centred_norm": centred}))
    generic = plain_generic()
    found = fit_directions(made, "mean", generic, tuple(ESTIMATORS), share=share)
    assert set(found.vectors) == set(ESTIMATORS) and set(found.emotions) == set(EMOTIONS)
    assert (found.cleaned, found.data_hash, found.n_layers) == (share, made.data.hash, 3)
    values = cleaned_values(made, "mean", generic, share)
    for row in range(4):
        by_hand = cleaned_by_hand(made.values["mean"][row].astype(float), generic, row, share, centred)
        np.testing.assert_allclose(values[row], by_hand, atol=1e-5)
        for kind, estimator in ESTIMATORS.items():
            oracle = estimator().fit(values[row], made.labels, made.scenarios).directions_
            for emotion in EMOTIONS:
                np.testing.assert_allclose(found.vectors[kind][emotion][row], oracle[emotion], rtol=1e-4, atol=1e-5)
                if centred and kind != "probe":
                    assert abs(found.vectors[kind][emotion][row].sum()) < 1e-4


def test_both_spellings_of_a_position_give_one_name():
    made = replace(planted(), values={"sentence_end": planted().values["mean"]})
    found = fit_directions(made, "sentence-end", plain_generic())
    assert found.position == "sentence_end"
    assert found.direction("anger", 0).provenance.position == "sentence_end"


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_incomplete_scenarios_are_refused_for_every_kind(kind):
    made = planted()
    keep = np.array([i for i in range(len(made.data)) if i != 4])  # the neutral text of the second scenario
    with pytest.raises(InputError, match="not complete"):
        fit_directions(reordered(made, keep), "mean", plain_generic(), (kind,))


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_text_without_the_position_is_refused(kind):
    made = planted()
    made.values["mean"][:, 3] = np.nan
    with pytest.raises(MeasurementError, match="NaN"):
        fit_directions(made, "mean", plain_generic(), (kind,))


def test_what_is_fitted_unless_asked_otherwise():
    assert default_kinds("mean") == (*ESTIMATORS, "detector")
    assert {default_kinds(p) for p in ("sentence-end", "emotion_token")} == {KINDS}
    found = fit_directions(planted(), "mean", plain_generic())
    assert tuple(found.vectors) == KINDS == ("matched", "specific", "probe")
    with pytest.raises(InputError, match="kind 'pca'") as caught:
        found.direction("anger", 0, "pca")
    assert "vectors --kinds pca" in str(caught.value)


def test_kinds_and_positions_that_are_not_there():
    with pytest.raises(InputError, match="Unknown kind"):
        fit_directions(planted(), "mean", plain_generic(), ("median",))
    with pytest.raises(InputError, match="was not recorded"):
        fit_directions(planted(), "sentence_end", plain_generic())


def test_which_layer_is_meant():
    found = fit_directions(planted(), "mean", plain_generic()).with_layers({"anger": 2})
    assert found.layer_of("anger", None) == 2 and found.layer_of("anger", 0) == 0 and found.layer_of("anger", -1) == -1
    with pytest.raises(InputError, match="No layer was chosen for apology"):
        found.layer_of("apology", None)
    for layer in (3, -2, 100):
        with pytest.raises(InputError, match=f"no layer {layer}") as caught:
            found.direction("anger", layer)
        assert "0 to 2" in str(caught.value)


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize("layer", [-1, 0, 2])
def test_a_direction_knows_where_it_comes_from(kind, layer):
    found = fit_directions(planted(), "mean", plain_generic(), (kind,))
    one = found.direction("apology", layer, kind)
    np.testing.assert_allclose(one.vector, found.vectors[kind]["apology"][layer + 1], rtol=1e-6)
    about = one.provenance
    assert (about.layer, about.emotion, about.kind, about.position) == (layer, "apology", kind, "mean")
    assert about.site == ("embed" if layer == -1 else "resid_post")
    assert (about.model, about.revision, about.bos, about.data_hash) == ("m", "r", True, found.data_hash)
    assert ("logistic" in about.estimator) == (kind == "probe")
    for emotion, of_kind in (("joy", kind), ("apology", "median")):
        with pytest.raises(InputError, match=r"joy|median"):
            found.direction(emotion, layer, of_kind)


def test_directions_of_another_model_or_setting_are_refused(tiny_gpt2_lm):
    lm = tiny_gpt2_lm
    own = replace(fit_directions(planted(), "mean", plain_generic()), source=source_of(lm))
    own.check_model(lm)
    for change, said in (
        ({"model": "gpt2"}, "another model"),
        ({"revision": "0"}, "another model"),
        ({"bos": False}, "BOS"),
    ):
        with pytest.raises(InputError, match=said):
            replace(own, source=own.source.model_copy(update=change)).check_model(lm)


def test_projections_are_above_generic_text_in_units_of_the_norm():
    made, generic = planted(), plain_generic()
    found = fit_directions(made, "mean", generic)
    for row in range(4):
        v = found.vectors["specific"]["anger"][row].astype(float)
        by_hand = [
            sum((h[k] - generic.mean[row][k]) * v[k] for k in range(len(v))) / np.linalg.norm(v) / generic.unit[row]
            for h in made.values["mean"][row].astype(float)
        ]
        np.testing.assert_allclose(project(made, found, "anger", "specific", row), by_hand, rtol=1e-5, atol=1e-6)


def test_a_projection_on_nothing_is_an_error():
    made = planted()
    made.values["mean"][0] = 0.1
    found = fit_directions(made, "mean", plain_generic(), tuple(ESTIMATORS))
    for kind in ESTIMATORS:
        with pytest.raises(MeasurementError, match="no direction for anger at embed"):
            project(made, found, "anger", kind, 0)


def test_texts_that_all_end_alike_have_directions_in_every_layer_but_embed(reference):
    """Before any token has seen another, one full stop is as good as any other in a model with rotary positions."""
    lm = reference("gpt-neox")
    texts = [Text(f"{c} {k} went home.", c, str(k), "test") for k in range(4) for c in CLASSES]
    made = extract(lm, Dataset("ends", tuple(texts)), positions=["sentence_end"])
    generic = generic_statistics(lm, [t.text for t in prompts.generic(limit=10)])
    found = fit_directions(made, "sentence_end", generic, tuple(ESTIMATORS))
    for kind in ESTIMATORS:
        with pytest.raises(MeasurementError, match="no direction"):
            project(made, found, "anger", kind, 0)
        assert np.isfinite(project(made, found, "anger", kind, 1)).all()


def test_the_layer_with_the_signal_is_chosen_on_texts_of_their_own():
    found = fit_directions(planted(signals=(0, 1, 5, 1)), "mean", plain_generic(), share=0)
    fresh = planted(signals=(9, 1, 5, 1), seed=50)
    assert choose_layers(fresh, found) == dict.fromkeys(EMOTIONS, 1)  # embed has more signal, and is no candidate
    for emotion, layer in choose_layers(planted(signals=(0, 1, 1, 1), seed=9), found).items():
        texts = planted(signals=(0, 1, 1, 1), seed=9)
        values = [auroc(project(texts, found, emotion, "specific", k + 1), texts.labels == emotion) for k in range(3)]
        around = [np.mean([values[k], *values[max(0, k - 1) : k + 2]]) for k in range(3)]
        assert around[layer] == max(around)


def test_a_single_layer_s_luck_does_not_choose():
    assert best_layer([0.6, 0.6, 0.7, 0.72, 0.7, 0.5, 0.9, 0.5]) == 3
    assert best_layer([0.5]) == best_layer([0.5, 0.5]) == 0
    assert best_layer([0.5, 0.9]) == 1 and best_layer([0.7, 0.9, 0.7]) == 1


def test_ties_go_to_the_lower_layer():
    made = planted(signals=(0, 50, 50, 50))
    found = fit_directions(made, "mean", plain_generic(), share=0)
    assert choose_layers(made, found) == dict.fromkeys(EMOTIONS, 0)
    assert choose_layers_within(made, "mean", plain_generic()) == dict.fromkeys(EMOTIONS, 0)


def test_halves_judge_each_other_and_never_themselves():
    """At layer 0 every text has a signature of its own: only by looking at itself would a half find emotions there."""
    rng = np.random.default_rng(0)
    made = planted(n=12, d=400, signals=(0.0, 0.0, 6.0), seed=1)
    signature = rng.standard_normal((len(made.data), 400)) * 3
    made.values["mean"][1] = signature
    generic = GenericStatistics(
        np.zeros((3, 400), np.float32),
        np.ones(3, np.float32),
        tuple(np.eye(400, dtype=np.float32)[:1] for _ in range(3)),
        tuple(np.ones(1, np.float32) for _ in range(3)),
        9,
    )
    assert choose_layers_within(made, "mean", generic) == dict.fromkeys(EMOTIONS, 1)


def test_selecting_keeps_values_and_texts_together():
    made = planted()
    for emotion in CLASSES:
        for split in ("development", "test"):
            part = made.select(emotion=emotion, split=split)
            rows = [i for i, t in enumerate(made.data) if (t.emotion, t.split) == (emotion, split)]
            assert [made.data.texts[i] for i in rows] == list(part.data)
            np.testing.assert_array_equal(part.at("mean"), made.values["mean"][:, rows])
            assert list(part.labels) == [emotion] * len(rows)
            assert list(part.scenarios) == [made.data.texts[i].scenario for i in rows]


def test_a_position_that_no_text_has_is_an_error():
    data = matched_data(4)
    empty = Activations(
        SOURCE, Dataset("x", data.texts), {"emotion_token": np.full((2, 16, 3), np.nan, np.float32)}, {}
    )
    with pytest.raises(InputError, match="No text of x has the position emotion_token"):
        empty.at("emotion-token")


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "generation_config.json", "tokenizer.json"])
def test_directions_of_a_model_that_was_edited_are_refused_and_the_advice_names_both_steps(file, tmp_path, monkeypatch):
    folder = save_tiny(VARIANTS[0], tmp_path / "tiny")
    made = direction_set(load(str(folder)))
    monkeypatch.chdir(tmp_path)
    for name in ("tiny", "./tiny/", "../" + tmp_path.name + "/tiny"):
        made.check_model(load(name))
    changes = {"config.json": {"layer_norm_epsilon": 1e-2}, "generation_config.json": {"eos_token_id": 7}}
    written = json.loads((folder / file).read_text(encoding="utf-8"))
    (folder / file).write_text(json.dumps(written | changes.get(file, {"truncation": None}), indent=1))
    with pytest.raises(InputError, match="another model") as caught:
        made.check_model(load("tiny"))
    assert "extract --model" in str(caught.value) and "then vectors" in str(caught.value)
