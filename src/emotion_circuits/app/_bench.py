"""Models that are ready to be looked into: each with its directions, and with what generic text is like along any."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from emotion_circuits import prompts
from emotion_circuits.directions import (
    Activations,
    DirectionSet,
    extract,
    fit_with_layers,
    generic_statistics,
    load_directions,
    save_directions,
    spread_positions,
    token_positions,
)
from emotion_circuits.engine import EMBED, load_verified, point_of, record
from emotion_circuits.errors import InputError
from emotion_circuits.models import REFERENCE_NAMES, LoadedModel, ModelName, cache_folder
from emotion_circuits.prompts import Bank

POSITION = "mean"
GENERIC_TEXTS = 256
"""As `ec.directions` takes."""
CHANCE_TEXTS = 96
"""Generic texts whose tokens say what is usual; eight tokens of each."""
KEPT = 3
"""Models held at a time."""
FloatArray = NDArray[np.float64]


class Chance(NamedTuple):
    """Generic texts in a model: what a score is judged beside.

    Attributes:
        tokens: (layers + 1, n, d) at eight tokens of each text.
        texts: (layers + 1, m, d) at the position `mean`.
    """

    tokens: NDArray[np.float32]
    texts: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Workbench:
    """A model, its directions, and the bank they are of. `where` says where the directions come from; whoever runs the
    model holds `lock`."""

    lm: LoadedModel
    directions: DirectionSet
    bank: Bank
    where: str
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    @cached_property
    def chance(self) -> Chance:
        """Generic texts, recorded when first needed."""
        data = prompts.ordinary(CHANCE_TEXTS)
        with self.lock:
            encoded = self.lm.encode([t.text for t in data])
            at = spread_positions(encoded)
            mean = token_positions(data.texts, encoded).indices[POSITION]
            points = [point_of(layer) for layer in range(EMBED, self.lm.n_layers)]
            found = record(self.lm, [e.ids for e in encoded], {**at, POSITION: mean}, points)
        values = np.stack([found.values[point].float().numpy() for point in points])
        tokens, texts = values[:, :-1].reshape(len(values), -1, self.lm.d_model), values[:, -1]
        return Chance(*(part[:, np.isfinite(part).all(axis=(0, 2))] for part in (tokens, texts)))

    @cached_property
    def explicit(self) -> Activations:
        """The bank's texts at `mean`; recorded when an emotion of one's own is to be told from them."""
        with self.lock:
            return extract(self.lm, self.bank.profile("baseline"), positions=[POSITION])


def scores_along(
    values: NDArray[np.float32], directions: DirectionSet, emotion: str, kind: str, row: int
) -> FloatArray:
    """(n,) ⟨h − μ, v̂⟩ / s of (n, d) states at a row of the layers (0 is `embed`), as `score` gives them."""
    vector = directions.vectors[kind][emotion][row].astype(np.float64)
    length = float(np.linalg.norm(vector))
    generic = directions.generic
    if not length > 0:
        return np.full(len(values), np.nan)
    found: FloatArray = (values - generic.mean[row]).astype(np.float64) @ (vector / length) / float(generic.unit[row])
    return found


def chance_bands(bench: Workbench, directions: DirectionSet, emotion: str, kind: str) -> FloatArray:
    """(layers + 1, 2): between which scores 95 % of generic texts' tokens lie."""
    tokens = bench.chance.tokens
    rows = [scores_along(values, directions, emotion, kind, row) for row, values in enumerate(tokens)]
    return np.nanquantile(np.stack(rows), [0.025, 0.975], axis=1).T


def open_bench(name: str, folder: Path | None = None, threads: int | None = None) -> Workbench:
    """Load a model with the directions of a results folder, of an earlier start, or made now from explicit texts.

    Args:
        name: as in `models list`.
        folder: `results/<profile>`, where there may be directions of the model.
        threads: torch's.

    Raises:
        InputError: the model cannot be found or used, or is another one than the directions are of.
    """
    slug = ModelName.parse(name).slug
    bank = (prompts.kept_bank(folder) if folder else None) or prompts.bank()
    stored = None if folder is None else folder / "emotion_vectors" / f"{slug}_{POSITION}.safetensors"
    if stored is not None and stored.is_file():
        directions = load_directions(stored)
        lm = load_verified(name, bos=directions.source.bos, threads=threads)
        directions.check_model(lm)
        return Workbench(lm, directions, bank, str(stored))
    lm = load_verified(name, threads=threads)
    kept = cache_folder() / "explorer" / f"{slug}-{lm.revision[:16]}-{bank.hash}.safetensors"
    if kept.is_file():
        try:
            directions = load_directions(kept)
            directions.check_model(lm)
            return Workbench(lm, directions, bank, "explicit texts, made at an earlier start")
        except InputError:  # of another version; made again
            kept.unlink(missing_ok=True)
    data = bank.profile("baseline")
    generic = generic_statistics(lm, [t.text for t in prompts.generic_sample(GENERIC_TEXTS)])
    directions = fit_with_layers(extract(lm, data, positions=[POSITION]), POSITION, generic, kinds=("specific",))
    save_directions(directions, kept)
    return Workbench(lm, directions, bank, "explicit texts, made at this start")


class Benches:
    """The benches of an app, shared by all who look at it: the last few models, each loaded once.

    Args:
        folder: `results/<profile>`.
        threads: torch's; None for one with the bundled models, whose products are too small for more, and as many as
            torch takes with others.
    """

    def __init__(self, folder: Path | None = None, threads: int | None = None):
        self.folder, self._threads, self._usual = folder, threads, torch.get_num_threads()
        self._kept: OrderedDict[str, Workbench] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str) -> Workbench:
        """A model's bench, loaded if need be.

        Raises:
            InputError: as from `open_bench`.
        """
        wanted = name.strip()
        if not wanted:
            raise InputError("No model was named.", accepted="a name of `models list`, a folder or a .gguf file")
        with self._lock:
            if wanted not in self._kept:
                threads = self._threads or (1 if wanted in REFERENCE_NAMES else self._usual)
                self._kept[wanted] = open_bench(wanted, self.folder, threads)
                if len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(wanted)
            return self._kept[wanted]
