"""Project any text on emotions' directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from emotion_circuits.directions import DirectionSet, check_position, extract, project
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.prompts import Dataset, Text


class Score(NamedTuple):
    """One text's scores: emotion → ⟨h − μ_generic, v̂⟩ / s; higher is more. NaN where a text lacks the position, as one
    of punctuation only lacks `mean`."""

    scores: dict[str, float]
    layers: dict[str, int]
    position: str


def score_texts(
    lm: LoadedModel,
    directions: DirectionSet,
    texts: Sequence[str],
    *,
    layer: int | None = None,
    kind: str = "specific",
) -> list[Score]:
    """Scores of texts, in units of the layer's median residual norm above generic text.

    Args:
        lm: the model that the directions were made from.
        directions: at the position that is read.
        texts: any texts.
        layer: for all emotions; None takes each emotion's chosen layer.
        kind: which directions.

    Raises:
        InputError: directions of another model, a layer that is not there, a position that plain texts lack.
    """
    directions.check_model(lm)
    position = check_position(directions.position)
    if position == "emotion_token":
        raise InputError(
            "Plain texts have no emotion_token.", next_step="use directions made at mean, sentence-end or last-content"
        )
    if kind not in directions.vectors:
        raise InputError(f"No directions of kind {kind!r}.", accepted=", ".join(directions.vectors))
    layers = {emotion: directions.layer_of(emotion, layer) for emotion in directions.emotions}
    if not texts:
        return []
    if not texts:
        return []
    # Class and scenario play no part in a projection.
    data = Dataset("texts", tuple(Text(t, "neutral", str(i), "test") for i, t in enumerate(texts)))
    found = extract(lm, data, positions=[position])
    if np.isnan(found.values[position]).all():  # as for a single such text among others
        return [Score(dict.fromkeys(directions.emotions, np.nan), layers, position) for _ in texts]
    columns = {e: project(found, directions, e, kind, layers[e] + 1) for e in directions.emotions}
    return [
        Score({emotion: float(values[i]) for emotion, values in columns.items()}, layers, position)
        for i in range(len(texts))
    ]
