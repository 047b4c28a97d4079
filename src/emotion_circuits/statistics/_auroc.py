"""AUROC of scores for one class against the others, with the scenario as the unit.

Value, bootstrap and standard error all come from one table: how often positives of group g score above negatives of
group h. A draw of groups weights its rows and columns, so 2,000 draws are one matrix product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from emotion_circuits.errors import InputError, MeasurementError

from ._histogram import Histogram, histogram_of
from ._permutation import exceedance_p, group_codes, permute_within_groups
from ._resampling import (
    Alternative,
    BoolArray,
    Bootstrap,
    FloatArray,
    Interval,
    Seed,
    WeightStatistic,
    batch_length,
    finite_array,
    require_level,
    substream,
    weighted_bootstrap,
)

# So close to 0 or 1 the inner end of a BCa interval misses two to three times as often as it says (simulated, 12–40
# scenarios); the logit interval does so far less.
BOUNDARY_ERRORS = 3.0


@dataclass(frozen=True, eq=False)
class AurocResult:
    """AUROC beside its null.

    Attributes:
        value: probability that a text of the class scores above a text of another class, ties counting half.
        interval: over groups; never a point at 0 or 1.
        standard_error: DeLong's, over groups; 0 where the AUROC is 0 or 1.
        p: permutation p-value of "no better than chance".
        chance: 0.5.
        null_low, null_high: 2.5 % and 97.5 % points of the permutation null; null: its histogram.
        n_texts, n_positive, n_groups: counts.
        groups: names of the groups, sorted; the texts' numbers where every text stands alone.
        placements: (G,) for each group the share of all negatives that its positives score above (their mean; NaN
            where a group has none); with one positive a group their mean is the AUROC, so differences of two scorers'
            placements are paired values.
    """

    value: float
    interval: Interval
    standard_error: float
    p: float
    chance: float
    null_low: float
    null_high: float
    null: Histogram
    n_texts: int
    n_positive: int
    n_groups: int
    groups: npt.NDArray[Any]
    placements: FloatArray


class _Table(NamedTuple):
    """Concordance by group: wins (G, G) of positives of g over negatives of h, and the (G,) counts of each."""

    wins: FloatArray
    positives: FloatArray
    negatives: FloatArray

    def auroc(self, weights: FloatArray) -> FloatArray:
        """(B,) AUROC when group g is drawn weights[b, g] times; a draw without a class takes another draw's value."""
        pairs = (weights @ self.positives) * (weights @ self.negatives)
        # Where every text stands alone a group has one class only, and three quarters of the products are of zeros.
        own, other = np.flatnonzero(self.positives), np.flatnonzero(self.negatives)
        wins = np.einsum("bg,bg->b", weights[:, own] @ self.wins[np.ix_(own, other)], weights[:, other])
        values: FloatArray = np.full(len(weights), np.nan)
        defined = pairs > 0
        values[defined] = wins[defined] / pairs[defined]
        # Only where some groups lack a class: the bootstrap is then conditional on a defined AUROC.
        if 0 < defined.sum() < len(values):
            values[~defined] = np.resize(values[defined], (~defined).sum())
        return values

    @property
    def value(self) -> float:
        return float(self.wins.sum() / (self.positives.sum() * self.negatives.sum()))

    def influences(self) -> FloatArray:
        """(G,) each group's contribution to AUROC − value (Obuchowski 1997; DeLong 1988 where texts are the groups)."""
        n_positive, n_negative = self.positives.sum(), self.negatives.sum()
        over_positives = self.wins.sum(axis=1) / n_negative - self.value * self.positives
        over_negatives = self.wins.sum(axis=0) / n_positive - self.value * self.negatives
        result: FloatArray = over_positives / n_positive + over_negatives / n_negative
        return result


def auroc(scores: npt.ArrayLike, labels: npt.ArrayLike) -> FloatArray:
    """AUROC by mid-ranks (Mann–Whitney).

    Args:
        scores: (…, n), any number of score rows over the same texts.
        labels: (n,) true for the texts of the class.

    Returns:
        (…) AUROCs; a 0-D array for one row.
    """
    values = np.asarray(scores, dtype=np.float64)
    positive = _positive(labels, values.shape[-1] if values.ndim else 0)
    if not np.isfinite(values).all():
        raise MeasurementError("The scores hold NaN or infinity.")
    ranks = stats.rankdata(values, axis=-1)
    return _from_ranks(ranks @ positive.astype(np.float64), positive)


def grouped_auroc(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    groups: npt.ArrayLike | None,
    *,
    n_bootstrap: int = 2000,
    n_permutations: int = 1000,
    seed: Seed,
    level: float = 0.95,
    alternative: Alternative = "greater",
) -> AurocResult:
    """AUROC with an interval over groups and a permutation null within groups.

    The interval is BCa. At 0 or 1 every draw repeats the value, so the interval is an exact one-sided bound: with m
    disjoint pairs of groups, one giving a positive and one a negative, all pairs are in order with probability at most
    AUROC**m, so AUROC ≥ (1 − level)**(1/m). Where BCa is undefined otherwise, or 0 or 1 lies within
    three standard errors, the interval is DeLong's on the logit scale.

    Neither the order of texts nor a strictly increasing transform of scores changes any part of the result.

    Args:
        scores: (n,).
        labels: (n,) true for the texts of the class, false for those of all others.
        groups: (n,) scenario of each text; None where every text stands alone (labels are then permuted over all).
        n_bootstrap, n_permutations, seed, level: draws, their seed, nominal coverage.
        alternative: of the p-value.

    Raises:
        MeasurementError: scores that are not finite, or a class in fewer than two groups.
    """
    require_level(level)
    values = finite_array(scores, "The scores", (1,))
    positive = _positive(labels, len(values))
    codes = group_codes(groups, len(values))
    # One canonical order, so that the draws of a seed mean the same whatever order the texts come in.
    order = np.lexsort((positive, values, codes)) if groups is not None else np.lexsort((positive, values))
    values, positive = values[order], positive[order]
    codes = codes[order] if groups is not None else codes
    table = _table(values, positive, codes)

    permuted = permute_within_groups(
        positive, codes if groups is not None else None, n_permutations, substream(seed, 1)
    )
    null = _from_ranks(permuted.astype(np.float64) @ stats.rankdata(values), positive)
    null_low, null_high = np.quantile(null, [0.025, 0.975])
    wins_of_group = table.wins.sum(axis=1) / table.negatives.sum()
    placements = np.divide(
        wins_of_group, table.positives, out=np.full_like(wins_of_group, np.nan), where=table.positives > 0
    )
    return AurocResult(
        value=table.value,
        interval=_interval(table, n_bootstrap, substream(seed, 2), level),
        standard_error=_standard_error(table.influences()),
        p=exceedance_p(table.value, null, alternative),
        chance=0.5,
        null_low=float(null_low),
        null_high=float(null_high),
        null=histogram_of(null),
        n_texts=len(values),
        n_positive=int(positive.sum()),
        n_groups=len(table.positives),
        groups=np.arange(len(values)) if groups is None else np.unique(np.asarray(groups)),
        placements=placements if groups is not None else placements[np.argsort(order)],
    )


class WeightedAuroc(NamedTuple):
    """An AUROC as a function of how often each group counts, for `paired_gain`: scorers of the same texts have the same
    groups in the same order."""

    of_weights: WeightStatistic
    n_groups: int


def weighted_auroc(scores: npt.ArrayLike, labels: npt.ArrayLike, groups: npt.ArrayLike | None) -> WeightedAuroc:
    """The AUROC of `grouped_auroc` from weights of the groups. Arguments and errors are those of `grouped_auroc`."""
    values = finite_array(scores, "The scores", (1,))
    table = _table(values, _positive(labels, len(values)), group_codes(groups, len(values)))
    return WeightedAuroc(table.auroc, len(table.positives))


def _positive(labels: npt.ArrayLike, n_texts: int) -> BoolArray:
    given = np.asarray(labels)
    if not np.isin(given, (0, 1)).all():
        raise InputError(
            "The labels are not true or false.", found=np.unique(given)[:4], next_step="compare with a class"
        )
    positive = given.astype(bool)
    if positive.shape != (n_texts,):
        raise InputError("Labels and scores differ in number.", found=f"{positive.shape} labels for {n_texts} scores")
    if positive.all() or not positive.any():
        raise MeasurementError(
            "An AUROC needs texts of the class and of others.", found=f"{positive.sum()} of {n_texts}"
        )
    return positive


def _from_ranks(rank_sums: FloatArray, positive: BoolArray) -> FloatArray:
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    result: FloatArray = np.asarray((rank_sums - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))
    return result


def _table(scores: FloatArray, positive: BoolArray, codes: npt.NDArray[np.intp]) -> _Table:
    n_groups = int(codes.max()) + 1
    membership = np.eye(n_groups)[codes]
    of_positives, of_negatives = membership[positive], membership[~positive]
    high, low, alone = scores[positive], scores[~positive], n_groups == len(scores)
    wins = np.zeros((n_groups, n_groups))
    step = batch_length(len(low))
    for start in range(0, len(high), step):  # batches of positives, for memory only
        some = high[start : start + step, None]
        halves = (some > low).astype(np.float64) + 0.5 * (some == low)
        if alone:
            wins[np.ix_(codes[positive][start : start + step], codes[~positive])] = halves
        else:
            wins += of_positives[start : start + step].T @ (halves @ of_negatives)
    table = _Table(wins, of_positives.sum(axis=0), of_negatives.sum(axis=0))
    if (table.positives > 0).sum() < 2 or (table.negatives > 0).sum() < 2:
        raise MeasurementError("An AUROC over groups needs each class in two groups.", found=f"{n_groups} groups")
    return table


def _standard_error(influences: FloatArray) -> float:
    n_groups = len(influences)
    return float(math.sqrt(n_groups / (n_groups - 1) * np.square(influences).sum()))


def _interval(table: _Table, n_draws: int, seed: Seed, level: float) -> Interval:
    value = table.value
    if value in (0.0, 1.0):
        bound = (1 - level) ** (1 / _disjoint_pairs(table))
        low, high = (bound, 1.0) if value == 1.0 else (0.0, 1 - bound)
        return Interval(low, high, level, "exact one-sided")
    boot: Bootstrap = weighted_bootstrap(table.auroc, len(table.positives), n_draws=n_draws, seed=seed, level=level)
    error = _standard_error(table.influences())
    near_boundary = min(value, 1 - value) < BOUNDARY_ERRORS * error
    if error == 0 or (boot.interval.method == "bca" and not near_boundary):
        return boot.interval
    return _delong_logit(value, error, level, len(table.positives))


def _delong_logit(value: float, error: float, level: float, n_groups: int) -> Interval:
    """DeLong's interval on the logit scale, which keeps it inside (0, 1) (Pepe 2003), with t on G − 1 degrees."""
    centre = math.log(value / (1 - value))
    reach = float(stats.t.isf((1 - level) / 2, n_groups - 1)) * error / (value * (1 - value))
    low, high = (1 / (1 + math.exp(-bound)) for bound in (centre - reach, centre + reach))
    return Interval(low, high, level, "DeLong logit")


def _disjoint_pairs(table: _Table) -> int:
    """Most pairs of different groups, no group twice, with a positive in one and a negative in the other."""
    with_positive, with_negative = table.positives > 0, table.negatives > 0
    return min(int(with_positive.sum()), int(with_negative.sum()), int((with_positive | with_negative).sum()) // 2)
