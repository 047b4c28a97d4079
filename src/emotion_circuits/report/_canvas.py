"""One drawing of every picture: lines, areas, signs and words in inches, which matplotlib puts into SVG and PNG.

Axes, ticks and cells are drawn with these few things rather than with matplotlib's axes, whose own objects took nine
tenths of the time. What is put down later lies on top.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from html import escape
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from emotion_circuits._files import whole_file
from emotion_circuits.errors import InputError
from emotion_circuits.report._style import Looks
from emotion_circuits.report._translate import Language, catalogue, translated

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure
    from PIL.ImageFont import FreeTypeFont

WIDTH = 11.0
"""Inches; text of 9 points reads well at the report's width."""
TITLE = 0.3
"""Inches at the top that hold the title, which the page leaves away."""
_DPI = 120
DASHES: dict[str, Any] = {
    "solid": "solid", "dash": (0, (5, 2.5)), "dot": (0, (1.2, 2)), "longdash": (0, (9, 2.5)),
    "dashdot": (0, (5, 2, 1.2, 2)), "short": (0, (2.2, 1.1)),
}  # fmt: skip

_ANCHORS = {"left": "start", "center": "middle", "right": "end"}
_BASELINES = {"top": 0.76, "center": 0.276, "bottom": -0.208}
"""How far below a text's place its baseline is, in ems of DejaVu Sans."""
_ABOVE = {"top": 0.0, "center": 0.5, "bottom": 1.0}
"""The part of several lines that stands above their place."""

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
        """All but the words, as a figure that no window and no global state knows; to be made inside `settings`."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.transforms import Affine2D, Bbox, TransformedBbox

        figure = Figure(figsize=(WIDTH, self.height), facecolor=looks.colours["paper"].light, dpi=_DPI)
        FigureCanvasAgg(figure)
        place = Affine2D().scale(1, -1).translate(0, self.height) + figure.dpi_scale_trans
        shapes = (item for item in self.items if item.kind != "words")
        for order, (key, batch) in enumerate(groupby(shapes, _alike)):
            artist = _artist(key[0], list(batch), looks)
            artist.set(zorder=order, transform=place)
            figure.add_artist(artist)
            if key[1] is not None:
                left, top, width, height = key[1]
                artist.set_clip_box(TransformedBbox(Bbox([[left, top], [left + width, top + height]]), place))
        return figure

    def lines(self) -> Iterator[tuple[float, float, str, Mapping[str, Any]]]:
        """Every line of words: the place of its baseline, the text and its look."""
        for item in self.items:
            if item.kind == "words":
                [(x, y)], look = item.points, item.look
                texts, em = look["text"].split("\n"), look["size"] / 72
                for i, text in enumerate(texts):
                    turned = look["angle"] * math.pi / 180
                    down = em * (_BASELINES[look["up"]] + 1.2 * (i - _ABOVE[look["up"]] * (len(texts) - 1)))
                    yield x + down * math.sin(turned), y + down * math.cos(turned), text, look


def _alike(item: Item) -> tuple[Any, ...]:
    """Neighbours with equal keys become one object of matplotlib's."""
    if item.kind == "sign":
        return (item.kind, None, tuple(item.look.values()))
    return (item.kind, item.clip, item.look.get("hatched", False))


def _artist(kind: str, items: list[Item], looks: Looks) -> Artist:
    from matplotlib.collections import LineCollection, PolyCollection
    from matplotlib.lines import Line2D

    def column(name: str) -> list[Any]:
        return [item.look[name] for item in items]

    def colours(name: str) -> list[tuple[float, ...]]:
        return [_rgba(item.look[name], item.look["alpha"], looks) for item in items]

    points = [item.points for item in items]
    one = items[0].look
    if kind == "line":
        dashes = [DASHES[dash] for dash in column("dash")]
        widths = column("width")
        return LineCollection(points, colors=colours("colour"), linewidths=widths, linestyles=dashes, capstyle="butt")
    if kind == "area":
        widths = column("edge_width")
        made = PolyCollection(points, facecolors=colours("colour"), edgecolors=colours("edge"), linewidths=widths)
        if one["hatched"]:
            made.set_hatch("////")
        return made
    fill, edge = colours("colour")[0], _rgba(one["edge"] or one["colour"], one["alpha"], looks)
    xs, ys = zip(*(at for [at] in points), strict=True)
    return Line2D(xs, ys, ls="none", marker=one["marker"], ms=one["size"], mew=one["edge_width"], mfc=fill, mec=edge)


def _rgba(role: str, alpha: float, looks: Looks) -> tuple[float, ...]:
    if not role:
        return (0.0, 0.0, 0.0, 0.0)
    return (*(int(looks.colours[role].light[i : i + 2], 16) / 255 for i in (1, 3, 5)), alpha)


@contextmanager
def settings() -> Iterator[None]:
    """Drawings that are the same bytes on every run: fixed ids, no dates, whatever the caller has set."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({"svg.hashsalt": "emotion-circuits", "hatch.linewidth": 0.5})
        yield


Format = Literal["png", "svg", "pdf"]


def save(
    canvas: Canvas,
    path: Path,
    looks: Looks,
    formats: Sequence[Format] = ("png", "svg"),
    language: Language = "en",
) -> None:
    """Write `path` with the endings asked for.

    Raises:
        InputError: png or pdf in a language whose signs no installed font has.
    """
    with settings():
        figure = canvas.figure(looks)
        for ending in formats:
            if ending == "svg":
                content = translated(_svg(figure, canvas, looks), language).encode()
            elif ending == "png":
                content = _png(figure, canvas, looks, language)
            else:
                content = _pdf(canvas, looks, language)
            with whole_file(path.with_name(f"{path.name}.{ending}")) as part:
                part.write_bytes(content)


_ALIKE = re.compile(r'<path d="[^"]*"([^>]*fill: none[^>]*)/>(?:\s*<path d="[^"]*"\1/>)+')


def _as_one_path(run: re.Match[str]) -> str:
    """Lines that look alike, as one path."""
    outlines = "".join(re.findall(r'd="([^"]*)"', run[0]))
    return f'<path d="{outlines}"{run[1]}/>'


def svg_of(canvas: Canvas, looks: Looks) -> str:
    """A drawing as SVG text."""
    with settings():
        return _svg(canvas.figure(looks), canvas, looks)


def _svg(figure: Figure, canvas: Canvas, looks: Looks) -> str:
    """Shapes by matplotlib; words stay text: small, searchable, set in the reader's font."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = re.sub(r"\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}", buffer.getvalue())
    svg = re.sub(r'<!--.*?-->\n?|(?<=<g) id="[a-zA-Z]+_\d+"', "", svg, flags=re.DOTALL)
    svg = _ALIKE.sub(_as_one_path, svg)
    words = ["<g style=\"font-family: 'DejaVu Sans', system-ui, sans-serif; white-space: pre\">"]
    for x, y, text, look in canvas.lines():
        turn = f' transform="rotate({-look["angle"]:g} {72 * x:.1f} {72 * y:.1f})"' if look["angle"] else ""
        bold = ' font-weight="bold"' if look["bold"] else ""
        fill, anchor = looks.colours[look["colour"]].light, _ANCHORS[look["across"]]
        words.append(
            f'<text x="{72 * x:.1f}" y="{72 * y:.1f}" font-size="{look["size"]:.3g}" fill="{fill}" '
            f'text-anchor="{anchor}"{bold}{turn}>{escape(text, quote=False)}</text>'
        )
    return svg.replace("</svg>", "\n".join([*words, "</g>\n</svg>"]))


def _png(figure: Figure, canvas: Canvas, looks: Looks, language: Language) -> bytes:
    """Shapes by matplotlib, words by Pillow, which sets them in a tenth of the time."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image, ImageDraw

    painted, look_up = figure.canvas, catalogue(language)
    assert isinstance(painted, FigureCanvasAgg)
    painted.draw()  # type: ignore[no-untyped-call]
    size = painted.get_width_height()
    image = Image.frombuffer("RGBA", size, painted.buffer_rgba()).convert("RGB")  # type: ignore[no-untyped-call]
    pen = ImageDraw.Draw(image)
    for x, y, english, look in canvas.lines():
        text, colour = look_up(english), looks.colours[look["colour"]].light
        set_in = font(look["size"], look["bold"], language)
        at = (_DPI * x, _DPI * y)
        if not look["angle"]:
            pen.text(at, text, colour, set_in, {"left": "ls", "center": "ms", "right": "rs"}[look["across"]])
            continue
        left, top, right, bottom = map(int, set_in.getbbox(text, anchor="ms"))
        mask = Image.new("L", (right - left + 2, bottom - top + 2))
        ImageDraw.Draw(mask).text((1 - left, 1 - top), text, 255, set_in, "ms")
        mask = mask.rotate(90, expand=True)
        image.paste(colour, (round(at[0]) + top - 1, round(at[1]) - mask.height // 2), mask)
    written = io.BytesIO()
    image.save(written, format="PNG", dpi=(_DPI, _DPI))
    return written.getvalue()


def _pdf(canvas: Canvas, looks: Looks, language: Language) -> bytes:
    """Shapes and words by matplotlib."""
    from matplotlib.font_manager import FontProperties

    figure, look_up = canvas.figure(looks), catalogue(language)
    for x, y, text, look in canvas.lines():
        face = FontProperties(fname=_font_file(look["bold"], language), size=look["size"])
        figure.text(
            72 * x / (72 * WIDTH), 1 - y / canvas.height, look_up(text), fontproperties=face, ha=look["across"],
            va="baseline", color=looks.colours[look["colour"]].light, rotation=look["angle"],
            rotation_mode="anchor", parse_math=False,
        )  # fmt: skip
    written = io.BytesIO()
    figure.savefig(written, format="pdf", metadata={"CreationDate": None})
    return written.getvalue()


@cache
def font(size: float, bold: bool, language: Language = "en") -> FreeTypeFont:
    """A font in a size of points, for pictures."""
    from PIL import ImageFont

    return ImageFont.truetype(_font_file(bold, language), size * _DPI / 72)


_JAPANESE = ("Noto Sans CJK JP", "Noto Sans JP", "IPAexGothic", "IPAGothic", "Hiragino Sans", "Yu Gothic", "MS Gothic")


@cache
def _font_file(bold: bool, language: Language) -> str:
    """matplotlib's own font, or one of the machine's that has Japanese signs.

    Raises:
        InputError: there is none.
    """
    from matplotlib import get_data_path
    from matplotlib.font_manager import FontProperties, findfont

    if language == "en":
        return str(Path(get_data_path()) / "fonts" / "ttf" / f"DejaVuSans{'-Bold' if bold else ''}.ttf")
    for family in _JAPANESE:
        try:
            return findfont(FontProperties(family=family, weight=700 if bold else 400), fallback_to_default=False)
        except ValueError:
            continue
    raise InputError(
        "No installed font has Japanese signs.", accepted=", ".join(_JAPANESE),
        next_step="install one of these, or ask for svg, which takes the reader's font",
    )  # fmt: skip


def ellipse(x: float, y: float, width: float, height: float) -> list[Point]:
    """Corners enough to look round."""
    return [(x + width / 2 * np.cos(t), y + height / 2 * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 33)[:-1]]


def width_of(text: str, size: float) -> float:
    """About how wide a text is, in inches."""
    return 0.0084 * size * len(text)
