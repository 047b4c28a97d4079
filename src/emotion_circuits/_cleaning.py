"""Cleaning of activations before directions and subspaces are taken, for the rooms that take them.

One interface for texts and for directions: `transform` takes texts (n, d), `transform_direction` differences of texts
(…, d), which a mean does not shift.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.covariance import LedoitWolf

from emotion_circuits.errors import InputError, MeasurementError

FloatArray = npt.NDArray[np.float64]

# A dimension that varies by less than this share of the layer's size varies by float32 rounding only.
CONSTANT = 1e-7


def activations(values: npt.ArrayLike, name: str = "The activations") -> FloatArray:
    """(n, d) float64, refused unless finite, of two texts or more, and not the same for all of them.

    Raises:
        InputError: another shape, or fewer than two texts.
        MeasurementError: NaN or infinity, or a layer that is the same for all texts.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or len(array) < 2 or not array.shape[1]:
        raise InputError(f"{name} have the wrong shape.", found=array.shape, accepted="(texts, dimensions), 2 texts up")
    require_finite(array, name)
    if not varying(array).any():
        raise MeasurementError(
            f"{name} are the same for all texts: there is nothing to measure.", next_step="another layer or position"
        )
    return array


def require_finite(array: FloatArray, name: str) -> None:
    """Raise `MeasurementError` where there is NaN or infinity."""
    if not np.isfinite(array).all():
        raise MeasurementError(f"{name} hold NaN or infinity.", found=f"{(~np.isfinite(array)).sum()} of {array.size}")


def varying(array: FloatArray) -> npt.NDArray[np.bool_]:
    """(d,) which dimensions of (n, d) differ between texts by more than rounding."""
    size = np.sqrt(np.mean(np.square(array)))
    result: npt.NDArray[np.bool_] = array.std(axis=0) > CONSTANT * size
    return result


class Cleaner(BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn has no types
    """Something that is learnt from generic text and then applied to any text of the same layer.

    Attributes:
        mean_: (d,) mean of the generic texts.
    """

    mean_: FloatArray

    def fit(self, X: npt.ArrayLike, y: object = None) -> Self:
        """Learn from (n, d) generic texts."""
        texts = activations(X, "The generic activations")
        self.mean_ = texts.mean(axis=0)
        self._fit(texts)
        return self

    def transform(self, X: npt.ArrayLike) -> FloatArray:
        """(n, d) cleaned texts, centred on the generic mean."""
        return self.transform_direction(self._of_width(X) - self.mean_)

    def fit_transform(self, X: npt.ArrayLike, y: object = None) -> FloatArray:
        """`fit`, then `transform`, on the same texts."""
        return self.fit(X).transform(X)

    def _of_width(self, X: npt.ArrayLike) -> FloatArray:
        array = np.asarray(X, dtype=np.float64)
        if array.shape[-1:] != self.mean_.shape:
            raise InputError(
                "The cleaner was made for another width.", found=array.shape, accepted=f"(…, {len(self.mean_)})"
            )
        require_finite(array, "The activations")
        return array

    @abstractmethod
    def _fit(self, texts: FloatArray) -> None: ...

    @abstractmethod
    def transform_direction(self, V: npt.ArrayLike) -> FloatArray:
        """(…, d) cleaned differences."""


class GenericCleaner(Cleaner):
    """Project out what varies most in generic text (Sofroniew et al. 2026, arXiv 2604.07729).

    Args:
        share: τ, the share of generic variance that the removed principal components must reach; 0 removes nothing.

    Attributes:
        components_: (r, d) the removed directions, orthonormal.
        removed_share_: share of generic variance that they hold, ≥ τ.
    """

    def __init__(self, share: float = 0.5):
        self.share = share

    components_: FloatArray
    removed_share_: float

    def _fit(self, texts: FloatArray) -> None:
        if not 0 <= self.share < 1:
            raise InputError("The share of variance to remove lies outside [0, 1).", found=self.share)
        _, sizes, rows = np.linalg.svd(texts - self.mean_, full_matrices=False)
        shares = np.cumsum(np.square(sizes)) / np.square(sizes).sum()
        count = 0 if self.share == 0 else int(np.argmax(shares >= self.share - 1e-12)) + 1
        self.components_ = rows[:count]
        self.removed_share_ = float(shares[count - 1]) if count else 0.0

    def transform_direction(self, V: npt.ArrayLike) -> FloatArray:
        directions = self._of_width(V)
        result: FloatArray = directions - (directions @ self.components_.T) @ self.components_
        return result


class ShrunkWhitening(Cleaner):
    """Whiten by the shrunk covariance of generic text (Ledoit and Wolf 2004), h → Σ^(−1/2) (h − μ).

    Attributes:
        whitening_: (d, d) the symmetric root.
        shrinkage_: the share of the identity in Σ.
    """

    whitening_: FloatArray
    shrinkage_: float

    def _fit(self, texts: FloatArray) -> None:
        estimate = LedoitWolf(store_precision=False).fit(texts)
        variances, directions = np.linalg.eigh(estimate.covariance_)
        if variances[0] <= 0:
            raise MeasurementError("The shrunk covariance is singular.", found=f"shrinkage {estimate.shrinkage_:.3g}")
        self.whitening_ = (directions / np.sqrt(variances)) @ directions.T
        self.shrinkage_ = float(estimate.shrinkage_)

    def transform_direction(self, V: npt.ArrayLike) -> FloatArray:
        result: FloatArray = self._of_width(V) @ self.whitening_
        return result


class PerDimensionScaler(Cleaner):
    """Divide every dimension by its standard deviation in generic text.

    Attributes:
        scale_: (d,) the deviations.
    """

    scale_: FloatArray

    def _fit(self, texts: FloatArray) -> None:
        self.scale_ = standard_deviations(texts, "The generic activations")

    def transform_direction(self, V: npt.ArrayLike) -> FloatArray:
        result: FloatArray = self._of_width(V) / self.scale_
        return result


class AllOnesRemover(Cleaner):
    """Remove the mean over dimensions, which a LayerNorm never sees. Needs nothing from generic text but its mean."""

    def _fit(self, texts: FloatArray) -> None:
        pass

    def transform_direction(self, V: npt.ArrayLike) -> FloatArray:
        return remove_all_ones(self._of_width(V))


def remove_all_ones(V: npt.ArrayLike) -> FloatArray:
    """(…, d) without the component along (1, …, 1), which a LayerNorm removes: leave it out of norms and cosines."""
    array = np.asarray(V, dtype=np.float64)
    result: FloatArray = array - array.mean(axis=-1, keepdims=True)
    return result


def standard_deviations(texts: FloatArray, name: str) -> FloatArray:
    """(d,) deviations of every dimension, refused where a dimension does not vary."""
    moving = varying(texts)
    if not moving.all():
        raise MeasurementError(
            f"{name} have dimensions that are the same for all texts, so they cannot be standardised.",
            found=f"{(~moving).sum()} of {len(moving)}, the first is {int(np.argmin(moving))}",
        )
    deviations: FloatArray = texts.std(axis=0)
    return deviations
