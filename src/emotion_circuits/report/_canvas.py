"""One drawing of every picture: lines, areas, signs and words in inches, which matplotlib puts into SVG and PNG.

Axes, ticks and cells are drawn with these few things rather than with matplotlib's axes, whose own objects took nine
tenths of the time. What is put down later lies on top.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emotion_circuits._files import whole_file
from emotion_circuits.report._style import Looks

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

WIDTH = 11.0
"""Inches; text of 9 points reads well at the report's width."""
TITLE = 0.3
"""Inches at the top that hold the title, which the page leaves away."""
_DPI = 120
DASHES: dict[str, Any] = {
    "solid": "solid", "dash": (0, (5, 2.5)), "dot": (0, (1.2, 2)), "longdash": (0, (9, 2.5)),
    "dashdot": (0, (5, 2, 1.2, 2)), "short": (0, (2.2, 1.1)),
}  # fmt: skip

Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, top, width, height."""


class Item(NamedTuple):
    """Something drawn: "line", "area", "sign" or "words", where, and how it looks."""

    kind: str
    points: Sequence[Point]
    look: Mapping[str, Any]
    clip: Box | None = None


class Hover(NamedTuple):
    """What is said of a point, from the picture's upper left corner in points of 1/72 inch."""

    x: float
    y: float
    text: str


class Canvas:
    """A sheet `WIDTH` inches wide; places are inches from its upper left corner, widths of lines and sizes points."""

    def __init__(self, title: str):
        self.height = TITLE
        self.items: list[Item] = []
        self.hovers: list[Hover] = []
        self.words(0.066, 0.07, title, 11, up="top", bold=True)

    def line(
        self, points: Sequence[Point], colour: str, width: float = 1.0, dash: str = "solid", alpha: float = 1.0,
        clip: Box | None = None,
    ) -> None:  # fmt: skip
        look = {"colour": colour, "width": width, "dash": dash, "alpha": alpha}
        self.items.append(Item("line", points, look, clip))

    def area(
        self, points: Sequence[Point], colour: str = "", alpha: float = 1.0, edge: str = "", edge_width: float = 0.0,
        hatched: bool = False, clip: Box | None = None,
    ) -> None:  # fmt: skip
        look = {"colour": colour, "alpha": alpha, "edge": edge, "edge_width": edge_width, "hatched": hatched}
        self.items.append(Item("area", points, look, clip))

    def box(self, left: float, top: float, width: float, height: float, *look: Any, **more: Any) -> None:
        """An `area` with four corners."""
        right, bottom = left + width, top + height
        self.area([(left, top), (right, top), (right, bottom), (left, bottom)], *look, **more)

    def sign(
        self, x: float, y: float, marker: str, size: float, colour: str = "", edge: str = "", edge_width: float = 0.0,
        alpha: float = 1.0,
    ) -> None:  # fmt: skip
        look = {
            "marker": marker,
            "size": size,
            "colour": colour,
            "edge": edge,
            "edge_width": edge_width,
            "alpha": alpha,
        }
        self.items.append(Item("sign", [(x, y)], look))

    def words(
        self, x: float, y: float, text: str, size: float = 8.0, colour: str = "ink", across: str = "left",
        up: str = "center", bold: bool = False, angle: float = 0.0,
    ) -> None:  # fmt: skip
        look = {"text": text, "size": size, "colour": colour, "across": across, "up": up, "bold": bold, "angle": angle}
        if text:
            self.items.append(Item("words", [(x, y)], look))

    def hover(self, x: float, y: float, text: str) -> None:
        if text:
            self.hovers.append(Hover(round(72 * x, 1), round(72 * y, 1), text))

    def figure(self, looks: Looks) -> Figure:
        """As a figure that no window and no global state knows; make and save it inside `settings`."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.transforms import Affine2D, Bbox, TransformedBbox

        figure = Figure(figsize=(WIDTH, self.height), facecolor=looks.colours["paper"].light)
        FigureCanvasAgg(figure)
        place = Affine2D().scale(1, -1).translate(0, self.height) + figure.dpi_scale_trans
        hexes = {role: colour.light for role, colour in looks.colours.items()}
        for order, (key, batch) in enumerate(groupby(self.items, _alike)):
            for artist in _artists(key[0], list(batch), hexes, place):
                artist.set(zorder=order, transform=place)
                figure.add_artist(artist)
                if key[1] is not None:
                    left, top, width, height = key[1]
                    corners = Bbox([[left, top], [left + width, top + height]])
                    artist.set_clip_box(TransformedBbox(corners, place))
        return figure


def _alike(item: Item) -> tuple[Any, ...]:
    """Neighbours with equal keys become one object of matplotlib's."""
    if item.kind == "sign":
        return (item.kind, None, tuple(item.look.values()))
    return (item.kind, item.clip, item.look.get("hatched", False))


def _artists(kind: str, items: list[Item], hexes: Mapping[str, str], place: Any) -> Iterator[Artist]:
    from matplotlib.collections import LineCollection, PolyCollection
    from matplotlib.lines import Line2D
    from matplotlib.text import Text

    def column(name: str) -> list[Any]:
        return [item.look[name] for item in items]

    def colours(name: str) -> list[tuple[float, ...]]:
        return [_rgba(item.look[name], item.look["alpha"], hexes) for item in items]

    points = [item.points for item in items]
    one = items[0].look
    if kind == "line":
        yield LineCollection(points, colors=colours("colour"), linewidths=column("width"), capstyle="butt",
                             linestyles=[DASHES[dash] for dash in column("dash")])  # fmt: skip
    elif kind == "area":
        made = PolyCollection(points, facecolors=colours("colour"), edgecolors=colours("edge"),
                              linewidths=column("edge_width"))  # fmt: skip
        if one["hatched"]:
            made.set_hatch("////")
        yield made
    elif kind == "sign":
        fill, edge = colours("colour")[0], _rgba(one["edge"] or one["colour"], one["alpha"], hexes)
        xs, ys = zip(*(at for [at] in points), strict=True)
        yield Line2D(xs, ys, ls="none", marker=one["marker"], ms=one["size"], mew=one["edge_width"], mfc=fill, mec=edge)
    else:
        for item in items:
            look, [(x, y)] = item.look, item.points
            yield Text(x, y, look["text"], color=hexes[look["colour"]], ha=look["across"], va=look["up"],
                       rotation=look["angle"], fontproperties=_font(look["size"], look["bold"]),
                       parse_math=False)  # fmt: skip


def _rgba(role: str, alpha: float, hexes: Mapping[str, str]) -> tuple[float, ...]:
    return (*(int(hexes[role][i : i + 2], 16) / 255 for i in (1, 3, 5)), alpha) if role else (0.0, 0.0, 0.0, 0.0)


@cache
def _font(size: float, bold: bool) -> FontProperties:
    from matplotlib.font_manager import FontProperties

    return FontProperties(family="DejaVu Sans", size=size, weight="bold" if bold else "normal")


@contextmanager
def settings() -> Iterator[None]:
    """Drawings that are the same bytes on every run: fixed ids, no dates, one font, whatever the caller has set."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        # Text stays text: small, searchable, set in the reader's font.
        mpl.rcParams.update({"svg.hashsalt": "emotion-circuits", "svg.fonttype": "none", "hatch.linewidth": 0.5})
        yield


def svg_of(figure: Figure) -> str:
    """The drawing as SVG, the same bytes on every run."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    # matplotlib repeats the fallback fonts that it has; a reader's own are as good. Nothing refers to groups' ids.
    svg = re.sub(r"'DejaVu Sans'(?:, [^;\"]*)?", "'DejaVu Sans', system-ui, sans-serif", buffer.getvalue())
    return re.sub(r'<!--.*?-->\n?|(?<=<g) id="[a-zA-Z]+_\d+"', "", svg, flags=re.DOTALL)


def save(canvas: Canvas, path: Path, looks: Looks) -> str:
    """Write `path` with the endings .png and .svg; returns the SVG."""
    with settings():
        figure = canvas.figure(looks)
        svg = svg_of(figure)
        with whole_file(path.with_name(path.name + ".svg")) as part:
            part.write_text(svg, encoding="utf-8")
        with whole_file(path.with_name(path.name + ".png")) as part:
            figure.savefig(part, format="png", dpi=_DPI, metadata={"Software": None})
    return svg


def ellipse(x: float, y: float, width: float, height: float) -> list[Point]:
    """Corners enough to look round."""
    return [(x + width / 2 * np.cos(t), y + height / 2 * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 33)[:-1]]


def width_of(text: str, size: float) -> float:
    """About how wide a text is, in inches."""
    return 0.0084 * size * len(text)
