"""A sweep's chance level: what isotropic directions of the same size do at every layer and dose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from emotion_circuits.directions import DirectionSet
from emotion_circuits.engine import DEFAULT_BATCH_TOKENS
from emotion_circuits.interventions._controls import isotropic_directions
from emotion_circuits.interventions._steer import LayerDeltas, dosed, slot_outcomes
from emotion_circuits.interventions._sweep import WORD_SET, Layout, SweepResult
from emotion_circuits.models import LoadedModel
from emotion_circuits.prompts import CLASSES
from emotion_circuits.scoring import SlotTask
from emotion_circuits.statistics import Measure, exceedance_p

FloatArray = NDArray[np.float64]


class Bands(NamedTuple):
    """Changes of an emotion's own log-odds under control directions: (layers, emotions, doses, controls), in nats."""

    changes: FloatArray


def control_bands(
    lm: LoadedModel,
    directions: DirectionSet,
    slots: SlotTask,
    layout: Layout,
    n: int,
    *,
    kind: str = "specific",
    alpha: bool = False,
    seed: int = 0,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    on_variants: Callable[[int], None] | None = None,
) -> Bands:
    """Steer along `n` isotropic directions as the sweep steers along an emotion's.

    Args:
        layout: the sweep's layers, doses and emotions.
        n: how many directions; the same ones at every layer and dose.
        kind, alpha: as for `sweep`. Under `alpha` a control is as long as the emotion's own vector, so each emotion has
            controls of its own; otherwise they share them.
        seed: of the directions.
        batch_tokens, on_variants: as for `sweep`.
    """
    units = isotropic_directions(n, lm.d_model, centred=directions.source.centred_norm, seed=seed)
    own = [CLASSES.index(emotion) for emotion in layout.emotions]
    parts = []
    for layer in layout.layers:
        scale = float(directions.generic.norm[layer + 1])
        sizes = [directions.direction(e, layer, kind).norm for e in layout.emotions] if alpha else [scale]
        steps = torch.cat([dosed(units, size, (0.0, *layout.doses)) for size in sizes])
        parts.append(LayerDeltas(layer, steps))
    odds = np.stack(slot_outcomes(lm, slots, parts, batch_tokens=batch_tokens, on_variants=on_variants))
    # (layers, sizes, controls, doses, classes): the mean over contexts, then the change from the clean run.
    odds = odds.mean(axis=2).reshape(len(parts), -1, n, len(layout.doses) + 1, len(CLASSES))
    changes = odds[:, :, :, 1:] - odds[:, :, :, :1]
    per_emotion = [changes[:, i if alpha else 0, :, :, c] for i, c in enumerate(own)]
    return Bands(np.stack(per_emotion, axis=1).transpose(0, 1, 3, 2))


def with_bands(result: SweepResult, bands: Bands, measures: Sequence[Measure]) -> list[Measure]:
    """The measures with chance, null and p of the word-set outcome taken from the controls.

    p is one-sided: a positive dose should raise the emotion's own log-odds, a negative one lower them.
    """
    layout = result.layout
    null = {
        (layer, emotion, f"{result.kind}, {result.unit} {dose:g}"): (dose, bands.changes[i, j, k])
        for i, layer in enumerate(layout.layers)
        for j, emotion in enumerate(layout.emotions)
        for k, dose in enumerate(layout.doses)
    }
    found = []
    for row in measures:
        if row.statistic != WORD_SET:
            found.append(row)
            continue
        dose, changes = null[row.layer, row.emotion, row.kind]
        low, high = np.quantile(changes, [0.025, 0.975])
        found.append(
            row._replace(
                chance=float(changes.mean()),
                null_low=float(low),
                null_high=float(high),
                p=exceedance_p(row.value, changes, "greater" if dose > 0 else "less"),
            )
        )
    return found
