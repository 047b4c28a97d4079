"""Foils: texts that hold an emotion's word without the emotion. Is it the word that a direction answers to?

Directions come from explicit development texts, everything else from texts that they have not seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.directions._activations import Activations
from emotion_circuits.directions._cleaning import cleaned_values
from emotion_circuits.directions._estimators import NEUTRAL
from emotion_circuits.directions._floors import BAG_OF_WORDS, word_classifier
from emotion_circuits.directions._quality import PROFILE_BOOTSTRAP, PROFILE_PERMUTATIONS, project
from emotion_circuits.directions._sets import DirectionSet, fit_directions
from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.statistics import EMBED_LAYER, Blocks, Measure, grouped_auroc

FOIL_RATE = "share of foils over the threshold"
HIT_RATE = "share of explicit test texts over the threshold"
EXPLICIT_OVER_FOILS = "AUROC of explicit test texts over foils"
IMPLICIT_OVER_FOILS = "AUROC of implicit test texts over foils"
_FOLDS = 5

FloatArray = NDArray[np.float64]


class _Scores(NamedTuple):
    """Scores of one emotion's test texts, and of neutral ones; a text over the threshold is taken for the emotion."""

    threshold: float
    neutral: FloatArray
    explicit: FloatArray
    implicit: FloatArray
    foils: FloatArray


class _Texts(NamedTuple):
    """The same texts, recorded."""

    neutral: Activations
    explicit: Activations
    implicit: Activations
    foils: Activations


def foil_rows(
    explicit: Activations, implicit: Activations, foils: Activations, directions: DirectionSet, seed: int = 0
) -> list[Measure]:
    """How often foils are taken for the emotion whose word they hold, and whether true texts still score above them.

    Four rows per layer and emotion that has foils and implicit texts, and as many for a bag of words trained on the
    same development texts. The threshold lies halfway between the mean scores of the emotion's and the neutral
    development texts, each scored by the direction of the other development scenarios. The chance level of a share of
    texts over the threshold is that of neutral test texts; its null is what as many neutral texts would give
    (beta-binomial, Jeffreys' prior), its p Fisher's exact test of *more* than neutral: of foils, a small one says that
    the direction answers to words. An implicit text has the emotion without its words, a foil the word without the
    emotion: there a bag of words falls below chance.

    Args:
        explicit: the profile's texts.
        implicit: texts that name no emotion.
        foils: texts with an emotion's word; `emotion` says whose.
        directions: what is judged: their position and cleaning, fitted anew on development scenarios.
        seed: of bootstrap and permutations.

    Raises:
        InputError: fewer than two development scenarios, no test ones, texts that were not recorded at this position.
    """
    position, generic = directions.position, directions.generic
    development, test = explicit.select(split="development"), explicit.select(split="test")
    if len(development.data.scenarios) < 2:
        raise InputError("A threshold needs two development scenarios.", found=len(development.data.scenarios))
    if not len(test.data):
        raise InputError("Foils are judged beside explicit texts of test scenarios.", found="none")
    held_out = fit_directions(development, position, generic, ("specific",), directions.cleaned)
    rows: list[Measure] = []
    for emotion in held_out.emotions:
        texts = _Texts(
            test.select(emotion=NEUTRAL),
            test.select(emotion=emotion),
            implicit.select(emotion=emotion, split="test"),
            foils.select(emotion=emotion, split="test"),
        )
        if min(len(own.data) for own in texts) < 2 or (development.labels == emotion).sum() < 2:
            continue
        thresholds = _thresholds(development, held_out, emotion)
        for row in range(held_out.n_layers + 1):
            about = (directions.source.model, emotion, position, row - 1, "specific")
            try:
                found = (project(part, held_out, emotion, "specific", row) for part in texts)
                rows += _rows(about, _Scores(float(thresholds[row]), *found), seed)
            except MeasurementError:  # no direction there
                rows += _undefined(about, len(texts.foils.data))
        about = (directions.source.model, emotion, position, EMBED_LAYER, BAG_OF_WORDS)
        rows += _rows(about, _word_scores(development, texts, emotion), seed)
    return rows


def _thresholds(development: Activations, held_out: DirectionSet, emotion: str) -> FloatArray:
    """(layers + 1,) halfway between the two classes' means.

    By the direction of *other* scenarios: on texts that made it, a direction scores higher than on fresh ones.
    """
    position, generic = held_out.position, held_out.generic
    blocks = Blocks.of(development.labels, development.scenarios)
    pairs, own = blocks.pairs(emotion), blocks.has(emotion)
    cleaned = cleaned_values(development, position, generic, held_out.cleaned)
    order = np.argsort(blocks.groups, kind="stable")
    weighted = (cleaned * blocks.weights(emotion)[:, None])[:, order]
    parts = np.add.reduceat(weighted, np.flatnonzero(np.diff(blocks.groups[order], prepend=-1)), axis=1)
    others = parts.sum(axis=1, keepdims=True) - parts[:, own]
    lengths = np.linalg.norm(others, axis=2, keepdims=True)
    units = np.divide(others, lengths, out=np.zeros_like(others), where=lengths > 0)
    above = development.at(position).astype(np.float64) - generic.mean[:, None]
    means = [np.einsum("lgd,lgd->l", above[:, texts], units) / units.shape[1] for texts in pairs]
    result: FloatArray = (means[0] + means[1]) / 2 / generic.unit
    return result


def _word_scores(development: Activations, texts: _Texts, emotion: str) -> _Scores:
    """A bag of words by the same recipe, its threshold from folds over scenarios."""
    from sklearn.model_selection import GroupKFold, cross_val_predict

    data = development.data
    words, labels = [t.text for t in data], development.labels
    folds = GroupKFold(min(_FOLDS, len(data.scenarios)))
    scores = cross_val_predict(
        word_classifier(), words, labels == emotion, groups=development.scenarios, cv=folds, method="decision_function"
    )
    fitted = word_classifier().fit(words, labels == emotion)
    found = (np.asarray(fitted.decision_function([t.text for t in part.data]), dtype=np.float64) for part in texts)
    return _Scores(float((scores[labels == emotion].mean() + scores[labels == NEUTRAL].mean()) / 2), *found)


def _rows(about: tuple[str, str, str, int, str], scores: _Scores, seed: int) -> Iterator[Measure]:
    by_chance = scores.neutral > scores.threshold
    yield _share(about, FOIL_RATE, scores.foils > scores.threshold, by_chance)
    yield _share(about, HIT_RATE, scores.explicit > scores.threshold, by_chance)
    for statistic, true in ((EXPLICIT_OVER_FOILS, scores.explicit), (IMPLICIT_OVER_FOILS, scores.implicit)):
        found = grouped_auroc(
            np.concatenate([true, scores.foils]), np.arange(len(true) + len(scores.foils)) < len(true), None,
            n_bootstrap=PROFILE_BOOTSTRAP, n_permutations=PROFILE_PERMUTATIONS, seed=seed,
        )  # fmt: skip
        yield Measure(
            *about, statistic, value=found.value, ci_low=found.interval.low, ci_high=found.interval.high,
            chance=found.chance, null_low=found.null_low, null_high=found.null_high, ceiling=1.0, p=found.p,
            n_unique=found.n_groups,
        )  # fmt: skip


def _share(
    about: tuple[str, str, str, int, str], statistic: str, over: NDArray[np.bool_], by_chance: NDArray[np.bool_]
) -> Measure:
    """The share of texts over the threshold, with Wilson's interval, beside that of neutral texts."""
    from scipy import stats

    n, k, n_neutral, k_neutral = len(over), int(over.sum()), len(by_chance), int(by_chance.sum())
    low, high = stats.binomtest(k, n).proportion_ci(method="wilson")
    null = stats.betabinom(n, k_neutral + 0.5, n_neutral - k_neutral + 0.5).ppf([0.025, 0.975]) / n
    p = stats.fisher_exact([[k, n - k], [k_neutral, n_neutral - k_neutral]], alternative="greater").pvalue
    return Measure(
        *about, statistic, value=k / n, ci_low=float(low), ci_high=float(high), chance=k_neutral / n_neutral,
        null_low=float(null[0]), null_high=float(null[1]), ceiling=1.0, p=float(p), n_unique=n,
    )  # fmt: skip


def _undefined(about: tuple[str, str, str, int, str], n_foils: int) -> list[Measure]:
    nan = np.nan
    return [
        Measure(*about, statistic, nan, nan, nan, nan, nan, nan, nan, nan, n_foils)
        for statistic in (FOIL_RATE, HIT_RATE, EXPLICIT_OVER_FOILS, IMPLICIT_OVER_FOILS)
    ]
