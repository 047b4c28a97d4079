"""AUROC against scikit-learn, its invariances, and its behaviour where separation is perfect."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.statistics import auroc, grouped_auroc, paired_gain, weighted_auroc

SMALL = {"n_bootstrap": 150, "n_permutations": 99, "seed": 5}
CLASS_OF = np.array([True, False, False, False])


def scenarios(n_groups: int, shift: float, seed: int, correlation: float = 0.3) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    scores = np.sqrt(1 - correlation) * rng.normal(size=(n_groups, 4))
    scores += np.sqrt(correlation) * rng.normal(size=(n_groups, 1))
    scores[:, 0] += shift
    return scores.ravel(), np.tile(CLASS_OF, n_groups), np.repeat(np.arange(n_groups), 4)


@st.composite
def scored(draw):
    n_groups = draw(st.integers(2, 8))
    scores = draw(st.lists(st.integers(-4, 4), min_size=4 * n_groups, max_size=4 * n_groups))
    return np.array(scores, dtype=float), np.tile(CLASS_OF, n_groups), np.repeat(np.arange(n_groups), 4)


@settings(max_examples=50, deadline=None)
@given(data=scored())
def test_value_equals_scikit_learn_and_the_interval_is_honest(data):
    scores, labels, _ = data
    result = grouped_auroc(*data, **SMALL)
    expected = roc_auc_score(labels, scores)
    assert result.value == pytest.approx(expected)
    assert float(auroc(scores, labels)) == pytest.approx(expected)
    assert np.mean(result.placements) == pytest.approx(expected)
    assert 0 < result.p <= 1
    assert 0 <= result.null_low <= result.null_high <= 1
    low, high, _, method = result.interval
    assert 0 <= low <= high <= 1
    if method in ("exact one-sided", "DeLong logit"):
        assert low <= result.value <= high and low < high
    assert (result.n_texts, result.n_positive, result.n_groups) == (len(scores), len(scores) // 4, len(scores) // 4)


@settings(max_examples=30, deadline=None)
@given(data=scored(), seed=st.integers(0, 99))
def test_order_of_texts_and_monotone_transforms_change_nothing(data, seed):
    scores, labels, groups = data
    result = grouped_auroc(*data, **SMALL)
    shuffle = np.random.default_rng(seed).permutation(len(scores))
    for other in (
        grouped_auroc(scores[shuffle], labels[shuffle], groups[shuffle], **SMALL),
        grouped_auroc(np.exp(scores) * 3 - 7, labels, groups, **SMALL),
    ):
        assert other.value == result.value
        assert other.interval == result.interval
        assert other.p == result.p
        np.testing.assert_array_equal(other.placements, result.placements)
    mirrored = grouped_auroc(-scores, labels, groups, **SMALL)
    assert mirrored.value == pytest.approx(1 - result.value)


def test_rows_of_scores_are_independent():
    scores = np.random.default_rng(0).integers(0, 5, (2, 3, 20)).astype(float)
    labels = np.arange(20) % 3 == 0
    expected = [[roc_auc_score(labels, row) for row in table] for table in scores]
    np.testing.assert_allclose(auroc(scores, labels), expected)


@pytest.mark.parametrize("n_groups", [2, 5, 24])
def test_perfect_separation_never_gives_a_point(n_groups):
    scores, labels, groups = scenarios(n_groups, 50.0, 0)
    result = grouped_auroc(scores, labels, groups, **SMALL)
    assert result.value == 1.0
    assert result.interval.method == "exact one-sided"
    assert result.interval.high == 1.0
    # floor(G/2) disjoint pairs, all in order: AUROC**m = 5 %
    assert result.interval.low == pytest.approx(0.05 ** (1 / (n_groups // 2)))
    mirrored = grouped_auroc(-scores, labels, groups, **SMALL)
    assert (mirrored.value, mirrored.interval.low) == (0.0, 0.0)
    assert mirrored.interval.high == pytest.approx(1 - result.interval.low)


def test_nearly_perfect_separation_uses_the_logit():
    scores, labels, groups = scenarios(24, 50.0, 0)
    scores[0] = -1.0  # one positive below some negatives
    interval = grouped_auroc(scores, labels, groups, **SMALL).interval
    assert interval.method == "DeLong logit"
    assert 0.5 < interval.low < interval.high < 1


def test_delong_standard_error_matches_the_formula_for_independent_texts():
    rng = np.random.default_rng(3)
    scores, labels = rng.normal(size=60), np.arange(60) % 3 == 0
    scores[labels] += 1
    wins = (scores[labels][:, None] > scores[~labels]).astype(float)
    v10, v01 = wins.mean(axis=1), wins.mean(axis=0)
    delong = np.sqrt(v10.var(ddof=1) / len(v10) + v01.var(ddof=1) / len(v01))
    result = grouped_auroc(scores, labels, None, n_bootstrap=4000, n_permutations=999, seed=0)
    assert result.standard_error == pytest.approx(delong, rel=0.03)
    assert result.interval.high - result.interval.low == pytest.approx(2 * 1.96 * delong, rel=0.1)
    np.testing.assert_allclose(result.placements[labels], v10)
    assert np.isnan(result.placements[~labels]).all()


def test_a_scenario_effect_cannot_fake_separation():
    """Scores that depend on the scenario alone are at chance, whatever their spread."""
    groups, labels = np.repeat(np.arange(30), 4), np.tile(CLASS_OF, 30)
    result = grouped_auroc(groups * 100.0, labels, groups, **SMALL)
    assert result.value == 0.5
    assert result.p == 1.0


def test_groups_without_a_class_are_allowed():
    scores, labels, groups = scenarios(10, 1.0, 2)
    keep = ~(labels & (groups < 7))
    result = grouped_auroc(scores[keep], labels[keep], groups[keep], **SMALL)
    assert result.n_positive == 3
    assert np.isnan(result.placements[:7]).all()


def gain_of(first, second, labels, groups):
    one, two = (weighted_auroc(scores, labels, groups) for scores in (first, second))
    return paired_gain(lambda weights: one.of_weights(weights) - two.of_weights(weights), one.n_groups, seed=0)


def test_difference_is_paired():
    first, labels, groups = scenarios(40, 1.5, 0)
    noise = np.random.default_rng(9).normal(size=len(first))
    result = gain_of(first, first + 0.2 * noise, labels, groups)
    alone = grouped_auroc(first, labels, groups, **SMALL)
    assert result.value == pytest.approx(roc_auc_score(labels, first) - roc_auc_score(labels, first + 0.2 * noise))
    assert result.interval.high - result.interval.low < 0.5 * (alone.interval.high - alone.interval.low)
    better = gain_of(first, noise, labels, groups)
    assert better.p < 0.01 and better.interval.low > 0
    worse = gain_of(noise, first, labels, groups)
    assert worse.value == -better.value and worse.p == pytest.approx(1 - better.p)
    same = gain_of(first, first, labels, groups)
    assert (same.value, same.p, same.standard_error) == (0.0, 1.0, 0.0)


def test_the_error_of_a_gain_over_a_constant_is_delong_s():
    scores, labels, groups = scenarios(60, 1.0, 3)
    one = weighted_auroc(scores, labels, groups)
    gain = paired_gain(lambda weights: one.of_weights(weights) - 0.5, one.n_groups, seed=0)
    assert gain.standard_error == pytest.approx(grouped_auroc(scores, labels, groups, **SMALL).standard_error, rel=0.06)


def test_differences_that_no_group_changes():
    scores, labels, groups = scenarios(12, 50.0, 0)
    other, _, _ = scenarios(12, -50.0, 1)
    opposite = gain_of(scores, other, labels, groups)
    assert (opposite.value, opposite.p) == (1.0, 0.5**12)  # all twelve agree
    assert gain_of(other, scores, labels, groups).p == 1.0


def test_bad_input_is_refused():
    scores, labels, groups = scenarios(4, 0.0, 0)
    with pytest.raises(MeasurementError):
        grouped_auroc(np.where(labels, np.nan, scores), labels, groups, seed=0)
    with pytest.raises(MeasurementError):
        grouped_auroc(scores, np.ones_like(labels), groups, seed=0)
    with pytest.raises(MeasurementError):
        grouped_auroc(scores, labels, np.zeros_like(groups), seed=0)
    with pytest.raises(InputError):
        grouped_auroc(scores, labels[:-1], groups, seed=0)
    with pytest.raises(InputError):
        grouped_auroc(scores, labels, groups[:-1], seed=0)
    with pytest.raises(InputError):
        grouped_auroc(scores, np.where(labels, "anger", "neutral"), groups, seed=0)
