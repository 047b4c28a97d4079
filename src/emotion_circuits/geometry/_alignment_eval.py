"""Fitting maps between all layers of two models and judging them on emotion text, with every null in the same pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from emotion_circuits.errors import InputError
from emotion_circuits.statistics import permute_within_groups, substream

from ._aligner import Aligner
from ._aligners import Ridge
from ._alignment_results import AlignmentReport, LayerAlignment
from ._draws import Draws, label_permutations
from ._folds import RidgeFolds, RidgeTarget
from ._inputs import FloatArray, IntArray, ScenarioTable, Seed, generator, require_same_design, row_hashes
from ._judging import ContrastKind, Design, Space
from ._layer_judging import SHUFFLED, WITHIN_CLASS, EmotionTexts, Plan, judge_all
from ._parallel import in_parallel
from ._reduction import ReducedTexts, most_components


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
    n_jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> LayerAlignment:
    """Fit a map from every layer of A to every layer of B on generic text, and judge it on emotion text.

    Nulls of the map are maps fitted with the same penalty to shuffled pairs of the training texts (over all; within
    classes too, if `fit_labels` are given) and random maps of the fitted one's singular values; the null of the
    emotions shuffles classes within scenarios, alike on both sides. That of an untrained model, of the embedding layer
    or of noise is this function on its activations; `layer_gain` compares.

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
        n_jobs: pairs of layers worked on beside each other, each on one core; it changes no number.
        progress: called with (pairs done, pairs in all).

    Raises:
        InputError: different texts or designs, emotion texts among the training texts, or m over n/5.
        MeasurementError: NaN, constant layers or dimensions, too low a rank.
    """
    model = Ridge() if aligner is None else aligner
    n_fit, widths = _training_shape(XA, XB)
    m = most_components(n_fit, *widths) if model.n_components is None else model.n_components
    named = [(f"Layer {i} of the source, training,", X) for i, X in enumerate(XA)]
    named += [(f"Layer {i} of the target, training,", X) for i, X in enumerate(XB)]
    reduced = list(in_parallel(lambda layer: model.reduce(layer[1], m, layer[0]), named, n_jobs))
    sources, targets = reduced[: len(XA)], reduced[len(XA) :]
    texts_a, texts_b = _texts(emotion_a, sources, labels, groups), _texts(emotion_b, targets, labels, groups)
    require_same_design(texts_a.tables[0], texts_b.tables[0])
    _require_unseen(texts_a.layers[-1], sources[-1].hashes)
    _require_unseen(texts_b.layers[-1], targets[-1].hashes)
    design = Design.of(texts_a.tables[0], neutral, kind, space)
    plan = _plan(design, texts_a.tables[0], groups, n_fit, fit_labels, n_draws, n_bootstrap, seed, level)
    fitted = _fitting(model, sources, targets, fit_groups, n_jobs)
    return judge_all(fitted, model.name, sources, targets, texts_a, texts_b, plan, n_jobs, progress)


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
    return judge_all(lambda i, j: aligner, aligner.name, sources, targets, texts_a, texts_b, plan, 1, None).at(0, 0)


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
) -> EmotionTexts:
    if len(layers) != len(reduced):
        raise InputError("Training and emotion texts differ in layers.", found=f"{len(reduced)} and {len(layers)}")
    arrays = [texts.reduction.checked(layer) for layer, texts in zip(layers, reduced, strict=True)]
    return EmotionTexts(arrays, [ScenarioTable.from_texts(array, labels, groups) for array in arrays])


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
) -> Plan:
    if n_draws < 0 or n_bootstrap < 2 or not 0 < level < 1:
        raise InputError("There are no such draws.", found=f"{n_draws}, {n_bootstrap}, level {level}")
    numbers, orders = np.arange(n_fit), {}
    if n_draws:
        orders[SHUFFLED] = permute_within_groups(numbers, None, n_draws, substream(seed, 11))
        if fit_labels is not None:
            orders[WITHIN_CLASS] = permute_within_groups(numbers, fit_labels, n_draws, substream(seed, 12))
    n = table.n_scenarios
    weights = generator(seed, 13).multinomial(n, np.full(n, 1 / n), size=n_bootstrap).astype(np.float64)
    codes: IntArray = np.unique(np.asarray(groups), return_inverse=True)[1]
    empty = np.empty((0, n), dtype=np.float64), np.empty((0, n, table.n_classes), dtype=np.intp)
    labels = label_permutations(table, n_draws, substream(seed, 15)) if n_draws else Draws(*empty)
    return Plan(design, orders, labels, n_draws, weights, level, seed, codes)


def _fitting(
    model: Aligner,
    sources: list[ReducedTexts],
    targets: list[ReducedTexts],
    groups: npt.ArrayLike | None,
    n_jobs: int,
) -> Callable[[int, int], Aligner]:
    """How the map of a pair of layers is made; ridge shares what belongs to one layer alone."""
    names = None if groups is None else np.asarray(groups)
    if not isinstance(model, Ridge):
        return lambda i, j: _copy(model).fit_reduced(sources[i], targets[j], names)
    penalties, n_folds = tuple(model.penalties), model.n_folds
    folds = list(in_parallel(lambda texts: RidgeFolds.of(texts.scores, names, n_folds, penalties), sources, n_jobs))
    prepared: dict[tuple[int, int], RidgeTarget] = {}

    def fit(i: int, j: int) -> Aligner:
        # Without groups, folds follow the source's first score, so a target's part belongs to one source layer.
        key = (0 if names is not None else i, j)
        ridge = Ridge(**model.get_params())
        if key not in prepared:
            prepared[key] = RidgeTarget.of(targets[j].scores, folds[i])
        return ridge.fit_in_folds(sources[i], targets[j], folds[i], prepared[key])

    return fit


def _copy(model: Aligner) -> Aligner:
    return type(model)(**model.get_params())
