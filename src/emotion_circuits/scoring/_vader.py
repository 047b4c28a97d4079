"""VADER: positive against negative, by a lexicon and rules (Hutto and Gilbert 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.prompts import Bank


class VaderScorer:
    """VADER's compound score: −1 most negative to 1 most positive, 0 neither.

    It knows no emotions, but some have a side: their `valence` says whether they should raise or lower it.

    Args:
        bank: the classes.

    Attributes:
        sides: emotion → 1 or −1, where it has a valence.
    """

    name: Final = "vader"
    emotions: Final = ("compound",)
    meaning: Final = "positive (1) against negative (−1), by VADER's lexicon and rules"
    low: Final = -1.0
    high: Final = 1.0
    chance: Final = 0.0

    def __init__(self, bank: Bank):
        self.sides = {own.name: own.valence for own in bank.classes if own.valence}

    @cached_property
    def _analyser(self) -> Any:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

        return SentimentIntensityAnalyzer()

    def score(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(texts, 1) compound scores; NaN for blank text."""
        values = [self._analyser.polarity_scores(text)["compound"] if text.strip() else np.nan for text in texts]
        return np.array(values, dtype=np.float64).reshape(-1, 1)
