"""The same charts for plotly, which the page draws over the static pictures: values on hover, colours of the page.

The specification is written as plain values, which plotly's own schema checks in the tests: its Python objects check
every property whenever one is added, and take seconds for one report.
"""

from __future__ import annotations

import json
import math
from typing import Any

from emotion_circuits.report._chart import (
    Axis,
    Chart,
    Panel,
    Series,
    panel_labels,
    rule_label_left,
    spread_labels,
)
from emotion_circuits.report._static import chart_height, panel_places

Spec = dict[str, Any]
PIXELS = 96
"""Per inch of the static picture, so that both have one size."""
_MARKERS = {"o": "circle", "^": "triangle-up", "s": "square", "ring": "circle-open"}
_SMALL = 11


def plotly_json(chart: Chart) -> str:
    """The chart as JSON that can stand inside a script element; colours are CSS variables."""
    value = _rounded(plotly_spec(chart))
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False, sort_keys=True)
    # Nothing in a name may end the script element or open a comment in it.
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def plotly_spec(chart: Chart) -> Spec:
    """The chart as plotly's `data` and `layout`."""
    layout: Spec = {
        "height": round(chart_height(chart, with_title=False) * PIXELS),
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
        "showlegend": False,
        "hovermode": "closest",
        "dragmode": False,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": "var(--ink)"},
        "hoverlabel": {
            "bgcolor": "var(--paper)",
            "bordercolor": "var(--muted)",
            "align": "left",
            "font": {"color": "var(--ink)", "size": 12, "family": "system-ui, sans-serif"},
        },
        "annotations": [],
        "shapes": [],
    }
    data: list[Spec] = []
    number = 0
    for i, places in enumerate(panel_places(chart, with_title=False)):
        _, bottom, _, height = places[0]
        layout["annotations"].append(
            {
                "text": f"<b>{_escape(chart.row_titles[i])}</b>", "textangle": -90, "showarrow": False,
                "x": 0, "xref": "paper", "xanchor": "left",
                "y": bottom + height / 2, "yref": "paper", "yanchor": "middle",
            }
        )  # fmt: skip
        for j, place in enumerate(places):
            number += 1
            suffix = "" if number == 1 else str(number)
            panel = chart.panels[i][j]
            layout |= _axes(panel, suffix, place, last_row=i == len(chart.panels) - 1, first=j == 0)
            layout["shapes"] += _shapes(panel, suffix)
            layout["annotations"] += _annotations(panel, suffix, chart.row_height, titled=i == 0)
            data += _traces(panel, suffix)
    return {"data": data, "layout": layout}


def _axes(panel: Panel, suffix: str, place: tuple[float, float, float, float], *, last_row: bool, first: bool) -> Spec:
    left, bottom, width, height = place
    common = {
        "zeroline": False, "showline": True, "linecolor": "var(--muted)", "fixedrange": True,
        "ticks": "outside", "ticklen": 3, "tickfont": {"size": _SMALL, "color": "var(--muted)"},
    }  # fmt: skip
    across = {
        "domain": [left, left + width], "anchor": f"y{suffix}", "showgrid": False, "showticklabels": last_row,
        "title": {"text": panel.x_axis.label if last_row else "", "standoff": 4, "font": {"size": 12}},
    }  # fmt: skip
    up = {
        "domain": [bottom, bottom + height], "anchor": f"x{suffix}", "gridcolor": "var(--grid)", "nticks": 6,
        "showticklabels": first,
        "title": {"text": panel.y_axis.label if first else "", "standoff": 4, "font": {"size": 11.5}},
    }  # fmt: skip
    return {
        f"xaxis{suffix}": common | across | _scale(panel.x_axis),
        f"yaxis{suffix}": common | up | _scale(panel.y_axis),
    }


def _scale(axis: Axis) -> Spec:
    spec: Spec = {"range": [axis.low, axis.high]}
    if axis.log:
        spec = {"type": "log", "range": [math.log10(axis.low), math.log10(axis.high)]}
    if axis.ticks:
        spec |= {"tickmode": "array", "tickvals": [t for t, _ in axis.ticks], "ticktext": [n for _, n in axis.ticks]}
    return spec


def _shapes(panel: Panel, suffix: str) -> list[Spec]:
    return [
        {
            "type": "line", "layer": "below", "xref": f"x{suffix}", "yref": f"y{suffix} domain", "y0": 0, "y1": 1,
            "x0": rule.x, "x1": rule.x,
            "line": {"color": f"var(--{rule.colour})", "width": 1.3, "dash": rule.dash},
        }
        for rule in panel.rules
    ]  # fmt: skip


def _annotations(panel: Panel, suffix: str, height: float, *, titled: bool) -> list[Spec]:
    x, y = f"x{suffix}", f"y{suffix}"
    found: list[Spec] = []
    for label in spread_labels(panel_labels(panel), panel.y_axis, height, 0.16):
        # Annotations on a logarithmic axis stand at the logarithm.
        at = math.log10(label.y) if panel.y_axis.log else label.y
        found.append(
            {
                "text": _escape(label.text), "x": 1, "xref": f"{x} domain", "xanchor": "left", "xshift": 5,
                "y": at, "yref": y, "yanchor": "middle", "font": {"size": _SMALL, "color": f"var(--{label.colour})"},
            }
        )  # fmt: skip
    for rule in panel.rules:
        left = rule_label_left(rule, panel)
        found.append(
            {
                "text": _escape(rule.label), "x": rule.x, "xref": x, "xanchor": "right" if left else "left",
                "xshift": -2 if left else 2, "y": 1, "yref": f"{y} domain", "yanchor": "top",
                "font": {"size": _SMALL, "color": f"var(--{rule.colour})"},
            }
        )  # fmt: skip
    if titled:
        found.append(
            {
                "text": f"<b>{_escape(panel.title)}</b>", "x": 0, "xref": f"{x} domain", "xanchor": "left",
                "y": 1, "yref": f"{y} domain", "yanchor": "bottom", "yshift": 4, "font": {"size": 13},
            }
        )  # fmt: skip
    return [{**annotation, "showarrow": False} for annotation in found]


def _traces(panel: Panel, suffix: str) -> list[Spec]:
    areas = [(band.x, band.low, band.high, band.colour) for band in panel.bands]
    areas += [(s.x, s.low, s.high, s.colour) for s in panel.series if s.low and s.shaded]
    filled = [
        {
            "x": [*x, *x[::-1]], "y": [*low, *high[::-1]], "fill": "toself", "fillcolor": f"var(--{colour}-band)",
            "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip",
        }
        for x, low, high, colour in areas
    ]  # fmt: skip
    # As traces, because plotly draws shapes either under the grid, which hides them, or over the data.
    ends = [panel.x_axis.low, panel.x_axis.high]
    levels = [
        {
            "x": ends, "y": [level.y, level.y], "mode": "lines", "hoverinfo": "skip",
            "line": {"color": "var(--muted)", "width": 1, "dash": level.dash},
        }
        for level in panel.levels
    ]  # fmt: skip
    place = {"type": "scatter", "xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
    return [{**trace, **place} for trace in (*filled, *levels, *(_line(s) for s in panel.series))]


def _line(series: Series) -> Spec:
    colour = f"var(--{series.colour})"
    trace: Spec = {
        "x": list(series.x), "y": list(series.y), "name": _escape(series.name), "cliponaxis": False,
        "mode": "lines+markers" if series.marker else "lines",
        "line": {"color": colour, "width": series.width * 1.1, "dash": series.dash},
        "marker": {"color": colour, "symbol": _MARKERS.get(series.marker, "circle"), "size": 6},
        "hoverinfo": "text" if series.hover else "skip",
        "text": [f"<b>{_escape(series.name)}</b><br>{_escape(hover)}" for hover in series.hover],
    }  # fmt: skip
    if series.low and not series.shaded:
        trace["error_y"] = {
            "type": "data", "symmetric": False, "width": 0, "thickness": 1, "color": colour,
            "array": [high - y for high, y in zip(series.high, series.y, strict=True)],
            "arrayminus": [y - low for low, y in zip(series.low, series.y, strict=True)],
        }  # fmt: skip
    return trace


def _escape(text: str) -> str:
    """plotly reads a few tags in its texts; a line break is one."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", "<br>")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value
