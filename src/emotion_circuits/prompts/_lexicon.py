"""Words that name gratitude, anger or apology, as regular expressions anchored at word boundaries.

They are for masking and for checking that texts do *not* name an emotion. They are no measure of emotion: `cross`
matches in "cross the street", and a text can be furious without any of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

_FAMILIES: Final = {
    "gratitude": (
        r"thank\w*",
        r"grateful\w*",
        r"gratitude",
        r"appreciat\w*",
        r"indebted\w*",
        r"obliged",
        r"beholden",
    ),
    "anger": (
        r"anger(?:s|ed|ing)?",
        r"angr(?:y|ier|iest|ily)",
        r"furious\w*",
        r"fury",
        r"infuriat\w*",
        r"livid\w*",
        r"outrag\w*",
        r"enrag\w*",
        r"rag(?:e|es|ed|ing)",
        r"irate\w*",
        r"fum(?:e|es|ed|ing)",
        r"incensed",
        r"resent\w*",
        r"mad(?:ly|der|dest|ness|den|dened|dening)?",
        r"seeth(?:e|es|ed|ing)",
        r"cross(?:ly)?",
        r"annoy\w*",
        r"irritat\w*",
        r"exasperat\w*",
        r"indign\w*",
        r"wrath\w*",
    ),
    "apology": (
        r"sorry",
        r"sorrier",
        r"apolog\w*",
        r"regret\w*",
        r"remors\w*",
        r"ashamed\w*",
        r"repent\w*",
        r"contrit\w*",
        r"guilt\w*",
        r"penitent\w*",
        r"forgiv\w*",
        r"pardon\w*",
    ),
}

LEXICON: Final[Mapping[str, re.Pattern[str]]] = MappingProxyType(
    {emotion: re.compile(rf"\b(?:{'|'.join(families)})\b", re.IGNORECASE) for emotion, families in _FAMILIES.items()}
)
"""Emotion → pattern of its words."""


class EmotionWord(NamedTuple):
    """A word of the lexicon found in a text, with its characters' offsets (end exclusive)."""

    emotion: str
    word: str
    start: int
    end: int


def emotion_words(text: str, emotion: str | None = None) -> tuple[EmotionWord, ...]:
    """The lexicon's words in `text` (of one emotion, or of all), in order of appearance."""
    found = [
        EmotionWord(name, match.group(), *match.span())
        for name, pattern in LEXICON.items()
        if emotion in (None, name)
        for match in pattern.finditer(text)
    ]
    return tuple(sorted(found, key=lambda word: word.start))
