"""The same charts for plotly, which the page draws over the static pictures: values on hover, colours of the page."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from emotion_circuits.report._chart import Axis, Chart, Panel, Series, panel_labels, rule_label_left, spread_labels
from emotion_circuits.report._static import chart_height, panel_places

if TYPE_CHECKING:
    import plotly.graph_objects as go

PIXELS = 96
_MARKERS = {"o": "circle", "^": "triangle-up", "s": "square", "ring": "circle-open"}
_DASHES = {"solid": "solid", "dash": "dash", "dot": "dot", "longdash": "longdash", "dashdot": "dashdot"}


def plotly_json(chart: Chart) -> str:
    """The chart as JSON that can stand inside a script element; colours are CSS variables."""
    figure = _figure(chart).to_plotly_json()
    text = json.dumps(_rounded(figure), separators=(",", ":"), ensure_ascii=False, allow_nan=False, sort_keys=True)
    # Nothing in a name may end the script element or open a comment in it.
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value


def _figure(chart: Chart) -> go.Figure:
    import plotly.graph_objects as go

    figure = go.Figure()
    height = chart_height(chart, with_title=False)
    figure.update_layout(
        template="none", height=round(height * PIXELS), margin={"l": 0, "r": 0, "t": 0, "b": 0}, showlegend=False,
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", hovermode="closest", dragmode=False,
        font={"family": "system-ui, sans-serif", "size": 12, "color": "var(--ink)"},
        hoverlabel={
            "bgcolor": "var(--paper)", "bordercolor": "var(--muted)", "align": "left",
            "font": {"color": "var(--ink)", "size": 12},
        },
    )  # fmt: skip
    place = 0
    for i, row in enumerate(panel_places(chart, with_title=False)):
        title = _escape(chart.row_titles[i])
        box = row[0]
        figure.add_annotation(
            text=f"<b>{title}</b>", x=0.0, y=(box[1] + box[3] / 2), xref="paper", yref="paper", textangle=-90,
            showarrow=False, xanchor="left", yanchor="middle",
        )  # fmt: skip
        for j, box in enumerate(row):
            place += 1
            _add_panel(figure, chart, i, j, place, box)
    return figure


def _add_panel(
    figure: go.Figure, chart: Chart, i: int, j: int, place: int, box: tuple[float, float, float, float]
) -> None:
    panel = chart.panels[i][j]
    suffix = "" if place == 1 else str(place)
    last = i == len(chart.panels) - 1
    left, bottom, width, height = box
    common = {"zeroline": False, "showline": True, "linecolor": "var(--muted)", "fixedrange": True, "ticklen": 3}
    tick_font = {"size": 11, "color": "var(--muted)"}
    figure.update_layout(
        {
            f"xaxis{suffix}": common
            | _axis(panel.x_axis)
            | {
                "domain": [left, left + width], "anchor": f"y{suffix}", "showgrid": False, "tickfont": tick_font,
                "showticklabels": last, "ticks": "outside",
                "title": {"text": panel.x_axis.label if last else "", "standoff": 4, "font": {"size": 12}},
            },
            f"yaxis{suffix}": common
            | _axis(panel.y_axis)
            | {
                "domain": [bottom, min(bottom + height, 1.0)], "anchor": f"x{suffix}", "gridcolor": "var(--grid)",
                "tickfont": tick_font, "showticklabels": j == 0, "ticks": "outside", "nticks": 6,
                "title": {"text": panel.y_axis.label if j == 0 else "", "standoff": 4, "font": {"size": 11.5}},
            },
        }
    )  # fmt: skip
    axes = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
    _add_shapes(figure, panel, axes)
    for band in panel.bands:
        figure.add_scatter(
            x=[*band.x, *band.x[::-1]], y=[*band.low, *band.high[::-1]], fill="toself", mode="lines",
            line={"width": 0}, fillcolor=f"var(--{band.colour}-band)", hoverinfo="skip", **axes,
        )  # fmt: skip
    for series in panel.series:
        _add_series(figure, series, axes)
    domain = {"xref": f"x{suffix} domain", "showarrow": False, "align": "left"}
    for label in spread_labels(panel_labels(panel), panel.y_axis, chart.row_height, 0.16):
        figure.add_annotation(
            text=_escape(label.text), x=1.0, xshift=5, y=_coordinate(label.y, panel.y_axis), yref=f"y{suffix}",
            xanchor="left", yanchor="middle", font={"size": 11, "color": f"var(--{label.colour})"}, **domain,
        )  # fmt: skip
    for rule in panel.rules:
        turned = rule_label_left(rule, panel)
        figure.add_annotation(
            text=_escape(rule.label), x=rule.x, xref=f"x{suffix}", y=1.0, yref=f"y{suffix} domain", showarrow=False,
            xanchor="right" if turned else "left", yanchor="top", xshift=-2 if turned else 2,
            font={"size": 11, "color": f"var(--{rule.colour})"},
        )  # fmt: skip
    if i == 0:
        figure.add_annotation(
            text=f"<b>{_escape(panel.title)}</b>", x=0.0, y=1.0, yref=f"y{suffix} domain", xanchor="left",
            yanchor="bottom", yshift=5, font={"size": 13}, **domain,
        )  # fmt: skip


def _add_shapes(figure: go.Figure, panel: Panel, axes: dict[str, str]) -> None:
    x, y = axes["xaxis"], axes["yaxis"]
    for level in panel.levels:
        figure.add_shape(
            type="line", xref=f"{x} domain", yref=y, x0=0, x1=1, y0=level.y, y1=level.y, layer="below",
            line={"color": "var(--muted)", "width": 1, "dash": _DASHES[level.dash]},
        )  # fmt: skip
    for rule in panel.rules:
        figure.add_shape(
            type="line", xref=x, yref=f"{y} domain", x0=rule.x, x1=rule.x, y0=0, y1=1, layer="below",
            line={"color": f"var(--{rule.colour})", "width": 1.3, "dash": _DASHES[rule.dash]},
        )  # fmt: skip


def _add_series(figure: go.Figure, series: Series, axes: dict[str, str]) -> None:
    colour = f"var(--{series.colour})"
    bars = None
    if series.low and series.shaded:
        figure.add_scatter(
            x=[*series.x, *series.x[::-1]], y=[*series.low, *series.high[::-1]], fill="toself", mode="lines",
            line={"width": 0}, fillcolor=f"var(--{series.colour}-band)", hoverinfo="skip", **axes,
        )  # fmt: skip
    elif series.low:
        bars = {
            "type": "data", "symmetric": False, "width": 0, "thickness": 1, "color": colour,
            "array": [h - y for h, y in zip(series.high, series.y, strict=True)],
            "arrayminus": [y - low for low, y in zip(series.low, series.y, strict=True)],
        }  # fmt: skip
    figure.add_scatter(
        x=list(series.x), y=list(series.y), name=_escape(series.name), error_y=bars,
        mode="lines+markers" if series.marker else "lines",
        line={"color": colour, "width": series.width * 1.1, "dash": _DASHES[series.dash]},
        marker={"color": colour, "symbol": _MARKERS.get(series.marker, "circle"), "size": 6},
        text=[f"<b>{_escape(series.name)}</b><br>{_escape_lines(h)}" for h in series.hover],
        hoverinfo="text" if series.hover else "skip", cliponaxis=False, **axes,
    )  # fmt: skip


def _axis(axis: Axis) -> dict[str, object]:
    spec: dict[str, object] = {"range": [axis.low, axis.high]}
    if axis.log:
        spec = {"type": "log", "range": [math.log10(axis.low), math.log10(axis.high)]}
    if axis.ticks:
        spec |= {"tickmode": "array", "tickvals": [t for t, _ in axis.ticks], "ticktext": [n for _, n in axis.ticks]}
    return spec


def _coordinate(y: float, axis: Axis) -> float:
    """Annotations on a logarithmic axis stand at the logarithm."""
    return math.log10(y) if axis.log else y


def _escape(text: str) -> str:
    """plotly reads a few tags in its texts."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _escape_lines(text: str) -> str:
    return "<br>".join(_escape(line) for line in text.split("\n"))
