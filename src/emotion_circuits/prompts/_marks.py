"""Spans written as square brackets inside a text: `I was [sorry] about the noise.`"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

Span = tuple[int, int]
"""Start and end (exclusive) of a stretch of a text, in characters."""


class Unmarked(NamedTuple):
    """A text without its brackets, and where the bracketed stretches lie in it."""

    text: str
    spans: tuple[Span, ...]


def unmark(marked: str) -> Unmarked:
    """Removes the brackets of `marked` and returns the offsets they enclosed, counted in the bracket-free text.

    Raises:
        ValueError: a bracket without its partner, one bracket inside another, or an empty pair.
    """
    plain: list[str] = []
    spans: list[Span] = []
    start: int | None = None
    for character in marked:
        if character == "[":
            if start is not None:
                raise ValueError("a [ inside another [..]")
            start = len(plain)
        elif character == "]":
            if start is None:
                raise ValueError("a ] without a [ before it")
            if start == len(plain):
                raise ValueError("an empty pair []")
            spans.append((start, len(plain)))
            start = None
        else:
            plain.append(character)
    if start is not None:
        raise ValueError("a [ without a ] after it")
    return Unmarked("".join(plain), tuple(spans))


def mark(text: str, spans: Sequence[Span]) -> str:
    """Writes `spans` into `text` as brackets; the inverse of `unmark`.

    Raises:
        ValueError: the text has brackets of its own, or the spans are empty, overlap, or leave the text.
    """
    if "[" in text or "]" in text:
        raise ValueError("the text already contains brackets")
    pieces: list[str] = []
    done = 0
    for start, end in sorted(spans):
        if not done <= start < end <= len(text):
            raise ValueError(f"span {start}–{end} is empty, overlaps another or leaves the text")
        pieces += [text[done:start], "[", text[start:end], "]"]
        done = end
    return "".join([*pieces, text[done:]])
