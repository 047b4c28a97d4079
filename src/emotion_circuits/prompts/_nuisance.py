"""How far a classifier gets that sees nothing of the emotion: only length, punctuation, person and place."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from emotion_circuits.prompts._language import words_of
from emotion_circuits.prompts._schema import Dataset, Text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Features = NDArray[np.float64] | Any  # dense, or a SciPy sparse matrix, which has no complete types
    Labels = NDArray[np.int64]

FOLDS: Final = 5

_PERSON_WORDS: Final = """
i me my mine myself
we us our ours ourselves
you your yours yourself yourselves
he him his himself she her hers herself they them their theirs themselves
"""
_PERSONS: Final = tuple(frozenset(line.split()) for line in _PERSON_WORDS.strip().split("\n"))
# A sentence that opens with one of these base forms and is no question is nearly always an imperative.
_BASE_FORMS: Final = """
add ask be bring buy call carry check clean close collect come consider do don't drop email enjoy explain feed fill find
fix follow forget forgive get give go have hand hold imagine join keep know leave let listen look make meet mention move
note open pack pass pay pick please post print put read remember remind ring return say see send show sign sit speak
stand start stay stop take talk tell text thank think throw try turn wait wash watch write
"""
_IMPERATIVES: Final = frozenset(_BASE_FORMS.split())


class SpanPlace(NamedTuple):
    """Where a span stands among its text's words."""

    share: float
    """The midpoint of the span's words divided by the number of words, from 0 (start) to 1 (end)."""
    third: str
    """`early`, `middle` or `late`."""


def span_place(text: Text) -> SpanPlace | None:
    """The span's relative place, in words; None without a span."""
    if text.span is None or not text.text.split():
        return None
    start, end = text.span
    before = len(text.text[:start].split())
    share = (before + len(text.text[start:end].split()) / 2) / len(text.text.split())
    return SpanPlace(share, "early" if share < 1 / 3 else "middle" if share < 2 / 3 else "late")


def nuisance_features(text: Text) -> list[float]:
    """What tells nothing of the emotion: word, character, comma and sentence counts, final mark, person words,
    question, imperative, the span's relative place."""
    tokens = text.text.split()
    words = words_of(text.text)
    opening = re.match(r"[A-Za-z']+", text.text.replace("’", "'"))
    question = "?" in text.text
    imperative = opening is not None and opening.group().lower() in _IMPERATIVES and not question
    place = span_place(text)
    return [
        len(tokens),
        len(text.text),
        text.text.count(","),
        len(re.findall(r"[.!?]+(?:\s|$)", text.text)),
        *(text.text.rstrip().endswith(mark) for mark in ".!?"),
        *(sum(word in person for word in words) for person in _PERSONS),
        question,
        imperative,
        0.5 if place is None else place.share,
    ]


class Classifier(NamedTuple):
    """A recipe: `fit_predict(train features, train labels, test features)` returns the test labels."""

    name: str
    fit_predict: Callable[[Features, Labels, Features], Labels]


def _logistic(train: Features, labels: Labels, test: Features) -> Labels:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train)
    model = LogisticRegression(class_weight="balanced", max_iter=300)
    predicted: Labels = model.fit(scaler.transform(train), labels).predict(scaler.transform(test))
    return predicted


def _boosted_trees(train: Features, labels: Labels, test: Features) -> Labels:
    from sklearn.ensemble import HistGradientBoostingClassifier

    # Few, shallow trees: enough to find a planted nuisance that no line separates, and cheap under permutation.
    model = HistGradientBoostingClassifier(
        max_iter=5,
        max_depth=3,
        learning_rate=0.3,
        min_samples_leaf=10,
        max_bins=32,
        early_stopping=False,
    )
    predicted: Labels = model.fit(train, labels).predict(test)
    return predicted


def _naive_bayes(train: Features, labels: Labels, test: Features) -> Labels:
    from sklearn.naive_bayes import MultinomialNB

    predicted: Labels = MultinomialNB(fit_prior=False).fit(train, labels).predict(test)
    return predicted


NUISANCE_CLASSIFIERS: Final = (
    Classifier("logistic regression", _logistic),
    Classifier("boosted trees", _boosted_trees),
)
WORD_CLASSIFIERS: Final = (Classifier("naive Bayes", _naive_bayes),)


@dataclass(frozen=True)
class Separability:
    """How well classifiers tell the classes apart: balanced accuracy of the best one, beside chance and its null."""

    accuracy: float
    classifier: str
    chance: float
    ci95: tuple[float, float]
    """Percentile bootstrap over scenarios, of the predictions as they are."""
    null_mean: float | None
    """Mean of the permutation draws; like the next two None where there were no draws."""
    null_upper: float | None
    """95 % of the permutation draws lie at or below it."""
    p: float | None
    n: int
    """Texts that were classified."""


class _Scored(NamedTuple):
    accuracy: float
    classifier: str
    predicted: Labels


def separability(
    train: Dataset,
    features: Features,
    classifiers: Sequence[Classifier],
    *,
    test: tuple[Dataset, Features] | None = None,
    n_permutations: int,
    seed: int,
) -> Separability:
    """Balanced accuracy by 5-fold cross-validation grouped by scenario, or on `test` where one is given.

    The null permutes the training labels within scenarios (over all texts where the data set is not matched) and goes
    through the same code, the choice of the better classifier included; p = (b + 1) / (m + 1).
    """
    import numpy as np
    from sklearn import config_context
    from threadpoolctl import threadpool_limits

    labels = np.array([train.classes.index(text.emotion) for text in train])
    groups = np.unique([text.scenario for text in train], return_inverse=True)[1]
    judged = train if test is None else test[0]

    def best(labels: Labels) -> _Scored:
        truth = labels if test is None else np.array([train.classes.index(text.emotion) for text in judged])
        scored = []
        for name, fit_predict in classifiers:
            if test is None:
                predicted = np.empty_like(labels)
                for kept, held in _folds(groups):
                    predicted[held] = fit_predict(features[kept], labels[kept], features[held])
            else:
                predicted = fit_predict(features, labels, test[1])
            scored.append(_Scored(_balanced_accuracy(truth, predicted), name, predicted))
        return max(scored, key=lambda result: result.accuracy)

    rng = np.random.default_rng(seed)
    # On a few hundred rows threads cost more than they bring, and so do scikit-learn's checks of its own arguments.
    with threadpool_limits(1), config_context(assume_finite=True, skip_parameter_validation=True):
        observed = best(labels)
        null = [best(_permuted(labels, groups, train.is_matched, rng)).accuracy for _ in range(n_permutations)]
    beaten = int(np.sum(np.array(null) >= observed.accuracy - 1e-12))
    return Separability(
        accuracy=observed.accuracy,
        classifier=observed.classifier,
        chance=1 / len(train.classes),
        ci95=_bootstrap_interval(judged, train.classes, observed.predicted, rng),
        null_mean=float(np.mean(null)) if null else None,
        null_upper=float(np.quantile(null, 0.95, method="higher")) if null else None,
        p=(beaten + 1) / (len(null) + 1) if null else None,
        n=len(judged),
    )


def nuisance_matrix(dataset: Dataset) -> Features:
    """(texts, features) float64."""
    import numpy as np

    return np.array([nuisance_features(text) for text in dataset], dtype=np.float64)


def word_matrices(dataset: Dataset, other: Dataset) -> tuple[Features, Features]:
    """Which words of `dataset` occur in each of its texts, and in those of `other`: sparse (texts, words), 0 or 1."""
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(analyzer=words_of, binary=True)
    own = vectorizer.fit_transform(text.text for text in dataset)
    return own, vectorizer.transform(text.text for text in other)


def _folds(groups: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    from sklearn.model_selection import GroupKFold

    return list(GroupKFold(FOLDS).split(groups, groups=groups))


def _balanced_accuracy(truth: Labels, predicted: Labels) -> float:
    import numpy as np

    return float(np.mean([np.mean(predicted[truth == label] == label) for label in np.unique(truth)]))


def _permuted(labels: Labels, groups: NDArray[np.int64], within: bool, rng: np.random.Generator) -> Labels:
    import numpy as np

    if not within:
        return rng.permutation(labels)
    # Sorting by (group, random key) deals each group's labels out anew among its own members.
    target = np.argsort(groups, kind="stable")
    source = np.lexsort((rng.random(len(labels)), groups))
    shuffled = np.empty_like(labels)
    shuffled[target] = labels[source]
    return shuffled


def _bootstrap_interval(
    judged: Dataset, classes: Sequence[str], predicted: Labels, rng: np.random.Generator
) -> tuple[float, float]:
    import numpy as np

    rows = np.array([judged.scenarios.index(text.scenario) for text in judged])
    truth = np.array([classes.index(text.emotion) for text in judged])
    hits, counts = (np.zeros((len(judged.scenarios), len(classes))) for _ in range(2))
    np.add.at(hits, (rows, truth), predicted == truth)
    np.add.at(counts, (rows, truth), 1)
    drawn = rng.integers(len(hits), size=(2000, len(hits)))
    with np.errstate(invalid="ignore"):
        accuracies = np.nanmean(hits[drawn].sum(axis=1) / counts[drawn].sum(axis=1), axis=1)
    low, high = np.quantile(accuracies, [0.025, 0.975])
    return float(low), float(high)
