"""Charts of what a direction answers to: words or the emotion (foils), and how much of it (intensity)."""

from __future__ import annotations

from collections.abc import Sequence

from emotion_circuits.directions import EXPLICIT_OVER_FOILS, FOIL_RATE, HIT_RATE, IMPLICIT_OVER_FOILS, INTENSITY
from emotion_circuits.report._chart import Chart, Level, Panel, Series
from emotion_circuits.report._profiles import (
    best_words,
    chance_level,
    chosen_rule,
    floor_levels,
    layer_axis,
    layer_series,
    measure_words,
    null_bands,
    value_axis,
)
from emotion_circuits.report._results import CLAIM_POSITION, ModelResults
from emotion_circuits.report._style import short
from emotion_circuits.statistics import Measure

_TOP = 1.08


def foil_charts(model: ModelResults) -> list[Chart]:
    """The charts for which the model has rows."""
    return [chart for chart in (_foils(model), _intensity(model)) if chart is not None]


def _rows(model: ModelResults, statistic: str, emotion: str) -> list[Measure]:
    return model.rows("quality", statistic, emotion=emotion, position=CLAIM_POSITION, kind="specific")


def _foils(model: ModelResults) -> Chart | None:
    emotions = [e for e in model.emotions("quality") if _rows(model, FOIL_RATE, e)]
    if not emotions:
        return None
    aurocs = {s: [_rows(model, s, e) for e in emotions] for s in (EXPLICIT_OVER_FOILS, IMPLICIT_OVER_FOILS)}
    x_axis = layer_axis(_rows(model, FOIL_RATE, emotions[0]))
    panels = [tuple(_shares(model, emotion) for emotion in emotions)]
    for statistic, cells in aurocs.items():
        y_axis = value_axis("AUROC", cells, 0.0, _TOP)
        panels.append(
            tuple(
                Panel(
                    emotion, x_axis, y_axis, (layer_series(cell, emotion, "AUROC"),) if cell else (), null_bands(cell),
                    (*floor_levels(model, emotion, CLAIM_POSITION, statistic, cell), *chance_level(cell)),
                    chosen_rule(model, emotion, CLAIM_POSITION),
                )
                for emotion, cell in zip(emotions, cells, strict=True)
            )
        )  # fmt: skip
    return Chart(
        "foils",
        f"{model.name}: Is it the emotion, or only its words?",
        f"Foils are texts that hold a word of the emotion without the emotion. Top: how many of them lie over the "
        f"threshold (halfway between emotional and neutral development texts), beside neutral texts and texts that do "
        f"have the emotion; the grey band holds 95 % of what as many neutral texts would give. Below: whether true "
        f"texts score above foils; implicit ones lack the words that foils have, so there a bag of words falls below "
        f"chance. Directions from development texts, position {CLAIM_POSITION!r}.",
        f"Foils in {model.name} by layer for {', '.join(emotions)}: share over the threshold, and AUROC of explicit "
        f"and of implicit texts over foils. " + best_words(model, IMPLICIT_OVER_FOILS, "specific"),
        tuple(panels),
        ("over threshold", "explicit", "implicit"),
        1.6,
        1.15,
    )


def _shares(model: ModelResults, emotion: str) -> Panel:
    foils, hits = _rows(model, FOIL_RATE, emotion), _rows(model, HIT_RATE, emotion)
    words = model.rows("quality", FOIL_RATE, emotion=emotion, kind="floor: bag of words")
    return Panel(
        emotion,
        layer_axis(foils),
        value_axis("share", [foils, hits], 0.0, _TOP),
        (
            layer_series(foils, emotion, "share of foils", label="foils"),
            _thin("texts with the emotion", "with emotion", hits, [m.value for m in hits], "dash"),
            _thin("neutral texts", "neutral", foils, [m.chance for m in foils], "dot"),
        ),
        null_bands(foils),
        tuple(Level(m.value, f"bag of words {short(m.value)}", "dash") for m in words),
        chosen_rule(model, emotion, CLAIM_POSITION),
    )


def _thin(name: str, label: str, measures: Sequence[Measure], values: Sequence[float], dash: str) -> Series:
    return Series(
        name=name, x=tuple(float(m.layer) for m in measures), y=tuple(values), width=1.0, marker="", dash=dash,
        label=label, hover=tuple(measure_words(m, "share") for m in measures),
    )  # fmt: skip


def _intensity(model: ModelResults) -> Chart | None:
    emotions = [e for e in model.emotions("quality") if _rows(model, INTENSITY, e)]
    if not emotions:
        return None
    cells = [_rows(model, INTENSITY, emotion) for emotion in emotions]
    y_axis = value_axis("Spearman", cells, -0.6, _TOP)
    panels = tuple(
        Panel(
            emotion, layer_axis(cell), y_axis, (layer_series(cell, emotion, "Spearman"),), null_bands(cell),
            (*floor_levels(model, emotion, CLAIM_POSITION, INTENSITY, cell), *chance_level(cell)),
            chosen_rule(model, emotion, CLAIM_POSITION),
        )
        for emotion, cell in zip(emotions, cells, strict=True)
    )  # fmt: skip
    return Chart(
        "intensity",
        f"{model.name}: Does the projection grow with the favour, the offence, the harm?",
        f"Spearman correlation, within a series, of a text's projection with its step, mean over "
        f"{cells[0][0].n_unique} series in which only the size of what happened grows and the emotion is never named; "
        f"the grey band holds 95 % of the null (steps permuted within series), the shaded interval is a bootstrap over "
        f"so few series that it only hints. Position {CLAIM_POSITION!r}.",
        f"Correlation of projection and intensity in {model.name} by layer for {', '.join(emotions)}. "
        + best_words(model, INTENSITY, "specific"),
        (panels,),
        ("intensity",),
        1.8,
        1.5,
    )
