"""Modulating a circuit: its heads and units are moved towards what they compute in the emotion's prompts.

Wang et al. 2025 (arXiv 2510.11328) drive emotions by modulating the heads and neurons of a circuit instead of adding a
direction to the stream. Here member c of a circuit gets, at every token, x_c ← x_c + strength · Δ_c, and nothing else
is touched. Δ_c is the mean over pairs of its value in the emotion's prompt minus that in the neutral one: strength 1
adds once what an emotion's prompt adds. This recipe is ours.

Δ is read at the prompt's last token: there the model is about to go on, as it is at every token that it generates, and
what members move to that place from the emotion's word is in it. A mean over tokens would hold mostly what stands
elsewhere and shrink with the prompt's length; a shift read at the word makes every token look like that word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emotion_circuits.components._circuit_study import RankBy, rankings_by
from emotion_circuits.components._circuits import (
    KINDS,
    Circuits,
    joined_circuits,
    matched_circuits,
    ranked_circuits,
)
from emotion_circuits.components._components import SITE_OF, Kind, width_of
from emotion_circuits.components._faithfulness import DECLARED_SIZE
from emotion_circuits.components._outcomes import Outcome, Where
from emotion_circuits.components._pairs import Pair, PairSet
from emotion_circuits.engine import DEFAULT_BATCH_TOKENS, Edit, Point, add, record
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel

STRENGTHS = (2.0, 4.0, 8.0)


@dataclass(frozen=True, eq=False)
class Modulation:
    """A circuit, random ones beside it, and what moves their members.

    Attributes:
        emotion: whose.
        scenarios: those of the pairs that ranked and gave Δ; prompts that are judged should be of others.
        circuits: the ranked circuit, then random ones with as many heads and units in every layer.
        shifts: (width,) Δ of all heads or units of a layer at their site, in the site's own units.
        strengths: what Δ is multiplied by; all above 0.
    """

    emotion: str
    scenarios: tuple[str, ...]
    circuits: Circuits
    shifts: dict[Point, Tensor]
    strengths: tuple[float, ...]

    def edits(self, lm: LoadedModel, chosen: Sequence[tuple[int, float]], rows: int) -> list[Edit]:
        """The edits of a run with a copy of its `rows` rows for each (number of the circuit, strength).

        A random circuit's shift is as long at each site as the ranked circuit's: its members do less in the emotion's
        prompts, and a smaller push would be no fair chance level. A strength of 0 keeps every bit of its copy.
        """
        numbers = [number for number, _ in chosen]
        strengths = torch.tensor([strength for _, strength in chosen], dtype=torch.float64)[:, None]
        found = []
        for point, shift in self.shifts.items():
            kind: Kind = "head" if point.site == SITE_OF["head"] else "unit"
            members = torch.from_numpy(self.circuits.of(kind)[[0, *numbers], point.layer])
            if bool(members.any()):
                moved = members.repeat_interleave(width_of(lm, kind), dim=1) * shift
                lengths = moved.norm(dim=1, keepdim=True)
                alike = torch.where(lengths > 0, lengths[:1] / lengths, 1.0)[1:]  # 1 for the ranked circuit itself
                found.append(add(point, (moved[1:] * alike * strengths).repeat_interleave(rows, dim=0)))
        return found


def modulation(
    lm: LoadedModel,
    outcome: Outcome,
    *,
    by: RankBy = "path attribution",
    size: float = DECLARED_SIZE,
    strengths: Sequence[float] = STRENGTHS,
    n_random: int = 3,
    where: Where = "last",
    seed: int = 0,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
) -> Modulation:
    """Rank heads and units on some pairs, and take from the same pairs what moves the best.

    Args:
        lm: the model.
        outcome: on the pairs that rank.
        by: see `rankings_by`.
        size: share of all heads and of all units that the circuit holds.
        strengths: multiples of Δ.
        n_random: random circuits, matched by layer and kind.
        where: tokens whose mean Δ is taken over.
        seed: of random circuits.
        batch_tokens: size of a forward pass.

    Raises:
        InputError: strengths that are not above 0 or not finite, one twice, none; a circuit without members.
    """
    check_strengths(strengths)
    ranked = ranked_circuits(lm, rankings_by(lm, outcome, by, seed=seed, batch_tokens=batch_tokens), [size])
    if not ranked.members(0):
        raise InputError("A circuit of this size has no members.", found=f"{size:g} of all heads and units")
    circuits = joined_circuits([ranked, matched_circuits(ranked, n_random, seed)])
    shifts = _shifts(lm, outcome.pairs, where, batch_tokens)
    return Modulation(outcome.pairs.emotion, outcome.pairs.scenarios, circuits, shifts, tuple(strengths))


def check_strengths(strengths: Sequence[float]) -> None:
    """Raise `InputError` unless there are some, all different, above 0 and finite."""
    usable = [s for s in strengths if np.isfinite(s) and s > 0]
    if not strengths or len(usable) < len(strengths) or len(set(strengths)) < len(strengths):
        raise InputError("A circuit is modulated at different strengths above 0.", found=list(strengths),
                         next_step="give --strength 2 4 8, or --no-circuit")  # fmt: skip


def _shifts(lm: LoadedModel, pairs: PairSet, where: Where, batch_tokens: int) -> dict[Point, Tensor]:
    points = [Point(SITE_OF[kind], layer) for kind in KINDS for layer in range(lm.n_layers)]
    places = [_places(pair, where) for pair in pairs.pairs]
    sides = [
        record(lm, ids, {where: places}, points, batch_tokens=batch_tokens).values
        for ids in ([p.ids_a for p in pairs.pairs], [p.ids_b for p in pairs.pairs])
    ]
    return {point: (sides[0][point] - sides[1][point])[0].double().mean(dim=0).cpu() for point in points}


def _places(pair: Pair, where: Where) -> list[int]:
    end = len(pair.ids_a)
    return {"last": [end - 1], "span": list(pair.span), "mean": list(range(1, end))}[where]
