"""How well a model's subspace agrees with itself on other scenarios: the ceiling of any overlap, and its chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from emotion_circuits.statistics import exceedance_p, substream

from ._comparison import of_size, overlaps_of_draws, require_ks
from ._draws import Draws, halves, label_permutations
from ._inputs import FloatArray, ScenarioTable, Seed
from ._overlap import corrected
from ._subspaces import SubspaceEstimator

SPLITS_PER_DRAW = 4


@dataclass(frozen=True)
class SelfOverlap:
    """Overlap S of a subspace of k dimensions between random halves of the scenarios, mean over splits.

    Attributes:
        value, corrected: S and S* = (S − k/d)/(1 − k/d).
        low, high: 95 % interval of S, from leaving out one scenario at a time (jackknife, t).
        chance: k/d.
        null_mean, null_low, null_high, p: with classes shuffled within scenarios.
        k, d, n_scenarios, n_draws: counts.
    """

    value: float
    corrected: float
    low: float
    high: float
    chance: float
    null_mean: float
    null_low: float
    null_high: float
    p: float
    k: int
    d: int
    n_scenarios: int
    n_draws: int


def self_overlap(
    table: ScenarioTable,
    estimator: SubspaceEstimator,
    k_values: Sequence[int],
    *,
    n_splits: int = 20,
    n_permutations: int = 200,
    seed: Seed,
) -> tuple[SelfOverlap, ...]:
    """Split-half overlap for each k, the leading columns of one basis serving all.

    Each null draw is a mean over fewer splits than the value, and so scatters more: p errs on the safe side.

    Raises:
        InputError: fewer than four scenarios, or a k that half of them cannot give.
        MeasurementError: texts that span fewer than k dimensions.
    """
    ks = tuple(k_values)
    require_ks(ks, table.width)
    sized = of_size(estimator, max(ks))
    first, second = halves(table, n_splits, substream(seed, 41))

    def overlaps(one: Draws, two: Draws) -> FloatArray:
        return overlaps_of_draws((sized, table, one), (sized, table, two), ks)

    values = overlaps(first, second).mean(axis=0)
    n = table.n_scenarios
    without = 1.0 - np.eye(n)
    left_out = [(half.weights[:, None, :] * without).reshape(-1, n) for half in (first, second)]
    jackknife = overlaps(Draws(left_out[0]), Draws(left_out[1])).reshape(n_splits, n, -1).mean(axis=0)
    error = np.sqrt((n - 1) / n * np.square(jackknife - jackknife.mean(axis=0)).sum(axis=0))
    reach = stats.t.ppf(0.975, n - 1) * error

    players = label_permutations(table, n_permutations, substream(seed, 42)).players
    assert players is not None
    played = np.repeat(players, SPLITS_PER_DRAW, axis=0)
    some, others = halves(table, len(played), substream(seed, 43))
    null = overlaps(Draws(some.weights, played), Draws(others.weights, played))
    null = null.reshape(n_permutations, SPLITS_PER_DRAW, -1).mean(axis=1)
    low, high = np.quantile(null, [0.025, 0.975], axis=0)
    return tuple(
        SelfOverlap(
            value=float(values[i]),
            corrected=float(corrected(values[i], k / table.width)),
            low=float(max(values[i] - reach[i], 0.0)),
            high=float(min(values[i] + reach[i], 1.0)),
            chance=k / table.width,
            null_mean=float(null[:, i].mean()),
            null_low=float(low[i]),
            null_high=float(high[i]),
            p=exceedance_p(float(values[i]), null[:, i]),
            k=k,
            d=table.width,
            n_scenarios=n,
            n_draws=n_permutations,
        )
        for i, k in enumerate(ks)
    )
