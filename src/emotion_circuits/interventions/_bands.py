"""A sweep's chance level: what isotropic directions of the same size do at every layer and dose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emotion_circuits._parts import Parts
from emotion_circuits.engine import DEFAULT_BATCH_TOKENS, Pushes, joined
from emotion_circuits.interventions._actions import Line, bands_of, line, pushes_along
from emotion_circuits.interventions._controls import Controls
from emotion_circuits.interventions._steer import slot_outcomes
from emotion_circuits.interventions._sweep import WORD_SET, Layout, SweepResult
from emotion_circuits.models import LoadedModel
from emotion_circuits.scoring import SlotTask
from emotion_circuits.statistics import Measure, exceedance_p

FloatArray = NDArray[np.float64]


class Bands(NamedTuple):
    """What control directions do to an emotion's own log-odds, nats.

    Attributes:
        control: their kind.
        changes: (layers, emotions, doses, controls).
    """

    control: str
    changes: FloatArray


def control_bands(
    lm: LoadedModel,
    controls: Controls,
    slots: SlotTask,
    layout: Layout,
    n: int,
    *,
    control: str = "isotropic",
    alpha: bool = False,
    seed: int = 0,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    on_variants: Callable[[int], None] | None = None,
    parts: Parts | None = None,
) -> Bands:
    """Do along control directions what the sweep does along an emotion's.

    Args:
        lm: the model.
        controls: where control directions come from.
        slots: the sweep's contexts.
        layout: the sweep's layers, doses, emotions and action.
        n: how many directions of a kind that is drawn; fixed kinds have as many as there are.
        control: their kind (see `Controls`).
        alpha: as for `sweep`; a control is then as long as the emotion's own vector.
        seed: of the directions.
        batch_tokens, on_variants, parts: as for `sweep`.
    """
    directions = controls.directions
    own = [slots.column(emotion) for emotion in layout.emotions]
    # Emotions share their controls where these depend neither on the emotion nor on the length of its vector.
    apart = alpha or controls.of_one_emotion(control)
    pushes = []
    for layers in bands_of(layout.layers, layout.band, lm.n_layers):
        sets: list[Pushes] = []
        for emotion in layout.emotions if apart else layout.emotions[:1]:
            lines: dict[int, Line] = {}
            for layer in layers:
                size = directions.direction(emotion, layer, controls.kind).norm if alpha else None
                lines[layer] = line(directions, layer, controls.units(control, layer, n, emotion, seed), size)
            sets.append(pushes_along(lines, layout.doses, layout.action, clean=True))
        pushes.append(joined(sets))

    def outcomes(at: Sequence[Pushes]) -> dict[str, FloatArray]:
        found = slot_outcomes(lm, slots, at, where=layout.where, batch_tokens=batch_tokens, on_variants=on_variants)
        # The mean over contexts: (layers, variants, classes).
        return {"odds": np.stack([part.mean(axis=1) for part in found])}

    if parts is None:
        odds = outcomes(pushes)["odds"]
    else:
        named = zip(layout.layers, pushes, strict=True)
        odds = np.concatenate([parts.kept(f"{control}-{n}", partial(outcomes, [at]))["odds"] for n, at in named])
    # (layers, sets, controls, doses, classes): the change from the clean run.
    odds = odds.reshape(
        len(pushes), len(layout.emotions) if apart else 1, -1, len(layout.doses) + 1, len(slots.classes)
    )
    changes = odds[:, :, :, 1:] - odds[:, :, :, :1]
    per_emotion = [changes[:, i if apart else 0, :, :, c] for i, c in enumerate(own)]
    return Bands(control, np.stack(per_emotion, axis=1).transpose(0, 1, 3, 2))


def with_bands(result: SweepResult, bands: Bands, measures: Sequence[Measure]) -> list[Measure]:
    """The measures with chance, null and p of the word-set outcome taken from the controls.

    p is one-sided: a positive dose should raise the emotion's own log-odds, a negative one or an ablation lower them.
    Where a control overflows there is no null, and where the emotion's own cell does there is no p: both are NaN.
    """
    layout = result.layout
    null = {
        (layer, emotion, layout.words(result.kind, result.unit, dose)): (dose, bands.changes[i, j, k])
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
        if not np.isfinite(changes).all():
            found.append(row._replace(chance=np.nan, null_low=np.nan, null_high=np.nan, p=np.nan))
            continue
        low, high = np.quantile(changes, [0.025, 0.975])
        side: Literal["greater", "less"] = "greater" if layout.raises(dose) else "less"
        found.append(
            row._replace(
                chance=float(changes.mean()),
                null_low=float(low),
                null_high=float(high),
                p=exceedance_p(row.value, changes, side) if np.isfinite(row.value) else np.nan,
            )
        )
    return found
