"""Between models: are the same functions found at the same relative depths? Profiles, pairs of models, best heads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple

from emotion_circuits import comparison as cmp
from emotion_circuits.components import FUNCTIONS, LAYER_SHARE, NOTHING, HeadFunction
from emotion_circuits.report._chart import Axis, Band, Chart, Level, Panel, Series, finite_range
from emotion_circuits.report._results import Results, read_rows
from emotion_circuits.report._sections import Picture, Section, paragraph, table, with_interval
from emotion_circuits.report._style import Looks, equals, interval, model_line, number, p_value, short_name
from emotion_circuits.statistics import ALPHA, Measure

_TITLE = "Are the same depths and functions found?"
_HEADS_SHOWN = 3
_OWN = {cmp.OWN_FUNCTION: "same function − others", cmp.OWN_EMOTION: "same emotion − others"}

Profiles = Mapping[str, Sequence[Measure]]


class Depths(NamedTuple):
    """What the results folder holds about depths: model → the shares of its layers, pairs' rows, best heads."""

    profiles: dict[str, tuple[Measure, ...]]
    pairs: list[tuple[cmp.PairMeasure, ...]]
    heads: list[HeadFunction]


def read_depths(results: Results) -> Depths:
    """Read what there is of the models; without files everything is empty.

    Raises:
        InputError: a table of another version.
    """
    profiles = {m.name: read_rows(m.file("heads/depths_{}.parquet"), Measure) for m in results.models}
    heads = [h for m in results.models for h in read_rows(m.file("heads/functions_{}.parquet"), HeadFunction)]
    files = sorted((results.folder / "cross_model").glob("*_and_*_components.parquet"))
    names = {m.name for m in results.models}
    pairs = [rows for rows in (read_rows(path, cmp.PairMeasure) for path in files) if rows]
    pairs = [rows for rows in pairs if {rows[0].model_a, rows[0].model_b} <= names]
    return Depths({name: rows for name, rows in profiles.items() if rows}, pairs, heads)


def depth_sections(results: Results) -> Iterator[Section]:
    """Profiles, sentences and tables; nothing where there are no profiles."""
    depths = read_depths(results)
    if not depths.profiles:
        return
    parts: list[str | Picture] = [paragraph(pair_sentence(rows)) for rows in depths.pairs]
    chart = depth_chart(depths.profiles, results.looks)
    parts.append(Picture("components/depths", chart, f"Between models: {_TITLE}", _caption()))
    parts += [_pairs_table(depths.pairs)] if depths.pairs else []
    parts.append(_heads_table(depths.heads))
    title = f"RQ4, between models: {_TITLE}" if len(depths.profiles) > 1 else "RQ4: How deep, and doing what?"
    yield Section(title, parts, 2, "depths", "Depths", folded=True)


def depth_chart(profiles: Profiles, looks: Looks) -> Chart:
    """A panel for each function and emotion, a line for each model."""
    every = [m for rows in profiles.values() for m in rows if m.statistic == LAYER_SHARE]
    functions = [f.name for f in FUNCTIONS if any(m.kind == f.name for m in every)]
    x_axis = Axis("relative depth", 0.0, 1.0, tuple((t / 4, f"{t / 4:g}") for t in range(5)))
    panels = []
    for function in functions:
        values = [v for m in every if m.kind == function for v in (m.ci_low, m.ci_high, m.null_low, m.null_high)]
        y_axis = Axis("share", *finite_range(values, 0.0, 0.3))
        row = []
        for emotion in looks.in_order(m.emotion for m in every):
            lines = {
                name: sorted((m for m in rows if (m.kind, m.emotion) == (function, emotion)), key=lambda m: m.layer)
                for name, rows in profiles.items()
            }
            series = [_series(name, own, place) for place, (name, own) in enumerate(lines.items()) if own]
            bands = [
                Band(_at(own), tuple(m.null_low for m in own), tuple(m.null_high for m in own))
                for own in lines.values()
                if own
            ]
            row.append(Panel(looks.label(emotion), x_axis, y_axis, tuple(series), tuple(bands), (Level(0.0, ""),)))
        panels.append(tuple(row))
    return Chart(tuple(panels), tuple(functions), 1.25, 0.8)


def _at(measures: Sequence[Measure]) -> tuple[float, ...]:
    n = 1 + max(m.layer for m in measures)
    return tuple((m.layer + 0.5) / n for m in measures)


def _series(name: str, measures: Sequence[Measure], place: int) -> Series:
    hover = tuple(
        f"layer {m.layer}: {number(m.value)} {interval(m.ci_low, m.ci_high)}, p {equals(m.p)}, n {m.n_unique}"
        for m in measures
    )
    colour, dash = model_line(place)
    return Series(
        name, _at(measures), tuple(m.value for m in measures), tuple(m.ci_low for m in measures),
        tuple(m.ci_high for m in measures), colour=colour, dash=dash, label=short_name(name), hover=hover,
    )  # fmt: skip


def _caption() -> str:
    return (
        "What a layer's heads and units do for an emotion, minus the same for the neutral prompt of the scenario, as a "
        f"signed share of all layers. {'; '.join(f'{f.name}: {f.meaning}' for f in FUNCTIONS)}. Shaded: 95 % intervals "
        "over scenarios; grey: 95 % of the shares when scenarios' signs are flipped, chance 0."
    )


def pair_sentence(rows: Sequence[cmp.PairMeasure]) -> str:
    """How alike two models are, in words."""
    overall = _one(rows, cmp.ALL_FUNCTIONS, cmp.DEPTH_CORRELATION)
    if overall is None:
        return f"{rows[0].model_a} and {rows[0].model_b}: not tested, too few scenarios have a pair in both."
    by_function = [m for f in FUNCTIONS for m in [_one(rows, f.name, cmp.DEPTH_CORRELATION)] if m is not None]
    alike = [f"{m.kind} {number(m.value)}" for m in by_function if m.p <= ALPHA]
    moved = [m for f in FUNCTIONS for m in [_one(rows, f.name, cmp.DEPTH_DIFFERENCE)] if m is not None]
    furthest = max((m for m in moved if m.ci_low > 0 or m.ci_high < 0), key=lambda m: abs(m.value), default=None)
    tested = [q for q in cmp.adjusted(rows) if q is not None]
    beyond = f"beyond chance for {', '.join(alike)}" if alike else "beyond chance for no function"
    own = _one(rows, cmp.ALL_FUNCTIONS, cmp.OWN_FUNCTION)
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
        f"{number(overall.ceiling)}), {beyond}; {sum(q <= ALPHA for q in tested)} of {len(tested)} single profiles "
        f"remain after adjusting.{apart}"
    )


def _one(rows: Sequence[cmp.PairMeasure], kind: str, statistic: str) -> cmp.PairMeasure | None:
    return next((m for m in rows if (m.emotion, m.kind, m.statistic) == (cmp.ALL, kind, statistic)), None)


def _pairs_table(pairs: Sequence[Sequence[cmp.PairMeasure]]) -> str:
    """Means over emotions for every pair of models, by function."""
    body = []
    for rows in pairs:
        for m in (m for m in rows if m.emotion == cmp.ALL and m.statistic != cmp.DEPTH_DIFFERENCE):
            deeper = None if m.statistic in _OWN else _one(rows, m.kind, cmp.DEPTH_DIFFERENCE)
            by = "" if deeper is None else with_interval(number(deeper.value), interval(deeper.ci_low, deeper.ci_high))
            body.append([
                f"{escape(m.model_a)}, {escape(m.model_b)}", escape(_OWN.get(m.statistic, m.kind)),
                with_interval(number(m.value), interval(m.ci_low, m.ci_high)),
                with_interval(number(m.chance), interval(m.null_low, m.null_high)), number(m.ceiling), p_value(m.p), by,
                str(m.n_unique),
            ])  # fmt: skip
    return table(
        "Correlation of two models' profiles over relative depth, mean over emotions. By chance: the layers of one "
        "model in any order (last two rows of a pair: functions, emotions relabelled; for three, p ≥ 1/6). Ceiling: "
        "what two such profiles could reach, from split halves of each model's scenarios. First deeper by: difference "
        "of the mean relative depths. n: scenarios with a pair in both. p is not adjusted; no claim rests on it.",
        ("Models", "What", "Correlation [95 % interval]", "By chance, 95 %", "Ceiling", "p", "First deeper by", "n"),
        body, "Depths and functions",
    )  # fmt: skip


def _heads_table(heads: Sequence[HeadFunction]) -> str:
    """The best heads of each model and emotion that do anything beyond chance."""
    body = []
    for key in dict.fromkeys((h.model, h.emotion) for h in heads):
        for h in [h for h in heads if (h.model, h.emotion) == key and h.does != NOTHING][:_HEADS_SHOWN]:
            body.append([
                escape(h.model), escape(h.emotion), f"{h.layer}:{h.head}", f"{h.depth:.2f}", escape(h.does),
                _triple(h.carries, h.carries_low, h.carries_high, h.p_carries),
                _triple(h.reads, h.reads_low, h.reads_high, h.p_reads),
                _triple(h.writes, h.writes_low, h.writes_high, h.p_writes), str(h.n_unique),
            ])  # fmt: skip
    if not body:
        return ""
    return table(
        f"Up to {_HEADS_SHOWN} of the best heads by estimated effect, with what they do beyond chance: carried effect "
        "on the outcome in nats, attention to the emotion's word, and what is written along the direction at the last "
        "token, each the emotion's prompt minus the neutral one. Chance is 0; p by sign flips over scenarios, max-T "
        "over heads.",
        ("Model", "Emotion", "Head", "Depth", "Does", "Carries", "Reads", "Writes", "n"), body, "What heads do",
    )  # fmt: skip


def _triple(value: float, low: float, high: float, p: float) -> str:
    return (
        "–" if value != value else f"{with_interval(number(value), interval(low, high))} <small>p {equals(p)}</small>"
    )
