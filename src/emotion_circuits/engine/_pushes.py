"""Changes along a direction, many at a time: one per variant of a run, so that variants share a forward pass.

Adding, ablating and clamping are one formula, h ← h + (offset − pull · ⟨h, v̂⟩) v̂, with its numbers per variant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from emotion_circuits.engine._edits import Edit
from emotion_circuits.engine._sites import Point
from emotion_circuits.errors import InputError

EMBED = -1
"""The layer that stands for what enters block 0."""


@dataclass(frozen=True, eq=False)
class Push:
    """V changes of the residual stream at one layer.

    Attributes:
        vector: (V, d); of norm 1 wherever `pull` is not 0.
        offset: (V,) multiples of the vector that are added.
        pull: (V,) share of the component along the vector that is taken away.
    """

    vector: Tensor
    offset: Tensor
    pull: Tensor

    @classmethod
    def add(cls, vectors: Tensor) -> Push:
        """h ← h + vector, for (V, d) vectors; a zero vector leaves every bit as it was."""
        n = len(vectors)
        return cls(vectors, vectors.new_ones(n), vectors.new_zeros(n))

    @classmethod
    def ablate(cls, units: Tensor, means: Tensor, share: Tensor) -> Push:
        """h ← h − share · (⟨h, v̂⟩ − ⟨μ, v̂⟩) v̂, for (V, d) unit vectors, (V, d) or (d,) means and (V,) shares."""
        return cls(units, share * (units * means).sum(dim=-1), share.expand(len(units)).clone())

    @classmethod
    def clamp(cls, units: Tensor, means: Tensor, heights: Tensor) -> Push:
        """The component along v̂ becomes ⟨μ, v̂⟩ + height, for (V,) heights in the stream's own units."""
        return cls(units, (units * means).sum(dim=-1) + heights, torch.ones_like(heights))

    def __len__(self) -> int:
        """The number of variants."""
        return len(self.vector)

    def each(self, change: Callable[[Tensor], Tensor]) -> Push:
        """The same change made to all three tensors."""
        return Push(change(self.vector), change(self.offset), change(self.pull))

    def rows(self, chosen: slice | Tensor) -> Push:
        """Some of the variants."""
        return self.each(lambda part: part[chosen])

    def repeated(self, times: int) -> Push:
        """Every variant `times` times in a row."""
        return self.each(lambda part: part.repeat_interleave(times, dim=0))

    def active(self) -> Tensor:
        """(V,) bool: which variants change anything."""
        moved = (self.vector != 0).any(dim=-1)
        return moved & ((self.offset != 0) | (self.pull != 0))

    def to(self, like: Tensor) -> Push:
        """In the place and type of another tensor."""
        return self.each(lambda part: part.to(device=like.device, dtype=like.dtype))

    def applied(self, hidden: Tensor, editable: Tensor) -> Tensor:
        """The change made to (V, …, d) hidden states where `editable` (broadcastable, last axis 1) says so."""
        here = self.to(hidden)
        shape = (-1, *(1,) * (hidden.ndim - 2))
        vector = here.vector.reshape(*shape, hidden.shape[-1])
        step = here.offset.reshape(*shape, 1)
        if bool(here.pull.any()):
            step = step - here.pull.reshape(*shape, 1) * (hidden * vector).sum(dim=-1, keepdim=True)
        return torch.where(editable, hidden + step * vector, hidden)


Pushes = Mapping[int, Push]
"""Layer (`EMBED` is -1) → its changes; every layer has the same number of variants."""


def added(layer: int, vectors: Tensor) -> Pushes:
    """Variants that add a vector each, (V, d), after one layer."""
    return {layer: Push.add(vectors)}


def n_variants(pushes: Pushes) -> int:
    """How many variants there are.

    Raises:
        InputError: none of the layers, or layers that differ in number.
    """
    counts = {len(push) for push in pushes.values()}
    if len(counts) != 1:
        raise InputError(
            "Layers to steer at must have the same number of variants.", found=sorted(counts) or "no layers"
        )
    return counts.pop()


def joined(parts: Sequence[Pushes]) -> Pushes:
    """The variants of several sets behind each other, inactive at the layers their set leaves alone."""
    layers = sorted({layer for part in parts for layer in part})
    if not layers:
        raise InputError("There is nothing to join.", found="no layers")
    result = {}
    for layer in layers:
        like = next(part[layer] for part in parts if layer in part)
        pieces = [part[layer] if layer in part else _inactive(like, n_variants(part)) for part in parts]
        result[layer] = Push(
            torch.cat([piece.vector for piece in pieces]),
            torch.cat([piece.offset for piece in pieces]),
            torch.cat([piece.pull for piece in pieces]),
        )
    return result


def _inactive(like: Push, n: int) -> Push:
    return Push.add(like.vector.new_zeros(n, like.vector.shape[1]))


def point_of(layer: int) -> Point:
    """Where a layer's changes are made: after the block, or before block 0 for `EMBED`."""
    return Point("embed", 0) if layer == EMBED else Point("resid_post", layer)


def edits_of(pushes: Pushes) -> list[Edit]:
    """The same changes as edits of a forward pass whose rows are the variants."""
    return [Edit(point_of(layer), push.applied) for layer, push in sorted(pushes.items())]
