"""Permutation tools: labels within groups, p-values, family-wise control by the largest statistic, early stopping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emotion_circuits.errors import InputError

from ._resampling import ROUNDING, Alternative, BoolArray, FloatArray, Seed, finite_array


class SequentialResult(NamedTuple):
    """A p-value by sequential stopping: `n_exceeding` of `n_drawn` null values were at least as extreme."""

    p: float
    n_drawn: int
    n_exceeding: int


def group_codes(groups: npt.ArrayLike | None, n_texts: int) -> npt.NDArray[np.intp]:
    """(n,) group numbers in sorted order of the names; without groups every text is its own."""
    if groups is None:
        return np.arange(n_texts)
    names = np.asarray(groups)
    if names.shape != (n_texts,):
        raise InputError("Groups and texts differ in number.", found=names.shape, accepted=f"({n_texts},)")
    codes: npt.NDArray[np.intp] = np.unique(names, return_inverse=True)[1]
    return codes


def permute_within_groups(
    labels: npt.ArrayLike, groups: npt.ArrayLike | None, n_draws: int, seed: Seed
) -> npt.NDArray[Any]:
    """Random permutations of labels that never leave their group.

    Args:
        labels: (n,) labels of any kind.
        groups: (n,) the group of each text, or None for one group of all.
        n_draws: how many permutations.
        seed: their seed.

    Returns:
        (n_draws, n) labels of the same kind: within each group and row the labels are those of the group, shuffled.
    """
    values = np.asarray(labels)
    if values.ndim != 1 or n_draws < 1:
        raise InputError("Permuting needs a row of labels and draws.", found=f"{values.shape}, {n_draws} draws")
    codes = group_codes(groups, len(values)) if groups is not None else np.zeros(len(values), dtype=np.intp)
    slots = np.argsort(codes, kind="stable")
    # Random keys below 1 on top of the group's number: sorting shuffles inside groups and keeps groups in place.
    keys = np.random.default_rng(seed).random((n_draws, len(values)))
    sources = np.argsort(keys + codes, axis=1)
    permuted = np.empty((n_draws, len(values)), dtype=values.dtype)
    permuted[:, slots] = values[sources]
    return permuted


def reaches(observed: npt.ArrayLike, null: FloatArray) -> BoolArray:
    """Whether null ≥ observed, where a difference of rounding counts as equal (which only makes p larger)."""
    level = np.asarray(observed, dtype=np.float64)
    result: BoolArray = null >= level - ROUNDING * np.maximum(np.abs(level), np.abs(null))
    return result


def exceedance_p(observed: float, null: npt.ArrayLike, alternative: Alternative = "greater") -> float:
    """p = (b + 1)/(m + 1) with b of m null values at least as extreme (Phipson and Smyth 2010); two-sided doubles the
    smaller tail.

    Raises:
        InputError: no null values.
        MeasurementError: values that are not finite.
    """
    draws = finite_array(null, "The null values", (1,))
    value = float(finite_array(observed, "The observed value", (0,)))
    if not len(draws):
        raise InputError("There are no null values to compare with.")
    greater = (int(reaches(value, draws).sum()) + 1) / (len(draws) + 1)
    less = (int(reaches(-value, -draws).sum()) + 1) / (len(draws) + 1)
    return {"greater": greater, "less": less, "two-sided": min(1.0, 2 * min(greater, less))}[alternative]


def max_t(observed: npt.ArrayLike, null: npt.ArrayLike, *, studentise: bool = False) -> FloatArray:
    """Family-wise adjusted p-values by the largest `|T|` (Westfall and Young 1993, single step).

    Args:
        observed: (M,) statistics that are zero on average under the null, such as effects of heads or layers.
        null: (draws, M) the same statistics under draws that are shared by all M (that keeps their dependence).
        studentise: give all statistics one scale first, the mean and deviation of observed and null together; without
            it the entries of large variance decide alone.

    Returns:
        (M,) adjusted p-values, (b + 1)/(m + 1).
    """
    values = finite_array(observed, "The observed statistics", (1,))
    draws = finite_array(null, "The null statistics", (2,))
    if draws.shape[1] != len(values) or not draws.size:
        raise InputError("Observed and null statistics differ in number.", found=f"{values.shape} and {draws.shape}")
    if studentise:
        # The observed row takes part in mean and deviation: only then are all rows treated alike, and p stays exact.
        together = np.vstack([values, draws])
        spread = together.std(axis=0)
        together = (together - together.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        values, draws = together[0], together[1:]
    largest = np.abs(draws).max(axis=1)
    exceeding = reaches(np.abs(values)[:, None], largest[None, :]).sum(axis=1)
    result: FloatArray = (exceeding + 1) / (len(draws) + 1)
    return result


def sequential_p(
    observed: float,
    draw: Callable[[int, int], npt.ArrayLike],
    n_max: int,
    *,
    stop_after: int = 20,
    batch: int = 64,
    alternative: Alternative = "greater",
) -> SequentialResult:
    """p-value with early stopping once the answer is plainly "not significant" (Besag and Clifford 1991).

    Null values are drawn until `stop_after` of them are at least as extreme, which at draw l gives p = stop_after / l,
    or until `n_max` are drawn, which gives (b + 1)/(n_max + 1). Both are valid p-values. The result does not depend on
    `batch`.

    Args:
        observed: the statistic.
        draw: (first, count) to the null values number first … first + count − 1; the same number must always give the
            same value.
        n_max: most draws.
        stop_after: exceedances at which to stop.
        batch: null values asked for at once.
        alternative: "greater" or "less"; two-sided tests pass absolute values.
    """
    if alternative == "two-sided":
        raise InputError(
            "Sequential stopping is one-sided.", accepted="greater, less", next_step="pass absolute values"
        )
    if n_max < 1 or stop_after < 1 or batch < 1:
        raise InputError("Draws, exceedances and batch are at least 1.", found=f"{n_max}, {stop_after}, {batch}")
    sign = 1.0 if alternative == "greater" else -1.0
    value = sign * float(finite_array(observed, "The observed value", (0,)))
    drawn = exceeding = 0
    while drawn < n_max:
        count = min(batch, n_max - drawn)
        values = finite_array(draw(drawn, count), "The null values", (1,))
        if len(values) != count:
            raise InputError("The null gave a wrong number of values.", found=len(values), accepted=str(count))
        running = exceeding + np.cumsum(reaches(value, sign * values))
        if running[-1] >= stop_after:
            drawn += int(np.argmax(running >= stop_after)) + 1
            return SequentialResult(stop_after / drawn, drawn, stop_after)
        drawn, exceeding = drawn + count, int(running[-1])
    return SequentialResult((exceeding + 1) / (n_max + 1), drawn, exceeding)
