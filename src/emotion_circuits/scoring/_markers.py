"""Words that mark an emotion in free text: transparent, and blind to everything that is said without them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.prompts import Bank

# Words that tell a class only at the slot they were chosen for: in free text they mostly mean something else.
SLOT_ONLY: Final = frozenset(
    ("how", "why", "stop", "never", "enough", "excuse", "cross", "moved", "touched", "obliged")
)

_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_CLAUSE_END: Final = re.compile(r"[.!?,;:()\n\"“”]|\s[-–—]+\s")
# Negator → how many words after it (inside the clause) it can reach.
_REACH: Final = {
    **dict.fromkeys(("not", "never", "nor", "neither", "cannot", "without", "nothing", "hardly", "barely"), 3),
    "no": 2,
}
_NT_REACH: Final = 3
# "couldn't be more grateful", "never been so angry", "not only sorry": the negation strengthens.
_STRENGTHENING: Final = {"more": None, "only": None, "so": "never"}


class MarkerScorer:
    """Whole words of an emotion, negated ones left out.

    The words are those of the lexicons and of the word sets, without `SLOT_ONLY`. A word does not count if a negator
    stands at most three words before it in the same clause (`no` two: "no thanks", "isn't very sorry"), unless the
    negation strengthens ("couldn't be more grateful", "can't thank you enough", "never been so angry", "not only").
    Nothing else is understood: "thanks to the new bypass" counts, and so do most of the bank's foils.

    Args:
        bank: the classes.
        counts: values are numbers of markers; else 1 if there is any, 0 if there is none.

    Attributes:
        emotions: those of the bank that have words. Neutral text has none of its own.
    """

    low: Final = 0.0
    chance: Final = 0.0

    def __init__(self, bank: Bank, *, counts: bool = False):
        self.counts = counts
        self.emotions = tuple(own.name for own in bank.classes[1:] if own.lexicon.patterns or own.words)
        self._bank = bank
        self.name = "marker-counts" if counts else "markers"
        self.high = float("inf") if counts else 1.0
        self.meaning = (
            "words of the emotion in the text, negated ones not counted"
            if counts
            else "1 if the text has a word of the emotion that is not negated, else 0"
        )

    @cached_property
    def _words(self) -> dict[str, frozenset[str]]:
        """Emotion → single words of its word sets, in lower case."""
        return {
            emotion: frozenset(word.lower() for words in self._bank[emotion].words.values() for word in words)
            for emotion in self.emotions
        }

    def markers(self, text: str) -> list[tuple[str, str]]:
        """(emotion, word) of every marker that counts, in order of appearance."""
        text = text.replace("’", "'")
        starts = {(w.emotion, w.start) for w in self._bank.emotion_words(text)}
        found = []
        clause_start = 0
        tokens = list(_WORD.finditer(text))
        for k, token in enumerate(tokens):
            if k and _CLAUSE_END.search(text, tokens[k - 1].end(), token.start()):
                clause_start = k
            word = token.group().lower()
            if word in SLOT_ONLY:
                continue
            for emotion in self.emotions:
                known = (emotion, token.start()) in starts or word in self._words[emotion]
                if known and not _negated(text, tokens, k, clause_start):
                    found.append((emotion, word))
        return found

    def score(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(texts, emotions) counts or hits; NaN for blank text."""
        rows = np.full((len(texts), len(self.emotions)), np.nan)
        for i, text in enumerate(texts):
            if text.strip():
                seen = Counter(emotion for emotion, _ in self.markers(text))
                rows[i] = [seen[emotion] if self.counts else min(seen[emotion], 1) for emotion in self.emotions]
        return rows


def _negated(text: str, tokens: Sequence[re.Match[str]], k: int, clause_start: int) -> bool:
    words = [token.group().lower() for token in tokens[max(clause_start, k - _NT_REACH) : k]]
    for distance, word in enumerate(reversed(words), 1):
        reach = _NT_REACH if word.endswith("n't") else _REACH.get(word, 0)
        if distance > reach:
            continue
        between = words[len(words) - distance + 1 :]
        if any(w in _STRENGTHENING and _STRENGTHENING[w] in (None, word) for w in between):
            return False
        after = text[tokens[k].end() : tokens[min(k + 5, len(tokens) - 1)].end()]
        return not re.match(r"[^.!?,;:]*\benough\b", after)
    return False
