"""The one map of cells: panels of rows and columns as data, and how they are drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from emotion_circuits.report._canvas import WIDTH, Canvas, width_of

_LEFT, _RIGHT, _HEAD, _BARS, _BARS_GAP = 0.75, 0.1, 0.5, 0.62, 0.1
_WIDEST, _BESIDE, _STACKED = 1.45, 0.69, 0.4
"""Inches of a cell: none is wider than the first; below the second its small number stands under the large one, below
the third it holds `tiny` only."""
_FAINTEST, _STRONGEST, _PALE = 0.04, 0.7, 0.4


class Cell(NamedTuple):
    """A cell: the strength of its colour (−1 to 1, blue above 0), and its numbers.

    `tiny` replaces both numbers where there is room for few signs; `hatched` says that something is wrong with it;
    `outlined` is a width in points; `hover` says all in words.
    """

    strength: float
    large: str
    small: str = ""
    tiny: str | None = None
    bold: bool = False
    grey: bool = False
    hatched: bool = False
    outlined: float = 0.0
    hover: str = ""


class Bars(NamedTuple):
    """Bars beside the rows: all, and the part that is clear; `most` is the longest of the picture."""

    title: str
    whole: Sequence[float]
    clear: Sequence[float]
    most: float
    most_name: str


@dataclass(frozen=True)
class Grid:
    """One panel: cells at (row, column), row 0 on top."""

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: Mapping[tuple[int, int], Cell]
    bars: Bars | None = None
    divide: int = 0
    """A line before this column."""


@dataclass(frozen=True)
class CellMap:
    """Panels of one size in lines; each line is broken where its cells would be narrower than `narrowest` inches.

    `scale` is what the strongest colours stand for; `keys` are ("hatched", "outlined", "measured" or "", words).
    """

    lines: tuple[tuple[Grid, ...], ...]
    scale: tuple[str, str]
    keys: tuple[tuple[str, str], ...] = ()
    row_name: str = "layer"
    column_name: str = ""
    narrowest: float = 0.0
    widest: float = _WIDEST

    def summary(self) -> str:
        """The strongest cell of each panel where nothing is wrong."""
        said = []
        for grid in (grid for line in self.lines for grid in line):
            whole = [c for c in grid.cells.values() if not c.hatched and math.isfinite(c.strength)]
            best = max(whole, key=lambda c: abs(c.strength), default=None)
            said.append(f"{grid.title}: {'hatched everywhere' if best is None else best.hover.replace(chr(10), ', ')}.")
        return " ".join(said)

    def cell_width(self) -> float:
        """Inches."""
        return self._layout()[1]

    def _layout(self) -> tuple[int, float, float]:
        """Panels side by side, width of a cell, and from panel to panel."""
        panels = [panel for line in self.lines for panel in line]
        bars = _BARS + _BARS_GAP if any(panel.bars for panel in panels) else 0.0
        columns, most = max(len(panel.columns) for panel in panels), max(map(len, self.lines))
        gap = 0.16 + max(width_of(name, 8.5) for panel in panels for name in panel.rows)

        def width(beside: int) -> float:
            return ((WIDTH - _LEFT - _RIGHT - (beside - 1) * gap) / beside - bars) / columns

        fitting = [n for n in range(1, most + 1) if width(n) >= self.narrowest]
        beside = max(fitting, default=1)
        cell = min(width(beside), self.widest)
        pitch = max((WIDTH - _LEFT - _RIGHT + gap) / beside, columns * cell + bars + gap) if beside > 1 else 0.0
        return beside, cell, pitch

    def draw(self, title: str) -> Canvas:
        canvas = Canvas(title)
        beside, width, pitch = self._layout()
        rows = max(len(panel.rows) for line in self.lines for panel in line)
        stacked = _STACKED <= width < _BESIDE and any(
            c.small for ln in self.lines for p in ln for c in p.cells.values()
        )
        height = 0.34 if stacked else 0.27 if rows <= 14 else 0.185 if rows <= 40 else 0.12
        self._draw_key(canvas)
        for line in (whole[k : k + beside] for whole in self.lines for k in range(0, len(whole), beside)):
            top = canvas.height + _HEAD
            for j, panel in enumerate(line):
                _draw_grid(canvas, panel, (_LEFT + j * pitch, top), (width, height))
            middle = top + len(line[0].rows) * height / 2
            canvas.words(0.3, middle, self.row_name, 9, across="center", angle=90)
            canvas.height = top + len(line[0].rows) * height
        canvas.words(_LEFT, canvas.height + 0.17, self.column_name, 8, "muted")
        canvas.height += 0.32 if self.column_name else 0.12
        return canvas

    def _draw_key(self, canvas: Canvas) -> None:
        """What colours, hatching and outline mean, in one line."""
        middle, side, x = canvas.height + 0.16, 0.19, _LEFT
        for place, words in enumerate(self.scale):
            if place:
                for share in (-1.0, -0.5, 0.0, 0.5, 1.0):
                    canvas.box(x, middle - side / 2, side, side, _side(share), _strength(share))
                    x += side + 0.02
                x += 0.05
            canvas.words(x, middle, words, 7.5, "muted")
            x += width_of(words, 7.5) + (0.06 if not place else 0.22)
        for kind, words in self.keys:
            if kind:
                outline = ("ink", 1.7) if kind == "outlined" else ("null", 0.7) if kind == "measured" else ("null", 0.0)
                canvas.box(x, middle - side / 2, 1.4 * side, side, edge=outline[0], edge_width=outline[1],
                           alpha=0.75, hatched=kind == "hatched")  # fmt: skip
                x += 1.4 * side + 0.06
            canvas.words(x, middle, words, 7.5, "muted")
            x += width_of(words, 7.5) + 0.22
        canvas.height += 0.3


def _draw_grid(canvas: Canvas, panel: Grid, corner: tuple[float, float], size: tuple[float, float]) -> None:
    (left, top), (width, height) = corner, size
    canvas.words(left, top - 0.24, panel.title, 9.5, up="bottom", bold=True)
    every = max(1, math.ceil(max(width_of(name, 8.5) for name in panel.columns) / width - 0.05))
    for j, name in enumerate(panel.columns):
        if j % every == 0:
            canvas.words(left + (j + 0.5) * width, top - 0.06, name, 8.5, "muted", "center", "bottom")
    every = 1 if height > 0.15 else 4
    for i, name in enumerate(panel.rows):
        if i % every == 0:
            canvas.words(left - 0.06, top + (i + 0.5) * height, name, 8.5 if height > 0.2 else 7.5, "muted", "right")
    inside = 0.97 if width > 0.2 else 0.92
    boxes = {
        (i, j): (left + (j + (1 - inside) / 2) * width, top + (i + 0.04) * height, inside * width, 0.92 * height)
        for i, j in panel.cells
    }
    for at, cell in panel.cells.items():
        if math.isfinite(cell.strength):
            pale = _PALE if cell.hatched else 1.0
            canvas.box(*boxes[at], _side(cell.strength), pale * _strength(cell.strength))
    for at, cell in panel.cells.items():
        if cell.hatched:
            canvas.box(*boxes[at], edge="null", alpha=0.75, hatched=True)
    for at, cell in panel.cells.items():
        if cell.outlined:
            canvas.box(*boxes[at], edge="ink" if cell.outlined > 1 else "null", edge_width=cell.outlined)
    if 0 < panel.divide < len(panel.columns):
        x = left + panel.divide * width
        canvas.line([(x, top), (x, top + len(panel.rows) * height)], "muted", 0.9)
    for (i, j), cell in panel.cells.items():
        _write(canvas, cell, left + (j + 0.5) * width, top + (i + 0.5) * height, width, height)
    if panel.bars is not None:
        _draw_bars(canvas, panel.bars, left + len(panel.columns) * width + _BARS_GAP, top, height)


def _write(canvas: Canvas, cell: Cell, x: float, y: float, width: float, height: float) -> None:
    canvas.hover(x, y, cell.hover)
    colour = "muted" if cell.grey else "ink"
    strong = not cell.hatched and abs(cell.strength) > 0.55
    pale = "ink" if strong else "muted"
    if width < _STACKED and cell.tiny is not None:
        canvas.words(x, y, cell.tiny, min(7.0, 17 * width, 40 * height), colour, "center", bold=cell.bold)
    elif not cell.small or width < _STACKED:
        canvas.words(x, y, cell.large, min(8.0, 19 * width, 40 * height), colour, "center", bold=cell.bold)
    elif width < _BESIDE:
        size = min(7.5, 17 * width)
        canvas.words(x, y - 0.055, cell.large, size, colour, "center", bold=cell.bold)
        canvas.words(x, y + 0.085, cell.small, 0.82 * size, pale, "center")
    else:
        canvas.words(x + 0.06 * width, y, cell.large, 8.0, colour, "right", bold=cell.bold)
        canvas.words(x + 0.06 * width + 0.05, y, cell.small, min(6.5, 8.4 * width), pale)


def _draw_bars(canvas: Canvas, bars: Bars, left: float, top: float, height: float) -> None:
    canvas.words(left, top - 0.24, bars.title, 8, "muted", up="bottom")
    for x, name, side in ((left, "0", "left"), (left + _BARS, bars.most_name, "right")):
        canvas.words(x, top - 0.06, name, 7, "muted", side, "bottom")
    canvas.line([(left, top), (left, top + len(bars.whole) * height)], "muted", 0.8)
    for values, colour, alpha in ((bars.whole, "null", 0.35), (bars.clear, "null-strong", 1.0)):
        for i, value in enumerate(values):
            if value > 0:
                canvas.box(left, top + (i + 0.07) * height, _BARS * value / bars.most, 0.86 * height, colour, alpha)


def _side(strength: float) -> str:
    return "above" if strength >= 0 else "below"


def _strength(value: float) -> float:
    return _FAINTEST + (_STRONGEST - _FAINTEST) * min(abs(value), 1.0)
