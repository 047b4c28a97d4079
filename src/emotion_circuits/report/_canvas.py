"""One drawing of every picture: lines, areas, signs and words in inches, which matplotlib puts into SVG and PNG.

Axes, ticks and cells are drawn with these few things rather than with matplotlib's axes, whose own objects took nine
tenths of the time. What is put down later lies on top.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
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


class Line(NamedTuple):
    points: Sequence[Point]
    colour: str
    width: float
    dash: str
    alpha: float
    clip: Box | None


class Area(NamedTuple):
    points: Sequence[Point]
    colour: str
    alpha: float
    edge: str
    edge_width: float
    hatched: bool
    clip: Box | None


class Sign(NamedTuple):
    at: Point
    marker: str
    size: float
    colour: str
    edge: str
    edge_width: float
    alpha: float


class Words(NamedTuple):
    at: Point
    text: str
    size: float
    colour: str
    across: str
    up: str
    bold: bool
    italic: bool
    angle: float


class Hover(NamedTuple):
    """What is said of a point, from the picture's upper left corner in points of 1/72 inch."""

    x: float
    y: float
    text: str


class Canvas:
    """A sheet `WIDTH` inches wide; places are inches from its upper left corner, widths of lines and sizes points."""

    def __init__(self, title: str):
        self.height = TITLE
        self.items: list[Line | Area | Sign | Words] = []
        self.hovers: list[Hover] = []
        self.words(0.066, 0.07, title, 11, up="top", bold=True)

    def line(
        self, points: Sequence[Point], colour: str, width: float = 1.0, dash: str = "solid", alpha: float = 1.0,
        clip: Box | None = None,
    ) -> None:  # fmt: skip
        self.items.append(Line(points, colour, width, dash, alpha, clip))

    def area(
        self, points: Sequence[Point], colour: str = "", alpha: float = 1.0, edge: str = "", edge_width: float = 0.0,
        hatched: bool = False, clip: Box | None = None,
    ) -> None:  # fmt: skip
        self.items.append(Area(points, colour, alpha, edge, edge_width, hatched, clip))

    def box(self, left: float, top: float, width: float, height: float, colour: str = "", alpha: float = 1.0,
            edge: str = "", edge_width: float = 0.0, hatched: bool = False) -> None:  # fmt: skip
        right, bottom = left + width, top + height
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        self.area(corners, colour, alpha, edge, edge_width, hatched)

    def sign(
        self, x: float, y: float, marker: str, size: float, colour: str = "", edge: str = "", edge_width: float = 0.0,
        alpha: float = 1.0,
    ) -> None:  # fmt: skip
        self.items.append(Sign((x, y), marker, size, colour, edge, edge_width, alpha))

    def words(
        self, x: float, y: float, text: str, size: float = 8.0, colour: str = "ink", across: str = "left",
        up: str = "center", bold: bool = False, italic: bool = False, angle: float = 0.0,
    ) -> None:  # fmt: skip
        if text:
            self.items.append(Words((x, y), text, size, colour, across, up, bold, italic, angle))

    def hover(self, x: float, y: float, text: str) -> None:
        if text:
            self.hovers.append(Hover(round(72 * x, 1), round(72 * y, 1), text))

    def figure(self, looks: Looks) -> Figure:
        """As a figure that no window and no global state knows; make and save it inside `settings`."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.transforms import Affine2D

        figure = Figure(figsize=(WIDTH, self.height), facecolor=looks.colours["paper"].light)
        FigureCanvasAgg(figure)
        place = Affine2D().scale(1, -1).translate(0, self.height) + figure.dpi_scale_trans
        hexes = {role: colour.light for role, colour in looks.colours.items()}
        for order, (key, batch) in enumerate(groupby(self.items, _alike)):
            for artist in _MAKE[key[0]](list(batch), hexes, place):
                artist.set_zorder(order)
                figure.add_artist(artist)
        return figure


def _alike(item: Line | Area | Sign | Words) -> tuple[Any, ...]:
    """Neighbours with equal keys become one object of matplotlib's."""
    if isinstance(item, (Line, Area)):
        return (type(item), item.clip, isinstance(item, Area) and item.hatched)
    return (Sign, item[1:]) if isinstance(item, Sign) else (Words,)


def _rgba(role: str, alpha: float, hexes: dict[str, str]) -> tuple[float, ...]:
    return (*_channels(hexes[role]), alpha) if role else (0.0, 0.0, 0.0, 0.0)


@cache
def _channels(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


def _clip(artist: Any, clip: Box | None, place: Any) -> None:
    from matplotlib.transforms import Bbox, TransformedBbox

    if clip is not None:
        left, top, width, height = clip
        artist.set_clip_box(TransformedBbox(Bbox([[left, top], [left + width, top + height]]), place))


def _lines(lines: list[Line], hexes: dict[str, str], place: Any) -> Iterator[Artist]:
    from matplotlib.collections import LineCollection

    made = LineCollection(
        [line.points for line in lines], colors=[_rgba(line.colour, line.alpha, hexes) for line in lines],
        linewidths=[line.width for line in lines], linestyles=[DASHES[line.dash] for line in lines], transform=place,
        capstyle="butt",
    )  # fmt: skip
    _clip(made, lines[0].clip, place)
    yield made


def _areas(areas: list[Area], hexes: dict[str, str], place: Any) -> Iterator[Artist]:
    from matplotlib.collections import PolyCollection

    made = PolyCollection(
        [area.points for area in areas], facecolors=[_rgba(area.colour, area.alpha, hexes) for area in areas],
        edgecolors=[_rgba(area.edge, area.alpha if area.hatched else 1.0, hexes) for area in areas],
        linewidths=[area.edge_width for area in areas], transform=place,
    )  # fmt: skip
    if areas[0].hatched:
        made.set_hatch("////")
    _clip(made, areas[0].clip, place)
    yield made


def _signs(signs: list[Sign], hexes: dict[str, str], place: Any) -> Iterator[Artist]:
    from matplotlib.lines import Line2D

    one = signs[0]
    xs, ys = zip(*(sign.at for sign in signs), strict=True)
    yield Line2D(
        xs, ys, ls="none", marker=one.marker, ms=one.size, mew=one.edge_width, transform=place,
        mfc=_rgba(one.colour, one.alpha, hexes), mec=_rgba(one.edge or one.colour, one.alpha, hexes),
    )  # fmt: skip


def _texts(texts: list[Words], hexes: dict[str, str], place: Any) -> Iterator[Artist]:
    from matplotlib.text import Text

    for one in texts:
        yield Text(
            *one.at, one.text, transform=place, color=hexes[one.colour], ha=one.across, va=one.up, rotation=one.angle,
            fontproperties=_font(one.size, one.bold, one.italic), parse_math=False,
        )  # fmt: skip


_MAKE: dict[Any, Any] = {Line: _lines, Area: _areas, Sign: _signs, Words: _texts}


@cache
def _font(size: float, bold: bool, italic: bool) -> FontProperties:
    from matplotlib.font_manager import FontProperties

    return FontProperties(
        family="DejaVu Sans", size=size, weight="bold" if bold else "normal", style="italic" if italic else "normal"
    )


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
