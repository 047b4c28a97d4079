"""Layer profiles: how good directions are from the embedding to the last layer, beside chance and floors."""

from __future__ import annotations

import math
from collections.abc import Sequence

from emotion_circuits.report._chart import Axis, Band, Chart, Level, Panel, Rule, Series, finite_range
from emotion_circuits.report._results import CLAIM_POSITION, ModelResults
from emotion_circuits.report._style import emotion_colour, emotion_marker, equals, interval, layer_name, number, short
from emotion_circuits.report._words import floor_name
from emotion_circuits.statistics import EMBED_LAYER, Measure

AUROC_IMPLICIT = "AUROC on implicit texts"
AUROC_REAL = "AUROC on real-world texts"
AUROC_EXPLICIT = "AUROC on explicit test texts, held out"
SPLIT_HALF = "split-half cosine"
PAIR_COSINE = "cosine of a pair's difference with the others' mean"
ACCURACY = "nearest-centroid accuracy, held out by scenario"
_TOP = 1.08  # leaves room for the names of the chosen layers
KIND_DASHES = {"probe": "dot", "pca": "dash", "lda": "solid"}
FLOOR_DASHES = {"embedding": "longdash", "untrained": "dashdot"}
_NULL_WORDS = "the grey band holds 95 % of the null (labels permuted within scenarios)"


def layer_profiles(model: ModelResults) -> list[Chart]:
    """The charts for which the model has rows."""
    charts = [
        _by_position(
            model, AUROC_IMPLICIT, "specific", "auroc_implicit", "Does the direction recognise the emotion unnamed?",
            "AUROC",
            f"Specific directions on texts that never name the emotion: the line with its shaded 95 % interval means "
            f"something where it lies above the grey band of the null and above every dashed floor; dotted verticals "
            f"mark the layer chosen on development scenarios, and only the row {CLAIM_POSITION!r} carries claims.",
            floor=0.3,
        ),
        _by_position(
            model, SPLIT_HALF, "specific", "split_half", "Do two halves of the scenarios give the same direction?",
            "cosine",
            f"Cosine between specific directions made from two independent halves of the scenarios: 1 is a perfectly "
            f"stable direction, and {_NULL_WORDS}.",
            floor=-0.2,
        ),
        _by_position(
            model, PAIR_COSINE, "matched", "pair_cosine", "How alike are the pairs' own differences?",
            "cosine",
            "Cosine of each scenario's difference (emotion minus neutral) with the mean of the others': the higher, "
            "the better a direction should steer; the grey band holds 95 % of the null (signs flipped).",
            floor=-0.1,
        ),
        _accuracy(model),
        _by_texts(model),
        _estimators(model),
    ]  # fmt: skip
    return [chart for chart in charts if chart is not None]


def _by_position(
    model: ModelResults, statistic: str, kind: str, key: str, title: str, unit: str, caption: str, floor: float
) -> Chart | None:
    positions = model.positions("quality", statistic)
    emotions = model.emotions("quality")
    rows = [[model.rows("quality", statistic, emotion=e, position=p, kind=kind) for e in emotions] for p in positions]
    if not any(any(row) for row in rows):
        return None
    y_axis = value_axis(unit, [cell for row in rows for cell in row], floor, _TOP)
    x_axis = layer_axis([m for row in rows for cell in row for m in cell])
    panels = []
    for position, row in zip(positions, rows, strict=True):
        cells = []
        for emotion, measures in zip(emotions, row, strict=True):
            levels = floor_levels(model, emotion, position, statistic, measures) if statistic == AUROC_IMPLICIT else ()
            cells.append(
                Panel(
                    emotion, x_axis, y_axis,
                    (layer_series(measures, emotion, unit),) if measures else (),
                    null_bands(measures),
                    (*levels, *chance_level(measures)),
                    chosen_rule(model, emotion, position),
                )
            )  # fmt: skip
        panels.append(tuple(cells))
    alt = f"{statistic} of {model.name} by layer for {', '.join(emotions)}, one row for each position. " + best_words(
        model, statistic, kind
    )
    gutter = 1.15 if statistic == AUROC_IMPLICIT else 0.95
    return Chart(key, f"{model.name}: {title}", caption, alt, tuple(panels), positions, 1.5, gutter)


def _accuracy(model: ModelResults) -> Chart | None:
    positions = model.positions("quality", ACCURACY)
    rows = [model.rows("quality", ACCURACY, position=p) for p in positions]
    if not any(rows):
        return None
    y_axis = value_axis("accuracy", rows, 0.0, _TOP)
    x_axis = layer_axis([m for row in rows for m in row], 7)
    panels = tuple(
        Panel(p, x_axis, y_axis, (layer_series(row, "all", "accuracy"),), null_bands(row), chance_level(row))
        for p, row in zip(positions, rows, strict=True)
    )
    return Chart(
        "accuracy",
        f"{model.name}: Can the classes be told apart?",
        f"Share of held-out scenarios' texts whose nearest class mean is their own, one panel for each position; "
        f"{_NULL_WORDS}, near one in {len(model.emotions('quality')) + 1}.",
        f"Nearest-centroid accuracy of {model.name} by layer, one panel for each position. "
        + best_words(model, ACCURACY, "centroid"),
        (panels,),
        ("all classes",),
        1.7,
        0.95,
    )


def _by_texts(model: ModelResults) -> Chart | None:
    statistics = {AUROC_IMPLICIT: "implicit", AUROC_REAL: "real-world", AUROC_EXPLICIT: "explicit"}
    emotions = model.emotions("quality")
    found = {
        s: [model.rows("quality", s, emotion=e, position=CLAIM_POSITION, kind="specific") for e in emotions]
        for s in statistics
    }
    found = {s: row for s, row in found.items() if any(row)}
    if not found:
        return None
    x_axis = layer_axis([m for row in found.values() for cell in row for m in cell])
    panels = []
    for statistic, row in found.items():
        probes = [model.rows("quality", statistic, emotion=e, position=CLAIM_POSITION, kind="probe") for e in emotions]
        y_axis = value_axis("AUROC", [*row, *probes], 0.3, _TOP)
        panels.append(
            tuple(
                Panel(
                    emotion, x_axis, y_axis,
                    (*((layer_series(cell, emotion, "AUROC", label="mean diff."),) if cell else ()),
                     *((layer_series(probe, "ink", "AUROC", kind="probe", label="probe"),) if probe else ())),
                    null_bands(cell),
                    (*floor_levels(model, emotion, CLAIM_POSITION, statistic, cell), *chance_level(cell)),
                    chosen_rule(model, emotion, CLAIM_POSITION),
                )
                for emotion, cell, probe in zip(emotions, row, probes, strict=True)
            )
        )  # fmt: skip
    return Chart(
        "auroc_by_texts",
        f"{model.name}: On which texts does the direction work?",
        f"AUROC at position {CLAIM_POSITION!r} on three kinds of text, mean differences (coloured, shaded 95 % "
        "interval) beside logistic probes (thin) and the floors on the same texts: explicit texts name the emotion, "
        "so that row only describes.",
        f"AUROC of {model.name} by layer on {', '.join(statistics[s] for s in found)} texts, for "
        f"{', '.join(emotions)}.",
        tuple(panels),
        tuple(statistics[s] for s in found),
        1.6,
        1.15,
    )


def _estimators(model: ModelResults) -> Chart | None:
    emotions = model.emotions("quality")
    thin = ("probe", "pca", "lda")
    rows = {
        kind: [model.rows("quality", AUROC_IMPLICIT, emotion=e, position=CLAIM_POSITION, kind=kind) for e in emotions]
        for kind in ("specific", *thin)
    }
    if not any(any(rows[kind]) for kind in ("pca", "lda")):
        return None
    x_axis = layer_axis([m for cells in rows.values() for cell in cells for m in cell])
    y_axis = value_axis("AUROC", [cell for cells in rows.values() for cell in cells], 0.3, _TOP)
    panels = []
    for i, emotion in enumerate(emotions):
        main = rows["specific"][i]
        others = [layer_series(rows[k][i], "ink", "AUROC", kind=k, label=k) for k in thin]
        panels.append(
            Panel(
                emotion, x_axis, y_axis,
                (*((layer_series(main, emotion, "AUROC", label="mean diff."),) if main else ()),
                 *(series for series in others if series.x)),
                null_bands(main), chance_level(main), chosen_rule(model, emotion, CLAIM_POSITION),
            )
        )  # fmt: skip
    return Chart(
        "estimators",
        f"{model.name}: Does it matter how the direction is found?",
        f"AUROC on implicit texts at position {CLAIM_POSITION!r} of the difference of means, specific to the emotion "
        "(coloured, shaded 95 % interval; the grey band holds 95 % of its null), beside a logistic probe, the first "
        "component of paired differences with neutral (pca) and a linear discriminant (lda): descriptive, claims are "
        "made for the mean difference only.",
        f"AUROC of {model.name} by layer on implicit texts for {', '.join(emotions)}, one line for each estimator.",
        (tuple(panels),),
        ("implicit",),
        1.9,
        0.95,
    )


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


def value_axis(unit: str, cells: Sequence[Sequence[Measure]], low: float, high: float) -> Axis:
    """An axis that holds all values, intervals and nulls, and at least `low` to `high`."""
    values = [v for cell in cells for m in cell for v in (m.value, m.ci_low, m.ci_high, m.null_low, m.null_high)]
    return Axis(unit, *finite_range(values, low, high, 0.03))


def layer_series(
    measures: Sequence[Measure], emotion: str, unit: str, kind: str = "specific", label: str = ""
) -> Series:
    """A line over layers: of the specific direction with its interval, of other kinds thin and without."""
    main = kind == "specific"
    return Series(
        name=emotion if main else kind,
        x=tuple(float(m.layer) for m in measures),
        y=tuple(m.value for m in measures),
        low=tuple(m.ci_low for m in measures) if main else (),
        high=tuple(m.ci_high for m in measures) if main else (),
        colour=emotion_colour(emotion) if main else "ink",
        width=1.8 if main else 1.0,
        marker=emotion_marker(emotion) if main else "",
        dash="solid" if main else KIND_DASHES[kind],
        label=label,
        hover=tuple(measure_words(m, unit) for m in measures),
    )


def measure_words(m: Measure, unit: str) -> str:
    """A measure in one line, with its chance level."""
    words = [f"layer {layer_name(m.layer)}: {unit} {number(m.value)} {interval(m.ci_low, m.ci_high)}".rstrip()]
    words.append(f"chance {number(m.chance)}")
    if interval(m.null_low, m.null_high):
        words.append(f"95 % of the null {interval(m.null_low, m.null_high)}")
    if math.isfinite(m.p):
        words.append(f"p {equals(m.p)} (not adjusted)")
    return "\n".join([*words, f"n = {m.n_unique}"])


def null_bands(measures: Sequence[Measure]) -> tuple[Band, ...]:
    """Where 95 % of the null lies, by layer."""
    known = [m for m in measures if math.isfinite(m.null_low) and math.isfinite(m.null_high)]
    if not known:
        return ()
    return (
        Band(
            tuple(float(m.layer) for m in known),
            tuple(m.null_low for m in known),
            tuple(m.null_high for m in known),
        ),
    )


def chance_level(measures: Sequence[Measure]) -> tuple[Level, ...]:
    """The chance level, mean over layers."""
    known = [m.chance for m in measures if math.isfinite(m.chance)]
    if not known:
        return ()
    mean = sum(known) / len(known)
    return (Level(mean, f"chance {short(mean)}", "dot"),)


def floor_levels(
    model: ModelResults, emotion: str, position: str, statistic: str, measures: Sequence[Measure]
) -> tuple[Level, ...]:
    """What something simpler reaches on the same texts, as far as it was measured at the position.

    Only untrained models read a position, and only where claims are made. The claim's own floors
    come first where there is a claim.
    """
    floors: dict[str, float] = {}
    for m in model.rows("quality", statistic, emotion=emotion, kind="floor: "):
        name = "untrained" if "untrained" in m.kind else m.kind.removeprefix("floor: ").replace(" ", "_")
        if name != "untrained" or m.position == position:
            floors[name] = max(m.value, floors.get(name, m.value))
    embed = [m.value for m in measures if m.layer == EMBED_LAYER]
    if embed:
        floors["embedding"] = embed[0]
    claim = model.claim("rq1.separability", emotion)
    if claim is not None and statistic == AUROC_IMPLICIT:
        own = position == CLAIM_POSITION
        floors |= {name: value for name, value in claim.floors.items() if own or name == "bag_of_words"}
    return tuple(
        Level(value, f"{floor_name(name)} {short(value)}", FLOOR_DASHES.get(name, "dash"))
        for name, value in sorted(floors.items())
    )


def chosen_rule(model: ModelResults, emotion: str, position: str) -> tuple[Rule, ...]:
    """Where the layer chosen on development scenarios is."""
    layer = model.chosen.get(position, {}).get(emotion)
    return () if layer is None else (Rule(float(layer), f"chosen: {layer}"),)


def best_words(model: ModelResults, statistic: str, kind: str) -> str:
    """The best layers in words, for those who cannot see the chart."""
    rows = model.rows("quality", statistic, position=CLAIM_POSITION, kind=kind)
    if not rows:
        return ""
    words = []
    for emotion in dict.fromkeys(m.emotion for m in rows):
        best = max((m for m in rows if m.emotion == emotion), key=lambda m: (m.value, -m.layer))
        words.append(f"{emotion} {number(best.value)} at layer {layer_name(best.layer)} (chance {number(best.chance)})")
    return f"Highest values at position {CLAIM_POSITION}: {'; '.join(words)}."
