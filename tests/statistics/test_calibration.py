"""No test finds more in noise than it says, and intervals hold the truth about as often as they say (fixed seeds)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from emotion_circuits.statistics import (
    grouped_auroc,
    grouped_bootstrap,
    max_t,
    paired_gain,
    sequential_p,
    sign_flip_test,
    split_half_cosine,
    weighted_auroc,
)

N_SETS = 250
CLASSES = ["neutral", "gratitude", "anger", "apology"]


def noise_texts(rng: np.random.Generator, n_groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores in which the scenario matters, with heavy tails, and the class does not."""
    scores = rng.standard_t(3, size=(n_groups, 4)) + 2 * rng.normal(size=(n_groups, 1))
    return scores.ravel(), np.tile([True, False, False, False], n_groups), np.repeat(np.arange(n_groups), 4)


def p_sign_flip_exact(rng: np.random.Generator, seed: int) -> float:
    return sign_flip_test(rng.standard_t(2, size=8), n_draws=256, seed=seed).p


def p_sign_flip_random(rng: np.random.Generator, seed: int) -> float:
    return sign_flip_test(rng.laplace(size=20), n_draws=199, seed=seed, alternative="two-sided").p


def p_auroc(rng: np.random.Generator, seed: int) -> float:
    return grouped_auroc(*noise_texts(rng, 12), n_bootstrap=2, n_permutations=199, seed=seed).p


def p_auroc_ungrouped(rng: np.random.Generator, seed: int) -> float:
    scores, labels, _ = noise_texts(rng, 9)
    order = rng.permutation(36)
    return grouped_auroc(scores[order], labels, None, n_bootstrap=2, n_permutations=199, seed=seed).p


def p_auroc_difference(rng: np.random.Generator, seed: int) -> float:
    shared, labels, groups = noise_texts(rng, 24)
    shared[labels] += 1.5
    first, second = (shared + rng.normal(size=len(shared)) for _ in range(2))
    one, two = (weighted_auroc(scores, labels, groups) for scores in (first, second))
    return paired_gain(lambda w: one.of_weights(w) - two.of_weights(w), one.n_groups, n_draws=200, seed=seed).p


def p_paired_means(rng: np.random.Generator, seed: int) -> float:
    """Skewed values of few units, over the better of two floors, one equal and one lower."""
    values = rng.exponential(size=(3, 16)) ** 1.5 - np.array([[0], [0], [1]])
    own, *floors = (lambda w, x=x: w @ x / w.sum(axis=1) for x in values)
    best = paired_gain(lambda w: own(w) - np.maximum(floors[0](w), floors[1](w)), 16, n_draws=200, seed=seed)
    return best.p


def p_max_t(rng: np.random.Generator, seed: int) -> float:
    """Family-wise: the smallest of 30 adjusted p-values of correlated entries on different scales."""
    draws = (rng.normal(size=(200, 30)) + rng.normal(size=(200, 1))) * np.geomspace(1, 50, 30)
    return float(max_t(draws[0], draws[1:], studentise=bool(seed % 2)).min())


def p_sequential(rng: np.random.Generator, seed: int) -> float:
    draws = rng.normal(size=400)
    return sequential_p(draws[0], lambda i, n: draws[1 + i : 1 + i + n], 399, stop_after=10).p


def p_split_half(kind: str) -> Callable[[np.random.Generator, int], float]:
    def p_value(rng: np.random.Generator, seed: int) -> float:
        h = rng.normal(size=(12, 4, 10)) * np.geomspace(1, 0.1, 10) + 3 * rng.normal(size=(12, 1, 10))
        # What the contrast leaves out may be as strong as it likes.
        h[:, 0 if kind == "specific" else 2] += 8 * np.eye(10)[3]
        labels, groups = np.tile(CLASSES, 12), np.repeat(np.arange(12), 4)
        flat = h.reshape(-1, 10)
        return split_half_cosine(
            flat, labels, groups, "gratitude", kind=kind, n_splits=30, n_permutations=199, n_bootstrap=2, seed=seed
        ).p

    return p_value


@pytest.mark.parametrize(
    "p_value",
    [
        p_sign_flip_exact,
        p_sign_flip_random,
        p_auroc,
        p_auroc_ungrouped,
        p_auroc_difference,
        p_paired_means,
        p_max_t,
        p_sequential,
        p_split_half("matched"),
        p_split_half("specific"),
    ],
    ids=[
        "sign flip exact",
        "sign flip random",
        "auroc",
        "auroc ungrouped",
        "auroc difference",
        "paired means",
        "max-T",
        "sequential",
        "split-half matched",
        "split-half specific",
    ],
)
def test_false_positive_rate(p_value):
    rng = np.random.default_rng(2024)
    p_values = np.array([p_value(rng, seed) for seed in range(N_SETS)])
    false_positives = int((p_values <= 0.05).sum())
    assert stats.binomtest(false_positives, N_SETS, 0.05, alternative="greater").pvalue > 0.05, false_positives
    # Not by being blind: null p-values are spread over (0, 1].
    assert false_positives >= 2
    assert np.median(p_values) < 0.75


def share_holding(intervals: list[tuple[float, float]], truth: float) -> float:
    return float(np.mean([low <= truth <= high for low, high in intervals]))


@pytest.mark.parametrize(("draw", "truth"), [("normal", 0.0), ("exponential", 1.0)])
def test_coverage_of_the_mean(draw, truth):
    rng = np.random.default_rng(1)
    intervals = [
        grouped_bootstrap(getattr(rng, draw)(size=30), n_draws=500, seed=seed).interval[:2] for seed in range(N_SETS)
    ]
    assert 0.9 <= share_holding(intervals, truth) <= 0.98


@pytest.mark.parametrize("truth", [0.5, 0.8, 0.97, 0.995])
def test_coverage_of_the_auroc(truth):
    rng = np.random.default_rng(7)
    intervals = []
    for seed in range(N_SETS):
        # Normal scores, d' = √2 z(AUROC). A scenario's share of the variance cancels only within a scenario.
        scores = np.sqrt(0.8) * rng.normal(size=(24, 4)) + np.sqrt(0.2) * rng.normal(size=(24, 1))
        scores[:, 0] += np.sqrt(2) * stats.norm.ppf(truth)
        labels, groups = np.tile([True, False, False, False], 24), np.repeat(np.arange(24), 4)
        result = grouped_auroc(scores.ravel(), labels, groups, n_bootstrap=500, n_permutations=2, seed=seed)
        intervals.append(result.interval[:2])
    assert share_holding(intervals, truth) >= 0.92
    # The low end decides verdicts: near 1, with 24 scenarios, it misses in up to 5 %, twice its nominal share.
    too_high = sum(low > truth for low, _ in intervals)
    assert stats.binomtest(too_high, N_SETS, 0.05, alternative="greater").pvalue > 0.05
    assert max(low for low, _ in intervals) < 1


@pytest.mark.parametrize("signal", [0.0, 1.0, 3.0])
def test_coverage_of_the_split_half_cosine(signal):
    rng = np.random.default_rng(11)
    labels, groups = np.tile(CLASSES, 20), np.repeat(np.arange(20), 4)
    values, intervals = [], []
    for seed in range(100):
        h = rng.normal(size=(20, 4, 30)) + 3 * rng.normal(size=(20, 1, 30)) + signal * np.eye(4, 30)
        result = split_half_cosine(
            h.reshape(-1, 30), labels, groups, "anger", n_splits=40, n_permutations=2, n_bootstrap=200, seed=seed
        )
        assert result.interval.low <= result.value <= result.interval.high
        values.append(result.value)
        intervals.append(result.interval[:2])
    expected = float(np.mean(values))
    assert share_holding(intervals, expected) >= 0.92
    assert np.mean([low > expected for low, _ in intervals]) <= 0.05
