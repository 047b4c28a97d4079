"""Attribution patching: what every head and unit carries of an outcome, from gradients instead of one run for each.

effect = Σ over tokens of (x_a − x_b) · ∂m/∂x, the first-order estimate of m(a) − m(a with this component's x_b put in
its place): positive where the component adds to the emotion (Nanda 2023; Syed et al. 2023). For the outcome "noised"
by the paired prompt, the predicted change is its negative.

With `steps`, the gradient is a mean over the path between both prompts' *embeddings* (what enters block 0), as EAP-IG
does (Hanna et al. 2024), by the midpoint rule: (x_a − x_b) · mean over j of ∂m/∂x at e_b + (j − ½)/steps · (e_a − e_b).
x itself is not interpolated. Over the embeddings' own x the effects then sum to m(a) − m(b).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emotion_circuits.components._components import SITE_OF, Kind, per_layer
from emotion_circuits.components._outcomes import Outcome, SideBySide
from emotion_circuits.components._runs import observe
from emotion_circuits.engine import Batch, Gradients, Point, for_each_batch, gradients
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel

FloatArray = NDArray[np.float64]
GRADIENT_BATCH_TOKENS = 1024
"""A backward pass keeps what a forward pass throws away."""


@dataclass(frozen=True, eq=False)
class Attribution:
    """Estimated effects.

    Attributes:
        heads: (pairs, layers, heads) or None if they were not asked for.
        units: (pairs, layers, units) float32, or None.
        m_a, m_b: (pairs,) the outcome of both clean runs.
    """

    heads: FloatArray | None
    units: NDArray[np.float32] | None
    m_a: FloatArray
    m_b: FloatArray

    def of(self, kind: Kind) -> NDArray[np.float64] | NDArray[np.float32]:
        """The effects of one kind.

        Raises:
            InputError: it was not asked for.
        """
        found = self.heads if kind == "head" else self.units
        if found is None:
            raise InputError(f"Effects of {kind}s were not computed.")
        return found


def attribute(
    lm: LoadedModel,
    outcome: Outcome,
    kinds: tuple[Kind, ...] = ("head",),
    *,
    steps: int = 0,
    batch_tokens: int = GRADIENT_BATCH_TOKENS,
    on_pass: Callable[[], None] | None = None,
) -> Attribution:
    """Effects of all heads or units of all layers on an outcome, for every pair.

    Two forward passes and one backward pass for each batch; with `steps`, that many backward passes.

    Args:
        lm: the model.
        outcome: what is attributed.
        kinds: `head`, `unit` or both.
        steps: 0 takes the gradient at the emotion's prompt; from 1 on, so many points on the embeddings' path.
        batch_tokens: size of a pass.
        on_pass: called after each batch.

    Raises:
        InputError: a negative number of steps, or no kind.
    """
    if steps < 0 or not kinds:
        raise InputError("Attribution needs a kind and steps from 0 on.", found=f"{kinds}, {steps} steps")
    layers = outcome.layers(lm)
    points = {(kind, layer): Point(SITE_OF[kind], layer) for kind in kinds for layer in layers}
    texts = len(outcome.ids_a)
    found = {kind: np.zeros((texts, lm.n_layers, per_layer(lm, kind)), np.float32) for kind in kinds}
    scores = np.zeros((2, texts))

    def one(sides: SideBySide) -> None:
        clean = list(sides.a.texts)
        weights = torch.from_numpy(outcome.weights[clean]).to(lm.device)
        results = both_passes(lm, outcome, sides, list(points.values()), weights, steps)
        for row, side in enumerate((results.scores_a, results.scores_b)):
            scores[row, clean] = side.double().cpu().numpy()
        for (kind, layer), point in points.items():
            difference = results.a[point] - results.b[point]
            effects = per_text(difference * results.gradients[point], sides.a, per_layer(lm, kind))
            found[kind][clean, layer] = effects.cpu().numpy()

    def run(batch: Batch) -> None:
        # Before the first difference x_a − x_b is zero, so neither values nor gradients are wanted there.
        for sides in outcome.from_first_difference(lm, outcome.both_sides(batch), copies=max(1, steps)):
            one(sides)
        if on_pass:
            on_pass()

    for_each_batch([sides.a for sides in outcome.batches(lm, batch_tokens)], run)
    # The gradients are those of weighted scores: effects carry the weights already.
    summed = {kind: _sum_by_pair(outcome, values) for kind, values in found.items()}
    heads = summed["head"].astype(np.float64) if "head" in summed else None
    return Attribution(heads, summed.get("unit"), outcome.per_pair(scores[0]), outcome.per_pair(scores[1]))


def attribute_at_neutral(
    lm: LoadedModel, outcome: Outcome, kinds: tuple[Kind, ...], *, batch_tokens: int = GRADIENT_BATCH_TOKENS
) -> dict[Kind, FloatArray]:
    """Effects of the same components on the same outcome with the gradient at the neutral prompt, (x_a − x_b) · ∂m/∂x
    at b; arguments and errors as in `attribute`.

    Where a and b are two draws of the same thing, E[(x_a − x_b) · ∂m/∂x at a] is not 0 unless m is linear: x_a goes
    with its own gradient. The mean of both ends is odd under exchange of the prompts, and so is 0 on average.
    """
    found = attribute(lm, outcome.exchanged(), kinds, batch_tokens=batch_tokens)
    return {kind: -np.asarray(found.of(kind), dtype=np.float64) for kind in kinds}


def _sum_by_pair(outcome: Outcome, values: NDArray[np.float32]) -> NDArray[np.float32]:
    result = np.zeros((len(outcome.pairs), *values.shape[1:]), np.float32)
    np.add.at(result, outcome.pair_of, values)
    return result


def per_text(contributions: Tensor, batch: Batch, components: int) -> Tensor:
    """(rows, tokens, width) → (texts of the batch, components): summed over a component's values and over the tokens
    that edits may touch."""
    device = contributions.device
    summed = contributions.reshape(-1, components, contributions.shape[-1] // components).sum(dim=-1)
    owner = torch.from_numpy(batch.owner.reshape(-1)).to(device)
    counted = batch.editable(device).reshape(-1)
    result = torch.zeros(len(batch.texts), components, dtype=contributions.dtype, device=device)
    return result.index_add(0, owner[counted], summed[counted])


@dataclass(frozen=True, eq=False)
class Passes:
    """Values of both prompts, gradients of the weighted scores, and each text's score."""

    a: dict[Point, Tensor]
    b: dict[Point, Tensor]
    gradients: dict[Point, Tensor]
    scores_a: Tensor
    scores_b: Tensor


def both_passes(
    lm: LoadedModel, outcome: Outcome, sides: SideBySide, points: list[Point], weights: Tensor, steps: int
) -> Passes:
    """Values of both sides, and gradients at a or averaged over the path."""
    kept: list[Tensor] = []

    def metric(states: Tensor) -> Tensor:
        scores = outcome.scores(lm, sides.a, states.reshape(1, -1, states.shape[-1]))[0]
        kept.append(scores.detach())
        return (scores * weights.to(scores.dtype)).sum()

    start = Point("embed", 0)
    b = observe(lm, outcome, sides.b, [*points, start] if steps else points)
    if not steps:
        at_a = gradients(lm, sides.a, points, metric, read=outcome.read)
        return Passes(at_a.values, b.values, at_a.gradients, kept[0], b.scores)
    a = observe(lm, outcome, sides.a, [*points, start])
    total: dict[Point, Tensor] = {}
    for j in range(steps):
        share = (j + 0.5) / steps
        between = b.values[start] + share * (a.values[start] - b.values[start])
        one: Gradients = gradients(lm, sides.a, points, metric, read=outcome.read, embedded=between)
        for point in points:
            total[point] = one.gradients[point] / steps + total.get(point, 0.0)
    return Passes(a.values, b.values, total, a.scores, b.scores)
