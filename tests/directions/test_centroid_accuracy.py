"""Nearest-centroid accuracy: against a slow loop, on planted classes, and on noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import matched_data, planted_values
from scipy.stats import binomtest

from emotion_circuits.directions import centroid_accuracy
from emotion_circuits.directions._centroids import N_FOLDS
from emotion_circuits.errors import MeasurementError


def material(n=15, d=8, signal=2.0, seed=0):
    data = matched_data(n)
    values = planted_values(data, d, signal, seed=seed)
    return values, np.array([t.emotion for t in data]), np.array([t.scenario for t in data])


def accuracy_by_hand(values, labels, scenarios, seed):
    """Fold by fold and text by text, with the same assignment of scenarios to folds."""
    names = np.unique(scenarios)
    fold = dict(zip(names, np.random.default_rng(seed).permutation(len(names)) % N_FOLDS, strict=True))
    hits = []
    for x, label, scenario in zip(values, labels, scenarios, strict=True):
        train = np.array([fold[s] != fold[scenario] for s in scenarios])
        centroids = {c: values[train & (labels == c)].mean(axis=0) for c in np.unique(labels)}
        hits.append(min(centroids, key=lambda c: np.linalg.norm(x - centroids[c])) == label)
    return np.array(hits)


@settings(max_examples=10, deadline=None)
@given(st.integers(5, 20), st.integers(4, 40), st.floats(0, 3), st.integers(0, 1000))
def test_accuracy_equals_a_slow_loop(n, d, signal, seed):
    values, labels, scenarios = material(n, d, signal, seed)
    found = centroid_accuracy(values, labels, scenarios, n_permutations=5, seed=seed)
    hits = accuracy_by_hand(values, labels, scenarios, seed)
    assert found.value == pytest.approx(hits.mean())
    assert list(found.per_scenario) == pytest.approx([hits[scenarios == s].mean() for s in np.unique(scenarios)])
    assert found.interval.low <= found.value <= found.interval.high


def test_planted_classes_are_found():
    found = centroid_accuracy(*material(40, 8, 6.0), seed=0)
    assert found.value > 0.7 > found.null_high
    assert found.p == pytest.approx(1 / 201)
    assert found.null_mean == pytest.approx(0.25, abs=0.03)


def test_the_order_of_texts_an_offset_and_a_rotation_do_not_matter():
    values, labels, scenarios = material()
    order = np.random.default_rng(1).permutation(len(values))
    rotation = np.linalg.qr(np.random.default_rng(2).standard_normal((8, 8)))[0]
    here = centroid_accuracy(values, labels, scenarios, seed=3)
    for other in (
        centroid_accuracy(values[order], labels[order], scenarios[order], seed=3),
        centroid_accuracy(5 * values @ rotation + 100, labels, scenarios, seed=3),
    ):
        assert other.value == pytest.approx(here.value)
        np.testing.assert_allclose(other.per_scenario, here.per_scenario)


def test_a_scenario_s_own_offset_is_no_help():
    """Texts of one scenario are alike; held out by scenario that tells nothing about the class."""
    found = []
    for seed in range(10):
        values, labels, scenarios = material(20, 8, 0.0, seed)
        for k, name in enumerate(np.unique(scenarios)):
            values[scenarios == name] += 40 * np.random.default_rng([seed, k]).standard_normal(8)
        found.append(centroid_accuracy(values, labels, scenarios, seed=seed))
    assert max(f.value for f in found) < 0.35 and np.median([f.p for f in found]) > 0.05


def test_on_noise_p_is_valid():
    """200 sets of noise: p at or below .05 about one time in twenty, and the null's mean is the mean of the values."""
    found = [centroid_accuracy(*material(10, 6, 0.0, seed), n_permutations=59, seed=seed) for seed in range(200)]
    hits = sum(f.p <= 0.05 for f in found)
    assert binomtest(hits, len(found), 0.05, alternative="greater").pvalue > 0.01
    assert hits > 0
    assert np.mean([f.value for f in found]) == pytest.approx(np.mean([f.null_mean for f in found]), abs=0.02)
    inside = np.mean([f.null_low <= f.value <= f.null_high for f in found])
    assert inside > 0.88


def test_what_is_not_a_number_is_refused():
    values, labels, scenarios = material()
    values[0, 0] = np.nan
    with pytest.raises(MeasurementError, match="NaN"):
        centroid_accuracy(values, labels, scenarios)
