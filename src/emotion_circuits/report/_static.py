"""Static pictures: charts drawn by matplotlib, without a display, as SVG text or PNG files."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emotion_circuits._files import whole_file
from emotion_circuits.report._chart import Chart, Panel, panel_labels, rule_label_left, spread_labels
from emotion_circuits.report._style import COLOURS, light, shade

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 11.0
"""Inches; text of 9 points reads well at the report's width."""
DPI = 120
_LEFT, _BOTTOM, _HEAD, _TITLE, _ROW_GAP, _COLUMN_GAP = 0.95, 0.5, 0.3, 0.3, 0.26, 0.3
_DASHES: dict[str, str | tuple[float, tuple[float, ...]]] = {
    "solid": "solid",
    "dash": (0, (5, 2.5)),
    "dot": (0, (1.2, 2)),
    "longdash": (0, (9, 2.5)),
    "dashdot": (0, (5, 2, 1.2, 2)),
}


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """A figure that no window and no global state knows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def cell_axes(axes: Axes, n_rows: int, columns: Sequence[str]) -> None:
    """Bare axes for a table of cells, row 0 on top, the columns' names above it."""
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(n_rows - 0.5, -0.5)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.set_xticks(range(len(columns)), columns)


def chart_height(chart: Chart, *, with_title: bool) -> float:
    """Inches."""
    n_rows = len(chart.panels)
    head = _HEAD + (_TITLE if with_title else 0.0)
    return head + n_rows * chart.row_height + (n_rows - 1) * _ROW_GAP + _BOTTOM


def panel_places(chart: Chart, *, with_title: bool) -> list[list[tuple[float, float, float, float]]]:
    """For each row its panels' left, bottom, width and height, in shares of the picture."""
    height = chart_height(chart, with_title=with_title)
    share = (WIDTH - _LEFT) / max(len(row) for row in chart.panels)
    width = share - max(chart.gutter, _COLUMN_GAP)
    top = height - _HEAD - (_TITLE if with_title else 0.0)
    places = []
    for i, row in enumerate(chart.panels):
        bottom = top - (i + 1) * chart.row_height - i * _ROW_GAP
        box = (bottom / height, width / WIDTH, chart.row_height / height)
        places.append([((_LEFT + j * share) / WIDTH, *box) for j in range(len(row))])
    return places


def draw_chart(chart: Chart, *, with_title: bool) -> Figure:
    """Draw all panels; draw and save inside `matplotlib_settings`."""
    height = chart_height(chart, with_title=with_title)
    figure = new_figure(height)
    if with_title:
        figure.text(0.006, 1 - 0.07 / height, chart.title, fontsize=11, fontweight="bold", va="top")
    for i, places in enumerate(panel_places(chart, with_title=with_title)):
        middle = places[0][1] + places[0][3] / 2
        figure.text(0.1 / WIDTH, middle, chart.row_titles[i], rotation=90, va="center", ha="center", fontweight="bold")
        last = i == len(chart.panels) - 1
        for j, (place, panel) in enumerate(zip(places, chart.panels[i], strict=True)):
            axes = figure.add_axes(place)
            _draw_panel(axes, panel, chart.row_height)
            if i == 0:
                axes.set_title(panel.title, fontsize=10, fontweight="bold", loc="left", pad=7)
            axes.tick_params(labelbottom=last, labelleft=j == 0)
            axes.set_xlabel(panel.x_axis.label if last else "", labelpad=2)
            axes.set_ylabel(panel.y_axis.label if j == 0 else "", fontsize=8.5, labelpad=3)
    return figure


def _draw_panel(axes: Axes, panel: Panel, height: float) -> None:
    _set_axes(axes, panel)
    for band in panel.bands:
        axes.fill_between(band.x, band.low, band.high, color=light(band.colour), alpha=shade(band.colour), lw=0)
    for level in panel.levels:
        axes.axhline(level.y, color=light("muted"), lw=1, ls=_DASHES[level.dash], zorder=1.5)
    for rule in panel.rules:
        axes.axvline(rule.x, color=light(rule.colour), lw=1.1, ls=_DASHES[rule.dash], zorder=1.6)
        left = rule_label_left(rule, panel)
        axes.annotate(
            rule.label, (rule.x, 1.0), xycoords=("data", "axes fraction"), xytext=(-3 if left else 3, -1),
            textcoords="offset points", ha="right" if left else "left", va="top", fontsize=8, color=light(rule.colour),
        )  # fmt: skip
    for series in panel.series:
        colour = light(series.colour)
        if series.low and series.shaded:
            axes.fill_between(
                series.x, series.low, series.high, color=colour, alpha=shade(series.colour), lw=0, zorder=2
            )
        elif series.low:
            axes.vlines(series.x, series.low, series.high, color=colour, lw=max(series.width * 0.6, 0.8), zorder=2)
        ring = series.marker == "ring"
        axes.plot(
            series.x, series.y, color=colour, lw=series.width, ls=_DASHES[series.dash], zorder=3,
            marker="o" if ring else series.marker or None, ms=9 if ring else 3.6,
            mfc="none" if ring else colour, mew=1.4 if ring else 0, clip_on=False,
        )  # fmt: skip
    for label in spread_labels(panel_labels(panel), panel.y_axis, height):
        axes.annotate(
            label.text, (1.0, label.y), xycoords=("axes fraction", "data"), xytext=(5, 0), textcoords="offset points",
            va="center", fontsize=8, color=light(label.colour), annotation_clip=False,
        )  # fmt: skip


def _set_axes(axes: Axes, panel: Panel) -> None:
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    for axis, limits, low_high in (
        (axes.xaxis, panel.x_axis, axes.set_xlim),
        (axes.yaxis, panel.y_axis, axes.set_ylim),
    ):
        if limits.log:
            axis.axes.set_yscale("log")
            axis.set_minor_locator(NullLocator())
        low_high(limits.low, limits.high)
        if limits.ticks:
            axis.set_major_locator(FixedLocator([t for t, _ in limits.ticks]))
            axis.set_major_formatter(FixedFormatter([name for _, name in limits.ticks]))
    axes.tick_params(length=2.5)


def svg_text(figure: Figure) -> str:
    """The drawing as SVG, the same bytes on every run."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    # matplotlib repeats the fallback fonts that it has; a reader's own are as good.
    return re.sub(r"'DejaVu Sans'(?:, [^;\"]*)?", "'DejaVu Sans', system-ui, sans-serif", buffer.getvalue())


def write_picture(figure: Figure, path: Path) -> list[Path]:
    """Write `path` with the endings .png and .svg."""
    png, svg = path.with_name(path.name + ".png"), path.with_name(path.name + ".svg")
    with whole_file(png) as part:
        figure.savefig(part, format="png", dpi=DPI, metadata={"Software": None})
    with whole_file(svg) as part:
        part.write_text(svg_text(figure), encoding="utf-8")
    return [png, svg]


def themed_svg(svg: str) -> str:
    """The same drawing in the colours of the page it stands on, light or dark."""
    start = svg.index("<svg")
    head_end = svg.index(">", start) + 1
    body = svg[head_end:]
    for role, colour in COLOURS.items():
        body = body.replace(colour.light, f"var(--{role})")
    return svg[start:head_end] + f"<style>{theme_css(':root')}</style>" + body


def theme_css(selector: str) -> str:
    """Colours as CSS variables for both themes."""

    def block(theme: str) -> str:
        solid = "".join(f"--{role}:{getattr(c, theme)};" for role, c in COLOURS.items())
        return solid + "".join(
            f"--{role}-band:{_translucent(getattr(c, theme), shade(role))};" for role, c in COLOURS.items()
        )

    return f"{selector}{{{block('light')}}}@media (prefers-color-scheme:dark){{{selector}{{{block('dark')}}}}}"


def _translucent(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"
