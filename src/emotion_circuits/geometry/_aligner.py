"""What a map between two models is: fit, transform, judge, and the same map for shuffled pairs of texts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from emotion_circuits.errors import InputError

from ._inputs import FloatArray, IntArray, batches
from ._reduction import ReducedTexts, Reduction, most_components, reduce_texts


class Aligner(BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn has no types
    """An affine map from the activations of a model A to those of a model B, learnt from the same texts in both.

    Both sides are centred, standardised and reduced to m principal components; a subclass says how component scores map
    to component scores. To add one: write `_fit_map` and `shuffled`, and register the class
    (`register_aligner`).

    Args:
        n_components: m, at most n/5; None for the most that n and both widths allow.

    Attributes:
        map_: (m_A, m_B) from scores to scores.
        source_, target_: the reductions of A and B.
        target_mean_, target_scale_: (d_B,) mean and deviation of B's training texts.
        n_fit_: number of training texts.
    """

    name: ClassVar[str]
    #: False where the fit says nothing about fresh texts, so that only held-out numbers may be shown.
    in_sample_safe: ClassVar[bool] = True

    def __init__(self, n_components: int | None = None):
        self.n_components = n_components

    map_: FloatArray
    source_: Reduction
    target_: Reduction
    target_mean_: FloatArray
    target_scale_: FloatArray
    n_fit_: int
    # Kept for the nulls while the fit is in memory; not saved.
    training_: tuple[ReducedTexts, ReducedTexts] | None

    def fit(self, X: npt.ArrayLike, Y: npt.ArrayLike, groups: npt.ArrayLike | None = None) -> Self:
        """Fit on texts that are rows of both X (n, d_A) and Y (n, d_B); `groups` (n,) stay whole in cross-validation.

        Raises:
            InputError: different numbers of texts, or m over a fifth of them.
            MeasurementError: NaN, constant dimensions, or texts that span fewer than m dimensions.
        """
        shapes = np.shape(X), np.shape(Y)
        if any(len(shape) != 2 for shape in shapes) or shapes[0][0] != shapes[1][0]:
            raise InputError("The two models have different texts.", found=f"shapes {shapes[0]} and {shapes[1]}")
        m = (
            most_components(shapes[0][0], shapes[0][1], shapes[1][1])
            if self.n_components is None
            else self.n_components
        )
        return self.fit_reduced(self.reduce(X, m, "The source"), self.reduce(Y, m, "The target"), groups)

    def fit_reduced(self, source: ReducedTexts, target: ReducedTexts, groups: npt.ArrayLike | None = None) -> Self:
        """`fit` on texts that are already reduced."""
        self.adopt(source, target, groups)
        self.map_ = self._fit_map(source.scores, target.scores, None if groups is None else np.asarray(groups))
        return self

    def adopt(self, source: ReducedTexts, target: ReducedTexts, groups: npt.ArrayLike | None = None) -> None:
        """Take over everything but the map."""
        if source.n_texts != target.n_texts or (groups is not None and np.shape(groups) != (source.n_texts,)):
            raise InputError(
                "Source, target and groups differ in number of texts.",
                found=f"{source.n_texts}, {target.n_texts}, {np.shape(groups) if groups is not None else 'no groups'}",
            )
        self.source_, self.target_ = source.reduction, target.reduction
        self.target_mean_, self.target_scale_ = target.mean, target.scale
        self.n_fit_ = source.n_texts
        self.training_ = (source, target)

    def reduce(self, X: npt.ArrayLike, n_components: int, name: str = "The activations") -> ReducedTexts:
        """The reduction that this aligner works in."""
        return reduce_texts(X, n_components, name)

    @abstractmethod
    def _fit_map(self, source: FloatArray, target: FloatArray, groups: npt.NDArray[np.generic] | None) -> FloatArray:
        """(m_A, m_B) map from (n, m_A) to (n, m_B) scores; attributes that only this method knows are set here."""

    @abstractmethod
    def shuffled(self, scores: FloatArray, orders: IntArray) -> FloatArray:
        """Images of directions under the maps of shuffled pairs.

        Args:
            scores: (K, m_A) directions.
            orders: (B, n): map b is the one fitted with the source's text orders[b, j] as partner of the target's j.

        Returns:
            (B, K, m_B).
        """

    def transform(self, X: npt.ArrayLike) -> FloatArray:
        """(n, d_B) what model B's activations should be, for A's (n, d_A)."""
        return self.target_.mean + self.target_.direction_from(self.source_.scores(X) @ self._fitted_map())

    def transform_direction(self, V: npt.ArrayLike) -> FloatArray:
        """(…, d_B) images of directions (…, d_A) in B's own units: the linear part only, not centred, not normed."""
        return self.target_.direction_from(self.source_.direction_scores(V) @ self._fitted_map())

    def score(self, X: npt.ArrayLike, Y: npt.ArrayLike) -> float:
        """R² of the image of X for Y, against B's *training* mean, every dimension in units of its training deviation.

        Pass texts that were not in the fit: on those that were, least squares reaches 1 for noise.
        """
        target = self.target_.checked(Y)
        image = self.transform(X)
        if image.shape != target.shape:
            raise InputError("The two models have different texts.", found=f"{image.shape} and {target.shape}")
        residual = np.square((target - image) / self.target_scale_).sum()
        total = np.square((target - self.target_mean_) / self.target_scale_).sum()
        return float(1 - residual / total)

    @property
    def coef_(self) -> FloatArray:
        """(d_A, d_B) the map of directions as one matrix."""
        return self.transform_direction(np.eye(self.source_.width))

    def _fitted_map(self) -> FloatArray:
        if not hasattr(self, "map_"):
            raise InputError(f"This {self.name} aligner is not fitted.", next_step="call fit first")
        return self.map_

    def training_texts(self) -> tuple[ReducedTexts, ReducedTexts]:
        """The reduced training texts, or an `InputError` for a map that came from a file."""
        if getattr(self, "training_", None) is None:
            raise InputError(
                "A map from a file has no training texts, so their pairs cannot be shuffled.", next_step="fit it again"
            )
        assert self.training_ is not None
        return self.training_


class LinearAligner(Aligner):
    """An aligner whose map is linear in the pairing: S · T with S (m_A, n) from the source, T (n, m_B) from the target.

    The image of a direction v under a shuffled map is then (v S)[order] · T: a permutation of n numbers and a product,
    so a thousand maps need not be made.
    """

    @abstractmethod
    def factors(self) -> tuple[FloatArray, FloatArray]:
        """S (m_A, n) and T (n, m_B)."""

    def shuffled(self, scores: FloatArray, orders: IntArray) -> FloatArray:
        left, right = self.factors()
        return shuffled_products((scores @ left).astype(np.float32), right.astype(np.float32), orders)


class CrossAligner(Aligner):
    """An aligner whose map is a function of the cross-products of the scores, such as one of their singular vectors."""

    @abstractmethod
    def maps_of(self, cross: FloatArray) -> FloatArray:
        """(…, m_A, m_B) maps from stacks of cross-products sourceᵀ target."""

    def shuffled(self, scores: FloatArray, orders: IntArray) -> FloatArray:
        source, target = self.training_texts()
        parts = []
        for some in batches(len(orders), source.scores.size):
            cross = source.scores[orders[some]].transpose(0, 2, 1) @ target.scores
            parts.append(scores @ self.maps_of(cross))
        return np.concatenate(parts)


def shuffled_products(
    weights: npt.NDArray[np.float32], target: npt.NDArray[np.float32], orders: IntArray
) -> FloatArray:
    """(B, K, m) weights (K, n) in other orders (B, n), times (n, m); single precision is enough for a null."""
    parts = []
    for some in batches(len(orders), weights.size):
        moved = weights[:, orders[some]].transpose(1, 0, 2)
        parts.append((moved.reshape(-1, moved.shape[2]) @ target).reshape(*moved.shape[:2], -1))
    return np.concatenate(parts).astype(np.float64)
