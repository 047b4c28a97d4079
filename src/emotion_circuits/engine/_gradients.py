"""Gradients of a metric with respect to what was recorded: the ground of attribution patching."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from emotion_circuits.engine._batches import Batch
from emotion_circuits.engine._run import forward, hooks, only_blocks
from emotion_circuits.engine._sites import Point, Touch, check_point
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel


class Gradients(NamedTuple):
    """Values and gradients at each point, both (rows, tokens, width), and the metric itself."""

    values: dict[Point, Tensor]
    gradients: dict[Point, Tensor]
    metric: float


def gradients(
    lm: LoadedModel,
    batch: Batch,
    points: Sequence[Point],
    metric: Callable[[Tensor], Tensor],
    *,
    read: Point | None = None,
    embedded: Tensor | None = None,
) -> Gradients:
    """d metric / d activation at several points, from one forward and one backward pass.

    Args:
        lm: the model; its parameters need no gradient.
        batch: the texts.
        points: where; none behind `read`.
        metric: states (rows, tokens, d) → a scalar; call `logits_of` inside for logits.
        read: whose states the metric gets, such as `resid_post` of a layer; blocks after it do not run. None gives it
            the states after the final norm.
        embedded: (rows, tokens, d) to put in the place of what enters block 0, such as a point on the path between the
            embeddings of two texts.
    """
    for point in (*points, *([] if read is None else [read])):
        check_point(lm, point)
    values: dict[Point, Tensor] = {}
    seen: deque[Tensor] = deque(maxlen=1)

    def open_graph(hidden: Tensor) -> Tensor | None:
        # The parameters carry no gradient, so the graph has to begin at the embeddings: once, also when what enters
        # block 0 was asked for by both of its names.
        if hidden.requires_grad:
            return None
        return (hidden if embedded is None else embedded).detach().requires_grad_(True)

    def keeper(point: Point) -> Touch:
        def keep(hidden: Tensor) -> Tensor | None:
            opened = open_graph(hidden) if point in (Point("embed", 0), Point("resid_pre", 0)) else None
            values[point] = hidden if opened is None else opened
            values[point].retain_grad()
            return opened

        return keep

    touches: dict[Point, Touch] = {}
    if Point("embed", 0) not in points and Point("resid_pre", 0) not in points:
        touches[Point("embed", 0)] = open_graph
    touches.update({point: keeper(point) for point in points})
    if read is not None:
        if read in touches:
            raise InputError("A metric's gradient with respect to what it reads is the metric's own.", found=read)
        touches[read] = seen.append
    stop = None if read is None else read.layer + 1
    with torch.enable_grad(), hooks(lm, touches), only_blocks(lm, stop=stop):
        final = forward(lm, **batch.inputs(lm))
        outcome = metric(final if read is None else seen[0])
        torch.autograd.backward(outcome)
    # A point the metric does not depend on has no gradient, which is a gradient of zero.
    found = {p: (torch.zeros_like(v) if v.grad is None else v.grad.detach()) for p, v in values.items()}
    return Gradients({p: v.detach() for p, v in values.items()}, found, float(outcome.detach()))


def pulled_back(
    lm: LoadedModel,
    batch: Batch,
    read: Point | None,
    onto: Point,
    states: Tensor,
    functions: Sequence[Callable[[Tensor], Tensor]],
) -> list[Tensor]:
    """Gradients of scalars of what is read later, with respect to a given residual stream: one forward pass through
    the blocks between, and one backward pass for each of the scalars.

    Args:
        lm: the model; its parameters need no gradient.
        batch: the texts.
        read: whose values the functions get, after `onto` in the model; None gives them those after the final norm.
        onto: `resid_pre`, `resid_mid` or `resid_post` of a block.
        states: (rows, tokens, d) what stands there; it need not be what the model computes.
        functions: values at `read` → a scalar.

    Returns:
        (rows, tokens, d) for each function.

    Raises:
        InputError: another site, or a point before it.
    """
    check_point(lm, onto)
    if read is not None:
        check_point(lm, read)
    if onto.site not in ("resid_pre", "resid_mid", "resid_post") or (read is not None and read.layer < onto.layer):
        raise InputError("Gradients go back from a point to the stream before it.", found=f"{read} to {onto}")
    leaf = states.detach().clone().requires_grad_(True)
    seen: deque[Tensor] = deque(maxlen=1)
    touches: dict[Point, Touch] = {onto: lambda _: leaf}
    if read is not None:
        touches[read] = seen.append
    start = onto.layer + (onto.site == "resid_post")
    with torch.enable_grad():
        with hooks(lm, touches), only_blocks(lm, start=start, stop=None if read is None else read.layer + 1):
            final = forward(lm, **batch.inputs(lm))
        values = final if read is None else seen[0]
        return [torch.autograd.grad(of(values), leaf, retain_graph=True)[0] for of in functions]
