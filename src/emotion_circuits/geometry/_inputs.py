"""What every part of the room takes in: activations of texts, as they come or arranged by scenario and class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from emotion_circuits._cleaning import FloatArray as FloatArray
from emotion_circuits._cleaning import activations as activations
from emotion_circuits._cleaning import require_finite as require_finite
from emotion_circuits._cleaning import varying as varying
from emotion_circuits.errors import InputError

IntArray = npt.NDArray[np.intp]
Seed = int | Sequence[int]

# Singular values below this share of the largest are rounding of float32 activations: no direction belongs to them.
RANK = 1e-6
# Values that one batch of draws may hold: bounds memory whatever the number of draws.
BATCH_VALUES = 4_000_000


def generator(seed: Seed, *stream: int) -> np.random.Generator:
    """Independent random numbers for every stream of a seed."""
    return np.random.default_rng([*([seed] if isinstance(seed, int) else seed), *stream])


def batches(n_draws: int, values_per_draw: int) -> list[slice]:
    """Slices over draws that keep a batch within `BATCH_VALUES`."""
    step = max(1, BATCH_VALUES // max(1, values_per_draw))
    return [slice(start, min(start + step, n_draws)) for start in range(0, n_draws, step)]


def row_hashes(array: FloatArray) -> frozenset[bytes]:
    """What tells texts apart by their activations; equal rows are one text."""
    return frozenset(blake2b(row.tobytes(), digest_size=16).digest() for row in array)


@dataclass(frozen=True, eq=False)
class ScenarioTable:
    """Activations by scenario and class: the design that all splits, resampling and permutations respect.

    Several texts of one scenario and class are averaged: the scenario is the unit.

    Attributes:
        cells: (G, C, d).
        classes: names of the C classes, sorted.
        scenarios: names of the G scenarios, sorted.
        n_texts, n_unique: texts, and texts with activations of their own.
    """

    cells: FloatArray
    classes: tuple[str, ...]
    scenarios: tuple[str, ...]
    n_texts: int
    n_unique: int

    @classmethod
    def from_texts(cls, X: npt.ArrayLike, labels: npt.ArrayLike, groups: npt.ArrayLike) -> ScenarioTable:
        """Arrange (n, d) activations with (n,) labels and (n,) scenarios; the order of texts does not matter.

        Raises:
            InputError: labels or groups of another length, fewer than two scenarios or classes, or a scenario that
                lacks a class.
            MeasurementError: as in `activations`.
        """
        texts = activations(X)
        names, scenarios = np.asarray(labels), np.asarray(groups)
        for kind, array in (("labels", names), ("groups", scenarios)):
            if array.shape != (len(texts),):
                raise InputError(f"Texts and {kind} differ in number.", found=f"{len(texts)} texts, {array.shape}")
        class_names, class_codes = np.unique(names, return_inverse=True)
        scenario_names, scenario_codes = np.unique(scenarios, return_inverse=True)
        shape = (len(scenario_names), len(class_names))
        if min(shape) < 2:
            raise InputError("There must be two scenarios and two classes.", found=f"{shape[0]} and {shape[1]}")
        slots = scenario_codes * shape[1] + class_codes
        counts = np.bincount(slots, minlength=shape[0] * shape[1])
        if not counts.all():
            g, c = divmod(int(np.argmin(counts)), shape[1])
            raise InputError(
                "Every scenario needs a text of every class.",
                found=f"{(counts == 0).sum()} missing, such as {class_names[c]} in scenario {scenario_names[g]}",
            )
        # Sorted rows, so that the sums do not depend on the order of texts within a cell either.
        order = np.lexsort((texts[:, 0], slots))
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        means = np.add.reduceat(texts[order], starts, axis=0) / counts[:, None]
        return cls(
            cells=means.reshape(*shape, texts.shape[1]),
            classes=tuple(str(name) for name in class_names),
            scenarios=tuple(str(name) for name in scenario_names),
            n_texts=len(texts),
            n_unique=len(row_hashes(texts)),
        )

    @cached_property
    def spread(self) -> float:
        """Size of all that texts differ by, per scenario: what singular values are held against."""
        return float(np.linalg.norm(self.cells - self.cells.mean(axis=(0, 1))) / np.sqrt(self.n_scenarios))

    @property
    def n_scenarios(self) -> int:
        return len(self.scenarios)

    @property
    def n_classes(self) -> int:
        return len(self.classes)

    @property
    def width(self) -> int:
        return int(self.cells.shape[2])

    def class_index(self, name: str) -> int:
        """Position of a class, or an `InputError` that lists them."""
        if name not in self.classes:
            raise InputError(f"There are no {name!r} texts.", accepted=", ".join(self.classes))
        return self.classes.index(name)

    def emotions(self, neutral: str) -> tuple[str, ...]:
        """The classes other than neutral."""
        self.class_index(neutral)
        return tuple(name for name in self.classes if name != neutral)

    def contrasts(self, neutral: str, kind: str = "matched") -> FloatArray:
        """(G, E, d) h(g, emotion) − h(g, neutral); "specific": minus its mean over the emotions."""
        if kind not in ("matched", "specific"):
            raise InputError(f"There is no contrast {kind!r}.", accepted="matched, specific")
        emotions = self.emotions(neutral)
        if kind == "specific" and len(emotions) < 2:
            raise InputError("A specific contrast needs two emotions.", found=", ".join(emotions))
        chosen = [self.class_index(name) for name in emotions]
        matched = self.cells[:, chosen] - self.cells[:, [self.class_index(neutral)]]
        result: FloatArray = matched if kind == "matched" else matched - matched.mean(axis=1, keepdims=True)
        return result

    def mapped(self, transform: Any) -> ScenarioTable:
        """The table with its cells passed through `transform`, a map from (n, d) to (n, d')."""
        flat = self.cells.reshape(-1, self.width)
        cells = np.asarray(transform(flat), dtype=np.float64)
        require_finite(cells, "The mapped activations")
        return replace(self, cells=cells.reshape(*self.cells.shape[:2], cells.shape[1]))


def require_same_design(a: ScenarioTable, b: ScenarioTable) -> None:
    """Raise `InputError` unless two tables hold the same scenarios and classes."""
    for name, first, second in (("scenarios", a.scenarios, b.scenarios), ("classes", a.classes, b.classes)):
        if first != second:
            lonely = sorted(set(first) ^ set(second))
            raise InputError(
                f"The two models have different {name}.",
                found=f"{len(first)} and {len(second)}; only on one side: {', '.join(lonely[:5])}",
                next_step="record both on the same prompts",
            )
