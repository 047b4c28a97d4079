"""Overlap of two subspaces, its chance level, principal angles, and the nulls that need no texts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.linalg import subspace_angles

from emotion_circuits.errors import InputError, MeasurementError

from ._inputs import FloatArray, Seed, batches, generator, require_finite

# How far cosines of principal angles may exceed 1 by rounding; beyond it a basis was not orthonormal.
COSINE_SLACK = 1e-6
# Smallest over largest singular value at which columns still count as independent.
DEPENDENT = 1e-10


class Overlap(NamedTuple):
    """Overlap S, the same corrected for chance, and chance; arrays over the stack."""

    value: FloatArray
    corrected: FloatArray
    chance: float


def overlap(A: npt.ArrayLike, B: npt.ArrayLike) -> Overlap:
    """S = ‖QAᵀQB‖²_F / k of the column spaces of A (…, d, k) and B (…, d, k), stacks broadcast.

    S is the mean squared cosine of the principal angles: 0 for orthogonal subspaces, 1 for equal ones, k/d on average
    for a random one. S* = (S − k/d)/(1 − k/d) is 0 on average by chance. Of subspaces of different size the smaller
    one gives the number of angles and the larger one chance.

    Raises:
        InputError: different d, k > d, k = d (every subspace is then the whole space), or a wrong shape.
        MeasurementError: NaN, or columns that are linearly dependent.
    """
    first, second = orthonormal(A), orthonormal(B)
    if first.shape[-2] != second.shape[-2]:
        raise InputError(
            "Subspaces of models of different width have no overlap.",
            found=f"{first.shape[-2]} and {second.shape[-2]} dimensions",
            next_step="align the models first (align), then compare in one of them",
        )
    return _summary(mean_squared_cosines(first, second), first.shape[-2], first.shape[-1], second.shape[-1])


def corrected(value: npt.ArrayLike, chance: float) -> FloatArray:
    """S* of S."""
    if not 0 < chance < 1:
        raise InputError("Chance is 1: a subspace that is the whole space overlaps with everything.", found=chance)
    return np.asarray((np.asarray(value, dtype=np.float64) - chance) / (1 - chance))


def orthonormal(A: npt.ArrayLike) -> FloatArray:
    """(…, d, k) orthonormal columns by QR, errors as in `overlap`."""
    array = np.asarray(A, dtype=np.float64)
    if array.ndim < 2 or not 1 <= array.shape[-1] <= array.shape[-2]:
        raise InputError("A basis has the wrong shape.", found=array.shape, accepted="(…, d, k) with 1 ≤ k ≤ d")
    require_finite(array, "The basis vectors")
    q, r = np.linalg.qr(array)
    sizes = np.linalg.svd(r, compute_uv=False)
    if (sizes[..., -1] <= DEPENDENT * sizes[..., 0]).any():
        raise MeasurementError(
            f"The {array.shape[-1]} vectors of a basis are linearly dependent.",
            found=f"rank {int((sizes > DEPENDENT * sizes[..., :1]).sum(axis=-1).min())}",
            next_step="fewer components",
        )
    result: FloatArray = q
    return result


def mean_squared_cosines(first: FloatArray, second: FloatArray) -> FloatArray:
    """S (…) of orthonormal bases, after asserting that no cosine exceeds 1."""
    cosines = np.linalg.svd(np.swapaxes(first, -1, -2) @ second, compute_uv=False)
    require_cosines(cosines)
    result: FloatArray = np.square(cosines).sum(axis=-1) / min(first.shape[-1], second.shape[-1])
    return result


def require_cosines(cosines: npt.NDArray[np.floating[Any]]) -> None:
    """Refuse cosines of principal angles beyond 1: clipping them would hide a basis that is not orthonormal."""
    largest = float(cosines.max())
    if not largest <= 1 + COSINE_SLACK:
        raise MeasurementError("A cosine of principal angles exceeds 1: a basis is not orthonormal.", found=largest)


def nested_overlaps(first: FloatArray, second: FloatArray, k_values: tuple[int, ...]) -> FloatArray:
    """(B, K) S of the leading k columns, for every k, of orthonormal bases (B or 1, d, k)."""
    products = np.swapaxes(first, -1, -2) @ second
    require_cosines(np.linalg.svd(products, compute_uv=False))
    sums = np.square(products).cumsum(axis=-1).cumsum(axis=-2)
    k = np.asarray(k_values)
    result: FloatArray = sums[..., k - 1, k - 1] / k
    return result


def principal_angles(A: npt.ArrayLike, B: npt.ArrayLike) -> FloatArray:
    """(…, min k) principal angles in radians, largest first, by `scipy.linalg.subspace_angles`. Errors as `overlap`."""
    first, second = orthonormal(A), orthonormal(B)
    if first.shape[-2] != second.shape[-2]:
        raise InputError("Subspaces of different width have no angles.", found=f"{first.shape[-2]}, {second.shape[-2]}")
    angles = np.vectorize(subspace_angles, signature="(d,k),(d,l)->(m)")(first, second)
    return np.asarray(angles, dtype=np.float64)


def rotation_null(d: int, k_a: int, k_b: int, n_draws: int, seed: Seed) -> FloatArray:
    """(n_draws,) S of a fixed subspace of dimension k_a with uniformly random ones of dimension k_b.

    Sampled in closed form: for a d × k_b Gaussian matrix whose rows split into W1 = G1ᵀG1 (k_a rows) and W2 (the
    others), ‖QAᵀQ‖² is the trace of (W1 + W2)⁻¹W1, a matrix-variate beta (Muirhead 1982, 3.3), and W2 comes from
    Bartlett's decomposition. Nothing of size d is made.
    """
    if not (1 <= k_a < d and 1 <= k_b < d) or n_draws < 1:
        raise InputError("There are no such random subspaces.", found=f"{k_a} and {k_b} of {d} dimensions")
    small, large = sorted((k_a, k_b))  # S is symmetric: the random one may be either, and the smaller one is cheaper
    rng = generator(seed, 1)
    inside = rng.standard_normal((n_draws, large, small))
    freedom = d - large
    if freedom >= small:
        outside = np.tril(rng.standard_normal((n_draws, small, small)), -1)
        diagonal = np.arange(small)
        outside[:, diagonal, diagonal] = np.sqrt(rng.chisquare(freedom - diagonal, (n_draws, small)))
        w2 = outside @ outside.transpose(0, 2, 1)
    else:
        plain = rng.standard_normal((n_draws, freedom, small))
        w2 = plain.transpose(0, 2, 1) @ plain
    w1 = inside.transpose(0, 2, 1) @ inside
    result: FloatArray = np.trace(np.linalg.solve(w1 + w2, w1), axis1=1, axis2=2) / small
    return result


def coordinate_null(A: FloatArray, B: FloatArray, k_values: tuple[int, ...], n_draws: int, seed: Seed) -> FloatArray:
    """(n_draws, K) S of orthonormal (d, k) bases after shuffling the dimensions of A, one order for all columns.

    It keeps what a rotation destroys: that a few dimensions of a model are far larger than the rest. (A shared set of
    large dimensions is shared only by models with common coordinates, such as layers of one model.)
    """
    rng = generator(seed, 2)
    parts = []
    for some in batches(n_draws, A.size):
        orders = np.argsort(rng.random((some.stop - some.start, len(A))), axis=1)
        parts.append(nested_overlaps(A[orders], B, k_values))
    return np.concatenate(parts)


def _summary(value: FloatArray, d: int, k_a: int, k_b: int) -> Overlap:
    chance = max(k_a, k_b) / d
    return Overlap(value, corrected(value, chance), chance)
