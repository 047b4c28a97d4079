"""What direct effects need of a batch: both prompts' values, gradients, and targets' gradients back to the stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emotion_circuits.components._attribution import both_passes, per_text
from emotion_circuits.components._components import SITE_OF, Component, Kind, width_of
from emotion_circuits.components._outcomes import Outcome, SideBySide
from emotion_circuits.components._runs import observe
from emotion_circuits.engine import Point, WriteSite, pulled_back, write_scale, write_weight
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
    """One batch: values of both prompts at every point that matters, and gradients.

    Args:
        lm: the model.
        outcome: whose gradient.
        sides: the batch of both prompts.
        sources: components whose values count.
        targets: components whose gradients count, and the output.
        steps: points on the path between both prompts that gradients are the mean of; 0 takes the emotion's prompt.
    """

    def __init__(
        self,
        lm: LoadedModel,
        outcome: Outcome,
        sides: SideBySide,
        sources: Sequence[Component],
        targets: Sequence[Node],
        steps: int,
    ):
        self.lm, self.outcome, self.batch = lm, outcome, sides.a
        self.steps = [(j + 0.5) / steps for j in range(steps)] or [1.0]
        self.weights = torch.from_numpy(outcome.weights[list(self.batch.texts)]).to(lm.device)
        ends = [_at(t) for t in targets if isinstance(t, Component)]
        points = [*map(_at, sources), *ends, *(self._stream(t) for t in targets), _START]
        a, b = (observe(lm, outcome, side, [*dict.fromkeys(points)]) for side in sides)
        self.scores = (a.scores - b.scores).double() * self.weights
        self.values = a.values
        self.difference = {point: value - b.values[point] for point, value in a.values.items()}
        self.written = {at: _scaled(lm, at, a.values) - _scaled(lm, at, b.values) for at in map(_at, sources)}
        found = both_passes(lm, outcome, sides, [*dict.fromkeys(ends)], self.weights, steps) if ends else None
        self.grads = {} if found is None else found.gradients

    def _stream(self, target: Node) -> Point:
        """Where a target reads the residual stream."""
        if isinstance(target, Component):
            mid = target.kind == "unit" and not self.lm.parallel
            return Point("resid_mid" if mid else "resid_pre", target.layer)
        return self.outcome.read or Point("resid_post", self.lm.n_layers - 1)

    def own(self, target: Node) -> FloatArray:
        """(texts,) the target's attribution; of the output the difference of the weighted scores."""
        if not isinstance(target, Component):
            return _numpy(self.scores)
        point, part = _at(target), _part(self.lm, target)
        contributions = self.difference[point][..., part] * self.grads[point][..., part]
        return _numpy(per_text(contributions, self.batch, 1)[:, 0])

    def gradients(self, targets: Sequence[Node]) -> Iterator[tuple[Node, Tensor]]:
        """Each target with ∂s/∂(stream where it reads it), (rows, tokens, d)."""
        members = [t for t in targets if isinstance(t, Component)]
        for point, group in groupby(members, key=_at):
            own = list(group)
            functions = [self._attribution(target) for target in own]
            yield from zip(own, self._averaged(point, self._stream(own[0]), functions), strict=True)
        [gradient] = self._averaged(self.outcome.read, self._stream(OUTPUT), [self._score])
        yield OUTPUT, gradient

    def _averaged(
        self, read: Point | None, onto: Point, functions: Sequence[Callable[[Tensor], Tensor]]
    ) -> list[Tensor]:
        """Mean gradients over the straight path between both prompts' streams."""
        total = [torch.zeros_like(self.values[onto]) for _ in functions]
        for share in self.steps:
            states = self.values[onto] - (1 - share) * self.difference[onto]
            if read == onto:  # the outcome reads the stream itself: nothing of the model is between
                states.requires_grad_(True)
                with torch.enable_grad():
                    found = [torch.autograd.grad(of(states), states)[0] for of in functions]
            else:
                found = pulled_back(self.lm, self.batch, read, onto, states, functions)
            total = [one + gradient / len(self.steps) for one, gradient in zip(total, found, strict=True)]
        return total

    def _attribution(self, target: Component) -> Callable[[Tensor], Tensor]:
        """s of a component: its values weighted by the outcome's gradient, at tokens that edits may touch."""
        gradient, part = self.grads[_at(target)][..., _part(self.lm, target)], _part(self.lm, target)
        counted = torch.where(self.batch.editable(self.lm.device), gradient, torch.zeros_like(gradient))
        return lambda values: (values[..., part] * counted).sum()

    def _score(self, states: Tensor) -> Tensor:
        scores = self.outcome.score(self.lm, self.batch, states.reshape(1, -1, states.shape[-1]))[0]
        return (scores * self.weights.to(scores.dtype)).sum()

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
            size, values = width_of(self.lm, kind), self.written[Point(SITE_OF[kind], layer)]
            numbers = [source.number for source in (sources[i] for i in places) if isinstance(source, Component)]
            index = torch.tensor(numbers, device=gradient.device)[:, None] * size
            index = (index + torch.arange(size, device=gradient.device)).reshape(-1)
            arrived = values[..., index] * (gradient @ write_weight(self.lm, SITE_OF[kind], layer)[:, index])
            found[:, places] = per_text(arrived, self.batch, len(places))
        return _numpy(found)


def _scaled(lm: LoadedModel, at: Point, values: dict[Point, Tensor]) -> Tensor:
    """Values times the scale with which their run writes them."""
    site: WriteSite = "z" if at.site == "z" else "mlp_act"
    return values[at] * write_scale(lm, site, at.layer, values[at])


def _part(lm: LoadedModel, component: Component) -> slice:
    size = width_of(lm, component.kind)
    return slice(component.number * size, (component.number + 1) * size)


def _numpy(values: Tensor) -> FloatArray:
    result: FloatArray = values.double().cpu().numpy()
    return result
