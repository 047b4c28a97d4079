"""A circuit as a picture: layers upward, heads left and units right, a line for what each writes that another reads.

Every head and unit has a column of its own, so that the lines from the embeddings, which lie along the bottom, and to
the output along the top run straight up past no other one, and names stand inside their signs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emotion_circuits.components import EMBED, OUTPUT, Edge
from emotion_circuits.report._canvas import WIDTH, Canvas, Point, ellipse
from emotion_circuits.report._chart import Key, draw_keys
from emotion_circuits.report._matrices import not_tested
from emotion_circuits.report._style import Looks, equals, interval, signed
from emotion_circuits.statistics import ALPHA

if TYPE_CHECKING:
    from emotion_circuits.report._circuits import Circuits

MOST_EDGES = 20
"""More lines in one panel are not read."""
_COLUMN, _WIDEST_COLUMN, _LEVEL, _STEP, _SIDE, _GAP = 0.52, 0.8, 0.58, 0.44, 0.72, 0.25
_HEAD, _BAR, _ROOM, _BAND = 0.52, 0.24, 0.46, 0.2
_WIDEST, _THINNEST = 6.0, 0.7


@dataclass(frozen=True)
class Layout:
    """One emotion's panel: edges, the strongest first, and places in inches from its upper left corner.

    `places` are the middles of signs, `levels` the (upper y, lower y, layer) of every layer that has one, `direct` is
    the x of the line from the embeddings to the output.
    """

    emotion: str
    edges: tuple[Edge, ...]
    places: Mapping[str, Point]
    levels: tuple[tuple[float, float, int], ...]
    direct: float
    column: float
    width: float
    height: float


def drawn_edges(edges: Sequence[Edge]) -> tuple[Edge, ...]:
    """The 20 strongest of those that are beyond chance over all edges (p ≤ .05) or have an own interval without 0."""
    found = [e for e in edges if e.p <= ALPHA or e.ci_low > 0 or e.ci_high < 0]
    return tuple(sorted(found, key=lambda e: -abs(e.effect))[:MOST_EDGES])


def layout(emotion: str, edges: Sequence[Edge], room: float = 0.0) -> Layout | None:
    """Places for what the drawn edges join; None where there is none to draw.

    Columns are as wide as `room` (inches) allows, within bounds.
    """
    drawn = drawn_edges(edges)
    if not drawn:
        return None
    names = {name for e in drawn for name in (e.source, e.target)} - {EMBED, OUTPUT}
    steps = sorted({_step(name) for name in names}, reverse=True)
    heights: dict[tuple[int, bool], float] = {}
    y = _BAR + _ROOM
    for i, step in enumerate(steps):
        if i:
            y += _STEP if steps[i - 1][0] == step[0] else _LEVEL
        heights[step] = y
    # Early ones outside, late ones inside: lines between them then cross few others.
    heads = sorted((n for n in names if not _step(n)[1]), key=_order)
    units = sorted((n for n in names if _step(n)[1]), key=_order, reverse=True)
    direct = any((e.source, e.target) == (EMBED, OUTPUT) for e in drawn)
    columns = max(len(names) + direct, 4)
    fits = (WIDTH - 0.1 - _SIDE) / columns
    column = min(max((room - _SIDE) / columns, _COLUMN), _WIDEST_COLUMN, fits)
    x = _SIDE + column / 2
    places = {name: (x + (i + direct) * column, heights[_step(name)]) for i, name in enumerate((*heads, *units))}
    levels = []
    for layer in sorted({layer for layer, _ in heights}):
        own = [h for (at, _), h in heights.items() if at == layer]
        levels.append((min(own), max(own), layer))
    return Layout(emotion, drawn, places, tuple(levels), x, column, _SIDE + columns * column, y + _ROOM + _BAR)


def _step(name: str) -> tuple[int, bool]:
    """Layer, and whether it is a unit, which reads the heads of its block."""
    kind, _, place = name.partition(" ")
    return int(place.partition(":")[0]), kind == "unit"


def _order(name: str) -> tuple[int, int]:
    layer, _, own = name.partition(" ")[2].partition(":")
    return int(layer), int(own)


@dataclass(frozen=True)
class EdgesDrawing:
    """Panels side by side and below each other."""

    rows: tuple[tuple[Layout, ...], ...]
    found: Circuits
    looks: Looks

    def summary(self) -> str:
        """The strongest edges of each panel."""
        panels = [panel for row in self.rows for panel in row]
        return " ".join(f"{panel.emotion}: {'; '.join(map(_words, panel.edges[:3]))}." for panel in panels)

    def draw(self, title: str) -> Canvas:
        canvas = Canvas(title)
        largest = max(abs(e.effect) for row in self.rows for panel in row for e in panel.edges)
        canvas.height = draw_keys(canvas, _keys(largest), canvas.height) + 0.1
        for row in self.rows:
            top, x = canvas.height + _HEAD, 0.0
            height = max(panel.height for panel in row)
            for panel in row:
                _draw(canvas, panel, self, largest, (x, top + height - panel.height))
                x += panel.width + _GAP
            canvas.height = top + height
        canvas.height += 0.12
        return canvas


def edges_drawing(found: Circuits, looks: Looks) -> EdgesDrawing | None:
    """A panel for each emotion that was tested and has an edge to draw; None where none has."""
    panels = [p for e in found.tested if (p := layout(e, found.edges.get(e, ()))) is not None]
    rows: list[list[Layout]] = [[]]
    for panel in panels:  # as many side by side as the picture's width holds
        if rows[-1] and sum(p.width + _GAP for p in rows[-1]) + panel.width > WIDTH:
            rows.append([])
        rows[-1].append(panel)
    for i, row in enumerate(rows):
        room = (WIDTH - 0.1 - (len(row) - 1) * _GAP) / max(len(row), 1)
        if all(p.width <= room for p in row):
            rows[i] = [p for e in row if (p := layout(e.emotion, found.edges[e.emotion], room)) is not None]
    return EdgesDrawing(tuple(map(tuple, rows)), found, looks) if panels else None


def _width(effect: float, largest: float) -> float:
    """Points; its square grows with the effect, or all but the largest would be hairs."""
    return max(_WIDEST * math.sqrt(abs(effect) / largest), _THINNEST)


def _colour(effect: float) -> str:
    return "above" if effect > 0 else "below"


def _draw(canvas: Canvas, panel: Layout, of: EdgesDrawing, largest: float, corner: Point) -> None:
    left, top = corner
    right, bottom = left + panel.width - 0.08, top + panel.height
    places = {name: (left + x, top + y) for name, (x, y) in panel.places.items()}
    for high, low, layer in panel.levels:
        canvas.box(
            left + _SIDE - 0.1, top + high - _BAND, panel.width - _SIDE + 0.02, low - high + 2 * _BAND, "grid", 0.4
        )
        canvas.words(left + _SIDE - 0.16, top + (high + low) / 2, f"layer {layer}", 7.5, "muted", "right")
    straight = [e for e in panel.edges if e.source == EMBED or e.target == OUTPUT]
    for e in sorted(panel.edges, key=lambda e: (e not in straight, abs(e.effect))):
        width = _width(e.effect, largest)
        alpha, dash = (0.9, "solid") if e.p <= ALPHA else (0.5, "short")
        if e in straight:
            x, y = places.get(e.target if e.source == EMBED else e.source, (left + panel.direct, 0.0))
            ends = (bottom - _BAR if e.source == EMBED else y, top + _BAR if e.target == OUTPUT else y)
            canvas.line([(x, ends[0]), (x, ends[1])], _colour(e.effect), width, dash, alpha)
            at_top = e.target == OUTPUT
            y = top + _BAR + 0.03 if at_top else bottom - _BAR - 0.03
            canvas.words(x + 0.035 + width / 144, y, signed(e.effect), 6, "muted", up="top" if at_top else "bottom")
            canvas.hover(x, y, _words(e))
        else:
            points = _curve(places[e.source], places[e.target])
            canvas.line(points, _colour(e.effect), width, dash, alpha)
            canvas.hover(*points[len(points) // 2], _words(e))
    for name, (x, y) in places.items():
        _sign(canvas, name, x, y, panel.column)
    target = next((t for t in of.found.targets.get(panel.emotion, ()) if t.node == OUTPUT), None)
    said = "" if target is None else f" {signed(target.attribution)} {interval(target.ci_low, target.ci_high)} nats"
    for y, words in (
        (bottom - _BAR, "embeddings: the words themselves"),
        (top, "output: difference between both prompts" + said),
    ):
        canvas.box(left + _SIDE - 0.1, y, right - left - _SIDE + 0.1, _BAR, "grid")
        canvas.words((left + _SIDE + right) / 2, y + _BAR / 2, words, 7.5, across="center")
    canvas.words(left + 0.07, top - 0.24, of.looks.label(panel.emotion), 9.5, up="bottom", bold=True)
    members = of.found.members[panel.emotion]
    heads = sum(n.startswith("head") for n in places)
    words = (
        f"{heads} of the circuit's {len(members.heads)} heads and {len(places) - heads} of its {len(members.units)} "
        f"units; {len(panel.edges)} of {len(of.found.edges[panel.emotion])} edges"
    )
    canvas.words(left + 0.07, top - 0.07, words, 7.5, "muted", up="bottom")


def _words(e: Edge) -> str:
    return (
        f"{e.source} → {e.target}: {signed(e.effect)} nats {interval(e.ci_low, e.ci_high)}, p {equals(e.p)}, n = {e.n}"
    )


def _curve(a: Point, b: Point) -> list[Point]:
    """From the upper side of one sign to the lower side of another, upward all the way, so that it passes no other sign
    of these two rows."""
    aside = math.copysign(0.1, b[0] - a[0])
    start, end = (a[0] + aside, a[1] - 0.09), (b[0] - aside, b[1] + 0.09)
    bend = max(0.55 * (start[1] - end[1]), 0.08)
    t = np.linspace(0, 1, 25)
    early, late = (1 - t) ** 3 + 3 * t * (1 - t) ** 2, t**3 + 3 * t**2 * (1 - t)
    x = start[0] * early + end[0] * late
    y = start[1] * early + end[1] * late + bend * 3 * t * (1 - t) * (2 * t - 1)
    return list(zip(map(float, x), map(float, y), strict=True))


def _sign(canvas: Canvas, name: str, x: float, y: float, column: float) -> None:
    if _step(name)[1]:
        w, h = min(0.43, column - 0.03), 0.19
        canvas.box(x - w / 2, y - h / 2, w, h, "paper", edge="ink", edge_width=1.0)
    else:
        canvas.area(ellipse(x, y, min(0.36, column - 0.03), 0.28), "paper", edge="ink", edge_width=1.0)
    canvas.words(x, y, name.partition(" ")[2], 6.5 if column > 0.45 else 5.7, across="center")


def _keys(largest: float) -> tuple[Key, ...]:
    lines = {largest: f"{signed(largest)} nats, beyond chance"}
    lines |= {effect: signed(effect) for effect in (largest / 16, -largest / 16)}
    return (
        Key("head, layer:number", size=8.0, hollow=True, edge="ink"),
        Key("unit", marker="s", size=8.0, hollow=True, edge="ink"),
        *(Key(words, _colour(effect), "", line=_width(effect, largest)) for effect, words in lines.items()),
        Key("not beyond chance over all edges", "muted", "", line=1.6, dash="short"),
    )


def edges_caption(found: Circuits) -> str:
    """How to read it, and what was left out."""
    none = [e for e in found.tested if not drawn_edges(found.edges.get(e, ()))]
    said = (
        "How the circuit's best members feed each other. Lines run upward from what writes into the residual stream to "
        "what reads it. Their width grows with the root of the direct effect, past everything between, in nats of the "
        "outcome: blue where it adds to the emotion, orange where it works against it. Solid lines are beyond chance "
        "(sign flips over held-out pairs, p ≤ .05 over all edges of an emotion), dashed ones are not, though their own "
        f"95 % interval leaves 0 out. Of both together the {MOST_EDGES} strongest are drawn; other edges, members "
        "without one, and what passes through the rest of the model are left out. First-order estimates."
    )
    if none:
        said += f" No edge has an interval without 0: {', '.join(none)}."
    return said + not_tested(found.untested)
