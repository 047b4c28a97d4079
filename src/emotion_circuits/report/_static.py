"""Static pictures: charts drawn by matplotlib, without a display, as SVG text or PNG bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emotion_circuits._files import whole_file
from emotion_circuits.report._chart import Chart, Panel, panel_labels, spread_labels
from emotion_circuits.report._style import COLOURS, SHADE, light, matplotlib_settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 11.0
DPI = 150
_LEFT, _BOTTOM, _TOP, _ROW_GAP, _COLUMN_GAP = 0.95, 0.5, 0.3, 0.28, 0.3
_DASHES: dict[str, str | tuple[float, tuple[float, ...]]] = {"solid": "solid", "dash": (0, (5, 2.5)), "dot": (0, (1.2, 2))}


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """A figure that no window and no global state knows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def draw_chart(chart: Chart, *, with_title: bool = True) -> Figure:
    """Draw all panels; call it and save inside `matplotlib_settings`."""
    n_rows, n_columns = len(chart.panels), max(len(row) for row in chart.panels)
    head = _TOP + (0.38 if with_title else 0)
    height = head + n_rows * chart.row_height + (n_rows - 1) * _ROW_GAP + _BOTTOM
    share = (WIDTH - _LEFT) / n_columns
    panel_width = share - chart.gutter - (_COLUMN_GAP if n_columns > 1 and chart.gutter < _COLUMN_GAP else 0)
    figure = new_figure(height)
    if with_title:
        figure.text(0.02 / WIDTH, 1 - 0.08 / height, chart.title, fontsize=11, fontweight="bold", va="top")
    for i, row in enumerate(chart.panels):
        bottom = height - head - (i + 1) * chart.row_height - i * _ROW_GAP
        for j, panel in enumerate(row):
            left = _LEFT + j * share
            axes = figure.add_axes(
                (left / WIDTH, bottom / height, panel_width / WIDTH, chart.row_height / height)
            )
            draw_panel(axes, panel, chart.row_height)
            if i == 0:
                axes.set_title(panel.title, fontsize=10, fontweight="bold", loc="left", pad=14 if _has_rule_names(row) else 6)
            last = i == n_rows - 1 or panel.x_axis != chart.panels[i + 1][j].x_axis
            axes.tick_params(labelbottom=last)
            axes.set_xlabel(panel.x_axis.label if last else "", labelpad=2)
            axes.tick_params(labelleft=j == 0)
        label_axes = figure.axes[-len(row)]
        label_axes.set_ylabel(row[0].y_axis.label, fontsize=8.5, labelpad=3)
        if chart.row_titles[i]:
            label_axes.annotate(
                chart.row_titles[i], (-_LEFT + 0.02, chart.row_height / 2), xycoords=("axes fraction"),
                xytext=(-_LEFT * 72 + 3, 0), textcoords="offset points",
            ) if False else figure.text(
                0.1 / WIDTH, (bottom + chart.row_height / 2) / height, chart.row_titles[i],
                rotation=90, va="center", ha="center", fontweight="bold", fontsize=9,
            )
    return figure
