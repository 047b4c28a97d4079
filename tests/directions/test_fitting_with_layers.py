"""Directions with chosen layers, their stability beside its null, and the room that is a verb."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from emotion_circuits import directions as room
from emotion_circuits.directions import (
    DETECTOR,
    RELATIVE_NORM,
    SPLIT_HALF,
    Activations,
    GenericStatistics,
    Source,
    _fit,
    choose_layers,
    choose_layers_within,
    directions_of,
    fit_with_layers,
    load_generic,
    project,
    save_generic,
    stability_rows,
)
from emotion_circuits.directions._quality import _ranking
from emotion_circuits.errors import InputError
from emotion_circuits.prompts import Dataset, Text, bank
from emotion_circuits.statistics import exceedance_p, permute_within_groups

CLASSES = bank().names
EMOTIONS = bank().emotions

SOURCE = Source(model="m", revision="r", dtype="float32", bos=True, centred_norm=True)
D, LAYERS = 24, 3


def texts(n, development=None):
    split = ["development" if k < (n // 2 if development is None else development) else "test" for k in range(n)]
    return Dataset("set", tuple(Text(f"{c} {k}", c, str(k), split[k]) for k in range(n) for c in CLASSES))


def activations(n=16, signal=0.0, seed=0, development=None):
    """Noise at every layer; at layer 1 each emotion has a direction of its own."""
    rng = np.random.default_rng(seed)
    data = texts(n, development)
    values = rng.standard_normal((LAYERS + 1, len(data), D))
    for i, text in enumerate(data):
        if text.emotion in EMOTIONS:
            values[2, i, 3 * EMOTIONS.index(text.emotion)] += signal
    return Activations(SOURCE, data, {"mean": values.astype(np.float32)}, dict.fromkeys(CLASSES))


def generic(seed=0):
    rng = np.random.default_rng(seed)
    bases = [np.linalg.qr(rng.standard_normal((D, 2 + k)))[0].T for k in range(LAYERS + 1)]
    shares = tuple(np.linspace(0.3, 0.75, len(b)).astype(np.float32) for b in bases)
    mean = rng.standard_normal((LAYERS + 1, D)).astype(np.float32)
    norm = (1 + rng.random(LAYERS + 1)).astype(np.float32)
    return GenericStatistics(mean, norm, tuple(b.astype(np.float32) for b in bases), shares, 40)


def test_the_layer_with_the_signal_is_chosen_either_way():
    explicit, implicit = activations(60, signal=6.0), activations(60, signal=6.0, seed=1)
    for found in (
        fit_with_layers(explicit, "mean", generic()),
        fit_with_layers(explicit, "mean", generic(), implicit=implicit),
    ):
        assert dict(found.chosen_layer) == dict.fromkeys(EMOTIONS, 1)
        assert found["anger"].provenance.layer == 1
        assert found["anger"].unit[3 * EMOTIONS.index("anger")] > 0.5


def test_layers_come_from_the_same_functions_as_a_study_s():
    explicit, implicit, background = activations(), activations(seed=1), generic()
    within = fit_with_layers(explicit, "mean", background)
    assert within.chosen_layer == choose_layers_within(explicit.select(split="development"), "mean", background)
    across = fit_with_layers(explicit, "mean", background, implicit=implicit)
    assert across.chosen_layer == choose_layers(implicit.select(split="development"), across)


@pytest.mark.parametrize("development", [0, 1])
def test_without_development_scenarios_no_layer_is_chosen(development):
    found = fit_with_layers(activations(development=development), "mean", generic())
    assert found.chosen_layer == {}
    with pytest.raises(InputError, match="No layer was chosen"):
        found["anger"]


def test_the_room_is_the_verb_and_a_set_is_a_mapping():
    explicit, background = activations(signal=3.0), generic()
    found = room(explicit, generic=background)
    assert set(found) == set(found.keys()) == set(EMOTIONS) and len(found) == 3
    assert {e: d.norm for e, d in dict(found).items()} == {e: found.direction(e).norm for e in EMOTIONS}
    with pytest.raises(InputError, match="joy"):
        found["joy"]
    with pytest.raises(InputError, match="generic text"):
        directions_of(explicit)


def test_generic_statistics_come_back_from_the_file(tmp_path):
    background = generic()
    path = save_generic(background, tmp_path)
    found = load_generic(tmp_path)
    assert found.n_texts == 40
    for a, b in zip(found.components, background.components, strict=True):
        assert np.array_equal(a, b)
    assert np.array_equal(found.mean, background.mean) and np.array_equal(found.norm, background.norm)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="not a whole"):
        load_generic(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match="extract"):
        load_generic(tmp_path)


@pytest.mark.parametrize("kind", ["specific", "matched"])
def test_norms_by_chance_are_those_of_directions_from_permuted_labels(kind):
    explicit = activations(6, seed=1)
    fitted = fit_with_layers(explicit, "mean", generic(), kinds=(kind,), cleaning="none")
    rows = stability_rows(explicit, fitted, kind, seed=3, layers=dict.fromkeys(EMOTIONS, 1))
    [norm] = [row for row in rows if row.emotion == "anger" and row.statistic == RELATIVE_NORM]
    values = explicit.values["mean"][2].astype(np.float64)
    values -= values.mean(axis=1, keepdims=True)  # what the model's norms take away
    null = []
    for labels in permute_within_groups(explicit.labels, explicit.scenarios, 200, 3):
        means = {c: values[labels == c].mean(axis=0) for c in CLASSES}
        other = means["neutral"] if kind == "matched" else np.mean([means[e] for e in EMOTIONS], axis=0)
        null.append(np.linalg.norm(means["anger"] - other) / fitted.generic.unit[2])
    assert (norm.chance, norm.p) == (pytest.approx(np.mean(null)), exceedance_p(norm.value, np.array(null)))


def rows_of(explicit, statistic):
    found = fit_with_layers(explicit, "mean", generic(), kinds=("specific",))
    return [row for row in stability_rows(explicit, found) if row.statistic == statistic]


@pytest.mark.parametrize("statistic", [RELATIVE_NORM, SPLIT_HALF])
def test_a_signal_stands_out_and_noise_does_not(statistic):
    planted = rows_of(activations(24, signal=4.0), statistic)
    assert all(row.p == pytest.approx(1 / 201) for row in planted if row.layer == 1)
    assert all(row.value > row.null_high for row in planted if row.layer == 1)
    noise = [row.p for seed in range(4) for row in rows_of(activations(24, seed=seed), statistic)]
    assert np.mean([p < 0.05 for p in noise]) < 0.2 and np.mean(noise) > 0.3


def test_where_nothing_differs_the_split_half_cosine_is_missing():
    explicit = activations()
    explicit.values["mean"][0] = 1.0
    [first, *_] = [row for row in rows_of(explicit, SPLIT_HALF) if row.layer == -1]
    assert np.isnan(first.value) and first.n_unique == 16


def shifted(made, dimension, signal, name, split="development"):
    """The same kind of noise, with each emotion along other dimensions at layer 1, as texts of another kind."""
    values = made.values["mean"].copy()
    for i, text in enumerate(made.data):
        if text.emotion in EMOTIONS:
            values[2, i, 3 * EMOTIONS.index(text.emotion) + dimension] += signal
    renamed = tuple(replace(t, scenario=f"{name} {t.scenario}", split=split) for t in made.data)
    return replace(made, data=Dataset(name, renamed), values={"mean": values})


def test_the_detector_is_chosen_where_utterances_show_what_explicit_texts_do_not():
    explicit = activations(40, signal=0.3)
    implicit, spoken = (shifted(activations(40, seed=k), 1, 3.0, name) for k, name in ((1, "implicit"), (2, "spoken")))
    found = fit_with_layers(explicit, "mean", generic(), implicit=implicit, spoken=spoken)
    assert dict(found.detectors) == dict.fromkeys(EMOTIONS, (DETECTOR, 1))
    for emotion in EMOTIONS:
        assert found.direction(emotion, 1, DETECTOR).unit[3 * EMOTIONS.index(emotion) + 1] > 0.4
    assert "utterances" in found.direction("anger", 1, DETECTOR).provenance.estimator
    assert not fit_with_layers(explicit, "mean", generic(), implicit=implicit).detectors


def test_a_detector_is_not_judged_on_the_utterances_it_was_fitted_on():
    """Utterances of pure noise can be learnt by heart: judged so, the detector would always win."""
    explicit, implicit, spoken = (
        activations(4),
        activations(40, seed=1),
        shifted(activations(24, seed=2), 0, 0.0, "spoken"),
    )
    found = fit_with_layers(explicit, "mean", generic(), implicit=implicit, spoken=spoken)
    rows = range(LAYERS)
    by_heart = np.mean([_ranking(spoken, found, e, DETECTOR, k) for e in EMOTIONS for k in rows])
    halves = _fit._halves(explicit, spoken, found)
    apart = np.mean([_ranking(h.texts, h.directions, e, h.kind, k) for h in halves for e in EMOTIONS for k in rows])
    assert by_heart > 0.65 > 0.6 > apart


def test_percentiles_are_ranks_among_generic_texts():
    ordinary = shifted(activations(50, seed=5), 0, 0.0, "ordinary", "test")
    found = fit_with_layers(activations(40, signal=4.0), "mean", generic(), ordinary=ordinary)
    scores = project(ordinary, found, "anger", "specific", 2)
    ranks = found.percentiles("anger", "specific", 1, np.array([*scores, np.nan, -99.0, 99.0]))
    expected = [100 * (scores < s).mean() for s in scores]
    np.testing.assert_allclose(ranks[:-3], expected, atol=1.0)
    assert np.isnan(ranks[-3]) and ranks[-2:].tolist() == [0, 100]
    assert found.ordinary_score("anger", "specific", 1, 0.95) == pytest.approx(np.quantile(scores, 0.95), abs=0.05)
    bare = fit_with_layers(activations(40), "mean", generic())
    assert bare.percentiles("anger", "specific", 1, scores) is None
    assert bare.ordinary_score("anger", "specific", 1, 0.95) is None
