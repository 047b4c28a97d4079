"""A classifier of a bank's classes that needs no network: words and characters, trained on the project's texts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.errors import InputError
from emotion_circuits.prompts import NEUTRAL, PROFILES, Bank

FOLDS = 5
# Chosen by grouped cross-validation on explicit, implicit and continuation texts (foils' false alarms beside it);
# the real-world texts had no part in it.
PENALTY = 10.0


class LabelledText(NamedTuple):
    """One text of the training set; `source` is `explicit`, `implicit`, `continuations` or `foils`."""

    text: str
    emotion: str
    scenario: str
    source: str


class OfflineScorer:
    """Probabilities of those of a bank's classes that it has texts of to learn from.

    Logistic regression on TF-IDF of words and word pairs, and of two to five characters inside words. It is trained
    when it is first needed (a second) and kept in this object only.

    It learns from texts that directions of the profile are not made from: explicit scenarios 71–100 (for directions
    of `baseline`), the implicit texts, the continuations, and the foils as neutral text. What overlaps all the same:
    the implicit development texts choose the layer of directions, and the continuations are what the second outcome
    of a sweep is measured on. The real-world texts are never trained on. How good it is: `cross_validate`, and
    `judge_scorer(scorer, bank.real_world())`.

    Args:
        bank: the classes and what is learnt from.
        profile: the data set of the directions that are judged. For `extended`, which holds the explicit scenarios
            71–100 too, no explicit text is learnt from.
    """

    name: Final = "offline"
    meaning: Final = "probability of the class, by a classifier of words and characters"
    low: Final = 0.0
    high: Final = 1.0

    def __init__(self, bank: Bank, profile: str = "baseline"):
        if profile not in PROFILES:
            raise InputError("unknown profile", found=repr(profile), accepted=", ".join(PROFILES))
        self.profile = profile
        self._bank = bank
        learnt = {text.emotion for text in self.training_texts()}
        # Of one class there is nothing to learn.
        self.emotions = tuple(name for name in bank.names if name in learnt) if len(learnt) > 1 else ()
        self.chance = 1 / max(1, len(self.emotions))

    def training_texts(self) -> list[LabelledText]:
        """What it learns from; scenarios of different sources have different names."""
        bank = self._bank
        taken = {t.scenario for t in bank.profile(self.profile)}
        explicit = [t for t in bank.profile("extended") if t.scenario not in taken]
        found = [LabelledText(t.text, t.emotion, f"explicit {t.scenario}", "explicit") for t in explicit]
        found += [LabelledText(t.text, t.emotion, t.scenario, "implicit") for t in bank.implicit()]
        found += [LabelledText(c.text, c.emotion, c.id, "continuations") for c in bank.continuations()]
        found += [LabelledText(t.text, NEUTRAL, t.scenario, "foils") for t in bank.foils()]
        return found

    def score(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(texts, classes) probabilities; NaN for blank text."""
        return _probabilities(self._fitted, texts, self.emotions)

    @cached_property
    def _fitted(self) -> Any:
        return _fit(self.training_texts())

    def held_out_scores(self, seed: int = 0) -> NDArray[np.float64]:
        """(training texts, classes) probabilities, each from a classifier that saw nothing of the text's scenario."""
        from sklearn.model_selection import GroupKFold

        texts = self.training_texts()
        found = np.empty((len(texts), len(self.emotions)))
        folds = GroupKFold(FOLDS, shuffle=True, random_state=seed)
        for train, test in folds.split(texts, groups=[t.scenario for t in texts]):
            fitted = _fit([texts[i] for i in train])
            found[test] = _probabilities(fitted, [texts[i].text for i in test], self.emotions)
        return found


def _fit(texts: Sequence[LabelledText]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+'?\w*\b")
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2)
    model = make_pipeline(
        make_union(words, characters), LogisticRegression(C=PENALTY, max_iter=2000, class_weight="balanced")
    )
    return model.fit([_plain(t.text) for t in texts], [t.emotion for t in texts])


def _probabilities(model: Any, texts: Sequence[str], classes: Sequence[str]) -> NDArray[np.float64]:
    rows = np.full((len(texts), len(classes)), np.nan)
    written = [i for i, text in enumerate(texts) if text.strip()]
    if written:
        columns = [list(model.classes_).index(emotion) for emotion in classes]
        rows[written] = model.predict_proba([_plain(texts[i]) for i in written])[:, columns]
    return rows


def _plain(text: str) -> str:
    return text.replace("’", "'")
