"""Maps between models: how well directions arrive, layer by layer, and what they do there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from emotion_circuits import comparison as cmp
from emotion_circuits.report._cells import Cell, CellMap, Grid
from emotion_circuits.report._measures import measure_words
from emotion_circuits.report._results import ARROW, Results, read_rows
from emotion_circuits.report._sections import Picture, Section, paragraph, table, with_interval
from emotion_circuits.report._style import interval, layer_name, number, p_value, short

_COLUMNS = (
    "From", "To", "Layers", "Emotion", "AUROC, mapped", "own", "shuffled maps, 97.5 %", "untrained", "p", "share",
    "Slope, mapped", "own", "shuffled maps, 95 %", "share",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class PairResults:
    """A map's tables: every pair of layers, where it was written, and rows of the chosen pair, steering among them."""

    a: str
    b: str
    slug: str
    layers: tuple[cmp.PairMeasure, ...]
    chosen: tuple[cmp.PairMeasure, ...]

    def cells(self, statistic: str, arm: str, null: str = "") -> dict[tuple[int, int], cmp.PairMeasure]:
        """(layer of A, layer of B) → the row of a statistic."""
        return {(m.layer_a, m.layer_b): m for m in self.layers if _is(m, statistic, arm, null)}

    def one(self, statistic: str, emotion: str, arm: str = "trained") -> cmp.PairMeasure | None:
        """A row about the chosen layers."""
        return next((m for m in self.chosen if m.emotion == emotion and _is(m, statistic, arm)), None)

    @property
    def at(self) -> tuple[int, int]:
        """The chosen layers."""
        return self.chosen[0].layer_a, self.chosen[0].layer_b

    @property
    def emotions(self) -> tuple[str, ...]:
        """Emotions that were mapped."""
        return tuple(dict.fromkeys(m.emotion for m in self.chosen if m.statistic == cmp.GAIN and m.emotion != "all"))


def _is(m: cmp.PairMeasure, statistic: str, arm: str, null: str = "") -> bool:
    return m.statistic == statistic and m.kind.endswith(f": {arm}") and null in ("", m.null)


def read_pairs(folder: Path, names: Sequence[str]) -> list[PairResults]:
    """The maps between models that claims name as `A → B`, in the claims' order; those without tables are left out.

    Raises:
        InputError: a table that cannot be read or lacks a column.
    """
    files = sorted((folder / "cross_model").glob("*_alignment.parquet"))
    tables = {path.name.removesuffix("_alignment.parquet"): read_rows(path, cmp.PairMeasure) for path in files}
    steering = sorted((folder / "cross_model").glob("*_mapped_steering.parquet"))
    slopes = [m for path in steering for m in read_rows(path, cmp.PairMeasure)]
    found = {f"{rows[0].model_a}{ARROW}{rows[0].model_b}": (slug, rows) for slug, rows in tables.items() if rows}
    pairs = []
    for name in (n for n in dict.fromkeys(names) if n in found):
        slug, rows = found[name]
        a, b = name.split(ARROW, 1)
        own = [m for m in slopes if (m.model_a, m.model_b) == (a, b)]
        layers = read_rows(folder / "cross_model" / f"{slug}_layers.parquet", cmp.PairMeasure)
        pairs.append(PairResults(a, b, slug, layers, (*rows, *own)))
    return pairs


def map_sections(results: Results) -> Iterator[Section]:
    """Detection and steering of every mapped direction as a table, then the matrices of every map."""
    pairs = read_pairs(results.folder, [c.model for c in results.claims])
    if pairs:
        parts = [_transfer_table(pairs)]
        yield Section("RQ5, between models: what arrives, and what it does there", parts, 2, "maps", "Maps", True)
    for pair in pairs:
        drawing = _drawing(pair)
        if drawing is not None:
            picture = Picture(f"alignment/{pair.slug}", drawing, f"{pair.a}{ARROW}{pair.b}", _caption(pair))
            yield Section(f"{pair.a}{ARROW}{pair.b}", [paragraph(_r2_sentence(pair)), picture])


def _drawing(pair: PairResults) -> CellMap | None:
    """Three matrices of layers; None without the table of layers."""
    panels = (
        ("development, trained", pair.cells(cmp.DEVELOPMENT_COSINE, "trained"), False),
        ("development, best untrained", pair.cells(cmp.DEVELOPMENT_COSINE, "best untrained"), False),
        ("test, trained", pair.cells(cmp.OWN_COSINE, "trained", "shuffled labels"), True),
    )
    if not all(cells for _, cells, _ in panels):
        return None
    rows, columns = (sorted({key[i] for key in panels[0][1]}) for i in (0, 1))
    grids = tuple(
        Grid(
            title,
            tuple(map(layer_name, rows)),
            tuple(map(layer_name, columns)),
            _cells(cells, rows, columns, pair.at, null),
        )
        for title, cells, null in panels
    )
    keys = (("", "small: 97.5 % of shuffled labels"), ("outlined", "chosen layers"))
    return CellMap((grids,), ("cosine −1", "1"), keys, "layer of source", "columns: layer of target")


def _cells(
    found: Mapping[tuple[int, int], cmp.PairMeasure],
    rows: list[int],
    columns: list[int],
    chosen: tuple[int, int],
    null: bool,
) -> dict[tuple[int, int], Cell]:
    return {
        (rows.index(a), columns.index(b)): Cell(
            m.value, short(m.value), short(m.null_high) if null else "", outlined=1.7 * ((a, b) == chosen),
            hover=measure_words(m, "cosine", f"layers {layer_name(a)}{ARROW}{layer_name(b)}"),
        )
        for (a, b), m in found.items()
        if a in rows and b in columns
    }  # fmt: skip


def _caption(pair: PairResults) -> str:
    return (
        f"Cosine of directions mapped from {pair.a} (layers downwards) with those of {pair.b} (layers sideways), mean "
        "over emotions: on development scenarios, where the outlined layers were chosen, beside the best untrained "
        "twin; and on test scenarios, where the small number is the 97.5 % point for shuffled labels, that is, what "
        "any contrast of the same texts reaches through the same map."
    )


def _transfer_table(pairs: Sequence[PairResults]) -> str:
    return table(
        "Mapped directions at work in the target model: AUROC on texts that never name the emotion, and slope of the "
        "emotion's own word-set log-odds in nats per unit of dose. Shares are of what the model's own direction does.",
        _COLUMNS, [_transfer_line(pair, emotion) for pair in pairs for emotion in pair.emotions], "Transfer",
    )  # fmt: skip


def _transfer_line(pair: PairResults, emotion: str) -> list[str]:
    mapped, slope = pair.one(cmp.DETECTION, emotion), pair.one(cmp.SLOPE, emotion)
    return [
        escape(pair.a), escape(pair.b), ARROW.join(map(layer_name, pair.at)), escape(emotion), _value(mapped),
        _value(pair.one(cmp.NATIVE_DETECTION, emotion)), "" if mapped is None else number(mapped.null_high),
        _value(pair.one(cmp.DETECTION, emotion, "best untrained"), False), "" if mapped is None else p_value(mapped.p),
        _value(pair.one(cmp.DETECTION_SHARE, emotion), False), _value(slope),
        _value(pair.one(cmp.NATIVE_SLOPE, emotion)),
        "" if slope is None else interval(slope.null_low, slope.null_high),
        _value(pair.one(cmp.SLOPE_SHARE, emotion), False),
    ]  # fmt: skip


def _value(m: cmp.PairMeasure | None, between: bool = True) -> str:
    return "–" if m is None else with_interval(number(m.value), interval(m.ci_low, m.ci_high) if between else "")


def _r2_sentence(pair: PairResults) -> str:
    """Held-out R² at the chosen layers, in words."""
    found = pair.cells(cmp.R2, "trained").get(pair.at)
    if found is None:
        return ""
    return (
        f"Held-out R² on emotion texts at layers {ARROW.join(map(layer_name, pair.at))}: {number(found.value)} "
        f"{interval(found.ci_low, found.ci_high)}, chance 0."
    )
