"""What could explain a claim's value more simply, and what the value gains over it.

A *null* is a distribution of draws (permuted labels, random directions), a *floor* an estimate (a bag of words, an
untrained twin). A claim has to beat every one of them: its p is the largest of theirs, which is a valid p for "beats
all" without any correction (an intersection–union test, Berger 1982).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from ._histogram import Histogram, histogram_of
from ._permutation import SequentialResult, exceedance_p
from ._resampling import ROUNDING, FloatArray, Interval, Seed, WeightStatistic, weighted_bootstrap


class Gain(NamedTuple):
    """A paired difference over units.

    Attributes:
        value: the difference.
        interval: bootstrap over units (BCa).
        standard_error: bootstrap, made unbiased for means.
        p: one-sided, that the difference is not above 0.
    """

    value: float
    interval: Interval
    standard_error: float
    p: float


def paired_gain(
    statistic: WeightStatistic, n_groups: int, *, n_draws: int = 2000, seed: Seed, level: float = 0.95
) -> Gain:
    """Test that a difference of two statistics on the same units is above 0.

    p is that of a t-test on G − 1 degrees of freedom with the bootstrap's standard error. Unlike the jackknife's, it is
    right for the best of several floors too, where a small change alters which is best. Times √(G/(G − 1)) it is the
    paired t-test's for a difference of means. Where no draw changes the difference, all units agree, which G random
    signs do with probability 2**−G.

    Args:
        statistic: the difference, from weights (B, G), how often each unit counts, to (B,).
        n_groups: G, at least 2.
        n_draws, seed, level: of the bootstrap; `weighted_bootstrap` names the errors.
    """
    boot = weighted_bootstrap(statistic, n_groups, n_draws=n_draws, seed=seed, level=level)
    error = boot.standard_error * math.sqrt(n_groups / (n_groups - 1))
    if not error:
        return Gain(boot.value, boot.interval, 0.0, 0.5**n_groups if boot.value > ROUNDING else 1.0)
    return Gain(boot.value, boot.interval, error, float(stats.t.sf(boot.value / error, n_groups - 1)))


class Rival(NamedTuple):
    """A null or a floor that a claim's value has to beat.

    Attributes:
        name: what it is.
        level: a null's mean, or a floor's value.
        gain: interval of the value minus `level`, over units.
        p: that the value is no larger than the null's draws, or than the floor.
        high: 97.5 % of a null's draws lie at or below it; None for a floor.
        n_draws: of a null; None for a floor.
        smallest_p: that so many draws can give; None for floors, and where more draws would change nothing.
        histogram: of a null's draws; None for a floor, and where only their summary is known.
    """

    name: str
    level: float
    gain: tuple[float, float]
    p: float
    high: float | None = None
    n_draws: int | None = None
    smallest_p: float | None = None
    histogram: Histogram | None = None


def null_of(
    name: str, value: float, draws: npt.ArrayLike, interval: tuple[float, float] | Interval, *, paired: bool = False
) -> Rival:
    """A null from its draws.

    Args:
        name: what was drawn.
        value: the claim's.
        draws: (m,) the same statistic under the null.
        interval: of the value; or, if `paired`, of the value minus the null's mean, units resampled together.
    """
    null: FloatArray = np.asarray(draws, dtype=np.float64)
    p = exceedance_p(value, null)
    return null_from(name, *_mean_and_high(null), p, len(null), interval, histogram_of(null), paired=paired)


def _mean_and_high(null: FloatArray) -> tuple[float, float]:
    # Draws that come in pairs of both signs cancel but for rounding, which must not reach a claim.
    return round(float(null.mean()), 12) + 0.0, float(np.quantile(null, 0.975))


def null_from(
    name: str, mean: float, high: float, p: float, n_draws: int, interval: tuple[float, float] | Interval,
    histogram: Histogram | None = None, *, paired: bool = False,
) -> Rival:  # fmt: skip
    """A null from its summary; arguments as for `null_of`."""
    by = 0.0 if paired else mean
    return Rival(name, mean, (interval[0] - by, interval[1] - by), p, high, n_draws, 1 / (n_draws + 1), histogram)


def null_drawn(
    name: str, draws: npt.ArrayLike, test: SequentialResult, stop_after: int,
    interval: tuple[float, float] | Interval, *, paired: bool = False,
) -> Rival:  # fmt: skip
    """A null whose draws stop once the answer is plain; arguments as for `null_of`, with the test that `sequential_p`
    made and where it stops."""
    null: FloatArray = np.asarray(draws, dtype=np.float64)
    found = null_from(name, *_mean_and_high(null), test.p, test.n_drawn, interval, histogram_of(null), paired=paired)
    # More draws would change nothing.
    return found._replace(smallest_p=None) if test.n_exceeding >= stop_after else found


def floor_of(name: str, level: float, gain: Gain) -> Rival:
    """A floor from its value and what the claim gains over it."""
    return Rival(name, level, (gain.interval.low, gain.interval.high), gain.p)
