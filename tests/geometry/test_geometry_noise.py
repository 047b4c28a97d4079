"""Noise in, noise out: bias and false-positive rates of every test of the room on independent Gaussian models.

Seeds run from 0 up and are never chosen. Rates are judged by exact binomial tests, Holm over the checks of a function.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from emotion_circuits.geometry import (
    BetweenClassSubspace,
    LDASubspace,
    PairedDifferenceSubspace,
    Ridge,
    SubspaceEstimator,
    cka,
    compare_spaces,
    compare_subspaces,
    evaluate_alignment,
    independent_models,
    planted_models,
)
from emotion_circuits.statistics import holm


def require_level(p_values: dict[str, list[float]]) -> None:
    """No test may be significant at 5 % more often than 5 % (one-sided exact binomial, Holm)."""
    counts = {name: (sum(p <= 0.05 for p in ps), len(ps)) for name, ps in p_values.items()}
    adjusted = holm([stats.binomtest(k, n, 0.05, alternative="greater").pvalue for k, n in counts.values()])
    assert all(p is not None and p > 0.05 for p in adjusted), counts


def require_no_bias(values: list[float], centre: float = 0.0) -> None:
    mean, error = np.mean(values), np.std(values, ddof=1) / np.sqrt(len(values))
    assert abs(mean - centre) <= 3 * error, (mean, error)


def test_the_level_check_can_fail() -> None:
    with pytest.raises(AssertionError):
        require_level({"too often": [0.01] * 12 + [0.5] * 88})
    require_level({"as often as it may": [0.01] * 5 + [0.5] * 95})


@pytest.mark.parametrize(
    "estimator",
    [BetweenClassSubspace(), LDASubspace(), PairedDifferenceSubspace(n_components=5, emotion="amber")],
    ids=lambda e: type(e).__name__,
)
def test_overlap_of_noise(estimator: SubspaceEstimator) -> None:
    found: dict[str, list[float]] = {}
    corrected = []
    for seed in range(80):
        models = independent_models(n_fit=2, n_scenarios=14, width_a=48, width_b=48, seed=seed)
        [result] = compare_subspaces(
            models.table_a, models.table_b, estimator, n_permutations=99, n_bootstrap=2, n_splits=1, seed=seed
        )
        corrected.append(result.corrected)
        for null in result.nulls:
            found.setdefault(null.name, []).append(null.p)
    require_no_bias(corrected)
    require_level(found)


def test_overlap_of_noise_at_full_width() -> None:
    corrected = []
    for seed in range(40):
        models = independent_models(n_fit=2, n_scenarios=70, seed=seed)
        [result] = compare_subspaces(
            models.table_a,
            models.table_b,
            BetweenClassSubspace(),
            nulls=("rotation",),
            n_permutations=99,
            n_bootstrap=2,
            n_splits=1,
            seed=seed,
        )
        corrected.append(result.corrected)
    require_no_bias(corrected)


def test_alignment_of_noise() -> None:
    found: dict[str, list[float]] = {}
    r2, retrieval, own = [], [], []
    for seed in range(80):
        models = independent_models(n_fit=70 if seed % 2 else 280, n_scenarios=12, width_a=48, width_b=40, seed=seed)
        fitted = Ridge().fit(models.fit_a, models.fit_b)
        report = evaluate_alignment(
            fitted,
            models.emotion_a,
            models.emotion_b,
            models.labels,
            models.groups,
            fit_labels=models.fit_labels,
            n_draws=99,
            n_bootstrap=9,
            seed=seed,
        )
        r2.append(report.r2)
        retrieval.append(report.retrieval)
        own.append(report.mean_own)
        bands = {"own": report.mean_own_nulls, "specificity": report.specificity_nulls, "overlap": report.overlap_nulls}
        for statistic, nulls in bands.items():
            for null in nulls:
                found.setdefault(f"{statistic} {null.name}", []).append(null.p)
    assert np.mean(r2) <= 0.01
    require_no_bias(own)
    require_no_bias(retrieval, 1 / 3)
    require_level(found)


@pytest.mark.parametrize("measure", ["cka", "rsa", "neighbours"])
def test_similarity_of_noise(measure: str) -> None:
    p_values, values = [], []
    for seed in range(100):
        models = independent_models(n_fit=30, n_scenarios=2, width_a=40, width_b=50, seed=seed)
        result = compare_spaces([models.fit_a], [models.fit_b], measure=measure, k=5, n_draws=99, seed=seed)
        p_values.append(float(result.p[0, 0]))
        values.append(float(result.value[0, 0]) - result.chance)
    require_level({measure: p_values})
    require_no_bias(values)


def test_debiased_cka_of_noise_is_zero_at_any_shape() -> None:
    rng = np.random.default_rng(0)
    for n, width in ((20, 300), (70, 768), (150, 10)):
        layers = [rng.standard_normal((n, width)) for _ in range(24)]
        values = [float(cka([a], [b])[0, 0]) for a, b in zip(layers[::2], layers[1::2], strict=True)]
        require_no_bias(values)


def test_power_grows_with_texts() -> None:
    """With few texts the map is poor and the report says so: cosines rise from noise to the truth."""
    own = []
    for n in (25, 70, 280, 1000):
        models = planted_models(n_fit=n, n_scenarios=30, width_a=96, width_b=96, rank=20, signal_to_noise=8.0, seed=0)
        report = evaluate_alignment(
            Ridge().fit(models.fit_a, models.fit_b),
            models.emotion_a,
            models.emotion_b,
            models.labels,
            models.groups,
            n_draws=99,
            n_bootstrap=9,
            seed=0,
        )
        own.append(report.mean_own)
    assert own == sorted(own)
    assert own[0] < 0.7 < own[-1]
