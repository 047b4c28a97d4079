"""From pairs to a judged circuit: rank on one half of the pairs, measure on the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from emotion_circuits.components._ablate import GenericValues
from emotion_circuits.components._attribution import GRADIENT_BATCH_TOKENS, attribute
from emotion_circuits.components._circuits import KINDS
from emotion_circuits.components._components import Component, Kind, Ranking, per_layer
from emotion_circuits.components._direct import direct_effects
from emotion_circuits.components._faithfulness import (
    DECLARED_SIZE,
    N_DROPPED,
    N_RANDOM,
    SIZES,
    Faithfulness,
    faithfulness,
)
from emotion_circuits.components._outcomes import Outcome, Where
from emotion_circuits.components._pairs import MIN_PAIRS, PairSet
from emotion_circuits.engine import DEFAULT_BATCH_TOKENS
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.prompts import SPLITS

RankBy = Literal["attribution", "path attribution", "direct effect", "random"]
RANKINGS: tuple[RankBy, ...] = get_args(RankBy)
"""What components can be ranked by. The direct effect of units is Wang et al.'s a_n (W_outᵀ v̂)_n."""
PATH_STEPS = 5


def ranking_and_judging(pairs: PairSet) -> tuple[PairSet, PairSet]:
    """Pairs that rank components and pairs that judge the circuit: those of development and of test scenarios; where
    either are too few, every second pair and the others.

    Raises:
        InputError: fewer than two pairs in a part.
    """
    if len(pairs) < 2 * MIN_PAIRS:
        raise InputError(
            f"There are too few pairs of {pairs.emotion} to rank on one half and judge on the other.",
            found=len(pairs),
            accepted=f"{2 * MIN_PAIRS} or more",
            next_step="give more scenarios; of the bundled texts --profile extended has most",
        )
    parts = [tuple(p for p in pairs.pairs if p.split == split) for split in SPLITS]
    if min(map(len, parts)) < MIN_PAIRS:
        parts = [pairs.pairs[::2], pairs.pairs[1::2]]
    return replace(pairs, pairs=parts[0]), replace(pairs, pairs=parts[1])


def rankings_by(
    lm: LoadedModel,
    outcome: Outcome,
    by: RankBy,
    *,
    unit: ArrayLike | None = None,
    seed: int = 0,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
) -> dict[Kind, Ranking]:
    """All heads and all units, each in order of one statistic.

    Args:
        lm: the model.
        outcome: on the pairs that rank.
        by: one of `RANKINGS`.
        unit: (d,) the emotion's direction, for `direct effect`.
        seed: of `random`.
        batch_tokens: size of a forward pass.

    Raises:
        InputError: an unknown statistic, no direction.
    """
    if by not in RANKINGS:
        raise InputError(f"There is no ranking by {by!r}.", accepted=", ".join(RANKINGS))
    if by == "direct effect" and unit is None:
        raise InputError(
            "A ranking by direct effect needs the emotion's direction.", next_step="make it with `vectors`"
        )
    if by == "random":
        return {kind: _random_ranking(lm, kind, [seed, 4, place]) for place, kind in enumerate(KINDS)}
    if by == "direct effect" and unit is not None:
        places: dict[Kind, Where] = {"head": "last", "unit": "span"}  # where heads bring it, where units write it
        maps = {
            kind: direct_effects(lm, outcome, kind, unit, where, batch_tokens=batch_tokens).difference
            for kind, where in places.items()
        }
    else:
        steps = PATH_STEPS if by == "path attribution" else 0
        effects = attribute(lm, outcome, KINDS, steps=steps, batch_tokens=min(batch_tokens, GRADIENT_BATCH_TOKENS))
        maps = {kind: np.asarray(effects.of(kind), dtype=np.float64) for kind in KINDS}
    return {kind: Ranking.of_map(by, kind, values.mean(axis=0)) for kind, values in maps.items()}


def _random_ranking(lm: LoadedModel, kind: Kind, seed: Sequence[int]) -> Ranking:
    every = [Component(kind, layer, i) for layer in range(lm.n_layers) for i in range(per_layer(lm, kind))]
    return Ranking.of("random", every, np.random.default_rng(seed).random(len(every)))


def judged_circuit(
    lm: LoadedModel,
    outcome: Callable[[PairSet], Outcome],
    pairs: PairSet,
    by: RankBy,
    means: GenericValues,
    *,
    unit: ArrayLike | None = None,
    sizes: Sequence[float] = SIZES,
    declared: float = DECLARED_SIZE,
    n_random: int = N_RANDOM,
    n_dropped: int = N_DROPPED,
    seed: int = 0,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    on_circuits: Callable[[int], None] | None = None,
) -> Faithfulness:
    """Rank components on some of the pairs, and measure the circuits that this gives on the others (see
    `ranking_and_judging`).

    Args:
        lm: the model.
        outcome: makes the outcome of some pairs.
        pairs: of one emotion.
        by, unit, seed, batch_tokens: as for `rankings_by`.
        means, sizes, declared, n_random, n_dropped, on_circuits: as for `faithfulness`.
    """
    ranking, judging = ranking_and_judging(pairs)
    rankings = rankings_by(lm, outcome(ranking), by, unit=unit, seed=seed, batch_tokens=batch_tokens)
    return faithfulness(
        lm, outcome(judging), rankings, means, sizes=sizes, declared=declared, n_random=n_random,
        n_dropped=n_dropped, seed=seed, batch_tokens=batch_tokens, on_circuits=on_circuits,
    )  # fmt: skip
