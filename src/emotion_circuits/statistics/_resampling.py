"""Bootstrap over groups and the paired sign-flip test.

The unit is the group (the scenario): a draw takes whole groups with replacement, so texts of one scenario never count
as independent observations. Intervals are BCa (Efron 1987) and come from `scipy.stats.bootstrap`, which here resamples
the *numbers* of the groups; a statistic may see a draw as resampled rows or, cheaper, as how often each group was
drawn.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from emotion_circuits.errors import InputError, MeasurementError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
# One number, or several that name a stream, such as (seed of the study, layer).
Seed = int | Sequence[int]
Alternative = Literal["greater", "less", "two-sided"]
BootstrapMethod = Literal["bca", "percentile"]
RowStatistic = Callable[[FloatArray], npt.ArrayLike]
WeightStatistic = Callable[[FloatArray], npt.ArrayLike]

# Values that one batch of draws may hold (8 bytes each): bounds memory whatever the number of draws.
BATCH_VALUES = 4_000_000
# Draws that differ by less than this share of their size differ by rounding only.
ROUNDING = 1e-12


class Interval(NamedTuple):
    """A confidence interval. `level` is its nominal coverage; `method` says how it was made."""

    low: float
    high: float
    level: float
    method: str


class Bootstrap(NamedTuple):
    """A statistic with its bootstrap interval and standard error."""

    value: float
    interval: Interval
    standard_error: float


class PermutationResult(NamedTuple):
    """A statistic beside its null.

    `null_low` and `null_high` are the 2.5 % and 97.5 % points of the null; `n_draws` counts all sign patterns when
    `method` is "exact" (the observed one among them) and the random ones when it is "random".
    """

    statistic: float
    p: float
    null_mean: float
    null_low: float
    null_high: float
    n_draws: int
    method: str


def substream(seed: Seed, number: int) -> Seed:
    """The seed of an independent stream, for number ≥ 1 (a trailing 0 would give the parent's stream again)."""
    return (seed, number) if isinstance(seed, int) else (*seed, number)


def batch_length(values_per_draw: int) -> int:
    """How many draws fit in one batch."""
    return max(1, BATCH_VALUES // max(1, values_per_draw))


def finite_array(values: npt.ArrayLike, name: str, dimensions: tuple[int, ...]) -> FloatArray:
    """`values` as float64, refused unless finite and of one of the `dimensions`."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in dimensions:
        raise InputError(
            f"{name} have the wrong shape.", found=array.shape, accepted=" or ".join(f"{d}-D" for d in dimensions)
        )
    if not np.isfinite(array).all():
        raise MeasurementError(f"{name} hold NaN or infinity.", found=f"{(~np.isfinite(array)).sum()} of {array.size}")
    return array


def require_level(level: float) -> None:
    if not 0 < level < 1:
        raise InputError("The confidence level lies outside (0, 1).", found=level, accepted="for example 0.95")


def grouped_bootstrap(
    values: npt.ArrayLike,
    statistic: Literal["mean"] | RowStatistic = "mean",
    *,
    n_draws: int = 2000,
    seed: Seed,
    method: BootstrapMethod = "bca",
    level: float = 0.95,
) -> Bootstrap:
    """Bootstrap a statistic of one row per group.

    Args:
        values: (G,) one value per group, or (G, K) K values per group that stay together (a paired design).
        statistic: "mean" (over everything), or a callable from resampled rows, (B, G) or (B, G, K), to (B,). The
            jackknife calls it with G − 1 rows.
        n_draws: bootstrap draws.
        seed: seed of the draws.
        method: "bca", or "percentile". BCa falls back to the percentile interval where it is undefined; the interval's
            `method` then reads "percentile (bca undefined)". Draws that are all equal give a point, named "degenerate".
        level: nominal coverage.

    Raises:
        InputError: fewer than two groups, or a wrong shape.
        MeasurementError: values that are not finite, or draws in which the statistic is undefined.
    """
    rows = finite_array(values, "The values to bootstrap", (1, 2))
    if statistic == "mean":
        row_means = rows.reshape(len(rows), -1).mean(axis=1)
        return weighted_bootstrap(
            lambda weights: weights @ row_means / weights.sum(axis=1),
            len(rows),
            n_draws=n_draws,
            seed=seed,
            method=method,
            level=level,
        )
    return _bootstrap_rows(lambda drawn: statistic(rows[drawn]), len(rows), rows.size, n_draws, seed, method, level)


def weighted_bootstrap(
    statistic: WeightStatistic,
    n_groups: int,
    *,
    n_draws: int = 2000,
    seed: Seed,
    method: BootstrapMethod = "bca",
    level: float = 0.95,
    strata: npt.ArrayLike | None = None,
) -> Bootstrap:
    """Bootstrap a statistic written in group weights: far cheaper where it is a ratio of (bi)linear forms.

    Args:
        statistic: from weights (B, G), how often each group was drawn, to (B,). Rows sum to G, in the jackknife to G −
            1. n_groups: G, at least 2. n_draws, seed, method, level: as in `grouped_bootstrap`, which names the errors
            too.
        strata: (G,) groups that differ here are drawn apart, so that each stratum keeps its number; a group that is
            the only one of its stratum is always drawn.
    """

    def of_drawn(drawn: IntArray) -> npt.ArrayLike:
        offsets = n_groups * np.arange(len(drawn))[:, None]
        counts = np.bincount((drawn + offsets).ravel(), minlength=len(drawn) * n_groups)
        return statistic(counts.reshape(len(drawn), n_groups).astype(np.float64))

    return _bootstrap_rows(of_drawn, n_groups, n_groups, n_draws, seed, method, level, strata)


def _bootstrap_rows(
    statistic: Callable[[IntArray], npt.ArrayLike],
    n_groups: int,
    values_per_draw: int,
    n_draws: int,
    seed: Seed,
    method: BootstrapMethod,
    level: float,
    strata: npt.ArrayLike | None = None,
) -> Bootstrap:
    """Bootstrap a statistic of the drawn groups' numbers, (B, G) to (B,)."""
    require_level(level)
    if n_groups < 2 or n_draws < 2:
        raise InputError("A bootstrap needs two groups and two draws.", found=f"{n_groups} groups, {n_draws} draws")

    codes = np.zeros(n_groups, dtype=int) if strata is None else np.unique(strata, return_inverse=True)[1]
    apart = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]
    samples, fixed = [s for s in apart if len(s) > 1], [s for s in apart if len(s) == 1]
    if not samples:
        raise InputError("A bootstrap needs two groups of a kind.", found=f"{n_groups} groups, each of its own kind")

    def vectorised(*parts: IntArray, axis: int) -> FloatArray:
        always = [np.broadcast_to(s, (*parts[0].shape[:-1], 1)) for s in fixed]
        drawn = parts[0] if len(parts) + len(always) == 1 else np.concatenate([*parts, *always], axis=-1)
        rows = np.asarray(statistic(np.atleast_2d(drawn)), dtype=np.float64)
        if not np.isfinite(rows).all():
            raise MeasurementError(
                "The statistic is undefined in some bootstrap draws.",
                found=f"{(~np.isfinite(rows)).sum()} of {len(rows)}",
            )
        return rows.reshape(drawn.shape[:-1])

    value = float(vectorised(*samples, axis=-1))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # a degenerate BCa warns and returns NaN; it is named below
        result = stats.bootstrap(
            tuple(samples),
            vectorised,
            n_resamples=n_draws,
            batch=batch_length(values_per_draw),
            vectorized=True,
            confidence_level=level,
            method="BCa" if method == "bca" else "percentile",
            rng=np.random.default_rng(seed),
        )
    draws: FloatArray = result.bootstrap_distribution
    if np.ptp(draws) <= ROUNDING * np.abs(draws).max():
        return Bootstrap(value, Interval(value, value, level, "degenerate"), 0.0)
    low, high = (float(bound) for bound in result.confidence_interval)
    name: str = method
    if not (np.isfinite(low) and np.isfinite(high)):
        low, high = (float(bound) for bound in np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]))
        name = "percentile (bca undefined)"
    return Bootstrap(value, Interval(low, high, level, name), float(result.standard_error))


def sign_flip_test(
    paired: npt.ArrayLike, *, n_draws: int = 9999, seed: Seed, alternative: Alternative = "greater"
) -> PermutationResult:
    """Test that paired differences, one per group, are symmetric about zero; the statistic is their mean.

    Every sign pattern is enumerated if there are no more than `n_draws` of them (p is then exact and counts the
    observed pattern); otherwise patterns are drawn and p = (b + 1)/(m + 1), by `scipy.stats.permutation_test`, which
    would enumerate them in fifty times the time.

    Args:
        paired: (G,) differences.
        n_draws: random patterns, m.
        seed: seed of the patterns.
        alternative: where the mean lies if there is an effect.

    Raises:
        InputError: no differences, or a wrong shape.
        MeasurementError: differences that are not finite.
    """
    differences = finite_array(paired, "The paired differences", (1,))
    if not len(differences) or n_draws < 1:
        raise InputError("A sign-flip test needs differences and draws.", found=f"{len(differences)}, {n_draws}")
    if len(differences) == 1:  # scipy asks for two observations; the two patterns of one are ±d
        padded, is_padded = np.append(differences, 0.0), True
    else:
        padded, is_padded = differences, False
    exact = 2 ** len(padded) <= n_draws
    null: FloatArray
    if exact and len(padded) * 2 ** len(padded) <= BATCH_VALUES:
        # Summed group after group, in the order in which scipy does it: not a digit differs.
        null = np.sum(_sign_patterns(len(padded)) * padded[:, None], axis=0) / len(differences)
        statistic = float(np.sum(padded) / len(differences))
        p = _exact_p(null, statistic, alternative)
    else:
        result = stats.permutation_test(
            (padded, np.zeros_like(padded)),
            lambda x, y, axis: np.sum(x - y, axis=axis) / len(differences),
            permutation_type="samples",
            vectorized=True,
            n_resamples=n_draws,
            batch=batch_length(2 * len(padded)),
            alternative=alternative,
            rng=np.random.default_rng(seed),
        )
        null, statistic, p = result.null_distribution, float(result.statistic), float(result.pvalue)
    low, high = np.quantile(null, [0.025, 0.975])
    return PermutationResult(
        statistic=statistic,
        p=p,
        null_mean=float(null.mean()),
        null_low=float(low),
        null_high=float(high),
        n_draws=len(null) // (2 if is_padded and exact else 1),
        method="exact" if exact else "random",
    )


@lru_cache(maxsize=2)
def _sign_patterns(n: int) -> FloatArray:
    """(n, 2^n) every pattern of signs, the observed one first."""
    patterns = np.arange(2**n)[None] >> np.arange(n)[::-1, None]
    return (1 - 2 * (patterns & 1)).astype(np.float64)


def _exact_p(null: FloatArray, observed: float, alternative: Alternative) -> float:
    """Share of the null that is as extreme, values that differ by rounding counted as equal, as scipy does."""
    near = abs(100 * np.finfo(np.float64).eps * observed)
    less, greater = (
        float(np.count_nonzero(extreme) / len(null)) for extreme in (null <= observed + near, null >= observed - near)
    )
    return {"less": less, "greater": greater, "two-sided": min(1.0, 2 * min(less, greater))}[alternative]
