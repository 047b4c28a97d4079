"""All directions of one model at one position: every layer, emotion and kind, with what doses and scores need."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from emotion_circuits._files import read_tensors, write_tensors
from emotion_circuits._row_tables import Shown, Table, layer_name, row_table
from emotion_circuits.directions._activations import Activations
from emotion_circuits.directions._cleaning import DEFAULT_SHARE, RESCALINGS, Cleaning, clean_layers
from emotion_circuits.directions._direction import Direction, Provenance
from emotion_circuits.directions._estimators import ESTIMATORS
from emotion_circuits.directions._generic import GenericStatistics
from emotion_circuits.directions._positions import check_position
from emotion_circuits.directions._source import Source
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.statistics import EMBED_LAYER

SCHEMA = "directions-1"
KINDS = ("matched", "specific", "probe")
"""Kinds that are fitted at every position."""
DETECTOR = "detector"
"""A probe that was fitted on utterances too: to find an emotion in any text, not to say where it stands."""
PROBES = ("probe", DETECTOR)
FloatArray = NDArray[np.float32]


def default_kinds(position: str) -> tuple[str, ...]:
    """What is fitted at a position unless other kinds are asked for: all at `mean`, `KINDS` elsewhere."""
    return (*ESTIMATORS, DETECTOR) if check_position(position) == "mean" else KINDS


@dataclass(frozen=True, eq=False)
class DirectionSet(Shown):
    """Directions of one model at one position.

    Attributes:
        source: model and how it was run.
        position: where the texts were read.
        data_hash: of the texts they were made from.
        vectors: kind → emotion → (layers + 1, d) raw vectors; row 0 is `embed`, row k + 1 layer k.
        generic: mean and norm on generic text.
        chosen_layer: emotion → the layer chosen on development scenarios; empty before a choice was made.
        detectors: emotion → the kind and layer that tell it best on development texts (see `choose_detectors`).
        ordinary: kind → emotion → (layers + 1, quantiles) of generic texts' scores, evenly spaced from 0 to 1; empty
            where none were recorded.
        cleaned: what was done before fitting: the share of generic text's variance whose top components were projected
            out, `standardised` or `whitened`.
    """

    source: Source
    position: str
    data_hash: str
    vectors: Mapping[str, Mapping[str, FloatArray]]
    generic: GenericStatistics
    chosen_layer: Mapping[str, int]
    cleaned: Cleaning
    detectors: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    ordinary: Mapping[str, Mapping[str, FloatArray]] = field(default_factory=dict)

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.generic.norm) - 1

    @property
    def emotions(self) -> tuple[str, ...]:
        """Emotions that have directions."""
        return tuple(next(iter(self.vectors.values())))

    def detector_of(self, emotion: str) -> tuple[str, int]:
        """The kind and layer that tell an emotion best; the specific direction at its chosen layer before a choice was
        made.

        Raises:
            InputError: no layer was chosen either.
        """
        return self.detectors[emotion] if emotion in self.detectors else ("specific", self.layer_of(emotion, None))

    def percentiles(
        self, emotion: str, kind: str, layer: int, scores: NDArray[np.float64]
    ) -> NDArray[np.float64] | None:
        """Per cent of generic texts that score lower than each of (n,) scores, NaN for NaN; None where none were
        recorded."""
        if emotion not in self.ordinary.get(kind, {}):
            return None
        quantiles = self.ordinary[kind][emotion][layer + 1]
        found = np.interp(scores, quantiles, np.linspace(0, 100, len(quantiles)))
        return np.where(np.isfinite(scores), found, np.nan)

    def ordinary_score(self, emotion: str, kind: str, layer: int, share: float) -> float | None:
        """What a share of generic texts scores less than; None where none were recorded."""
        quantiles = self.ordinary.get(kind, {}).get(emotion)
        return None if quantiles is None else float(np.quantile(quantiles[layer + 1], share))

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

    def table(self) -> Table:
        """The layers chosen, and what most generic texts score along what reads each emotion best."""
        rows: list[dict[str, object]] = []
        for emotion in self.emotions:
            row: dict[str, object] = {"emotion": emotion, "layer": None, "read best by": None, "95 % below": None}
            if emotion in self.chosen_layer:
                reader, at = self.detector_of(emotion)
                row["layer"], row["read best by"] = self.chosen_layer[emotion], f"{reader} at {layer_name(at)}"
                row["95 % below"] = self.ordinary_score(emotion, reader, at, 0.95)
            rows.append(row)
        heads = {"95 % below": "95 % of generic texts score below"}
        notes = ("Layers are chosen on development texts. Whether they beat their floors: `emotion-circuits quality`.",)
        title = f"Directions of {self.source.model} at {self.position}: {', '.join(self.vectors)}"
        return row_table(rows, title=title, notes=notes, heads=heads)

    def direction(self, emotion: str, layer: int | None = None, kind: str = "specific") -> Direction:
        """One direction.

        Args:
            emotion: which emotion.
            layer: block index, -1 for `embed`; None for the layer chosen on development scenarios.
            kind: `specific`, `matched`, `probe`, `pca` or `lda`.

        Raises:
            InputError: an emotion, kind or layer that is not there.
        """
        if kind not in self.vectors:
            raise InputError(
                f"No directions of kind {kind!r}.",
                accepted=", ".join(self.vectors),
                next_step=f"fit them: emotion-circuits vectors --kinds {kind}" if kind in ESTIMATORS else None,
            )
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
                estimator=method_of(kind),
                kind=kind,
                emotion=emotion,
                data_hash=self.data_hash,
            ),
        )

    def __getitem__(self, emotion: str) -> Direction:
        """The specific direction of an emotion at its chosen layer (see `direction`)."""
        return self.direction(emotion)

    def __iter__(self) -> Iterator[str]:
        return iter(self.emotions)

    def __len__(self) -> int:
        return len(self.emotions)

    def keys(self) -> tuple[str, ...]:
        """The emotions, so that `dict(directions)` works."""
        return self.emotions

    @cached_property
    def hash(self) -> str:
        """16 hex digits that change with any number in the set."""
        digest = hashlib.sha256(json.dumps(self.header(), sort_keys=True).encode())
        for name, values in sorted(self.tensors().items()):
            digest.update(name.encode() + np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()[:16]

    def tensors(self) -> dict[str, FloatArray]:
        """For saving."""
        own = {f"{kind}.{emotion}": v for kind, found in self.vectors.items() for emotion, v in found.items()}
        own |= {f"ordinary.{kind}.{e}": v for kind, found in self.ordinary.items() for e, v in found.items()}
        return own | {f"generic.{name}": value for name, value in self.generic.tensors().items()}

    def header(self) -> dict[str, str]:
        """For saving, beside the tensors."""
        return {
            "schema": SCHEMA,
            "source": self.source.model_dump_json(),
            "position": self.position,
            "data_hash": self.data_hash,
            "cleaned": str(self.cleaned),
            "n_generic": str(self.generic.n_texts),
            "chosen_layer": json.dumps(dict(self.chosen_layer), sort_keys=True),
            "detectors": json.dumps(dict(self.detectors), sort_keys=True),
        }

    def with_layers(self, chosen: Mapping[str, int]) -> DirectionSet:
        """The same set with these layers as the chosen ones; detectors, chosen with others, are forgotten."""
        return replace(self, chosen_layer=dict(chosen), detectors={})

    def check_model(self, lm: LoadedModel) -> None:
        """Raise `InputError` unless these directions were made from this model, run in the same way."""
        if (self.source.model, self.source.revision) != (str(lm.name), lm.revision):
            raise InputError(
                "These directions belong to another model.",
                found=f"{self.source.model} ({self.source.revision})",
                accepted=f"{lm.name} ({lm.revision})",
                next_step=f"emotion-circuits extract --model {lm.name}, then vectors --model {lm.name}",
            )
        if self.source.bos != lm.bos:
            raise InputError(
                "These directions were made with another BOS setting.",
                found=f"BOS {'on' if self.source.bos else 'off'}",
                next_step="load the model with the same one",
            )


def method_of(kind: str) -> str:
    """How directions of a kind are found, in words."""
    if kind == DETECTOR:
        return f"{ESTIMATORS['probe'].method}, on utterances too"
    return ESTIMATORS[kind].method if kind in ESTIMATORS else "mean difference"


def fit_directions(
    activations: Activations,
    position: str,
    generic: GenericStatistics,
    kinds: Sequence[str] = KINDS,
    share: Cleaning = DEFAULT_SHARE,
) -> DirectionSet:
    """Fit every kind of direction at every layer, on cleaned activations (see `cleaned_values`).

    Args:
        activations: of a data set with neutral text beside every emotion's.
        position: where texts are read.
        generic: of the same model.
        kinds: which kinds.
        share: of generic text's variance to project out, 0 for none; or a rescaling instead, `standardised` or
            `whitened`.

    Raises:
        InputError: an unknown kind, or scenarios without neutral text.
    """
    unknown = [kind for kind in kinds if kind not in ESTIMATORS]
    if unknown:
        raise InputError(f"Unknown kind of direction {unknown[0]!r}.", accepted=", ".join(ESTIMATORS))
    position = check_position(position)
    activations.data.require_twins("A direction")
    layers = clean_layers(activations, position, generic, share)
    vectors: dict[str, dict[str, FloatArray]] = {}
    for kind in kinds:
        fitted = [ESTIMATORS[kind]().fit(layer.values, activations.labels, activations.scenarios) for layer in layers]
        stacked = {
            emotion: np.stack([layer.back(f.directions_[emotion]) for layer, f in zip(layers, fitted, strict=True)])
            for emotion in fitted[0].directions_
        }
        vectors[kind] = {emotion: v.astype(np.float32) for emotion, v in stacked.items()}
    return DirectionSet(activations.source, position, activations.data.hash, vectors, generic, {}, share)


def save_directions(directions: DirectionSet, path: Path) -> None:
    """Write one safetensors file with its metadata."""
    write_tensors(path, directions.tensors(), directions.header())


def load_directions(path: Path) -> DirectionSet:
    """Read what `save_directions` wrote.

    Raises:
        InputError: missing, corrupted, of another schema.
    """
    tensors, header = read_tensors(path, SCHEMA)
    try:
        parts = {
            name.removeprefix("generic."): tensors.pop(name) for name in list(tensors) if name.startswith("generic.")
        }
        generic = GenericStatistics.from_tensors(parts, int(header["n_generic"]))
        ordinary: dict[str, dict[str, FloatArray]] = {}
        for name in [name for name in tensors if name.startswith("ordinary.")]:
            _, kind, emotion = name.split(".", 2)
            ordinary.setdefault(kind, {})[emotion] = tensors.pop(name)
        vectors: dict[str, dict[str, FloatArray]] = {}
        for name in sorted(tensors):
            kind, emotion = name.split(".", 1)
            vectors.setdefault(kind, {})[emotion] = tensors[name]
        chosen = {k: int(v) for k, v in json.loads(header["chosen_layer"]).items()}
        if not vectors or len({tuple(found) for found in vectors.values()}) > 1:
            raise ValueError("no directions, or not the same emotions for every kind")
        if any(v.shape != generic.mean.shape for found in vectors.values() for v in found.values()):
            raise ValueError("directions of another shape than generic text")
        if not all(-1 <= layer < len(generic.mean) - 1 for layer in chosen.values()):
            raise ValueError("a chosen layer that is not there")
        detectors = {e: (str(kind), int(at)) for e, (kind, at) in json.loads(header.get("detectors", "{}")).items()}
        if not all(kind in vectors and -1 <= at < len(generic.mean) - 1 for kind, at in detectors.values()):
            raise ValueError("a detector that is not there")
        if any(v.ndim != 2 or len(v) != len(generic.mean) for found in ordinary.values() for v in found.values()):
            raise ValueError("scores of generic texts at other layers")
        return DirectionSet(
            Source.model_validate_json(header["source"]),
            check_position(header["position"]),
            header["data_hash"],
            vectors,
            generic,
            chosen,
            _read_cleaned(header["cleaned"]),
            detectors,
            ordinary,
        )
    except (AttributeError, KeyError, TypeError, ValueError, ValidationError) as error:
        raise InputError(f"{path} lacks what a directions file holds.", found=error) from error


def _read_cleaned(text: str) -> Cleaning:
    for name in RESCALINGS:
        if text == name:
            return name
    return float(text)
