"""Faithfulness curves: what a circuit carries alone, by its size, beside random circuits of the same layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emotion_circuits.components import CPR, FAITHFULNESS
from emotion_circuits.report._static import WIDTH, new_figure, write_picture
from emotion_circuits.report._style import emotion_colour, equals, interval, light, matplotlib_settings, number, shade
from emotion_circuits.statistics import Measure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW, _TOP, _BOTTOM, _LEFT, _GAP = 2.3, 0.75, 0.55, 0.75, 0.3


def draw_circuits(rows: Sequence[Measure], *, title: str = "") -> Figure | None:
    """A panel for each emotion whose whole model differs from the empty circuit; None where there is none."""
    curves = [m for m in rows if m.statistic == FAITHFULNESS and math.isfinite(m.value)]
    if not curves:
        return None
    emotions = list(dict.fromkeys(m.emotion for m in curves))
    top = _TOP + (0.3 if title else 0.0)
    height = top + _ROW + _BOTTOM
    figure = new_figure(height)
    if title:
        figure.text(0.006, 1 - 0.07 / height, title, fontsize=11, fontweight="bold", va="top")
    width = (WIDTH - _LEFT - 0.15 - (len(emotions) - 1) * _GAP) / len(emotions)
    # Curves decide on the axis; intervals may run out of it.
    low = min(m.value for m in curves) - 0.15
    high = max(1.1, *(m.value for m in curves), *(m.null_high for m in curves if math.isfinite(m.null_high))) + 0.15
    for j, emotion in enumerate(emotions):
        own = sorted((m for m in curves if m.emotion == emotion), key=lambda m: float(m.position))
        x = [100 * float(m.position) for m in own]
        box = ((_LEFT + j * (width + _GAP)) / WIDTH, _BOTTOM / height, width / WIDTH, _ROW / height)
        axes = figure.add_axes(box)
        colour = light(emotion_colour(emotion))
        known = [m for m in own if math.isfinite(m.null_low)]
        at = [100 * float(m.position) for m in known]
        axes.fill_between(at, [m.null_low for m in known], [m.null_high for m in known], color=light("null"),
                          alpha=shade("null"), lw=0, label="random circuits, 95 %")  # fmt: skip
        axes.plot(at, [m.chance for m in known], color=light("null-strong"), lw=1.2, ls=(0, (5, 2.5)))
        axes.fill_between(x, [m.ci_low for m in own], [m.ci_high for m in own], color=colour, alpha=0.2, lw=0)
        axes.plot(x, [m.value for m in own], color=colour, lw=2, marker="o", ms=3.6)
        axes.axhline(1, color=light("muted"), lw=0.8)
        axes.axhline(0, color=light("muted"), lw=0.8)
        axes.set_xscale("log")
        axes.set_ylim(low, high)
        axes.set_xticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
        axes.tick_params(labelleft=j == 0)
        axes.set_xlabel("% of heads and of units kept", labelpad=1)
        if j == 0:
            axes.set_ylabel("faithfulness")
        area = next((m for m in rows if m.statistic == CPR and m.emotion == emotion), None)
        said = "" if area is None else f"CPR {number(area.value)} {interval(area.ci_low, area.ci_high)}"
        axes.set_title(emotion, fontsize=9.5, fontweight="bold", loc="left", pad=20)
        beside = "" if area is None else f"random {interval(area.null_low, area.null_high)}, p {equals(area.p)}"
        axes.text(0, 1.03, f"{said}; {beside}", transform=axes.transAxes, fontsize=7.5, color=light("muted"))
    return figure


def write_circuits_figure(rows: Sequence[Measure], path: Path, title: str) -> list[Path]:
    """Write `path` with the endings .png and .svg; nothing where nothing was tested."""
    with matplotlib_settings():
        figure = draw_circuits(rows, title=title)
        return [] if figure is None else write_picture(figure, path)
