"""Into and out of the space where maps between models are fitted: centre, standardise, principal components."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA

from emotion_circuits._cleaning import standard_deviations
from emotion_circuits.errors import InputError, MeasurementError

from ._inputs import RANK, FloatArray, activations, require_finite, row_hashes

# A map of m components from fewer texts than this many per component fits noise.
TEXTS_PER_COMPONENT = 5


@dataclass(frozen=True, eq=False)
class Reduction:
    """x ↦ ((x − mean) / scale) · components, and back.

    Attributes:
        mean, scale: (d,).
        components: (d, m) orthonormal; None keeps all dimensions as they are.
    """

    mean: FloatArray
    scale: FloatArray
    components: FloatArray | None

    @property
    def width(self) -> int:
        """d."""
        return len(self.mean)

    @property
    def n_components(self) -> int:
        """m."""
        return self.width if self.components is None else self.components.shape[1]

    def scores(self, X: npt.ArrayLike) -> FloatArray:
        """(n, m) scores of (n, d) texts."""
        return self.direction_scores(self.checked(X) - self.mean)

    def direction_scores(self, V: npt.ArrayLike) -> FloatArray:
        """(…, m) scores of (…, d) differences."""
        scaled = self.checked(V) / self.scale
        return scaled if self.components is None else np.asarray(scaled @ self.components)

    def direction_from(self, scores: FloatArray) -> FloatArray:
        """(…, d) differences, in the model's own units, of (…, m) scores."""
        full = scores if self.components is None else scores @ self.components.T
        return np.asarray(full * self.scale)

    def checked(self, X: npt.ArrayLike) -> FloatArray:
        """X as finite float64 of the right width."""
        array = np.asarray(X, dtype=np.float64)
        if array.shape[-1:] != self.mean.shape:
            raise InputError(
                "The map was fitted to another width.", found=f"shape {array.shape}", accepted=f"(…, {self.width})"
            )
        require_finite(array, "The activations")
        return array


@dataclass(frozen=True, eq=False)
class ReducedTexts:
    """Texts that a map is fitted on, with their reduction; made once per layer and used for every partner.

    Attributes:
        scores: (n, m).
        scale: (d,) standard deviation of every dimension, whatever the reduction does with it.
        hashes: what tells the texts apart, to refuse judging a map on them.
    """

    reduction: Reduction
    scores: FloatArray
    mean: FloatArray
    scale: FloatArray
    hashes: frozenset[bytes] = field(repr=False)

    @property
    def n_texts(self) -> int:
        return len(self.scores)


def most_components(n_texts: int, *widths: int) -> int:
    """Largest m for n texts: n/5, and no more than any of the widths."""
    return min(n_texts // TEXTS_PER_COMPONENT, *widths)


def reduce_texts(X: npt.ArrayLike, n_components: int, name: str = "The activations") -> ReducedTexts:
    """Centre, standardise and reduce (n, d) texts to m principal components.

    Raises:
        InputError: m over n/5 or over d.
        MeasurementError: NaN, constant dimensions, or texts that span fewer than m dimensions.
    """
    texts = activations(X, name)
    most = most_components(*texts.shape)
    if not 1 <= n_components <= most:
        raise InputError(
            f"{name} cannot be reduced to {n_components} components.",
            found=f"{len(texts)} texts of {texts.shape[1]} dimensions",
            accepted=f"1 to {most}, a fifth of the texts at most" if most else "5 texts or more",
        )
    mean, scale = texts.mean(axis=0), standard_deviations(texts, name)
    standardised = (texts - mean) / scale
    pca = PCA(n_components=n_components, svd_solver="full").fit(standardised)
    # Against the size of all of it: the largest component alone says little once each dimension has variance 1.
    if pca.singular_values_[-1] <= RANK * np.linalg.norm(standardised):
        rank = int((pca.singular_values_ > RANK * np.linalg.norm(standardised)).sum())
        raise MeasurementError(
            f"{name} span fewer than {n_components} dimensions.", found=f"rank {rank}", next_step="fewer components"
        )
    components = np.asarray(pca.components_.T)
    reduction = Reduction(mean, scale, components)
    return ReducedTexts(reduction, standardised @ components, mean, scale, row_hashes(texts))


def raw_texts(X: npt.ArrayLike, name: str = "The activations") -> ReducedTexts:
    """Texts as they are, neither centred nor standardised nor reduced."""
    texts = activations(X, name)
    width = texts.shape[1]
    reduction = Reduction(np.zeros(width), np.ones(width), None)
    scale = standard_deviations(texts, name)
    return ReducedTexts(reduction, texts, texts.mean(axis=0), scale, row_hashes(texts))
