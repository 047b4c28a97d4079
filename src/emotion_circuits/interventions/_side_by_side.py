"""Steered text beside clean text and beside text under a random direction of the same size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from emotion_circuits.directions import DirectionSet
from emotion_circuits.engine import Edit, Schedule, add, generate, point_of, row_seeds
from emotion_circuits.errors import InputError
from emotion_circuits.interventions._controls import isotropic_directions
from emotion_circuits.interventions._steer import check_doses
from emotion_circuits.models import LoadedModel
from emotion_circuits.scoring import continuation_perplexities

ROWS_AT_ONCE = 32


class Continued(NamedTuple):
    """A continuation and its perplexity under the clean model; None where nothing was written or it is not finite."""

    text: str
    perplexity: float | None


class SideBySide(NamedTuple):
    """One prompt continued three ways with the same random stream."""

    prompt: str
    sample: int
    clean: Continued
    steered: Continued
    random: Continued


def _counted(on_rows: Callable[[int], None], before: int) -> Callable[[int], None]:
    return lambda done: on_rows(before + done)


def steering_edit(layer: int, vector: np.ndarray) -> Edit:
    """Add a vector (d,) to the residual stream after a layer; -1 is `embed`."""
    return add(point_of(layer), torch.from_numpy(np.ascontiguousarray(vector, dtype=np.float64)))


def side_by_side(
    lm: LoadedModel,
    directions: DirectionSet,
    emotion: str,
    prompts: Sequence[str],
    *,
    dose: float,
    layer: int | None = None,
    kind: str = "specific",
    max_tokens: int = 40,
    temperature: float = 0.0,
    n_samples: int = 1,
    seed: int = 0,
    schedule: Schedule | None = None,
    on_rows: Callable[[int], None] | None = None,
) -> list[SideBySide]:
    """Continue prompts clean, steered, and steered along one isotropic direction with a vector of the same length.

    Args:
        lm: the model the directions were made from.
        directions: directions and the units of doses.
        emotion: whose direction.
        prompts: texts to continue.
        dose: in the layer's unit (`GenericStatistics.unit`).
        layer: block index; None for the emotion's chosen layer.
        kind: which direction.
        max_tokens: of a continuation.
        temperature: 0 for greedy.
        n_samples: continuations of each prompt; more than one needs a temperature.
        seed: of the random direction and of sampling.
        schedule: at which tokens steering acts; None for the prompt's and every generated one.
        on_rows: called with how many continuations are done, of 3 · prompts · samples.

    Raises:
        InputError: no prompts, a dose, layer or seed that cannot be used, directions of another model.
        MeasurementError: the dose makes the model's logits overflow.
    """
    if not prompts:
        raise InputError("There are no prompts to continue.")
    if n_samples > 1 and temperature == 0:
        raise InputError(
            "Without a temperature all samples of a prompt are the same.",
            found=f"{n_samples} samples at temperature 0",
            next_step="give --temperature .8, or one sample",
        )
    directions.check_model(lm)
    [size] = check_doses([dose])
    at = directions.layer_of(emotion, layer)
    length = size * float(directions.generic.unit[at + 1])
    unit = directions.direction(emotion, at, kind).unit
    [control] = isotropic_directions(1, lm.d_model, centred=directions.source.centred_norm, seed=seed)
    rows = [prompt for prompt in prompts for _ in range(n_samples)]
    seeds = row_seeds(seed, len(rows))
    arms = []
    for number, edits in enumerate([[], [steering_edit(at, length * unit)], [steering_edit(at, length * control)]]):
        texts = generate(
            lm, lm.encode(rows), max_tokens=max_tokens, edits=edits, temperature=temperature, seeds=seeds,
            schedule=schedule, rows_at_once=ROWS_AT_ONCE,
            on_rows=None if on_rows is None else _counted(on_rows, number * len(rows)),
        )  # fmt: skip
        surprise = continuation_perplexities(lm, rows, texts)
        arms.append([Continued(t, float(p) if np.isfinite(p) else None) for t, p in zip(texts, surprise, strict=True)])
    return [
        SideBySide(prompt, i % n_samples, *parts) for i, (prompt, *parts) in enumerate(zip(rows, *arms, strict=True))
    ]
