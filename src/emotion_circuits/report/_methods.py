"""Effect against damage: every method of changing a model's tone on one plot, with what nothing beats at both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emotion_circuits.components import ABLATE, ABLATED_AT, CIRCUIT, WAYS, MethodRow
from emotion_circuits.report._static import WIDTH, new_figure, write_picture
from emotion_circuits.report._style import light, matplotlib_settings
from emotion_circuits.scoring import RANDOM, twin_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TWINS = {"swap": "P", "swap, last token": "X", "prompted": "*", CIRCUIT: "h"}
_LOOKS = {
    # method → colour's role, marker
    "add": ("yes", "o"),
    "add, prompt only": ("yes", "^"),
    "iterative": ("yes", "s"),
    "clamp": ("above", "D"),
    ABLATE: ("above", "v"),
    "swap": ("no", "P"),
    "swap, last token": ("no", "X"),
    "prompted": ("all", "*"),
    CIRCUIT: ("accent", "h"),
    RANDOM: ("null", "."),
    **{twin_of(method): ("null", marker) for method, marker in _TWINS.items()},
}
_ROW, _TOP, _BOTTOM, _LEFT, _GAP, _LEGEND = 2.4, 0.5, 0.55, 0.75, 0.35, 0.55
_TITLES = {"raise": "raised in neutral prompts", "lower": "lowered in the emotion's prompts"}


def draw_methods(rows: Sequence[MethodRow], *, title: str = "") -> Figure | None:
    """A panel for each emotion (sideways) and way (downwards), for one scorer; None where nothing was measured.

    Up is more of what was asked for, right and left are text that is harder and easier to predict than clean text.
    """
    usable = [r for r in rows if math.isfinite(r.effect) and math.isfinite(r.damage)]
    if not usable:
        return None
    emotions = list(dict.fromkeys(r.emotion for r in usable))
    ways = [way for way in WAYS if any(r.way == way for r in usable)]
    top = _TOP + (0.3 if title else 0.0) + _LEGEND
    height = top + len(ways) * (_ROW + _BOTTOM)
    figure = new_figure(height)
    if title:
        figure.text(0.006, 1 - 0.07 / height, title, fontsize=11, fontweight="bold", va="top")
    width = (WIDTH - _LEFT - 0.15 - (len(emotions) - 1) * _GAP) / len(emotions)
    bounds = [_bounds([r for r in usable if r.way == way]) for way in ways]
    for i, way in enumerate(ways):
        for j, emotion in enumerate(emotions):
            bottom = height - top - (i + 1) * _ROW - i * _BOTTOM
            left = _LEFT + j * (width + _GAP)
            axes = figure.add_axes((left / WIDTH, bottom / height, width / WIDTH, _ROW / height))
            _draw_panel(axes, [r for r in usable if r.way == way and r.emotion == emotion], bounds[i])
            axes.set_title(f"{emotion}, {_TITLES[way]}", fontsize=9.5, fontweight="bold", loc="left")
            axes.tick_params(labelleft=j == 0)
            if j == 0:
                axes.set_ylabel("effect on the score")
            axes.set_xlabel("perplexity × clean text's" if way == ways[-1] else "", labelpad=1)
    _legend(figure, usable, 1 - (top - _TOP - _LEGEND + 0.1) / height)
    return figure


def write_methods_figure(rows: Sequence[MethodRow], path: Path, title: str) -> list[Path]:
    """Write `path` with the endings .png and .svg; nothing where nothing was measured.

    Args:
        rows: of one scorer.
        path: without an ending.
        title: written above.
    """
    with matplotlib_settings():
        figure = draw_methods(rows, title=title)
        return [] if figure is None else write_picture(figure, path)


def _bounds(rows: Sequence[MethodRow]) -> tuple[float, float, float, float]:
    """x from and to (symmetrical about 1 in logarithms), y from and to."""
    furthest = max([abs(math.log(r.damage)) for r in rows] + [math.log(1.5)]) * 1.15
    lows = [r.ci_low for r in rows if math.isfinite(r.ci_low)] + [0.0]
    highs = [r.ci_high for r in rows if math.isfinite(r.ci_high)] + [0.1]
    room = 0.06 * (max(highs) - min(lows))
    return math.exp(-furthest), math.exp(furthest), min(lows) - room, max(highs) + room


def _draw_panel(axes: Axes, rows: Sequence[MethodRow], bounds: tuple[float, float, float, float]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_xscale("log")
    axes.set_xlim(bounds[0], bounds[1])
    axes.set_ylim(bounds[2], bounds[3])
    fine = (0.67, 0.8, 0.9, 1, 1.1, 1.25, 1.5) if bounds[1] < 1.8 else (0.1, 0.25, 0.5, 1, 2, 4, 10, 100, 1000)
    ticks = [t for t in fine if bounds[0] <= t <= bounds[1]]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.axhline(0, color=light("muted"), lw=0.8)
    axes.axvline(1, color=light("muted"), lw=0.8, ls=(0, (1.2, 2)))
    for row in rows:
        role, marker = _LOOKS[row.method]
        colour, faint = light(role), row.regime in ("collapsed", "empty")
        alpha = 0.35 if faint else 1.0
        if math.isfinite(row.ci_low):
            axes.vlines(row.damage, row.ci_low, row.ci_high, color=colour, lw=0.9, alpha=0.5 * alpha)
        if math.isfinite(row.damage_low):
            axes.hlines(row.effect, row.damage_low, row.damage_high, color=colour, lw=0.9, alpha=0.5 * alpha)
        size = 8 if row.method == "prompted" else 5.5
        axes.plot(
            row.damage, row.effect, marker=marker, ms=size, color=colour, alpha=alpha, ls="none",
            mec=light("ink") if row.on_front else colour, mew=1.3 if row.on_front else 0.4,
        )  # fmt: skip
        if math.isfinite(row.dose) and row.method != ABLATE:
            said = f"{row.dose:g}".replace("-", "−")
            if row.method in (CIRCUIT, twin_of(CIRCUIT)):  # a strength is no dose
                said = f"×{said}"
            elif row.dose == ABLATED_AT:
                said = ABLATE
            axes.annotate(
                said, (row.damage, row.effect), xytext=(4, 3),
                textcoords="offset points", fontsize=6.5, color=light("muted"), alpha=alpha,
            )  # fmt: skip


def _legend(figure: Figure, rows: Sequence[MethodRow], top: float) -> None:
    from matplotlib.lines import Line2D

    found = {r.method for r in rows}
    handles = [
        Line2D([], [], color=light(role), marker=marker, ls="none", ms=5.5, label=method)
        for method, (role, marker) in _LOOKS.items()
        if method in found
    ]
    handles.append(
        Line2D([], [], color="none", marker="o", mec=light("ink"), mew=1.3, ls="none", label="nothing beats it at both")
    )
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0.0, top), ncols=(len(handles) + 1) // 2, frameon=False,
        fontsize=7.5, handletextpad=0.2, columnspacing=1.0,
    )  # fmt: skip
