"""Tests of the one circuit that is claimed: more faithful than random ones, complete, and with no idle member?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.components._ablate import GenericValues
from emotion_circuits.components._circuits import KINDS, circuit_gaps, joined_circuits, matched_circuits
from emotion_circuits.components._components import Component
from emotion_circuits.components._faithfulness import COMPLETENESS, FAITHFULNESS, Faithfulness
from emotion_circuits.components._outcomes import Outcome
from emotion_circuits.engine import DEFAULT_BATCH_TOKENS
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.statistics import (
    Measure,
    SequentialResult,
    exceedance_p,
    sequential_p,
    sign_flip_test,
    weighted_bootstrap,
)

FloatArray = NDArray[np.float64]
MOST_DRAWS = 999
EXCEEDING = 10
"""Random circuits at least as faithful as the claimed one after which no more are drawn (Besag and Clifford 1991)."""
N_REMOVED = 100
DRAWN_AT_ONCE = 32
MINIMALITY = "minimality"


@dataclass(frozen=True, eq=False)
class CircuitTests:
    """The circuit of the declared size beside random ones. G pairs.

    Attributes:
        found: the curves, on the same pairs.
        beyond: p of its faithfulness and how many random circuits it took; None where nothing was tested.
        random: (draws, G) differences kept by random circuits matched for layer and kind.
        removed: (R, G) differences left by the model without a random circuit.
        members: members drawn at random, as many of each kind as `found.best` has.
        without: (D, G) differences kept without one of these.
    """

    found: Faithfulness
    beyond: SequentialResult | None
    random: FloatArray
    removed: FloatArray
    members: tuple[Component, ...]
    without: FloatArray

    def loss_of_random_members(self) -> list[tuple[Component, float]]:
        """How much f falls without each of the members drawn at random, beside `Faithfulness.minimality`."""
        f = self.found.curve[self.found.declared]
        return [(c, float(f - g)) for c, g in zip(self.members, self.found.share(self.without), strict=True)]

    def measures(self, *, seed: int = 0, n_draws: int = 2000, n_flips: int = 9999) -> list[Measure]:
        """Rows of the declared size: faithfulness, completeness, minimality; all NaN but n where nothing was tested.

        faithfulness: p by sequential stopping; chance and null are of the random circuits drawn until then.
        completeness: 1 − f(N \\ C), beside the same of random circuits; p = (b + 1)/(R + 1), one-sided.
        minimality: the mean loss of f without one of the best members. Chance is the mean of members drawn at random,
        null_low and null_high their 2.5 % and 97.5 % points; p by sign flips over pairs of the difference, one-sided.
        """
        f, at = self.found, self.found.declared
        kept = f.kept[at]
        rows = [
            self._row(FAITHFULNESS, kept, f.share(self.random), self.beyond.p if self.beyond else np.nan, 1.0, seed,
                      n_draws),
            self._row(COMPLETENESS, f.removed, 1 - f.share(self.removed), None, 1.0, seed, n_draws),
        ]  # fmt: skip
        if len(self.members):
            lost, lost_at_random = kept - f.dropped.mean(axis=0), kept - self.without.mean(axis=0)
            p = sign_flip_test(lost - lost_at_random, n_draws=n_flips, seed=seed).p if f.tested else np.nan
            null = np.array([loss for _, loss in self.loss_of_random_members()])
            rows.append(self._row(MINIMALITY, f.empty + lost, null, p, np.nan, seed, n_draws))
        return rows

    def _row(
        self, statistic: str, gaps: FloatArray, null: FloatArray, p: float | None, ceiling: float, seed: int,
        n_draws: int,
    ) -> Measure:  # fmt: skip
        """(G,) differences whose share is the value (of completeness what they lack of 1); p beside the null where none
        is given."""
        f, nan = self.found, float("nan")
        value = low = high = chance = null_low = null_high = nan
        if f.tested:
            sign, start = (-1, 1) if statistic == COMPLETENESS else (1, 0)
            boot = weighted_bootstrap(
                lambda weights: start + sign * f.weighted(gaps[None], weights)[:, 0], len(gaps), n_draws=n_draws,
                seed=seed,
            )  # fmt: skip
            value, low, high = boot.value, boot.interval.low, boot.interval.high
            if len(null):
                chance = float(null.mean())
                null_low, null_high = (float(q) for q in np.quantile(null, [0.025, 0.975]))
                p = exceedance_p(value, null) if p is None else p
        return Measure(
            f.model, f.emotion, f"{f.sizes[f.declared]:g}", -1, f.by, statistic, value, low, high, chance, null_low,
            null_high, ceiling, p if f.tested and p is not None else nan, len(f.whole),
        )  # fmt: skip


def circuit_tests(
    lm: LoadedModel,
    outcome: Outcome,
    found: Faithfulness,
    means: GenericValues,
    *,
    most_draws: int = MOST_DRAWS,
    exceeding: int = EXCEEDING,
    n_removed: int = N_REMOVED,
    seed: int = 0,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    on_circuits: Callable[[int], None] | None = None,
) -> CircuitTests:
    """Test the circuit of the declared size; nothing runs where `found.tested` does not hold.

    The curves' random circuits are the first draws of its test; more are drawn only while it may still be significant.

    Args:
        lm, outcome, means: as `found` was made with.
        found: the curves (`faithfulness`).
        most_draws: random circuits at most; p cannot fall below 1/(most_draws + 1).
        exceeding: random circuits at least as faithful after which drawing stops.
        n_removed: random circuits that are taken out, for completeness.
        seed: of what is drawn beyond the curves' own circuits.
        batch_tokens, on_circuits: as for `circuit_gaps`.

    Raises:
        InputError: another outcome than that of `found`, no draws.
    """
    found.check_outcome(outcome)
    if most_draws < 1 or exceeding < 1 or n_removed < 0:
        raise InputError("So many circuits cannot be drawn.", found=f"{most_draws}, {exceeding}, {n_removed}")
    n_pairs = len(found.whole)
    if not found.tested:
        nothing = np.zeros((0, n_pairs))
        return CircuitTests(found, None, nothing, nothing, (), nothing)
    claimed, known = found.circuits.rows([found.declared]), found.random[:, found.declared]
    known = known[np.isfinite(known).all(axis=1)]
    seen: list[FloatArray] = []

    def draw(first: int, count: int) -> FloatArray:
        own = known[first : first + count]
        # Draw k has a seed of its own, so that neither batches nor the number of curves change it.
        more = [matched_circuits(claimed, 1, (seed, 5, k)) for k in range(first + len(own), first + count)]
        if more:
            drawn = circuit_gaps(
                lm, outcome, joined_circuits(more), means, batch_tokens=batch_tokens, on_circuits=on_circuits
            )
            own = np.concatenate([own, drawn])
        seen.append(own)
        return found.share(own)

    f = float(found.curve[found.declared])
    beyond = sequential_p(f, draw, most_draws, stop_after=exceeding, batch=DRAWN_AT_ONCE)
    members = _random_members(found, seed)
    parts = [found.circuits.without(found.declared, component) for component in members]
    if n_removed:
        parts.append(matched_circuits(claimed, n_removed, (seed, 6)).complements())
    gaps = np.zeros((0, n_pairs))
    if parts:
        circuits = joined_circuits(parts)
        gaps = circuit_gaps(lm, outcome, circuits, means, batch_tokens=batch_tokens, on_circuits=on_circuits)
    random = np.concatenate(seen)[: beyond.n_drawn]
    return CircuitTests(found, beyond, random, gaps[len(members) :], members, gaps[: len(members)])


def random_points(found: Faithfulness, shares: tuple[float, ...] = (0.025, 0.975, 0.99)) -> Mapping[str, FloatArray]:
    """Points of the random circuits' CPR (`CPR`, higher is better) and of their CMD (`CMD`, lower is better).

    Args:
        found: the curves.
        shares: of random circuits that lie below; of CMD above, so that 0.99 is the strict side of both.
    """
    curves = found.random_curves
    if not len(curves) or not found.tested:
        return {name: np.full(len(shares), np.nan) for name in ("CPR", "CMD")}
    return {
        "CPR": np.quantile(found.area(curves), shares),
        "CMD": np.quantile(found.distance(curves), [1 - share for share in shares]),
    }


def _random_members(found: Faithfulness, seed: int) -> tuple[Component, ...]:
    """As many members of each kind as the best ones are, drawn from all members; the best are among them."""
    rng = np.random.default_rng([seed, 7])
    drawn: list[Component] = []
    for kind in KINDS:
        own = [c for c in found.circuits.members(found.declared) if c.kind == kind]
        n = sum(c.kind == kind for c in found.best)
        drawn += [own[i] for i in sorted(rng.choice(len(own), n, replace=False))]
    return tuple(drawn)
