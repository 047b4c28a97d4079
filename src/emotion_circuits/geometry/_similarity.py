"""Similarity of whole spaces on the same texts: debiased linear CKA, RSA, mutual nearest neighbours.

Each of them compares two (n, n) tables of how texts relate, for all pairs of layers at once as one matrix product, and
shuffling the texts of one model gives the null (Mantel 1967). None needs the models to have the same width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.statistics import exceedance_p, permute_within_groups

from ._inputs import FloatArray, IntArray, Seed, activations, batches, row_hashes

SimilarityMeasure = Literal["cka", "rsa", "neighbours"]


@dataclass(frozen=True, eq=False)
class SimilarityResult:
    """Similarity of every layer of one model with every layer of another, beside chance.

    Attributes:
        measure: "cka", "rsa" or "neighbours".
        value: (La, Lb).
        low, high: (La, Lb) interval from leaving out one scenario at a time (jackknife, t).
        null_mean, null_low, null_high, p: (La, Lb) from shuffled texts; p is one-sided.
        chance: expectation where the models have nothing in common (0; for neighbours k/(n − 1)).
        n_draws, n_texts, n_unique, n_groups: counts; unique texts are those of the last layer of the model with fewer.
    """

    measure: str
    value: FloatArray
    low: FloatArray
    high: FloatArray
    null_mean: FloatArray
    null_low: FloatArray
    null_high: FloatArray
    p: FloatArray
    chance: float
    n_draws: int
    n_texts: int
    n_unique: int
    n_groups: int


class _Tables(NamedTuple):
    """(L, n, n) tables, one per layer. A similarity is the cosine between two of them, flattened."""

    tables: FloatArray
    measure: SimilarityMeasure


def compare_spaces(
    XA: Sequence[npt.ArrayLike],
    XB: Sequence[npt.ArrayLike],
    *,
    measure: SimilarityMeasure = "cka",
    groups: npt.ArrayLike | None = None,
    within: npt.ArrayLike | None = None,
    k: int = 10,
    n_draws: int = 1000,
    seed: Seed,
    level: float = 0.95,
) -> SimilarityResult:
    """Compare all layers of two models on the same texts.

    Args:
        XA, XB: one (n, d) array per layer; rows are the same texts on both sides.
        measure: "cka", "rsa" (correlation distance, Spearman) or "neighbours" (share of common k nearest by cosine).
        groups: (n,) scenarios, left out one at a time for the interval; None where every text stands alone.
        within: (n,) texts are only shuffled with texts of the same value, such as their class; None for all.
        k: neighbours.
        n_draws, seed, level: shuffles, their seed, nominal coverage.

    Raises:
        InputError: different numbers of texts, fewer than four, or k ≥ n − 1.
        MeasurementError: NaN, or a layer that is the same for all texts.
    """
    first, second = _layers(XA, "first"), _layers(XB, "second")
    n = len(first[0])
    if len(second[0]) != n:
        raise InputError("The two models have different texts.", found=f"{n} and {len(second[0])}")
    a, b = _tables(first, measure, k), _tables(second, measure, k)
    value = _similarities(a, b)
    orders = permute_within_groups(np.arange(n), within, n_draws, seed)
    null = _shuffled(a, b, orders)
    low, high, n_groups = _jackknife(a, b, groups, value, level)
    bounds = np.quantile(null, [0.025, 0.975], axis=0)
    return SimilarityResult(
        measure=measure,
        value=value,
        low=low,
        high=high,
        null_mean=null.mean(axis=0),
        null_low=bounds[0],
        null_high=bounds[1],
        p=exceedances(value, null),
        chance=k / (n - 1) if measure == "neighbours" else 0.0,
        n_draws=n_draws,
        n_texts=n,
        n_unique=min(len(row_hashes(first[-1])), len(row_hashes(second[-1]))),
        n_groups=n_groups,
    )


def cka(XA: Sequence[npt.ArrayLike], XB: Sequence[npt.ArrayLike]) -> FloatArray:
    """(La, Lb) debiased linear CKA, 0 on average for independent models of any width and number of texts.

    The unbiased HSIC of Song et al. (2012) in Kornblith et al.'s (2019) ratio, as in Nguyen et al. (2021), computed as
    the inner product of U-centred Gram matrices (Székely and Rizzo 2014). It can be negative.
    """
    return _similarities(_tables(_layers(XA, "first"), "cka", 1), _tables(_layers(XB, "second"), "cka", 1))


def biased_cka(XA: Sequence[npt.ArrayLike], XB: Sequence[npt.ArrayLike]) -> FloatArray:
    """(La, Lb) linear CKA as first published (Kornblith et al. 2019), for the audit only.

    It nears 1 for independent noise where dimensions outnumber texts.
    """
    grams = []
    for layers in (_layers(XA, "first"), _layers(XB, "second")):
        centred = [layer - layer.mean(axis=0) for layer in layers]
        grams.append(np.stack([(layer @ layer.T).ravel() for layer in centred]))
    lengths = [np.linalg.norm(gram, axis=1) for gram in grams]
    result: FloatArray = (grams[0] @ grams[1].T) / np.outer(*lengths)
    return result


def rsa(XA: Sequence[npt.ArrayLike], XB: Sequence[npt.ArrayLike]) -> FloatArray:
    """(La, Lb) Spearman correlation of correlation distances between texts (Kriegeskorte et al. 2008)."""
    return _similarities(_tables(_layers(XA, "first"), "rsa", 1), _tables(_layers(XB, "second"), "rsa", 1))


def mutual_neighbours(XA: Sequence[npt.ArrayLike], XB: Sequence[npt.ArrayLike], *, k: int = 10) -> FloatArray:
    """(La, Lb) mean share of a text's k nearest texts (cosine, centred) that both models agree on (Huh et al. 2024)."""
    return _similarities(
        _tables(_layers(XA, "first"), "neighbours", k), _tables(_layers(XB, "second"), "neighbours", k)
    )


def exceedances(value: FloatArray, null: FloatArray) -> FloatArray:
    """p-values (…) of values (…) from null draws (n, …)."""
    draws = null.reshape(len(null), -1)
    p = [exceedance_p(float(observed), column) for observed, column in zip(value.ravel(), draws.T, strict=True)]
    return np.reshape(p, value.shape)


def _layers(layers: Sequence[npt.ArrayLike], which: str) -> list[FloatArray]:
    if not len(layers):
        raise InputError(f"The {which} model has no layers.")
    arrays = [activations(layer, f"Layer {i} of the {which} model") for i, layer in enumerate(layers)]
    if len({len(array) for array in arrays}) > 1:
        raise InputError(f"The layers of the {which} model differ in number of texts.")
    if len(arrays[0]) < 4:
        raise InputError("Similarity needs four texts.", found=len(arrays[0]))
    return arrays


def _tables(layers: list[FloatArray], measure: SimilarityMeasure, k: int) -> _Tables:
    centred = (layer - layer.mean(axis=0) for layer in layers)
    if measure == "cka":
        return _Tables(_u_centred(np.stack([layer @ layer.T for layer in centred])), measure)
    if measure == "rsa":
        return _Tables(np.stack([_rank_table(layer) for layer in layers]), measure)
    if measure == "neighbours":
        n = len(layers[0])
        if not 1 <= k < n - 1:
            raise InputError("There are not so many neighbours.", found=k, accepted=f"1 to {n - 2}")
        return _Tables(np.stack([_neighbour_table(layer, k) for layer in centred]), measure)
    raise InputError(f"There is no measure {measure!r}.", accepted="cka, rsa, neighbours")


def _u_centred(grams: FloatArray) -> FloatArray:
    """(L, n, n) U-centred: inner products of two of them, over n(n − 3), are the unbiased HSIC."""
    n = grams.shape[-1]
    tables = grams.copy()
    diagonal = np.arange(n)
    tables[:, diagonal, diagonal] = 0.0
    sums = tables.sum(axis=-1)
    tables -= (sums[:, :, None] + sums[:, None, :]) / (n - 2)
    tables += (sums.sum(axis=-1) / ((n - 1) * (n - 2)))[:, None, None]
    tables[:, diagonal, diagonal] = 0.0
    return tables


def _rank_table(layer: FloatArray) -> FloatArray:
    """(n, n) centred ranks of correlation distances, zero on the diagonal."""
    rows = layer - layer.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not lengths.all():
        raise MeasurementError("A text's activations are all equal, so it has no correlation distance.")
    rows /= lengths
    upper = np.triu_indices(len(layer), 1)
    ranks = stats.rankdata(-np.round((rows @ rows.T)[upper], 12))
    table = np.zeros((len(layer), len(layer)))
    table[upper] = ranks - ranks.mean()
    return table + table.T


def _neighbour_table(layer: FloatArray, k: int) -> FloatArray:
    """(n, n) 1 where the column's text is among the k nearest of the row's."""
    lengths = np.linalg.norm(layer, axis=1, keepdims=True)
    if not lengths.all():
        raise MeasurementError("A text lies exactly at the mean, so it has no neighbours by angle.")
    rows = layer / lengths
    cosines: FloatArray = np.asarray(rows @ rows.T, dtype=np.float64)
    np.fill_diagonal(cosines, -np.inf)
    nearest = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
    table = np.zeros(cosines.shape)
    np.put_along_axis(table, nearest, 1.0, axis=1)
    return table


def _products(a: FloatArray, b: FloatArray) -> FloatArray:
    """(…, La, Lb) inner products of tables (…, La, n, n) and (…, Lb, n, n)."""
    flat_a, flat_b = a.reshape(*a.shape[:-2], -1), b.reshape(*b.shape[:-2], -1)
    result: FloatArray = flat_a @ np.swapaxes(flat_b, -1, -2)
    return result


def _scales(a: _Tables, b: _Tables) -> FloatArray:
    """(La, Lb) what an inner product is divided by; for neighbours that is n · k."""
    lengths = [np.sqrt(np.square(t.tables).sum(axis=(-1, -2))) for t in (a, b)]
    if not (lengths[0].all() and lengths[1].all()):
        raise MeasurementError("All texts of a layer are equally far from each other: similarity is undefined.")
    return np.outer(*lengths)


def _similarities(a: _Tables, b: _Tables) -> FloatArray:
    if a.tables.shape[-1] != b.tables.shape[-1]:
        raise InputError("The two models have different texts.", found=f"{a.tables.shape[-1]}, {b.tables.shape[-1]}")
    result: FloatArray = _products(a.tables, b.tables) / _scales(a, b)
    return result


def _shuffled(a: _Tables, b: _Tables, orders: IntArray) -> FloatArray:
    """(draws, La, Lb) with the texts of the first model in other orders: their tables move rows and columns alike."""
    parts = []
    for some in batches(len(orders), a.tables.size):
        order = orders[some]
        moved = a.tables[:, order[:, :, None], order[:, None, :]].transpose(1, 0, 2, 3)
        parts.append(_products(moved, b.tables))
    result: FloatArray = np.concatenate(parts) / _scales(a, b)
    return result


def _jackknife(
    a: _Tables, b: _Tables, groups: npt.ArrayLike | None, value: FloatArray, level: float
) -> tuple[FloatArray, FloatArray, int]:
    """(La, Lb) interval bounds, and the number of scenarios, from leaving out one scenario at a time.

    A bootstrap would put the same text in a draw twice, and its similarity to itself with it. Ranks and neighbours are
    those among all texts.
    """
    n = a.tables.shape[-1]
    codes = np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if codes.shape != (n,) or codes.max() < 2:
        raise InputError("Groups do not fit the texts, or are fewer than three.", found=f"{codes.shape} for {n} texts")
    n_groups = int(codes.max()) + 1
    kept = (codes[None, :] != np.arange(n_groups)[:, None]).astype(np.float64)
    left = np.concatenate([_of_kept(a, b, kept[some]) for some in batches(n_groups, a.tables.size + b.tables.size)])
    error = np.sqrt((n_groups - 1) / n_groups * np.square(left - left.mean(axis=0)).sum(axis=0))
    reach = stats.t.isf((1 - level) / 2, n_groups - 1) * error
    return value - reach, value + reach, n_groups


def _of_kept(a: _Tables, b: _Tables, kept: FloatArray) -> FloatArray:
    """(B, La, Lb) similarities among the texts with a 1 in (B, n)."""
    pairs = kept[:, None, :, None] * kept[:, None, None, :]
    tables = [t.tables[None] * pairs for t in (a, b)]
    both = _products(*tables)
    squares = [np.square(table).sum(axis=(-1, -2)) for table in tables]
    if a.measure == "cka":
        # U-centring again, without the texts left out: the table's own inner products less those of its row sums.
        count = kept.sum(axis=1)[:, None]
        rows = [table.sum(axis=-1) for table in tables]
        sums = [row.sum(axis=-1) for row in rows]
        by_rows, by_sums = 2 / (count - 2), 1 / ((count - 1) * (count - 2))
        both = both - by_rows[..., None] * (rows[0] @ np.swapaxes(rows[1], -1, -2))
        both = both + by_sums[..., None] * sums[0][:, :, None] * sums[1][:, None, :]
        squares = [
            square - by_rows * np.square(row).sum(axis=-1) + by_sums * np.square(total)
            for square, row, total in zip(squares, rows, sums, strict=True)
        ]
    result: FloatArray = both / np.sqrt(squares[0][:, :, None] * squares[1][:, None, :])
    return result
