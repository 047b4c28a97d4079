"""Cross-validation of ridge maps, with everything that belongs to one side alone made once.

Aligning every layer with every layer fits a layer with many partners; for each, the error of a penalty on a fold
follows from products of m × m matrices, whatever the number of penalties.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import GroupKFold

from emotion_circuits.errors import InputError

from ._inputs import FloatArray, IntArray


def fold_numbers(scores: FloatArray, groups: npt.NDArray[np.generic] | None, n_folds: int) -> IntArray:
    """(n,) fold of each text; texts of a group share one. Depends on no order of the texts.

    Without groups texts are dealt out in the order of their first score.
    """
    n_groups = len(scores) if groups is None else len(np.unique(groups))
    if not 2 <= n_folds <= n_groups:
        raise InputError("Cross-validation does not fit the texts.", found=f"{n_folds} folds, {n_groups} groups")
    numbers: IntArray = np.empty(len(scores), dtype=np.intp)
    if groups is None:
        numbers[np.argsort(scores[:, 0], kind="stable")] = np.arange(len(scores)) % n_folds
    else:
        codes = np.unique(groups, return_inverse=True)[1]
        for number, (_, test) in enumerate(GroupKFold(n_folds).split(scores, groups=codes)):
            numbers[test] = number
    return numbers


class _Fold(NamedTuple):
    """The source's side of one fold.

    test: numbers of the texts left out. mean: (m,) of the others. test_mean: (m,) of those left out. frame: (m, m)
    eigenvectors of the others' scatter. filters: (P, m) 1/(eigenvalue + penalty). test_products: (m, m) products of the
    texts left out, in the frame.
    """

    test: IntArray
    mean: FloatArray
    test_mean: FloatArray
    frame: FloatArray
    filters: FloatArray
    test_products: FloatArray


class RidgeTarget(NamedTuple):
    """The target's side: scores, and per fold the mean of the training texts and the squares of the others about it."""

    scores: FloatArray
    means: FloatArray
    totals: FloatArray

    @classmethod
    def of(cls, scores: FloatArray, folds: RidgeFolds) -> RidgeTarget:
        """Prepare (n, m) scores for the source's folds."""
        means, totals = [], []
        for fold in folds.folds:
            test = scores[fold.test]
            mean = (scores.sum(axis=0) - test.sum(axis=0)) / (len(scores) - len(test))
            means.append(mean)
            totals.append(np.square(test - mean).sum())
        return cls(scores, np.stack(means), np.asarray(totals))


class RidgeFolds(NamedTuple):
    """The source's side of the cross-validation."""

    scores: FloatArray
    penalties: tuple[float, ...]
    folds: tuple[_Fold, ...]

    @classmethod
    def of(
        cls, scores: FloatArray, groups: npt.NDArray[np.generic] | None, n_folds: int, penalties: tuple[float, ...]
    ) -> RidgeFolds:
        """Prepare (n, m) scores."""
        if not penalties or min(penalties) < 0:
            raise InputError("Penalties are numbers from 0 up.", found=penalties)
        numbers = fold_numbers(scores, groups, n_folds)
        folds = []
        for number in range(n_folds):
            held = numbers == number
            mean = scores[~held].mean(axis=0)
            squares, frame = np.linalg.eigh((scores[~held] - mean).T @ (scores[~held] - mean))
            squares = np.maximum(squares, 0.0)
            filters = 1 / (squares + np.asarray(penalties)[:, None] * squares.mean())
            test = (scores[held] - mean) @ frame
            folds.append(_Fold(np.flatnonzero(held), mean, scores[held].mean(axis=0), frame, filters, test.T @ test))
        return cls(scores, penalties, tuple(folds))

    def choose(self, target: RidgeTarget) -> tuple[float, float]:
        """The penalty with the largest R² on the texts left out (the larger penalty of equals), and that R²."""
        cross_of_test = [self.scores[fold.test].T @ target.scores[fold.test] for fold in self.folds]
        cross_of_all = np.sum(cross_of_test, axis=0)
        errors = np.zeros(len(self.penalties))
        for fold, cross_test, target_mean in zip(self.folds, cross_of_test, target.means, strict=True):
            n_test = len(fold.test)
            n_train = len(self.scores) - n_test
            train = fold.frame.T @ (cross_of_all - cross_test - n_train * np.outer(fold.mean, target_mean))
            test_sum = target.scores[fold.test].sum(axis=0)
            centred = (
                cross_test - np.outer(fold.mean, test_sum) - n_test * np.outer(fold.test_mean - fold.mean, target_mean)
            )
            # ‖Y − P D C‖² = ‖Y‖² − 2 Σ d (C ∘ PᵀY) + dᵀ (PᵀP ∘ C Cᵀ) d, with D = diag(d) the filter of a penalty
            linear = (train * (fold.frame.T @ centred)).sum(axis=1)
            quadratic = fold.test_products * (train @ train.T)
            filters = fold.filters
            errors += np.einsum("pi,ij,pj->p", filters, quadratic, filters, optimize=True) - 2 * filters @ linear
        r2 = -errors / target.totals.sum()
        best = len(r2) - 1 - int(np.argmax(r2[::-1]))
        return self.penalties[best], float(r2[best])
