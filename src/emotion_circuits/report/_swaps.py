"""Interchange in the report: how much of the emotion follows when one layer and place is put into the neutral run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from emotion_circuits.components import PLACES, SWAP_SITES, kind_of
from emotion_circuits.report._results import ModelResults
from emotion_circuits.report._static import WIDTH, cell_axes, new_figure
from emotion_circuits.report._style import equals, interval, light, number, short
from emotion_circuits.statistics import ALPHA, Measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SWAPS = "swap"
_SITE_NAMES = {"resid_post": "residual stream", "attn_out": "attention output", "mlp_out": "MLP output"}
_CELL, _TOP, _ROW_GAP, _BOTTOM, _LEFT, _GAP = 0.27, 0.55, 0.5, 0.15, 0.75, 0.3

Cells = dict[tuple[int, str], Measure]


def swap_emotions(model: ModelResults) -> tuple[str, ...]:
    """Emotions whose prompts differ clearly from the neutral ones, so that shares of the difference mean something."""
    return tuple(e for e in model.emotions(SWAPS) if any(_cells(model, e, site) for site in SWAP_SITES))


def swap_caption(model: ModelResults) -> str:
    """How to read the matrices."""
    unclear = [e for e in model.emotions(SWAPS) if e not in swap_emotions(model)]
    left_out = ""
    if unclear:
        left_out = f" Not tested, because both prompts give nearly the same outcome: {', '.join(unclear)}."
    return (
        "Share of the difference between an emotion's prompt and its neutral twin, in log-odds of the emotion's words, "
        "that arrives when the emotion's values replace the neutral run's at one layer (deeper ones above) and place: "
        "the emotion's word, the tokens after it, the last one. 0 is nothing, 1 all. The small number is what another "
        "scenario's neutral values do there; * marks p ≤ .05 beyond those, over the whole map." + left_out
    )


def swap_alt(model: ModelResults) -> str:
    """The largest shares in words."""
    parts = []
    for emotion in swap_emotions(model):
        single = [m for site in SWAP_SITES for m in _cells(model, emotion, site).values() if m.position != "all"]
        best = max(single, key=lambda m: m.value)
        parts.append(
            f"{emotion}: most at {best.kind.split()[-1]} of layer {best.layer}, {best.position}, {number(best.value)} "
            f"{interval(best.ci_low, best.ci_high)}, p {equals(best.p)}"
        )
    return "Shares of the outcome's difference by layer and place. " + "; ".join(parts) + "."


def draw_swaps(model: ModelResults, *, with_title: bool) -> Figure | None:
    """A row of matrices for each emotion, one for each site; None where there is nothing to show."""
    emotions = swap_emotions(model)
    if not emotions:
        return None
    layers = sorted({m.layer for m in model.measures[SWAPS]}, reverse=True)
    found = {m.position for m in model.measures[SWAPS]}
    places = [place for place in PLACES if place in found]
    top = _TOP + (0.3 if with_title else 0.0)
    height = top + len(emotions) * len(layers) * _CELL + (len(emotions) - 1) * _ROW_GAP + _BOTTOM
    figure = new_figure(height)
    if with_title:
        title = f"{model.name}: Where does the emotion stand, layer by layer?"
        figure.text(0.006, 1 - 0.07 / height, title, fontsize=11, fontweight="bold", va="top")
    width = (WIDTH - _LEFT - 0.1 - 2 * _GAP) / len(SWAP_SITES)
    for row, emotion in enumerate(emotions):
        bottom = height - top - (row + 1) * len(layers) * _CELL - row * _ROW_GAP
        for column, site in enumerate(SWAP_SITES):
            left = _LEFT + column * (width + _GAP)
            box = (left / WIDTH, bottom / height, width / WIDTH, len(layers) * _CELL / height)
            axes = figure.add_axes(box)
            _draw_cells(axes, _cells(model, emotion, site), layers, places)
            axes.set_title(f"{emotion}, {_SITE_NAMES[site]}", fontsize=9.5, fontweight="bold", loc="left", pad=17)
            axes.set_yticks(range(len(layers)), [str(layer) for layer in layers])
            if column == 0:
                axes.set_ylabel("layer", labelpad=2)
    return figure


def _cells(model: ModelResults, emotion: str, site: str) -> Cells:
    kind = kind_of("denoising", site)
    rows = [m for m in model.measures.get(SWAPS, ()) if m.emotion == emotion and m.kind == kind]
    return {(m.layer, m.position): m for m in rows if math.isfinite(m.value)}


def _draw_cells(axes: Axes, cells: Cells, layers: list[int], places: list[str]) -> None:
    from matplotlib.patches import Rectangle

    cell_axes(axes, len(layers), places)
    for i, layer in enumerate(layers):
        for j, place in enumerate(places):
            m = cells.get((layer, place))
            if m is None:
                continue
            strength = 0.04 + 0.66 * min(abs(m.value), 1.0)
            colour = "above" if m.value >= 0 else "below"
            axes.add_patch(Rectangle((j - 0.49, i - 0.47), 0.98, 0.94, lw=0, fc=light(colour), alpha=strength))
            star = "*" if m.p <= ALPHA else ""
            axes.text(j + 0.02, i, short(m.value) + star, ha="right", va="center", fontsize=8)
            donor = "" if math.isnan(m.chance) else short(m.chance)
            axes.text(j + 0.1, i, donor, ha="left", va="center", fontsize=6.5, color=light("muted"))
