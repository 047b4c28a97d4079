"""Is a direction any good? Every answer beside its chance level, interval, ceiling and simple explanations (floors)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.directions._activations import Activations
from emotion_circuits.directions._centroids import centroid_accuracy
from emotion_circuits.directions._cleaning import DEFAULT_SHARE, Cleaning, cleaned_values
from emotion_circuits.directions._compared import compared
from emotion_circuits.directions._generic import GenericStatistics
from emotion_circuits.directions._sets import PROBES, DirectionSet, fit_directions
from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.statistics import (
    EMBED_LAYER,
    AurocResult,
    Blocks,
    Measure,
    auroc,
    exceedance_p,
    grouped_auroc,
    grouped_bootstrap,
    split_half_cosine,
)

IMPLICIT = "AUROC on implicit texts"
REAL_WORLD = "AUROC on real-world texts"
EXTERNAL = "AUROC on external texts"
# Shorter than this share of the residual norm is what rounding leaves of texts that do not differ at a position, such
# as one final mark before any token has seen another.
NO_DIRECTION = 1e-6
PROFILE_BOOTSTRAP = 500
PROFILE_PERMUTATIONS = 200
PROFILE_SPLITS = 25
CLAIM_BOOTSTRAP = 2000
CLAIM_PERMUTATIONS = 1000
CLAIM_SPLITS = 200


def _layer_name(layer: int) -> str:
    return "embed" if layer == EMBED_LAYER else f"layer {layer}"


def project(
    activations: Activations, directions: DirectionSet, emotion: str, kind: str, row: int
) -> NDArray[np.float64]:
    """(texts,) ⟨h − μ, v̂⟩ / s at one row of the layers (0 is `embed`); s is `GenericStatistics.unit`."""
    if emotion not in directions.vectors[kind]:
        raise MeasurementError(f"There is no direction for {emotion} at {directions.position}.")
    values = activations.at(directions.position)[row].astype(np.float64)
    vector = directions.vectors[kind][emotion][row].astype(np.float64)
    length, scale = float(np.linalg.norm(vector)), float(directions.generic.unit[row])
    # A probe's coefficients are per unit of the stream: where states are long they are short, and only 0 is none.
    least = 0.0 if kind in PROBES else NO_DIRECTION * float(directions.generic.norm[row])
    if not length > least:
        raise MeasurementError(
            f"There is no direction for {emotion} at {_layer_name(row - 1)}, {directions.position}.",
            found="texts of all classes are the same there",
        )
    unit = vector / length
    scores: NDArray[np.float64] = (values - directions.generic.mean[row]) @ unit / scale
    return scores


def detection(
    activations: Activations,
    directions: DirectionSet,
    emotion: str,
    row: int,
    *,
    kind: str = "specific",
    n_bootstrap: int = PROFILE_BOOTSTRAP,
    n_permutations: int = PROFILE_PERMUTATIONS,
    seed: int = 0,
) -> AurocResult:
    """AUROC of the projection for one emotion against the other classes (see `compared`)."""
    against = compared(activations.data, emotion)
    return grouped_auroc(
        project(activations, directions, emotion, kind, row)[against.kept],
        against.positive,
        against.groups,
        n_bootstrap=n_bootstrap,
        n_permutations=n_permutations,
        seed=seed,
    )


def choose_layers(development: Activations, directions: DirectionSet, kind: str = "specific") -> dict[str, int]:
    """For each emotion that has texts the layer around which the AUROC on development texts is highest.

    `embed` is not a candidate: it is a floor. See `best_layer`.
    """
    chosen = {}
    for emotion in directions.emotions:
        if emotion not in development.labels:
            continue
        values = [_ranking(development, directions, emotion, kind, layer) for layer in range(directions.n_layers)]
        chosen[emotion] = best_layer(values)
    return chosen


class Judged(NamedTuple):
    """Development texts that a kind of direction is judged on, and directions that have not seen them."""

    texts: Activations
    directions: DirectionSet
    kind: str


def choose_detectors(
    candidates: Mapping[str, Sequence[Sequence[Judged]]], emotions: Sequence[str]
) -> dict[str, tuple[str, int]]:
    """The kind of direction that tells emotions best on development texts, and for each emotion the layer around which
    it does.

    The kind is one for all, by the mean over emotions: their development texts are too few to choose it for each. Ties
    go to the kind that comes first.

    Args:
        candidates: kind → sets of texts that count alike; a set in parts, each with directions that have not seen it.
        emotions: those that have such texts.
    """
    best: tuple[float, dict[str, tuple[str, int]]] = (-np.inf, {})
    for kind, sets in candidates.items():
        curves = {
            e: np.mean([np.mean([_curve(part, e) for part in one], axis=0) for one in sets], axis=0) for e in emotions
        }
        layers = {e: best_layer(values) for e, values in curves.items()}
        reached = [float(_around(values)[layers[e]]) for e, values in curves.items()]
        if reached and (mean := round(float(np.mean(reached)), 10)) > best[0]:
            best = mean, {e: (kind, layer) for e, layer in layers.items()}
    return best[1]


def _curve(judged: Judged, emotion: str) -> list[float]:
    """AUROC of every layer."""
    texts, directions, kind = judged
    return [_ranking(texts, directions, emotion, kind, layer) for layer in range(directions.n_layers)]


def best_layer(values: Sequence[float | np.floating]) -> int:
    """The layer whose value is highest, averaged with those of the layers before and after it, itself counting twice;
    ties go to the lower one.

    One layer's maximum over few texts is often chance: what a model knows, neighbouring layers know too.
    """
    return int(np.argmax(np.round(_around(values), 10)))


def _around(values: Sequence[float | np.floating]) -> NDArray[np.float64]:
    padded = np.pad(np.asarray(values, dtype=np.float64), 1, constant_values=np.nan)
    return np.asarray(np.nanmean([padded[:-2], padded[1:-1], padded[1:-1], padded[2:]], axis=0))


def _ranking(texts: Activations, directions: DirectionSet, emotion: str, kind: str, layer: int) -> float:
    kept, positive, _ = compared(texts.data, emotion)
    return float(auroc(project(texts, directions, emotion, kind, layer + 1)[kept], positive))


class EvaluationTexts(NamedTuple):
    """What directions are judged on, recorded in the same model. `explicit` is the profile they were made from."""

    explicit: Activations
    implicit: Activations
    real_world: Activations


def choose_layers_within(
    development: Activations, position: str, generic: GenericStatistics, cleaning: Cleaning = DEFAULT_SHARE
) -> dict[str, int]:
    """Like `choose_layers`, where only explicit texts have the position: directions from one half of the scenarios are
    judged on the other half, and the two AUROCs averaged. Emotions of fewer than two scenarios have no layer."""
    names, seen = [], Counter[frozenset[str]]()
    classes = {s: frozenset(development.labels[development.scenarios == s]) for s in development.data.scenarios}
    for scenario, own in classes.items():  # every second of those with the same classes
        seen[own] += 1
        names += [scenario] if seen[own] % 2 else []
    half = np.isin(development.scenarios, names)
    parts = [development.only(half), development.only(~half)]
    if not all(len(part.data) for part in parts):
        return {}
    fitted = [fit_directions(part, position, generic, ("specific",), cleaning) for part in parts]
    chosen = {}
    for emotion in fitted[0].emotions:
        if emotion not in fitted[1].emotions:
            continue
        values = [
            np.mean(
                [_ranking(other, d, emotion, "specific", layer) for d, other in zip(fitted, parts[::-1], strict=True)]
            )
            for layer in range(generic.mean.shape[0] - 1)
        ]
        chosen[emotion] = best_layer(values)
    return chosen


def quality_profile(texts: EvaluationTexts, directions: DirectionSet, seed: int = 0) -> list[Measure]:
    """All quality measures of one position over all layers.

    Explicit texts are judged held out (directions from development scenarios, values from test scenarios): descriptive
    only, a bag of words is near 1 there. Implicit test texts name no emotion; on them every kind of direction is judged
    that is there but `matched`.
    """
    position = directions.position
    explicit = texts.explicit
    development = explicit.select(split="development")
    held_out = fit_directions(development, position, directions.generic, share=directions.cleaned)
    sets = [("AUROC on explicit test texts, held out", explicit.select(split="test"), held_out)]
    if position != "emotion_token":
        sets += [
            (IMPLICIT, texts.implicit.select(split="test"), directions),
            (REAL_WORLD, texts.real_world, directions),
        ]
    rows: list[Measure] = []
    cleaned = cleaned_values(explicit, position, directions.generic, directions.cleaned)
    for emotion in directions.emotions:
        for row in range(directions.n_layers + 1):
            for name, judged_on, from_set in sets:
                others = ("pca", "lda") if name == IMPLICIT else ()
                for kind in ("specific", "probe", *(k for k in others if k in from_set.vectors)):
                    rows.append(detection_row(judged_on, from_set, emotion, row, kind, name, seed))
            rows += _geometry_rows(explicit, cleaned[row], directions, emotion, row, seed)
    return rows + list(_accuracy_rows(explicit, cleaned, directions, seed))


def _row(directions: DirectionSet, emotion: str, layer: int, kind: str, statistic: str, **numbers: float) -> Measure:
    defaults = {k: np.nan for k in ("ci_low", "ci_high", "null_low", "null_high", "ceiling", "p")}
    return Measure(
        model=directions.source.model,
        emotion=emotion,
        position=directions.position,
        layer=layer,
        kind=kind,
        statistic=statistic,
        **{**defaults, **numbers},  # type: ignore[arg-type]
    )


def detection_row(
    texts: Activations, d: DirectionSet, emotion: str, row: int, kind: str, name: str, seed: int
) -> Measure:
    """`detection` as a row of the statistic `name`; NaN where it is undefined."""
    try:
        found = detection(texts, d, emotion, row, kind=kind, seed=seed)
    except MeasurementError:  # no direction there, or no texts: the number is undefined, not chance
        kept, positive, _ = compared(texts.data, emotion)
        n = len(set(texts.scenarios[kept])) if positive.any() else 0
        return _row(d, emotion, row - 1, kind, name, value=np.nan, chance=0.5, n_unique=n)
    return _row(
        d, emotion, row - 1, kind, name,
        value=found.value, ci_low=found.interval.low, ci_high=found.interval.high, chance=found.chance,
        null_low=found.null_low, null_high=found.null_high, ceiling=1.0, p=found.p, n_unique=found.n_groups,
    )  # fmt: skip


def pair_cosines(explicit: Activations, values: NDArray[np.float64], emotion: str) -> NDArray[np.float64]:
    """(scenarios,) cosine of each scenario's h(emotion) − h(neutral) with the mean of the other scenarios' differences.

    How alike the pairs' own differences are predicts how well a direction steers (Tan et al. 2024).
    """
    difference = _pair_differences(explicit, values, emotion)
    others = difference.sum(axis=0) - difference
    lengths = np.linalg.norm(difference, axis=1) * np.linalg.norm(others, axis=1)
    # Identical pairs have no difference and agree with nothing (a position both texts of a pair read alike).
    products = np.einsum("gd,gd->g", difference, others)
    result: NDArray[np.float64] = np.divide(products, lengths, out=np.zeros(len(products)), where=lengths > 0)
    return result


def pair_cosine_null(
    explicit: Activations, values: NDArray[np.float64], emotion: str, n_draws: int, seed: int
) -> NDArray[np.float64]:
    """(draws,) mean of `pair_cosines` after the two texts of random pairs changed places.

    Whole differences are flipped and all cosines computed again: a difference stands in every scenario's cosine, so
    flipping the cosines one by one would call noise significant one time in eight.
    """
    difference = _pair_differences(explicit, values, emotion)
    gram = difference @ difference.T
    own = np.diag(gram)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(n_draws, len(gram)))
    with_all = signs * (signs @ gram)
    products = with_all - own
    lengths = np.sqrt(own * np.maximum(with_all.sum(axis=1, keepdims=True) - 2 * with_all + own, 0.0))
    cosines = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    result: NDArray[np.float64] = cosines.mean(axis=1)
    return result


def _pair_differences(explicit: Activations, values: NDArray[np.float64], emotion: str) -> NDArray[np.float64]:
    """(scenarios, d) h(emotion) − h(neutral) of the scenarios that have the emotion, in sorted order."""
    pairs = Blocks.of(explicit.labels, explicit.scenarios).pairs(emotion)
    result: NDArray[np.float64] = values[pairs.texts] - values[pairs.twins]
    return result


def _geometry_rows(
    explicit: Activations, values: NDArray[np.float64], d: DirectionSet, emotion: str, row: int, seed: int
) -> Iterator[Measure]:
    for kind in ("specific", "matched"):
        yield _split_half_row(explicit, values, d, emotion, row, kind, seed)
    cosines = pair_cosines(explicit, values, emotion)
    interval = grouped_bootstrap(cosines, n_draws=PROFILE_BOOTSTRAP, seed=seed).interval
    null = pair_cosine_null(explicit, values, emotion, PROFILE_PERMUTATIONS, seed)
    null_low, null_high = np.quantile(null, [0.025, 0.975])
    yield _row(
        d, emotion, row - 1, "matched", "cosine of a pair's difference with the others' mean",
        value=float(cosines.mean()), ci_low=interval.low, ci_high=interval.high, chance=0.0,
        null_low=float(null_low), null_high=float(null_high), ceiling=1.0,
        p=exceedance_p(float(cosines.mean()), null), n_unique=len(cosines),
    )  # fmt: skip


def _split_half_row(
    explicit: Activations,
    values: NDArray[np.float64],
    d: DirectionSet,
    emotion: str,
    row: int,
    kind: Literal["specific", "matched"],
    seed: int,
) -> Measure:
    n_groups = int((explicit.labels == emotion).sum())
    try:
        half = split_half_cosine(
            values, explicit.labels, explicit.scenarios, emotion,
            kind=kind, n_splits=PROFILE_SPLITS, n_permutations=PROFILE_PERMUTATIONS, n_bootstrap=PROFILE_BOOTSTRAP,
            seed=seed,
        )  # fmt: skip
    except (InputError, MeasurementError):  # too few scenarios, or nothing differs between the classes
        return _row(d, emotion, row - 1, kind, "split-half cosine", value=np.nan, chance=0.0, n_unique=n_groups)
    return _row(
        d, emotion, row - 1, kind, "split-half cosine",
        value=half.value, ci_low=half.interval.low, ci_high=half.interval.high, chance=half.null_mean,
        null_low=half.null_low, null_high=half.null_high, ceiling=1.0, p=half.p, n_unique=half.n_groups,
    )  # fmt: skip


def _accuracy_rows(
    explicit: Activations, cleaned: NDArray[np.float64], d: DirectionSet, seed: int
) -> Iterator[Measure]:
    for row, values in enumerate(cleaned):
        found = centroid_accuracy(values, explicit.labels, explicit.scenarios, seed=seed)
        yield _row(
            d, "all", row - 1, "centroid", "nearest-centroid accuracy, held out by scenario",
            value=found.value, ci_low=found.interval.low, ci_high=found.interval.high, chance=found.null_mean,
            null_low=found.null_low, null_high=found.null_high, ceiling=1.0, p=found.p,
            n_unique=len(found.per_scenario),
        )  # fmt: skip


def cosine_rows(explicit: Activations, directions: DirectionSet, seed: int = 0) -> list[Measure]:
    """Cosines between emotions' directions at every layer, raw (matched) and specific, with a bootstrap interval.

    Matched directions share −μ_neutral, so their raw cosines are inflated: under the null in which each scenario's
    texts swap labels at random they are near .5 where the emotions have the same scenarios. Specific ones sum to zero:
    three unrelated ones have −.5. One emotion has no rows.
    """
    emotions = directions.emotions
    if len(emotions) < 2:
        return []
    rng = np.random.default_rng(seed)
    values = cleaned_values(explicit, directions.position, directions.generic, directions.cleaned)
    blocks = Blocks.of(explicit.labels, explicit.scenarios)
    drawn = np.concatenate([np.ones((1, blocks.n_groups)), blocks.draws(PROFILE_BOOTSTRAP, rng)])
    shuffled = _swapped(blocks, rng.random((PROFILE_PERMUTATIONS, blocks.n_groups, len(emotions) + 1)))
    null_weights = np.stack([blocks.weights(e, "matched", shuffled) for e in emotions], axis=2)
    rows = []
    for row, layer_values in enumerate(values):
        boot = _cosines(_drawn_contrasts(blocks, layer_values, emotions, drawn), float(np.abs(layer_values).max()))
        null = _cosines_from_gram(_gram_of_contrasts(layer_values, null_weights))
        for kind_index, kind in enumerate(("matched", "specific")):
            for i, first in enumerate(emotions):
                for j in range(i + 1, len(emotions)):
                    draws, chance = boot[1:, kind_index, i, j], null[:, kind_index, i, j]
                    rows.append(
                        _row(
                            directions, f"{first}–{emotions[j]}", row - 1, kind, "cosine between emotions",
                            value=float(boot[0, kind_index, i, j]),
                            ci_low=float(np.quantile(draws, 0.025)), ci_high=float(np.quantile(draws, 0.975)),
                            chance=float(chance.mean()), null_low=float(np.quantile(chance, 0.025)),
                            null_high=float(np.quantile(chance, 0.975)), ceiling=1.0,
                            n_unique=int((blocks.has(first) | blocks.has(emotions[j])).sum()),
                        )
                    )  # fmt: skip
    return rows


def _swapped(blocks: Blocks, keys: NDArray[np.float64]) -> NDArray[np.intp]:
    """(draws, texts) classes after each block's texts swapped them in the order of its keys, (draws, G, classes)."""
    neutral_first = (blocks.codes + 1) % (len(blocks.emotions) + 1)
    texts = np.lexsort((neutral_first, blocks.groups))
    sizes = np.bincount(blocks.groups)
    swapped = np.empty((len(keys), len(texts)), dtype=np.intp)
    for size in np.unique(sizes):
        members = np.flatnonzero(sizes == size)
        own = texts[np.isin(blocks.groups[texts], members)].reshape(len(members), size)
        orders = np.argsort(np.argsort(keys[:, members, :size], axis=2), axis=2)
        swapped[:, own] = np.take_along_axis(np.broadcast_to(blocks.codes[own], orders.shape), orders, axis=2)
    return swapped


def _drawn_contrasts(
    blocks: Blocks, values: NDArray[np.float64], emotions: tuple[str, ...], drawn: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(draws, emotions, d) matched contrasts when block g is drawn drawn[b, g] times."""
    found = []
    for emotion in emotions:
        weights = drawn[:, blocks.has(emotion)]
        pairs = blocks.pairs(emotion)
        found.append(weights / weights.sum(axis=1, keepdims=True) @ (values[pairs.texts] - values[pairs.twins]))
    return np.stack(found, axis=1)


def _cosines(matched: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    """Matched contrasts (draws, emotions, d) → cosines (draws, 2 kinds, emotions, emotions)."""
    specific = matched - matched.mean(axis=1, keepdims=True)
    result = []
    for vectors in (matched, specific):
        lengths = np.linalg.norm(vectors, axis=2, keepdims=True)
        # Where the texts do not differ there is no direction, and no cosine.
        unit = vectors / np.where(lengths > 1e-6 * size, lengths, np.nan)
        result.append(unit @ unit.transpose(0, 2, 1))
    return np.stack(result, axis=1)


def _gram_of_contrasts(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(draws, emotions, emotions) inner products of contrasts with weights (draws, texts, emotions)."""
    n_draws, n_texts, n_emotions = weights.shape
    # One product for all draws, side by side.
    columns = (values @ values.T) @ weights.transpose(1, 0, 2).reshape(n_texts, -1)
    products = columns.reshape(n_texts, n_draws, n_emotions).transpose(1, 0, 2)
    result: NDArray[np.float64] = np.matmul(weights.transpose(0, 2, 1), products)
    return result


def _cosines_from_gram(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same cosines as `_cosines`, (draws, 2, emotions, emotions), from inner products of matched contrasts."""
    n = gram.shape[-1]
    result = []
    for contrast in (np.eye(n), np.eye(n) - 1 / n):
        products = contrast @ gram @ contrast.T
        lengths = np.sqrt(np.maximum(np.einsum("bii->bi", products), 1e-60))
        result.append(products / (lengths[:, :, None] * lengths[:, None, :]))
    return np.stack(result, axis=1)
