"""Intensity: series of texts in which only the size of a favour, an offence or a harm grows. Does the projection grow
with it?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.directions._activations import Activations
from emotion_circuits.directions._floors import BAG_OF_WORDS, word_classifier
from emotion_circuits.directions._quality import PROFILE_BOOTSTRAP, project
from emotion_circuits.directions._sets import DirectionSet
from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.prompts import Dataset
from emotion_circuits.statistics import EMBED_LAYER, Measure, exceedance_p, grouped_bootstrap

INTENSITY = "Spearman correlation with the step of intensity"
NUMBER_OF_WORDS = "floor: number of words"
DRAWS = 1000

FloatArray = NDArray[np.float64]


def intensity_rows(
    intensity: Activations, directions: DirectionSet, explicit: Dataset, kind: str = "specific", seed: int = 0
) -> list[Measure]:
    """Spearman's correlation of projection and step within each series, mean over an emotion's series, at every layer.

    The null permutes steps within series (one-sided p); the interval is a bootstrap over series, of which there are
    few. Beside it what the same correlation is for a bag of words trained on the explicit texts, and for the number of
    words of a text.

    Args:
        intensity: each series a scenario, its texts in rising order (`prompts.intensity_series`).
        directions: what is judged; made from other texts.
        explicit: what the bag of words learns from.
        kind: which directions.
        seed: of bootstrap and permutations.

    Raises:
        InputError: series of different length, or texts that were not recorded at this position.
    """
    rows = []
    for emotion in directions.emotions:
        own = intensity.select(emotion=emotion)
        if not len(own.data):
            continue
        texts = [t.text for t in own.data]
        for row in range(directions.n_layers + 1):
            try:
                scores = project(own, directions, emotion, kind, row)
            except MeasurementError:  # no direction there
                scores = np.full(len(texts), np.nan)
            rows.append(_row(directions, own.data, emotion, row - 1, kind, scores, seed))
        words = word_classifier().fit([t.text for t in explicit], [t.emotion == emotion for t in explicit])
        floors = {BAG_OF_WORDS: words.decision_function(texts), NUMBER_OF_WORDS: [len(t.split()) for t in texts]}
        for name, scores in floors.items():
            rows.append(_row(directions, own.data, emotion, EMBED_LAYER, name, np.asarray(scores, dtype=float), seed))
    return rows


def _row(
    directions: DirectionSet, data: Dataset, emotion: str, layer: int, kind: str, scores: FloatArray, seed: int
) -> Measure:
    about = (directions.source.model, emotion, directions.position, layer, kind, INTENSITY)
    n = len(data.scenarios)
    if not np.isfinite(scores).all():
        nan = np.nan
        return Measure(*about, nan, nan, nan, 0.0, nan, nan, 1.0, nan, n)
    ranks = _ranks(scores, data)
    steps = _standard(np.arange(ranks.shape[1], dtype=np.float64)[None])[0]
    by_series = ranks @ steps
    shuffled = np.argsort(np.random.default_rng(seed).random((DRAWS, *ranks.shape)), axis=2)
    null = np.einsum("gk,bgk->b", ranks, steps[shuffled]) / n
    value = float(by_series.mean())
    interval = grouped_bootstrap(by_series, n_draws=PROFILE_BOOTSTRAP, seed=seed).interval
    return Measure(
        *about, value=value, ci_low=interval.low, ci_high=interval.high, chance=0.0,
        null_low=float(np.quantile(null, 0.025)), null_high=float(np.quantile(null, 0.975)), ceiling=1.0,
        p=exceedance_p(value, null), n_unique=n,
    )  # fmt: skip


def _ranks(scores: FloatArray, data: Dataset) -> FloatArray:
    """(series, steps) standardised ranks of (texts,) scores; a series whose scores are all equal has ranks of 0."""
    from scipy.stats import rankdata

    names = np.array([t.scenario for t in data])
    by_series = [scores[names == name] for name in data.scenarios]
    if len({len(s) for s in by_series}) > 1:
        raise InputError("Series of intensity differ in length.", found=sorted({len(s) for s in by_series}))
    return _standard(rankdata(np.stack(by_series), axis=1))


def _standard(ranks: FloatArray) -> FloatArray:
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    result: FloatArray = np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > 0)
    return result
