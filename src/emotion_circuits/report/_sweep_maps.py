"""Sweeps as heat maps: layer × dose for every emotion and position, beside chance, with damaged cells hatched."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from emotion_circuits.report._results import ModelResults
from emotion_circuits.report._static import WIDTH, cell_axes, new_figure, write_picture
from emotion_circuits.report._style import equals, interval, layer_name, light, matplotlib_settings, number, short
from emotion_circuits.report._sweep_cells import MAX_PERPLEXITY, Place, SweepCell, SweepMap, sweep_maps
from emotion_circuits.statistics import ALPHA, Measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

_UNITS = {
    "dose": ("dose", "dose, in multiples of the layer's median residual norm"),
    "alpha": ("α", "α, in multiples of the raw difference vector"),
    "ablated": ("share", "share of the component along the direction that is taken away"),
    "clamped to": (
        "clamped to",
        "value that the component along the direction is clamped to, in median residual norms above the generic mean",
    ),
}
_LEFT, _RIGHT, _GAP, _HEAD, _ROW_GAP, _BOTTOM, _TITLE, _KEY = 0.75, 0.1, 0.3, 0.5, 0.12, 0.32, 0.3, 0.34
_NARROWEST, _WIDEST, _TWO_LINES = 0.38, 1.05, 0.69
"""Inches: narrower cells hold one number and are not put side by side; none are wider than the second; below the third
the small number stands under the large one."""
_STRONGEST, _DIMMED = 0.66, 0.4


class _Grid(NamedTuple):
    """How a map's panels are laid out, in inches."""

    lines: list[list[tuple[str, str]]]
    cell: float
    height: float
    pitch: float


def sweep_caption(found: SweepMap) -> str:
    """How to read the map: what is drawn, over how many contexts, and what chance is."""
    n = _counts(m for cell in found.cells.values() for m in [cell.words])
    told = [cell.told for cell in found.cells.values() if cell.told is not None]
    words = "From the command sweep. " if found.own else "Development contexts. "
    words += (
        f"Change of the log-odds of an emotion's own words from the clean run, in nats, mean over {n} contexts: colour "
        "and large number, grey where its 95 % interval holds 0. Layers go upwards, the deepest on top"
        f"{_band(found.series)}; sideways the {_UNITS[found.unit][1]}. "
    )
    narrow = _grid(found).cell < _NARROWEST
    if found.controlled and narrow:
        words += "Chance, of control directions of the same size, is in the table: there is no room for it here. "
    elif found.controlled:
        words += (
            "The small number is chance, the mean of control directions of the same size in that cell; * marks "
            f"p ≤ {ALPHA:g} beyond them, one-sided and not adjusted, so one cell in twenty has one by chance. "
        )
    else:
        small = ""
        if told and not narrow:
            small = f"; the small number is the change of its continuations, nats per token, over {_counts(told)}"
        words += f"Chance is 0, the clean run: no control directions were run in these cells{small}. "
    limit = f"over {MAX_PERPLEXITY:g} times the clean model's"
    if any(cell.wrecked for cell in found.cells.values()):
        words += f"Hatched and pale: neutral text's perplexity is {limit}, so language itself is damaged."
    elif any(cell.damage is not None for cell in found.cells.values()):
        words += f"In no cell is neutral text's perplexity {limit}."
    if found.chosen:
        words += " Outlined: the layer and doses chosen on development contexts, tested beside controls on others."
    return words


def sweep_alt(found: SweepMap) -> str:
    """Every emotion's largest change with language whole, in words."""
    parts = []
    for emotion in found.emotions:
        whole = [(p, c) for p, c in found.cells.items() if p.emotion == emotion and not c.wrecked]
        if not whole:
            parts.append(f"{emotion}: language is damaged in every cell")
            continue
        place, cell = max(whole, key=lambda pair: abs(pair[1].words.value))
        p = f", p {equals(cell.words.p)}" if cell.controlled else ""
        parts.append(
            f"{emotion}: most at layer {layer_name(place.layer)}, {_UNITS[found.unit][0]} {_dose(place.dose)}, "
            f"{number(cell.words.value)} {interval(cell.words.ci_low, cell.words.ci_high)}{p}"
        )
    return f"Heat maps of {found.model} by layer and {_UNITS[found.unit][0]}. " + "; ".join(parts) + "."


def model_sweep_maps(model: ModelResults) -> dict[str, SweepMap]:
    """File name → map: the study's development sweep, then those that the command `sweep` wrote."""
    steered = model.measures.get("steering", ())
    found = dict(zip(["sweep_map"], sweep_maps(model.measures.get("sweep", ()), steered), strict=False))
    for m in sweep_maps(model.own_sweeps):
        found["own_sweep_" + re.sub(r"\W+", "_", f"{m.series} {m.unit}")] = replace(m, own=True)
    return found


def sweep_title(found: SweepMap) -> str:
    """What the map shows, without the model."""
    if not found.own:
        return "What does each direction do at every layer and dose?"
    unit = {"alpha": "multiples of the vector"}.get(found.unit, found.unit)
    return f"What do directions do in a sweep of your own? ({found.series}, {unit})"


def draw_sweep_map(found: SweepMap, *, title: str = "") -> Figure:
    """A panel for each emotion and position; draw and save inside `matplotlib_settings`.

    With several positions every emotion has a line of its own.
    """
    grid = _grid(found)
    body = len(found.layers) * grid.height
    top = _KEY + (_TITLE if title else 0.0)
    height = top + len(grid.lines) * (_HEAD + body) + (len(grid.lines) - 1) * _ROW_GAP + _BOTTOM
    figure = new_figure(height)
    if title:
        figure.text(0.006, 1 - 0.07 / height, title, fontsize=11, fontweight="bold", va="top")
    _draw_key(figure, found, 1 - (top - _KEY) / height, height, numbers=grid.cell >= _NARROWEST)
    for i, line in enumerate(grid.lines):
        bottom = height - top - (i + 1) * (_HEAD + body) - i * _ROW_GAP
        for j, (emotion, position) in enumerate(line):
            width = len(found.doses) * grid.cell
            left = _LEFT + j * grid.pitch
            axes = figure.add_axes((left / WIDTH, bottom / height, width / WIDTH, body / height))
            _draw_panel(axes, found, emotion, position, grid)
            name = emotion if len(found.positions) == 1 else f"{emotion}, {position.replace('_', ' ')}"
            axes.set_title(name, fontsize=9.5, fontweight="bold", loc="left", pad=19)
            if j == 0:
                axes.set_ylabel("layer", labelpad=2)
    said = f"columns: {_UNITS[found.unit][1]}" + _band(found.series, "; rows: the first of {} layers changed together")
    figure.text(_LEFT / WIDTH, 0.1 / height, said, fontsize=8, color=light("muted"))
    return figure


def write_sweep_figure(rows: Sequence[Measure], path: Path, title: str) -> list[Path]:
    """Write a sweep's table as a heat map with the endings .png and .svg; nothing where nothing was measured.

    Args:
        rows: of one model and one way of steering, as `SweepResult.measures` or `with_bands` give them.
        path: without an ending.
        title: written above.
    """
    maps = sweep_maps(rows)
    with matplotlib_settings():
        return write_picture(draw_sweep_map(maps[0], title=title), path) if maps else []


def _grid(found: SweepMap) -> _Grid:
    panels = [[(emotion, position) for position in found.positions] for emotion in found.emotions]
    panels = [
        [panel for panel in line if any((p.emotion, p.position) == panel for p in found.cells)] for line in panels
    ]
    if len(found.positions) == 1:
        panels = [[panel for line in panels for panel in line]]
    room, n = WIDTH - _LEFT - _RIGHT, len(found.doses)

    def share(beside: int) -> float:
        return (room - (beside - 1) * _GAP) / beside

    most = max(map(len, panels))
    beside = max([k for k in range(1, most + 1) if share(k) / n >= _NARROWEST], default=1)
    cell = min(share(beside) / n, _WIDEST)
    lines = [line[k : k + beside] for line in panels for k in range(0, len(line), beside)]
    return _Grid(lines, cell, 0.34 if _NARROWEST <= cell < _TWO_LINES else 0.25, share(beside) + _GAP)


def _draw_panel(axes: Axes, found: SweepMap, emotion: str, position: str, grid: _Grid) -> None:
    names = [f"{d:.3g}".replace("-", "−") for d in found.doses]
    every = math.ceil(max(map(len, names)) * 0.075 / grid.cell)  # names that would run into each other are left out
    cell_axes(axes, len(found.layers), [name if i % every == 0 else "" for i, name in enumerate(names)])
    axes.set_yticks(range(len(found.layers)), [layer_name(layer) for layer in found.layers])
    scale = found.scale()
    for i, layer in enumerate(found.layers):
        for j, dose in enumerate(found.doses):
            place = Place(emotion, position, layer, dose)
            cell = found.cells.get(place)
            if cell is not None:
                _draw_cell(axes, cell, (j, i), scale, grid, outlined=place in found.chosen)
    signs = sum(dose < 0 for dose in found.doses)
    if 0 < signs < len(found.doses):  # where the clean run would stand
        axes.axvline(signs - 0.5, color=light("muted"), lw=0.9)


def _draw_cell(
    axes: Axes, cell: SweepCell, at: tuple[int, int], scale: float, grid: _Grid, *, outlined: bool
) -> None:  # fmt: skip
    from matplotlib.patches import Rectangle

    x, y = at
    box = ((x - 0.485, y - 0.46), 0.97, 0.92)
    value = cell.words.value
    if math.isfinite(value):
        strength = _strength(value, scale) * (_DIMMED if cell.wrecked else 1)
        axes.add_patch(Rectangle(*box, lw=0, fc=light(_side(value)), alpha=strength))
    if cell.wrecked:
        axes.add_patch(_hatched(*box))
    if outlined:
        axes.add_patch(Rectangle(*box, lw=1.7, fill=False, ec=light("ink"), zorder=4, clip_on=False))
    if grid.cell < _NARROWEST:
        large = f"{value:z.1f}".replace("-", "−") if math.isfinite(value) else "–"
        axes.text(x, y, large, ha="center", va="center", fontsize=min(7.0, 17 * grid.cell), color=_ink(cell))
        return
    star = "*" if cell.controlled and cell.words.p <= ALPHA else ""
    strong = math.isfinite(value) and _strength(value, scale) > 0.4 and not cell.wrecked
    pale = light("ink" if strong else "muted")
    large, small = _figure_of(value) + star, _small(cell)
    if grid.cell < _TWO_LINES:
        size = min(7.5, 17 * grid.cell)
        axes.text(x, y - 0.16, large, ha="center", va="center", fontsize=size, color=_ink(cell))
        axes.text(x, y + 0.25, small, ha="center", va="center", fontsize=0.82 * size, color=pale)
    else:
        axes.text(x + 0.08, y, large, ha="right", va="center", fontsize=8, color=_ink(cell))
        axes.text(x + 0.14, y, small, ha="left", va="center", fontsize=min(6.5, 8.4 * grid.cell), color=pale)


def _hatched(corner: tuple[float, float], width: float, height: float) -> Rectangle:
    from matplotlib.patches import Rectangle

    patch = Rectangle(corner, width, height, lw=0, fill=False, ec=light("null"), hatch="////", zorder=1.5, alpha=0.75)
    patch.set_hatch_linewidth(0.5)
    return patch


def _draw_key(figure: Figure, found: SweepMap, top: float, height: float, *, numbers: bool) -> None:
    """What colours, hatching, outline and signs mean, in one line."""
    from matplotlib.patches import Rectangle

    axes = figure.add_axes((0, top - _KEY / height, 1, _KEY / height))
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(0, _KEY)
    axes.axis("off")
    middle, side, x = _KEY * 0.5, 0.19, _LEFT

    def say(text: str) -> None:
        nonlocal x
        axes.text(x, middle, text, ha="left", va="center", fontsize=7.5, color=light("muted"))
        x += 0.0625 * len(text) + 0.2

    scale = found.scale()
    say(f"{number(-scale)}")
    x -= 0.13
    for share in (-1.0, -0.5, 0.0, 0.5, 1.0):
        patch = Rectangle((x, middle - side / 2), side, side, lw=0, fc=light(_side(share)), alpha=_strength(share, 1))
        axes.add_patch(patch)
        x += side + 0.02
    x += 0.05
    beyond = any(abs(cell.words.value) > scale for cell in found.cells.values())
    say(f"{number(scale)} nats{' and beyond' if beyond else ''}")
    if any(cell.wrecked for cell in found.cells.values()):
        axes.add_patch(_hatched((x, middle - side / 2), 1.4 * side, side))
        x += 1.4 * side + 0.06
        say(f"perplexity over {MAX_PERPLEXITY:g} × clean")
    if found.chosen:
        axes.add_patch(Rectangle((x, middle - side / 2), 1.4 * side, side, lw=1.7, fill=False, ec=light("ink")))
        x += 1.4 * side + 0.06
        say("chosen for the test")
    if not numbers:
        return
    if found.controlled:
        say(f"small: chance    * p ≤ {ALPHA:g}")
    elif any(cell.told is not None for cell in found.cells.values()):
        say("small: own continuations, nats per token")


def _side(value: float) -> str:
    return "above" if value >= 0 else "below"


def _strength(value: float, scale: float) -> float:
    return 0.04 + _STRONGEST * min(abs(value) / scale, 1.0)


def _ink(cell: SweepCell) -> str:
    return light("muted" if cell.uncertain else "ink")


def _small(cell: SweepCell) -> str:
    """Chance where there are controls, else own continuations."""
    if cell.controlled:
        return _figure_of(cell.words.chance)
    return "" if cell.told is None else _figure_of(cell.told.value)


def _figure_of(value: float) -> str:
    """A number that fits a cell."""
    if not math.isfinite(value):
        return "–"
    return short(value) if abs(value) < 9.995 else f"{value:.{1 if abs(value) < 99.95 else 0}f}".replace("-", "−")


def _dose(dose: float) -> str:
    return f"{dose:g}".replace("-", "−")


def _band(series: str, words: str = ", bands of {} named by their first") -> str:
    """How bands of layers are named; nothing where a single layer was changed."""
    n = next((part.split()[0] for part in series.split(", ") if part.endswith(" layers")), "")
    return words.format(n) if n else ""


def _counts(rows: Iterator[Measure] | Sequence[Measure]) -> str:
    """`12`, or `8 to 12` where cells differ."""
    found = {m.n_unique for m in rows}
    return f"{min(found)}" if len(found) == 1 else f"{min(found)} to {max(found)}"
