"""Dose–response curves, on development contexts and on test contexts beside their controls."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence

import numpy as np

from emotion_circuits.interventions import CONTINUATIONS, PERPLEXITY, WORD_SET
from emotion_circuits.report._chart import Axis, Band, Chart, Label, Level, Panel, Rule, Series, finite_range
from emotion_circuits.report._results import CONTROLS, ModelResults, Results, read_table
from emotion_circuits.report._sections import Picture, Section, pictured
from emotion_circuits.report._style import equals, interval, model_line, number, plain, ramp, short_name
from emotion_circuits.statistics import SIDE_CONDITION_LIMITS, Measure

SLOPE = "slope of own word-set log-odds"
MAX_PERPLEXITY = SIDE_CONDITION_LIMITS["perplexity_ratio"]
_DOSE = re.compile(r"dose (-?[\d.]+(?:e-?\d+)?)$")
_KINDS = ("covariance", "isotropic", "shuffled-label")
"""Kinds of controls, the one that p is taken from first."""
_FANS = ("shuffled-label", "covariance")
_OUTCOMES = (
    # statistic, row title, unit, value of the clean run
    (WORD_SET, "own words", "Δ log-odds, nats", 0.0),
    (CONTINUATIONS, "continuations", "Δ log p per token, nats", 0.0),
    (PERPLEXITY, "damage", "perplexity ratio", 1.0),
)


def dose_of(m: Measure) -> float | None:
    """The dose that a row's kind names."""
    found = _DOSE.search(m.kind)
    return float(found.group(1)) if found else None


def dose_sections(model: ModelResults) -> Iterator[Section]:
    """A section for each chart for which the model has rows."""
    chosen = next((m.layer for m in model.measures.get("steering", ())), None)
    curves = _curves(model, "sweep", chosen)
    if curves is not None:
        words = "" if chosen is None else f" The coloured curve is layer {chosen}, chosen here for the test."
        yield pictured(
            model, "dose_development", "What does a dose of each direction do, layer by layer?", curves,
            "Development contexts: change from the clean run when the direction is added at one layer (grey curves, "
            "stronger is deeper; 95 % intervals over contexts), which should rise from left to right, while the "
            f"perplexity ratio below stays under the line at {MAX_PERPLEXITY:g}.{words}",
        )  # fmt: skip
    curves = _curves(model, "steering", chosen)
    if curves is not None:
        yield pictured(
            model, "dose_test",
            f"Does it work on contexts never seen, and better than other directions? (layer {chosen})", curves,
            f"Test contexts at the layer and dose chosen before (layer {chosen}), with 95 % intervals over contexts: "
            "the coloured line should leave the grey fans, which hold 95 % of the slopes of random directions of the "
            "same size with the covariance of generic text, and of directions made from shuffled labels (the harder "
            "control).",
        )  # fmt: skip
    yield from _controls(model)


def dose_comparison(results: Results) -> Iterator[Section]:
    """Several models' curves on test contexts on one axis; nothing where fewer than two have them."""
    emotions = results.emotions
    panels, titles = [], []
    for statistic, title, unit, clean in _OUTCOMES:
        cells = {e: [_dosed(model, "steering", statistic, e) for model in results.models] for e in emotions}
        every = [m for cell in cells.values() for one in cell for m in one]
        if len({m.model for m in every}) < 2:
            continue
        bands = {
            e: [fan for model, own in zip(results.models, cell, strict=True) if own and statistic == WORD_SET
                for fan in [_null_fans(_slopes(model, e), own).get("covariance")] if fan is not None]
            for e, cell in cells.items()
        }  # fmt: skip
        y_axis = _outcome_axis(statistic, unit, every)
        edges = [v for own in bands.values() for band in own for v in (*band.low, *band.high)]
        y_axis = y_axis._replace(low=min([y_axis.low, *edges]), high=max([y_axis.high, *edges]))
        panels.append(
            tuple(
                Panel(
                    results.looks.label(e), _dose_axis(every), y_axis,
                    tuple(_of_model(own, unit, clean, place) for place, own in enumerate(cells[e]) if own),
                    tuple(bands[e]), (Level(clean, "", "dot"),),
                )
                for e in emotions
            )
        )  # fmt: skip
        titles.append(title)
    if panels:
        picture = Picture(
            "steering/models",
            Chart(tuple(panels), tuple(titles), 1.75, 1.0),
            "Between models: one axis of doses",
            "Test contexts, each model at the layer chosen for it: what the same dose of each model's own direction "
            "does. A dose is in spreads of the model's own generic text, so that it is as far in one model as in "
            "another. Grey: where 95 % of the lines of random directions with the covariance of generic text lie, one "
            "fan a model; under chance a model's line stays in its fan.",
        )
        yield Section("Does a dose do the same in every model?", [picture])


def _dosed(model: ModelResults, table: str, statistic: str, emotion: str) -> list[Measure]:
    return [m for m in model.rows(table, statistic, emotion=emotion) if dose_of(m) is not None]


def _of_model(points: Sequence[Measure], unit: str, clean: float, place: int) -> Series:
    colour, dash = model_line(place)
    rows = _through_clean(points, unit, clean)
    doses, values, low, high, hover = zip(*rows, strict=True)
    name = points[0].model
    return Series(name, doses, values, low, high, colour=colour, dash=dash, label=short_name(name), hover=hover)


def _curves(model: ModelResults, table: str, chosen: int | None) -> Chart | None:
    """A row for each outcome, a curve for each layer; on test contexts beside the fans of the controls' slopes."""
    emotions, test = model.emotions(table), table == "steering"
    panels, titles = [], []
    for statistic, title, unit, clean in _OUTCOMES:
        cells = [_dosed(model, table, statistic, e) for e in emotions]
        every = [m for cell in cells for m in cell]
        if not every:
            continue
        slopes = [_slopes(model, e) if test and statistic == WORD_SET else {} for e in emotions]
        fans = [_null_fans(found, cell) for found, cell in zip(slopes, cells, strict=True)]
        y_axis = _outcome_axis(statistic, unit, every)
        edges = [v for fan in fans for band in fan.values() for v in (*band.low, *band.high)]
        if edges:
            y_axis = y_axis._replace(low=min(y_axis.low, *edges), high=max(y_axis.high, *edges))
        levels = [Level(clean, "", "dot")]
        if statistic == PERPLEXITY:
            levels.append(Level(MAX_PERPLEXITY, f"limit {MAX_PERPLEXITY:g}"))
        row = []
        for emotion, cell, fan in zip(emotions, cells, fans, strict=True):
            layers = sorted({m.layer for m in cell})
            curves = [
                _curve(model, [m for m in cell if m.layer == layer], unit, clean, (place, len(layers)),
                       chosen=layer == chosen, label=model.looks.label(emotion) if test else f"layer {layer}")
                for place, layer in enumerate(layers)
            ]  # fmt: skip
            curves.sort(key=lambda s: s.width)  # the chosen layer is drawn on top
            names = tuple(Label(band.high[-1], kind.removesuffix("-label"), "muted") for kind, band in fan.items())
            row.append(
                Panel(model.looks.label(emotion), _dose_axis(every), y_axis, tuple(curves), tuple(fan.values()),
                      tuple(levels), notes=names)
            )  # fmt: skip
        panels.append(tuple(row))
        titles.append(title)
    return Chart(tuple(panels), tuple(titles), 1.75, 0.8 if test else 0.6) if panels else None


def _curve(
    model: ModelResults, points: Sequence[Measure], unit: str, clean: float, place: tuple[int, int], *, chosen: bool,
    label: str,
) -> Series:  # fmt: skip
    """One layer's curve through the clean run at dose 0, where nothing changed by definition."""
    full = _through_clean(points, unit, clean)
    # Bars of different layers stand beside each other, not on each other.
    width = min((b[0] - a[0] for a, b in itertools.pairwise(full)), default=0.1)
    shift = 0.0 if chosen else (place[0] - (place[1] - 1) / 2) * width * 0.1
    doses, values, low, high, hover = zip(*full, strict=True)
    emotion = points[0].emotion
    return Series(
        f"layer {points[0].layer}", tuple(d + (shift if d else 0.0) for d in doses), values, low, high,
        colour=model.looks.role(emotion) if chosen else ramp(*place), shaded=chosen, width=2.2 if chosen else 1.1,
        marker=model.looks.marker(emotion) if chosen else "", label=label, hover=hover,
    )  # fmt: skip


def _through_clean(points: Sequence[Measure], unit: str, clean: float) -> list[tuple[float, float, float, float, str]]:
    """Dose, value, interval and words of every point by dose, the clean run's at 0."""
    rows = [(dose, m.value, m.ci_low, m.ci_high, _words(dose, m, unit)) for m in points for dose in [dose_of(m) or 0.0]]
    return sorted([*rows, (0.0, clean, clean, clean, "dose 0: the clean run")])


def _words(dose: float, m: Measure, unit: str) -> str:
    value = f"dose {number(dose)}: {number(m.value)} {interval(m.ci_low, m.ci_high)}".rstrip()
    return f"{value}\n{unit}\nthe clean run has {number(m.chance)}, n = {m.n_unique}"


def _dose_axis(measures: Sequence[Measure]) -> Axis:
    doses = sorted({dose_of(m) or 0.0 for m in measures} | {0.0})
    room = (doses[-1] - doses[0]) * 0.05 or 0.1
    shown = [d for d in doses if d in (0.0, doses[0], doses[-1]) or abs(d) >= 0.2 * max(map(abs, doses))]
    label = "dose (spreads of generic text)"
    return Axis(label, doses[0] - room, doses[-1] + room, tuple((d, plain(d)) for d in shown))


def _outcome_axis(statistic: str, unit: str, measures: Sequence[Measure]) -> Axis:
    values = [v for m in measures for v in (m.value, m.ci_low, m.ci_high)]
    if statistic != PERPLEXITY:
        return Axis(unit, *finite_range(values, -0.1, 0.1))
    low, high = finite_range(values, 0.9, 1.6, 0.04)
    if high < 4:
        return Axis(unit, low, high)
    steps = [t for t in (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 100, 1e3, 1e4, 1e6, 1e9) if low * 0.9 <= t <= high * 1.3]
    low = max(min(v for v in [*values, 0.8] if math.isfinite(v) and v > 0) * 0.9, 1e-3)
    ticks = tuple((float(t), f"{t:g}") for t in steps if t >= low)
    return Axis(unit, low, min(high * 1.3, 1e12), ticks, log=True)


def _slopes(model: ModelResults, emotion: str) -> dict[str, Measure]:
    """Slope rows by the controls they stand against."""
    rows = model.rows("steering", SLOPE, emotion=emotion)
    return {kind: m for kind in _KINDS for m in rows if f"against {kind}" in m.kind}


def _null_fans(slopes: dict[str, Measure], cell: Sequence[Measure]) -> dict[str, Band]:
    """Where the controls' lines lie: their slopes' 95 % range times the dose."""
    doses = sorted({dose_of(m) or 0.0 for m in cell} | {0.0})
    fans = {}
    for kind in _FANS:
        m = slopes.get(kind)
        if m is not None and math.isfinite(m.null_low + m.null_high):
            ends = [sorted((m.null_low * d, m.null_high * d)) for d in doses]
            fans[kind] = Band(tuple(doses), tuple(e[0] for e in ends), tuple(e[1] for e in ends))
    return fans


def _controls(model: ModelResults) -> Iterator[Section]:
    path = model.file(CONTROLS)
    if not path.is_file():
        return
    frame = read_table(path, ("model", "emotion", "layer", "dose", "kind", "slope"))
    frame = frame[frame["model"] == model.name]
    emotions = model.looks.in_order(frame["emotion"])
    if not emotions:
        return
    observed = {e: _slopes(model, e) for e in emotions}
    found = set(frame["kind"])
    kinds = [k for k in _KINDS if k in found] + sorted(found - set(_KINDS))
    values = [float(v) for v in frame["slope"]] + [m.ci_high for e in emotions for m in observed[e].values()]
    edges = np.linspace(*finite_range(values, 0.0, 0.0, 0.03), 37)
    x_axis = Axis("slope, nats per unit of dose", float(edges[0]), float(edges[-1]))
    panels, counts = [], []
    for kind in kinds:
        slopes = {e: frame[(frame["emotion"] == e) & (frame["kind"] == kind)]["slope"].to_numpy() for e in emotions}
        heights = {e: np.histogram(v, edges)[0] for e, v in slopes.items()}
        y_axis = Axis("controls", 0.0, max(int(h.max()) for h in heights.values()) * 1.22)
        counts.append(f"{kind} {max(len(v) for v in slopes.values())}")
        panels.append(
            tuple(
                _histogram(model, e, kind, edges, heights[e], observed[e].get(kind), (x_axis, y_axis)) for e in emotions
            )
        )
    yield pictured(
        model, "control_slopes", "Is the effect larger than that of control directions?",
        Chart(tuple(panels), tuple(kinds), 1.35, 0.3),
        f"Slopes of the emotion's own log-odds along control directions of the same size (grey; {', '.join(counts)}) "
        "and along the emotion's direction (coloured line, with its 95 % interval shaded): the effect counts where the "
        "line stands to the right of the grey.",
    )  # fmt: skip


def _histogram(
    model: ModelResults, emotion: str, kind: str, edges: np.ndarray, heights: np.ndarray, observed: Measure | None,
    axes: tuple[Axis, Axis],
) -> Panel:  # fmt: skip
    x = tuple(float(v) for v in np.repeat(edges, 2)[1:-1])
    y = tuple(float(v) for v in np.repeat(heights, 2))
    outline = Series(f"{kind} controls", x, y, colour="null-strong", width=0.9, marker="")
    said = tuple(f"{n} of {heights.sum()} between {number(a)} and {number(b)}"
                 for n, a, b in zip(heights, edges, edges[1:], strict=False))  # fmt: skip
    middles = tuple(float(v) for v in (edges[1:] + edges[:-1]) / 2)
    bars = Series(f"{kind} controls", middles, tuple(map(float, heights)), width=0.0, marker="", hover=said)
    bands = [Band(x, tuple(0.0 for _ in x), y, "null-strong")]
    rules: tuple[Rule, ...] = ()
    if observed is not None:
        colour = model.looks.role(emotion)
        rules = (Rule(observed.value, f"{number(observed.value)}, p {equals(observed.p)}", colour, "solid"),)
        bands.append(Band((observed.ci_low, observed.ci_high), (0.0, 0.0), (axes[1].high, axes[1].high), colour))
    return Panel(model.looks.label(emotion), *axes, (outline, bars), tuple(bands), (), rules)
