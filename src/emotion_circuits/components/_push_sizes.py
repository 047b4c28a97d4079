"""How far a method moves the residual stream, in units of dose: a circuit's strength set beside a dose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from emotion_circuits.components._methods import ADD, CIRCUIT, Setting, Way
from emotion_circuits.components._modulation import Modulation
from emotion_circuits.components._pairs import PairSet
from emotion_circuits.directions import DirectionSet
from emotion_circuits.engine import Edit, Point, add, point_of, prompt_values
from emotion_circuits.interventions import own_lines
from emotion_circuits.models import Encoded, LoadedModel
from emotion_circuits.scoring import twin_of

if TYPE_CHECKING:
    pass


class PushSize(NamedTuple):
    """How far a method moves the residual stream at the prompts' tokens.

    Attributes:
        emotion, way, method, dose: see `MethodRow`; the dose of a circuit is its strength.
        layer: where directions act.
        size, size_low, size_high: ‖h − h clean‖ there in the layer's unit of doses, median and quartiles over
            tokens; an added direction has just its dose.
        size_last: the median after the last layer, in that layer's unit: what became of the change.
        n_tokens: of all prompts, the first of each left out; of random circuits, over all of them.
    """

    emotion: str
    way: str
    method: str
    dose: float
    layer: int
    size: float
    size_low: float
    size_high: float
    size_last: float
    n_tokens: int


def push_sizes(
    lm: LoadedModel, directions: DirectionSet, pairs: PairSet, way: Way, setting: Setting, circuit: Modulation
) -> list[PushSize]:
    """Of added directions, of the circuit and of its random twins, in the prompts that `method_texts` continues."""
    prompts = lm.encode([p.text_b if way == "raise" else p.text_a for p in pairs.pairs])
    sign = 1 if way == "raise" else -1
    points = [point_of(setting.layer), Point("resid_post", lm.n_layers - 1)]
    clean = [prompt_values(lm, prompts, point) for point in points]
    norms = [float(directions.generic.unit[layer + 1]) for layer in (setting.layer, lm.n_layers - 1)]

    def moved(edits: Sequence[Edit]) -> list[np.ndarray]:
        return [
            _distances(prompts, prompt_values(lm, prompts, point, edits), before) / norm
            for point, before, norm in zip(points, clean, norms, strict=True)
        ]

    line = own_lines(directions, pairs.emotion, [setting.layer], setting.kind)[setting.layer]
    unit = torch.from_numpy(line.units[0]) * line.scale
    rows = []
    for dose in setting.doses:
        rows.append((ADD, sign * dose, [moved([add(points[0], sign * dose * unit)])]))
    for strength in circuit.strengths:
        found = [
            moved(circuit.edits(lm, [(number, sign * strength)], len(prompts)))
            for number in range(len(circuit.circuits))
        ]
        rows += [(CIRCUIT, sign * strength, found[:1]), (twin_of(CIRCUIT), sign * strength, found[1:])]
    return [_row(pairs.emotion, way, method, dose, setting.layer, several) for method, dose, several in rows if several]


def _row(
    emotion: str, way: Way, method: str, dose: float, layer: int, several: Sequence[Sequence[np.ndarray]]
) -> PushSize:
    here, last = (np.concatenate([one[place] for one in several]) for place in (0, 1))
    low, middle, high = np.quantile(here, [0.25, 0.5, 0.75])
    return PushSize(
        emotion, way, method, dose, layer, float(middle), float(low), float(high), float(np.median(last)), len(here)
    )


def _distances(prompts: Sequence[Encoded], values: Tensor, clean: Tensor) -> np.ndarray:
    """(tokens,) of all prompts, which end together; the first of each, which no edit touches, left out."""
    distance = (values.double() - clean.double()).norm(dim=-1).cpu().numpy()
    kept = [distance[i, distance.shape[1] - len(prompt) + 1 :] for i, prompt in enumerate(prompts)]
    return np.concatenate(kept)
