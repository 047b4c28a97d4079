"""Nearest-centroid accuracy, held out by scenario, with its label-permutation null from the same code."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emotion_circuits.errors import MeasurementError
from emotion_circuits.statistics import Blocks, Interval, exceedance_p, permute_within_groups, weighted_bootstrap

N_FOLDS = 5


class CentroidAccuracy(NamedTuple):
    """Accuracy beside its null; `per_scenario` is (scenarios,), in sorted order of their names."""

    value: float
    interval: Interval
    null_mean: float
    null_low: float
    null_high: float
    p: float
    per_scenario: NDArray[np.float64]


def centroid_accuracy(
    X: ArrayLike, labels: ArrayLike, scenarios: ArrayLike, *, n_permutations: int = 200, seed: int = 0
) -> CentroidAccuracy:
    """Share of texts nearest to their own class's mean, the means coming from other scenarios (5 folds).

    Emotions may differ in scenarios, and so in subject: the null, in which labels swap within scenarios, differs alike.
    Everything follows from the Gram matrix, so the null costs a few matrix products whatever the width.

    Args:
        X: (n, d) activations.
        labels, scenarios: (n,) class and scenario of each text.
        n_permutations, seed: of the null (labels permuted within scenarios).
    """
    values = np.asarray(X, dtype=np.float64)
    if not np.isfinite(values).all():
        raise MeasurementError("The activations hold NaN or infinity.", next_step="a text may lack this position")
    blocks = Blocks.of(labels, scenarios)
    codes, groups = blocks.codes, blocks.groups
    n_classes = len(blocks.emotions) + 1
    values = values - values.mean(axis=0)
    gram = values @ values.T
    # Folds by a fixed shuffle, so that the order in which scenarios were written does not matter.
    folds = blocks.folds(N_FOLDS, seed)[groups]
    correct = _correct(gram, codes[None], folds, n_classes)[0]
    null_labels = permute_within_groups(codes, groups, n_permutations, seed + 1)
    null = np.concatenate(
        [_correct(gram, part, folds, n_classes).mean(axis=1) for part in np.array_split(null_labels, 8) if len(part)]
    )
    right, sizes = np.bincount(groups, weights=correct), np.bincount(groups)
    boot = weighted_bootstrap(
        lambda w: w @ right / (w @ sizes), len(sizes), n_draws=1000, seed=seed + 2, strata=blocks.kinds
    )
    low, high = np.quantile(null, [0.025, 0.975])
    return CentroidAccuracy(
        value=float(correct.mean()),
        interval=boot.interval,
        null_mean=float(null.mean()),
        null_low=float(low),
        null_high=float(high),
        p=exceedance_p(float(correct.mean()), null),
        per_scenario=right / sizes,
    )


def _correct(
    gram: NDArray[np.float64], codes: NDArray[np.intp], folds: NDArray[np.intp], n_classes: int
) -> NDArray[np.float64]:
    """(draws, n) 1 where a text's class is predicted, for class codes (draws, n)."""
    correct = np.zeros(codes.shape)
    for fold in range(N_FOLDS):
        train = folds != fold
        member = (codes[:, None, :] == np.arange(n_classes)[:, None]) & train
        weights = member / np.maximum(member.sum(axis=2, keepdims=True), 1)
        inner = weights @ gram
        norms = np.einsum("bcn,bcn->bc", inner, weights)
        norms[~member.any(axis=2)] = np.inf  # nothing is nearest to a class that other scenarios lack
        # |x − μ|² without |x|², which is the same for every class.
        nearest = np.argmin(norms[:, :, None] - 2 * inner[:, :, ~train], axis=1)
        correct[:, ~train] = nearest == codes[:, ~train]
    return correct
