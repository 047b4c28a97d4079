"""From activations to directions: one interface, several estimators.

`fit(X, labels, scenarios)` learns from X (texts, d); afterwards `directions_` maps emotion → raw vector (d,). A new
estimator joins by being added to `ESTIMATORS`; the tests run over that table.
"""

from __future__ import annotations

from typing import Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emotion_circuits.errors import InputError, MeasurementError

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


def matched_texts(labels: NDArray[np.str_], scenarios: NDArray[np.str_]) -> dict[str, NDArray[np.intp]]:
    """Per class the index of its text in every scenario, scenarios in sorted order.

    Raises:
        InputError: a scenario that lacks a class or has it twice.
    """
    names = np.unique(scenarios)
    found = {}
    for emotion in np.unique(labels):
        of_class = np.flatnonzero(labels == emotion)
        of_class = of_class[np.argsort(scenarios[of_class], kind="stable")]
        if not np.array_equal(scenarios[of_class], names):
            raise InputError(
                "A matched contrast needs one text of every class in each scenario.",
                found=f"{len(of_class)} {emotion} texts for {len(names)} scenarios",
            )
        found[str(emotion)] = of_class
    if NEUTRAL not in found or len(found) < 2:
        raise InputError("A matched contrast needs neutral and emotional texts.", found=", ".join(found))
    return found


def _checked(
    X: ArrayLike, labels: ArrayLike, scenarios: ArrayLike
) -> tuple[FloatArray, NDArray[np.str_], NDArray[np.str_]]:
    values, names, groups = np.asarray(X, dtype=np.float64), np.asarray(labels), np.asarray(scenarios)
    if values.ndim != 2 or len(values) != len(names) or len(names) != len(groups):
        raise InputError("Texts, labels and scenarios differ in number.", found=(values.shape, len(names), len(groups)))
    if not np.isfinite(values).all():
        raise MeasurementError("The activations hold NaN or infinity.", next_step="a text may lack this position")
    return values, names, groups


class MatchedContrast:
    """Mean over scenarios of h(emotion) − h(neutral)."""

    kind = "matched"
    method = "mean difference"
    directions_: dict[str, FloatArray]

    def fit(self, X: ArrayLike, labels: ArrayLike, scenarios: ArrayLike) -> Self:
        """See `Estimator`."""
        values, names, groups = _checked(X, labels, scenarios)
        texts = matched_texts(names, groups)
        neutral = values[texts[NEUTRAL]]
        self.directions_ = {
            emotion: (values[index] - neutral).mean(axis=0) for emotion, index in texts.items() if emotion != NEUTRAL
        }
        return self


class SpecificContrast:
    """The matched contrast minus its mean over emotions: what tells an emotion from the others."""

    kind = "specific"
    method = "mean difference"
    directions_: dict[str, FloatArray]

    def fit(self, X: ArrayLike, labels: ArrayLike, scenarios: ArrayLike) -> Self:
        """See `Estimator`."""
        matched = MatchedContrast().fit(X, labels, scenarios).directions_
        common = np.mean(list(matched.values()), axis=0)
        self.directions_ = {emotion: vector - common for emotion, vector in matched.items()}
        return self


class LogisticProbe:
    """One-against-rest logistic regression on standardised activations, mapped back to the stream's coordinates.

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
        from sklearn.linear_model import LogisticRegression

        values, names, _ = _checked(X, labels, scenarios)
        centred = values - values.mean(axis=0)
        spread = centred.std(axis=0)
        # What rounding leaves of a dimension that does not vary would be blown up. Where none does, as at `embed` for a
        # final mark that all texts share, the direction is 0, as that of a contrast is.
        varies = spread > CONSTANT * np.abs(values).max(axis=0)
        scale = np.where(varies, spread, 1.0)
        standardised = np.where(varies, centred / scale, 0.0)
        self.directions_ = {}
        for emotion in np.unique(names):
            if emotion == NEUTRAL:
                continue
            probe = LogisticRegression(C=self.strength, max_iter=500, class_weight="balanced")
            probe.fit(standardised, names == emotion)
            self.directions_[str(emotion)] = probe.coef_[0] / scale
        return self


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
        texts = matched_texts(names, groups)
        self.directions_ = {}
        for emotion, index in texts.items():
            if emotion != NEUTRAL:
                differences = values[index] - values[texts[NEUTRAL]]
                component = np.linalg.svd(differences, full_matrices=False)[2][0]
                self.directions_[emotion] = (component @ differences.mean(axis=0)) * component
        return self


class FisherDirection:
    """Fisher's linear discriminant of an emotion against the rest: Σ⁻¹ (its mean − the mean of the other classes).

    Σ is the covariance of texts about their own class's mean, one for all classes, shrunk after Ledoit and Wolf (2004).
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

        values, names, _ = _checked(X, labels, scenarios)
        classes, codes = np.unique(names, return_inverse=True)
        emotions = [str(c) for c in classes if c != NEUTRAL]
        if len(classes) < 2 or not emotions:
            raise InputError("A discriminant needs texts of two classes.", found=", ".join(classes))
        means = np.stack([values[codes == c].mean(axis=0) for c in range(len(classes))])
        differences = np.stack([means[classes == e][0] - means[classes != e].mean(axis=0) for e in emotions])
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
