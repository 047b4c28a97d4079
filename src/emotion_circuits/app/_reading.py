"""A text token by token along an emotion's direction, each score beside where generic tokens lie."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.app._bench import POSITION, Workbench, chance_bands, scores_along
from emotion_circuits.app._writing import check_prompt
from emotion_circuits.directions import DirectionSet
from emotion_circuits.engine import EMBED, plan_batches, point_of, record_tokens
from emotion_circuits.report import Axis, Band, Chart, Panel, Series, inline_image, looks_of
from emotion_circuits.scoring import score_texts

FloatArray = NDArray[np.float64]


class Reading(NamedTuple):
    """A text's tokens along one emotion's direction.

    Attributes:
        model, text, emotion: what was read.
        kind, layer: of the direction.
        pieces: the text that each token stands for; "" for tokens inside a character, and for BOS.
        profile: (layers + 1, tokens) scores at every layer, `embed` first. The first token has none (NaN): its state
            is of another size in most models.
        bands: (layers + 1, 2) between which 95 % of generic tokens lie.
        score, percentile: of the whole text, as the command `score` gives them.
        usual: what 95 % of generic texts score below.
    """

    model: str
    text: str
    emotion: str
    kind: str
    layer: int
    pieces: tuple[str, ...]
    profile: FloatArray
    bands: FloatArray
    score: float
    percentile: float
    usual: float

    @property
    def scores(self) -> FloatArray:
        """(tokens,) at the layer."""
        found: FloatArray = self.profile[self.layer + 1]
        return found

    @property
    def band(self) -> tuple[float, float]:
        """Where 95 % of generic tokens lie at the layer."""
        low, high = self.bands[self.layer + 1]
        return float(low), float(high)


def read_text(bench: Workbench, directions: DirectionSet, text: str, emotion: str, layer: int | None = None) -> Reading:
    """Read a text.

    Args:
        bench: the model.
        directions: its own, or those with an emotion of the user's.
        text: what to read.
        emotion: along whose direction.
        layer: None for the kind and layer that find the emotion best.

    Raises:
        InputError: an empty or too long text, an emotion or layer that is not there.
    """
    check_prompt(text, "The text")
    directions.direction(emotion, 0)  # refuses an emotion that is not there
    lm = bench.lm
    [encoded] = lm.encode([text])
    with bench.lock:
        [found] = score_texts(lm, directions, [text], layer=layer)
        [batch] = plan_batches([encoded.ids], packed=False)
        points = [point_of(at) for at in range(EMBED, lm.n_layers)]
        states = record_tokens(lm, batch, points)
    kind, at = found.kinds[emotion], found.layers[emotion]
    rows = [
        scores_along(states[point][0].float().cpu().numpy(), directions, emotion, kind, row)
        for row, point in enumerate(points)
    ]
    profile = np.stack(rows)
    profile[:, 0] = np.nan
    usual, percentile = _usual(bench, directions, emotion, kind, at, found.scores[emotion])
    return Reading(
        str(lm.name), text, emotion, kind, at, _pieces(text, encoded.offsets, encoded.bos_length), profile,
        chance_bands(bench, directions, emotion, kind), found.scores[emotion],
        found.percentiles.get(emotion, percentile), usual,
    )  # fmt: skip


def _usual(
    bench: Workbench, directions: DirectionSet, emotion: str, kind: str, layer: int, score: float
) -> tuple[float, float]:
    """What 95 % of generic texts score below, and the per cent of them that score below the text; NaN for directions of
    another position than generic texts were recorded at."""
    if directions.position != POSITION:
        return np.nan, np.nan
    known = directions.ordinary_score(emotion, kind, layer, 0.95)
    scores = scores_along(bench.chance.texts[layer + 1], directions, emotion, kind, layer + 1)
    usual = float(np.nanquantile(scores, 0.95)) if known is None else known
    return usual, 100 * float((scores < score).mean()) if np.isfinite(score) else np.nan


def _pieces(text: str, offsets: tuple[tuple[int, int], ...], bos: int) -> tuple[str, ...]:
    """Every character once: a token's piece reaches from the end of what was before it to its own."""
    pieces, done = [""] * bos, 0
    for _, end in offsets[bos:]:
        pieces.append(text[done:end])
        done = max(done, end)
    if done < len(text) and pieces:
        pieces[-1] += text[done:]
    return tuple(pieces)


def profile_image(reading: Reading, place: int, bench: Workbench) -> str:
    """An `img` of a token's score at every layer, beside the chance band."""
    looks = looks_of(bench.bank, [reading.emotion])
    layers = tuple(float(row - 1) for row in range(len(reading.profile)))
    own = tuple(map(float, reading.profile[:, place]))
    low, high = (tuple(map(float, column)) for column in reading.bands.T)
    kept = [v for v in (*own, *low, *high, 0.0) if np.isfinite(v)]
    room = 0.08 * (max(kept) - min(kept) or 1.0)
    series = Series(looks.label(reading.emotion), layers, own, colour=looks.role(reading.emotion),
                    hover=tuple(f"layer {at:g}: {v:.2f}" for at, v in zip(layers, own, strict=True)))  # fmt: skip
    step = max(1, len(layers) // 12)
    ticks = tuple((at, "embed" if at < 0 else f"{at:g}") for at in layers[::step])
    panel = Panel(
        "", Axis("layer", layers[0], layers[-1], ticks=ticks),
        Axis("score, spreads", min(kept) - room, max(kept) + room), (series,), (Band(layers, low, high),),
    )  # fmt: skip
    word = reading.pieces[place].strip() or "this token"
    return inline_image(
        Chart(((panel,),), row_height=2.2, gutter=0.3), f"{reading.emotion} at “{word}” by layer", looks
    )
