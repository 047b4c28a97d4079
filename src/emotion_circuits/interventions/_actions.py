"""What is done along a direction, at one layer or a band of them: adding, ablating, clamping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from emotion_circuits.directions import DirectionSet
from emotion_circuits.engine import Push, Pushes, joined
from emotion_circuits.errors import InputError

FloatArray = NDArray[np.float64]

Action = Literal["add", "ablate", "clamp"]
"""``add``: h ← h + dose · s v̂. ``ablate``: the share `dose` of the component along v̂, above the generic mean's, is
taken away. ``clamp``: that component becomes the generic mean's plus dose · s. s: the layer's unit, the
spread of generic text (`GenericStatistics.unit`)."""

ACTIONS: tuple[Action, ...] = get_args(Action)


class Line(NamedTuple):
    """Directions at one layer, and what doses mean there.

    Attributes:
        units: (n, d) unit vectors.
        scale: length of a dose of 1.
        mean: (d,) mean activation on generic text.
    """

    units: FloatArray
    scale: float
    mean: FloatArray


Lines = Mapping[int, Line]
"""Layer → the same n directions there; several layers are a band."""


def line(directions: DirectionSet, layer: int, units: FloatArray, scale: float | None = None) -> Line:
    """Any (n, d) unit vectors at a layer of the model that `directions` are of; doses in its unit."""
    row = layer + 1
    size = float(directions.generic.unit[row]) if scale is None else scale
    return Line(np.atleast_2d(units), size, directions.generic.mean[row].astype(np.float64))


def own_lines(directions: DirectionSet, emotion: str, layers: Sequence[int], kind: str, alpha: bool = False) -> Lines:
    """An emotion's direction at every layer of a band; under `alpha` a dose of 1 is the whole difference vector."""
    found = {}
    for layer in layers:
        own = directions.direction(emotion, layer, kind)
        found[layer] = line(directions, layer, own.unit, own.norm if alpha else None)
    return found


def pushes_along(lines: Lines, doses: Sequence[float], action: Action = "add", *, clean: bool = False) -> Pushes:
    """Every direction with every dose, doses fastest.

    Args:
        lines: where and along what.
        doses: as `Action` says.
        action: what is done.
        clean: put a variant that changes nothing before each direction's doses.

    Raises:
        InputError: an unknown action, or a dose that it cannot take.
    """
    check_action(action, doses)
    steps = torch.tensor(list(doses), dtype=torch.float64)
    result = {}
    for layer, (units, scale, mean) in lines.items():
        parts = []
        for unit in torch.from_numpy(np.ascontiguousarray(units, dtype=np.float64)):
            rows = unit.expand(len(steps), -1)
            if action == "add":
                # The product is made here, in double precision, as a dose times a direction is meant.
                push = Push.add(rows * (steps * scale)[:, None])
            elif action == "ablate":
                push = Push.ablate(rows, torch.from_numpy(mean), steps)
            else:
                push = Push.clamp(rows, torch.from_numpy(mean), steps * scale)
            parts += [{layer: Push.add(torch.zeros_like(unit)[None])}, {layer: push}] if clean else [{layer: push}]
        result[layer] = joined(parts)[layer]
    return result


def check_action(action: str, doses: Sequence[float]) -> None:
    """Raise `InputError` unless the action is known and can take these doses."""
    if action not in ACTIONS:
        raise InputError(f"There is no action {action!r}.", accepted=", ".join(ACTIONS))
    if action == "ablate" and not all(0 < dose <= 1 for dose in doses):
        raise InputError(
            "Ablation takes a share of the component away.", found=", ".join(f"{d:g}" for d in doses),
            accepted="more than 0, at most 1",
        )  # fmt: skip


def bands_of(layers: Sequence[int], width: int, n_layers: int) -> list[tuple[int, ...]]:
    """Bands of consecutive layers that begin at each of `layers`.

    Raises:
        InputError: no layers, a width below 1, or a band beyond the last layer.
    """
    if not layers:
        raise InputError("No layers were given to steer at.", accepted=f"0 to {n_layers - 1}")
    if width < 1:
        raise InputError("A band has at least one layer.", found=width)
    for layer in layers:
        if not 0 <= layer <= n_layers - width:
            raise InputError(
                f"The model has no layer {layer}." if width == 1 else f"No band of {width} layers begins at {layer}.",
                accepted=f"0 to {n_layers - width}",
            )
    return [tuple(range(layer, layer + width)) for layer in layers]
