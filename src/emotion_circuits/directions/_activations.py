"""Activations of a data set: what `extract` records, saves and loads."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from emotion_circuits._files import read_tensors, write_tensors
from emotion_circuits.directions._generic import GENERIC_FILE, GenericStatistics, load_generic
from emotion_circuits.directions._positions import POSITIONS, SpanPart, check_position, token_positions
from emotion_circuits.directions._source import Source, source_of
from emotion_circuits.engine import DEFAULT_BATCH_TOKENS, Point, record
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.prompts import NEUTRAL, Dataset, Text

SCHEMA = "activations-1"
FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Activations:
    """The residual stream of a data set's texts at each position.

    Attributes:
        source: the model.
        data: the texts, in order.
        values: position → (layers + 1, texts, d); row 0 is `embed`, row k + 1 the `resid_post` of layer k. NaN where a
            text has no such position.
        match_rate: per class, the share of marked spans found in the tokens.
        generic: what the model's stream is like on generic text, where that was recorded too.
    """

    source: Source
    data: Dataset
    values: dict[str, FloatArray]
    match_rate: dict[str, float | None]
    generic: GenericStatistics | None = None

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(next(iter(self.values.values()))) - 1

    @property
    def labels(self) -> NDArray[np.str_]:
        """(texts,) class names."""
        return np.array([t.emotion for t in self.data], dtype=np.str_)

    @property
    def scenarios(self) -> NDArray[np.str_]:
        """(texts,) scenario names."""
        return np.array([t.scenario for t in self.data], dtype=np.str_)

    def at(self, position: str) -> FloatArray:
        """(layers + 1, texts, d) at one position.

        Raises:
            InputError: the position was not recorded, or no text has it.
        """
        name = check_position(position)
        if name not in self.values:
            raise InputError(f"Position {name} was not recorded.", accepted=", ".join(self.values))
        if len(self.data) and np.isnan(self.values[name]).all():
            raise InputError(
                f"No text of {self.data.name} has the position {name}.",
                next_step="mark spans in the texts, or choose another position",
            )
        return self.values[name]

    def with_position(self, position: str) -> Activations:
        """The scenarios that have the position, which those with the same classes have all or none: the pairs of a
        user's own emotion may have no marked word, or not in every text."""
        classes: dict[str, frozenset[str]] = {}
        for t in self.data:
            classes[t.scenario] = classes.get(t.scenario, frozenset()) | {t.emotion}
        missing = np.asarray(np.isnan(self.values[position]).any(axis=(0, 2)))
        lacks = {classes[t.scenario] for t, lost in zip(self.data, missing, strict=True) if lost}
        return self if not lacks else self.only([classes[t.scenario] not in lacks for t in self.data])

    def none(self, name: str) -> Activations:
        """The same model's activations of a data set without texts."""
        empty = self.only([False] * len(self.data))
        return replace(empty, data=Dataset(name, ()))

    def with_texts(self, other: Activations) -> Activations:
        """These texts and those of another recording of the same model, at the positions that both have.

        Raises:
            InputError: another model, or run in another way.
        """
        if other.source != self.source:
            raise InputError(
                "Activations of two models cannot be joined.", found=str(other.source), accepted=str(self.source)
            )
        both = {p: np.concatenate([self.values[p], other.values[p]], axis=1) for p in self.values if p in other.values}
        return replace(self, data=Dataset(self.data.name, (*self.data.texts, *other.data.texts)), values=both)

    def select(self, *, emotion: str | None = None, split: str | None = None) -> Activations:
        """The activations of one class and/or one split."""
        return self.only([(emotion in (None, t.emotion)) and (split in (None, t.split)) for t in self.data])

    def twins(self, emotion: str) -> tuple[Activations, Activations]:
        """An emotion's texts and the neutral texts of the same scenarios, row by row. The neutral texts of all
        scenarios are more where an emotion has scenarios of its own.

        Raises:
            InputError: a scenario of the emotion without one neutral text.
        """
        own = self.select(emotion=emotion)
        place = {t.scenario: i for i, t in enumerate(self.data) if t.emotion == NEUTRAL}
        missing = [t.scenario for t in own.data if t.scenario not in place]
        if missing:
            raise InputError(f"A scenario of {emotion} has no neutral text.", found=missing[0])
        order = [place[t.scenario] for t in own.data]
        texts = tuple(self.data.texts[i] for i in order)
        neutral = replace(
            self, data=Dataset(self.data.name, texts), values={p: v[:, order] for p, v in self.values.items()}
        )
        return own, neutral

    def only(self, wanted: Sequence[bool] | NDArray[np.bool_]) -> Activations:
        """The texts that are wanted, (texts,)."""
        keep = np.array(wanted, dtype=bool)
        texts = tuple(t for t, kept in zip(self.data, keep, strict=True) if kept)
        return replace(
            self, data=Dataset(self.data.name, texts), values={p: v[:, keep] for p, v in self.values.items()}
        )


def extract(
    lm: LoadedModel,
    data: Dataset,
    *,
    positions: Sequence[str] = POSITIONS,
    span_part: SpanPart = "all",
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    on_batch: Callable[[int], None] | None = None,
) -> Activations:
    """Record the residual stream of every layer at the positions.

    Raises:
        InputError: an unknown position, or marked spans that the tokens do not hold.
    """
    wanted: list[str] = [check_position(p) for p in positions]
    encoded = lm.encode([t.text for t in data])
    found = token_positions(data.texts, encoded, span_part=span_part)
    points = [Point("embed", 0), *(Point("resid_post", layer) for layer in range(lm.n_layers))]
    recording = record(
        lm,
        [e.ids for e in encoded],
        {p: found.indices[p] for p in wanted},
        points,
        batch_tokens=batch_tokens,
        on_batch=on_batch,
    )
    values = {
        p: np.stack([recording.at(p, point).float().numpy() for point in points]).astype(np.float32) for p in wanted
    }
    return Activations(source_of(lm), data, values, found.match_rate)


def save_activations(activations: Activations, folder: Path) -> list[Path]:
    """Write one `activations_<class>.safetensors` per class."""
    paths = []
    for emotion in activations.data.classes:
        part = activations.select(emotion=emotion)
        header = {
            "schema": SCHEMA,
            "source": activations.source.model_dump_json(),
            "data": json.dumps({"name": part.data.name, "texts": [_text_fields(t) for t in part.data]}),
            "data_hash": activations.data.hash,
            "match_rate": json.dumps({emotion: activations.match_rate.get(emotion)}),
        }
        path = folder / f"activations_{emotion}.safetensors"
        write_tensors(path, part.values, header)
        paths.append(path)
    return paths


def _text_fields(text: Text) -> dict[str, object]:
    return {
        "text": text.text,
        "emotion": text.emotion,
        "scenario": text.scenario,
        "split": text.split,
        "span": text.span,
    }


def load_activations(folder: Path) -> Activations:
    """Read what `save_activations` wrote, and `generic.safetensors` if it lies there too.

    Texts are ordered by class, then as they were.

    Raises:
        InputError: no such files, an older schema, a corrupted file, or classes from different runs: models, data sets
            or positions.
    """
    paths = sorted(folder.glob("activations_*.safetensors")) if folder.is_dir() else []
    if not paths:
        raise InputError(
            "No activations here.",
            found=folder,
            accepted="a folder with activations_<class>.safetensors",
            next_step="run `emotion-circuits extract` first",
        )
    read = [_read(path) for path in paths]
    parts = [part for part, _ in read]
    first = parts[0]
    runs = [(part.source, part.data.name, set(part.values), data_hash) for part, data_hash in read]
    generic = load_generic(folder) if (folder / GENERIC_FILE).is_file() else None
    for path, run in zip(paths, runs, strict=True):
        if run != runs[0]:
            raise _another_run(path, paths[0])
    if generic is not None and generic.source not in (None, first.source):
        raise _another_run(folder / GENERIC_FILE, paths[0])
    return Activations(
        first.source,
        Dataset(first.data.name, tuple(t for part in parts for t in part.data)),
        {p: np.concatenate([part.values[p] for part in parts], axis=1) for p in first.values},
        {k: v for part in parts for k, v in part.match_rate.items()},
        generic,
    )


def _another_run(path: Path, other: Path) -> InputError:
    return InputError(
        f"{path.name} comes from another model or run, or other texts, than {other.name}.",
        found=path.parent,
        next_step="run `emotion-circuits extract` again",
    )


def _read(path: Path) -> tuple[Activations, str | None]:
    """One class's activations, and the hash of the whole data set they were recorded with."""
    tensors, header = read_tensors(path, SCHEMA)
    try:
        data = json.loads(header["data"])
        texts = tuple(
            Text(
                text=t["text"],
                emotion=t["emotion"],
                scenario=t["scenario"],
                split=t["split"],
                span=None if t["span"] is None else (t["span"][0], t["span"][1]),
            )
            for t in data["texts"]
        )
        source = Source.model_validate_json(header["source"])
        rates = {str(k): None if v is None else float(v) for k, v in json.loads(header["match_rate"]).items()}
    except (AttributeError, KeyError, ValueError, TypeError, ValidationError) as error:
        raise InputError(f"{path} lacks what an activations file holds.", found=error) from error
    if not tensors or any(values.ndim != 3 or values.shape[1] != len(texts) for values in tensors.values()):
        shapes = {position: values.shape for position, values in tensors.items()}
        raise InputError(f"{path} lacks what an activations file holds.", found=f"{shapes} for {len(texts)} texts")
    return Activations(source, Dataset(data["name"], texts), tensors, rates), header.get("data_hash")
