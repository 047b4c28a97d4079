"""Naming heads and units, and putting them in order: what every screen ends in and every circuit begins with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emotion_circuits.engine import WriteSite
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel

Kind = Literal["head", "unit"]
SITE_OF: dict[Kind, WriteSite] = {"head": "z", "unit": "mlp_act"}


class Component(NamedTuple):
    """An attention head or an MLP unit (neuron)."""

    kind: Kind
    layer: int
    number: int

    def __str__(self) -> str:
        return f"{self.layer}:{self.number}"


def per_layer(lm: LoadedModel, kind: Kind) -> int:
    """How many components of a kind a layer has."""
    return lm.n_heads if kind == "head" else lm.d_mlp


def width_of(lm: LoadedModel, kind: Kind) -> int:
    """How many values of its site one component holds."""
    return lm.d_head if kind == "head" else 1


def check_components(lm: LoadedModel, components: Sequence[Component]) -> None:
    """Raise `InputError` for none, for one that the model lacks, for one named twice."""
    if not components:
        raise InputError("No heads or units were named.", accepted='layer:index, such as "3:5,7:2"')
    for component in components:
        most = per_layer(lm, component.kind)
        if not 0 <= component.layer < lm.n_layers or not 0 <= component.number < most:
            raise InputError(
                f"{lm.name} has no {component.kind} {component}.",
                accepted=f"layers 0 to {lm.n_layers - 1}, {component.kind}s 0 to {most - 1}",
            )
    if len(set(components)) < len(components):
        twice = sorted({str(c) for c in components if list(components).count(c) > 1})
        raise InputError("A head or unit is named twice.", found=", ".join(twice))


def parse_spec(spec: str, kind: Kind = "head") -> tuple[Component, ...]:
    """ "3:5,7:2" → components, each as layer:index counted from 0.

    Raises:
        InputError: nothing, something else, one of them twice.
    """
    what = f'layer:{kind}, separated by commas, such as "3:5,7:2"'
    found = []
    for part in (part.strip() for part in spec.split(",")):
        if not part and spec.strip():
            raise InputError(f"The {kind}s hold an empty place.", found=repr(spec), accepted=what)
        if not part:
            raise InputError(f"No {kind}s were named.", accepted=what)
        if not re.fullmatch(r"[0-9]+:[0-9]+", part):
            raise InputError(f"This is not a {kind}.", found=repr(part), accepted=what)
        layer, index = part.split(":")
        found.append(Component(kind, int(layer), int(index)))
    if len(set(found)) < len(found):
        twice = sorted({str(c) for c in found if found.count(c) > 1})
        raise InputError(f"A {kind} is named twice.", found=", ".join(twice))
    return tuple(found)


def parse_head_spec(spec: str, lm: LoadedModel | None = None) -> tuple[Component, ...]:
    """Heads from "3:5,7:2" (layer:head, counted from 0); with a model, refused unless it has them."""
    heads = parse_spec(spec, "head")
    if lm is not None:
        check_components(lm, heads)
    return heads


def head_spec(components: Sequence[Component]) -> str:
    """The inverse of `parse_head_spec`."""
    return ",".join(map(str, components))


@dataclass(frozen=True, eq=False)
class Ranking:
    """Components with scores, the largest `|score|` first; ties go to the lower layer, then the lower index.

    Attributes:
        by: what they are ranked by.
        components: in order.
        scores: (n,) in that order, signed.
    """

    by: str
    components: tuple[Component, ...]
    scores: NDArray[np.float64]

    @classmethod
    def of(cls, by: str, components: Sequence[Component], scores: ArrayLike) -> Ranking:
        """Put components in order; those whose score is NaN are left out."""
        values = np.asarray(scores, dtype=np.float64)
        order = sorted(
            (i for i in range(len(components)) if not np.isnan(values[i])),
            key=lambda i: (-abs(values[i]), components[i].layer, components[i].kind, components[i].number),
        )
        return cls(by, tuple(components[i] for i in order), values[order])

    @classmethod
    def of_map(cls, by: str, kind: Kind, scores: ArrayLike) -> Ranking:
        """From a map (layers, components of a layer)."""
        values = np.asarray(scores, dtype=np.float64)
        components = [Component(kind, layer, i) for layer in range(values.shape[0]) for i in range(values.shape[1])]
        return cls.of(by, components, values.ravel())

    def __len__(self) -> int:
        return len(self.components)

    def top(self, n: int) -> tuple[Component, ...]:
        """The first `n`."""
        return self.components[:n]

    def joined(self, other: Ranking) -> Ranking:
        """Both in one order, as a circuit of heads and units needs it; their scores must have one unit.

        Raises:
            InputError: rankings by different things.
        """
        if self.by != other.by:
            raise InputError("Rankings by different scores have no common order.", found=f"{self.by} and {other.by}")
        return Ranking.of(self.by, (*self.components, *other.components), np.concatenate([self.scores, other.scores]))
