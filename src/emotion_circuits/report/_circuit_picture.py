"""A circuit as a picture: layers upward, heads left and units right, a line for what each writes that another reads.

Every head and unit has a column of its own, so that the lines from the embeddings, which lie along the bottom, and to
the output along the top run straight up past no other one, and names stand inside their signs.
"""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from emotion_circuits.components import EMBED, OUTPUT, Edge
from emotion_circuits.report._circuit_file import CircuitFile
from emotion_circuits.report._static import WIDTH, new_figure, write_picture
from emotion_circuits.report._style import equals, interval, light, matplotlib_settings, number
from emotion_circuits.statistics import ALPHA

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.path import Path

MOST_EDGES = 20
"""More lines in one panel are not read."""
_COLUMN, _WIDEST_COLUMN, _LEVEL, _STEP, _SIDE, _GAP = 0.52, 0.8, 0.58, 0.44, 0.72, 0.25
_HEAD, _LEGEND, _BAR, _ROOM, _BAND = 0.52, 0.35, 0.24, 0.46, 0.2
_WIDEST, _THINNEST = 6.0, 0.7
_PALE = (0, (2.2, 1.1))


class Place(NamedTuple):
    """Where the middle of a head's or unit's sign stands, in inches from a panel's lower left corner."""

    x: float
    y: float


@dataclass(frozen=True, eq=False)
class Layout:
    """One emotion's panel.

    Attributes:
        emotion: whose.
        edges: drawn ones, the strongest first.
        n_edges: of how many.
        places: name → where.
        column: width of one.
        levels: (lowest y, highest y, layer) of every layer that has a sign.
        direct: x of the line from the embeddings to the output, if it is drawn.
        width, height: inches, without title.
    """

    emotion: str
    edges: tuple[Edge, ...]
    n_edges: int
    places: Mapping[str, Place]
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
    steps = sorted({_step(name) for name in names})
    heights: dict[tuple[int, bool], float] = {}
    y = _BAR + _ROOM
    for i, step in enumerate(steps):
        if i:
            y += _STEP if steps[i - 1][0] == step[0] else _LEVEL
        heights[step] = y
    top = y + _ROOM + _BAR
    # Early ones outside, late ones inside: lines between them then cross few others.
    heads = sorted((n for n in names if not _step(n)[1]), key=_order)
    units = sorted((n for n in names if _step(n)[1]), key=_order, reverse=True)
    direct = any((e.source, e.target) == (EMBED, OUTPUT) for e in drawn)
    columns = max(len(names) + direct, 4)
    fits = (WIDTH - 0.1 - _SIDE) / columns
    column = min(max((room - _SIDE) / columns, _COLUMN), _WIDEST_COLUMN, fits)
    x = _SIDE + column / 2
    places = {name: Place(x + (i + direct) * column, heights[_step(name)]) for i, name in enumerate((*heads, *units))}
    levels = []
    for layer in sorted({layer for layer, _ in heights}):
        own = [h for (at, _), h in heights.items() if at == layer]
        levels.append((min(own), max(own), layer))
    return Layout(emotion, drawn, len(edges), places, tuple(levels), x, column, _SIDE + columns * column, top)


def _step(name: str) -> tuple[int, bool]:
    """Layer, and whether it is a unit, which reads the heads of its block."""
    kind, _, place = name.partition(" ")
    return int(place.partition(":")[0]), kind == "unit"


def _order(name: str) -> tuple[int, int]:
    layer, _, own = name.partition(" ")[2].partition(":")
    return int(layer), int(own)


def draw_circuit_picture(found: CircuitFile, *, title: str = "") -> Figure | None:
    """A panel for each emotion that was tested and has an edge to draw; None where none has."""
    panels = [p for e in found.tested if (p := layout(e, found.edges.get(e, ()))) is not None]
    if not panels:
        return None
    rows = _rows(panels)
    for i, row in enumerate(rows):
        room = (WIDTH - 0.1 - (len(row) - 1) * _GAP) / len(row)
        if all(p.width <= room for p in row):
            rows[i] = [p for e in row if (p := layout(e.emotion, found.edges[e.emotion], room)) is not None]
    height = (0.3 if title else 0.0) + _LEGEND + sum(_HEAD + max(p.height for p in row) for row in rows) + 0.12
    figure = new_figure(height)
    if title:
        figure.text(0.006, 1 - 0.07 / height, title, fontsize=11, fontweight="bold", va="top")
    largest = max(abs(e.effect) for p in panels for e in p.edges)
    y = height - (0.3 if title else 0.0)
    _legend(figure, largest, y - _LEGEND + 0.1, height)
    y -= _LEGEND
    for row in rows:
        y -= _HEAD + max(p.height for p in row)
        x = 0.0
        for panel in row:
            axes = figure.add_axes((x / WIDTH, y / height, panel.width / WIDTH, panel.height / height))
            _draw(axes, panel, found, largest)
            x += panel.width + _GAP
    return figure


def _rows(panels: Sequence[Layout]) -> list[list[Layout]]:
    """As many panels side by side as the picture's width holds."""
    rows: list[list[Layout]] = [[]]
    for panel in panels:
        used = sum(p.width + _GAP for p in rows[-1])
        if rows[-1] and used + panel.width > WIDTH:
            rows.append([])
        rows[-1].append(panel)
    return rows


def _width(effect: float, largest: float) -> float:
    """Points; its square grows with the effect, or all but the largest would be hairs."""
    return max(_WIDEST * math.sqrt(abs(effect) / largest), _THINNEST)


def _colour(effect: float) -> str:
    return light("above" if effect > 0 else "below")


def _draw(axes: Axes, panel: Layout, found: CircuitFile, largest: float) -> None:
    from matplotlib.patches import PathPatch, Rectangle

    axes.set_xlim(0, panel.width)
    axes.set_ylim(0, panel.height)
    axes.axis("off")
    right = panel.width - 0.08
    for low, high, layer in panel.levels:
        box = Rectangle((_SIDE - 0.1, low - _BAND), right - _SIDE + 0.1, high - low + 2 * _BAND)
        box.set(facecolor=light("grid"), alpha=0.4, edgecolor="none", zorder=0)
        axes.add_patch(box)
        middle = (low + high) / 2
        axes.text(_SIDE - 0.16, middle, f"layer {layer}", ha="right", va="center", fontsize=7.5, color=light("muted"))
    bottom, top = _BAR, panel.height - _BAR
    for e in sorted(panel.edges, key=lambda e: abs(e.effect)):
        colour, width = _colour(e.effect), _width(e.effect, largest)
        alpha, dash = (0.9, "solid") if e.p <= ALPHA else (0.5, _PALE)
        if e.source == EMBED or e.target == OUTPUT:
            place = panel.places.get(e.target if e.source == EMBED else e.source)
            x = panel.direct if place is None else place.x
            low = bottom if e.source == EMBED or place is None else place.y
            high = top if e.target == OUTPUT or place is None else place.y
            axes.plot(
                [x, x],
                [low, high],
                color=colour,
                lw=width,
                alpha=alpha,
                ls=dash,
                solid_capstyle="butt",
                dash_capstyle="butt",
                zorder=2,
            )
            at_top = e.target == OUTPUT
            axes.text(
                x + 0.035 + width / 144, top - 0.03 if at_top else bottom + 0.03, _signed(e.effect),
                ha="left", va="top" if at_top else "bottom", fontsize=6, color=light("muted"), zorder=4,
            )  # fmt: skip
            continue
        patch = PathPatch(_curve(panel.places[e.source], panel.places[e.target]))
        patch.set(facecolor="none", edgecolor=colour, lw=width, alpha=alpha, ls=dash, capstyle="butt", zorder=3)
        axes.add_patch(patch)
    for name, place in panel.places.items():
        _sign(axes, name, place, panel.column)
    _bar(axes, panel.width, 0.0, "embeddings: the words themselves")
    target = next((t for t in found.targets.get(panel.emotion, ()) if t.node == OUTPUT), None)
    said = "" if target is None else f" {_signed(target.attribution)} {interval(target.ci_low, target.ci_high)} nats"
    _bar(axes, panel.width, top, "output: difference between both prompts" + said)
    axes.text(0.07, panel.height + 0.24, panel.emotion, fontsize=9.5, fontweight="bold", va="bottom")
    axes.text(0.07, panel.height + 0.07, _counts(panel, found), fontsize=7.5, color=light("muted"), va="bottom")


def _curve(a: Place, b: Place) -> Path:
    """From the upper side of one sign to the lower side of another, upward all the way, so that it passes no other sign
    of these two rows."""
    from matplotlib.path import Path

    aside = math.copysign(0.1, b.x - a.x)
    start, end = (a.x + aside, a.y + 0.09), (b.x - aside, b.y - 0.09)
    bend = max(0.55 * (end[1] - start[1]), 0.08)
    points = [start, (start[0], start[1] + bend), (end[0], end[1] - bend), end]
    return Path(points, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])


def _counts(panel: Layout, found: CircuitFile) -> str:
    members = found.circuits[panel.emotion]
    heads = sum(n.startswith("head") for n in panel.places)
    units = len(panel.places) - heads
    return (
        f"{heads} of the circuit's {len(members.heads)} heads and {units} of its {len(members.units)} units; "
        f"{len(panel.edges)} of {panel.n_edges} edges"
    )


def _signed(value: float) -> str:
    text = number(abs(value))
    return ("+" if value > 0 else "−") + text.removeprefix("0")


def _sign(axes: Axes, name: str, place: Place, column: float) -> None:
    from matplotlib.patches import Ellipse, FancyBboxPatch

    is_unit = _step(name)[1]
    style = {"facecolor": light("paper"), "edgecolor": light("ink"), "lw": 1.0, "zorder": 5}
    if is_unit:
        w, h = min(0.43, column - 0.03), 0.19
        axes.add_patch(
            FancyBboxPatch((place.x - w / 2, place.y - h / 2), w, h, boxstyle="square,pad=0", **style)  # type: ignore[arg-type]
        )
    else:
        axes.add_patch(Ellipse(place, min(0.36, column - 0.03), 0.28, **style))  # type: ignore[arg-type]
    size = 6.5 if column > 0.45 else 5.7
    axes.text(place.x, place.y - 0.005, name.partition(" ")[2], ha="center", va="center", fontsize=size, zorder=6)


def _bar(axes: Axes, width: float, y: float, text: str) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle((_SIDE - 0.1, y), width - _SIDE + 0.02, _BAR, facecolor=light("grid"), edgecolor="none", zorder=5)
    )
    axes.text((_SIDE + width) / 2, y + _BAR / 2 - 0.01, text, ha="center", va="center", fontsize=7.5, zorder=6)


def _legend(figure: Figure, largest: float, y: float, height: float) -> None:
    from matplotlib.lines import Line2D

    def line(effect: float, label: str) -> Line2D:
        return Line2D([], [], color=_colour(effect), lw=_width(effect, largest), label=label)

    shown = [
        Line2D([], [], ls="none", marker="o", ms=8, mfc="none", mec=light("ink"), label="head, layer:number"),
        Line2D([], [], ls="none", marker="s", ms=7, mfc="none", mec=light("ink"), label="unit"),
        line(largest, f"{_signed(largest)} nats, beyond chance"),
        line(largest / 16, _signed(largest / 16)),
        line(-largest / 16, _signed(-largest / 16)),
        Line2D([], [], color=light("muted"), lw=1.6, ls=_PALE, alpha=0.7, label="not beyond chance over all edges"),
    ]
    figure.legend(
        handles=shown, loc="lower left", bbox_to_anchor=(0.0, y / height), ncols=len(shown), frameon=False,
        fontsize=7.5, borderpad=0.1, handletextpad=0.7, columnspacing=1.4,
    )  # fmt: skip


def circuit_picture_caption(found: CircuitFile) -> str:
    """How to read it, and what was left out."""
    drawn = {e: layout(e, found.edges.get(e, ())) for e in found.tested}
    none = [e for e, panel in drawn.items() if panel is None]
    untested = [e for e in found.circuits if e not in found.tested]
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
    if untested:
        said += f" Not tested, because both prompts give nearly the same outcome: {', '.join(untested)}."
    return said


def circuit_picture_alt(found: CircuitFile) -> str:
    """The strongest edges in words."""
    parts = []
    for emotion in found.tested:
        best = drawn_edges(found.edges.get(emotion, ()))[:3]
        said = ", ".join(f"{e.source} to {e.target} {_signed(e.effect)} nats (p {equals(e.p)})" for e in best)
        parts.append(f"{emotion}: {said}" if said else f"{emotion}: no edge to draw")
    return "Direct effects between members of circuits. " + "; ".join(parts) + "."


def write_circuit_picture(found: CircuitFile, path: pathlib.Path) -> list[pathlib.Path]:
    """Write `path` with the endings .png and .svg; nothing where there is no edge to draw."""
    with matplotlib_settings():
        figure = draw_circuit_picture(found, title=f"{found.model}: how the circuit's members feed each other")
        return [] if figure is None else write_picture(figure, path)
