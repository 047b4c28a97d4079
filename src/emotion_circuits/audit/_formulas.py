"""The earlier project's formulas, as it computed them, faults included. Nothing else may use them.

Bases are (d, k) with orthonormal columns. What a formula really measures stands in its docstring.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
SingleArray = npt.NDArray[np.float32]

# Its overlap of cosines takes the five largest, however many there are.
LARGEST = 5
# `numpy.linalg.pinv` drops singular values below this share of the largest, unless told otherwise: less than the
# rounding of a product of 32-bit (or 64-bit) numbers, so that rounding is inverted too.
PINV_CUTOFF = 1e-15


def class_basis(X: npt.ArrayLike, k: int) -> FloatArray:
    """(d, k) principal components of one class's (n, d) texts about their mean: how the texts differ, not the class."""
    texts = np.asarray(X, dtype=np.float64)
    rows = np.linalg.svd(texts - texts.mean(axis=0), full_matrices=False)[2]
    return np.asarray(rows[:k].T)


def mean_of_largest_cosines(A: npt.ArrayLike, B: npt.ArrayLike) -> float:
    """Mean of the five largest cosines of principal angles, values over 1 cut to 1. Chance grows with k."""
    cosines = np.linalg.svd(np.asarray(A).T @ np.asarray(B), compute_uv=False)
    return float(np.minimum(cosines[:LARGEST], 1.0).mean())


def mean_squared_entry(A: npt.ArrayLike, B: npt.ArrayLike) -> float:
    """Mean of the squared inner products of all pairs of columns, squares over 1 cut to 1.

    Of orthonormal bases it is S/k: chance is 1/d at every k, and equal subspaces give 1/k. Only columns that are no
    longer of length 1 can give more.
    """
    with np.errstate(over="ignore"):  # an infinite square is cut to 1 like any other
        squares = np.square(np.asarray(A).T @ np.asarray(B))
    return float(np.minimum(squares, 1.0).mean())


def normal_equation_map(X: npt.ArrayLike, Y: npt.ArrayLike) -> SingleArray:
    """(d_x, d_y) least squares of Y on X by the normal equations, in 32 bits: not centred, not penalised.

    XᵀX of n < d texts has rank n; its other singular values are rounding, and the pseudo-inverse keeps most of them.
    The map is then as long as rounding is small.
    """
    x, y = np.asarray(X, dtype=np.float32), np.asarray(Y, dtype=np.float32)
    result: SingleArray = np.linalg.pinv(x.T @ x, rcond=PINV_CUTOFF) @ (x.T @ y)
    return result


def least_squares_map(X: npt.ArrayLike, Y: npt.ArrayLike) -> FloatArray:
    """(d_x, d_y) the same least squares by `numpy.linalg.lstsq`, which finds the rank: the shortest exact map."""
    solved = np.linalg.lstsq(np.asarray(X, dtype=np.float64), np.asarray(Y, dtype=np.float64), rcond=None)
    return np.asarray(solved[0])


def mapped_columns(A: npt.ArrayLike, M: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(d_y, k) images of a basis under a map, not orthonormalised again."""
    return np.asarray(M.T @ np.asarray(A, dtype=M.dtype))


class TurnedBasis(NamedTuple):
    """A basis after a rotation that was fitted to bring it onto another one, which it is then compared with.

    `as_computed`: by the transposed rotation, with the mean of the other basis added. `as_meant`: by the rotation.
    """

    as_computed: FloatArray
    as_meant: FloatArray


def turn_onto(A: FloatArray, B: FloatArray) -> TurnedBasis:
    """Procrustes between the columns of two bases, centred over the columns.

    The k − 1 directions that centred columns span decide the rotation there; elsewhere it is whatever the
    solver returns.
    """
    a, b = A - A.mean(axis=1, keepdims=True), B - B.mean(axis=1, keepdims=True)
    # The rotation takes column i of `start` to row i of `end`.
    start, _, end = np.linalg.svd(a @ b.T)
    target = B.mean(axis=1, keepdims=True)
    return TurnedBasis(start @ (end @ a) + target, end.T @ (start.T @ a) + target)


def difference_vectors(classes: dict[str, FloatArray], neutral: str) -> FloatArray:
    """(E, d) mean of each emotion minus the one mean of the neutral texts, which all of them share."""
    origin = classes[neutral].mean(axis=0)
    return np.stack([texts.mean(axis=0) - origin for name, texts in classes.items() if name != neutral])


def mean_pair_cosine(vectors: FloatArray) -> float:
    """Mean cosine between different rows."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    products = units @ units.T
    return float(products[np.triu_indices(len(units), 1)].mean())


def attention_score(rows: FloatArray) -> FloatArray:
    """(…,) what its head screening scored: attention rows (…, length) averaged over the keys.

    A row sums to 1, so this is 1/length whatever the head does.
    """
    return np.asarray(rows.mean(axis=-1))
