"""The tables of `vectors`: one for everything that `--show` offers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from emotion_circuits.cli._output import Table, layer_name

if TYPE_CHECKING:
    from emotion_circuits.directions import DirectionSet
    from emotion_circuits.statistics import Measure

Show = Literal["stability", "cleanings", "foils", "intensity"]
Rows = Sequence["Measure"]


def table_of(show: Show, fitted: DirectionSet, rows: Rows, written: str) -> Table:
    """What was measured, and where the directions were written."""
    columns, lines, title, notes = {
        "stability": _stability,
        "cleanings": _cleanings,
        "foils": _foils,
        "intensity": _intensity,
    }[show](fitted, rows)
    return Table(
        columns,
        lines,
        title=f"{fitted.source.model}, {fitted.position}, {title}",
        notes=(*notes, f"Written to {written}"),
    )


_Parts = tuple[Sequence[str], list[tuple[object, ...]], str, tuple[str, ...]]


def _stability(fitted: DirectionSet, rows: Rows) -> _Parts:
    from emotion_circuits.directions import RELATIVE_NORM, SPLIT_HALF

    columns = ("emotion", "layer", "", "norm", "norm by chance", "p norm", "split-half", "95 % interval", "chance",
               "by chance, 95 %", "ceiling", "p", "n")  # fmt: skip

    def cells(by: dict[str, Measure]) -> tuple[object, ...]:
        norm, half = by[RELATIVE_NORM], by[SPLIT_HALF]
        return (
            f"{norm.value:.3f}", f"{norm.chance:.3f}", _p(norm.p),
            _two(half.value), _band(half.ci_low, half.ci_high), _two(half.chance),
            _band(half.null_low, half.null_high), _two(half.ceiling), _p(half.p), half.n_unique,
        )  # fmt: skip

    unchosen = "" if fitted.chosen_layer else "; no layer chosen: too few development scenarios"
    notes = (f"* chosen on development scenarios{unchosen}. n counts scenarios; chance: labels permuted within them.",)
    return columns, _by_layer(fitted, rows, cells), "specific directions", notes


def _cleanings(fitted: DirectionSet, rows: Rows) -> _Parts:
    from emotion_circuits.directions import IMPLICIT, SPLIT_HALF

    columns = ("cleaning", "emotion", "layer", "AUROC", "95 % interval", "chance", "by chance, 95 %", "p", "n",
               "split-half", "chance ", "ceiling", "n ")  # fmt: skip
    by_key = {(row.kind, row.emotion, row.statistic): row for row in rows}
    lines: list[tuple[object, ...]] = []
    for kind, emotion in dict.fromkeys((row.kind, row.emotion) for row in rows):
        found, half = by_key[kind, emotion, IMPLICIT], by_key[kind, emotion, SPLIT_HALF]
        lines.append((
            kind.removeprefix("specific, "), emotion, str(found.layer), *_judged(found), found.n_unique,
            _two(half.value), _two(half.chance), _two(half.ceiling), half.n_unique,
        ))  # fmt: skip
    notes = (
        "Each at the layer that implicit development texts choose; AUROC on implicit test texts. n counts scenarios.",
    )
    return columns, lines, "specific directions by cleaning", notes


def _foils(fitted: DirectionSet, rows: Rows) -> _Parts:
    from emotion_circuits.directions import EXPLICIT_OVER_FOILS, FOIL_RATE, HIT_RATE, IMPLICIT_OVER_FOILS

    columns = ("emotion", "layer", "", "foils over", "95 % interval", "neutral over", "p", "n foils", "explicit over",
               "explicit/foils", "95 % interval ", "p ", "implicit/foils", "95 % interval  ", "p  ")  # fmt: skip

    def cells(by: dict[str, Measure]) -> tuple[object, ...]:
        rate, hits = by[FOIL_RATE], by[HIT_RATE]
        aurocs = [
            (_two(m.value), _band(m.ci_low, m.ci_high), _p(m.p))
            for m in (by[EXPLICIT_OVER_FOILS], by[IMPLICIT_OVER_FOILS])
        ]
        return (
            _two(rate.value), _band(rate.ci_low, rate.ci_high), _two(rate.chance), _p(rate.p), rate.n_unique,
            _two(hits.value), *aurocs[0], *aurocs[1],
        )  # fmt: skip

    notes = (
        "over: share of test texts over a threshold halfway between emotion and neutral, set on development texts.",
        "p: foils more often over it than neutral texts. /: AUROC of true test texts over foils; chance is .50.",
        "Directions for this table come from development texts only.",
    )
    return columns, _by_layer(fitted, rows, cells), "specific directions on foils", notes


def _intensity(fitted: DirectionSet, rows: Rows) -> _Parts:
    columns = ("emotion", "layer", "", "Spearman", "95 % interval", "chance", "by chance, 95 %", "p", "n series")

    def cells(by: dict[str, Measure]) -> tuple[object, ...]:
        [found] = by.values()
        return (*_judged(found), found.n_unique)

    notes = ("Mean over series of the correlation of projection and step; chance: steps permuted within series.",)
    return columns, _by_layer(fitted, rows, cells), "specific directions and intensity", notes


def _by_layer(
    fitted: DirectionSet, rows: Rows, cells: Callable[[dict[str, Measure]], tuple[object, ...]]
) -> list[tuple[object, ...]]:
    """One line per emotion and layer, floors after the layers."""
    grouped: dict[tuple[str, str, int], dict[str, Measure]] = {}
    for row in rows:
        floor = row.kind.removeprefix("floor: ") if row.kind.startswith("floor: ") else ""
        grouped.setdefault((row.emotion, floor, row.layer), {})[row.statistic] = row
    places = {emotion: place for place, emotion in enumerate(fitted.emotions)}
    lines = []
    for emotion, floor, layer in sorted(grouped, key=lambda key: (places[key[0]], key[1], key[2])):
        chosen = "*" if not floor and fitted.chosen_layer.get(emotion) == layer else ""
        name = floor or layer_name(layer)
        lines.append((emotion, name, chosen, *cells(grouped[emotion, floor, layer])))
    return lines


def _judged(found: Measure) -> tuple[str, ...]:
    return (
        _two(found.value), _band(found.ci_low, found.ci_high), _two(found.chance),
        _band(found.null_low, found.null_high), _p(found.p),
    )  # fmt: skip


def _two(value: float) -> str:
    return "–" if value != value else f"{value:z.2f}"


def _p(value: float) -> str:
    return "–" if value != value else f"{value:.3f}"


def _band(low: float, high: float) -> str:
    return "–" if low != low else f"[{low:z.2f}, {high:z.2f}]"
