"""A text token by token, as `score --tokens` and `demo` show it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from emotion_circuits.cli._output import Table, layer_name

if TYPE_CHECKING:
    from emotion_circuits.app import Reading

_STEPS = " ▏▎▍▌▋▊▉█"
_WIDTH = 6
"""Signs of the longest bar, which is the text's highest score or twice the band's end."""


def token_rows(readings: Sequence[Reading]) -> list[dict[str, Any]]:
    """A row a token: its score for every emotion, and between which scores 95 % of generic texts' tokens lie."""
    first = readings[0]
    return [
        {
            "token": piece,
            "scores": {r.emotion: float(r.scores[place]) for r in readings},
            "band": {r.emotion: r.band for r in readings},
        }
        for place, piece in enumerate(first.pieces)
    ]


def token_table(readings: Sequence[Reading]) -> Table:
    """A line a token: for every emotion its score with a bar, and a mark where it lies outside the band."""
    first = readings[0]
    longest = {r.emotion: max(2 * r.band[1], *(s for s in r.scores if math.isfinite(s)), 1e-9) for r in readings}
    rows = [
        (
            piece.strip() or ("·" if place else "⟨start⟩"),
            *(_cell(float(r.scores[place]), r.band, longest[r.emotion]) for r in readings),
        )
        for place, piece in enumerate(first.pieces)
    ]
    bands = "; ".join(f"{r.emotion} {r.band[0]:.2f} to {r.band[1]:.2f}, layer {layer_name(r.layer)}" for r in readings)
    whole = "; ".join(f"{r.emotion} {r.score:.2f}{_among(r.percentile)}" for r in readings)
    notes = (
        f"The text's score: {whole}.",
        f"▲ and ▼: above or below where 95 % of generic texts' tokens lie ({bands}). A bar begins at 0, generic text.",
    )
    return Table(("token", *(r.emotion for r in readings)), rows, f"{first.model}, token by token", notes)


def _among(percentile: float) -> str:
    """Where a text stands among generic ones; nothing where that is not known."""
    if not math.isfinite(percentile):
        return ""
    share = "> 99" if percentile > 99 else "< 1" if percentile < 1 else f"{percentile:.0f}"
    return f", above {share} % of generic texts"


def _cell(score: float, band: tuple[float, float], longest: float) -> str:
    if not math.isfinite(score):
        return "–"
    mark = "▲" if score > band[1] else "▼" if score < band[0] else " "
    eighths = round(8 * _WIDTH * max(score, 0.0) / longest)
    bar = "█" * (eighths // 8) + _STEPS[eighths % 8]
    return f"{score:6.2f} {mark} {bar:<{_WIDTH + 1}}"
