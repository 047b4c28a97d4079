"""Dose–response curves, on development contexts and on test contexts beside their controls."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence

import numpy as np

from emotion_circuits.interventions import CONTINUATIONS, PERPLEXITY, WORD_SET
from emotion_circuits.report._chart import Axis, Band, Chart, Label, Level, Panel, Rule, Series, finite_range
from emotion_circuits.report._results import ModelResults
from emotion_circuits.report._style import emotion_colour, emotion_marker, equals, interval, number, ramp
from emotion_circuits.statistics import SIDE_CONDITION_LIMITS, Measure

SLOPE = "slope of own word-set log-odds"
MAX_PERPLEXITY = SIDE_CONDITION_LIMITS["perplexity_ratio"]
_DOSE = re.compile(r"dose (-?[\d.]+(?:e-?\d+)?)$")
_DOSE_LABEL = "dose (multiples of the median residual norm)"
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


def dose_charts(model: ModelResults) -> list[Chart]:
    """The charts for which the model has rows."""
    charts = [_development(model), _test(model), _controls(model)]
    return [chart for chart in charts if chart is not None]


def _steering_layer(model: ModelResults) -> int | None:
    return next((m.layer for m in model.measures.get("steering", ())), None)


def _development(model: ModelResults) -> Chart | None:
    emotions = model.emotions("sweep")
    if not emotions:
        return None
    chosen = _steering_layer(model)
    panels = []
    titles = []
    for statistic, title, unit, clean in _OUTCOMES:
        cells = [model.rows("sweep", statistic, emotion=e) for e in emotions]
        if not any(cells):
            continue
        y_axis = _outcome_axis(statistic, unit, [m for cell in cells for m in cell])
        x_axis = _dose_axis([m for cell in cells for m in cell])
        row = []
        for emotion, cell in zip(emotions, cells, strict=True):
            layers = sorted({m.layer for m in cell})
            curves = []
            for place, layer in enumerate(layers):
                points = [m for m in cell if m.layer == layer]
                curves.append(_curve(points, emotion, unit, clean, place, len(layers), layer == chosen))
            curves.sort(key=lambda s: s.width)  # the chosen layer is drawn on top
            row.append(Panel(emotion, x_axis, y_axis, tuple(curves), levels=_clean_levels(statistic, clean)))
        panels.append(tuple(row))
        titles.append(title)
    if not panels:
        return None
    words = "" if chosen is None else f" The coloured curve is layer {chosen}, chosen here for the test."
    return Chart(
        "dose_development",
        f"{model.name}: What does a dose of each direction do, layer by layer?",
        "Development contexts: change from the clean run when the direction is added at one layer (grey curves, "
        "stronger is deeper; 95 % intervals over contexts), which should rise from left to right, while the perplexity "
        f"ratio below stays under the line at {MAX_PERPLEXITY:g}.{words}",
        f"Dose–response curves of {model.name} on development contexts for {', '.join(emotions)}: change of the "
        "log-odds of the emotion's own words, of the likelihood of its continuations, and the perplexity ratio.",
        tuple(panels),
        tuple(titles),
        1.75,
        0.6,
    )


def _curve(
    points: Sequence[Measure], emotion: str, unit: str, clean: float, place: int, n: int, chosen: bool, label: str = ""
) -> Series:
    """One layer's curve through the clean run at dose 0, where nothing changed by definition."""
    rows = sorted(((dose, m) for m in points if (dose := dose_of(m)) is not None), key=lambda pair: pair[0])
    zero = (0.0, clean, clean, clean, "dose 0: the clean run")
    found = [(d, m.value, m.ci_low, m.ci_high, _dose_words(d, m, unit)) for d, m in rows]
    full = sorted([*found, zero], key=lambda f: f[0])
    layer = points[0].layer
    # Bars of different layers stand beside each other, not on each other.
    width = min((b[0] - a[0] for a, b in itertools.pairwise(full)), default=0.1)
    shift = 0.0 if chosen else (place - (n - 1) / 2) * width * 0.1
    return Series(
        name=f"layer {layer}",
        x=tuple(f[0] + (shift if f[0] else 0.0) for f in full),
        y=tuple(f[1] for f in full),
        low=tuple(f[2] for f in full),
        high=tuple(f[3] for f in full),
        colour=emotion_colour(emotion) if chosen else ramp(place, n),
        shaded=chosen,
        width=2.2 if chosen else 1.1,
        marker=emotion_marker(emotion) if chosen else "",
        label=label or f"layer {layer}",
        hover=tuple(f[4] for f in full),
    )


def _dose_words(dose: float, m: Measure, unit: str) -> str:
    value = f"dose {number(dose)}: {number(m.value)} {interval(m.ci_low, m.ci_high)}".rstrip()
    return f"layer {m.layer}, {value}\n{unit}\nthe clean run has {number(m.chance)}, n = {m.n_unique}"


def _dose_axis(measures: Sequence[Measure]) -> Axis:
    doses = sorted({d for m in measures if (d := dose_of(m)) is not None} | {0.0})
    room = (doses[-1] - doses[0]) * 0.05 or 0.1
    shown = [d for d in doses if d in (0.0, doses[0], doses[-1]) or abs(d) >= 0.2 * max(map(abs, doses))]
    ticks = tuple((d, f"{d:g}".replace("-", "−")) for d in shown)
    return Axis(_DOSE_LABEL, doses[0] - room, doses[-1] + room, ticks)


def _outcome_axis(statistic: str, unit: str, measures: Sequence[Measure]) -> Axis:
    values = [v for m in measures for v in (m.value, m.ci_low, m.ci_high)]
    if statistic != PERPLEXITY:
        return Axis(unit, *finite_range(values, -0.1, 0.1))
    low, high = finite_range(values, 0.9, 1.6, 0.04)
    if high < 4:
        return Axis(unit, low, high)
    steps = [t for t in (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 100, 1e3, 1e4, 1e6, 1e9) if low * 0.9 <= t <= high * 1.3]
    low = max(min(v for v in [*values, 0.8] if math.isfinite(v) and v > 0) * 0.9, 1e-3)
    return Axis(unit, low, min(high * 1.3, 1e12), tuple((float(t), f"{t:g}") for t in steps), log=True)


def _clean_levels(statistic: str, clean: float) -> tuple[Level, ...]:
    if statistic == PERPLEXITY:
        return (Level(1.0, "", "dot"), Level(MAX_PERPLEXITY, f"limit {MAX_PERPLEXITY:g}"))
    return (Level(clean, "", "dot"),)


def _slopes(model: ModelResults, emotion: str) -> dict[str, Measure]:
    """Slope rows by the controls they stand against."""
    rows = model.rows("steering", SLOPE, emotion=emotion)
    return {kind: m for kind in _KINDS for m in rows if f"against {kind}" in m.kind}


def _test(model: ModelResults) -> Chart | None:
    emotions = model.emotions("steering")
    panels, titles = [], []
    for statistic, title, unit, clean in _OUTCOMES:
        cells = [[m for m in model.rows("steering", statistic, emotion=e) if dose_of(m) is not None] for e in emotions]
        if not any(cells):
            continue
        fans = [
            _null_fans(_slopes(model, e), cell) if statistic == WORD_SET else ()
            for e, cell in zip(emotions, cells, strict=True)
        ]
        y_axis = _outcome_axis(statistic, unit, [m for cell in cells for m in cell])
        edges = [v for fan in fans for band in fan for v in (*band.low, *band.high)]
        if edges:
            y_axis = y_axis._replace(low=min(y_axis.low, *edges), high=max(y_axis.high, *edges))
        x_axis = _dose_axis([m for cell in cells for m in cell])
        panels.append(
            tuple(
                Panel(
                    emotion, x_axis, y_axis,
                    (_curve(cell, emotion, unit, clean, 0, 1, True, emotion),) if cell else (),
                    fan, _clean_levels(statistic, clean), notes=_fan_names(_slopes(model, emotion), fan),
                )
                for emotion, cell, fan in zip(emotions, cells, fans, strict=True)
            )
        )  # fmt: skip
        titles.append(title)
    if not panels:
        return None
    layer = _steering_layer(model)
    return Chart(
        "dose_test",
        f"{model.name}: Does it work on contexts never seen, and better than other directions? (layer {layer})",
        f"Test contexts at the layer and dose chosen before (layer {layer}), with 95 % intervals over contexts: the "
        "coloured line should leave the grey fans, which hold 95 % of the slopes of random directions of the same size "
        "with the covariance of generic text, and of directions made from shuffled labels (the harder control).",
        f"Steering {model.name} on test contexts along {', '.join(emotions)}, beside the range of control directions, "
        "with the perplexity ratio below.",
        tuple(panels),
        tuple(titles),
        1.75,
        0.8,
    )


def _null_fans(slopes: dict[str, Measure], cell: Sequence[Measure]) -> tuple[Band, ...]:
    """Where the controls' lines lie: their slopes' 95 % range times the dose."""
    doses = sorted({d for m in cell if (d := dose_of(m)) is not None} | {0.0})
    fans = []
    for kind in _FANS:
        m = slopes.get(kind)
        if m is None or not (math.isfinite(m.null_low) and math.isfinite(m.null_high)):
            continue
        ends = [sorted((m.null_low * d, m.null_high * d)) for d in doses]
        fans.append(Band(tuple(doses), tuple(e[0] for e in ends), tuple(e[1] for e in ends)))
    return tuple(fans)


def _fan_names(slopes: dict[str, Measure], fans: Sequence[Band]) -> tuple[Label, ...]:
    """The controls' names at the upper right ends of their fans."""
    kinds = [k for k in _FANS if k in slopes]
    return tuple(
        Label(fan.high[-1], kind.removesuffix("-label"), "muted") for kind, fan in zip(kinds, fans, strict=False)
    )


def _controls(model: ModelResults) -> Chart | None:
    frame = model.controls
    if frame is None or not len(frame):
        return None
    emotions = [
        e
        for e in dict.fromkeys((*model.emotions("steering"), *sorted(set(frame["emotion"]))))
        if (frame["emotion"] == e).any()
    ]
    observed = {e: _slopes(model, e) for e in emotions}
    kinds = [k for k in _KINDS if (frame["kind"] == k).any()]
    kinds += sorted(set(frame["kind"]) - set(kinds))
    values = [float(v) for v in frame["slope"]] + [m.ci_high for e in emotions for m in observed[e].values()]
    edges = np.linspace(*finite_range(values, 0.0, 0.0, 0.03), 37)
    x_axis = Axis("slope, nats per unit of dose", float(edges[0]), float(edges[-1]))
    panels, counts = [], []
    for kind in kinds:
        found = {e: frame[(frame["emotion"] == e) & (frame["kind"] == kind)]["slope"].to_numpy() for e in emotions}
        heights = {e: np.histogram(v, edges)[0] for e, v in found.items()}
        top = max(int(h.max()) for h in heights.values())
        y_axis = Axis("controls", 0.0, top * 1.22)
        counts.append(f"{kind} {max(len(v) for v in found.values())}")
        panels.append(
            tuple(
                _histogram(e, kind, edges, heights[e], len(found[e]), observed[e].get(kind), x_axis, y_axis)
                for e in emotions
            )
        )
    words = "; ".join(
        f"{e} {number(m.value)} against {interval(m.null_low, m.null_high)}"
        for e in emotions
        if (m := observed[e].get("covariance")) is not None
    )
    return Chart(
        "control_slopes",
        f"{model.name}: Is the effect larger than that of control directions?",
        "Slopes of the emotion's own log-odds along control directions of the same size (grey; "
        f"{', '.join(counts)}) and along the emotion's direction (coloured line, with its 95 % interval shaded): "
        "the effect counts where the line stands to the right of the grey.",
        f"Histograms of control slopes of {model.name} with the observed slope. {words}.",
        tuple(panels),
        tuple(kinds),
        1.35,
        0.3,
    )


def _histogram(
    emotion: str, kind: str, edges: np.ndarray, heights: np.ndarray, n: int, observed: Measure | None,
    x_axis: Axis, y_axis: Axis,
) -> Panel:  # fmt: skip
    steps_x = tuple(float(v) for v in np.repeat(edges, 2)[1:-1])
    steps_y = tuple(float(v) for v in np.repeat(heights, 2))
    hover = tuple(f"{number(v)} of {n} {kind} controls" for v in steps_y)
    outline = Series(f"{kind} controls", steps_x, steps_y, colour="null-strong", width=0.9, marker="", hover=hover)
    bands = [Band(steps_x, tuple(0.0 for _ in steps_x), steps_y, "null-strong")]
    rules: tuple[Rule, ...] = ()
    if observed is not None:
        colour = emotion_colour(emotion)
        words = f"{number(observed.value)}, p {equals(observed.p)}"
        rules = (Rule(observed.value, words, colour, "solid"),)
        if math.isfinite(observed.ci_low) and math.isfinite(observed.ci_high):
            top = y_axis.high
            bands.append(Band((observed.ci_low, observed.ci_high), (0.0, 0.0), (top, top), colour))
    return Panel(emotion, x_axis, y_axis, (outline,), tuple(bands), (), rules)
