"""Runs that screens share: see points and the outcome in one forward pass; replace some components by given values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from emotion_circuits.components._components import SITE_OF, Component, Kind, width_of
from emotion_circuits.components._outcomes import Outcome
from emotion_circuits.engine import Batch, Edit, Point, forward, hooks, only_blocks, put
from emotion_circuits.models import LoadedModel


class Seen(NamedTuple):
    """A clean run: (rows, tokens, width) at each point, and the outcome's score of each text of the batch."""

    values: dict[Point, Tensor]
    scores: Tensor


def observe(lm: LoadedModel, outcome: Outcome, batch: Batch, points: Sequence[Point]) -> Seen:
    """Values at points and the outcome's scores, from one forward pass."""
    values: dict[Point, Tensor] = {}
    wanted = {*points, *([] if outcome.read is None else [outcome.read])}

    def keep(point: Point, hidden: Tensor) -> None:
        values[point] = hidden.clone()

    touches = {point: (lambda hidden, p=point: keep(p, hidden)) for point in wanted}
    stop = None if outcome.read is None else outcome.read.layer + 1
    with torch.no_grad(), hooks(lm, touches), only_blocks(lm, stop=stop):
        final = forward(lm, **batch.inputs(lm))
        states = final if outcome.read is None else values[outcome.read]
        scores = outcome.scores(lm, batch, states.reshape(1, -1, states.shape[-1]))[0]
    return Seen(values, scores)


def mask_of(lm: LoadedModel, kind: Kind, layer: int, sets: Sequence[Sequence[Component]]) -> Tensor:
    """(sets, width) bool: the values of each set's components at their site of a layer."""
    size = width_of(lm, kind)
    width = (lm.n_heads if kind == "head" else lm.d_mlp) * size
    mask = torch.zeros(len(sets), width, dtype=torch.bool, device=lm.device)
    for i, components in enumerate(sets):
        for component in components:
            if (component.kind, component.layer) == (kind, layer):
                mask[i, component.number * size : (component.number + 1) * size] = True
    return mask


def edits_for(
    lm: LoadedModel, sets: Sequence[Sequence[Component]], values: dict[Point, Tensor]
) -> tuple[int, list[Edit]]:
    """The edits that replace each set's components in a copy of its own, and the first layer that they touch."""
    named = {(component.kind, component.layer) for components in sets for component in components}
    points = {Point(SITE_OF[kind], layer): (kind, layer) for kind, layer in sorted(named)}
    edits = [put(point, mask_of(lm, kind, layer, sets), values[point]) for point, (kind, layer) in points.items()]
    return min(layer for _, layer in named), edits
