"""Judging the maps of all pairs of layers: the fitted ones, and in the same pass those with a broken link."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ._aligner import Aligner
from ._alignment_results import Band, LayerAlignment, LayerNull
from ._draws import Draws
from ._inputs import FloatArray, IntArray, ScenarioTable, Seed, generator
from ._judging import (
    BootstrappedTarget,
    Design,
    SourceSide,
    TargetSide,
    bootstrapped_cosines,
    own_cosines,
    random_frames,
    random_map_images,
    retrieval,
    specificity,
)
from ._overlap import corrected
from ._parallel import in_parallel
from ._reduction import ReducedTexts
from ._similarity import exceedances

SHUFFLED, WITHIN_CLASS, RANDOM_MAP, LABELS = "shuffled", "shuffled within class", "random map", "shuffled labels"


class EmotionTexts(NamedTuple):
    """Emotion texts of all layers of one model, as they are and arranged."""

    layers: list[FloatArray]
    tables: list[ScenarioTable]


class Plan(NamedTuple):
    """What all pairs of layers share: the design and the draws.

    orders: per kind of shuffle (draws, n) which training text of the source becomes whose partner. labels: classes
    shuffled within scenarios. n_random: random maps. weights: (draws, G) of the bootstrap. codes: (t,) scenario number
    of each emotion text.
    """

    design: Design
    orders: dict[str, IntArray]
    labels: Draws
    n_random: int
    weights: FloatArray
    level: float
    seed: Seed
    codes: IntArray


class _Pair(NamedTuple):
    """Judgement of one map. Null statistics are (draws, E + 3): own cosines, specificity, overlap, retrieval."""

    cosines: FloatArray
    overlap: FloatArray
    bootstrap: npt.NDArray[np.float32]
    specificity: FloatArray
    residuals: FloatArray
    totals: FloatArray
    nulls: dict[str, FloatArray]


def judge_all(
    fitted: Callable[[int, int], Aligner],
    method: str,
    sources: list[ReducedTexts],
    targets: list[ReducedTexts],
    texts_a: EmotionTexts,
    texts_b: EmotionTexts,
    plan: Plan,
    n_jobs: int,
    progress: Callable[[int, int], None] | None,
) -> LayerAlignment:
    """Judge every pair of layers; `fitted` gives its map."""
    design = plan.design
    n_emotions = len(design.emotions)
    m = (sources[0].reduction.n_components, targets[0].reduction.n_components)
    rng = generator(plan.seed, 14)
    frames = tuple(random_frames(rng, plan.n_random, n_emotions, size) for size in m) if plan.n_random else None

    def source_side(i: int) -> tuple[SourceSide, FloatArray]:
        reduction = sources[i].reduction
        side = SourceSide.of(texts_a.tables[i], reduction, design, plan.labels)
        return side, reduction.scores(texts_a.layers[i])

    def target_side(j: int) -> tuple[TargetSide, BootstrappedTarget]:
        side = TargetSide.of(texts_b.tables[j], targets[j].reduction, targets[j].scale, design, plan.labels)
        return side, BootstrappedTarget.of(side, plan.weights)

    side_a = list(in_parallel(source_side, range(len(sources)), n_jobs))
    side_b = list(in_parallel(target_side, range(len(targets)), n_jobs))

    def judged(pair: tuple[int, int]) -> tuple[_Pair, tuple[float, float]]:
        i, j = pair
        aligner = fitted(i, j)
        judgement = _judge(aligner, *side_a[i], *side_b[j], frames, plan, texts_b.layers[j])
        return judgement, (getattr(aligner, "cv_r2_", np.nan), getattr(aligner, "penalty_", np.nan))

    pairs = list(itertools.product(range(len(sources)), range(len(targets))))
    results = []
    for number, result in enumerate(in_parallel(judged, pairs, n_jobs), 1):
        results.append(result)
        if progress is not None:
            progress(number, len(pairs))
    rows = [[pair for pair, _ in results[i * len(targets) : (i + 1) * len(targets)]] for i in range(len(sources))]
    fits = [fit for _, fit in results]
    return _assemble(rows, fits, method, sources[0], texts_a, texts_b, plan)


def _judge(
    aligner: Aligner,
    source: SourceSide,
    scores: FloatArray,
    target: TargetSide,
    resampled: BootstrappedTarget,
    frames: tuple[FloatArray, ...] | None,
    plan: Plan,
    emotion_b: FloatArray,
) -> _Pair:
    """One map: its statistics, their bootstrap, and the same statistics for every null draw."""
    design = plan.design
    image = target.coordinates(source.directions @ aligner.map_)
    cosines = target.own.cosines(image, design)
    draws = bootstrapped_cosines(source, aligner.map_, target, resampled, plan.weights, design)

    predicted = aligner.target_.mean + aligner.target_.direction_from(scores @ aligner.map_)

    def squares_about(centre: FloatArray) -> FloatArray:
        squares = np.square((emotion_b - centre) / aligner.target_scale_).sum(axis=1)
        return np.asarray(np.bincount(plan.codes, weights=squares), dtype=np.float64)

    images = {name: aligner.shuffled(source.directions, orders) for name, orders in plan.orders.items()}
    if frames is not None:
        spectrum: FloatArray = np.asarray(np.linalg.svd(aligner.map_, compute_uv=False), dtype=np.float64)
        images[RANDOM_MAP] = random_map_images(source.directions, spectrum, (frames[0], frames[1]))
    nulls = {}
    own = dict.fromkeys(images, target.own)
    if plan.n_random:
        images[LABELS], own[LABELS] = source.shuffled @ aligner.map_, target.shuffled
    for name, shuffled in images.items():
        coordinates = target.coordinates(shuffled)
        null = own[name].cosines(coordinates, design)
        columns = (own_cosines(null), specificity(null), own[name].overlaps(coordinates), retrieval(null))
        nulls[name] = np.column_stack(columns)
    return _Pair(
        cosines=cosines,
        overlap=target.own.overlaps(image),
        bootstrap=own_cosines(draws).astype(np.float32),
        specificity=specificity(draws),
        residuals=squares_about(predicted),
        totals=squares_about(aligner.target_mean_),
        nulls=nulls,
    )


def _assemble(
    rows: list[list[_Pair]],
    fits: list[tuple[float, float]],
    method: str,
    source: ReducedTexts,
    texts_a: EmotionTexts,
    texts_b: EmotionTexts,
    plan: Plan,
) -> LayerAlignment:
    def stacked(name: str) -> FloatArray:
        return np.stack([np.stack([getattr(pair, name) for pair in row]) for row in rows])

    design = plan.design
    cosines, overlap = stacked("cosines"), stacked("overlap")
    residuals, totals = stacked("residuals"), stacked("totals")
    tails = [(1 - plan.level) / 2, (1 + plan.level) / 2]
    specificity_low, specificity_high = np.quantile(stacked("specificity"), tails, axis=-1)
    r2_draws = 1 - (residuals @ plan.weights.T) / (totals @ plan.weights.T)
    r2_low, r2_high = np.quantile(r2_draws, tails, axis=-1)
    chance = len(design.emotions) / texts_b.tables[0].width
    cv_r2, penalty = np.asarray(fits, dtype=np.float64).reshape(*overlap.shape, 2).transpose(2, 0, 1)
    observed = np.concatenate([own_cosines(cosines), specificity(cosines)[..., None], overlap[..., None]], axis=-1)
    names = rows[0][0].nulls
    nulls = [np.stack([np.stack([pair.nulls[name] for pair in row]) for row in rows]) for name in names]
    made = [_null(name, observed, draws) for name, draws in zip(names, nulls, strict=True)]
    return LayerAlignment(
        method=method,
        emotions=design.emotions,
        kind=design.kind,
        space=design.space,
        cosines=cosines,
        bootstrap=np.moveaxis(np.stack([np.stack([pair.bootstrap for pair in row]) for row in rows]), 2, 0),
        level=plan.level,
        specificity_low=specificity_low,
        specificity_high=specificity_high,
        overlap=overlap,
        overlap_corrected=corrected(overlap, chance),
        overlap_chance=chance,
        r2=1 - residuals.sum(axis=-1) / totals.sum(axis=-1),
        r2_low=r2_low,
        r2_high=r2_high,
        cv_r2=cv_r2,
        penalty=penalty,
        nulls=tuple(null for null in made if null.name != LABELS),
        label_null=next((null for null in made if null.name == LABELS), None),
        n_fit=source.n_texts,
        n_components=source.reduction.n_components,
        n_scenarios=texts_a.tables[0].n_scenarios,
        n_texts=texts_a.tables[0].n_texts,
        n_unique=min(texts_a.tables[-1].n_unique, texts_b.tables[-1].n_unique),
    )


def _null(name: str, observed: FloatArray, draws: FloatArray) -> LayerNull:
    """From (La, Lb, draws, E + 3) statistics of null maps and (La, Lb, E + 2) of the fitted ones."""
    n_emotions = observed.shape[-1] - 2

    def band(values: FloatArray, null: FloatArray) -> Band:
        first = np.moveaxis(null, 2, 0)
        low, high = np.quantile(first, [0.025, 0.975], axis=0)
        return Band(first.mean(axis=0), low, high, exceedances(values, first))

    return LayerNull(
        name=name,
        n_draws=draws.shape[2],
        own=band(observed[..., :n_emotions], draws[..., :n_emotions]),
        mean_own=band(observed[..., :n_emotions].mean(axis=-1), draws[..., :n_emotions].mean(axis=-1)),
        specificity=band(observed[..., n_emotions], draws[..., n_emotions]),
        overlap=band(observed[..., n_emotions + 1], draws[..., n_emotions + 1]),
        retrieval=draws[..., -1].mean(axis=2),
    )
