"""Changes to what a model computes. An edit is a value: where, and what it does to the tensor there.

Every edit leaves each text's position 0 untouched (see `Batch.editable`). Rows of a forward pass may carry different
edits: vectors are given once for all rows, or one per row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from emotion_circuits.engine._sites import Point
from emotion_circuits.errors import InputError


@dataclass(frozen=True, eq=False)
class Edit:
    """An edit at one point.

    Attributes:
        point: where.
        apply: (hidden (rows, tokens, width), editable (rows, tokens, 1) bool) → hidden of the same shape.
    """

    point: Point
    apply: Callable[[Tensor, Tensor], Tensor]

    def touch(self, editable: Tensor) -> Callable[[Tensor], Tensor]:
        """The hook that applies this edit to the editable tokens."""
        return lambda hidden: self.apply(hidden, editable)


def touches_of(edits: Sequence[Edit], editable: Tensor) -> dict[Point, Callable[[Tensor], Tensor]]:
    """The hooks of several edits.

    Raises:
        InputError: two edits at one point, of which one would be lost.
    """
    touches = {edit.point: edit.touch(editable) for edit in edits}
    if len(touches) < len(edits):
        points = [f"{edit.point.site} of layer {edit.point.layer}" for edit in edits]
        raise InputError("Two edits stand at one point.", found=", ".join(points), next_step="join them into one edit")
    return touches


def _per_row(vector: Tensor, hidden: Tensor) -> Tensor:
    """(width,) or (rows, width) → broadcastable over tokens, in the stream's type and place."""
    vector = vector.to(device=hidden.device, dtype=hidden.dtype)
    return vector if vector.ndim == 1 else vector.unsqueeze(1)


def add(point: Point, vector: Tensor) -> Edit:
    """h ← h + vector. A zero vector leaves every bit as it was.

    Args:
        point: where.
        vector: (width,), or (rows, width) for an edit of its own in each row.
    """

    def apply(hidden: Tensor, editable: Tensor) -> Tensor:
        return torch.where(editable, hidden + _per_row(vector, hidden), hidden)

    return Edit(point, apply)


def ablate_direction(point: Point, unit: Tensor, mean: Tensor) -> Edit:
    """h ← h − v̂ v̂ᵀ(h − μ): every token gets the mean's component along the direction.

    Args:
        point: where.
        unit: (width,) of norm 1, or (rows, width) for a direction of its own in each row.
        mean: (width,), the mean activation on generic text.
    """

    def apply(hidden: Tensor, editable: Tensor) -> Tensor:
        v = unit.to(device=hidden.device, dtype=hidden.dtype)
        excess = (hidden - mean.to(device=hidden.device, dtype=hidden.dtype)) @ v.unsqueeze(-1)
        return torch.where(editable, hidden - excess * _per_row(v, hidden), hidden)

    return Edit(point, apply)


def at_tokens(edit: Edit, tokens: Tensor) -> Edit:
    """The same edit at some tokens only.

    Args:
        edit: what is done there.
        tokens: (rows, tokens, 1) bool, or broadcastable to it.
    """
    return Edit(edit.point, lambda hidden, editable: edit.apply(hidden, editable & tokens.to(editable.device)))


def replace(point: Point, values: Tensor) -> Edit:
    """h ← values, of shape (rows, tokens, width) or broadcastable to it (interchange, mean and zero ablation)."""

    def apply(hidden: Tensor, editable: Tensor) -> Tensor:
        return torch.where(editable, values.to(device=hidden.device, dtype=hidden.dtype), hidden)

    return Edit(point, apply)


def put(point: Point, mask: Tensor, values: Tensor) -> Edit:
    """Replace what a mask marks, in each copy what is its own; all else keeps every bit.

    Args:
        point: where.
        mask: (copies, width) bool.
        values: broadcastable to (copies, rows, tokens, width).
    """

    def apply(hidden: Tensor, editable: Tensor) -> Tensor:
        copies = hidden.reshape(len(mask), -1, *hidden.shape[1:])
        given = values.to(device=hidden.device, dtype=hidden.dtype)
        changed = torch.where(mask[:, None, None, :], given, copies).reshape(hidden.shape)
        # The untouched tokens are few: giving them back costs less than a second choice over all values.
        untouched = (~editable).squeeze(-1)
        changed[untouched] = hidden[untouched]
        return changed

    return Edit(point, apply)
