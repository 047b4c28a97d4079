"""How much of an emotion a circuit carries alone: curves over its size, beside random circuits of the same layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.components._ablate import GenericValues
from emotion_circuits.components._circuits import (
    Circuits,
    all_and_none,
    circuit_gaps,
    joined_circuits,
    matched_circuits,
    ranked_circuits,
)
from emotion_circuits.components._components import Component, Kind, Ranking
from emotion_circuits.components._outcomes import Outcome
from emotion_circuits.engine import DEFAULT_BATCH_TOKENS
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.statistics import Measure, exceedance_p, weighted_bootstrap

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
SIZES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares of all heads and of all units, after MIB (Mueller et al. 2025)."""
DECLARED_SIZE = 0.05
N_RANDOM = 100
N_DROPPED = 20
CLEAR = 2.0
"""Standard errors that the whole model's difference must lie above the empty circuit's."""
FAITHFULNESS, CPR, CMD, COMPLETENESS = "faithfulness", "CPR", "CMD", "completeness"


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """Circuits of one ranking on held-out pairs. S sizes, G pairs, R random draws.

    Attributes:
        model, emotion, outcome, by: names; `by` is the ranking's.
        sizes: (S,) shares.
        circuits: the S circuits.
        whole, empty: (G,) difference of the outcome between both prompts in the whole model and with nothing kept.
        kept: (S, G) by the circuits alone.
        random: (R, S, G) by random circuits matched for layer and kind; nested in each draw; NaN at sizes without, and
            for pairs that a draw did not run.
        removed: (G,) by the model without the circuit of the declared size.
        dropped: (D, G) by the circuit of the declared size without one of its best members.
        best: (D,) those members.
        declared: number of the declared size among `sizes`.
        areas_over: numbers of the sizes that CPR and CMD are taken over; random circuits ran at these.
    """

    model: str
    emotion: str
    outcome: str
    by: str
    sizes: tuple[float, ...]
    circuits: Circuits
    whole: FloatArray
    empty: FloatArray
    kept: FloatArray
    random: FloatArray
    removed: FloatArray
    dropped: FloatArray
    best: tuple[Component, ...]
    declared: int
    areas_over: tuple[int, ...]

    @property
    def tested(self) -> bool:
        """Whether the whole model's difference lies clearly above what is left with nothing kept."""
        lost = self.whole - self.empty
        return bool(lost.mean() > CLEAR * lost.std(ddof=1) / np.sqrt(len(lost)))

    @property
    def drawn_on(self) -> BoolArray:
        """(G,) pairs that all random circuits ran: what these are compared by."""
        return np.asarray(np.isfinite(self.random[:, list(self.areas_over)]).all(axis=(0, 1)))

    def share(self, gaps: FloatArray, among: BoolArray | None = None) -> FloatArray:
        """f = (m(C) − m(∅)) / (m(N) − m(∅)) of (…, G) differences, from means over pairs; NaN if not `tested`.

        Args:
            gaps: differences of all pairs.
            among: (G,) the pairs that count; all by default.
        """
        if not self.tested:
            return np.full(np.shape(gaps)[:-1], np.nan)
        at = slice(None) if among is None else among
        empty = self.empty[at].mean()
        return np.asarray((gaps[..., at].mean(axis=-1) - empty) / (self.whole[at].mean() - empty), dtype=np.float64)

    def check_outcome(self, outcome: Outcome) -> None:
        """Raises InputError where these curves were made with another outcome or on other pairs."""
        if outcome.name != self.outcome or len(outcome.pairs) != len(self.whole):
            raise InputError("The curves are of another outcome or of other pairs.", found=outcome.name,
                             accepted=f"{self.outcome}, {len(self.whole)} pairs")  # fmt: skip

    @property
    def curve(self) -> FloatArray:
        """(S,) f of the circuits."""
        return self.share(self.kept)

    @property
    def random_curves(self) -> FloatArray:
        """(R, S) f of the random circuits on the pairs that all of them ran; NaN at sizes where none ran."""
        return self.share(self.random, self.drawn_on)

    def measures(self, *, seed: int = 0, n_draws: int = 2000) -> list[Measure]:
        """Rows: f at every size, CPR, CMD and completeness, each beside the random circuits.

        `layer` is −1 (all layers), `position` the size (`all sizes` for the areas), `kind` the ranking. Chance and null
        are of the random circuits; p is one-sided, (b + 1) / (R + 1). n is the number of pairs.
        """
        rows = []
        for i, size in enumerate(self.sizes):
            rows.append(self._measure(FAITHFULNESS, f"{size:g}", self.kept[i][None], self.random[:, i][:, None],
                                      _first, 1.0, seed, n_draws))  # fmt: skip
        rows.append(self._measure(CPR, self.areas_from, self.kept, self.random, self.area, np.nan, seed, n_draws))
        rows.append(self._measure(CMD, self.areas_from, self.kept, self.random, self.distance, 0.0, seed, n_draws))
        rows.append(self._measure(COMPLETENESS, f"{self.sizes[self.declared]:g}", self.removed[None], None,
                                  lambda f: 1 - f[..., 0], 1.0, seed, n_draws))  # fmt: skip
        return rows

    @property
    def areas_from(self) -> str:
        """Which sizes CPR and CMD are taken over, in words."""
        if len(self.areas_over) == len(self.sizes):
            return "all sizes"
        return "sizes " + ", ".join(f"{self.sizes[i]:g}" for i in self.areas_over)

    def area(self, curves: FloatArray) -> FloatArray:
        """CPR: ∫ f over the share kept, from (…, S); trapezoids between the sizes of `areas_over`, from f = 0 where
        nothing is kept."""
        return self._integral(curves, lambda f: f)

    def distance(self, curves: FloatArray) -> FloatArray:
        """CMD: ∫ `|1 − f|` in the same way; 0 is perfect."""
        return self._integral(curves, lambda f: np.abs(1 - f))

    def _integral(self, curves: FloatArray, of: Callable[[FloatArray], FloatArray]) -> FloatArray:
        at = list(self.areas_over)
        sizes = (0.0, *(self.sizes[i] for i in at))
        return np.asarray(np.trapezoid(of(_from_nothing(curves[..., at], 0.0)), sizes, axis=-1), dtype=np.float64)

    def _measure(
        self, statistic: str, position: str, gaps: FloatArray, random: FloatArray | None,
        of: Callable[[FloatArray], FloatArray], ceiling: float, seed: int, n_draws: int,
    ) -> Measure:  # fmt: skip
        nan = float("nan")
        value = low = high = chance = null_low = null_high = p = nan
        if self.tested:
            value = float(of(self.share(gaps)))
            boot = weighted_bootstrap(
                lambda weights: of(self.weighted(gaps, weights)), len(self.whole), n_draws=n_draws, seed=seed
            )
            low, high = boot.interval.low, boot.interval.high
            among = self.drawn_on
            null = of(self.share(random, among)) if random is not None else np.zeros(0)
            if random is not None and len(null) and np.isfinite(null).all():
                # Linear in the curve, but for CMD: of all pairs, as the value is.
                chance = float(null.mean() if statistic == CMD else of(self.share(mean_of_draws(random))))
                null_low, null_high = (float(q) for q in np.quantile(null, [0.025, 0.975]))
                p = exceedance_p(float(of(self.share(gaps, among))), null, "less" if statistic == CMD else "greater")
        return Measure(
            self.model, self.emotion, position, -1, self.by, statistic, value, low, high, chance, null_low, null_high,
            ceiling, p, len(self.whole),
        )  # fmt: skip

    def weighted(self, gaps: FloatArray, weights: FloatArray) -> FloatArray:
        """(B, S) f of (S, G) differences under (B, G) weights of the pairs."""
        total = weights.sum(axis=1, keepdims=True)
        empty = weights @ self.empty[:, None] / total
        whole = weights @ self.whole[:, None] / total
        result: FloatArray = (weights @ gaps.T / total - empty) / (whole - empty)
        return result

    def minimality(self) -> list[tuple[Component, float]]:
        """How much f falls at the declared size without each of the best members."""
        f = self.curve[self.declared]
        return [(c, float(f - g)) for c, g in zip(self.best, self.share(self.dropped), strict=True)]


def mean_of_draws(random: FloatArray) -> FloatArray:
    """(S, G) differences in (R, S, G) random circuits, the mean of the draws that ran a pair; NaN where none did."""
    ran = np.isfinite(random)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(ran, random, 0).sum(axis=0) / ran.sum(axis=0), dtype=np.float64)


def _first(curves: FloatArray) -> FloatArray:
    return curves[..., 0]


def _from_nothing(curves: FloatArray, start: float) -> FloatArray:
    return np.concatenate([np.full((*curves.shape[:-1], 1), start), curves], axis=-1)


def faithfulness(
    lm: LoadedModel,
    outcome: Outcome,
    rankings: Mapping[Kind, Ranking],
    means: GenericValues,
    *,
    sizes: Sequence[float] = SIZES,
    declared: float = DECLARED_SIZE,
    n_random: int = N_RANDOM,
    random_sizes: Sequence[float] | None = None,
    n_dropped: int = N_DROPPED,
    seed: int = 0,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    on_circuits: Callable[[int], None] | None = None,
) -> Faithfulness:
    """Curves of the circuits that a ranking makes, on pairs that the ranking has not seen.

    Args:
        lm: the model.
        outcome: on held-out pairs.
        rankings: of all heads and of all units, made on other pairs.
        means: `circuit_means`.
        sizes: shares of each kind, growing.
        declared: the size that completeness and minimality are of; one of `sizes`.
        n_random: random circuits at each of `random_sizes`, matched for layer and kind.
        random_sizes: some of the sizes; CPR and CMD are taken over these, and over 1, where every circuit is the whole
            model. None for all.
        n_dropped: how many of the best members are left out one by one.
        seed: of the random circuits.
        batch_tokens, on_circuits: as for `circuit_gaps`; `n_circuits` says how many there will be.

    Raises:
        InputError: sizes that do not grow, a declared size that is none of them, negative numbers.
    """
    if list(sizes) != sorted(set(sizes)) or declared not in sizes:
        raise InputError("Sizes must grow, and the declared size be one of them.", found=f"{[*sizes]}, {declared}")
    if n_random < 0 or n_dropped < 0:
        raise InputError("So many circuits cannot be drawn.", found=f"{n_random}, {n_dropped}")
    circuits = ranked_circuits(lm, rankings, sizes)
    at = list(sizes).index(declared)
    members = set(circuits.members(at))
    best = tuple(c for kind in ("head", "unit") for c in rankings[kind].components if c in members)
    best = _alternating(best)[:n_dropped]
    over = area_sizes(sizes, random_sizes)
    by = " and ".join(dict.fromkeys(rankings[kind].by for kind in ("head", "unit")))
    parts = [all_and_none(lm), circuits, circuits.rows([at]).complements()]
    parts += [circuits.without(at, component) for component in best]
    if n_random:
        parts.append(matched_circuits(circuits.rows(over), n_random, seed))
    gaps = circuit_gaps(lm, outcome, joined_circuits(parts), means, batch_tokens=batch_tokens, on_circuits=on_circuits)
    ends = np.cumsum([2, len(circuits), 1, len(best)])
    ranked, removed, dropped, drawn = (gaps[a:b] for a, b in zip(ends, [*ends[1:], len(gaps)], strict=True))
    random = np.full((n_random, len(sizes), gaps.shape[1]), np.nan)
    random[:, over] = drawn.reshape(n_random, len(over), gaps.shape[1])
    return Faithfulness(
        str(lm.name), outcome.pairs.emotion, outcome.name, by, tuple(sizes), circuits, gaps[0], gaps[1], ranked, random,
        removed=removed[0], dropped=dropped, best=best, declared=at, areas_over=tuple(over),
    )  # fmt: skip


def area_sizes(sizes: Sequence[float], random_sizes: Sequence[float] | None) -> list[int]:
    """Numbers of the sizes at which random circuits run.

    Raises:
        InputError: a size that is none of the curve's.
    """
    if random_sizes is None:
        return list(range(len(sizes)))
    strange = sorted(set(random_sizes) - set(sizes))
    if strange or not random_sizes:
        raise InputError("Random circuits have sizes of the curve.", found=[*random_sizes],
                         accepted=", ".join(f"{s:g}" for s in sizes))  # fmt: skip
    return [i for i, size in enumerate(sizes) if size in random_sizes or size == 1]


def n_circuits(n_sizes: int, n_random: int, n_best: int, n_random_sizes: int | None = None) -> int:
    """How many circuits `faithfulness` runs."""
    return 3 + n_sizes + (n_sizes if n_random_sizes is None else n_random_sizes) * n_random + n_best


def _alternating(best: Sequence[Component]) -> tuple[Component, ...]:
    """Heads and units by turns, each kind in its own order."""
    heads = [c for c in best if c.kind == "head"]
    units = [c for c in best if c.kind == "unit"]
    found = [c for pair in zip(heads, units, strict=False) for c in pair]
    shorter = min(len(heads), len(units))
    return (*found, *heads[shorter:], *units[shorter:])
