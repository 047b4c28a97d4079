"""How good a scorer is, on texts whose class is known: no score is worth more than this."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from emotion_circuits.prompts import CLASSES, Dataset
from emotion_circuits.scoring._offline import OfflineScorer
from emotion_circuits.scoring._scorers import TextScorer
from emotion_circuits.statistics import (
    exceedance_p,
    grouped_auroc,
    grouped_bootstrap,
    permute_within_groups,
    substream,
)

# Which way a positive–negative scale should go with an emotion; apology has no side.
SIDES = {("gratitude", "compound"): 1, ("anger", "compound"): -1}


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

    A `compound` column is judged for gratitude, and with its sign turned for anger.

    Args:
        data: labelled texts the scorer has not learnt from.

    Raises:
        MeasurementError: a class in fewer than two scenarios.
    """
    scores = scorer.score([t.text for t in data])
    groups = np.array([t.scenario for t in data]) if data.is_matched else None
    return _rows(
        scorer.name, data.name, scorer.emotions, scores, [t.emotion for t in data], groups,
        n_bootstrap, n_permutations, seed,
    )  # fmt: skip


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
            rows.append(_false_alarms(scorer.name, name, scores[chosen], n_bootstrap, seed))
            continue
        matched = source in ("explicit", "implicit")
        groups = np.array([texts[i].scenario for i in chosen]) if matched else None
        rows += _rows(
            scorer.name, name, scorer.emotions, scores[chosen], labels, groups, n_bootstrap, n_permutations, seed
        )
    return rows


def _rows(
    scorer: str,
    texts: str,
    emotions: Sequence[str],
    scores: NDArray[np.float64],
    labels: Sequence[str],
    groups: npt.NDArray[np.str_] | None,
    n_bootstrap: int,
    n_permutations: int,
    seed: int,
) -> list[ScorerQuality]:
    truth = np.asarray(labels)
    options = {"n_bootstrap": n_bootstrap, "n_permutations": n_permutations, "seed": seed}
    found = []
    for emotion in (c for c in CLASSES if c in labels):
        if emotion in emotions:
            column = scores[:, emotions.index(emotion)]
        elif "compound" in emotions and (emotion, "compound") in SIDES:
            column = SIDES[emotion, "compound"] * scores[:, emotions.index("compound")]
        else:
            continue
        one = grouped_auroc(column, truth == emotion, groups, **options)  # type: ignore[arg-type]
        found.append(
            ScorerQuality(
                scorer,
                texts,
                "AUROC",
                emotion,
                one.value,
                one.interval.low,
                one.interval.high,
                one.chance,
                one.null_low,
                one.null_high,
                one.p,
                float("nan"),
                one.n_texts,
                one.n_groups,
            )  # fmt: skip
        )
    if set(labels) <= set(emotions):
        named = np.asarray(emotions)[scores.argmax(axis=1)]
        right = named == truth
        permuted = permute_within_groups(truth, groups, n_permutations, substream(seed, 3))
        null = (permuted == named).mean(axis=1)
        units = np.arange(len(truth)) if groups is None else np.unique(groups, return_inverse=True)[1]
        n_units = int(units.max()) + 1
        # Scenarios are equally large where there are any, so the mean of their means is the accuracy.
        boot = grouped_bootstrap(
            np.bincount(units, right) / np.bincount(units), n_draws=n_bootstrap, seed=substream(seed, 4)
        )
        majority = max(np.unique(truth, return_counts=True)[1]) / len(truth)
        found.append(
            ScorerQuality(
                scorer,
                texts,
                "accuracy",
                "all",
                float(right.mean()),
                boot.interval.low,
                boot.interval.high,
                float(null.mean()),
                *(float(q) for q in np.quantile(null, [0.025, 0.975])),
                exceedance_p(float(right.mean()), null),
                float(majority),
                len(truth),
                n_units,
            )  # fmt: skip
        )
    return found


def _false_alarms(scorer: str, texts: str, scores: NDArray[np.float64], n_bootstrap: int, seed: int) -> ScorerQuality:
    alarms = scores.argmax(axis=1) != CLASSES.index("neutral")
    boot = grouped_bootstrap(alarms.astype(float), n_draws=n_bootstrap, seed=substream(seed, 5))
    nan = float("nan")
    return ScorerQuality(
        scorer, texts, "false alarms", "all", boot.value, boot.interval.low, boot.interval.high,
        1 - scores.shape[1] ** -1, nan, nan, nan, nan, len(alarms), len(alarms),
    )  # fmt: skip
