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

FloatArray = NDArray[np.float64]


class Estimator(Protocol):
    """What every estimator offers."""

    kind: str
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


ESTIMATORS: dict[str, type[MatchedContrast] | type[SpecificContrast] | type[LogisticProbe]] = {
    "matched": MatchedContrast,
    "specific": SpecificContrast,
    "probe": LogisticProbe,
}
