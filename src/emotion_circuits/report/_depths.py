"""Between models: are the same functions found at the same relative depths? Profiles, pairs of models, best heads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from emotion_circuits.comparison import (
    ALL,
    ALL_FUNCTIONS,
    DEPTH_CORRELATION,
    DEPTH_DIFFERENCE,
    OWN_EMOTION,
    OWN_FUNCTION,
    PairMeasure,
    adjusted,
)
from emotion_circuits.components import FUNCTIONS, LAYER_SHARE, NOTHING, HeadFunction
from emotion_circuits.errors import InputError
from emotion_circuits.report._chart import Axis, Band, Chart, Level, Panel, Series, finite_range
from emotion_circuits.report._labels import read_table
from emotion_circuits.report._results import in_order
from emotion_circuits.report._style import equals, interval, number, p_value
from emotion_circuits.statistics import ALPHA, Measure

if TYPE_CHECKING:
    import pandas as pd

TITLE = "Are the same depths and functions found?"
_COLOURS = ("above", "below", "all", "ink", "null-strong")
_DASHES = ("solid", "dash", "dot", "longdash", "dashdot")
_HEADS_SHOWN = 3
_COLUMNS = ("Models", "What", "Correlation [95 % interval]", "By chance, 95 %", "Ceiling", "p", "First deeper by", "n")
_OWN = {OWN_FUNCTION: "same function − others", OWN_EMOTION: "same emotion − others"}


@dataclass(frozen=True, eq=False)
class Depths:
    """Everything about depths that the results folder holds.

    Attributes:
        profiles: model → the shares of its layers.
        pairs: (A, B) → rows.
        heads: what the best heads of the models do.
    """

    profiles: dict[str, tuple[Measure, ...]]
    pairs: dict[tuple[str, str], tuple[PairMeasure, ...]]
    heads: tuple[HeadFunction, ...]


def read_depths(folder: Path, models: dict[str, str]) -> Depths:
    """Read what there is of some models (name → slug); without files everything is empty.

    Raises:
        InputError: a table of another version.
    """
    profiles, heads = {}, []
    for name, slug in models.items():
        path = folder / "heads" / f"depths_{slug}.parquet"
        if path.is_file():
            rows = tuple(Measure._make(r) for r in _rows(path, Measure._fields))
            if rows:
                profiles[name] = rows
        path = folder / "heads" / f"functions_{slug}.parquet"
        if path.is_file():
            heads += [HeadFunction._make(r) for r in _rows(path, HeadFunction._fields)]
    pairs = {}
    for path in sorted((folder / "cross_model").glob("*_and_*_components.parquet")):
        found = tuple(PairMeasure._make(r) for r in _rows(path, PairMeasure._fields))
        if found and {found[0].model_a, found[0].model_b} <= set(models):
            pairs[found[0].model_a, found[0].model_b] = found
    return Depths(profiles, pairs, tuple(heads))


def _rows(path: Path, fields: Sequence[str]) -> Iterator[tuple[object, ...]]:
    frame: pd.DataFrame = read_table(path)
    absent = [f for f in fields if f not in frame.columns]
    if absent:
        raise InputError(
            f"{path} is not a table of this version.", found=f"no column {absent[0]}", next_step="run the study again"
        )
    return frame[list(fields)].itertuples(index=False, name=None)


def depth_chart(depths: Depths) -> Chart | None:
    """A panel for each function and emotion, a line for each model; None where there are no profiles."""
    if not depths.profiles:
        return None
    every = [m for rows in depths.profiles.values() for m in rows if m.statistic == LAYER_SHARE]
    emotions = in_order({m.emotion for m in every})
    functions = [f for f in FUNCTIONS if any(m.kind == f.name for m in every)]
    x_axis = Axis("relative depth", 0.0, 1.0, tuple((t / 4, f"{t / 4:g}") for t in range(5)))
    panels = []
    for function in functions:
        own = [m for m in every if m.kind == function.name]
        y_axis = Axis(
            "share", *finite_range([v for m in own for v in (m.ci_low, m.ci_high, m.null_low, m.null_high)], 0.0, 0.3)
        )
        row = []
        for emotion in emotions:
            lines = [
                (place, name, [m for m in rows if (m.kind, m.emotion) == (function.name, emotion)])
                for place, (name, rows) in enumerate(depths.profiles.items())
            ]
            series = tuple(_series(name, measures, place) for place, name, measures in lines if measures)
            bands = tuple(_band(measures) for _, _, measures in lines if measures)
            row.append(Panel(emotion, x_axis, y_axis, series, bands, (Level(0.0, ""),)))
        panels.append(tuple(row))
    meanings = "; ".join(f"{f.name}: {f.meaning}" for f in functions)
    caption = (
        "What a layer's heads and units do for an emotion, minus the same for the neutral prompt of the scenario, as a "
        f"signed share of all layers. {meanings}. Shaded: 95 % intervals over scenarios; grey: 95 % of the shares when "
        "scenarios' signs are flipped, chance 0."
    )
    return Chart(
        "depths", f"Between models: {TITLE}", caption, _alt(depths), tuple(panels), tuple(f.name for f in functions),
        1.25, 0.8,
    )  # fmt: skip


def _at(measures: Sequence[Measure]) -> tuple[float, ...]:
    n = 1 + max(m.layer for m in measures)
    return tuple((m.layer + 0.5) / n for m in measures)


def _series(name: str, measures: Sequence[Measure], place: int) -> Series:
    measures = sorted(measures, key=lambda m: m.layer)
    hover = tuple(
        f"{name}, layer {m.layer}: {number(m.value)} {interval(m.ci_low, m.ci_high)}, p {equals(m.p)}, n {m.n_unique}"
        for m in measures
    )
    return Series(
        name, _at(measures), tuple(m.value for m in measures), tuple(m.ci_low for m in measures),
        tuple(m.ci_high for m in measures), _COLOURS[place % len(_COLOURS)], dash=_DASHES[place % len(_DASHES)],
        label=name.rpartition("/")[2], hover=hover,
    )  # fmt: skip


def _band(measures: Sequence[Measure]) -> Band:
    measures = sorted(measures, key=lambda m: m.layer)
    return Band(_at(measures), tuple(m.null_low for m in measures), tuple(m.null_high for m in measures))


def _alt(depths: Depths) -> str:
    parts = []
    for name, rows in depths.profiles.items():
        for function in FUNCTIONS:
            own = [m for m in rows if m.kind == function.name]
            peaks = [max((m for m in own if m.emotion == e), key=lambda m: m.value) for e in {m.emotion for m in own}]
            if peaks:
                at = ", ".join(f"{m.emotion} layer {m.layer}" for m in sorted(peaks, key=lambda m: m.emotion))
                parts.append(f"{name}, {function.name}, most at {at}")
    return "Shares of functions by relative depth. " + "; ".join(parts) + "."


def pair_sentence(rows: Sequence[PairMeasure]) -> str:
    """How alike two models are, in words."""
    overall = _one(rows, ALL_FUNCTIONS, DEPTH_CORRELATION)
    if overall is None:
        return f"{rows[0].model_a} and {rows[0].model_b}: not tested, too few scenarios have a pair in both."
    by_function = [m for f in FUNCTIONS for m in [_one(rows, f.name, DEPTH_CORRELATION)] if m is not None]
    alike = [f"{m.kind} {number(m.value)}" for m in by_function if m.p <= ALPHA]
    moved = [m for f in FUNCTIONS for m in [_one(rows, f.name, DEPTH_DIFFERENCE)] if m is not None]
    moved = [m for m in moved if m.ci_low > 0 or m.ci_high < 0]
    furthest = max(moved, key=lambda m: abs(m.value), default=None)
    clear = sum(q is not None and q <= ALPHA for q in adjusted(rows))
    tested = sum(q is not None for q in adjusted(rows))
    beyond = f"beyond chance for {', '.join(alike)}" if alike else "beyond chance for no function"
    own = _one(rows, ALL_FUNCTIONS, OWN_FUNCTION)
    apart = ""
    if own is not None:
        apart = (
            f" Correlations with the same function of the other model are {number(own.value)} "
            f"{interval(own.ci_low, own.ci_high)} above those with its other functions (p {equals(own.p)})."
        )
    if furthest is not None:
        first, second = (overall.model_a, overall.model_b)[:: 1 if furthest.value > 0 else -1]
        low, high = sorted((abs(furthest.ci_low), abs(furthest.ci_high)))
        apart += (
            f" Furthest apart are {furthest.kind.split()[0]} that {furthest.kind.split()[1]}: in {first} by "
            f"{number(abs(furthest.value))} {interval(low, high)} of the depth deeper than in {second}."
        )
    return (
        f"{overall.model_a} and {overall.model_b}: over all functions and emotions the profiles correlate "
        f"{number(overall.value)} {interval(overall.ci_low, overall.ci_high)} (p {equals(overall.p)}, ceiling "
        f"{number(overall.ceiling)}), {beyond}; {clear} of {tested} single profiles remain after adjusting." + apart
    )


def _one(rows: Sequence[PairMeasure], kind: str, statistic: str) -> PairMeasure | None:
    return next((m for m in rows if (m.emotion, m.kind, m.statistic) == (ALL, kind, statistic)), None)


def pairs_table_html(depths: Depths) -> str:
    """Means over emotions for every pair of models, by function."""
    lines = []
    for rows in depths.pairs.values():
        for m in rows:
            if m.emotion != ALL or m.statistic == DEPTH_DIFFERENCE:
                continue
            deeper = None if m.statistic in _OWN else _one(rows, m.kind, DEPTH_DIFFERENCE)
            by = "" if deeper is None else f"{number(deeper.value)} {_ci(deeper.ci_low, deeper.ci_high)}"
            cells = (
                f"{escape(m.model_a)}, {escape(m.model_b)}", escape(_OWN.get(m.statistic, m.kind)),
                f"{number(m.value)} {_ci(m.ci_low, m.ci_high)}", f"{number(m.chance)} {_ci(m.null_low, m.null_high)}",
                number(m.ceiling), p_value(m.p), by, str(m.n_unique),
            )  # fmt: skip
            lines.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    caption = (
        "Correlation of two models' profiles over relative depth, mean over emotions. By chance: the layers of one "
        "model in any order (last two rows of a pair: functions, emotions relabelled; for three, p ≥ 1/6). Ceiling: "
        "what two such profiles could reach, from split halves of each model's scenarios. First deeper by: difference "
        "of the mean relative depths. n: scenarios with a pair in both. p is not adjusted; no claim rests on it."
    )
    return _table(caption, _COLUMNS, lines, "Depths and functions")


def heads_table_html(heads: Sequence[HeadFunction]) -> str:
    """The best heads of each model and emotion that do anything beyond chance."""
    lines = []
    for key in dict.fromkeys((h.model, h.emotion) for h in heads):
        own = [h for h in heads if (h.model, h.emotion) == key and h.does != NOTHING][:_HEADS_SHOWN]
        for h in own:
            cells = (
                escape(h.model), escape(h.emotion), f"{h.layer}:{h.head}", f"{h.depth:.2f}", escape(h.does),
                _triple(h.carries, h.carries_low, h.carries_high, h.p_carries),
                _triple(h.reads, h.reads_low, h.reads_high, h.p_reads),
                _triple(h.writes, h.writes_low, h.writes_high, h.p_writes), str(h.n_unique),
            )  # fmt: skip
            lines.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    if not lines:
        return ""
    caption = (
        f"Up to {_HEADS_SHOWN} of the best heads by estimated effect, with what they do beyond chance: carried effect "
        "on the outcome in nats, attention to the emotion's word, and what is written along the direction at the last "
        "token, each the emotion's prompt minus the neutral one. Chance is 0; p by sign flips over scenarios, max-T "
        "over heads."
    )
    columns = ("Model", "Emotion", "Head", "Depth", "Does", "Carries", "Reads", "Writes", "n")
    return _table(caption, columns, lines, "What heads do")


def _triple(value: float, low: float, high: float, p: float) -> str:
    if value != value:
        return "–"
    return f"{number(value)} {_ci(low, high)} <small>p {equals(p)}</small>"


def _ci(low: float, high: float) -> str:
    return f'<span class="ci">{interval(low, high)}</span>'


def _table(caption: str, columns: Sequence[str], lines: Sequence[str], label: str) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in columns)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table>'
        f"<caption><span>{caption}</span></caption><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody>"
        "</table></div>"
    )
