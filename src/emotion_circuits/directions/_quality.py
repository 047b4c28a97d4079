"""Is a direction any good? Every answer beside its chance level, interval, ceiling and simple explanations (floors)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.directions._activations import Activations
from emotion_circuits.directions._centroids import centroid_accuracy
from emotion_circuits.directions._cleaning import DEFAULT_SHARE, Cleaning, cleaned_values
from emotion_circuits.directions._generic import GenericStatistics
from emotion_circuits.directions._sets import DirectionSet, fit_directions
from emotion_circuits.errors import MeasurementError
from emotion_circuits.prompts import Dataset
from emotion_circuits.statistics import (
    EMBED_LAYER,
    AurocResult,
    Measure,
    auroc,
    exceedance_p,
    grouped_auroc,
    grouped_bootstrap,
    split_half_cosine,
)

IMPLICIT = "AUROC on implicit texts"
REAL_WORLD = "AUROC on real-world texts"
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
    """(texts,) ⟨h − μ, v̂⟩ / s at one row of the layers (0 is `embed`), in units of the median residual norm."""
    values = activations.at(directions.position)[row].astype(np.float64)
    vector = directions.vectors[kind][emotion][row].astype(np.float64)
    length, scale = float(np.linalg.norm(vector)), float(directions.generic.norm[row])
    if not length > NO_DIRECTION * scale:
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
    """AUROC of the projection for one emotion against all other classes."""
    grouped = activations.data.is_matched
    return grouped_auroc(
        project(activations, directions, emotion, kind, row),
        activations.labels == emotion,
        activations.scenarios if grouped else None,
        n_bootstrap=n_bootstrap,
        n_permutations=n_permutations,
        seed=seed,
    )


def choose_layers(development: Activations, directions: DirectionSet, kind: str = "specific") -> dict[str, int]:
    """For each emotion the layer whose AUROC on development texts is highest; ties go to the lower layer.

    `embed` is not a candidate: it is a floor.
    """
    chosen = {}
    for emotion in directions.emotions:
        labels = development.labels == emotion
        values = [
            float(auroc(project(development, directions, emotion, kind, layer + 1), labels))
            for layer in range(directions.n_layers)
        ]
        chosen[emotion] = int(np.argmax(np.round(values, 10)))
    return chosen


class EvaluationTexts(NamedTuple):
    """What directions are judged on, recorded in the same model. `explicit` is the profile they were made from."""

    explicit: Activations
    implicit: Activations
    real_world: Activations


def choose_layers_within(
    development: Activations, position: str, generic: GenericStatistics, cleaning: Cleaning = DEFAULT_SHARE
) -> dict[str, int]:
    """Like `choose_layers`, where only explicit texts have the position: directions from one half of the scenarios are
    judged on the other half, and the two AUROCs averaged."""
    names = np.array(development.data.scenarios)
    half = np.isin(development.scenarios, names[::2])
    parts = [_keep(development, half), _keep(development, ~half)]
    fitted = [fit_directions(part, position, generic, ("specific",), cleaning) for part in parts]
    chosen = {}
    for emotion in fitted[0].emotions:
        values = [
            np.mean(
                [
                    float(auroc(project(other, d, emotion, "specific", layer + 1), other.labels == emotion))
                    for d, other in zip(fitted, parts[::-1], strict=True)
                ]
            )
            for layer in range(generic.mean.shape[0] - 1)
        ]
        chosen[emotion] = int(np.argmax(np.round(values, 10)))
    return chosen


def _keep(activations: Activations, kept: NDArray[np.bool_]) -> Activations:
    texts = tuple(t for t, keep in zip(activations.data, kept, strict=True) if keep)
    values = {p: v[:, kept] for p, v in activations.values.items()}
    return Activations(activations.source, Dataset(activations.data.name, texts), values, activations.match_rate)


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
    try:
        found = detection(texts, d, emotion, row, kind=kind, seed=seed)
    except MeasurementError:  # no direction there: the number is undefined, not chance
        return _row(d, emotion, row - 1, kind, name, value=np.nan, chance=0.5, n_unique=len(texts.data.scenarios))
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
    """(scenarios, d) h(emotion) − h(neutral), scenarios in sorted order."""
    order = np.argsort(explicit.scenarios, kind="stable")
    labels = explicit.labels[order]
    result: NDArray[np.float64] = values[order][labels == emotion] - values[order][labels == "neutral"]
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
    n_groups = len(explicit.data.scenarios)
    try:
        half = split_half_cosine(
            values, explicit.labels, explicit.scenarios, emotion,
            kind=kind, n_splits=PROFILE_SPLITS, n_permutations=PROFILE_PERMUTATIONS, n_bootstrap=PROFILE_BOOTSTRAP,
            seed=seed,
        )  # fmt: skip
    except MeasurementError:
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
    texts swap labels at random they are near .5. Specific ones sum to zero: three unrelated ones have −.5.
    """
    emotions = directions.emotions
    rng = np.random.default_rng(seed)
    values = cleaned_values(explicit, directions.position, directions.generic, directions.cleaned)
    labels = explicit.labels
    order = np.argsort(explicit.scenarios, kind="stable")
    n_groups = len(explicit.data.scenarios)
    weights = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=PROFILE_BOOTSTRAP) / n_groups
    weights = np.concatenate([np.full((1, n_groups), 1 / n_groups), weights])
    swaps = np.argsort(rng.random((PROFILE_PERMUTATIONS, n_groups, len(emotions) + 1)), axis=2)
    rows = []
    for row, layer_values in enumerate(values):
        ordered = layer_values[order]
        by_class = np.stack([ordered[labels[order] == c] for c in ("neutral", *emotions)], axis=1)
        boot = _cosines(np.einsum("bg,gcd->bcd", weights, by_class))
        gram = np.einsum("gcd,hkd->gchk", by_class, by_class) / n_groups**2
        null = _cosines_from_gram(_permuted_gram(gram, swaps))
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
                            null_high=float(np.quantile(chance, 0.975)), ceiling=1.0, n_unique=n_groups,
                        )
                    )  # fmt: skip
    return rows


def _cosines(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Class means (draws, classes, d), neutral first → cosines (draws, 2 kinds, emotions, emotions)."""
    matched = means[:, 1:] - means[:, :1]
    specific = matched - matched.mean(axis=1, keepdims=True)
    result = []
    for vectors in (matched, specific):
        lengths = np.linalg.norm(vectors, axis=2, keepdims=True)
        # Where the texts do not differ there is no direction, and no cosine.
        unit = vectors / np.where(lengths > 1e-6 * np.abs(means).max(), lengths, np.nan)
        result.append(unit @ unit.transpose(0, 2, 1))
    return np.stack(result, axis=1)


def _permuted_gram(gram: NDArray[np.float64], swaps: NDArray[np.intp]) -> NDArray[np.float64]:
    """(draws, classes, classes) inner products of class means after each scenario's texts took the classes in `swaps`,
    (draws, scenarios, classes): PᵀGP with each draw's choice P of texts."""
    n_draws, n_groups, n_classes = swaps.shape
    n_texts = n_groups * n_classes
    chosen = np.zeros((n_draws, n_texts, n_classes))
    np.put_along_axis(chosen, swaps + n_classes * np.arange(n_groups)[:, None], 1.0, axis=1)
    # One product for all draws, side by side.
    columns = gram.reshape(n_texts, n_texts) @ chosen.transpose(1, 0, 2).reshape(n_texts, -1)
    products = columns.reshape(n_texts, n_draws, n_classes).transpose(1, 0, 2)
    result: NDArray[np.float64] = np.matmul(chosen.transpose(0, 2, 1), products)
    return result


def _cosines_from_gram(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same cosines as `_cosines`, (draws, 2, emotions, emotions), from inner products of class means."""
    n = gram.shape[-1] - 1
    matched = np.hstack([-np.ones((n, 1)), np.eye(n)])
    specific = matched - matched.mean(axis=0)
    result = []
    for contrast in (matched, specific):
        products = contrast @ gram @ contrast.T
        lengths = np.sqrt(np.maximum(np.einsum("bii->bi", products), 1e-60))
        result.append(products / (lengths[:, :, None] * lengths[:, None, :]))
    return np.stack(result, axis=1)
