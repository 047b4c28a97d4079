"""A coarse check that a text is English: Latin letters, and enough of the words that hold English together."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_FUNCTION_WORDS: Final = """
a about after again all an and any are as at back be been before but by can could did do does down each every for from
get go got had has have he her here him his how i if in into is it its just let like me more most my never no not now of
off on one only or our out over own she should so some still than that the their them then there these they this those
through to too up us very was we were what when where which while who why will with would you your
"""
_ENGLISH: Final = frozenset(_FUNCTION_WORDS.split())
_MIN_WORDS = 5  # a shorter text may be English without any of these words ("Fast shipping!")
_MIN_SHARE = 0.15
_MAX_FOREIGN_LETTERS = 0.2


def words_of(text: str) -> list[str]:
    """The text's words in lower case; contractions are cut at the apostrophe (`I'm` gives `i`, `m`)."""
    return re.findall(r"[^\W\d_]+", text.lower())


def foreign_letters(text: str) -> float:
    """The share of letters that are not of the Latin script (0 where there are no letters)."""
    letters = [character for character in text if character.isalpha()]
    foreign = sum(not unicodedata.name(letter, "").startswith("LATIN") for letter in letters)
    return foreign / len(letters) if letters else 0.0


def is_english(text: str) -> bool:
    """Whether nothing speaks against English. Short texts pass, and so may texts that mix languages."""
    if foreign_letters(text) > _MAX_FOREIGN_LETTERS:
        return False
    words = words_of(text)
    return len(words) < _MIN_WORDS or sum(word in _ENGLISH for word in words) >= _MIN_SHARE * len(words)
