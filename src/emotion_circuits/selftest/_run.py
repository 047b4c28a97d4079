"""All checks, in order, and their report."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from emotion_circuits.engine import threads
from emotion_circuits.errors import EmotionCircuitsError
from emotion_circuits.selftest import _checks_causal as causal
from emotion_circuits.selftest import _checks_circuits as circuits
from emotion_circuits.selftest import _checks_claims as claims
from emotion_circuits.selftest import _checks_components as components
from emotion_circuits.selftest import _checks_directions as directions
from emotion_circuits.selftest import _checks_edges as edges
from emotion_circuits.selftest import _checks_engine as engine
from emotion_circuits.selftest import _checks_interchange as swaps
from emotion_circuits.selftest import _checks_maps as maps
from emotion_circuits.selftest import _checks_noise as noise
from emotion_circuits.selftest import _checks_operating as operating
from emotion_circuits.selftest import _checks_pairs as pairs
from emotion_circuits.selftest import _checks_rotated as rotated
from emotion_circuits.selftest._bench import Bench, bench
from emotion_circuits.selftest._check import SelftestCheck, check
from emotion_circuits.selftest._families import BUILDERS

Method = Callable[[Bench], Iterator[SelftestCheck]]

CHECKS: tuple[Method, ...] = (
    engine.edits_are_exact,
    engine.rows_are_independent,
    engine.hooks_are_removed,
    engine.proofs_hold,
    directions.recovered,
    directions.absent_before,
    directions.right_layer,
    directions.detected,
    directions.scored,
    directions.nothing_in_the_twin,
    causal.dose_response,
    causal.chosen_cell,
    causal.beyond_controls,
    causal.ablation,
    causal.generated,
    components.heads_found,
    components.units_found,
    components.removed,
    swaps.interchange_follows_the_plant,
    circuits.planted_circuit_is_faithful,
    edges.edges_follow_the_plant,
    claims.verdicts,
    rotated.recovered_by_maps,
    rotated.overlap_after_maps,
    rotated.nothing_in_a_twin_without_plant,
)
"""What runs on a planted model of every family. A new method joins by adding its check here."""

NOISE_CHECKS: tuple[Method, ...] = (
    noise.false_positives_in_noise,
    noise.false_positives_in_twins,
    components.false_positives_of_screens,
    pairs.nothing_between_noise,
    maps.planted_maps,
    maps.power_of_maps,
    operating.operating,
)
"""What runs once, whatever the number of families."""
NOISE_FAMILY = "gpt2"


@dataclass(frozen=True)
class SelftestReport:
    """What was measured, in the order in which it ran."""

    checks: tuple[SelftestCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(c.ok for c in self.checks)


def n_steps() -> int:
    """How often `run_selftest` calls `on_step`."""
    return len(CHECKS) * len(BUILDERS) + len(NOISE_CHECKS)


def run_selftest(
    *,
    full: bool = False,
    seed: int = 0,
    on_check: Callable[[SelftestCheck], None] | None = None,
    on_step: Callable[[int], None] | None = None,
) -> SelftestReport:
    """Find what was planted in small models built by hand, and nothing where nothing was planted.

    Args:
        full: many more draws for the rates of false positives, and more controls.
        seed: of models, texts and draws. Bounds are those of seed 0: with another one a check that stands close to its
            bound, such as the lowest cosine of a mapped direction, may miss it by a hundredth or so, and rates of false
            positives have nominal bounds, which one seed in twenty may exceed.
        on_check: called with each check when it is done.
        on_step: called with how many of `n_steps` are done.
    """
    found: list[SelftestCheck] = []
    steps = 0
    with threads(1):
        for family in BUILDERS:
            shared = bench(family, seed=seed, full=full)
            for method in (*CHECKS, *(NOISE_CHECKS if family == NOISE_FAMILY else ())):
                for one in checked(method, shared):
                    found.append(one._replace(name=f"{family}: {one.name}") if method in CHECKS else one)
                    if on_check:
                        on_check(found[-1])
                steps += 1
                if on_step:
                    on_step(steps)
    return SelftestReport(tuple(found))


def checked(method: Method, bench: Bench) -> Iterator[SelftestCheck]:
    """The method's checks; where it cannot go on, because what it needs is not there, a failed one that says why."""
    try:
        yield from method(bench)
    except EmotionCircuitsError as error:
        yield check(f"{method.__name__}: {error.problem}", math.nan, 0, 0)
