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
from ._overlap import corrected, nested_overlaps
from ._subspaces import SubspaceEstimator


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

    Each null draw is of one split, the value a mean over many, and so scatters less: p errs on the safe side.

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
    jackknife = _without_each(sized, table, first, second, ks).mean(axis=0)
    error = np.sqrt((n - 1) / n * np.square(jackknife - jackknife.mean(axis=0)).sum(axis=0))
    reach = stats.t.ppf(0.975, n - 1) * error

    players = label_permutations(table, n_permutations, substream(seed, 42)).players
    assert players is not None
    some, others = halves(table, n_permutations, substream(seed, 43))
    null = overlaps(Draws(some.weights, players), Draws(others.weights, players))
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


def _without_each(
    estimator: SubspaceEstimator, table: ScenarioTable, first: Draws, second: Draws, ks: tuple[int, ...]
) -> FloatArray:
    """(splits, scenarios, K) overlaps with one scenario left out, which concerns the half that has it: the other half's
    basis is the one it was."""
    bases = [estimator.bases(table, half) for half in (first, second)]
    found = []
    for i, (one, two) in enumerate(zip(first.weights, second.weights, strict=True)):
        in_first = one > 0
        fewer = Draws(np.where(in_first[:, None], one, two) * (1.0 - np.eye(len(one))))
        others = np.where(in_first[:, None, None], bases[1][i], bases[0][i])
        found.append(nested_overlaps(estimator.bases(table, fewer), others, ks))
    return np.stack(found)
