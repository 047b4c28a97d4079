"""Bootstrap over groups and the sign-flip test."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.statistics import grouped_bootstrap, sign_flip_test, weighted_bootstrap

numbers = st.floats(-100, 100).map(lambda x: round(x, 3))
rows = hnp.arrays(np.float64, st.integers(2, 20), elements=numbers)


@settings(max_examples=40, deadline=None)
@given(values=rows, seed=st.integers(0, 2**32))
def test_interval_lies_within_the_values_and_is_reproducible(values, seed):
    boot = grouped_bootstrap(values, n_draws=200, seed=seed)
    assert boot == grouped_bootstrap(values, n_draws=200, seed=seed)
    assert boot.value == pytest.approx(values.mean())
    slack = 1e-9
    assert values.min() - slack <= boot.interval.low <= boot.interval.high <= values.max() + slack
    assert boot.interval.level == 0.95
    assert (boot.interval.method == "degenerate") == (np.ptp(values) == 0)


@settings(max_examples=25, deadline=None)
@given(values=rows, shift=numbers, scale=st.sampled_from([-4.0, -1.0, 0.5, 8.0]))
def test_interval_moves_with_the_values(values, shift, scale):
    first = grouped_bootstrap(values, n_draws=300, seed=3, method="percentile").interval
    second = grouped_bootstrap(scale * values + shift, n_draws=300, seed=3, method="percentile").interval
    expected = sorted([scale * first.low + shift, scale * first.high + shift])
    assert [second.low, second.high] == pytest.approx(expected, abs=1e-6)


def test_mean_agrees_with_scipy_bca():
    values = np.random.default_rng(0).exponential(size=30)
    ours = grouped_bootstrap(values, n_draws=20000, seed=1).interval
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20000, rng=np.random.default_rng(2)).confidence_interval
    assert [ours.low, ours.high] == pytest.approx([theirs.low, theirs.high], abs=0.02)
    assert ours.method == "bca"


def test_weights_and_samples_are_the_same_bootstrap():
    values = np.random.default_rng(0).normal(size=(15, 3))
    by_mean = grouped_bootstrap(values, n_draws=500, seed=4)
    by_rows = grouped_bootstrap(values, lambda drawn: drawn.mean(axis=(1, 2)), n_draws=500, seed=4)
    by_weights = weighted_bootstrap(
        lambda weights: weights @ values.mean(axis=1) / weights.sum(axis=1), 15, n_draws=500, seed=4
    )
    assert by_rows.interval[:2] == pytest.approx(by_mean.interval[:2])
    assert by_weights == by_mean
    assert by_mean.standard_error == pytest.approx(values.mean(axis=1).std() / np.sqrt(15), rel=0.1)


def test_the_group_is_the_unit():
    """Copies of a value inside a group are no evidence: five texts a group give the interval of one."""
    values = np.random.default_rng(0).normal(size=20)
    once, copied = grouped_bootstrap(values, seed=1), grouped_bootstrap(np.repeat(values[:, None], 5, axis=1), seed=1)
    assert once.interval[:2] == pytest.approx(copied.interval[:2])
    flat = grouped_bootstrap(np.repeat(values, 5), seed=1).interval
    assert flat.high - flat.low < 0.6 * (once.interval.high - once.interval.low)


def test_undefined_bca_is_named():
    values = np.array([0.0] * 12 + [1.0])
    interval = grouped_bootstrap(values, lambda drawn: np.median(drawn, axis=1), n_draws=400, seed=0).interval
    assert interval.method == "degenerate"
    # Every draw has fewer different values than the data: the bias correction is infinite.
    interval = grouped_bootstrap(
        np.arange(9.0), lambda drawn: [len(set(row)) for row in drawn], n_draws=400, seed=0
    ).interval
    assert interval.method == "percentile (bca undefined)"
    assert 3 <= interval.low < interval.high <= 8


def test_bad_values_are_refused():
    with pytest.raises(InputError):
        grouped_bootstrap([1.0], seed=0)
    with pytest.raises(InputError):
        grouped_bootstrap(np.zeros((2, 2, 2)), seed=0)
    with pytest.raises(InputError):
        grouped_bootstrap([1.0, 2.0], seed=0, level=95)
    with pytest.raises(MeasurementError):
        grouped_bootstrap([1.0, np.nan], seed=0)
    with pytest.raises(MeasurementError):
        grouped_bootstrap([1.0, 2.0], lambda drawn: np.where(drawn[:, 0] > 1, np.nan, 0.0), seed=0)


@settings(max_examples=40, deadline=None)
@given(values=hnp.arrays(np.float64, st.integers(1, 9), elements=st.integers(-5, 5).map(float)))
def test_exact_sign_flips_count_every_pattern(values):
    means = [np.mean(values * signs) for signs in itertools.product([1, -1], repeat=len(values))]
    result = sign_flip_test(values, n_draws=512, seed=0)
    assert result.method == "exact"
    assert result.n_draws == 2 ** len(values)
    assert result.p == pytest.approx(np.mean(np.array(means) >= values.mean() - 1e-9))
    assert 0 < result.p <= 1
    assert result.null_mean == pytest.approx(0, abs=1e-9)
    mirrored = sign_flip_test(-values, n_draws=512, seed=0, alternative="less")
    assert mirrored.p == pytest.approx(result.p)


@pytest.mark.parametrize("alternative", ["greater", "less", "two-sided"])
@pytest.mark.parametrize("n", [2, 7, 8, 12])
def test_exact_sign_flips_are_scipy_s_to_the_last_digit(n, alternative):
    for seed in range(4):
        values = np.random.default_rng(seed).standard_normal(n)
        values = np.round(values) if seed == 3 else values  # with ties
        theirs = stats.permutation_test(
            (values, np.zeros(n)), lambda x, y, axis: np.sum(x - y, axis=axis) / n, permutation_type="samples",
            vectorized=True, n_resamples=9999, alternative=alternative,
        )  # fmt: skip
        ours = sign_flip_test(values, seed=0, alternative=alternative)
        low, high = np.quantile(theirs.null_distribution, [0.025, 0.975])
        assert ours[:5] == (theirs.statistic, theirs.pvalue, theirs.null_distribution.mean(), low, high)
        assert ours.n_draws == 2**n and ours.method == "exact"


def test_random_sign_flips_count_the_observed():
    result = sign_flip_test(np.full(30, 1.0), n_draws=999, seed=0)
    assert (result.method, result.n_draws, result.p) == ("random", 999, 1 / 1000)
    assert result.null_low < 0 < result.null_high < result.statistic == 1.0
    assert sign_flip_test(np.zeros(30), n_draws=999, seed=0).p == 1.0
    two_sided = sign_flip_test(
        np.random.default_rng(1).normal(0.3, 1, 30), n_draws=9999, seed=0, alternative="two-sided"
    )
    wilcoxon_like = stats.ttest_1samp(np.random.default_rng(1).normal(0.3, 1, 30), 0)
    assert two_sided.p == pytest.approx(wilcoxon_like.pvalue, abs=0.02)
