"""How good directions are from the embedding to the last layer, beside chance and floors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from emotion_circuits.directions import EXPLICIT_OVER_FOILS, FOIL_RATE, HIT_RATE, IMPLICIT_OVER_FOILS, INTENSITY
from emotion_circuits.report._chart import Chart, Level, Panel
from emotion_circuits.report._measures import (
    AUROC_IMPLICIT,
    chance_level,
    floor_levels,
    layer_axis,
    layer_panel,
    layer_series,
    null_bands,
    thin_series,
    value_axis,
)
from emotion_circuits.report._results import CLAIM_POSITION, ModelResults
from emotion_circuits.report._sections import Section, pictured
from emotion_circuits.report._style import short
from emotion_circuits.statistics import Measure

SPLIT_HALF = "split-half cosine"
PAIR_COSINE = "cosine of a pair's difference with the others' mean"
ACCURACY = "nearest-centroid accuracy, held out by scenario"
_TEXTS = {
    AUROC_IMPLICIT: "implicit", "AUROC on real-world texts": "real-world",
    "AUROC on external texts": "external", "AUROC on explicit test texts, held out": "explicit",
}  # fmt: skip
_NULL = "the grey band holds 95 % of the null (labels permuted within scenarios)"


def quality_sections(model: ModelResults) -> Iterator[Section]:
    """A section for each chart for which the model has rows."""
    yield from _by_position(
        model, AUROC_IMPLICIT, "specific", "auroc_implicit", "Does the direction recognise the emotion unnamed?",
        "AUROC",
        "Specific directions on texts that never name the emotion: the line with its shaded 95 % interval means "
        "something where it lies above the grey band of the null and above every dashed floor; dotted verticals mark "
        "the layer "
        f"chosen on development scenarios, and only the row {CLAIM_POSITION!r} carries claims.", 0.3,
    )  # fmt: skip
    yield from _by_position(
        model, SPLIT_HALF, "specific", "split_half", "Do two halves of the scenarios give the same direction?",
        "cosine",
        "Cosine between specific directions made from two independent halves of the scenarios: 1 is a perfectly stable "
        f"direction, and {_NULL}.", -0.2,
    )  # fmt: skip
    yield from _by_position(
        model, PAIR_COSINE, "matched", "pair_cosine", "How alike are the pairs' own differences?", "cosine",
        "Cosine of each scenario's difference (emotion minus neutral) with the mean of the others': the higher, the "
        "better "
        "a direction should steer; the grey band holds 95 % of the null (signs flipped).", -0.1,
    )  # fmt: skip
    yield from _accuracy(model)
    yield from _by_texts(model)
    yield from _estimators(model)
    yield from _foils(model)
    yield from _intensity(model)


def _rows(model: ModelResults, statistic: str, emotion: str, kind: str = "specific") -> list[Measure]:
    return model.rows("quality", statistic, emotion=emotion, position=CLAIM_POSITION, kind=kind)


def _by_position(
    model: ModelResults, statistic: str, kind: str, key: str, title: str, unit: str, caption: str, floor: float
) -> Iterator[Section]:
    positions, emotions = model.positions("quality", statistic), model.emotions("quality")
    rows = [[model.rows("quality", statistic, emotion=e, position=p, kind=kind) for e in emotions] for p in positions]
    if not any(any(row) for row in rows):
        return
    cells = [cell for row in rows for cell in row]
    axes = layer_axis([m for cell in cells for m in cell]), value_axis(unit, cells, floor)
    with_floors = statistic == AUROC_IMPLICIT
    panels = tuple(
        tuple(
            layer_panel(model, e, cell, axes, position=p,
                        levels=floor_levels(model, e, statistic, cell, p) if with_floors else ())
            for e, cell in zip(emotions, row, strict=True)
        )
        for p, row in zip(positions, rows, strict=True)
    )  # fmt: skip
    chart = Chart(panels, positions, 1.5, 1.15 if with_floors else 0.95)
    yield pictured(model, key, title, chart, caption)


def _accuracy(model: ModelResults) -> Iterator[Section]:
    positions = model.positions("quality", ACCURACY)
    rows = [model.rows("quality", ACCURACY, position=p) for p in positions]
    if not any(rows):
        return
    axes = layer_axis([m for row in rows for m in row], 7), value_axis("accuracy", rows, 0.0)
    panels = tuple(
        Panel(p, *axes, (layer_series(model, row, "all", "accuracy"),), null_bands(row), chance_level(row))
        for p, row in zip(positions, rows, strict=True)
    )
    yield pictured(
        model, "accuracy", "Can the classes be told apart?", Chart((panels,), ("all classes",), 1.7),
        "Share of held-out scenarios' texts whose nearest class mean is their own, one panel for each position; "
        f"{_NULL}, near one in {len(model.emotions('quality')) + 1}.",
    )  # fmt: skip


def _by_texts(model: ModelResults) -> Iterator[Section]:
    emotions = model.emotions("quality")
    found = {s: [_rows(model, s, e) for e in emotions] for s in _TEXTS}
    found = {s: row for s, row in found.items() if any(row)}
    x_axis = layer_axis([m for row in found.values() for cell in row for m in cell])
    panels = []
    for statistic, row in found.items():
        probes = [_rows(model, statistic, e, "probe") for e in emotions]
        axes = x_axis, value_axis("AUROC", [*row, *probes], 0.3)
        panels.append(
            tuple(
                layer_panel(model, e, cell, axes, label="mean diff.", thin=[thin_series(probe, "AUROC", "probe")],
                            levels=floor_levels(model, e, statistic, cell))
                for e, cell, probe in zip(emotions, row, probes, strict=True)
            )
        )  # fmt: skip
    if not panels:
        return
    yield pictured(
        model, "auroc_by_texts", "On which texts does the direction work?",
        Chart(tuple(panels), tuple(_TEXTS[s] for s in found), 1.6, 1.15),
        f"AUROC at position {CLAIM_POSITION!r} on each kind of text, mean differences (coloured, shaded 95 % "
        "interval) beside logistic probes (thin) and the floors on the same texts: explicit texts name the emotion, so "
        "that row only describes; external ones are labelled texts that the study was given.",
    )  # fmt: skip


def _estimators(model: ModelResults) -> Iterator[Section]:
    emotions, thin = model.emotions("quality"), ("probe", "pca", "lda")
    rows = {kind: [_rows(model, AUROC_IMPLICIT, e, kind) for e in emotions] for kind in ("specific", *thin)}
    if not any(any(rows[kind]) for kind in ("pca", "lda")):
        return
    cells = [cell for row in rows.values() for cell in row]
    axes = layer_axis([m for cell in cells for m in cell]), value_axis("AUROC", cells, 0.3)
    panels = tuple(
        layer_panel(model, e, rows["specific"][i], axes, label="mean diff.",
                    thin=[thin_series(rows[k][i], "AUROC", k) for k in thin])
        for i, e in enumerate(emotions)
    )  # fmt: skip
    yield pictured(
        model, "estimators", "Does it matter how the direction is found?", Chart((panels,), ("implicit",), 1.9),
        f"AUROC on implicit texts at position {CLAIM_POSITION!r} of the difference of means, specific to the emotion "
        "(coloured, shaded 95 % interval; the grey band holds 95 % of its null), beside a logistic probe, the first "
        "component of paired differences with neutral (pca) and a linear discriminant (lda): descriptive, claims are "
        "made for the mean difference only.",
    )  # fmt: skip


def _foils(model: ModelResults) -> Iterator[Section]:
    emotions = [e for e in model.emotions("quality") if _rows(model, FOIL_RATE, e)]
    if not emotions:
        return
    x_axis = layer_axis(_rows(model, FOIL_RATE, emotions[0]))
    panels = [tuple(_shares(model, e) for e in emotions)]
    for statistic in (EXPLICIT_OVER_FOILS, IMPLICIT_OVER_FOILS):
        cells = [_rows(model, statistic, e) for e in emotions]
        axes = x_axis, value_axis("AUROC", cells, 0.0)
        panels.append(
            tuple(
                layer_panel(model, e, cell, axes, levels=floor_levels(model, e, statistic, cell))
                for e, cell in zip(emotions, cells, strict=True)
            )
        )
    yield pictured(
        model, "foils", "Is it the emotion, or only its words?",
        Chart(tuple(panels), ("over threshold", "explicit", "implicit"), 1.6, 1.15),
        "Foils are texts that hold a word of the emotion without the emotion. Top: how many of them lie over the "
        "threshold (halfway between emotional and neutral development texts), beside neutral texts and texts that do "
        "have the emotion; the grey band holds 95 % of what as many neutral texts would give. Below: whether true "
        "texts score above foils; implicit ones lack the words that foils have, so there a bag of words falls below "
        f"chance. Directions from development texts, position {CLAIM_POSITION!r}.",
    )  # fmt: skip


def _shares(model: ModelResults, emotion: str) -> Panel:
    foils, hits = _rows(model, FOIL_RATE, emotion), _rows(model, HIT_RATE, emotion)
    words = model.rows("quality", FOIL_RATE, emotion=emotion, kind="floor: bag of words")
    panel = layer_panel(
        model, emotion, foils, (layer_axis(foils), value_axis("share", [foils, hits], 0.0)), label="foils",
        thin=[
            thin_series(hits, "share", "texts with the emotion", "with emotion", "dash"),
            thin_series(foils, "share", "neutral texts", "neutral", "dot", [m.chance for m in foils]),
        ],
    )  # fmt: skip
    return replace(panel, levels=tuple(Level(m.value, f"bag of words {short(m.value)}") for m in words))


def _intensity(model: ModelResults) -> Iterator[Section]:
    found = {e: rows for e in model.emotions("quality") if (rows := _rows(model, INTENSITY, e))}
    if not found:
        return
    y_axis = value_axis("Spearman", list(found.values()), -0.6)
    panels = tuple(
        layer_panel(model, e, rows, (layer_axis(rows), y_axis), levels=floor_levels(model, e, INTENSITY, rows))
        for e, rows in found.items()
    )
    n = next(iter(found.values()))[0].n_unique
    yield pictured(
        model, "intensity", "Does the projection grow with the favour, the offence, the harm?",
        Chart((panels,), ("intensity",), 1.8, 1.5),
        f"Spearman correlation, within a series, of a text's projection with its step, mean over {n} series in which "
        "only the size of what happened grows and the emotion is never named; the grey band holds 95 % of the null "
        "(steps permuted within series), the shaded interval is a bootstrap over so few series that it only hints. "
        f"Position {CLAIM_POSITION!r}.",
    )  # fmt: skip
