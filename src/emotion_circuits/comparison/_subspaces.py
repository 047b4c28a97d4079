"""Emotion subspaces of recorded models: one model's own, two models side by side, and how both depend on k."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from emotion_circuits._files import write_tensors
from emotion_circuits.comparison._rows import ALL, PairMeasure, Route
from emotion_circuits.comparison._sides import Side, in_target_units, require_same_texts, rows_of, table_of
from emotion_circuits.directions import Activations
from emotion_circuits.errors import InputError
from emotion_circuits.geometry import (
    BetweenClassSubspace,
    LDASubspace,
    OverlapResult,
    PairedDifferenceSubspace,
    SelfOverlap,
    SubspaceEstimator,
    WithinClassSubspace,
    aligner_named,
    compare_subspaces,
    corrected,
    in_parallel,
    self_overlap,
)
from emotion_circuits.statistics import Measure

SCHEMA = "subspaces-1"
SELF_OVERLAP = "split-half overlap S* of the subspace with itself"
PAIR_OVERLAP = "overlap S* of two models' subspaces"
KINDS: Final[Mapping[str, type[SubspaceEstimator]]] = {
    "between-class": BetweenClassSubspace,
    "lda": LDASubspace,
    "paired": PairedDifferenceSubspace,
    "within-class": WithinClassSubspace,
}


def subspace_estimator(kind: str, k: int | None = None, emotion: str | None = None) -> SubspaceEstimator:
    """The estimator of a kind.

    Args:
        kind: `between-class` (k ≤ 3), `lda` (k ≤ 3), `paired` differences, or `within-class`.
        k: dimensions; None for the number of emotions.
        emotion: for `paired` and `within-class`; None pools all emotions, which `within-class` cannot.

    Raises:
        InputError: no such kind, or an emotion where there can be none.
    """
    if kind not in KINDS:
        raise InputError(f"There is no subspace {kind!r}.", accepted=", ".join(KINDS))
    if emotion is None:
        if kind == "within-class":
            raise InputError("A within-class subspace belongs to one emotion.", next_step="name it with --emotion")
        return KINDS[kind](n_components=k)
    if kind not in ("paired", "within-class"):
        raise InputError(f"A {kind} subspace belongs to all emotions together.", found=emotion)
    return KINDS[kind](n_components=k).set_params(emotion=emotion)  # type: ignore[no-any-return]


def subspace_rows(
    acts: Activations,
    position: str,
    kind: str,
    k_values: Sequence[int],
    *,
    emotion: str | None = None,
    layers: Sequence[int] | None = None,
    n_permutations: int = 200,
    seed: int = 0,
) -> list[Measure]:
    """S* of a model's subspace with itself between halves of the scenarios, by layer and k.

    This is the ceiling of any overlap with another model: more cannot be shared than is stable.
    """
    estimator = subspace_estimator(kind, None, emotion)

    def of_row(row: int) -> tuple[SelfOverlap, ...]:
        table = table_of(acts, position, row)
        return self_overlap(table, estimator, k_values, n_permutations=n_permutations, seed=seed)

    every, rows = list(rows_of(acts, layers)), []
    for row, overlaps in zip(every, in_parallel(of_row, every, os.cpu_count() or 1), strict=True):
        for found in overlaps:
            low, high, chance, null_low, null_high = corrected(
                (found.low, found.high, found.null_mean, found.null_low, found.null_high), found.chance
            ).tolist()
            rows.append(
                Measure(
                    acts.source.model, emotion or ALL, position, row - 1, f"{kind}, k = {found.k}", SELF_OVERLAP,
                    found.corrected, low, high, chance, null_low, null_high, 1.0, found.p, found.n_scenarios,
                )
            )  # fmt: skip
    return rows


def save_subspaces(
    acts: Activations, position: str, kind: str, k: int, path: Path, *, emotions: Sequence[str | None] = (None,)
) -> Path:
    """Write orthonormal bases, one tensor (layers + 1, d, k) per emotion or for all."""
    tensors = {}
    for emotion in emotions:
        estimator = subspace_estimator(kind, k, emotion)
        bases = [estimator.fit_table(table_of(acts, position, row)).basis_ for row in range(acts.n_layers + 1)]
        tensors[emotion or ALL] = np.stack(bases).astype(np.float32)
    header = {
        "schema": SCHEMA, "source": acts.source.model_dump_json(), "position": position, "kind": kind, "k": str(k),
        "data_hash": acts.data.hash,
    }  # fmt: skip
    write_tensors(path, tensors, header)
    return path


def overlap_rows(
    a: Activations,
    b: Activations,
    position: str,
    kind: str,
    k_values: Sequence[int],
    *,
    emotion: str | None = None,
    layers: Sequence[int] | None = None,
    aligned: tuple[Side, Side] | None = None,
    n_permutations: int = 200,
    n_bootstrap: int = 400,
    seed: int = 0,
) -> list[PairMeasure]:
    """Overlap of two models' subspaces at the same layers, by k, beside chance and split-half ceiling.

    Args:
        a, b: the models, on the same texts.
        aligned: both with their fit texts, to map A into B by ridge first; None compares coordinates as they are, which
            for two models means nothing and shows what chance gives.

    Raises:
        InputError: different texts, or different widths without alignment.
    """
    require_same_texts(a, b)
    estimator = subspace_estimator(kind, None, emotion)
    rows = []
    for row in rows_of(min((a, b), key=lambda x: x.n_layers), layers):
        tables = table_of(a, position, row), table_of(b, position, row)
        route = Route(a.source.model, b.source.model, row - 1, row - 1, "not aligned", "no")
        if aligned is not None:
            aligner = aligner_named("ridge")().fit(*(side.fit_layers([row])[0] for side in aligned))
            tables = in_target_units(aligner, *tables)
            route = route._replace(method="ridge", fit_set=aligned[0].fit.data.name.removeprefix("fit-"))
        found = compare_subspaces(
            *tables, estimator, k_values=k_values, n_permutations=n_permutations, n_bootstrap=n_bootstrap, seed=seed
        )
        rows += [_overlap_row(route, one, position, kind, emotion, aligned is not None) for one in found]
    return rows


def _overlap_row(
    route: Route, one: OverlapResult, position: str, kind: str, emotion: str | None, aligned: bool
) -> PairMeasure:
    how = f"aligned by {route.kind}" if aligned else "not aligned"
    interval = one.corrected_interval
    chance, low, high, ceiling = corrected(
        (one.null_mean, one.null_low, one.null_high, one.ceiling), one.chance
    ).tolist()
    return PairMeasure(
        route.model_a, route.model_b, emotion or ALL, position, route.layer_a, route.layer_b,
        f"{kind}, k = {one.k}, {how}", PAIR_OVERLAP, one.corrected, interval.low, interval.high, one.null, chance, low,
        high, ceiling, one.p, one.n_scenarios,
    )  # fmt: skip
