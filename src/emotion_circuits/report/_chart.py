"""The one chart of lines and points: a grid of panels as data, and how it is drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from emotion_circuits.report._canvas import WIDTH, Box, Canvas, Point, width_of
from emotion_circuits.report._style import opacity

_BOTTOM, _ROW_GAP, _COLUMN_GAP, _LINE = 0.5, 0.26, 0.3, 0.145
_BESIDE: dict[str, tuple[float, float, str, str]] = {
    "corner": (0.055, -0.045, "left", "bottom"), "left": (-0.1, 0.0, "right", "center"),
    "right": (0.1, 0.0, "left", "center"), "above": (0.0, -0.07, "center", "bottom"),
    "below": (0.0, 0.09, "center", "top"),
}  # fmt: skip


class Axis(NamedTuple):
    """An axis with its unit in the label; `ticks` where the numbers themselves would mislead, empty for none."""

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...] | None = None
    log: bool = False

    def share(self, value: float) -> float:
        """How far along the axis a value lies, from 0 to 1."""
        if not self.log:
            return (value - self.low) / (self.high - self.low)
        return math.log(max(value, 1e-300) / self.low) / math.log(self.high / self.low)

    def value(self, share: float) -> float:
        """The inverse of `share`."""
        if not self.log:
            return self.low + share * (self.high - self.low)
        return self.low * math.exp(share * math.log(self.high / self.low))


@dataclass(frozen=True)
class Series:
    """A line with its interval, or points.

    Attributes:
        name: said on hover.
        x, y: the points.
        low, high: 95 % interval upwards; empty for none.
        left, right: the same sideways.
        colour: a role.
        shaded: the interval as a band; otherwise as bars.
        width: of the line in points, 0 for none.
        marker: matplotlib's sign, "" for none; `size` in points.
        hollow: the sign's outline only.
        ringed: the sign with an outline of ink.
        dash: "solid", "dash", "longdash", "dashdot" or "dot".
        alpha: of everything.
        label: written at the right end.
        texts: a small text beside each point, at `texts_at`: "corner", "left", "right", "above" or "below".
        hover: a text for each point.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    left: tuple[float, ...] = ()
    right: tuple[float, ...] = ()
    colour: str = "ink"
    shaded: bool = True
    width: float = 1.8
    marker: str = "o"
    size: float = 3.6
    hollow: bool = False
    ringed: bool = False
    dash: str = "solid"
    alpha: float = 1.0
    label: str = ""
    texts: tuple[str, ...] = ()
    texts_at: str = "corner"
    hover: tuple[str, ...] = ()


class Band(NamedTuple):
    """A filled area between two curves, such as where 95 % of the null lies."""

    x: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    colour: str = "null"


class Level(NamedTuple):
    """A horizontal line with its name at the right."""

    y: float
    label: str
    dash: str = "dash"
    colour: str = "muted"


class Rule(NamedTuple):
    """A vertical line with its name at the top."""

    x: float
    label: str = ""
    colour: str = "muted"
    dash: str = "dot"


class Label(NamedTuple):
    """A text at a height of the axis, at the panel's right edge or `at` inches from the picture's left."""

    y: float
    text: str
    colour: str = "ink"
    at: float | None = None
    bold: bool = False


class Key(NamedTuple):
    """What a sign or a line of some width means."""

    label: str
    colour: str = ""
    marker: str = "o"
    size: float = 5.0
    line: float = 0.0
    hollow: bool = False
    edge: str = ""
    dash: str = "solid"


@dataclass(frozen=True)
class Panel:
    """One set of axes."""

    title: str
    x_axis: Axis
    y_axis: Axis
    series: tuple[Series, ...] = ()
    bands: tuple[Band, ...] = ()
    levels: tuple[Level, ...] = ()
    rules: tuple[Rule, ...] = ()
    notes: tuple[Label, ...] = ()
    subtitle: str = ""


@dataclass(frozen=True)
class Chart:
    """A grid of panels.

    Attributes:
        panels: rows of panels; a row shares its y axis.
        row_titles: at the left of each row; none where empty.
        row_height: of a panel, in inches.
        gutter: room for labels at the right of each panel, in inches.
        left: room at the left of the first, in inches.
        keys: a legend above all panels.
        each_titled: every panel has its title, not only the first row's.
    """

    panels: tuple[tuple[Panel, ...], ...]
    row_titles: tuple[str, ...] = ()
    row_height: float = 1.6
    gutter: float = 0.95
    left: float = 0.95
    keys: tuple[Key, ...] = ()
    each_titled: bool = False

    def summary(self) -> str:
        """The highest point of each panel of the first row."""
        return " ".join(filter(None, map(_highest, self.panels[0])))

    def draw(self, title: str) -> Canvas:
        canvas = Canvas(title)
        canvas.height = draw_keys(canvas, self.keys, canvas.height)
        subtitles = any(panel.subtitle for row in self.panels for panel in row)
        head = 0.1 + 0.2 * any(panel.title for row in self.panels for panel in row) + 0.17 * subtitles
        share = (WIDTH - self.left) / max(len(row) for row in self.panels)
        width = share - max(self.gutter, _COLUMN_GAP)
        for i, row in enumerate(self.panels):
            last = i == len(self.panels) - 1
            top = canvas.height + (head if i == 0 or self.each_titled else _ROW_GAP)
            if self.row_titles:
                middle = top + self.row_height / 2
                canvas.words(0.1, middle, self.row_titles[i], 9, across="center", angle=90, bold=True)
            for j, panel in enumerate(row):
                box = (self.left + j * share, top, width, self.row_height)
                titled = i == 0 or self.each_titled
                _draw_panel(
                    canvas, panel, box, titled=titled, names_x=last or self.each_titled, names_y=j == 0, said_x=last
                )
            canvas.height = top + self.row_height
            canvas.height += _BOTTOM if last else 0.2 if self.each_titled else 0.0
        return canvas


def _highest(panel: Panel) -> str:
    points = [(y, s.name, hover) for s in panel.series for y, hover in zip(s.y, s.hover, strict=False)]
    _, name, hover = max((p for p in points if math.isfinite(p[0])), default=(0.0, "", ""))
    parts = [panel.title] + [name] * (name != panel.title) + [hover.replace("\n", ", ")]
    return f"{': '.join(filter(None, parts))}." if hover else ""


def _draw_panel(
    canvas: Canvas, panel: Panel, box: Box, *, titled: bool, names_x: bool, names_y: bool, said_x: bool
) -> None:
    left, top, width, height = box
    x_axis, y_axis = panel.x_axis, panel.y_axis

    def at(x: float, y: float) -> Point:
        return left + x_axis.share(x) * width, top + (1 - y_axis.share(y)) * height

    _draw_axes(canvas, panel, box, names_x=names_x, names_y=names_y, said_x=said_x)
    for band in panel.bands:
        for run in _runs(band.x, band.low, band.high):
            edge = [at(x, low) for x, low, _ in run] + [at(x, high) for x, _, high in reversed(run)]
            canvas.area(edge, band.colour, opacity(band.colour), clip=box)
    for level in panel.levels:
        canvas.line([at(x_axis.low, level.y), at(x_axis.high, level.y)], level.colour, 1.0, level.dash, clip=box)
    for rule in panel.rules:
        canvas.line([at(rule.x, y_axis.low), at(rule.x, y_axis.high)], rule.colour, 1.1, rule.dash)
        to_left = x_axis.share(rule.x) > 0.55  # its name would run out of the panel on the right
        x = at(rule.x, y_axis.high)[0] + (-0.04 if to_left else 0.04)
        canvas.words(x, top + 0.015, rule.label, 8, rule.colour, "right" if to_left else "left", "top")
    for series in panel.series:
        _draw_series(canvas, series, at, box)
    for label in panel_labels(panel, height):
        y = at(x_axis.high, label.y)[1]
        canvas.words(
            left + width + 0.07 if label.at is None else label.at, y, label.text, 8, label.colour, bold=label.bold
        )
    if titled:
        canvas.words(left, top - (0.27 if panel.subtitle else 0.1), panel.title, 10, up="bottom", bold=True)
        canvas.words(left, top - 0.09, panel.subtitle, 7.5, "muted", up="bottom")


def _draw_series(canvas: Canvas, one: Series, at: Callable[[float, float], Point], box: Box) -> None:
    if one.low and one.shaded:
        for run in _runs(one.x, one.low, one.high):
            edge = [at(x, low) for x, low, _ in run] + [at(x, high) for x, _, high in reversed(run)]
            canvas.area(edge, one.colour, opacity(one.colour) * one.alpha, clip=box)
    thin, faint = max(one.width * 0.6, 0.8), one.alpha * (1.0 if one.width or one.shaded else 0.5)
    for x, low, high in () if one.shaded else zip(one.x, one.low, one.high, strict=bool(one.low)):
        if math.isfinite(low + high):
            canvas.line([at(x, low), at(x, high)], one.colour, thin, alpha=faint, clip=box)
    for y, low, high in zip(one.y, one.left, one.right, strict=bool(one.left)):
        if math.isfinite(low + high):
            canvas.line([at(low, y), at(high, y)], one.colour, 2.0 if one.shaded else thin, alpha=faint, clip=box)
    if one.width:
        for run in _runs(one.x, one.y, one.y):
            canvas.line([at(x, y) for x, y, _ in run], one.colour, one.width, one.dash, one.alpha, clip=box)
    for i, (x, y) in enumerate(zip(one.x, one.y, strict=True)):
        if not math.isfinite(x + y):
            continue
        across, up = at(x, y)
        if one.marker:
            thick = 2.4 if one.marker == "|" else 1.3 if one.ringed or one.hollow else 0.0
            fill, rim = "" if one.hollow else one.colour, "ink" if one.ringed else one.colour
            canvas.sign(across, up, one.marker, one.size, fill, rim, thick, one.alpha)
        if one.texts:
            right, down, side, level = _BESIDE[one.texts_at]
            size, colour = (6.5, "muted") if one.texts_at == "corner" else (8.0, one.colour)
            canvas.words(across + right, up + down, one.texts[i], size, colour, side, level)
        if one.hover:
            canvas.hover(across, up, f"{one.name}\n{one.hover[i]}")


def _draw_axes(canvas: Canvas, panel: Panel, box: Box, *, names_x: bool, names_y: bool, said_x: bool) -> None:
    left, top, width, height = box
    bottom = top + height
    across = [(left + panel.x_axis.share(v) * width, name) for v, name in ticks_of(panel.x_axis, width / 0.5)]
    up = [(bottom - panel.y_axis.share(v) * height, name) for v, name in ticks_of(panel.y_axis, height / 0.28)]
    for y, _ in up:
        canvas.line([(left, y), (left + width, y)], "grid", 0.7)
    if not up:
        for x, _ in across:
            canvas.line([(x, top), (x, bottom)], "grid", 0.7)
    else:
        canvas.line([(left, top), (left, bottom)], "muted", 0.8)
    canvas.line([(left, bottom), (left + width, bottom)], "muted", 0.8)
    for x, _ in across:
        canvas.line([(x, bottom), (x, bottom + 0.035)], "muted", 0.8)
    for y, _ in up:
        canvas.line([(left - 0.035, y), (left, y)], "muted", 0.8)
    for x, name in across if names_x else ():
        canvas.words(x, bottom + 0.075, name, 8.5, "muted", "center", "top")
    for y, name in up if names_y else ():
        canvas.words(left - 0.07, y, name, 8.5, "muted", "right")
    if said_x:
        canvas.words(left + width / 2, bottom + 0.22, panel.x_axis.label, 9, across="center", up="top")
    if names_y:
        canvas.words(left - 0.5, top + height / 2, panel.y_axis.label, 8.5, across="center", angle=90)


def draw_keys(canvas: Canvas, keys: Sequence[Key], top: float, size: float = 8.0) -> float:
    """A legend in as many lines as it needs; returns where it ends."""
    x = 0.1
    for place, key in enumerate(keys):
        room = 0.3 + width_of(key.label, size) + 0.15
        if place and x + room > WIDTH:
            x, top = 0.1, top + 0.2
        y = top + 0.11
        if key.line:
            canvas.line([(x, y), (x + 0.22, y)], key.colour, key.line, key.dash)
        thick = 2.4 if key.marker == "|" else 1.3
        if key.marker:
            edge = key.edge or key.colour
            canvas.sign(x + 0.11, y, key.marker, key.size, "" if key.hollow else key.colour, edge, thick * bool(edge))
        canvas.words(x + 0.3, y, key.label, size)
        x += room
    return top + 0.26 if keys else top


def ticks_of(axis: Axis, most: float) -> list[tuple[float, str]]:
    """An axis' own ticks, or about as many round numbers as there is room for."""
    if axis.ticks is not None:
        return list(axis.ticks)
    from matplotlib.ticker import LogLocator, MaxNLocator

    found = LogLocator() if axis.log else MaxNLocator(max(int(most), 2), steps=[1, 2, 2.5, 5, 10])
    room = (axis.high - axis.low) * 1e-9
    values = [float(v) for v in found.tick_values(axis.low, axis.high) if axis.low - room <= v <= axis.high + room]
    decimals = (
        0 if axis.log else max((len(f"{v:.6g}".partition(".")[2]) for v in values if "e" not in f"{v:.6g}"), default=0)
    )
    return [(v, (f"{v:g}" if axis.log else f"{v:.{decimals}f}").replace("-", "−")) for v in values]


def _runs(*columns: Sequence[float]) -> Iterator[list[tuple[float, ...]]]:
    """Stretches of points that are finite."""
    run: list[tuple[float, ...]] = []
    for point in zip(*columns, strict=True):
        if math.isfinite(sum(point)):
            run.append(point)
        elif run:
            yield run
            run = []
    if run:
        yield run


def panel_labels(panel: Panel, height: float) -> list[Label]:
    """What is written beside a panel: names of levels and series, moved apart, and its notes."""
    labels = [Label(level.y, level.label, "muted") for level in panel.levels if level.label]
    labels += [note for note in panel.notes if note.at is None]
    labels += [Label(s.y[-1], s.label, s.colour) for s in panel.series if s.label and s.y]
    return [*spread_labels(labels, panel.y_axis, height), *(note for note in panel.notes if note.at is not None)]


def spread_labels(labels: Sequence[Label], axis: Axis, height: float, line: float = _LINE) -> list[Label]:
    """Labels moved apart so that they do not overlap, in the order of their heights.

    Args:
        labels: where they should be.
        axis: of the panel they stand beside.
        height: of the panel, in inches.
        line: height of a line of text, in inches.
    """
    gap = line / height
    ordered = sorted(labels, key=lambda label: (axis.share(label.y), label.text))
    places = [min(max(axis.share(label.y), 0.0), 1.0) for label in ordered]
    for _ in range(200):  # neighbours push each other apart until none is too near
        moved = False
        for i in range(len(places) - 1):
            overlap = gap - (places[i + 1] - places[i])
            if overlap > gap * 1e-3:
                places[i] -= overlap / 2
                places[i + 1] += overlap / 2
                moved = True
        if not moved:
            break
    if places:  # the whole stack stays beside its panel, and rather runs over its top than into the axis' name
        shift = max(min(1.0 - places[-1], 0.0), -places[0])
        places = [place + shift for place in places]
    return [label._replace(y=axis.value(place)) for label, place in zip(ordered, places, strict=True)]


def finite_range(values: Sequence[float], low: float, high: float, margin: float = 0.05) -> tuple[float, float]:
    """An axis that holds all values and at least `low` to `high`."""
    kept = [v for v in values if math.isfinite(v)]
    bottom, top = min([*kept, low]), max([*kept, high])
    room = (top - bottom) * margin or 0.5
    return bottom - room, top + room
