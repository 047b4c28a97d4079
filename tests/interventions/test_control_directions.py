"""Control directions, their slopes, and whether p against them means what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from steered_by_hand import word_odds

from emotion_circuits import prompts
from emotion_circuits.directions import Activations, GenericStatistics, Source, cleaned_values, fit_directions
from emotion_circuits.errors import InputError
from emotion_circuits.interventions import (
    Choice,
    against_controls,
    control_slopes,
    isotropic_directions,
    share_in_span,
    shuffled_label_directions,
    slopes,
)
from emotion_circuits.prompts import Dataset, Text, bank
from emotion_circuits.scoring import slot_task
from emotion_circuits.statistics import permute_within_groups
from tiny_models import direction_set

CLASSES = bank().names
EMOTIONS = bank().emotions

SOURCE = Source(model="m", revision="r", dtype="float32", bos=True, centred_norm=False)


def material(n=10, d=12, seed=0, centred=False, skewed=False):
    """(activations, directions) of noise, one layer and `embed`."""
    rng = np.random.default_rng(seed)
    texts = tuple(Text(f"{c} {k}", c, f"s{k:02}", "test") for k in range(n) for c in CLASSES)
    values = rng.standard_normal((2, len(texts), d))
    if skewed:
        values = np.exp(2 * values)
    source = SOURCE.model_copy(update={"centred_norm": centred})
    made = Activations(source, Dataset("noise", texts), {"mean": values.astype(np.float32)}, {})
    axes = tuple(np.linalg.qr(rng.standard_normal((d, 2)))[0].T.astype(np.float32) for _ in range(2))
    shares = tuple(np.array([0.4, 0.6], np.float32) for _ in range(2))
    generic = GenericStatistics(np.zeros((2, d), np.float32), np.ones(2, np.float32), axes, shares, 9)
    return made, fit_directions(made, "mean", generic, ("specific",))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 50), st.integers(3, 100), st.booleans(), st.integers(0, 1000))
def test_isotropic_directions_are_unit_vectors_and_reproducible(n, d, centred, seed):
    found = isotropic_directions(n, d, centred=centred, seed=seed)
    assert found.shape == (n, d)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-12)
    np.testing.assert_array_equal(found, isotropic_directions(n, d, centred=centred, seed=seed))
    assert not np.allclose(found, isotropic_directions(n, d, centred=centred, seed=seed + 1))
    if centred:
        np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-9)


def test_isotropic_directions_prefer_no_direction():
    found = isotropic_directions(20_000, 5, centred=False, seed=1)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(found.T @ found / len(found), np.eye(5) / 5, atol=0.01)


@pytest.mark.parametrize("centred", [True, False])
def test_shuffled_label_directions_are_specific_directions_of_permuted_labels(centred):
    made, directions = material(centred=centred)
    found = shuffled_label_directions(made, directions, 0, 12, seed=5)
    assert found.shape == (12, 12)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-12)
    np.testing.assert_array_equal(found, shuffled_label_directions(made, directions, 0, 12, seed=5))
    assert not np.allclose(found, shuffled_label_directions(made, directions, 0, 12, seed=6))
    values = cleaned_values(made, "mean", directions.generic, directions.cleaned)[1]
    classes, codes = np.unique(made.labels, return_inverse=True)
    first = next(c for c in classes if c != "neutral")
    for unit, drawn in zip(found, permute_within_groups(codes, made.scenarios, 12, 5), strict=True):
        labels = classes[drawn]
        means = {e: values[labels == e].mean(axis=0) for e in EMOTIONS}
        vector = means[first] - np.mean(list(means.values()), axis=0)
        np.testing.assert_allclose(unit, vector / np.linalg.norm(vector), atol=1e-9)
        if centred:
            assert abs(unit.sum()) < 1e-9


def test_the_true_labels_give_the_direction_itself(monkeypatch):
    """The same code path: with labels where they were, the control is the emotion's own direction."""
    from emotion_circuits.interventions import _controls

    made, directions = material()
    monkeypatch.setattr(_controls, "permute_within_groups", lambda codes, *_: np.asarray(codes)[None])
    [unit] = shuffled_label_directions(made, directions, 0, 1, seed=0)
    first = sorted(EMOTIONS)[0]
    np.testing.assert_allclose(unit, directions.direction(first, 0).unit, atol=1e-5)


def test_how_much_of_controls_lies_among_the_emotions():
    _, directions = material()
    own = np.stack([directions.direction(e, 0).unit for e in EMOTIONS])
    assert share_in_span(own, directions, 0) == pytest.approx(1)
    drawn = isotropic_directions(20_000, 12, centred=False, seed=0)
    # Specific directions are differences from their common mean, so one of them follows from the others.
    assert share_in_span(drawn, directions, 0) == pytest.approx((len(EMOTIONS) - 1) / 12, abs=0.01)


def test_incomplete_scenarios_are_refused():
    made, directions = material()
    keep = np.arange(1, len(made.data))
    fewer = replace(made, data=Dataset("x", made.data.texts[1:]), values={"mean": made.values["mean"][:, keep]})
    with pytest.raises(InputError, match="neutral text"):
        shuffled_label_directions(fewer, directions, 0, 3, seed=0)


# Slopes.


def test_slopes_are_per_unit_of_dose():
    odds = np.random.default_rng(0).standard_normal((3, 2, 4, 4))
    found = slopes(odds, 0.2)
    for i, c, k in np.ndindex(3, 4, 4):
        assert found[i, c, k] == pytest.approx((odds[i, 1, c, k] - odds[i, 0, c, k]) / 0.4)


@pytest.mark.parametrize("name", ["gpt2", "gpt-neo"])
def test_control_slopes_equal_a_slow_loop_and_come_in_pairs_of_signs(reference, name):
    lm = reference(name)
    contexts = (*prompts.contexts("development")[:2], *prompts.contexts("development")[-1:])
    task, directions = slot_task(lm, contexts, prompts.bank().word_sets()), direction_set(lm)
    units = isotropic_directions(3, lm.d_model, centred=True, seed=0)
    choice = Choice(4, 0.3)
    found = control_slopes(lm, directions, task, choice, "isotropic", units)
    assert found.kind == "isotropic" and found.slopes.shape == (6, 3, 4)
    np.testing.assert_array_equal(found.slopes[1::2], -found.slopes[::2])
    scale = float(directions.generic.unit[5])
    for n, unit in enumerate(units):
        for k, (context, slot) in enumerate(zip(contexts, task.slots, strict=True)):
            up, down = (word_odds(lm, context, slot, 4, s * 0.3 * scale * unit) for s in (1, -1))
            np.testing.assert_allclose(found.slopes[2 * n, k], (up - down) / 0.6, atol=1e-3)
    for emotion in EMOTIONS:
        own = found.for_emotion(emotion)
        np.testing.assert_allclose(own, found.slopes[:, :, CLASSES.index(emotion)].mean(axis=1))
        assert own.shape == (6,) and abs(own.mean()) < 1e-12
    again = control_slopes(lm, directions, task, choice, "isotropic", -units)
    np.testing.assert_allclose(again.slopes[::2], found.slopes[1::2], atol=1e-3)


def test_no_more_controls_are_tried_than_it_takes(reference, monkeypatch):
    """Plainly not significant for every emotion: the first controls give p, and it is that of Besag and Clifford."""
    from emotion_circuits.interventions import _controls

    monkeypatch.setattr(_controls, "CONTROLS_AT_ONCE", 4)
    monkeypatch.setattr(_controls, "ENOUGH_CONTROLS", 3)
    lm = reference("gpt2")
    task, directions = slot_task(lm, prompts.contexts("development")[:2], prompts.bank().word_sets()), direction_set(lm)
    units = isotropic_directions(12, lm.d_model, centred=True, seed=0)
    everything = control_slopes(lm, directions, task, Choice(4, 0.3), "isotropic", units)
    low = dict.fromkeys(EMOTIONS, -100.0)
    few = control_slopes(lm, directions, task, Choice(4, 0.3), "isotropic", units, observed=low)
    assert len(few.slopes) == 8 < len(everything.slopes) == 24
    np.testing.assert_array_equal(few.slopes, everything.slopes[:8])
    assert few.beyond("anger", -100.0)[:2] == (1.0, 3)  # three of the first three are as good
    one_high = {**low, "anger": 100.0}
    all_of_them = control_slopes(lm, directions, task, Choice(4, 0.3), "isotropic", units, observed=one_high)
    assert all_of_them.beyond("anger", 100.0) == (1 / 25, 24, 0)


def test_the_p_of_a_slope_counts_controls_and_names_their_band():
    controls = np.concatenate([np.arange(1.0, 20), -np.arange(1.0, 20)])
    p, mean, low, high = against_controls(18.5, controls)
    assert p == pytest.approx(2 / 39) and mean == 0.0 and (low, high) == tuple(np.quantile(controls, [0.025, 0.975]))
    assert against_controls(100.0, controls)[0] == pytest.approx(1 / 39)
    assert against_controls(-100.0, controls)[0] == 1.0


# Is p valid? Simulated: where the tested direction is one of the controls, p <= .05 one time in twenty at most.


def too_often(hits, n):
    return binomtest(hits, n, 0.05, alternative="greater").pvalue


@pytest.mark.parametrize("n_controls", [10, 19, 39])
def test_p_against_isotropic_controls_is_valid(n_controls):
    """The tested direction is one more draw; a model that is not linear in the direction, but odd as slopes are."""
    rng = np.random.default_rng(n_controls)
    hits, n = 0, 2000
    for _ in range(n):
        readout = rng.standard_normal(6)
        drawn = isotropic_directions(n_controls + 1, 6, centred=False, seed=int(rng.integers(1 << 31)))
        effect = np.sinh(2 * drawn @ readout)
        hits += against_controls(effect[0], np.concatenate([effect[1:], -effect[1:]]))[0] <= 0.05
    assert too_often(hits, n) > 0.05
    # Exactly: the largest k of 2n + 1 that p may have, reached from above with either sign equally often.
    exact = 0.5 * int(0.05 * (2 * n_controls + 1)) / (n_controls + 1)
    assert 0 < exact <= 0.05 and binomtest(hits, n, exact).pvalue > 0.01


@pytest.mark.parametrize("skewed", [False, True])
def test_p_against_shuffled_labels_is_valid_for_every_emotion(skewed):
    """Texts whose labels mean nothing: their specific directions against those of permuted labels, on both signs."""
    n, hits = 400, dict.fromkeys(EMOTIONS, 0)
    rng = np.random.default_rng(2)
    for seed in range(n):
        made, directions = material(n=8, d=6, seed=seed, skewed=skewed)
        readout = rng.standard_normal(6)
        controls = shuffled_label_directions(made, directions, 0, 20, seed=seed) @ readout
        both = np.concatenate([controls, -controls])
        for emotion in EMOTIONS:
            observed = float(directions.direction(emotion, 0).unit @ readout)
            hits[emotion] += against_controls(observed, both)[0] <= 0.05
    for emotion, count in hits.items():
        assert too_often(count, n) > 0.01, emotion
    assert sum(hits.values()) > 0


def test_an_effect_is_found():
    readout = np.random.default_rng(1).standard_normal(50)
    controls = isotropic_directions(200, 50, centred=False, seed=0) @ readout
    both = np.concatenate([controls, -controls])
    assert against_controls(float(np.linalg.norm(readout)), both)[0] == pytest.approx(1 / 401)
