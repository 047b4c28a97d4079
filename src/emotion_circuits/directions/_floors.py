"""What something simpler than the model's layers reaches on the same texts: the floors a direction has to beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

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
from emotion_circuits.statistics import (
    EMBED_LAYER,
    AurocResult,
    Measure,
    Rival,
    WeightedAuroc,
    floor_of,
    grouped_auroc,
    paired_gain,
    weighted_auroc,
)

FloatArray = NDArray[np.float64]
BAG_OF_WORDS = "floor: bag of words"


def word_classifier(**counting: Any) -> Any:
    """A logistic regression on word counts, or on what else scikit-learn's CountVectorizer is told to count:
    `fit(texts, labels)`, `decision_function(texts)`."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    counts = CountVectorizer(lowercase=True, **counting)
    return make_pipeline(counts, LogisticRegression(max_iter=1000, class_weight="balanced"))


class FloorScores(NamedTuple):
    """What a floor says of the texts that are judged.

    Attributes:
        name: `bag_of_words` or `untrained`; several twins share a name, and the best of them is the floor.
        kind: the same in tables, with the twin's number.
        emotion: which.
        layer: of the twin; -1 where there is none.
        scores: (n,) of all texts.
    """

    name: str
    kind: str
    emotion: str
    layer: int
    scores: FloatArray


def bag_of_words_scores(explicit: Dataset, judged_on: Dataset, emotion: str) -> FloatArray:
    """(n,) scores of a logistic regression on word counts, trained on the explicit texts."""
    return _learnt_scores(word_classifier(), explicit, judged_on, emotion)


def character_scores(explicit: Dataset, judged_on: Dataset, emotion: str) -> FloatArray:
    """(n,) as `bag_of_words_scores`, on counts of up to three characters in a row: what texts of two languages share
    without being understood."""
    return _learnt_scores(word_classifier(analyzer="char", ngram_range=(1, 3)), explicit, judged_on, emotion)


def _learnt_scores(classifier: Any, explicit: Dataset, judged_on: Dataset, emotion: str) -> FloatArray:
    model = classifier.fit([t.text for t in explicit], [t.emotion == emotion for t in explicit])
    return np.asarray(model.decision_function([t.text for t in judged_on]), dtype=np.float64)


class UntrainedTwin:
    """An untrained twin by the same recipe: directions from its explicit texts, layers chosen on its implicit
    development texts.

    Without cleaning: its generic text was not recorded, and it has no dominant components.

    Args:
        explicit, implicit: all texts of each kind in the twin.
        position: where they are read.
    """

    def __init__(self, explicit: Activations, implicit: Activations, position: str):
        values = explicit.at(position)
        # Only ranks matter here, so any offset and scale will do.
        own = GenericStatistics(
            values.mean(axis=1).astype(np.float32), np.ones(len(values), dtype=np.float32), (), (), len(explicit.data)
        )
        self.directions = fit_directions(explicit, position, own, ("specific",), share=0)
        self.layers = choose_layers(implicit.select(split="development"), self.directions)
        if set(self.directions.emotions) - set(self.layers):
            within = choose_layers_within(explicit.select(split="development"), position, own, 0)
            self.layers = within | self.layers

    def scores(self, judged_on: Activations, emotion: str) -> FloatArray:
        """(n,) projections of texts recorded in the twin."""
        return project(judged_on, self.directions, emotion, "specific", self.layers[emotion] + 1)


def floor_scores(
    explicit: Dataset, judged_on: Dataset, twins: Sequence[tuple[UntrainedTwin, Activations]]
) -> list[FloorScores]:
    """What each floor says of texts, for every emotion that they have.

    Args:
        explicit: what the bag of words learns from.
        judged_on: the texts.
        twins: untrained twins, each with its activations of these texts.
    """
    found = []
    for emotion in (name for name in explicit.classes if name != NEUTRAL and name in judged_on.classes):
        scores = bag_of_words_scores(explicit, judged_on, emotion)
        found.append(FloorScores("bag_of_words", BAG_OF_WORDS, emotion, EMBED_LAYER, scores))
        for k, (twin, texts) in enumerate(twins):
            kind, layer = f"floor: untrained {k}", twin.layers[emotion]
            found.append(FloorScores("untrained", kind, emotion, layer, twin.scores(texts, emotion)))
    return found


def judged_scores(
    scores: FloatArray, data: Dataset, emotion: str, seed: int = 0, *,
    n_bootstrap: int = PROFILE_BOOTSTRAP, n_permutations: int = PROFILE_PERMUTATIONS,
) -> AurocResult:  # fmt: skip
    """AUROC of (n,) scores of texts for one emotion against the other classes (see `compared`)."""
    kept, positive, groups = compared(data, emotion)
    return grouped_auroc(
        scores[kept], positive, groups, n_bootstrap=n_bootstrap, n_permutations=n_permutations, seed=seed
    )


def floor_rows(
    model: str, position: str, statistic: str, judged_on: Dataset, floors: Sequence[FloorScores], seed: int = 0
) -> list[Measure]:
    """One row per floor and emotion, beside its own interval and null.

    Args:
        model: whose floors these are.
        position: where texts are read in the twins.
        statistic: its name in the quality table.
        judged_on, floors: the texts and what each floor says of them.
    """
    rows = []
    for floor in floors:
        found = judged_scores(floor.scores, judged_on, floor.emotion, seed)
        rows.append(
            Measure(
                model=model, emotion=floor.emotion, position=position, layer=floor.layer, kind=floor.kind,
                statistic=statistic, value=found.value, ci_low=found.interval.low, ci_high=found.interval.high,
                chance=found.chance, null_low=found.null_low, null_high=found.null_high, ceiling=1.0, p=found.p,
                n_unique=found.n_groups,
            )
        )  # fmt: skip
    return rows


def gain_over_floors(
    scores: FloatArray, data: Dataset, emotion: str, floors: Mapping[str, Sequence[FloatArray]], *,
    n_draws: int = 2000, seed: int = 0,
) -> list[Rival]:  # fmt: skip
    """What scores gain in AUROC over each floor, paired over scenarios.

    Args:
        scores: (n,) of all texts.
        data, emotion: the texts, and the class that is told from the others.
        floors: name → (n,) scores of each version of it; in every draw the best version counts.
        n_draws, seed: of the bootstrap.
    """
    kept, positive, groups = compared(data, emotion)

    def of_weights(one: FloatArray) -> WeightedAuroc:
        return weighted_auroc(one[kept], positive, groups)

    own, rivals = of_weights(scores), []
    for name, versions in floors.items():
        others = [of_weights(one) for one in versions]

        def best(weights: FloatArray, others: list[WeightedAuroc] = others) -> FloatArray:
            return np.asarray(np.max([np.asarray(other.of_weights(weights)) for other in others], axis=0))

        def gain(weights: FloatArray, best: Callable[[FloatArray], FloatArray] = best) -> FloatArray:
            return np.asarray(own.of_weights(weights)) - best(weights)

        level = float(best(np.ones((1, own.n_groups)))[0])
        rivals.append(floor_of(name, level, paired_gain(gain, own.n_groups, n_draws=n_draws, seed=seed)))
    return rivals
