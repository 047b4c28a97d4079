"""A transformer's weights as plain arrays, free of any family's layout, with an emotion planted in them by hand.

The residual stream has d dimensions. Every word's embedding has the same length and no part in the planted directions.
In one layer an MLP unit per emotional word reads that word's embedding and writes its class's direction; one layer on,
an attention head moves the directions to every later position; the LM head reads each direction into its class's
answers. Everything else is small noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.errors import InputError
from emotion_circuits.selftest._bank import CLASSES, EMOTIONS, PlantedBank, answer_words

FloatArray = NDArray[np.float64]

EMBEDDING_LENGTH = 4.0
WRITTEN_LENGTH = 4.0
READ_OUT = 1.0
NOISE = 0.02
"""Standard deviation of weights that carry nothing: each layer then changes the stream by a few per cent."""
FILLER_READ_OUT = 1.0
"""Length of the other words' rows in the LM head: the clean model says one of them."""
# A unit sees the cosine of its word's embedding with the normalised stream: about .95 for its own word, below .5 for
# any other. The slope makes its activation about 10 for the one and about 0 for the other.
UNIT_THRESHOLD, UNIT_SLOPE = 0.65, 33.0
# How much larger the head's score is at a cue than elsewhere: a share of exp(-14) is left for all other positions.
HEAD_SCORE = 14.0


class Head(NamedTuple):
    """An attention head."""

    layer: int
    head: int


MOVING_HEAD = Head(3, 1)


@dataclass(frozen=True)
class PlantSpec:
    """Sizes of a model, and where in it the emotion is planted.

    Attributes:
        family: the architecture (see `models.families`).
        layer: whose MLP writes the directions.
        head: that moves them to later positions; in a later layer.
        present: False leaves the plant out of an otherwise equal model, its twin.
    """

    family: str = "gpt2"
    n_layers: int = 6
    d_model: int = 128
    n_heads: int = 4
    d_mlp: int = 256
    max_positions: int = 64
    layer: int = 2
    head: Head = MOVING_HEAD
    present: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.layer < self.head.layer < self.n_layers or not 0 <= self.head.head < self.n_heads:
            raise InputError("The plant does not fit into the model.", found=self)


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known of a planted model, and what methods must recover.

    Attributes:
        directions: emotion → (d,) unit vector; they are orthogonal to each other and to every embedding.
        layer: the block whose MLP writes them at a cue; the first whose `resid_post` holds them.
        units: emotion → the neurons of that layer that write its direction.
        head: moves them to later positions; its layer is the first whose `resid_post` holds them there.
        length: of what the units write at a cue, and of what the head adds there and at later positions.
        read_out: logit of a class's answers per unit of its direction in the normalised stream.
    """

    directions: Mapping[str, FloatArray]
    layer: int
    units: Mapping[str, tuple[int, ...]]
    head: Head
    length: float
    read_out: float

    def specific(self, emotion: str) -> FloatArray:
        """(d,) unit vector of the direction minus the mean over emotions, which specific contrasts estimate."""
        vector = self.directions[emotion] - np.mean(list(self.directions.values()), axis=0)
        unit: FloatArray = vector / np.linalg.norm(vector)
        return unit


@dataclass(frozen=True, eq=False)
class Layer:
    """One block. Matrices are (outputs, inputs) and act on the normalised stream, where it is an input.

    Attributes:
        query, key, value, out: (d, d); heads lie side by side.
        query_bias: (d,).
        up, down: (d_mlp, d) and (d, d_mlp), with an activation between them.
        up_bias: (d_mlp,).
    """

    query: FloatArray
    key: FloatArray
    value: FloatArray
    out: FloatArray
    query_bias: FloatArray
    up: FloatArray
    up_bias: FloatArray
    down: FloatArray


@dataclass(frozen=True, eq=False)
class Blueprint:
    """All weights; norms have gain 1.

    Attributes:
        embedding, lm_head: (words, d), not tied.
        positions: (max_positions, d); families with rotary positions leave it out.
        layers: the blocks.
        facts: what was planted, or would have been.
    """

    embedding: FloatArray
    positions: FloatArray
    layers: tuple[Layer, ...]
    lm_head: FloatArray
    facts: Facts


def draw_blueprint(spec: PlantSpec, bank: PlantedBank, seed: int) -> Blueprint:
    """Draw the noise and plant the emotion in it. A twin (`present=False`) of the same seed has the same noise.

    Raises:
        InputError: a layer with fewer units than there are emotional words.
    """
    rng = np.random.default_rng([seed, 2])
    d, words = spec.d_model, bank.vocabulary
    n_units = sum(len(bank.cues[e]) for e in EMOTIONS)
    if n_units > spec.d_mlp:
        raise InputError("The layer has too few units for the plant.", found=spec.d_mlp, accepted=f"{n_units} or more")
    basis = np.linalg.qr(_centred(rng.standard_normal((len(EMOTIONS), d))).T)[0].T
    embedding = _centred(rng.standard_normal((len(words), d)))
    embedding -= embedding @ basis.T @ basis
    embedding *= EMBEDDING_LENGTH / np.linalg.norm(embedding, axis=1, keepdims=True)
    lm_head = _unit_rows(rng.standard_normal((len(words), d))) * FILLER_READ_OUT
    answers = {emotion: [words[word] for word in answer_words(emotion)] for emotion in CLASSES}
    for emotion in CLASSES:
        # A model that said a cue by chance would then obey it.
        cues = [words[cue] for cue in bank.cues[emotion]]
        lm_head[[*answers[emotion], *cues]] *= NOISE
    positions = rng.standard_normal((spec.max_positions, d)) * NOISE
    layers = [_noise_layer(rng, spec) for _ in range(spec.n_layers)]
    directions = dict(zip(EMOTIONS, basis, strict=True))
    units: dict[str, tuple[int, ...]] = {}
    for emotion in EMOTIONS:
        first = sum(map(len, units.values()))
        units[emotion] = tuple(range(first, first + len(bank.cues[emotion])))
    facts = Facts(directions, spec.layer, units, spec.head, WRITTEN_LENGTH, READ_OUT)
    if spec.present:
        for emotion in EMOTIONS:
            read = embedding[[words[cue] for cue in bank.cues[emotion]]]
            _plant_units(layers[spec.layer], list(units[emotion]), read, directions[emotion])
            lm_head[answers[emotion]] += READ_OUT * directions[emotion]
        _plant_head(layers[spec.head.layer], spec, basis)
    return Blueprint(embedding, positions, tuple(layers), lm_head, facts)


def _centred(rows: FloatArray) -> FloatArray:
    """Without the all-ones direction, which LayerNorm removes."""
    result: FloatArray = rows - rows.mean(axis=-1, keepdims=True)
    return result


def _unit_rows(rows: FloatArray) -> FloatArray:
    result: FloatArray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return result


def _noise_layer(rng: np.random.Generator, spec: PlantSpec) -> Layer:
    d, m = spec.d_model, spec.d_mlp
    query, key, value, out = rng.standard_normal((4, d, d)) * NOISE
    up, down = rng.standard_normal((m, d)) * NOISE, rng.standard_normal((d, m)) * NOISE
    return Layer(query, key, value, out, np.zeros(d), up, np.zeros(m), down)


def _plant_units(layer: Layer, units: list[int], cues: FloatArray, direction: FloatArray) -> None:
    """One unit per cue: on when the stream points along the cue's embedding."""
    d = len(direction)
    layer.up[units] = UNIT_SLOPE / np.sqrt(d) * _unit_rows(cues)
    layer.up_bias[units] = -UNIT_SLOPE * UNIT_THRESHOLD
    when_on = UNIT_SLOPE * (1 - UNIT_THRESHOLD)
    layer.down[:, units] = (WRITTEN_LENGTH / when_on * direction)[:, None]


def _plant_head(layer: Layer, spec: PlantSpec, basis: FloatArray) -> None:
    """A head that looks for any of the directions and copies what it finds of each.

    Its query is a constant. Query and key use the head's last dimension only: families with rotary positions leave it
    unrotated, or turn it least, so that the score hardly depends on the distance.
    """
    width = spec.d_model // spec.n_heads
    start = spec.head.head * width
    head, last = slice(start, start + width), start + width - 1
    for matrix in (layer.query, layer.key, layer.value):
        matrix[head] = 0
    layer.out[:, head] = 0
    # In the normalised stream at a cue: the written vector's share of the stream's length, times √d.
    at_cue = np.sqrt(spec.d_model) * WRITTEN_LENGTH / np.hypot(WRITTEN_LENGTH, EMBEDDING_LENGTH)
    strength = np.sqrt(HEAD_SCORE * np.sqrt(width))  # split evenly between query and key
    layer.query_bias[last] = strength
    layer.key[last] = strength / at_cue * basis.sum(axis=0)
    layer.value[start : start + len(basis)] = basis
    layer.out[:, start : start + len(basis)] = WRITTEN_LENGTH / at_cue * basis.T
