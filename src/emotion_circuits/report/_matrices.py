"""Maps of layers as cells: cosines between emotions, interchange by layer and place, directions through maps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from emotion_circuits.components import PLACES, SWAP_SITES, kind_of
from emotion_circuits.report._cells import Cell, CellMap, Grid
from emotion_circuits.report._measures import measure_words
from emotion_circuits.report._results import CLAIM_POSITION, ModelResults
from emotion_circuits.report._sections import Picture, Section
from emotion_circuits.report._style import layer_name, number, short
from emotion_circuits.statistics import ALPHA, Measure

COSINE = "cosine between emotions"
_KINDS = {
    "matched": "matched directions (emotion − neutral)",
    "specific": "specific directions (minus the mean over emotions)",
}
_SITE_NAMES = {"resid_post": "residual stream", "attn_out": "attention output", "mlp_out": "MLP output"}


def cosine_sections(model: ModelResults) -> Iterator[Section]:
    """Cosines between emotions: raw (matched) beside specific, layer by layer; the claims' position on the page."""
    title = "Are the emotions' directions alike?"
    pictures = [_cosines(model, position, title) for position in model.positions("cosines", COSINE)]
    if pictures:
        yield Section(title if any(p.shown for p in pictures) else "", pictures)


def _cosines(model: ModelResults, position: str, title: str) -> Picture:
    rows = model.rows("cosines", COSINE, position=position)
    layers = sorted({m.layer for m in rows})
    pairs = sorted({m.emotion for m in rows})
    grids = []
    for kind in (k for k in _KINDS if any(m.kind == k for m in rows)):
        cells = {}
        for m in (m for m in rows if m.kind == kind):
            cells[layers.index(m.layer), pairs.index(m.emotion)] = Cell(
                (m.value - m.chance) / 0.6, number(m.value), f"| {number(m.chance)}",
                bold=not m.null_low <= m.value <= m.null_high, tiny=short(m.value),
                hover=measure_words(m, "cosine", f"{kind} {m.emotion}, layer {layer_name(m.layer)}"),
            )  # fmt: skip
        grids.append(Grid(_KINDS[kind], tuple(map(layer_name, layers)), tuple(pairs), cells))
    drawing = CellMap(
        (tuple(grids),), ("cosine minus chance: −0.6", "+0.6"), (("", "bold: outside 95 % of the null"),), widest=2.0,
    )  # fmt: skip
    return Picture(
        f"{model.slug}/cosines_{position}", drawing, f"{model.name}: {title} (position {position})",
        f"Cosines between emotions' directions at position {position!r}: each cell says the cosine and, after the bar, "
        "its chance level; colour is their difference (blue above chance, orange below), bold cells lie outside 95 % "
        "of the null in which labels swap within scenarios.",
        position == CLAIM_POSITION,
    )  # fmt: skip


def swap_sections(model: ModelResults) -> Iterator[Section]:
    """How much of the emotion follows when one layer and place is put into the neutral run.

    A line for each emotion whose prompts differ clearly from neutral ones: else shares of the difference mean nothing.
    """
    found = {
        e: {site: [m for m in model.measures.get("swap", ()) if m.emotion == e and m.kind == kind_of("denoising", site)
                   and math.isfinite(m.value)] for site in SWAP_SITES}
        for e in model.emotions("swap")
    }  # fmt: skip
    unclear = [e for e, sites in found.items() if not any(sites.values())]
    found = {e: sites for e, sites in found.items() if e not in unclear}
    if not found:
        return
    layers = sorted({m.layer for m in model.measures["swap"]}, reverse=True)
    places = [place for place in PLACES if any(m.position == place for m in model.measures["swap"])]
    lines = [
        tuple(
            Grid(f"{model.looks.label(e)}, {_SITE_NAMES[site]}", tuple(map(str, layers)), tuple(places),
                 {(layers.index(m.layer), places.index(m.position)): _swap_cell(m) for m in sites[site]
                  if m.position in places})
            for site in SWAP_SITES
        )
        for e, sites in found.items()
    ]  # fmt: skip
    title = "Where does the emotion stand?"
    keys = (("", "small: another scenario's neutral values"), ("", f"* p ≤ {ALPHA:g} beyond those, over the whole map"))
    yield Section(
        title,
        [
            Picture(
                f"{model.slug}/interchange", CellMap(tuple(lines), ("share of the difference: −1", "1"), keys),
                f"{model.name}: Where does the emotion stand, layer by layer?",
                "Share of the difference between an emotion's prompt and its neutral twin, in log-odds of the "
                "emotion's words, that arrives when the emotion's values replace the neutral run's at one layer "
                "(deeper ones above) and place: the emotion's word, the tokens after it, the last one. 0 is nothing, 1 "
                "all. The small number is what another scenario's neutral values do there; * marks p ≤ .05 beyond "
                "those, over the whole map."
                + not_tested(unclear),
            )
        ],
    )  # fmt: skip


def not_tested(emotions: Sequence[str]) -> str:
    """That some emotions' prompts are too like neutral ones; nothing where there are none."""
    if not emotions:
        return ""
    return f" Not tested, because both prompts give nearly the same outcome: {', '.join(emotions)}."


def _swap_cell(m: Measure) -> Cell:
    star = "*" if m.p <= ALPHA else ""
    donor = "" if math.isnan(m.chance) else short(m.chance)
    return Cell(
        m.value, short(m.value) + star, donor, hover=measure_words(m, "share", f"layer {m.layer}, {m.position}")
    )
