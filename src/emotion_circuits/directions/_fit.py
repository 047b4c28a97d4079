"""From activations to directions with their chosen layers, and how stable they are beside chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeGuard

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.directions._activations import Activations
from emotion_circuits.directions._cleaning import DEFAULT_SHARE, CleaningName, cleaned_values, cleaning_named
from emotion_circuits.directions._generic import GenericStatistics
from emotion_circuits.directions._positions import check_position
from emotion_circuits.directions._quality import (
    PROFILE_BOOTSTRAP,
    PROFILE_PERMUTATIONS,
    PROFILE_SPLITS,
    Judged,
    choose_detectors,
    choose_layers,
    choose_layers_within,
    project,
)
from emotion_circuits.directions._sets import DETECTOR, DirectionSet, default_kinds, fit_directions
from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.statistics import Blocks, Measure, exceedance_p, permute_within_groups, split_half_cosine

RELATIVE_NORM = "norm, in the layer's unit"
SPLIT_HALF = "split-half cosine"
N_QUANTILES = 201
ContrastKind = Literal["matched", "specific"]


def fit_with_layers(
    explicit: Activations,
    position: str,
    generic: GenericStatistics,
    *,
    implicit: Activations | None = None,
    spoken: Activations | None = None,
    ordinary: Activations | None = None,
    kinds: Sequence[str] | None = None,
    cleaning: CleaningName = "components",
    share: float = DEFAULT_SHARE,
) -> DirectionSet:
    """Fit directions and choose every emotion's layer on development scenarios.

    Args:
        explicit: of a data set with neutral text beside every emotion's.
        position: where texts are read.
        generic: of the same model.
        implicit: of texts that name no emotion, to choose layers on. For an emotion without them, and at the position
            `emotion_token`, which they lack, halves of the explicit development scenarios judge each other.
        spoken: of development utterances. Where they were recorded at the position, and with `implicit`, the kind
            `detector` is fitted, and the best of all kinds at finding an emotion in any text is chosen
            (`DirectionSet.detectors`).
        ordinary: of generic texts. Where they were recorded at the position, their scores say what is usual.
        kinds: which kinds; None for those of `default_kinds`.
        cleaning: what is done to activations before (see `cleaned_values`); `none` still leaves out the all-ones
            direction where a model cannot see it.
        share: of generic text's variance whose components are projected out, for `components`.

    Returns:
        The directions; without a chosen layer for emotions of fewer than two development scenarios.
    """
    name = check_position(position)
    kinds = default_kinds(name) if kinds is None else kinds
    chosen = cleaning_named(cleaning, share)
    alone = [kind for kind in kinds if kind != DETECTOR]
    directions = fit_directions(explicit, name, generic, alone, chosen)
    if DETECTOR in kinds and implicit is not None and _recorded(spoken, name):
        both = explicit.with_texts(spoken)
        probe = fit_directions(both, name, generic, ["probe"], chosen).vectors["probe"]
        directions = replace(directions, vectors={**directions.vectors, DETECTOR: probe})
    development = explicit.select(split="development")
    layers: dict[str, int] = {}
    if implicit is not None and name != "emotion_token":
        judged_by = "specific" if "specific" in kinds else alone[0]
        layers = choose_layers(implicit.select(split="development"), directions, judged_by)
    if set(layers) < set(directions.emotions):
        layers = choose_layers_within(development, name, generic, chosen) | layers
    directions = directions.with_layers({e: layers[e] for e in directions.emotions if e in layers})
    if DETECTOR in directions.vectors and implicit is not None and spoken is not None:
        found = _detectors(explicit, implicit.select(split="development"), spoken, directions)
        directions = replace(directions, detectors=found)
    return _beside_ordinary(directions, ordinary) if _recorded(ordinary, name) else directions


def _detectors(
    explicit: Activations, implicit: Activations, spoken: Activations, directions: DirectionSet
) -> dict[str, tuple[str, int]]:
    """Chosen on implicit development texts and on utterances."""
    halves = _halves(explicit, spoken, directions)
    candidates = {
        kind: [[Judged(implicit, directions, kind)], halves if kind == DETECTOR else [Judged(spoken, directions, kind)]]
        for kind in directions.vectors
    }
    there = [{t.emotion for t in texts.data} for texts in (implicit, *(half.texts for half in halves))]
    return choose_detectors(candidates, [e for e in directions.emotions if all(e in own for own in there)])


def _halves(explicit: Activations, spoken: Activations, directions: DirectionSet) -> list[Judged]:
    """Halves of the utterances, each with a detector that was fitted on the other."""
    first = np.isin(spoken.scenarios, spoken.data.scenarios[::2])
    found = []
    for half in (first, ~first):
        texts = explicit.with_texts(spoken.only(half))
        fitted = fit_directions(texts, directions.position, directions.generic, ["probe"], directions.cleaned)
        found.append(Judged(spoken.only(~half), fitted, "probe"))
    return found


def _recorded(texts: Activations | None, position: str) -> TypeGuard[Activations]:
    return texts is not None and len(texts.data) > 0 and position in texts.values


def _beside_ordinary(directions: DirectionSet, ordinary: Activations) -> DirectionSet:
    """With the quantiles of generic texts' scores along every direction."""
    found: dict[str, dict[str, NDArray[np.float32]]] = {}
    for kind, of_emotions in directions.vectors.items():
        for emotion in of_emotions:
            rows = []
            for row in range(directions.n_layers + 1):
                try:
                    scores = project(ordinary, directions, emotion, kind, row)
                except MeasurementError:  # no direction there, as at `embed` for a mark that all texts share
                    scores = np.zeros(1)
                rows.append(np.nanquantile(scores, np.linspace(0, 1, N_QUANTILES)))
            found.setdefault(kind, {})[emotion] = np.asarray(rows, dtype=np.float32)
    return replace(directions, ordinary=found)


def directions_of(
    activations: Activations, position: str = "mean", generic: GenericStatistics | None = None
) -> DirectionSet:
    """Directions of every emotion and layer: `directions(acts)["gratitude"]` is the one at the chosen layer.

    Args:
        activations: of a data set with neutral text beside every emotion's.
        position: where texts are read.
        generic: of the same model; None takes those that were recorded with the activations.

    Raises:
        InputError: no statistics of generic text, scenarios without neutral text.
    """
    chosen = activations.generic if generic is None else generic
    if chosen is None:
        raise InputError(
            "Directions need to know what generic text is like in this model.",
            found="activations that were recorded without it",
            next_step="give generic=generic_statistics(lm, texts), or record a data set with `ec.record`",
        )
    return fit_with_layers(activations, position, chosen)


def stability_rows(
    explicit: Activations,
    directions: DirectionSet,
    kind: ContrastKind = "specific",
    seed: int = 0,
    layers: Mapping[str, int] | None = None,
) -> list[Measure]:
    """How long every direction is and how well halves of the scenarios agree on it, each beside its permutation null.

    Two rows per emotion and layer, `embed` included. Where no text differs from another, as a sentence's last token at
    `embed`, the values are NaN.

    Args:
        explicit: what the directions were made from.
        directions: the directions.
        kind: `specific` or `matched`.
        seed: of splits and permutations.
        layers: emotion → the only layer to measure; None for all layers.
    """
    values = cleaned_values(explicit, directions.position, directions.generic, directions.cleaned)
    blocks = Blocks.of(explicit.labels, explicit.scenarios)
    permuted = permute_within_groups(blocks.codes, blocks.groups, PROFILE_PERMUTATIONS, seed)
    # Emotions of the same scenarios are alike under the null, and share its draws.
    chance = {e: blocks.weights(blocks.first_alike(e), kind, permuted) for e in directions.emotions}
    rows = []
    for row, layer_values in enumerate(values):
        emotions = [e for e in directions.emotions if layers is None or layers[e] == row - 1]
        if not emotions:
            continue
        scale = float(directions.generic.unit[row])
        for emotion in emotions:
            null = np.linalg.norm(chance[emotion] @ layer_values, axis=1) / scale
            raw = directions.vectors[kind][emotion][row].astype(np.float64)
            length = float(np.linalg.norm(raw)) / scale
            low, high = np.quantile(null, [0.025, 0.975])
            rows.append(
                _row(
                    explicit, directions, emotion, row - 1, kind, RELATIVE_NORM,
                    value=length, chance=float(null.mean()), null_low=float(low), null_high=float(high),
                    p=exceedance_p(length, null),
                )
            )  # fmt: skip
            rows.append(_split_half(explicit, directions, emotion, row, kind, layer_values, seed))
    return rows


def _split_half(
    explicit: Activations,
    directions: DirectionSet,
    emotion: str,
    row: int,
    kind: ContrastKind,
    values: NDArray[np.float64],
    seed: int,
) -> Measure:
    try:
        half = split_half_cosine(
            values, explicit.labels, explicit.scenarios, emotion,
            kind=kind, n_splits=PROFILE_SPLITS, n_permutations=PROFILE_PERMUTATIONS, n_bootstrap=PROFILE_BOOTSTRAP,
            seed=seed,
        )  # fmt: skip
    except (InputError, MeasurementError):  # too few scenarios, or nothing differs between the classes
        return _row(explicit, directions, emotion, row - 1, kind, SPLIT_HALF)
    return _row(
        explicit, directions, emotion, row - 1, kind, SPLIT_HALF,
        value=half.value, ci_low=half.interval.low, ci_high=half.interval.high, chance=half.null_mean,
        null_low=half.null_low, null_high=half.null_high, p=half.p,
        ceiling=np.nan if half.ceiling is None else half.ceiling,
    )  # fmt: skip


def _row(
    explicit: Activations,
    directions: DirectionSet,
    emotion: str,
    layer: int,
    kind: str,
    statistic: str,
    *,
    value: float = np.nan,
    ci_low: float = np.nan,
    ci_high: float = np.nan,
    chance: float = np.nan,
    null_low: float = np.nan,
    null_high: float = np.nan,
    ceiling: float = np.nan,
    p: float = np.nan,
) -> Measure:
    return Measure(
        model=directions.source.model,
        emotion=emotion,
        position=directions.position,
        layer=layer,
        kind=kind,
        statistic=statistic,
        value=value,
        ci_low=ci_low,
        ci_high=ci_high,
        chance=chance,
        null_low=null_low,
        null_high=null_high,
        ceiling=ceiling,
        p=p,
        n_unique=int((explicit.labels == emotion).sum()),
    )
