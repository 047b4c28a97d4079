"""How good a scorer is, on texts whose class is known: no score is worth more than this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from emotion_circuits.prompts import NEUTRAL, Dataset, neutral_first
from emotion_circuits.scoring._offline import OfflineScorer
from emotion_circuits.scoring._scorers import TextScorer, sides_of
from emotion_circuits.statistics import (
    exceedance_p,
    grouped_auroc,
    grouped_bootstrap,
    permute_within_groups,
    substream,
)

NAN = float("nan")


class ScorerQuality(NamedTuple):
    """One number about a scorer.

    Attributes:
        scorer, texts: which scorer, on which labelled texts.
        statistic: `AUROC` (of a class's column against all other classes), `accuracy` (largest column), or
            `false alarms` (share of foils taken for an emotion).
        emotion: the class; `all` for accuracy and false alarms.
        value, ci_low, ci_high: with a 95 % interval over scenarios.
        chance, null_low, null_high, p: labels permuted (within scenarios where these hold all classes); for accuracy
            chance is the null's mean. Of false alarms only the chance is known: that of naming classes evenly.
        majority: what always naming the commonest class reaches; NaN for AUROC.
        n_texts, n_scenarios: counts.
    """

    scorer: str
    texts: str
    statistic: str
    emotion: str
    value: float
    ci_low: float
    ci_high: float
    chance: float
    null_low: float
    null_high: float
    p: float
    majority: float
    n_texts: int
    n_scenarios: int


def judge_scorer(
    scorer: TextScorer, data: Dataset, *, n_bootstrap: int = 2000, n_permutations: int = 1000, seed: int = 0
) -> list[ScorerQuality]:
    """AUROC of every class that the scorer has a column for, and accuracy where it has all classes that occur.

    A positive–negative scorer is judged for emotions that have a side, with its sign turned for negative ones.

    Args:
        scorer: what is judged.
        data: labelled texts the scorer has not learnt from.

    Raises:
        MeasurementError: a class in fewer than two scenarios.
    """
    scores = scorer.score([t.text for t in data])
    groups = np.array([t.scenario for t in data]) if data.is_matched else None
    labels = [t.emotion for t in data]
    return _rows(
        scorer.name,
        data.name,
        scorer.emotions,
        scores,
        labels,
        groups,
        sides_of(scorer),
        n_bootstrap,
        n_permutations,
        seed,
    )


def cross_validate(
    scorer: OfflineScorer, *, n_bootstrap: int = 2000, n_permutations: int = 1000, seed: int = 0
) -> list[ScorerQuality]:
    """The offline scorer on its own texts, each scored by a classifier that saw nothing of its scenario.

    Apart for each source: explicit and implicit texts, continuations, and the share of foils it falls for.
    """
    texts = scorer.training_texts()
    scores = scorer.held_out_scores(seed)
    rows = []
    for source in dict.fromkeys(t.source for t in texts):
        chosen = [i for i, t in enumerate(texts) if t.source == source]
        labels = [texts[i].emotion for i in chosen]
        name = f"{source} (held out)"
        if len(set(labels)) < 2:
            rows.append(_false_alarms(scorer.name, name, scorer.emotions, scores[chosen], n_bootstrap, seed))
            continue
        matched = source in ("explicit", "implicit")
        groups = np.array([texts[i].scenario for i in chosen]) if matched else None
        rows += _rows(
            scorer.name, name, scorer.emotions, scores[chosen], labels, groups, {}, n_bootstrap, n_permutations, seed
        )
    return rows


def _rows(
    scorer: str,
    texts: str,
    emotions: Sequence[str],
    scores: NDArray[np.float64],
    labels: Sequence[str],
    groups: npt.NDArray[np.str_] | None,
    sides: Mapping[str, int],
    n_bootstrap: int,
    n_permutations: int,
    seed: int,
) -> list[ScorerQuality]:
    truth = np.asarray(labels)
    found = []
    for emotion in neutral_first(labels):
        if emotion in emotions:
            column = scores[:, emotions.index(emotion)]
        elif emotion in sides:
            column = sides[emotion] * scores[:, 0]
        else:
            continue
        one = grouped_auroc(
            column, truth == emotion, groups, n_bootstrap=n_bootstrap, n_permutations=n_permutations, seed=seed
        )
        found.append(
            ScorerQuality(
                scorer=scorer,
                texts=texts,
                statistic="AUROC",
                emotion=emotion,
                value=one.value,
                ci_low=one.interval.low,
                ci_high=one.interval.high,
                chance=one.chance,
                null_low=one.null_low,
                null_high=one.null_high,
                p=one.p,
                majority=NAN,
                n_texts=one.n_texts,
                n_scenarios=one.n_groups,
            )
        )
    if set(labels) <= set(emotions):
        named = np.asarray(emotions)[scores.argmax(axis=1)]
        found.append(_accuracy(scorer, texts, named, truth, groups, n_bootstrap, n_permutations, seed))
    return found


def _accuracy(
    scorer: str,
    texts: str,
    named: npt.NDArray[np.str_],
    truth: npt.NDArray[np.str_],
    groups: npt.NDArray[np.str_] | None,
    n_bootstrap: int,
    n_permutations: int,
    seed: int,
) -> ScorerQuality:
    null = (permute_within_groups(truth, groups, n_permutations, substream(seed, 3)) == named).mean(axis=1)
    units = np.arange(len(truth)) if groups is None else np.unique(groups, return_inverse=True)[1]
    # Scenarios are equally large where there are any, so the mean of their means is the accuracy.
    by_scenario = np.bincount(units, named == truth) / np.bincount(units)
    boot = grouped_bootstrap(by_scenario, n_draws=n_bootstrap, seed=substream(seed, 4))
    null_low, null_high = np.quantile(null, [0.025, 0.975])
    return ScorerQuality(
        scorer=scorer,
        texts=texts,
        statistic="accuracy",
        emotion="all",
        value=boot.value,
        ci_low=boot.interval.low,
        ci_high=boot.interval.high,
        chance=float(null.mean()),
        null_low=float(null_low),
        null_high=float(null_high),
        p=exceedance_p(boot.value, null),
        majority=float(np.unique(truth, return_counts=True)[1].max()) / len(truth),
        n_texts=len(truth),
        n_scenarios=len(by_scenario),
    )


def _false_alarms(
    scorer: str, texts: str, classes: Sequence[str], scores: NDArray[np.float64], n_bootstrap: int, seed: int
) -> ScorerQuality:
    alarms = scores.argmax(axis=1) != classes.index(NEUTRAL)
    boot = grouped_bootstrap(alarms.astype(float), n_draws=n_bootstrap, seed=substream(seed, 5))
    return ScorerQuality(
        scorer=scorer,
        texts=texts,
        statistic="false alarms",
        emotion="all",
        value=boot.value,
        ci_low=boot.interval.low,
        ci_high=boot.interval.high,
        chance=1 - 1 / len(classes),
        null_low=NAN,
        null_high=NAN,
        p=NAN,
        majority=NAN,
        n_texts=len(alarms),
        n_scenarios=len(alarms),
    )
