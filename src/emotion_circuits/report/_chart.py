"""A chart as data: what is drawn, once, for a static picture and for an interactive one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Axis(NamedTuple):
    """An axis with its unit in the label; ticks where the numbers themselves would mislead."""

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...] = ()
    log: bool = False


@dataclass(frozen=True)
class Series:
    """A line with its interval.

    Attributes:
        name: said on hover.
        x, y: the points.
        low, high: 95 % interval; empty for none.
        colour: a name of `_style.COLOURS`.
        shaded: the interval as a band; otherwise as bars.
        marker: "o", "^", "s", "ring" or "" for none.
        dash: "solid", "dash", "longdash", "dashdot" or "dot".
        label: written at the right end.
        hover: a line per point.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    colour: str = "ink"
    shaded: bool = True
    width: float = 1.8
    marker: str = "o"
    dash: str = "solid"
    label: str = ""
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


class Rule(NamedTuple):
    """A vertical line with its name at the top."""

    x: float
    label: str
    colour: str = "muted"
    dash: str = "dot"


class Label(NamedTuple):
    """A text at a height, in axis units."""

    y: float
    text: str
    colour: str


@dataclass(frozen=True)
class Panel:
    """One set of axes; `notes` are written at the right edge, as names of series and levels are."""

    title: str
    x_axis: Axis
    y_axis: Axis
    series: tuple[Series, ...] = ()
    bands: tuple[Band, ...] = ()
    levels: tuple[Level, ...] = ()
    rules: tuple[Rule, ...] = ()
    notes: tuple[Label, ...] = ()


@dataclass(frozen=True)
class Chart:
    """A grid of panels.

    Attributes:
        key: its file name.
        title: what it shows.
        caption: one sentence that says how to read it.
        alt: what it shows, for those who cannot see it.
        panels: rows of panels; a row shares its y axis.
        row_titles: at the left of each row.
        row_height: of a panel, in inches.
        gutter: room for labels at the right of each panel, in inches.
    """

    key: str
    title: str
    caption: str
    alt: str
    panels: tuple[tuple[Panel, ...], ...]
    row_titles: tuple[str, ...]
    row_height: float = 1.6
    gutter: float = 0.95


def spread_labels(labels: Sequence[Label], axis: Axis, height: float, line: float = 0.145) -> list[Label]:
    """Labels moved apart so that they do not overlap, in the order of their heights.

    Args:
        labels: where they should be.
        axis: of the panel they stand beside.
        height: of the panel, in inches.
        line: height of a line of text, in inches.
    """

    def forward(y: float) -> float:
        return math.log10(y) if axis.log else y

    def backward(y: float) -> float:
        return float(10**y) if axis.log else y

    low, high = forward(axis.low), forward(axis.high)
    gap = (high - low) / height * line
    ordered = sorted(labels, key=lambda label: (label.y, label.text))
    places = [min(max(forward(label.y), low), high) for label in ordered]
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
        shift = max(min(high - places[-1], 0.0), low - places[0])
        places = [place + shift for place in places]
    return [label._replace(y=backward(p)) for label, p in zip(ordered, places, strict=True)]


def panel_labels(panel: Panel) -> list[Label]:
    """What is written at a panel's right edge."""
    labels = [Label(level.y, level.label, "muted") for level in panel.levels if level.label]
    return [*labels, *panel.notes] + [Label(s.y[-1], s.label, s.colour) for s in panel.series if s.label and s.y]


def rule_label_left(rule: Rule, panel: Panel) -> bool:
    """Whether a rule's name stands left of it, because it would run out of the panel on the right."""
    axis = panel.x_axis
    return (rule.x - axis.low) / (axis.high - axis.low) > 0.55


def finite_range(values: Sequence[float], low: float, high: float, margin: float = 0.05) -> tuple[float, float]:
    """An axis that holds all values and at least `low` to `high`."""
    kept = [v for v in values if math.isfinite(v)]
    bottom, top = min([*kept, low]), max([*kept, high])
    room = (top - bottom) * margin
    return bottom - room, top + room
