"""From activations to directions: one interface, several estimators.

`fit(X, labels, scenarios)` learns from X (texts, d); afterwards `directions_` maps emotion → raw vector (d,). A new
estimator joins by being added to `ESTIMATORS`; the tests run over that table.
"""

from __future__ import annotations

from typing import Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.statistics import Blocks

NEUTRAL = "neutral"
CONSTANT = 1e-9
"""Share of its size that a float32 dimension must vary by: far below float32's resolution, far above float64's."""
RIDGE = 1e-6
"""Least share of the mean variance on a covariance's diagonal: keeps it solvable where nothing was shrunk."""

FloatArray = NDArray[np.float64]


class Estimator(Protocol):
    """What every estimator offers."""

    kind: str
    method: str
    directions_: dict[str, FloatArray]

    def fit(self, X: ArrayLike, labels: ArrayLike, scenarios: ArrayLike) -> Self:
        """Learn a raw vector (d,) per emotion from texts (n, d), their classes and scenarios."""
        ...


def _checked(
    X: ArrayLike, labels: ArrayLike, scenarios: ArrayLike
) -> tuple[FloatArray, NDArray[np.str_], NDArray[np.str_]]:
    values, names, groups = np.asarray(X, dtype=np.float64), np.asarray(labels), np.asarray(scenarios)
    if values.ndim != 2 or len(values) != len(names) or len(names) != len(groups):
        raise InputError("Texts, labels and scenarios differ in number.", found=(values.shape, len(names), len(groups)))
    if not np.isfinite(values).all():
        raise MeasurementError("The activations hold NaN or infinity.", next_step="a text may lack this position")
    return values, names, groups


def _differences(values: FloatArray, names: NDArray[np.str_], groups: NDArray[np.str_]) -> list[tuple[str, FloatArray]]:
    """For every emotion (scenarios, d) h(emotion) − h(neutral), of the scenarios that have it."""
    blocks = Blocks.of(names, groups)
    pairs = [(emotion, blocks.pairs(emotion)) for emotion in blocks.emotions]
    return [(emotion, values[own.texts] - values[own.twins]) for emotion, own in pairs]


def _beside(
    values: FloatArray, names: NDArray[np.str_], groups: NDArray[np.str_], emotion: str
) -> tuple[FloatArray, NDArray[np.str_]]:
    """The texts of the scenarios that have an emotion, and their classes."""
    kept = np.isin(groups, groups[names == emotion])
    return values[kept], names[kept]


def _own_minus_others(values: FloatArray, names: NDArray[np.str_], emotion: str) -> FloatArray:
    means = {str(c): values[names == c].mean(axis=0) for c in np.unique(names)}
    result: FloatArray = means[emotion] - np.mean([mean for c, mean in means.items() if c != emotion], axis=0)
    return result


class MatchedContrast:
    """Mean over the scenarios that have the emotion of h(emotion) − h(neutral)."""

    kind = "matched"
    method = "mean difference"
    directions_: dict[str, FloatArray]

    def fit(self, X: ArrayLike, labels: ArrayLike, scenarios: ArrayLike) -> Self:
        """See `Estimator`."""
        values, names, groups = _checked(X, labels, scenarios)
        self.directions_ = {emotion: pairs.mean(axis=0) for emotion, pairs in _differences(values, names, groups)}
        return self


class SpecificContrast:
    """The matched contrast minus its mean over emotions: what tells an emotion from the others.

    With one emotion there are no others, and it is the matched contrast itself.
    """

    kind = "specific"
    method = "mean difference"
    directions_: dict[str, FloatArray]

    def fit(self, X: ArrayLike, labels: ArrayLike, scenarios: ArrayLike) -> Self:
        """See `Estimator`."""
        matched = MatchedContrast().fit(X, labels, scenarios).directions_
        common = np.mean(list(matched.values()), axis=0) if len(matched) > 1 else 0.0
        self.directions_ = {emotion: vector - common for emotion, vector in matched.items()}
        return self


class LogisticProbe:
    """One-against-rest logistic regression on standardised activations, mapped back to the stream's coordinates.

    The rest are the other texts of the scenarios that have the emotion: against texts of other scenarios it would learn
    what the scenarios are about.

    Args:
        strength: C of scikit-learn's LogisticRegression, on features of variance 1.
    """

    kind = "probe"
    method = "logistic regression"
    directions_: dict[str, FloatArray]

    def __init__(self, strength: float = 0.01):
        self.strength = strength

    def fit(self, X: ArrayLike, labels: ArrayLike, scenarios: ArrayLike) -> Self:
        """See `Estimator`."""
        values, names, groups = _checked(X, labels, scenarios)
        found = ((str(e), *_beside(values, names, groups, e)) for e in np.unique(names) if e != NEUTRAL)
        self.directions_ = {emotion: self._fit_one(own, own_names == emotion) for emotion, own, own_names in found}
        return self

    def _fit_one(self, values: FloatArray, positive: NDArray[np.bool_]) -> FloatArray:
        from sklearn.linear_model import LogisticRegression

        centred = values - values.mean(axis=0)
        spread = centred.std(axis=0)
        # What rounding leaves of a dimension that does not vary would be blown up. Where none does, as at `embed` for a
        # final mark that all texts share, the direction is 0, as that of a contrast is.
        varies = spread > CONSTANT * np.abs(values).max(axis=0)
        scale = np.where(varies, spread, 1.0)
        standardised = np.where(varies, centred / scale, 0.0)
        probe = LogisticRegression(C=self.strength, max_iter=500, class_weight="balanced")
        result: FloatArray = probe.fit(standardised, positive).coef_[0] / scale
        return result


class PairedComponent:
    """First principal component of the paired differences h(emotion) − h(neutral), over scenarios.

    The differences are not centred: centring would take out their mean, which is the emotion, and leave how scenarios
    differ (Zou et al. 2023, arXiv 2310.01405, orient pairs at random, which comes to the same). A component has neither
    sign nor length; here it is as long as the mean difference's projection on it, and points where that points.
    """

    kind = "pca"
    method = "first principal component of paired differences"
    directions_: dict[str, FloatArray]

    def fit(self, X: ArrayLike, labels: ArrayLike, scenarios: ArrayLike) -> Self:
        """See `Estimator`."""
        values, names, groups = _checked(X, labels, scenarios)
        self.directions_ = {}
        for emotion, differences in _differences(values, names, groups):
            component = np.linalg.svd(differences, full_matrices=False)[2][0]
            self.directions_[emotion] = (component @ differences.mean(axis=0)) * component
        return self


class FisherDirection:
    """Fisher's linear discriminant of an emotion against the rest: Σ⁻¹ (its mean − the mean of the other classes).

    The rest are those of the scenarios that have the emotion. Σ is the covariance of texts about the mean of their own
    class in scenarios with the same classes, one for all, shrunk after Ledoit and Wolf (2004).
    It has a direction but no length: here it is as long as the means' difference projected on it, so that it is
    measured in the stream's units as a contrast is.
    """

    kind = "lda"
    method = "linear discriminant, shrunk covariance"
    directions_: dict[str, FloatArray]

    def fit(self, X: ArrayLike, labels: ArrayLike, scenarios: ArrayLike) -> Self:
        """See `Estimator`."""
        from scipy.linalg import solve
        from sklearn.covariance import ledoit_wolf

        values, names, groups = _checked(X, labels, scenarios)
        classes = np.unique(names)
        emotions = [str(c) for c in classes if c != NEUTRAL]
        if len(classes) < 2 or not emotions:
            raise InputError("A discriminant needs texts of two classes.", found=", ".join(classes))
        differences = np.stack([_own_minus_others(*_beside(values, names, groups, e), e) for e in emotions])
        blocks = Blocks.of(names, groups)
        cells, codes = np.unique(np.stack([blocks.kinds[blocks.groups], blocks.codes]), axis=1, return_inverse=True)
        means = np.stack([values[codes == c].mean(axis=0) for c in range(cells.shape[1])])
        covariance, _ = ledoit_wolf(values - means[codes], assume_centered=True)
        variance = np.trace(covariance) / len(covariance)
        solved = differences
        if variance > 0:  # no covariance at all is, shrunk to the full, the identity
            scaled = covariance / variance + RIDGE * np.eye(len(covariance))
            solved = solve(scaled, differences.T, assume_a="pos").T
        lengths = np.linalg.norm(solved, axis=1, keepdims=True)
        unit = np.divide(solved, lengths, out=np.zeros_like(solved), where=lengths > 0)
        projected = (unit * differences).sum(axis=1, keepdims=True) * unit
        self.directions_ = dict(zip(emotions, projected, strict=True))
        return self


ESTIMATORS: dict[str, type[Estimator]] = {
    "matched": MatchedContrast,
    "specific": SpecificContrast,
    "probe": LogisticProbe,
    "pca": PairedComponent,
    "lda": FisherDirection,
}
