"""Sweeps as maps of cells: layer × dose for every emotion and position, beside chance, with damaged cells hatched."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from emotion_circuits.interventions import CONTINUATIONS, PERPLEXITY, WORD_SET
from emotion_circuits.prompts import Bank
from emotion_circuits.report._cells import Cell, CellMap, Grid
from emotion_circuits.report._doses import MAX_PERPLEXITY
from emotion_circuits.report._results import OWN_SWEEPS, ModelResults, by_position, read_rows
from emotion_circuits.report._sections import Picture, Section, pictured
from emotion_circuits.report._style import Looks, counts, equals, interval, layer_name, looks_of, number, plain, short
from emotion_circuits.statistics import ALPHA, Measure

_KIND = re.compile(
    r"(?P<series>.+), (?P<unit>(?:dose|clamped)(?: in norms)?(?: to)?|alpha|ablated) (?P<dose>-?[\d.]+(?:e[+-]?\d+)?)"
)
_UNITS = {
    "dose": ("dose", "dose, in spreads of generic text"),
    "dose in norms": ("dose", "dose, in median norms of generic text"),
    "alpha": ("α", "α, in multiples of the raw difference vector"),
    "ablated": ("share", "share of the component along the direction that is taken away"),
    "clamped to": (
        "clamped to",
        "value that the component along the direction is clamped to, in spreads of generic text above its mean",
    ),
    "clamped in norms to": (
        "clamped to",
        "value that the component along the direction is clamped to, in median norms of generic text above its mean",
    ),
}
_NARROWEST = 0.4
"""Inches of a cell that holds chance, too."""


class Place(NamedTuple):
    """A cell's place."""

    emotion: str
    position: str
    layer: int
    dose: float


class SweepCell(NamedTuple):
    """What was measured at one place: own words, own continuations, and the damage."""

    words: Measure
    told: Measure | None
    damage: Measure | None

    @property
    def wrecked(self) -> bool:
        """Whether the perplexity ratio is over the limit, or no number was left."""
        over = self.damage is not None and not self.damage.value <= MAX_PERPLEXITY
        return over or not math.isfinite(self.words.value)


@dataclass(frozen=True, eq=False)
class Sweep:
    """All cells of one series (`specific, 3 layers, last token`) and unit (see `SweepResult.unit`), by place.

    `chosen` ones are outlined; `own` ones the command `sweep` made, not a study.
    """

    series: str
    unit: str
    cells: Mapping[Place, SweepCell]
    chosen: frozenset[Place]
    looks: Looks
    own: bool = False

    @property
    def controlled(self) -> bool:
        """Whether all cells have chance from control directions."""
        return all(math.isfinite(cell.words.null_low) for cell in self.cells.values())

    @property
    def title(self) -> str:
        """What the map shows, without the model."""
        if not self.own:
            return "What does each direction do at every layer and dose?"
        unit = {"alpha": "multiples of the vector"}.get(self.unit, self.unit)
        return f"What do directions do in a sweep of your own? ({self.series}, {unit})"

    def banded(self, words: str) -> str:
        """`words` about bands of layers; nothing where a single layer was changed."""
        n = next((part.split()[0] for part in self.series.split(", ") if part.endswith(" layers")), "")
        return words.format(n) if n else ""

    def scale(self) -> float:
        """The change that has the full colour: the largest where language is whole; nats."""
        kept = [abs(c.words.value) for c in self.cells.values() if not c.wrecked]
        kept = kept or [abs(c.words.value) for c in self.cells.values() if math.isfinite(c.words.value)]
        return max([*kept, 0.1])


def sweep_sections(model: ModelResults) -> Iterator[Section]:
    """The study's development sweep, then those that the command `sweep` wrote."""
    study = sweeps_of(model.measures.get("sweep", ()), model.measures.get("steering", ()), model.looks)[:1]
    own = [m for path in OWN_SWEEPS for m in read_rows(model.file(path), Measure, model.name)]
    for found in (*study, *(replace(m, own=True) for m in sweeps_of(own, (), model.looks))):
        key = "own_sweep_" + re.sub(r"\W+", "_", f"{found.series} {found.unit}") if found.own else "sweep_map"
        drawing = _drawing(found)
        yield pictured(model, key, found.title, drawing, _caption(found, drawing))


def sweep_pictures(rows: Iterable[Measure], path: str, title: str, bank: Bank | None = None) -> list[Picture]:
    """A sweep's table as a map; nothing where nothing was measured.

    Args:
        rows: of one model and one way of steering, as `SweepResult.measures` or `with_bands` give them.
        path: without an ending.
        title: written above.
        bank: in whose order emotions stand; all bundled ones without.
    """
    found = sweeps_of(rows, (), looks_of(bank))[:1]
    return [Picture(path, drawing, title, _caption(own, drawing)) for own in found for drawing in [_drawing(own)]]


def _step(kind: str) -> tuple[str, str, float] | None:
    """Series, unit and dose that a row's kind names; None where it is no sweep's."""
    found = _KIND.fullmatch(kind)
    return (found["series"], found["unit"], float(found["dose"])) if found else None


def sweeps_of(rows: Iterable[Measure], chosen: Iterable[Measure], looks: Looks) -> list[Sweep]:
    """One for each series and unit among a model's rows, in their order; rows of other tables are left out.

    Args:
        rows: of one model.
        chosen: rows at the places to outline, in whatever statistic.
        looks: of emotions.
    """
    found: dict[tuple[str, str], dict[Place, dict[str, Measure]]] = {}
    for m in rows:
        step = _step(m.kind)
        if step is not None and m.statistic in (WORD_SET, CONTINUATIONS, PERPLEXITY):
            places = found.setdefault(step[:2], {})
            places.setdefault(Place(m.emotion, m.position, m.layer, step[2]), {})[m.statistic] = m
    outlined = {
        (s[:2], Place(m.emotion, m.position, m.layer, s[2])) for m in chosen if (s := _step(m.kind)) is not None
    }
    sweeps = []
    for (series, unit), places in found.items():
        cells = {
            place: SweepCell(by[WORD_SET], by.get(CONTINUATIONS), by.get(PERPLEXITY))
            for place, by in places.items()
            if WORD_SET in by
        }
        if cells:
            own = frozenset(place for of, place in outlined if of == (series, unit) and place in cells)
            sweeps.append(Sweep(series, unit, cells, own, looks))
    return sweeps


def _drawing(found: Sweep) -> CellMap:
    emotions = found.looks.in_order(p.emotion for p in found.cells)
    positions = by_position(p.position for p in found.cells)
    layers = sorted({p.layer for p in found.cells}, reverse=True)
    doses = sorted({p.dose for p in found.cells})
    scale = found.scale()
    grids: dict[tuple[str, str], dict[tuple[int, int], Cell]] = {}
    for place, cell in found.cells.items():
        own = grids.setdefault((place.emotion, place.position), {})
        own[layers.index(place.layer), doses.index(place.dose)] = _cell(found, place, cell, scale)
    lines = []
    for e in emotions:
        name = found.looks.label(e)
        lines.append([
            Grid(name if len(positions) == 1 else f"{name}, {p.replace('_', ' ')}", tuple(map(layer_name, layers)),
                 tuple(f"{d:.3g}".replace("-", "−") for d in doses), grids[e, p], divide=sum(d < 0 for d in doses))
            for p in positions if (e, p) in grids
        ])  # fmt: skip
    if len(positions) == 1:
        lines = [[grid for line in lines for grid in line]]
    beyond = any(abs(cell.words.value) > scale for cell in found.cells.values())
    keys = (
        [("hatched", f"perplexity over {MAX_PERPLEXITY:g} × clean")]
        if any(c.wrecked for c in found.cells.values())
        else []
    )
    keys += [("outlined", "chosen for the test")] if found.chosen else []
    said = f"columns: {_UNITS[found.unit][1]}" + found.banded("; rows: the first of {} layers changed together")
    drawing = CellMap(
        tuple(map(tuple, lines)), (number(-scale), f"{number(scale)} nats{' and beyond' if beyond else ''}"),
        tuple(keys), column_name=said, narrowest=_NARROWEST, widest=1.05,
    )  # fmt: skip
    if drawing.cell_width() >= _NARROWEST and found.controlled:
        return replace(drawing, keys=(*keys, ("", f"small: chance    * p ≤ {ALPHA:g}")))
    if drawing.cell_width() >= _NARROWEST and any(cell.told is not None for cell in found.cells.values()):
        return replace(drawing, keys=(*keys, ("", "small: own continuations, nats per token")))
    return drawing


def _cell(found: Sweep, place: Place, cell: SweepCell, scale: float) -> Cell:
    m = cell.words
    controlled = math.isfinite(m.null_low)
    star = "*" if controlled and m.p <= ALPHA else ""
    small = _number(m.chance) if controlled else "" if cell.told is None else _number(cell.told.value)
    tiny = f"{m.value:z.1f}".replace("-", "−") if math.isfinite(m.value) else "–"
    words = [f"layer {layer_name(place.layer)}, {_UNITS[found.unit][0]} {plain(place.dose)}: {number(m.value)} nats "
             f"{interval(m.ci_low, m.ci_high)}, chance {number(m.chance)}"]  # fmt: skip
    words += [f"p {equals(m.p)} (not adjusted)"] if controlled else []
    words += [f"continuations {number(cell.told.value)} nats per token"] if cell.told is not None else []
    words += [f"perplexity × {number(cell.damage.value)}"] if cell.damage is not None else []
    return Cell(
        m.value / scale, _number(m.value) + star, small, tiny, grey=not (m.ci_low > 0 or m.ci_high < 0),
        hatched=cell.wrecked, outlined=1.7 * (place in found.chosen), hover="\n".join([*words, f"n = {m.n_unique}"]),
    )  # fmt: skip


def _number(value: float) -> str:
    """A number that fits a cell."""
    if not math.isfinite(value) or abs(value) < 9.995:
        return short(value)
    return f"{value:.{1 if abs(value) < 99.95 else 0}f}".replace("-", "−")


def _caption(found: Sweep, drawing: CellMap) -> str:
    """How to read the map: what is drawn, over how many contexts, and what chance is."""
    cells, narrow = found.cells.values(), drawing.cell_width() < _NARROWEST
    words = "From the command sweep. " if found.own else "Development contexts. "
    words += (
        "Change of the log-odds of an emotion's own words from the clean run, in nats, mean over "
        f"{counts(cell.words.n_unique for cell in cells)} contexts: colour and large number, grey where its 95 % "
        f"interval holds 0. Layers go upwards, the deepest on top{found.banded(', bands of {} named by their first')}; "
        f"sideways the {_UNITS[found.unit][1]}. "
    )
    if found.controlled and narrow:
        words += "Chance, of control directions of the same size, is in the table: there is no room for it here. "
    elif found.controlled:
        words += (
            "The small number is chance, the mean of control directions of the same size in that cell; * marks "
            f"p ≤ {ALPHA:g} beyond them, one-sided and not adjusted, so one cell in twenty has one by chance. "
        )
    else:
        told = [cell.told.n_unique for cell in cells if cell.told is not None and not narrow]
        small = (
            f"; the small number is the change of its continuations, nats per token, over {counts(told)}"
            if told
            else ""
        )
        words += f"Chance is 0, the clean run: no control directions were run in these cells{small}. "
    limit = f"over {MAX_PERPLEXITY:g} times the clean model's"
    if any(cell.wrecked for cell in cells):
        words += f"Hatched and pale: neutral text's perplexity is {limit}, so language itself is damaged."
    elif any(cell.damage is not None for cell in cells):
        words += f"In no cell is neutral text's perplexity {limit}."
    if found.chosen:
        words += " Outlined: the layer and doses chosen on development contexts, tested beside controls on others."
    return words
