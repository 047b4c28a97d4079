"""Does a direction that was mapped from another model detect and steer, as the model's own direction does?"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emotion_circuits._files import read_tensors, write_tensors
from emotion_circuits.comparison._align import PairAlignment
from emotion_circuits.comparison._rows import Route
from emotion_circuits.comparison._sides import Side
from emotion_circuits.directions import Activations, DirectionSet, compared, gain_over_floors
from emotion_circuits.engine import DEFAULT_BATCH_TOKENS
from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.geometry import Aligner, remove_all_ones
from emotion_circuits.interventions import line, pushes_along, slopes, slot_outcomes
from emotion_circuits.models import LoadedModel
from emotion_circuits.scoring import SlotTask
from emotion_circuits.statistics import (
    AurocResult,
    Bootstrap,
    Rival,
    auroc,
    exceedance_p,
    grouped_auroc,
    grouped_bootstrap,
    permute_within_groups,
)

FloatArray = NDArray[np.float64]
SCHEMA = "mapped-directions-1"
SHUFFLE_STREAM = 21


@dataclass(frozen=True, eq=False)
class MappedDirections:
    """Directions of model A as they arrive in model B, unit vectors in B's residual stream.

    Attributes:
        route: the map.
        emotions: names.
        mapped: (E, d_B).
        shuffled: (draws, E, d_B) under maps fitted to shuffled pairs of texts.
    """

    route: Route
    emotions: tuple[str, ...]
    mapped: FloatArray
    shuffled: FloatArray

    def save(self, path: Path, n_shuffled: int) -> Path:
        """Write them with the first `n_shuffled` draws, as safetensors."""
        header = {"schema": SCHEMA, "route": json.dumps(self.route), "emotions": json.dumps(self.emotions)}
        write_tensors(path, {"mapped": self.mapped, "shuffled": self.shuffled[:n_shuffled]}, header)
        return path

    @classmethod
    def load(cls, path: Path) -> MappedDirections:
        """Read what `save` wrote.

        Raises:
            InputError: missing, corrupted or of another schema.
        """
        tensors, header = read_tensors(path, SCHEMA)
        try:
            route, emotions = Route(*json.loads(header["route"])), tuple(json.loads(header["emotions"]))
            return cls(route, emotions, tensors["mapped"], tensors["shuffled"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} lacks what mapped directions hold.", found=error) from error


@dataclass(frozen=True, eq=False)
class Detection:
    """How well a mapped direction ranks B's implicit texts.

    Attributes:
        emotion: which.
        mapped, native: AUROC of the mapped direction and of B's own, each with interval and label null.
        floors: AUROC of the best direction mapped from an untrained twin of A, and of the one mapped between the
            embeddings; and what the mapped direction gains over each, paired over scenarios.
        shuffled: (draws,) AUROCs under shuffled maps.
        p: share of shuffled maps that do as well.
    """

    emotion: str
    mapped: AurocResult
    native: AurocResult
    floors: tuple[Rival, ...]
    shuffled: FloatArray
    p: float

    @property
    def untrained(self) -> float:
        """The level of that floor; NaN where no twin of A was mapped."""
        return next((floor.level for floor in self.floors if floor.name == "untrained"), np.nan)

    @property
    def share(self) -> float:
        """What the mapped direction reaches above .5, as a share of what the native one does."""
        return self.share_of(self.mapped.value)

    def share_of(self, value: float) -> float:
        """Any AUROC as such a share; NaN where the native one is not above .5."""
        own = self.native.value - 0.5
        return (value - 0.5) / own if own > 0 else np.nan


@dataclass(frozen=True, eq=False)
class Steering:
    """How far a mapped direction moves B's word-set log-odds, in nats per unit of dose.

    Attributes:
        emotion: which.
        mapped, native: slopes over test contexts, with intervals.
        ratio: their ratio, resampled together (NaN where the native slope is not positive).
        shuffled: (draws,) slopes of directions from shuffled maps.
        n_contexts: count.
    """

    emotion: str
    mapped: Bootstrap
    native: Bootstrap
    ratio: Bootstrap | None
    shuffled: FloatArray
    n_contexts: int


def map_directions(
    aligner: Aligner, a: Side, route: Route, target: DirectionSet, *, n_draws: int, seed: int
) -> MappedDirections:
    """A's specific directions in B, cleaned as B's own were, beside those of shuffled maps.

    Raises:
        InputError: directions of B that were rescaled.
        MeasurementError: a direction that the map or the cleaning sends to zero.
    """
    share = target.cleaned
    if isinstance(share, str):
        raise InputError(
            "Mapped directions can only be cleaned by projecting components out.",
            found=f"directions of {target.source.model} that were {share}",
            next_step="fit them with --cleaning components, or none",
        )
    vectors, row_b = a.specific_vectors(route.layer_a + 1), route.layer_b + 1

    def arrived(raw: FloatArray) -> FloatArray:
        cleaned = target.generic.clean(raw, row_b, share)
        if target.source.centred_norm:  # a component that B cannot see would only shorten the rest
            cleaned = remove_all_ones(cleaned)
        lengths = np.linalg.norm(cleaned, axis=-1, keepdims=True)
        if not (lengths > 0).all():
            raise MeasurementError("The map sends a direction to zero.", found=f"{a.name} to {target.source.model}")
        result: FloatArray = cleaned / lengths
        return result

    orders = permute_within_groups(np.arange(aligner.n_fit_), None, n_draws, (seed, SHUFFLE_STREAM))
    scores = aligner.shuffled(aligner.source_.direction_scores(vectors), orders)
    whole, shuffled = aligner.transform_direction(vectors), aligner.target_.direction_from(scores)
    return MappedDirections(route, a.emotions, arrived(whole), arrived(shuffled))


def detect(
    pair: PairAlignment, target: DirectionSet, implicit: Activations, *, n_draws: int = 1000, seed: int = 0
) -> tuple[MappedDirections, tuple[Detection, ...]]:
    """Rank B's implicit texts by each mapped direction, beside B's own, floors and shuffled maps.

    Args:
        pair: the map and its layers.
        target: B's directions.
        implicit: B's activations of texts that never name the emotion; only those of the test split are used.
        n_draws: shuffled maps.

    Raises:
        InputError: no implicit texts of the test split, or directions that were rescaled.
    """
    mapped = map_directions(pair.aligner, pair.a, pair.route, target, n_draws=n_draws, seed=seed)
    test = implicit.select(split="test")
    if not len(test.data):
        raise InputError("There are no implicit test texts to detect emotions in.", found=implicit.source.model)
    simpler: dict[str, list[list[FloatArray]]] = {}
    arms = [("untrained", arm) for arm in pair.arms if arm.b is pair.b]
    for name, arm in [*arms, *([("embedding", pair.embedding)] if pair.embedding else [])]:
        route = Route(arm.a.name, arm.b.name, arm.row_a - 1, arm.row_b - 1, pair.method, pair.fit_set)
        there = map_directions(arm.aligner, arm.a, route, target, n_draws=1, seed=seed)
        texts = test.at(target.position)[arm.row_b].astype(np.float64)
        simpler.setdefault(name, []).append([texts @ vector for vector in there.mapped])
    values = test.at(target.position)[pair.row_b].astype(np.float64)
    null_scores = mapped.shuffled @ values.T
    found = []
    for place, emotion in enumerate(mapped.emotions):
        kept, labels, groups = compared(test.data, emotion)
        own = target.vectors["specific"][emotion][pair.row_b].astype(np.float64)
        results = [
            grouped_auroc((values @ vector)[kept], labels, groups, seed=seed) for vector in (mapped.mapped[place], own)
        ]
        shuffled = auroc(null_scores[:, place, kept], labels)
        own_floors = {name: [scores[place] for scores in versions] for name, versions in simpler.items()}
        floors = gain_over_floors(values @ mapped.mapped[place], test.data, emotion, own_floors, seed=seed)
        found.append(
            Detection(
                emotion, results[0], results[1], tuple(floors), shuffled,
                exceedance_p(results[0].value, shuffled),
            )
        )  # fmt: skip
    return mapped, tuple(found)


def steer(
    lm: LoadedModel,
    mapped: MappedDirections,
    target: DirectionSet,
    dose: float,
    slots: SlotTask,
    *,
    n_shuffled: int,
    seed: int = 0,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    on_variants: Callable[[int], None] | None = None,
) -> tuple[Steering, ...]:
    """Slopes of own word-set log-odds at ± one dose, of mapped, native and shuffled-map directions.

    Directions are added at the layer of B that the map leads to.

    Args:
        n_shuffled: how many shuffled maps; a band, too few for a claim.

    Returns:
        one for each emotion that has words.
    """
    emotions, layer = mapped.emotions, mapped.route.layer_b
    native = np.stack([target.vectors["specific"][e][layer + 1].astype(np.float64) for e in emotions])
    native /= np.linalg.norm(native, axis=1, keepdims=True)
    shuffled = mapped.shuffled[:n_shuffled]
    units = np.concatenate([mapped.mapped, native, shuffled.reshape(-1, native.shape[1])])
    pushes = pushes_along({layer: line(target, layer, units)}, (-dose, dose))
    [odds] = slot_outcomes(lm, slots, [pushes], batch_tokens=batch_tokens, on_variants=on_variants)
    found = slopes(odds.reshape(len(units), 2, *odds.shape[1:]), dose)
    results = []
    for place, emotion in enumerate(emotions):
        if emotion not in slots.classes:
            continue
        own = found[:, :, slots.column(emotion)]
        two = own[[place, len(emotions) + place]]
        results.append(
            Steering(
                emotion,
                grouped_bootstrap(two[0], seed=seed),
                grouped_bootstrap(two[1], seed=seed),
                _ratio(two, seed),
                own[2 * len(emotions) + place :: len(emotions)].mean(axis=1),
                own.shape[1],
            )
        )
    return tuple(results)


def _ratio(two: FloatArray, seed: int) -> Bootstrap | None:
    """Mapped over native slope, contexts resampled for both at once."""
    if not two[1].mean() > 0:
        return None
    return grouped_bootstrap(two.T, lambda rows: rows[:, :, 0].mean(axis=1) / rows[:, :, 1].mean(axis=1), seed=seed)
