"""Circuits in the report: their curves, the numbers beside chance as a table, and the picture of what feeds what."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from emotion_circuits._files import read_json
from emotion_circuits.components import CMD, COMPLETENESS, CPR, FAITHFULNESS, Edge, EdgeTarget
from emotion_circuits.errors import InputError
from emotion_circuits.models import model_label
from emotion_circuits.prompts import Bank
from emotion_circuits.report._chart import Axis, Band, Chart, Level, Panel, Series
from emotion_circuits.report._circuit_edges import edges_caption, edges_drawing
from emotion_circuits.report._matrices import not_tested
from emotion_circuits.report._measures import measure_words
from emotion_circuits.report._results import ModelResults
from emotion_circuits.report._sections import Picture, Section, table, with_interval
from emotion_circuits.report._style import Looks, equals, interval, looks_of, number, p_value
from emotion_circuits.statistics import Measure

_FILES = ("circuits/{}.json", "circuits/{}_own.json")
"""The study's, or else those of the command."""
_SHOWN = {
    CPR: ("CPR", "area under the curve"),
    CMD: ("CMD", "mean distance from 1 along the curve; 0 is perfect"),
    FAITHFULNESS: ("faithfulness", "at the declared size"),
    COMPLETENESS: ("completeness", "what the whole model loses without that circuit"),
}


class Members(NamedTuple):
    """The circuit of the declared size: whether it was tested, its heads and units as `layer:number`."""

    tested: bool
    heads: tuple[str, ...]
    units: tuple[str, ...]


class Circuits(NamedTuple):
    """What the command `circuit` and the study write.

    `size` is the declared share of all heads and of all units; there are fewer than `controls` random circuits where it
    was soon plain that they do as well; `edges` are the strongest first, and none in files of before.
    """

    model: str
    ranking: str
    size: float
    controls: int
    measures: tuple[Measure, ...]
    members: Mapping[str, Members]
    edges: Mapping[str, tuple[Edge, ...]]
    targets: Mapping[str, tuple[EdgeTarget, ...]]

    @property
    def tested(self) -> tuple[str, ...]:
        """Emotions whose whole model's difference is clear."""
        return tuple(e for e, members in self.members.items() if members.tested)

    @property
    def untested(self) -> list[str]:
        """The others."""
        return [e for e, members in self.members.items() if not members.tested]


def read_circuits(path: Path) -> Circuits:
    """Read such a file.

    Raises:
        InputError: it cannot be read, or is another one.
    """
    found = read_json(path)
    try:
        return Circuits(
            model_label(str(found["model"])),
            str(found["ranking"]),
            float(found["size"]),
            int(found["controls"]),
            tuple(Measure(**_values(row)) for row in found["measures"]),
            {e: Members(bool(c["tested"]), tuple(c["heads"]), tuple(c["units"])) for e, c in found["circuits"].items()},
            {e: tuple(_edge(row) for row in rows) for e, rows in found.get("edges", {}).items()},
            {e: tuple(EdgeTarget(**_values(r)) for r in rows) for e, rows in found.get("edge_targets", {}).items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path} is not a file of circuits of this version.",
            found=f"no {error}" if isinstance(error, KeyError) else error,
            next_step="make it again",
        ) from error


def _edge(row: Mapping[str, Any]) -> Edge:
    edge = Edge(**_values(row))
    for name in (edge.source, edge.target):
        if not re.fullmatch(r"embed|output|(head|unit) [0-9]+:[0-9]+", name):
            raise ValueError(f"an edge at {name!r}")
    return edge


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row's fields; numbers that are not finite are null in JSON."""
    return {name: float("nan") if value is None else value for name, value in row.items()}


def circuit_sections(model: ModelResults) -> Iterator[Section]:
    """A model's circuits, where something computed them."""
    path = next((path for path in map(model.file, _FILES) if path.is_file()), None)
    if path is not None:
        found = read_circuits(path)
        curves, edges = _pictures(found, f"{model.slug}/circuits", f"{model.slug}/circuit_edges", model.looks)
        yield Section("Do heads and units form a circuit?", [*curves, _table(found), *edges])


def circuit_pictures(file: Path, bank: Bank | None = None) -> list[Picture]:
    """The pictures of a file of circuits: the curves under its own name, what feeds what with `_edges` behind it.

    Args:
        file: `circuits/<model>_own.json`.
        bank: its emotions; all bundled ones without.

    Raises:
        InputError: it cannot be read.
    """
    curves, edges = _pictures(read_circuits(file), file.stem, f"{file.stem}_edges", looks_of(bank))
    return [*curves, *edges]


def _pictures(found: Circuits, path: str, edges_path: str, looks: Looks) -> tuple[list[Picture], list[Picture]]:
    curves, edges = _curves(found, looks), edges_drawing(found, looks)
    titles = f"{found.model}: what circuits carry alone", f"{found.model}: how the circuit's members feed each other"
    return (
        [Picture(path, curves, titles[0], _caption(found))] if curves is not None else [],
        [Picture(edges_path, edges, titles[1], edges_caption(found))] if edges is not None else [],
    )


def _curves(found: Circuits, looks: Looks) -> Chart | None:
    """A panel for each emotion whose whole model differs from the empty circuit."""
    rows = [m for m in found.measures if m.statistic == FAITHFULNESS and math.isfinite(m.value)]
    if not rows:
        return None
    # Curves decide on the axis; intervals may run out of it.
    low = min(m.value for m in rows) - 0.15
    high = max(1.1, *(m.value for m in rows), *(m.null_high for m in rows if math.isfinite(m.null_high))) + 0.15
    sizes = [100 * float(m.position) for m in rows]
    ticks = tuple((t, f"{t:g}") for t in (0.1, 1.0, 10.0, 100.0) if t >= min(sizes) * 0.75)
    x_axis = Axis("% of heads and of units kept", min(sizes) * 0.75, max(sizes) * 1.33, ticks, log=True)
    panels = []
    for emotion in dict.fromkeys(m.emotion for m in rows):
        own = sorted((m for m in rows if m.emotion == emotion), key=lambda m: float(m.position))
        x = tuple(100 * float(m.position) for m in own)
        hover = tuple(measure_words(m, "faithfulness", f"{at:g} %") for at, m in zip(x, own, strict=True))
        drawn = [m for m in own if math.isfinite(m.null_low)]  # random circuits ran at some of the sizes
        at_drawn = tuple(100 * float(m.position) for m in drawn)
        band = Band(at_drawn, tuple(m.null_low for m in drawn), tuple(m.null_high for m in drawn))
        random = Series("random circuits", at_drawn, tuple(m.chance for m in drawn), colour="null-strong", width=1.2,
                        marker="", dash="dash")  # fmt: skip
        line = Series(looks.label(emotion), x, tuple(m.value for m in own), tuple(m.ci_low for m in own),
                      tuple(m.ci_high for m in own), colour=looks.role(emotion), width=2.0, hover=hover)  # fmt: skip
        area = next((m for m in found.measures if m.statistic == CPR and m.emotion == emotion), None)
        said = "" if area is None else (
            f"CPR {number(area.value)} {interval(area.ci_low, area.ci_high)}; random "
            f"{interval(area.null_low, area.null_high)}, p {equals(area.p)}"
        )  # fmt: skip
        levels = (Level(0.0, "", "solid"), Level(1.0, "", "solid"))
        y_axis = Axis("faithfulness", low, high)
        panels.append(Panel(
            looks.label(emotion), x_axis, y_axis, (random, line) if drawn else (line,), (band,) if drawn else (),
            levels, subtitle=said,
        ))  # fmt: skip
    return Chart((tuple(panels),), (), 2.3, 0.3, 0.75)


def _caption(found: Circuits) -> str:
    """How to read the curves."""
    return (
        "Faithfulness: the share of the difference between an emotion's prompt and its neutral twin that a circuit "
        "carries alone, every other head and unit at its mean on generic text, by the share of heads and of units that "
        f"is kept. They are ranked by {found.ranking} on every second pair and judged on the others. Grey are random "
        f"circuits with as many heads and units in every layer ({found.controls} at most). 1 is all; over 1, what "
        "works against the emotion is among what is left out." + not_tested(found.untested)
    )


def _table(found: Circuits) -> str:
    """CPR, CMD, faithfulness at the declared size and completeness of every emotion, beside random circuits."""
    body: list[str | list[str]] = []
    for emotion, members in found.members.items():
        size = f"{len(members.heads)} heads, {len(members.units)} units"
        body.append(escape(f"{emotion}: {size}" + ("" if members.tested else " (not tested)")))
        for statistic in _SHOWN if members.tested else ():
            # A study takes areas over some sizes only, and their position names these.
            places = None if statistic in (CPR, CMD) else (f"{found.size:g}",)
            body += [
                _line(m) for m in found.measures
                if (m.emotion, m.statistic) == (emotion, statistic) and (places is None or m.position in places)
            ]  # fmt: skip
    return table(
        f"Circuits of {100 * found.size:g} % of all heads and of all units, and their curves. Chance: random circuits "
        "of the same layers; p is one-sided over these and not adjusted; n counts held-out pairs.",
        ("Statistic", "Value [95 % interval]", "Chance ", "By chance, 95 %", "p ", "n "), body, "Circuits",
    )  # fmt: skip


def _line(m: Measure) -> list[str]:
    name, meaning = _SHOWN[m.statistic]
    over = f", {m.position}" if m.statistic in (CPR, CMD) else ""
    return [
        f"{name} <small>{escape(meaning + over)}</small>",
        with_interval(number(m.value), interval(m.ci_low, m.ci_high)),
        number(m.chance), interval(m.null_low, m.null_high) or "–", p_value(m.p), str(m.n_unique),
    ]  # fmt: skip
