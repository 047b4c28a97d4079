"""What something simpler than the model's layers reaches on the same texts: the floors a direction has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.directions._activations import Activations
from emotion_circuits.directions._compared import compared
from emotion_circuits.directions._generic import GenericStatistics
from emotion_circuits.directions._quality import (
    PROFILE_BOOTSTRAP,
    PROFILE_PERMUTATIONS,
    choose_layers,
    choose_layers_within,
    project,
)
from emotion_circuits.directions._sets import fit_directions
from emotion_circuits.prompts import NEUTRAL, Dataset
from emotion_circuits.statistics import EMBED_LAYER, AurocResult, Measure, grouped_auroc

BAG_OF_WORDS = "floor: bag of words"


def word_classifier() -> Any:
    """A logistic regression on word counts: `fit(texts, labels)`, `decision_function(texts)`."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(CountVectorizer(lowercase=True), LogisticRegression(max_iter=1000, class_weight="balanced"))


def _judge(scores: NDArray[np.float64], data: Dataset, emotion: str, seed: int) -> AurocResult:
    kept, positive, groups = compared(data, emotion)
    return grouped_auroc(
        scores[kept], positive, groups,
        n_bootstrap=PROFILE_BOOTSTRAP, n_permutations=PROFILE_PERMUTATIONS, seed=seed,
    )  # fmt: skip


def bag_of_words_floor(explicit: Dataset, judged_on: Dataset, emotion: str, seed: int = 0) -> AurocResult:
    """AUROC of a logistic regression on word counts, trained on the explicit texts."""
    model = word_classifier().fit([t.text for t in explicit], [t.emotion == emotion for t in explicit])
    scores = model.decision_function([t.text for t in judged_on])
    return _judge(np.asarray(scores, dtype=np.float64), judged_on, emotion, seed)


def untrained_floor(
    explicit: Activations, implicit: Activations, judged_on: Activations, position: str, emotion: str, seed: int = 0
) -> tuple[int, AurocResult]:
    """Layer and AUROC of an untrained twin, by the same recipe: directions from its explicit texts, its layer chosen
    on its implicit development texts.

    Without cleaning: its generic text was not recorded, and it has no dominant components.

    Args:
        explicit, implicit: all texts of each kind in the twin.
        judged_on: the texts that count.
    """
    values = explicit.at(position)
    # Only ranks matter here, so any offset and scale will do.
    own = GenericStatistics(
        values.mean(axis=1).astype(np.float32), np.ones(len(values), dtype=np.float32), (), (), len(explicit.data)
    )
    directions = fit_directions(explicit, position, own, ("specific",), share=0)
    layers = choose_layers(implicit.select(split="development"), directions)
    if emotion not in layers:
        layers = choose_layers_within(explicit.select(split="development"), position, own, 0)
    layer = layers[emotion]
    scores = project(judged_on, directions, emotion, "specific", layer + 1)
    return layer, _judge(scores, judged_on.data, emotion, seed)


def floor_rows(
    model: str,
    position: str,
    explicit: Dataset,
    judged_on: Sequence[tuple[str, Activations]],
    twins: Sequence[tuple[Activations, Activations, Sequence[Activations]]],
    seed: int = 0,
) -> list[Measure]:
    """One row per emotion, set of texts that has it, and floor, beside its own interval and null.

    Args:
        model: whose floors these are.
        position: where texts are read in the twins.
        explicit: what the bag of words learns from.
        judged_on: (statistic, the model's activations of the texts), as in the quality table.
        twins: per untrained twin its explicit and implicit activations, and those of each set in `judged_on`.
    """
    rows = []
    for emotion in (name for name in explicit.classes if name != NEUTRAL):
        for k, (statistic, texts) in enumerate(judged_on):
            if emotion not in texts.labels:
                continue
            found = bag_of_words_floor(explicit, texts.data, emotion, seed)
            rows.append(_row(model, emotion, position, EMBED_LAYER, BAG_OF_WORDS, statistic, found))
            for number, (own_explicit, own_implicit, own_sets) in enumerate(twins):
                layer, found = untrained_floor(own_explicit, own_implicit, own_sets[k], position, emotion, seed)
                rows.append(_row(model, emotion, position, layer, f"floor: untrained {number}", statistic, found))
    return rows


def _row(model: str, emotion: str, position: str, layer: int, kind: str, statistic: str, found: AurocResult) -> Measure:
    return Measure(
        model=model, emotion=emotion, position=position, layer=layer, kind=kind, statistic=statistic,
        value=found.value, ci_low=found.interval.low, ci_high=found.interval.high, chance=found.chance,
        null_low=found.null_low, null_high=found.null_high, ceiling=1.0, p=found.p, n_unique=found.n_groups,
    )  # fmt: skip
