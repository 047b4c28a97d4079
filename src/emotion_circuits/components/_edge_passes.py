"""What direct effects need of a batch: both prompts' values, gradients, and targets' gradients back to the stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emotion_circuits.components._attribution import per_text
from emotion_circuits.components._components import SITE_OF, Component, Kind, width_of
from emotion_circuits.components._direct import out_weight
from emotion_circuits.components._outcomes import Outcome, SideBySide
from emotion_circuits.components._runs import observe
from emotion_circuits.engine import Point, gradients, pulled_back
from emotion_circuits.models import LoadedModel

FloatArray = NDArray[np.float64]
EMBED: Literal["embed"] = "embed"
OUTPUT: Literal["output"] = "output"
Node = Component | Literal["embed", "output"]
"""What enters block 0, a head, a unit, or the outcome."""
_START = Point("embed", 0)


def feeds(lm: LoadedModel, outcome: Outcome, source: Node, target: Node) -> bool:
    """Whether what the source writes is in the stream where the target reads it.

    Units read the heads of their own block, unless its attention and MLP read the same input.
    """
    if source == OUTPUT or target == EMBED:
        return False
    if source == EMBED:
        return True
    assert isinstance(source, Component)
    if not isinstance(target, Component):
        read = outcome.read
        same_block = read is not None and (read.site == "resid_post" or source.kind == "head")
        return read is None or source.layer < read.layer or (source.layer == read.layer and same_block)
    same_block = not lm.parallel and (source.kind, target.kind) == ("head", "unit")
    return source.layer < target.layer or (source.layer == target.layer and same_block)


def _at(component: Component) -> Point:
    return Point(SITE_OF[component.kind], component.layer)


class EdgePasses:
    """One batch: values of both prompts at every point that matters, gradients at the emotion's.

    Args:
        lm: the model.
        outcome: whose gradient.
        sides: the batch of both prompts.
        sources: components whose values count.
        targets: components whose gradients count, and the output.
    """

    def __init__(
        self,
        lm: LoadedModel,
        outcome: Outcome,
        sides: SideBySide,
        sources: Sequence[Component],
        targets: Sequence[Node],
    ):
        self.lm, self.outcome, self.batch = lm, outcome, sides.a
        components = [c for c in (*sources, *targets) if isinstance(c, Component)]
        entering = [Point("resid_pre", c.layer) for c in targets if isinstance(c, Component)]
        streams = [self._stream(t) for t in targets]
        points = [*dict.fromkeys([_START, *map(_at, components), *entering, *streams])]
        points = [p for p in points if p != outcome.read]  # the metric is given those
        weights = torch.from_numpy(outcome.weights[list(self.batch.texts)]).to(lm.device)
        read: list[Tensor] = []

        def metric(states: Tensor) -> Tensor:
            scores = outcome.score(lm, self.batch, states.reshape(1, -1, states.shape[-1]))[0]
            self.scores_a = (scores.detach() * weights).double()
            read.append(states.detach())
            return (scores * weights.to(scores.dtype)).sum()

        found = gradients(lm, self.batch, points, metric, read=outcome.read)
        self.values, self.grads = found.values, found.gradients
        if outcome.read is not None:
            states = read[0].requires_grad_(True)
            with torch.enable_grad():
                [self.grads[outcome.read]] = torch.autograd.grad(metric(states), states)
            self.values[outcome.read] = states.detach()
        other = observe(lm, outcome, sides.b, points)
        self.scores_b = (other.scores * weights).double()
        self.difference = {p: value - other.values[p] for p, value in self.values.items()}

    def _stream(self, target: Node) -> Point:
        """Where a target reads the residual stream."""
        if isinstance(target, Component):
            mid = target.kind == "unit" and not self.lm.parallel
            return Point("resid_mid" if mid else "resid_pre", target.layer)
        return self.outcome.read or Point("resid_post", self.lm.n_layers - 1)

    def own(self, target: Node) -> FloatArray:
        """(texts,) the target's attribution; of the output the difference of the weighted scores."""
        if not isinstance(target, Component):
            return _numpy(self.scores_a - self.scores_b)
        point, part = _at(target), _part(self.lm, target)
        contributions = self.difference[point][..., part] * self.grads[point][..., part]
        return _numpy(per_text(contributions, self.batch, 1)[:, 0])

    def gradients(self, targets: Sequence[Node]) -> Iterator[tuple[Node, Tensor]]:
        """Each target with ∂s/∂(stream where it reads it), (rows, tokens, d)."""
        members = [t for t in targets if isinstance(t, Component)]
        for point, group in groupby(members, key=_at):
            own = list(group)
            entering = self.values[Point("resid_pre", point.layer)]
            onto = self._stream(own[0])
            weights = (self._weights(target) for target in own)
            yield from zip(own, pulled_back(self.lm, self.batch, point, onto, entering, weights), strict=True)
        yield OUTPUT, self.grads[self._stream(OUTPUT)]

    def _weights(self, target: Component) -> Tensor:
        gradient, part = self.grads[_at(target)], _part(self.lm, target)
        weights = torch.zeros_like(gradient)
        weights[..., part] = gradient[..., part]
        # What edits may not touch belongs to no component's attribution.
        return torch.where(self.batch.editable(self.lm.device), weights, torch.zeros_like(weights))

    def arriving(self, target: Node, gradient: Tensor) -> FloatArray:
        """(texts,) ⟨r_a − r_b, ∂s/∂r⟩ of everything that wrote into the stream there."""
        return _numpy(per_text(self.difference[self._stream(target)] * gradient, self.batch, 1)[:, 0])

    def sent(self, sources: Sequence[Node], gradient: Tensor) -> FloatArray:
        """(texts, sources) what each writes, along a gradient of the stream."""
        found = torch.zeros(len(self.batch.texts), len(sources), dtype=gradient.dtype, device=gradient.device)
        groups: dict[tuple[Kind, int], list[int]] = {}
        for i, source in enumerate(sources):
            if isinstance(source, Component):
                groups.setdefault((source.kind, source.layer), []).append(i)
            else:
                found[:, i] = per_text(self.difference[_START] * gradient, self.batch, 1)[:, 0]
        for (kind, layer), places in groups.items():
            projection = self.lm.attention_out(layer) if kind == "head" else self.lm.mlp_out(layer)
            size, values = width_of(self.lm, kind), self.difference[Point(SITE_OF[kind], layer)]
            numbers = [source.number for source in (sources[i] for i in places) if isinstance(source, Component)]
            index = torch.tensor(numbers, device=gradient.device)[:, None] * size
            index = (index + torch.arange(size, device=gradient.device)).reshape(-1)
            arrived = values[..., index] * (gradient @ out_weight(projection)[:, index])
            found[:, places] = per_text(arrived, self.batch, len(places))
        return _numpy(found)


def _part(lm: LoadedModel, component: Component) -> slice:
    size = width_of(lm, component.kind)
    return slice(component.number * size, (component.number + 1) * size)


def _numpy(values: Tensor) -> FloatArray:
    result: FloatArray = values.double().cpu().numpy()
    return result
