"""Project any text on emotions' directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from emotion_circuits.directions import DirectionSet, check_position, extract, project
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.prompts import Dataset, Text

BEST = "best"


class Score(NamedTuple):
    """One text's scores: emotion → ⟨h − μ_generic, v̂⟩ / s; higher is more. NaN where a text lacks the position, as one
    of punctuation only lacks `mean`.

    Attributes:
        scores: emotion → score.
        percentiles: emotion → per cent of generic texts that score lower; of emotions for which these were recorded.
        layers, kinds: emotion → of the direction.
        position: where the text was read.
    """

    scores: dict[str, float]
    percentiles: dict[str, float]
    layers: dict[str, int]
    kinds: dict[str, str]
    position: str


def score_texts(
    lm: LoadedModel,
    directions: DirectionSet,
    texts: Sequence[str],
    *,
    layer: int | None = None,
    kind: str = BEST,
) -> list[Score]:
    """Scores of texts, above generic text, in the layer's unit (`GenericStatistics.unit`).

    Args:
        lm: the model that the directions were made from.
        directions: at the position that is read.
        texts: any texts.
        layer: for all emotions; None takes each emotion's chosen layer.
        kind: which directions; `best` takes for each emotion what told it best on development texts, kind and layer
            (`DirectionSet.detectors`), and of a layer that is given the specific directions.

    Raises:
        InputError: directions of another model, a layer that is not there, a position that plain texts lack.
    """
    directions.check_model(lm)
    position = check_position(directions.position)
    if position == "emotion_token":
        raise InputError(
            "Plain texts have no emotion_token.", next_step="use directions made at mean, sentence-end or last-content"
        )
    if kind not in (BEST, *directions.vectors):
        raise InputError(f"No directions of kind {kind!r}.", accepted=", ".join((BEST, *directions.vectors)))
    used = {emotion: along(directions, emotion, layer, kind) for emotion in directions.emotions}
    kinds = {emotion: name for emotion, (name, _) in used.items()}
    layers = {emotion: at for emotion, (_, at) in used.items()}
    if not texts:
        return []
    # Class and scenario play no part in a projection.
    data = Dataset("texts", tuple(Text(t, "neutral", str(i), "test") for i, t in enumerate(texts)))
    found = extract(lm, data, positions=[position])
    lacking = bool(np.isnan(found.values[position]).all())  # as a single such text among others has NaN
    columns = {
        e: np.full(len(texts), np.nan) if lacking else project(found, directions, e, kinds[e], layers[e] + 1)
        for e in directions.emotions
    }
    ranks = {e: directions.percentiles(e, kinds[e], layers[e], values) for e, values in columns.items()}
    return [
        Score(
            {e: float(values[i]) for e, values in columns.items()},
            {e: float(values[i]) for e, values in ranks.items() if values is not None},
            layers,
            kinds,
            position,
        )
        for i in range(len(texts))
    ]


def along(directions: DirectionSet, emotion: str, layer: int | None, kind: str) -> tuple[str, int]:
    """The kind and layer of the direction that an emotion is scored along.

    Raises:
        InputError: a layer that is not there, or none given and none chosen.
    """
    if kind == BEST and layer is None:
        return directions.detector_of(emotion)
    return "specific" if kind == BEST else kind, directions.layer_of(emotion, layer)
