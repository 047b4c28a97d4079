"""Heat maps of cosines between emotions: raw (matched) beside specific, layer by layer, with chance in every cell."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from emotion_circuits.report._results import ModelResults
from emotion_circuits.report._static import WIDTH, cell_axes, new_figure
from emotion_circuits.report._style import layer_name, light, number
from emotion_circuits.statistics import Measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COSINE = "cosine between emotions"
KINDS = ("matched", "specific")
_KIND_TITLES = {
    "matched": "matched directions (emotion − neutral)",
    "specific": "specific directions (minus the mean over emotions)",
}
_ROW, _TOP, _BOTTOM, _LEFT, _GAP = 0.26, 0.58, 0.42, 0.75, 0.3


def cosine_caption(position: str) -> str:
    """How to read the heat map, in one sentence."""
    return (
        f"Cosines between emotions' directions at position {position!r}: each cell says the cosine and, after the bar, "
        "its chance level; colour is their difference (blue above chance, orange below), bold cells lie outside 95 % "
        "of the null in which labels swap within scenarios."
    )


def cosine_alt(model: ModelResults, position: str) -> str:
    """What the heat map shows, in words."""
    rows = model.rows("cosines", COSINE, position=position)
    last = max((m.layer for m in rows), default=0)
    words = "; ".join(
        f"{m.kind} {m.emotion} {number(m.value)} (chance {number(m.chance)})" for m in rows if m.layer == last
    )
    return f"Heat map of cosines between emotions of {model.name} by layer. At layer {layer_name(last)}: {words}."


def draw_cosines(model: ModelResults, position: str, *, with_title: bool) -> Figure | None:
    """Layers downwards, pairs of emotions sideways, both kinds side by side; None without rows."""
    rows = model.rows("cosines", COSINE, position=position)
    if not rows:
        return None
    kinds = [k for k in KINDS if any(m.kind == k for m in rows)]
    layers = sorted({m.layer for m in rows})
    pairs = list(dict.fromkeys(m.emotion for m in sorted(rows, key=lambda m: m.emotion)))
    top = _TOP + (0.3 if with_title else 0.0)
    height = top + len(layers) * _ROW + _BOTTOM
    figure = new_figure(height)
    if with_title:
        title = f"{model.name}: Are the emotions' directions alike? (position {position})"
        figure.text(0.006, 1 - 0.07 / height, title, fontsize=11, fontweight="bold", va="top")
    width = (WIDTH - _LEFT - 0.1 - _GAP * (len(kinds) - 1)) / len(kinds)
    for i, kind in enumerate(kinds):
        left = _LEFT + i * (width + _GAP)
        box = (left / WIDTH, _BOTTOM / height, width / WIDTH, len(layers) * _ROW / height)
        axes = figure.add_axes(box)
        cells = {(m.layer, m.emotion): m for m in rows if m.kind == kind}
        _draw_cells(axes, cells, layers, pairs)
        axes.set_title(_KIND_TITLES[kind], fontsize=9.5, fontweight="bold", loc="left", pad=22)
        axes.set_yticks(range(len(layers)), [layer_name(i) for i in layers] if i == 0 else [""] * len(layers))
        if i == 0:
            axes.set_ylabel("layer", labelpad=2)
    _draw_key(figure, height)
    return figure


def _draw_cells(axes: Axes, cells: dict[tuple[int, str], Measure], layers: list[int], pairs: list[str]) -> None:
    from matplotlib.patches import Rectangle

    cell_axes(axes, len(layers), pairs)
    for row, layer in enumerate(layers):
        for column, pair in enumerate(pairs):
            m = cells.get((layer, pair))
            if m is None:
                continue
            difference = m.value - m.chance
            colour = light("above" if difference > 0 else "below")
            box = Rectangle((column - 0.49, row - 0.47), 0.98, 0.94, lw=0, fc=colour, alpha=opacity(difference))
            axes.add_patch(box)
            outside = not m.null_low <= m.value <= m.null_high
            axes.text(
                column - 0.03, row, number(m.value), ha="right", va="center", fontsize=8.5,
                fontweight="bold" if outside else "normal",
            )  # fmt: skip
            axes.text(column + 0.03, row, f"| {number(m.chance)}", ha="left", va="center", fontsize=7.5)


def opacity(difference: float) -> float:
    """How strongly a cell is coloured: not at all at chance, most at a difference of .6 and more."""
    return 0.06 + 0.64 * min(abs(difference) / 0.6, 1.0) if math.isfinite(difference) else 0.0


def _draw_key(figure: Figure, height: float) -> None:
    """The colours' meaning, below the cells."""
    from matplotlib.patches import Rectangle

    axes = figure.add_axes((_LEFT / WIDTH, 0.06 / height, (WIDTH - _LEFT) / WIDTH, 0.24 / height))
    axes.set_axis_off()
    axes.set_xlim(0, WIDTH - _LEFT)
    axes.set_ylim(0, 0.24)
    axes.text(0, 0.12, "cosine minus chance", va="center", fontsize=8)
    for i, difference in enumerate((-0.6, -0.4, -0.2, 0.0, 0.2, 0.4, 0.6)):
        x = 1.4 + i * 0.55
        colour = light("above" if difference > 0 else "below")
        axes.add_patch(Rectangle((x, 0.02), 0.53, 0.2, lw=0, fc=colour, alpha=opacity(difference)))
        sign = "+" if difference > 0 else ""
        axes.text(x + 0.265, 0.12, f"{sign}{difference:.1f}".replace("-", "−"), ha="center", va="center", fontsize=7.5)
    axes.text(5.5, 0.12, "bold: outside 95 % of the null", va="center", fontsize=8, fontweight="bold")
