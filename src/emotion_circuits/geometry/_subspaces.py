"""Subspaces of a layer that hold the emotions, behind one interface.

`fit(X, y, groups)` gives an orthonormal ``basis_`` (d, k), columns in order of importance, so that the first k′ of them
are the subspace of dimension k′. `bases` does the same for many draws at once; `fit` is its case of one draw.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.covariance import ledoit_wolf_shrinkage

from emotion_circuits.errors import InputError, MeasurementError

from ._draws import Draws, class_means, observed, played_cells
from ._inputs import RANK, FloatArray, ScenarioTable


class SubspaceEstimator(BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn has no types
    """A subspace from labelled texts.

    Attributes:
        basis_: (d, k) orthonormal; column signs make the emotions' mean difference from neutral project positively.
        n_components_: k.
    """

    def __init__(self, n_components: int | None = None, neutral: str = "neutral"):
        self.n_components = n_components
        self.neutral = neutral

    basis_: FloatArray
    n_components_: int

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike, groups: npt.ArrayLike) -> Self:
        """Fit on (n, d) activations with (n,) class labels and (n,) scenarios.

        Raises:
            InputError: a design without every class in every scenario, or a k that these texts cannot give.
            MeasurementError: NaN, a constant layer, or texts that span fewer than k dimensions.
        """
        return self.fit_table(ScenarioTable.from_texts(X, y, groups))

    def fit_table(self, table: ScenarioTable) -> Self:
        """`fit` on texts that are already arranged."""
        basis = self.bases(table, observed(table))[0]
        towards_emotion = table.contrasts(self.neutral).mean(axis=(0, 1)) @ basis
        self.basis_ = basis * np.where(towards_emotion < 0, -1.0, 1.0)
        self.n_components_ = basis.shape[1]
        return self

    def transform(self, X: npt.ArrayLike) -> FloatArray:
        """(n, k) coordinates in the subspace."""
        result: FloatArray = np.asarray(X, dtype=np.float64) @ self.basis_
        return result

    def bases(self, table: ScenarioTable, draws: Draws) -> FloatArray:
        """(B, d, k) orthonormal bases, one per draw.

        Raises:
            InputError: k larger than the texts, or the smallest draw of them, can give.
            MeasurementError: a draw in which the texts span fewer than k dimensions.
        """
        k = self.n_components if self.n_components is not None else self.default_components(table)
        most = self.most_components(table, int((draws.weights > 0).sum(axis=1).min()))
        if not 1 <= k <= most:
            raise InputError(
                f"These texts cannot give a subspace of {k} dimensions ({type(self).__name__}).",
                found=f"{table.n_scenarios} scenarios, {table.n_classes} classes, {table.width} dimensions",
                accepted=f"1 to {most}" if most else "more texts",
            )
        per_draw = table.cells.size
        return np.concatenate([self._bases(table, part, k) for part in draws.parts(per_draw)])

    def default_components(self, table: ScenarioTable) -> int:
        """k where none is given: C − 1, all that differences between C classes can span."""
        return table.n_classes - 1

    @abstractmethod
    def most_components(self, table: ScenarioTable, n_scenarios: int) -> int:
        """Largest k that a draw of so many different scenarios can give."""

    @abstractmethod
    def _bases(self, table: ScenarioTable, draws: Draws, k: int) -> FloatArray: ...


class BetweenClassSubspace(SubspaceEstimator):
    """Span of the class means' differences (k ≤ C − 1), in order of the variance between classes.

    Args:
        n_components: k; None for C − 1.
        neutral: name of the neutral class, only for the signs.
    """

    def most_components(self, table: ScenarioTable, n_scenarios: int) -> int:
        return min(table.n_classes - 1, table.width)

    def _bases(self, table: ScenarioTable, draws: Draws, k: int) -> FloatArray:
        means = class_means(table, draws)
        deviations = means - means.mean(axis=1, keepdims=True)
        _, sizes, rows = np.linalg.svd(deviations, full_matrices=False)
        _require_rank(sizes, k, table, "The class means")
        basis: FloatArray = rows[:, :k].transpose(0, 2, 1)
        return basis


class LDASubspace(SubspaceEstimator):
    """Fisher's discriminant directions with a shrunk covariance (k ≤ C − 1), best separated first.

    The total covariance takes the place of that within classes: it differs by the scatter of the class means, which
    leaves directions and order as they are, and label permutations within scenarios do not change it. Shrinkage is
    Ledoit and Wolf's (2004), chosen once on the observed texts. These are directions to *read* along; those the model
    *writes* along are `BetweenClassSubspace`.
    """

    def most_components(self, table: ScenarioTable, n_scenarios: int) -> int:
        return min(table.n_classes - 1, table.width)

    def _bases(self, table: ScenarioTable, draws: Draws, k: int) -> FloatArray:
        texts = table.cells.reshape(-1, table.width)
        frame, coordinates = _row_space(texts - texts.mean(axis=0), table.width)
        shrinkage = float(ledoit_wolf_shrinkage(texts - texts.mean(axis=0), assume_centered=True))
        means = class_means(table, draws)
        deviations = (means - means.mean(axis=1, keepdims=True)) @ frame  # (B, C, r)
        _require_rank(np.linalg.svd(deviations, compute_uv=False), k, table, "The class means")
        weights = draws.weights[:1] if draws.same_weights else draws.weights
        covariance = _shrunk(_covariances(coordinates, np.repeat(weights, table.n_classes, axis=1)), shrinkage, table)
        solved = np.linalg.solve(covariance, deviations.transpose(0, 2, 1))  # (B, r, C)
        _, mixing = np.linalg.eigh(deviations @ solved)
        directions = solved @ mixing[:, :, ::-1][:, :, :k]
        basis: FloatArray = frame @ np.linalg.qr(directions)[0]
        return basis


class PairedDifferenceSubspace(SubspaceEstimator):
    """Principal components of h(g, emotion) − h(g, neutral) over scenarios, for any k.

    The differences are not centred: their mean, the emotion's direction, is the first thing to keep. (So a label
    permutation that only swaps an emotion with neutral would change nothing; ours shuffle all classes of a scenario.)

    Args:
        n_components: k; None for C − 1.
        emotion: one emotion, or None for all of them pooled.
        neutral: name of the neutral class.
    """

    def __init__(self, n_components: int | None = None, emotion: str | None = None, neutral: str = "neutral"):
        super().__init__(n_components, neutral)
        self.emotion = emotion

    def _emotions(self, table: ScenarioTable) -> list[int]:
        names = table.emotions(self.neutral) if self.emotion is None else (self.emotion,)
        if self.neutral in names:
            raise InputError(
                "Neutral texts have no difference from themselves.", accepted=", ".join(table.emotions(self.neutral))
            )
        return [table.class_index(name) for name in names]

    def most_components(self, table: ScenarioTable, n_scenarios: int) -> int:
        return min(n_scenarios * len(self._emotions(table)), table.width)

    def _bases(self, table: ScenarioTable, draws: Draws, k: int) -> FloatArray:
        centred = table.cells - table.cells.mean(axis=1, keepdims=True)
        frame, coordinates = _row_space(centred.reshape(-1, table.width), table.width)
        played = played_cells(coordinates.reshape(*table.cells.shape[:2], -1), draws)
        emotions, neutral = self._emotions(table), table.class_index(self.neutral)
        rows = (played[:, :, emotions] - played[:, :, [neutral]]).reshape(len(played), -1, coordinates.shape[1])
        weights = np.repeat(draws.weights, len(emotions), axis=1)
        return frame @ _principal(rows, weights, k, table, "The paired differences")


class WithinClassSubspace(SubspaceEstimator):
    """Principal components of one class's texts about their mean: how texts of a class differ from each other.

    This is the estimator of earlier work on these models. What an emotion adds to a text is the one thing that it
    leaves out, so it says nothing about where the emotion is; it is here to be compared with.

    Args:
        n_components: k; None for C − 1.
        emotion: the class; None for the first one of the table that is not neutral.
        neutral: name of the neutral class, only for the signs.
    """

    def __init__(self, n_components: int | None = None, emotion: str | None = None, neutral: str = "neutral"):
        super().__init__(n_components, neutral)
        self.emotion = emotion

    def most_components(self, table: ScenarioTable, n_scenarios: int) -> int:
        return min(n_scenarios - 1, table.width)

    def _bases(self, table: ScenarioTable, draws: Draws, k: int) -> FloatArray:
        texts = table.cells.reshape(-1, table.width)
        frame, coordinates = _row_space(texts - texts.mean(axis=0), table.width)
        played = played_cells(coordinates.reshape(*table.cells.shape[:2], -1), draws)
        emotion = self.emotion or next(name for name in table.classes if name != self.neutral)
        rows = played[:, :, table.class_index(emotion)]
        means = (draws.weights[:, None, :] @ rows) / draws.weights.sum(axis=1)[:, None, None]
        return frame @ _principal(rows - means, draws.weights, k, table, f"The {emotion} texts")


def _row_space(rows: FloatArray, width: int) -> tuple[FloatArray, FloatArray]:
    """(d, r) orthonormal frame of (n, d) rows and their (n, r) coordinates: smaller matrices where n < d."""
    if len(rows) >= width:
        return np.eye(width), rows
    frame, coordinates = np.linalg.qr(rows.T)
    return frame, coordinates.T


def _covariances(rows: FloatArray, weights: FloatArray) -> FloatArray:
    """(B, r, r) weighted covariances of (n, r) rows."""
    shares = weights / weights.sum(axis=1, keepdims=True)
    means = shares @ rows
    products = np.matmul(rows.T[None] * shares[:, None, :], rows)
    result: FloatArray = products - means[:, :, None] * means[:, None, :]
    return result


def _shrunk(covariances: FloatArray, shrinkage: float, table: ScenarioTable) -> FloatArray:
    """Ledoit and Wolf's shrinkage towards the mean variance of all d dimensions, in the rows' r coordinates."""
    size = covariances.shape[-1]
    mean_variance = np.trace(covariances, axis1=1, axis2=2) / table.width
    # A floor keeps the product solvable where nothing was shrunk and a dimension is constant.
    ridge = np.maximum(shrinkage, RANK) * mean_variance
    result: FloatArray = (1 - shrinkage) * covariances + ridge[:, None, None] * np.eye(size)
    return result


def _principal(rows: FloatArray, weights: FloatArray, k: int, table: ScenarioTable, what: str) -> FloatArray:
    """(B, r, k) leading directions of (B or 1, N, r) rows counted `weights` (B, N) times."""
    counted = weights > 0
    if (n := int(counted.sum(axis=1).max())) < rows.shape[1]:  # half of the scenarios: an eighth of the work
        at = np.argsort(~counted, axis=1, kind="stable")[:, :n]
        rows = np.take_along_axis(np.broadcast_to(rows, (len(weights), *rows.shape[1:])), at[:, :, None], axis=1)
        weights = np.take_along_axis(weights, at, axis=1)
    weighted = rows * np.sqrt(weights)[:, :, None]
    across = weighted.transpose(0, 2, 1)
    by_texts = rows.shape[1] < rows.shape[2]  # the smaller of the two products has the same components
    variances, vectors = np.linalg.eigh(weighted @ across if by_texts else across @ weighted)
    sizes = np.sqrt(np.maximum(variances[:, ::-1], 0.0))
    _require_rank(sizes, k, table, what)
    leading = vectors[:, :, ::-1][:, :, :k]
    # From the side of the texts they come out as long as their size, and orthogonal to rounding only.
    result: FloatArray = np.linalg.qr(across @ (leading / sizes[:, None, :k]))[0] if by_texts else leading
    return result


def _require_rank(sizes: FloatArray, k: int, table: ScenarioTable, what: str) -> None:
    """Raise unless k of the (B, m) singular values are more than rounding of the activations."""
    ranks = (sizes > RANK * np.maximum(sizes[:, :1], table.spread)).sum(axis=1)
    if ranks.min() < k:
        raise MeasurementError(
            f"{what} span fewer than the {k} dimensions asked for.",
            found=f"rank {ranks.min()}" + ("" if len(ranks) == 1 else " in one of the draws"),
            next_step="fewer components, more scenarios, or a layer that tells the texts apart",
        )
