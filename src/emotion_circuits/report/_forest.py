"""All claims of one kind beside each other: value and interval, chance, floors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from emotion_circuits.report._chart import finite_range
from emotion_circuits.report._maps import ARROW
from emotion_circuits.report._static import new_figure
from emotion_circuits.report._style import emotion_colour, light, number
from emotion_circuits.report._words import BADGES, claim_short, floor_name
from emotion_circuits.statistics import Claim

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FLOOR_MARKERS = ("x", "D", "+", "v", "*", "s", "^", "p", "h")
_KEYS_A_LINE = 5
_ROW, _TOP, _BOTTOM, _LEFT, _RIGHT = 0.27, 0.38, 0.5, 2.9, 1.5
_WIDTH = 11.0


def forest_caption(claims: Sequence[Claim]) -> str:
    """How to read it, in one sentence."""
    floors = any(c.floors for c in claims)
    beyond = "the grey tick of chance and every floor's mark" if floors else "the grey tick of chance"
    return f"Every claim of this kind: a claim needs its whole 95 % interval to the right of {beyond}."


def forest_alt(claims: Sequence[Claim]) -> str:
    """The same in words."""
    words = [f"{c.model} {c.emotion or ''} {number(c.value)}, {c.verdict}" for c in claims]
    return f"{claims[0].statistic}, with 95 % intervals, chance and floors: {'; '.join(words)}."


def draw_forest(claims: Sequence[Claim], *, with_title: bool) -> Figure | None:
    """One line per claim; None where no claim has a value."""
    if not any(c.value is not None for c in claims):
        return None
    floors = sorted({name for c in claims for name in c.floors})
    lines = -(-(len(floors) + 2) // _KEYS_A_LINE)
    top = _TOP + 0.2 * (lines - 1) + (0.28 if with_title else 0.0)
    height = top + len(claims) * _ROW + _BOTTOM
    figure = new_figure(height, _WIDTH)
    if with_title:
        title = claim_short(claims[0].id).capitalize()
        figure.text(0.006, 1 - 0.07 / height, title, fontsize=11, fontweight="bold", va="top")
    box = (_LEFT / _WIDTH, _BOTTOM / height, (_WIDTH - _LEFT - _RIGHT) / _WIDTH, len(claims) * _ROW / height)
    axes = figure.add_axes(box)
    axes.grid(axis="x")
    axes.grid(False, axis="y")
    axes.set_ylim(len(claims) - 0.4, -0.6)
    axes.set_xlim(*_range(claims))
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_yticks([])
    axes.set_xlabel(claims[0].statistic, labelpad=3)
    previous = None
    for row, claim in enumerate(claims):
        _draw_claim(axes, row, claim, floors)
        name = claim.model if claim.model != previous else ""
        if name and row:
            axes.axhline(row - 0.5, color=light("grid"), lw=0.8)
        figure_x: dict[str, Any] = {"xycoords": ("figure fraction", "data"), "va": "center"}
        axes.annotate(_cut(short_pair(name), 30), (0.006, row), fontweight="bold", **figure_x)
        axes.annotate(claim.emotion or "", (_LEFT / _WIDTH - 0.075, row), color=_colour(claim), **figure_x)
        words = f"{BADGES[claim.verdict].symbol if claim.verdict else ''} {claim.verdict}"
        axes.annotate(words, (1 - (_RIGHT - 0.15) / _WIDTH, row), fontsize=8.5, **figure_x)
        previous = claim.model
    _draw_key(axes, floors)
    return figure


def short_pair(name: str) -> str:
    """`A → B` without the folders of A and B; one model's name as it is."""
    parts = name.split(ARROW)
    return name if len(parts) == 1 else ARROW.join(part.rpartition("/")[2] for part in parts)


def _cut(text: str, n: int) -> str:
    return text if len(text) <= n else text[: n - 1] + "…"


def _colour(claim: Claim) -> str:
    return light(emotion_colour(claim.emotion or "all"))


def _range(claims: Sequence[Claim]) -> tuple[float, float]:
    values = [v for c in claims for v in (c.value, c.chance, *(c.ci95 or ()), *c.floors.values()) if v is not None]
    return finite_range(values, min(values), max(values), 0.05)


def _draw_claim(axes: Axes, row: int, claim: Claim, floors: Sequence[str]) -> None:
    if claim.value is None:
        return
    if claim.ci95 is not None:
        axes.hlines(row, *claim.ci95, color=_colour(claim), lw=2)
    axes.plot(claim.value, row, "o", ms=6, color=_colour(claim), mew=0)
    if claim.chance is not None:
        axes.vlines(claim.chance, row - 0.36, row + 0.36, color=light("null"), lw=2.4)
    for name, marker in zip(floors, FLOOR_MARKERS, strict=False):
        if name in claim.floors:
            axes.plot(claim.floors[name], row, marker, ms=5, color=light("muted"), mfc="none", mew=1.3)


def _draw_key(axes: Axes, floors: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    ink, muted = light("ink"), light("muted")
    handles = [
        Line2D([], [], color=ink, marker="o", ms=5, lw=2, label="value, 95 % interval"),
        Line2D([], [], color=light("null"), marker="|", ms=9, mew=2.4, lw=0, label="chance"),
    ]
    handles += [
        Line2D([], [], color=muted, marker=marker, ms=5, mfc="none", mew=1.3, lw=0, label=f"floor: {floor_name(name)}")
        for name, marker in zip(floors, FLOOR_MARKERS, strict=False)
    ]
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=min(len(handles), _KEYS_A_LINE),
        frameon=False, fontsize=8, borderaxespad=0.2, handletextpad=0.5, columnspacing=1.4, labelcolor=ink,
    )  # fmt: skip
