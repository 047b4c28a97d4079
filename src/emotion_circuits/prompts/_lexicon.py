"""Words that name an emotion, as regular expressions anchored at word boundaries.

They are for masking and for checking that texts do *not* name an emotion. They are no measure of emotion: `cross`
matches in "cross the street", and a text can carry an emotion without naming it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from emotion_circuits.errors import InputError


class EmotionWord(NamedTuple):
    """A word of a lexicon found in a text, with its characters' offsets (end exclusive)."""

    emotion: str
    word: str
    start: int
    end: int


@dataclass(frozen=True)
class Lexicon:
    """The words of one emotion.

    Attributes:
        emotion: its name.
        patterns: what matches whole words, in any case; none for a class without words.
        are_words: the patterns are plain words, not regular expressions.
    """

    emotion: str = ""
    patterns: tuple[str, ...] = ()
    are_words: bool = False

    @cached_property
    def pattern(self) -> re.Pattern[str] | None:
        """All of them as one expression; InputError for one that is none."""
        if not self.patterns:
            return None
        parts = [re.escape(p) for p in self.patterns] if self.are_words else self.patterns
        try:
            return re.compile(rf"\b(?:{'|'.join(parts)})\b", re.IGNORECASE)
        except re.error as error:
            raise InputError(
                f"The lexicon of {self.emotion} is no regular expression.", found=f"{error.pattern!r}: {error.msg}"
            ) from error

    def words(self, text: str) -> list[EmotionWord]:
        """Its words in a text, in order."""
        if self.pattern is None:
            return []
        return [EmotionWord(self.emotion, match.group(), *match.span()) for match in self.pattern.finditer(text)]


def emotion_words(text: str, lexicons: Iterable[Lexicon]) -> tuple[EmotionWord, ...]:
    """Words of any of the lexicons in a text, in order of appearance."""
    return tuple(sorted((word for own in lexicons for word in own.words(text)), key=lambda word: word.start))
