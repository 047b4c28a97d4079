"""The four positions at which a text is read, as token indices."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from emotion_circuits.errors import InputError
from emotion_circuits.models import Encoded
from emotion_circuits.prompts import Text

Position = Literal["sentence_end", "last_content", "emotion_token", "mean"]
POSITIONS: Final[tuple[Position, ...]] = ("sentence_end", "last_content", "emotion_token", "mean")
SpanPart = Literal["first", "last", "all"]
MIN_MATCH_RATE = 0.8


class TokenPositions(NamedTuple):
    """Token indices of texts.

    Attributes:
        indices: position → per text the tokens whose mean is read; empty where the text has no such position.
        match_rate: emotion → share of its texts whose marked span was found in the tokens; None without marked texts.
    """

    indices: dict[str, list[list[int]]]
    match_rate: dict[str, float | None]


def check_position(name: str) -> Position:
    """The position of that name; `sentence-end` and `sentence_end` are one."""
    for position in POSITIONS:
        if name.replace("-", "_") == position:
            return position
    raise InputError(f"Unknown position {name!r}.", accepted=", ".join(p.replace("_", "-") for p in POSITIONS))


def _is_content(characters: str) -> bool:
    """Whether a token holds a letter, digit or symbol, not only punctuation and space."""
    return any(not (c.isspace() or unicodedata.category(c).startswith("P")) for c in characters)


def _span_tokens(encoded: Encoded, span: tuple[int, int], part: SpanPart) -> list[int]:
    start, end = span
    inside = [
        k for k, (a, b) in enumerate(encoded.offsets) if k >= encoded.bos_length and a < end and b > start and b > a
    ]
    if not inside or part == "all":
        return inside
    return [inside[0] if part == "first" else inside[-1]]


def token_positions(
    texts: Sequence[Text], encoded: Sequence[Encoded], *, span_part: SpanPart = "all"
) -> TokenPositions:
    """Find every position in every text, by character offsets.

    `mean` is over content tokens without position 0, whose norm is of another size in many models. A text without a
    marked span has no `emotion_token`; nothing stands in for it.

    Args:
        texts: the texts.
        encoded: their tokens.
        span_part: which tokens of the marked span `emotion_token` reads.

    Raises:
        InputError: spans are marked, but fewer than 80 % of a class's are found in its tokens.
    """
    indices: dict[str, list[list[int]]] = {position: [] for position in POSITIONS}
    found: dict[str, list[bool]] = {}
    for text, tokens in zip(texts, encoded, strict=True):
        last = len(tokens) - 1
        content = [
            k for k, (a, b) in enumerate(tokens.offsets) if k >= tokens.bos_length and _is_content(text.text[a:b])
        ]
        averaged = [k for k in content if k > 0]
        indices["sentence_end"].append([last])
        indices["last_content"].append(content[-1:])
        indices["mean"].append(averaged or content)
        inside = _span_tokens(tokens, text.span, span_part) if text.span else []
        indices["emotion_token"].append(inside)
        if text.span:
            found.setdefault(text.emotion, []).append(bool(inside))
    rates = {emotion: sum(hits) / len(hits) for emotion, hits in found.items()}
    for emotion, rate in rates.items():
        if rate < MIN_MATCH_RATE:
            raise InputError(
                f"The marked words of {emotion} texts were found in too few texts.",
                found=f"{rate:.0%}",
                accepted=f"{MIN_MATCH_RATE:.0%} or more",
                next_step="check the spans with `emotion-circuits prompts validate`",
            )
    emotions = dict.fromkeys(t.emotion for t in texts)
    return TokenPositions(indices, {emotion: rates.get(emotion) for emotion in emotions})
