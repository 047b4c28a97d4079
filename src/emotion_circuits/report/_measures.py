"""Measures as parts of charts: lines over layers with their interval, null and chance, and the same in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from emotion_circuits.comparison import PairMeasure
from emotion_circuits.report._chart import Axis, Band, Level, Panel, Rule, Series, finite_range
from emotion_circuits.report._results import CLAIM_POSITION, ModelResults
from emotion_circuits.report._style import equals, interval, layer_name, number, short
from emotion_circuits.report._words import floor_name
from emotion_circuits.statistics import EMBED_LAYER, Measure

AUROC_IMPLICIT = "AUROC on implicit texts"
_KIND_DASHES = {"probe": "dot", "pca": "dash", "lda": "solid"}
_FLOOR_DASHES = {"embedding": "longdash", "untrained": "dashdot"}
Cells = Sequence[Sequence[Measure]]


def measure_words(m: Measure | PairMeasure, unit: str, where: str = "") -> str:
    """A measure in words, with its chance level; where there are none, what the clean run has."""
    words = [f"{where}: {unit} {number(m.value)} {interval(m.ci_low, m.ci_high)}".strip(": ")]
    words.append(f"chance {number(m.chance)}")
    if interval(m.null_low, m.null_high):
        words.append(f"95 % of the null {interval(m.null_low, m.null_high)}")
    if math.isfinite(m.p):
        words.append(f"p {equals(m.p)} (not adjusted)")
    return "\n".join([*words, f"n = {m.n_unique}"])


def layer_panel(
    model: ModelResults, emotion: str, cells: Sequence[Measure], axes: tuple[Axis, Axis], *,
    position: str = CLAIM_POSITION,    label: str = "", thin: Sequence[Series] = (), levels: Sequence[Level] = (),
) -> Panel:  # fmt: skip
    """One emotion's line over layers with its interval, the null's band, chance, other levels and the chosen layer."""
    x_axis, y_axis = axes
    main = (layer_series(model, cells, emotion, y_axis.label, label),) if cells else ()
    return Panel(
        model.looks.label(emotion), x_axis, y_axis, (*main, *(one for one in thin if one.x)), null_bands(cells),
        (*levels, *chance_level(cells)), chosen_rule(model, emotion, position),
    )  # fmt: skip


def layer_axis(measures: Sequence[Measure], room: float = 9.5) -> Axis:
    """Layers, `embed` first; every tick where there is room for that many, else every few."""
    layers = sorted({m.layer for m in measures}) or [0]
    step = next(s for s in (1, 2, 4, 5, 8, 10, 20, 50, 1000) if len(layers) / s <= room)
    ticks = [(float(i), layer_name(i)) for i in layers if i >= 0 and i % step == 0]
    if EMBED_LAYER in layers:
        ticks.insert(0, (float(EMBED_LAYER), "emb" if step == 1 else "embed"))
        if step > 1:  # the name would run into layer 0's
            ticks = [t for t in ticks if t[0] != 0]
    return Axis("layer", layers[0] - 0.35, layers[-1] + 0.35, tuple(ticks))


def value_axis(unit: str, cells: Cells, low: float, high: float = 1.08) -> Axis:
    """An axis that holds all values, intervals and nulls, and at least `low` to `high`, which leaves room for names."""
    values = [v for cell in cells for m in cell for v in (m.value, m.ci_low, m.ci_high, m.null_low, m.null_high)]
    return Axis(unit, *finite_range(values, low, high, 0.03))


def layer_series(model: ModelResults, measures: Sequence[Measure], emotion: str, unit: str, label: str = "") -> Series:
    """The specific direction's line over layers with its interval."""
    return Series(
        model.looks.label(emotion), tuple(float(m.layer) for m in measures), tuple(m.value for m in measures),
        tuple(m.ci_low for m in measures), tuple(m.ci_high for m in measures), colour=model.looks.role(emotion),
        marker=model.looks.marker(emotion), label=label, hover=_hovers(measures, unit),
    )  # fmt: skip


def thin_series(
    measures: Sequence[Measure], unit: str, name: str, label: str = "", dash: str = "", values: Sequence[float] = ()
) -> Series:
    """A thin line without interval, of another kind of direction or of other `values` of the same rows."""
    return Series(
        name, tuple(float(m.layer) for m in measures), tuple(values or (m.value for m in measures)), width=1.0,
        marker="",        dash=dash or _KIND_DASHES[name], label=label or name, hover=_hovers(measures, unit),
    )  # fmt: skip


def _hovers(measures: Sequence[Measure], unit: str) -> tuple[str, ...]:
    return tuple(measure_words(m, unit, f"layer {layer_name(m.layer)}") for m in measures)


def null_bands(measures: Sequence[Measure]) -> tuple[Band, ...]:
    """Where 95 % of the null lies, by layer."""
    known = [m for m in measures if math.isfinite(m.null_low + m.null_high)]
    x, low, high = ([float(getattr(m, name)) for m in known] for name in ("layer", "null_low", "null_high"))
    return (Band(tuple(x), tuple(low), tuple(high)),) if known else ()


def chance_level(measures: Sequence[Measure]) -> tuple[Level, ...]:
    """The chance level, mean over layers."""
    known = [m.chance for m in measures if math.isfinite(m.chance)]
    return (Level(sum(known) / len(known), f"chance {short(sum(known) / len(known))}", "dot"),) if known else ()


def floor_levels(
    model: ModelResults, emotion: str, statistic: str, measures: Sequence[Measure], position: str = CLAIM_POSITION
) -> tuple[Level, ...]:
    """What something simpler reaches on the same texts, as far as it was measured at the position.

    Only untrained models read a position, and only where claims are made. The claim's own floors come first where there
    is a claim.
    """
    floors: dict[str, float] = {}
    for m in model.rows("quality", statistic, emotion=emotion, kind="floor: "):
        name = "untrained" if "untrained" in m.kind else m.kind.removeprefix("floor: ").replace(" ", "_")
        if name != "untrained" or m.position == position:
            floors[name] = max(m.value, floors.get(name, m.value))
    floors |= dict([("embedding", m.value) for m in measures if m.layer == EMBED_LAYER][:1])
    claim = model.claim("rq1.separability", emotion)
    if claim is not None and statistic == AUROC_IMPLICIT:
        own = position == CLAIM_POSITION
        floors |= {name: value for name, value in claim.floors.items() if own or name == "bag_of_words"}
    return tuple(
        Level(value, f"{floor_name(name)} {short(value)}", _FLOOR_DASHES.get(name, "dash"))
        for name, value in sorted(floors.items())
    )


def chosen_rule(model: ModelResults, emotion: str, position: str) -> tuple[Rule, ...]:
    """Where the layer chosen on development scenarios is."""
    layer = model.chosen.get(position, {}).get(emotion)
    return () if layer is None else (Rule(float(layer), f"chosen: {layer}"),)
