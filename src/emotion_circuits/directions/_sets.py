"""All directions of one model at one position: every layer, emotion and kind, with what doses and scores need."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from emotion_circuits._files import read_tensors, write_tensors
from emotion_circuits.directions._activations import Activations, Source
from emotion_circuits.directions._direction import Direction, Provenance
from emotion_circuits.directions._estimators import ESTIMATORS
from emotion_circuits.engine import Point, record
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.statistics import EMBED_LAYER

SCHEMA = "directions-1"
KINDS = tuple(ESTIMATORS)
TOKENS_PER_TEXT = 8
FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class GenericStatistics:
    """What the residual stream is like on ordinary text, position 0 left out.

    Attributes:
        mean: (layers + 1, d).
        norm: (layers + 1,) median norm; a dose of 1 adds a vector of that length.
        n_texts: how many texts.
    """

    mean: FloatArray
    norm: FloatArray
    n_texts: int


def generic_statistics(lm: LoadedModel, texts: Sequence[str]) -> GenericStatistics:
    """Mean and median norm of every layer over up to eight evenly spaced tokens of each text."""
    encoded = [e for e in lm.encode(texts) if len(e) > 1]
    if not encoded:
        raise InputError("Generic texts of at least two tokens are needed.", found=f"{len(texts)} texts")
    places = [np.unique(np.linspace(1, len(e) - 1, TOKENS_PER_TEXT).round().astype(int)).tolist() for e in encoded]
    positions = {str(k): [[p[k]] if k < len(p) else [] for p in places] for k in range(TOKENS_PER_TEXT)}
    points = [Point("embed", 0), *(Point("resid_post", layer) for layer in range(lm.n_layers))]
    recording = record(lm, [e.ids for e in encoded], positions, points)
    mean, norm = [], []
    for point in points:
        tokens = recording.values[point].float().numpy().reshape(-1, lm.d_model)
        tokens = tokens[np.isfinite(tokens).all(axis=1)]
        mean.append(tokens.mean(axis=0, dtype=np.float64))
        norm.append(np.median(np.linalg.norm(tokens, axis=1)))
    return GenericStatistics(np.asarray(mean, np.float32), np.asarray(norm, np.float32), len(encoded))


@dataclass(frozen=True, eq=False)
class DirectionSet:
    """Directions of one model at one position.

    Attributes:
        source: model and how it was run.
        position: where the texts were read.
        data_hash: of the texts they were made from.
        vectors: kind → emotion → (layers + 1, d) raw vectors; row 0 is `embed`, row k + 1 layer k.
        generic: mean and norm on generic text.
        chosen_layer: emotion → the layer chosen on development scenarios; empty before a choice was made.
    """

    source: Source
    position: str
    data_hash: str
    vectors: Mapping[str, Mapping[str, FloatArray]]
    generic: GenericStatistics
    chosen_layer: Mapping[str, int]

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.generic.norm) - 1

    @property
    def emotions(self) -> tuple[str, ...]:
        """Emotions that have directions."""
        return tuple(next(iter(self.vectors.values())))

    def layer_of(self, emotion: str, layer: int | None) -> int:
        """The layer asked for, or the chosen one.

        Raises:
            InputError: no such layer; none asked for and none chosen.
        """
        if layer is None:
            if emotion not in self.chosen_layer:
                raise InputError(
                    f"No layer was chosen for {emotion} yet.", next_step="give --layer, or run the whole study first"
                )
            return self.chosen_layer[emotion]
        if not EMBED_LAYER <= layer < self.n_layers:
            raise InputError(
                f"{self.source.model} has no layer {layer}.", accepted=f"0 to {self.n_layers - 1}, or -1 for embed"
            )
        return layer

    def direction(self, emotion: str, layer: int | None = None, kind: str = "specific") -> Direction:
        """One direction.

        Args:
            emotion: which emotion.
            layer: block index, -1 for `embed`; None for the layer chosen on development scenarios.
            kind: `specific`, `matched` or `probe`.

        Raises:
            InputError: an emotion, kind or layer that is not there.
        """
        if kind not in self.vectors:
            raise InputError(f"No directions of kind {kind!r}.", accepted=", ".join(self.vectors))
        if emotion not in self.vectors[kind]:
            raise InputError(f"No direction for {emotion!r}.", accepted=", ".join(self.emotions))
        at = self.layer_of(emotion, layer)
        return Direction.from_vector(
            self.vectors[kind][emotion][at + 1],
            Provenance(
                model=self.source.model,
                revision=self.source.revision,
                site="embed" if at == EMBED_LAYER else self.source.site,
                layer=at,
                position=self.position,
                bos=self.source.bos,
                estimator="logistic regression" if kind == "probe" else "mean difference",
                kind=kind,
                emotion=emotion,
                data_hash=self.data_hash,
            ),
        )

    def with_layers(self, chosen: Mapping[str, int]) -> DirectionSet:
        """The same set with the chosen layers filled in."""
        return replace(self, chosen_layer=dict(chosen))

    def check_model(self, lm: LoadedModel) -> None:
        """Raise `InputError` unless these directions were made from this model, run in the same way."""
        if (self.source.model, self.source.revision) != (str(lm.name), lm.revision):
            raise InputError(
                "These directions belong to another model.",
                found=f"{self.source.model} ({self.source.revision})",
                accepted=f"{lm.name} ({lm.revision})",
                next_step=f"emotion-circuits vectors --model {lm.name}",
            )
        if self.source.bos != lm.bos:
            raise InputError(
                "These directions were made with another BOS setting.",
                found=f"BOS {'on' if self.source.bos else 'off'}",
                next_step="load the model with the same one",
            )


def fit_directions(
    activations: Activations, position: str, generic: GenericStatistics, kinds: Sequence[str] = KINDS
) -> DirectionSet:
    """Fit every kind of direction at every layer.

    In models whose norms subtract the mean, the all-ones component, which they cannot see, is removed.

    Raises:
        InputError: an unknown kind, or scenarios without every class.
    """
    unknown = [kind for kind in kinds if kind not in ESTIMATORS]
    if unknown:
        raise InputError(f"Unknown kind of direction {unknown[0]!r}.", accepted=", ".join(ESTIMATORS))
    activations.data.require_matched("A direction")
    values = activations.at(position)
    vectors: dict[str, dict[str, FloatArray]] = {}
    for kind in kinds:
        per_layer = [
            ESTIMATORS[kind]().fit(layer, activations.labels, activations.scenarios).directions_ for layer in values
        ]
        stacked = {emotion: np.stack([found[emotion] for found in per_layer]) for emotion in per_layer[0]}
        if activations.source.centred_norm:
            stacked = {emotion: v - v.mean(axis=1, keepdims=True) for emotion, v in stacked.items()}
        vectors[kind] = {emotion: v.astype(np.float32) for emotion, v in stacked.items()}
    return DirectionSet(activations.source, position, activations.data.hash, vectors, generic, {})


def save_directions(directions: DirectionSet, path: Path) -> None:
    """Write one safetensors file with its metadata."""
    tensors = {f"{kind}.{emotion}": v for kind, found in directions.vectors.items() for emotion, v in found.items()}
    tensors |= {"generic.mean": directions.generic.mean, "generic.norm": directions.generic.norm}
    header = {
        "schema": SCHEMA,
        "source": directions.source.model_dump_json(),
        "position": directions.position,
        "data_hash": directions.data_hash,
        "n_generic": str(directions.generic.n_texts),
        "chosen_layer": json.dumps(dict(directions.chosen_layer), sort_keys=True),
    }
    write_tensors(path, tensors, header)


def load_directions(path: Path) -> DirectionSet:
    """Read what `save_directions` wrote.

    Raises:
        InputError: missing, corrupted, of another schema.
    """
    tensors, header = read_tensors(path, SCHEMA)
    try:
        generic = GenericStatistics(tensors.pop("generic.mean"), tensors.pop("generic.norm"), int(header["n_generic"]))
        vectors: dict[str, dict[str, FloatArray]] = {}
        for name in sorted(tensors):
            kind, emotion = name.split(".", 1)
            vectors.setdefault(kind, {})[emotion] = tensors[name]
        return DirectionSet(
            Source.model_validate_json(header["source"]),
            header["position"],
            header["data_hash"],
            vectors,
            generic,
            {k: int(v) for k, v in json.loads(header["chosen_layer"]).items()},
        )
    except (KeyError, ValueError, ValidationError) as error:
        raise InputError(f"{path} lacks what a directions file holds.", found=error) from error
