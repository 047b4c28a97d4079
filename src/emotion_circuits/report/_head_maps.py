"""A map of all heads of a model, layers upward, and beside it how much the units of each layer carry."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emotion_circuits.report._head_results import HeadResults
from emotion_circuits.report._static import WIDTH, cell_axes, new_figure
from emotion_circuits.report._style import equals, interval, light, number, short
from emotion_circuits.statistics import ALPHA

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TOP, _BOTTOM, _LEFT, _GAP, _ROW_GAP, _UNITS, _UNITS_GAP = 0.55, 0.5, 0.55, 0.3, 0.6, 0.62, 0.1
_MOST_HEADS_BESIDE = 16
"""Maps of more heads stand below each other, not side by side."""
_NUMBERS_FROM = 0.41
"""Inches of a cell's width from which its number can be read."""
_FAINTEST, _STRONGEST = 0.03, 0.85


class _Size(NamedTuple):
    layers: int
    heads: int
    cell: float
    columns: int


def head_map_caption(heads: HeadResults) -> str:
    """How to read the maps, with n, chance and ceiling."""
    scores = heads.scores
    assert scores is not None
    by_emotion = {e: scores[scores["emotion"] == e] for e in heads.emotions}
    gaps = "; ".join(
        f"{e} {number(float(rows['gap'].iloc[0]))} ({int(rows['n_pairs'].iloc[0])} pairs of "
        f"{int(rows['n_scenarios'].iloc[0])} scenarios)"
        for e, rows in by_emotion.items()
    )
    text = (
        f"What every head (sideways) of every layer (deeper ones above) adds to the {scores['outcome'].iloc[0]} of an "
        "emotion's prompt over its neutral twin's, in nats, estimated by attribution: blue adds to the emotion, orange "
        f"works against it, 0 is chance. The whole model's difference: {gaps}. * marks p ≤ .05 over all heads of the "
        "map (max-T). Outlined heads were also patched. Rank correlation of estimate and patching over these, which "
        "are the best and all of the first layers: "
    )
    text += "; ".join(f"{e} {_agreement(heads, e, rows)}" for e, rows in by_emotion.items()) + "."
    if heads.units is not None:
        text += (
            " Bars: sum of |score| over the units of a layer, in nats; dark what units with q ≤ .05 (Benjamini and "
            "Hochberg) hold, for a sum of absolute values is above 0 by chance too."
        )
    return text


def _agreement(heads: HeadResults, emotion: str, rows: pd.DataFrame) -> str:
    from scipy import stats

    measured = rows[rows["exact"].notna()]
    examples = heads.examples_for(emotion)
    if examples is not None and examples.agreement is not None:
        found = examples.agreement
        return f"{number(found.spearman)} {interval(found.ci_low, found.ci_high)} (n = {found.n})"
    if len(measured) < 3:
        return "not measured"
    return f"{number(float(stats.spearmanr(measured['score'], measured['exact']).statistic))} (n = {len(measured)})"


def head_map_alt(heads: HeadResults) -> str:
    """The strongest heads in words."""
    assert heads.scores is not None
    parts = []
    for emotion in heads.emotions:
        rows = heads.scores[heads.scores["emotion"] == emotion]
        best = max(rows.to_dict("records"), key=lambda r: abs(r["score"]))
        clear = int((rows["p"] <= ALPHA).sum())
        parts.append(
            f"{emotion}: most by head {best['head']} of layer {best['layer']}, {number(best['score'])} nats "
            f"{interval(best['ci_low'], best['ci_high'])}, p {equals(best['p'])}; {clear} of {len(rows)} heads with "
            "p at most .05"
        )
    return f"Map of heads by layer. {'. '.join(parts)}."


def draw_head_maps(heads: HeadResults | None, *, title: str = "") -> Figure | None:
    """A map for each emotion, the colours of all of one scale; None without scores.

    Draw and save inside `matplotlib_settings`.
    """
    if heads is None or heads.scores is None or not len(heads.scores):
        return None
    scores, emotions = heads.scores, heads.emotions
    size = _size(int(scores["layer"].max()) + 1, int(scores["head"].max()) + 1, len(emotions))
    n_rows = math.ceil(len(emotions) / size.columns)
    top = _TOP + (0.3 if title else 0.0)
    height = top + n_rows * size.layers * size.cell + (n_rows - 1) * _ROW_GAP + _BOTTOM
    figure = new_figure(height)
    if title:
        figure.text(0.006, 1 - 0.07 / height, title, fontsize=11, fontweight="bold", va="top")
    largest = float(scores["score"].abs().max()) or 1.0
    masses = {} if heads.units is None else {e: _masses(heads.units, e, size.layers) for e in emotions}
    most = max((float(total.max()) for total, _ in masses.values()), default=0.0) or 1.0
    share = (WIDTH - _LEFT - 0.2 + _GAP) / size.columns
    for place, emotion in enumerate(emotions):
        row, column = divmod(place, size.columns)
        bottom = height - top - (row + 1) * size.layers * size.cell - row * _ROW_GAP
        left = _LEFT + column * share
        width = share - _GAP - (_UNITS + _UNITS_GAP if masses else 0.0)

        def box(x: float, wide: float, at: float = bottom) -> tuple[float, float, float, float]:
            return x / WIDTH, at / height, wide / WIDTH, size.layers * size.cell / height

        axes = figure.add_axes(box(left, width))
        _draw_cells(axes, scores[scores["emotion"] == emotion], size, width / size.heads, largest)
        axes.set_title(emotion, fontsize=9.5, fontweight="bold", loc="left", pad=18)
        if column == 0:
            axes.set_ylabel("layer", labelpad=2)
        if masses:
            _draw_masses(figure.add_axes(box(left + width + _UNITS_GAP, _UNITS)), *masses[emotion], size, most)
    _draw_legend(figure, height, largest)
    return figure


def _size(layers: int, heads: int, n_emotions: int) -> _Size:
    cell = 0.27 if layers <= 12 else 0.185 if layers <= 40 else 0.12
    return _Size(layers, heads, cell, n_emotions if heads <= _MOST_HEADS_BESIDE else 1)


def _draw_cells(axes: Axes, rows: pd.DataFrame, size: _Size, width: float, largest: float) -> None:
    from matplotlib.patches import Rectangle

    step = next(s for s in (1, 2, 4, 8, 16, 32) if width * s >= 0.17)
    cell_axes(axes, size.layers, [str(i) if i % step == 0 else "" for i in range(size.heads)])
    every = 1 if size.cell > 0.15 else 4
    shown = range(0, size.layers, every)
    axes.set_yticks([size.layers - 1 - i for i in shown], [str(i) for i in shown])
    if size.layers > 12:
        axes.tick_params(axis="y", labelsize=7.5)
    numbers = width >= _NUMBERS_FROM
    for one in rows.to_dict("records"):
        x, y, score = one["head"], size.layers - 1 - one["layer"], one["score"]
        strength = _FAINTEST + (_STRONGEST - _FAINTEST) * min(abs(score) / largest, 1.0)
        colour = light("above" if score >= 0 else "below")
        axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, lw=0, fc=colour, alpha=strength))
        if not math.isnan(one["exact"]):
            axes.add_patch(Rectangle((x - 0.47, y - 0.45), 0.94, 0.9, lw=0.7, fill=False, ec=light("null")))
        star = "*" if one["p"] <= ALPHA else ""
        if numbers or star:
            text = short(score) + star if numbers else star
            # A star's glyph sits high in its line.
            axes.text(x, y + (0 if numbers else 0.15), text, ha="center", va="center", fontsize=7.5 if numbers else 11)


def _masses(units: pd.DataFrame, emotion: str, layers: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(layers,) Σ|score| of all units of a layer, and of those with q ≤ .05."""
    own = units[units["emotion"] == emotion]
    sums = []
    for rows in (own, own[own["q"] <= ALPHA]):
        found = rows["score"].abs().groupby(rows["layer"]).sum()
        sums.append(found.reindex(range(layers), fill_value=0.0).to_numpy())
    return sums[0], sums[1]


def _draw_masses(
    axes: Axes, total: np.ndarray[Any, Any], clear: np.ndarray[Any, Any], size: _Size, most: float
) -> None:
    places = size.layers - 1 - np.arange(size.layers)
    axes.barh(places, total, height=0.86, color=light("null"), alpha=0.35, lw=0)
    axes.barh(places, clear, height=0.86, color=light("null-strong"), lw=0)
    axes.set_ylim(size.layers - 0.5, -0.5)
    axes.set_xlim(0, most * 1.02)
    axes.grid(False)
    axes.set_yticks([])
    axes.set_xticks([0, most], ["0", number(most)], fontsize=7)
    axes.tick_params(axis="x", length=2, labeltop=True, labelbottom=False, top=True, bottom=False, pad=1)
    axes.spines["bottom"].set_visible(False)
    axes.set_title("units", fontsize=8, loc="left", pad=18, color=light("muted"))


def _draw_legend(figure: Figure, height: float, largest: float) -> None:
    """The colours' scale, from the strongest against the emotion to the strongest for it."""
    steps, cell = 11, 0.2
    left, bottom = WIDTH - 0.1 - steps * cell - 0.75, 0.12
    box = (left / WIDTH, bottom / height, steps * cell / WIDTH, 0.14 / height)
    axes = figure.add_axes(box)
    axes.set_axis_off()
    axes.set_xlim(0, steps)
    axes.set_ylim(0, 1)
    from matplotlib.patches import Rectangle

    for i in range(steps):
        value = (i - steps // 2) / (steps // 2)
        strength = _FAINTEST + (_STRONGEST - _FAINTEST) * abs(value)
        colour = light("above" if value >= 0 else "below")
        axes.add_patch(Rectangle((i + 0.02, 0), 0.96, 1, lw=0, fc=colour, alpha=strength))
    for x, text, side in ((-0.25, number(-largest), "right"), (steps + 0.25, f"{number(largest)} nats", "left")):
        axes.text(x, 0.5, text, ha=side, va="center", fontsize=8, clip_on=False)
    words = "* p ≤ .05 over the whole map; outlined: also patched"
    figure.text(_LEFT / WIDTH, (bottom + 0.07) / height, words, fontsize=8, va="center", color=light("muted"))
