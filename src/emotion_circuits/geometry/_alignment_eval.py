"""Fitting maps between all layers of two models and judging them on emotion text, with every null in the same pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from emotion_circuits.errors import InputError
from emotion_circuits.statistics import permute_within_groups

from ._aligner import Aligner
from ._aligners import Ridge
from ._alignment_results import AlignmentReport, Band, LayerAlignment, LayerNull
from ._folds import RidgeFolds, RidgeTarget
from ._inputs import FloatArray, IntArray, ScenarioTable, Seed, generator, require_same_design, row_hashes
from ._judging import (
    BootstrappedTarget,
    ContrastKind,
    Design,
    SourceSide,
    Space,
    TargetSide,
    bootstrapped_cosines,
    own_cosines,
    random_frames,
    random_map_images,
    retrieval,
    specificity,
)
from ._overlap import corrected
from ._reduction import ReducedTexts, most_components
from ._similarity import exceedances

SHUFFLED, WITHIN_CLASS, RANDOM_MAP = "shuffled", "shuffled within class", "random map"


class _Texts(NamedTuple):
    """Emotion texts of all layers of one model."""

    layers: list[FloatArray]
    tables: list[ScenarioTable]


class _Plan(NamedTuple):
    """The draws, shared by all pairs of layers."""

    design: Design
    orders: dict[str, IntArray]
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


def align_all_layers(
    XA: Sequence[npt.ArrayLike],
    XB: Sequence[npt.ArrayLike],
    emotion_a: Sequence[npt.ArrayLike],
    emotion_b: Sequence[npt.ArrayLike],
    labels: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    aligner: Aligner | None = None,
    fit_labels: npt.ArrayLike | None = None,
    fit_groups: npt.ArrayLike | None = None,
    neutral: str = "neutral",
    kind: ContrastKind = "specific",
    space: Space = "standardised",
    n_draws: int = 1000,
    n_bootstrap: int = 2000,
    seed: Seed,
    level: float = 0.95,
    progress: Callable[[int, int], None] | None = None,
) -> LayerAlignment:
    """Fit a map from every layer of A to every layer of B on generic text, and judge it on emotion text.

    The nulls are maps fitted with the same penalty to shuffled pairs of the training texts (over all; within classes
    too, if `fit_labels` are given) and random maps of the fitted one's singular values. That of an untrained model, of
    the embedding layer or of noise is this function on its activations; `layer_gain` compares.

    Args:
        XA, XB: (n, d) training activations per layer; the same texts on both sides.
        emotion_a, emotion_b: (t, d) emotion activations per layer, not among the training texts.
        labels, groups: (t,) class and scenario of the emotion texts.
        aligner: how maps are fitted; `Ridge()` if None. With one whose `shuffled` needs a decomposition per draw
            (Procrustes, CCA), every null draw of every pair costs one.
        fit_labels: (n,) class of each training text, for the shuffle within classes.
        fit_groups: (n,) training texts that stay together in cross-validation.
        neutral: name of the neutral class.
        kind: "specific" directions (minus the mean over emotions) or "matched" ones (minus neutral only).
        space: units in which cosines are taken; "standardised" divides by the target's training deviations, so that no
            few dimensions decide.
        n_draws: of each null; 0 for none (an untrained arm needs only its cosines).
        n_bootstrap, seed, level: draws over scenarios, seed of everything, nominal coverage.
        progress: called with (pairs done, pairs in all).

    Raises:
        InputError: different texts or designs, emotion texts among the training texts, or m over n/5.
        MeasurementError: NaN, constant layers or dimensions, too low a rank.
    """
    model = Ridge() if aligner is None else aligner
    n_fit, widths = _training_shape(XA, XB)
    m = most_components(n_fit, *widths) if model.n_components is None else model.n_components
    sources = [model.reduce(X, m, f"Layer {i} of the source, training,") for i, X in enumerate(XA)]
    targets = [model.reduce(X, m, f"Layer {i} of the target, training,") for i, X in enumerate(XB)]
    texts_a, texts_b = _texts(emotion_a, sources, labels, groups), _texts(emotion_b, targets, labels, groups)
    require_same_design(texts_a.tables[0], texts_b.tables[0])
    _require_unseen(texts_a.layers[-1], sources[-1].hashes)
    _require_unseen(texts_b.layers[-1], targets[-1].hashes)
    design = Design.of(texts_a.tables[0], neutral, kind, space)
    plan = _plan(design, texts_a.tables[0], groups, n_fit, fit_labels, n_draws, n_bootstrap, seed, level)
    fitted = _fitting(model, sources, targets, fit_groups)
    return _judge_all(fitted, model, sources, targets, texts_a, texts_b, plan, progress)


def evaluate_alignment(
    aligner: Aligner,
    emotion_a: npt.ArrayLike,
    emotion_b: npt.ArrayLike,
    labels: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    fit_labels: npt.ArrayLike | None = None,
    neutral: str = "neutral",
    kind: ContrastKind = "specific",
    space: Space = "standardised",
    n_draws: int = 1000,
    n_bootstrap: int = 2000,
    seed: Seed,
    level: float = 0.95,
) -> AlignmentReport:
    """Judge one fitted map on emotion texts (t, d_A) and (t, d_B). Arguments, nulls and errors as `align_all_layers`.

    A map from a file has no training texts to shuffle: pass n_draws=0, or fit it again.
    """
    if n_draws:
        sources, targets = ([texts] for texts in aligner.training_texts())
    else:
        aligner._fitted_map()
        empty: frozenset[bytes] = frozenset()
        sources = [ReducedTexts(aligner.source_, np.empty((0, 0)), aligner.source_.mean, aligner.source_.scale, empty)]
        targets = [ReducedTexts(aligner.target_, np.empty((0, 0)), aligner.target_mean_, aligner.target_scale_, empty)]
    texts_a, texts_b = _texts([emotion_a], sources, labels, groups), _texts([emotion_b], targets, labels, groups)
    _require_unseen(texts_a.layers[0], sources[0].hashes)
    _require_unseen(texts_b.layers[0], targets[0].hashes)
    design = Design.of(texts_a.tables[0], neutral, kind, space)
    plan = _plan(design, texts_a.tables[0], groups, aligner.n_fit_, fit_labels, n_draws, n_bootstrap, seed, level)
    return _judge_all(lambda i, j: aligner, aligner, sources, targets, texts_a, texts_b, plan, None).at(0, 0)


def _training_shape(XA: Sequence[npt.ArrayLike], XB: Sequence[npt.ArrayLike]) -> tuple[int, list[int]]:
    """Number of texts and widths of all layers."""
    shapes = [np.shape(X) for X in (*XA, *XB)]
    if not len(XA) or not len(XB) or any(len(shape) != 2 for shape in shapes):
        raise InputError("Each model needs its layers as (texts, dimensions) arrays.", found=shapes[:4])
    counts = {shape[0] for shape in shapes}
    if len(counts) > 1:
        raise InputError("The training texts of the two models (or of layers) differ in number.", found=sorted(counts))
    return counts.pop(), [shape[1] for shape in shapes]


def _texts(
    layers: Sequence[npt.ArrayLike], reduced: Sequence[ReducedTexts], labels: npt.ArrayLike, groups: npt.ArrayLike
) -> _Texts:
    if len(layers) != len(reduced):
        raise InputError("Training and emotion texts differ in layers.", found=f"{len(reduced)} and {len(layers)}")
    arrays = [texts.reduction.checked(layer) for layer, texts in zip(layers, reduced, strict=True)]
    return _Texts(arrays, [ScenarioTable.from_texts(array, labels, groups) for array in arrays])


def _require_unseen(emotion: FloatArray, training: frozenset[bytes]) -> None:
    seen = len(row_hashes(emotion) & training)
    if seen:
        raise InputError(
            "A map must be judged on texts that it was not fitted on.",
            found=f"{seen} emotion texts with the same activations as a training text",
            next_step="leave them out of the fit",
        )


def _plan(
    design: Design,
    table: ScenarioTable,
    groups: npt.ArrayLike,
    n_fit: int,
    fit_labels: npt.ArrayLike | None,
    n_draws: int,
    n_bootstrap: int,
    seed: Seed,
    level: float,
) -> _Plan:
    if n_draws < 0 or n_bootstrap < 2 or not 0 < level < 1:
        raise InputError("There are no such draws.", found=f"{n_draws}, {n_bootstrap}, level {level}")
    numbers, orders = np.arange(n_fit), {}
    if n_draws:
        orders[SHUFFLED] = permute_within_groups(numbers, None, n_draws, _stream(seed, 11))
        if fit_labels is not None:
            orders[WITHIN_CLASS] = permute_within_groups(numbers, fit_labels, n_draws, _stream(seed, 12))
    n = table.n_scenarios
    weights = generator(seed, 13).multinomial(n, np.full(n, 1 / n), size=n_bootstrap).astype(np.float64)
    codes: IntArray = np.unique(np.asarray(groups), return_inverse=True)[1]
    return _Plan(design, orders, n_draws, weights, level, seed, codes)


def _fitting(
    model: Aligner, sources: list[ReducedTexts], targets: list[ReducedTexts], groups: npt.ArrayLike | None
) -> Callable[[int, int], Aligner]:
    """How the map of a pair of layers is made; ridge shares what belongs to one layer alone."""
    names = None if groups is None else np.asarray(groups)
    if not isinstance(model, Ridge):
        return lambda i, j: _copy(model).fit_reduced(sources[i], targets[j], names)
    folds = [RidgeFolds.of(source.scores, names, model.n_folds, tuple(model.penalties)) for source in sources]
    prepared: dict[tuple[int, int], RidgeTarget] = {}

    def fit(i: int, j: int) -> Aligner:
        # Without groups, folds follow the source's first score, so a target's part belongs to one source layer.
        key = (0 if names is not None else i, j)
        ridge = Ridge(**model.get_params())
        if key not in prepared:
            prepared[key] = RidgeTarget.of(targets[j].scores, folds[i])
        return ridge.fit_in_folds(sources[i], targets[j], folds[i], prepared[key])

    return fit


def _judge_all(
    fitted: Callable[[int, int], Aligner],
    model: Aligner,
    sources: list[ReducedTexts],
    targets: list[ReducedTexts],
    texts_a: _Texts,
    texts_b: _Texts,
    plan: _Plan,
    progress: Callable[[int, int], None] | None,
) -> LayerAlignment:
    design = plan.design
    side_a = [SourceSide.of(t, s.reduction, design) for t, s in zip(texts_a.tables, sources, strict=True)]
    side_b = [TargetSide.of(t, s.reduction, s.scale, design) for t, s in zip(texts_b.tables, targets, strict=True)]
    resampled = [BootstrappedTarget.of(side, plan.weights) for side in side_b]
    n_emotions = len(design.emotions)
    m = (sources[0].reduction.n_components, targets[0].reduction.n_components)
    rng = generator(plan.seed, 14)
    frames = tuple(random_frames(rng, plan.n_random, n_emotions, size) for size in m) if plan.n_random else None
    rows: list[list[_Pair]] = []
    fits: list[tuple[float, float]] = []
    n_pairs = len(side_a) * len(side_b)
    for i, source in enumerate(side_a):
        scores = sources[i].reduction.scores(texts_a.layers[i])
        row = []
        for j, target in enumerate(side_b):
            aligner = fitted(i, j)
            fits.append((getattr(aligner, "cv_r2_", np.nan), getattr(aligner, "penalty_", np.nan)))
            row.append(_judge(aligner, source, target, resampled[j], frames, plan, scores, texts_b.layers[j]))
            if progress is not None:
                progress(i * len(side_b) + j + 1, n_pairs)
        rows.append(row)
    return _assemble(rows, fits, model, sources[0], texts_a, texts_b, plan)


def _judge(
    aligner: Aligner,
    source: SourceSide,
    target: TargetSide,
    resampled: BootstrappedTarget,
    frames: tuple[FloatArray, ...] | None,
    plan: _Plan,
    scores: FloatArray,
    emotion_b: FloatArray,
) -> _Pair:
    """One map: its statistics, their bootstrap, and the same statistics for every null draw."""
    design = plan.design
    image = target.coordinates(source.directions @ aligner.map_)
    cosines = target.cosines(image, design)
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
    for name, shuffled in images.items():
        coordinates = target.coordinates(shuffled)
        null = target.cosines(coordinates, design)
        columns = (own_cosines(null), specificity(null), target.overlaps(coordinates), retrieval(null))
        nulls[name] = np.column_stack(columns)
    return _Pair(
        cosines=cosines,
        overlap=target.overlaps(image),
        bootstrap=own_cosines(draws).astype(np.float32),
        specificity=specificity(draws),
        residuals=squares_about(predicted),
        totals=squares_about(aligner.target_mean_),
        nulls=nulls,
    )


def _assemble(
    rows: list[list[_Pair]],
    fits: list[tuple[float, float]],
    model: Aligner,
    source: ReducedTexts,
    texts_a: _Texts,
    texts_b: _Texts,
    plan: _Plan,
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
    return LayerAlignment(
        method=model.name,
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
        nulls=tuple(_null(name, observed, draws) for name, draws in zip(names, nulls, strict=True)),
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


def _copy(model: Aligner) -> Aligner:
    return type(model)(**model.get_params())


def _stream(seed: Seed, number: int) -> tuple[int, ...]:
    return (seed, number) if isinstance(seed, int) else (*seed, number)
