"""The audit: every metric on the models, on noise of the same shape, and what to use instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from emotion_circuits.directions import Activations
from emotion_circuits.errors import InputError

from ._cells import (
    MAP_K,
    AuditedModel,
    FloatArray,
    PairCell,
    chosen_layers,
    layers_cell,
    noise_classes,
    noise_layers,
    noise_pair,
    pair_cells,
    paired_layers,
    require_same_texts,
)
from ._metrics import (
    ENTRIES,
    MAPPED,
    MAPPED_ORTHONORMAL,
    S_STAR_MAPPED,
    Corrected,
    Metric,
    class_metric,
    layers_metric,
    pair_metrics,
)
from ._rows import AuditRow, Band, above_band, number, verdict_of
from ._stated import ALL, stated_rows

N_NOISE = 200
"""Draws of noise; their seeds follow each other."""
# Up to this width all draws are made of every metric; beyond it fewer, down to the least, of those that cost its cube.
FULL_WIDTH = 192
LEAST_NOISE = 10
# (texts per class, width of the first model, width of the second)
Shape = tuple[int, int, int]
Values = dict[str, list[float]]


@dataclass(frozen=True, eq=False)
class Stage:
    """One stage on the way from .001 to .99: the overlap on noise, and per pair of models.

    Attributes:
        name: one of `STAGES`.
        noise: (draws,) mean squared entries of the Gram matrix.
        models: pair → its mean over layers and emotions.
    """

    name: str
    noise: FloatArray
    models: dict[str, float]


STAGES = ("before", "mapped", "orthonormal", "held out")


@dataclass(frozen=True, eq=False)
class OverlapOnNoise:
    """The earlier project's overlap at every stage, for models of one width.

    Attributes:
        n, d, k: texts per class, width, dimension of the subspaces.
        stages: in the order of `STAGES`.
    """

    n: int
    d: int
    k: int
    stages: tuple[Stage, ...]

    @property
    def chance(self) -> float:
        """1/d."""
        return 1 / self.d

    @property
    def ceiling(self) -> float:
        """1/k: what equal subspaces give."""
        return 1 / self.k


@dataclass(frozen=True, eq=False)
class AuditReport:
    """All rows, and what the figure shows (None where the texts are too few for it)."""

    rows: tuple[AuditRow, ...]
    overlap: OverlapOnNoise | None


def audit(
    activations: Sequence[Activations],
    *,
    layers: Sequence[int] | None = None,
    seed: int = 0,
    n_noise: int = N_NOISE,
    on_step: Callable[[int], None] | None = None,
) -> AuditReport:
    """Compute the earlier project's numbers on models and on noise.

    Args:
        activations: of one model or more, at the end of sentences, on the same texts. Pairs are compared in this order.
        layers: blocks, of every model; None for a quarter, half and three quarters of each model's depth.
        seed: the first of `n_noise` consecutive seeds of the noise.
        on_step: called with the number of steps done, out of `n_steps(len(activations))` or fewer.

    Raises:
        InputError: no models, one named twice, different texts, an incomplete data set, or a layer that a model lacks.
        MeasurementError: NaN, or a layer that is the same for all texts.
    """
    if not activations:
        raise InputError("There are no models to audit.", next_step="run `emotion-circuits extract` first")
    if n_noise < 2:
        raise InputError("A band needs two draws of noise.", found=n_noise)
    models = [AuditedModel(a) for a in activations]
    require_same_texts(models)
    chosen = chosen_layers(models, layers)
    seeds = range(seed, seed + n_noise)
    tick = _ticker(on_step)

    noise: dict[Shape, Values] = {}
    measured: dict[tuple[str, str], tuple[Shape, Values]] = {}
    pairs = list(combinations(models, 2))
    for a, b in pairs:
        shape = len(a.scenarios), a.width, b.width
        if shape not in noise:
            noise[shape] = _noise_values(shape, seeds, tick)
        values: Values = {}
        for cell in pair_cells(a, b, paired_layers(a, b, chosen)):
            _add(values, pair_metrics(), cell, shape, memo={})
            tick()
        measured[a.name, b.name] = shape, values
    if not pairs:
        shape = len(models[0].scenarios), models[0].width, models[0].width
        noise[shape] = _noise_values(shape, seeds, tick)
        measured["", ""] = shape, {}

    rows = [
        _pair_row(metric, pair, shape, values, noise[shape])
        for metric in pair_metrics()
        for pair, (shape, values) in measured.items()
    ]
    rows += [_cosine_row(model, chosen[model.name], seeds) for model in models]
    rows.append(_norms_row(models, seeds))
    rows += stated_rows([model.match_rate for model in models], seeds)
    return AuditReport(tuple(rows), _overlap_on_noise(measured, noise))


def n_steps(n_models: int, n_noise: int = N_NOISE) -> int:
    """Steps of an audit of models of one width, at the default layers."""
    return n_noise + 9 * n_models * (n_models - 1) // 2


def _ticker(on_step: Callable[[int], None] | None) -> Callable[[], None]:
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if on_step is not None:
            on_step(done)

    return tick


def _noise_values(shape: Shape, seeds: range, tick: Callable[[], None]) -> Values:
    """Every metric, and what to use instead, on every draw of noise."""
    n, width_a, width_b = shape
    wide = max(LEAST_NOISE, round(len(seeds) * (FULL_WIDTH / max(width_a, width_b)) ** 3))
    values: Values = {}
    metrics = pair_metrics()
    few = tuple(metric for metric in metrics if not metric.cubic)
    for done, number_ in enumerate(seeds):
        _add(values, metrics if done < wide else few, noise_pair(n, width_a, number_, width_b), shape, memo={})
        tick()
    return values


def _add(
    values: Values, metrics: Sequence[Metric[PairCell]], cell: PairCell, shape: Shape, memo: dict[str, float]
) -> None:
    """Compute metrics on a cell, each corrected statistic once."""
    for metric in metrics:
        if not _computable(metric, shape):
            continue
        values.setdefault(metric.name, []).append(metric.value(cell))
        corrected = metric.corrected.name
        if corrected not in memo:
            memo[corrected] = metric.corrected.value(cell)
            values.setdefault(corrected, []).append(memo[corrected])


def _computable(metric: Metric[PairCell], shape: Shape) -> bool:
    n, width_a, width_b = shape
    fits = n >= metric.least_texts and (metric.k is None or metric.k < min(width_a, width_b))
    return fits and (width_a == width_b or not metric.same_width)


def _pair_row(metric: Metric[PairCell], pair: tuple[str, str], shape: Shape, values: Values, noise: Values) -> AuditRow:
    note = ""
    if not _computable(metric, shape):
        note = (
            "the models differ in width: align them first"
            if shape[1] != shape[2]
            else f"{shape[0]} texts of {shape[1]} dimensions cannot give it"
        )
    elif not values:
        note = "one model: nothing to compare it with"
    return _row(
        metric, " ~ ".join(pair) if any(pair) else "–", values.get(metric.name, []), noise.get(metric.name, []),
        values.get(metric.corrected.name, []), noise.get(metric.corrected.name, []), n=shape[0], d=shape[2], note=note,
    )  # fmt: skip


def _cosine_row(model: AuditedModel, layers: Sequence[int], seeds: range) -> AuditRow:
    metric = class_metric(len(model.emotions))
    n, d = len(model.scenarios), model.width
    cells = [model.class_cell(layer) for layer in layers]
    noise = [noise_classes(n, d, model.emotions, number_) for number_ in seeds]
    return _row(
        metric, model.name, [metric.value(c) for c in cells], [metric.value(c) for c in noise],
        [metric.corrected.value(c) for c in cells], [metric.corrected.value(c) for c in noise], n=n, d=d,
        n_cells=len(cells) * len(model.emotions) * (len(model.emotions) - 1) // 2,
    )  # fmt: skip


def _norms_row(models: Sequence[AuditedModel], seeds: range) -> AuditRow:
    metric = layers_metric()
    cell, noise = layers_cell(models), [noise_layers(models, number_) for number_ in seeds]
    return _row(
        metric, ALL, [metric.value(cell)], [metric.value(c) for c in noise], [metric.corrected.value(cell)],
        [metric.corrected.value(c) for c in noise], n=len(models[0].scenarios), d=None,
        n_cells=sum(v.shape[0] * v.shape[1] for v in cell.vectors),
        note="noise: layers as spread out as the models' own, without emotions",
    )  # fmt: skip


def _row(
    metric: Metric[Any],
    model: str,
    values: Sequence[float],
    noise: Sequence[float],
    corrected: Sequence[float],
    corrected_noise: Sequence[float],
    *,
    n: int,
    d: int | None,
    n_cells: int | None = None,
    note: str = "",
) -> AuditRow:
    band, corrected_band = Band.of(noise), Band.of(corrected_noise)
    mean = float(np.mean(values)) if len(values) else None
    honest = float(np.mean(corrected)) if len(corrected) else None
    chance = metric.chance(d) if d is not None else metric.chance(0)
    reported = metric.reported
    statistic: Corrected[Any] = metric.corrected
    return AuditRow(
        metric=metric.name,
        model=model,
        seed_value=None if reported is None else reported.middle,
        on_models=number(mean),
        on_noise=number(band.mean),
        chance=number(chance),
        ceiling=metric.ceiling,
        corrected=number(honest),
        verdict=verdict_of(number(mean), band, chance, metric.ceiling),
        seed_low=None if reported is None else reported.low,
        seed_high=None if reported is None else reported.high,
        models_low=number(min(values)) if len(values) else None,
        models_high=number(max(values)) if len(values) else None,
        noise_low=number(band.low),
        noise_high=number(band.high),
        corrected_statistic=statistic.name,
        corrected_chance=statistic.expected,
        corrected_noise=number(corrected_band.mean),
        corrected_noise_low=number(corrected_band.low),
        corrected_noise_high=number(corrected_band.high),
        corrected_verdict=above_band(honest, corrected_band),
        k=metric.k,
        n=n,
        d=d,
        n_cells=len(values) if n_cells is None else n_cells,
        n_noise=band.n,
        note=note,
    )


def _overlap_on_noise(
    measured: dict[tuple[str, str], tuple[Shape, Values]], noise: dict[Shape, Values]
) -> OverlapOnNoise | None:
    """The figure's numbers, of the first pair's width and all pairs that share it."""
    shapes = [shape for shape, _ in measured.values() if shape[1] == shape[2]]
    metrics = (ENTRIES.format(MAP_K), MAPPED, MAPPED_ORTHONORMAL, S_STAR_MAPPED)
    if not shapes or any(name not in noise[shapes[0]] for name in metrics):
        return None
    shape = shapes[0]
    n, _, d = shape
    stages = []
    for stage, name in zip(STAGES, metrics, strict=True):

        def entries(values: Sequence[float], name: str = name) -> FloatArray:
            """S* as a mean squared entry again."""
            array = np.asarray(values, dtype=np.float64)
            share = MAP_K / d
            return (array * (1 - share) + share) / MAP_K if name == S_STAR_MAPPED else array

        means = {
            " ~ ".join(pair): float(entries(values[name]).mean())
            for pair, (own, values) in measured.items()
            if own == shape and name in values
        }
        stages.append(Stage(stage, entries(noise[shape][name]), means))
    if not all(np.isfinite(stage.noise).all() for stage in stages):
        return None
    return OverlapOnNoise(n, d, MAP_K, tuple(stages))
