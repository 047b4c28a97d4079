"""Maps between models in the report: how well directions arrive, layer by layer, and what they do there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from emotion_circuits.comparison import (
    DETECTION,
    DETECTION_SHARE,
    DEVELOPMENT_COSINE,
    GAIN,
    NATIVE_DETECTION,
    NATIVE_SLOPE,
    OWN_COSINE,
    R2,
    SLOPE,
    SLOPE_SHARE,
    PairMeasure,
)
from emotion_circuits.errors import InputError
from emotion_circuits.report._labels import read_table
from emotion_circuits.report._static import WIDTH, cell_axes, new_figure
from emotion_circuits.report._style import interval, layer_name, light, number, p_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ARROW = " → "
_CELL, _TOP, _BOTTOM, _LEFT, _GAP = 0.3, 0.62, 0.3, 0.75, 0.55


@dataclass(frozen=True, eq=False)
class PairResults:
    """A map's tables.

    Attributes:
        a, b: the models.
        slug: its name in file names.
        layers: every pair of layers.
        chosen: the chosen pair, with detection.
        steering: mapped directions' effect; empty where it was not measured.
    """

    a: str
    b: str
    slug: str
    layers: tuple[PairMeasure, ...]
    chosen: tuple[PairMeasure, ...]
    steering: tuple[PairMeasure, ...]

    def cells(self, statistic: str, arm: str, null: str = "") -> dict[tuple[int, int], PairMeasure]:
        """(layer of A, layer of B) → the row of a statistic."""
        return {
            (m.layer_a, m.layer_b): m
            for m in self.layers
            if m.statistic == statistic and m.kind.endswith(f": {arm}") and null in ("", m.null)
        }

    def one(self, statistic: str, emotion: str, arm: str = "trained", null: str = "") -> PairMeasure | None:
        """A row about the chosen layers."""
        rows = (*self.chosen, *self.steering)
        return next(
            (
                m
                for m in rows
                if m.statistic == statistic
                and m.emotion == emotion
                and m.kind.endswith(f": {arm}")
                and null in ("", m.null)
            ),
            None,
        )

    @property
    def at(self) -> tuple[int, int]:
        """The chosen layers."""
        return self.chosen[0].layer_a, self.chosen[0].layer_b

    @property
    def emotions(self) -> tuple[str, ...]:
        """Emotions that were mapped."""
        return tuple(dict.fromkeys(m.emotion for m in self.chosen if m.statistic == GAIN and m.emotion != "all"))


def read_pairs(folder: Path, names: Sequence[str]) -> tuple[PairResults, ...]:
    """The maps between models that claims name as `A → B`, in the claims' order; those without tables are left out.

    Raises:
        InputError: a table that cannot be read or lacks a column.
    """
    tables = {path: _read(path) for path in sorted((folder / "cross_model").glob("*_alignment.parquet"))}
    steering = [m for path in sorted((folder / "cross_model").glob("*_mapped_steering.parquet")) for m in _read(path)]
    found: Mapping[str, tuple[Path, tuple[PairMeasure, ...]]] = {
        f"{rows[0].model_a}{ARROW}{rows[0].model_b}": (path, rows) for path, rows in tables.items() if rows
    }
    pairs = []
    for name in dict.fromkeys(n for n in names if ARROW in n):
        if name not in found:
            continue
        path, rows = found[name]
        slug = path.name.removesuffix("_alignment.parquet")
        a, b = name.split(ARROW, 1)
        layers = path.with_name(f"{slug}_layers.parquet")
        own = tuple(m for m in steering if (m.model_a, m.model_b) == (a, b))
        pairs.append(PairResults(a, b, slug, _read(layers) if layers.is_file() else (), rows, own))
    return tuple(pairs)


def _read(path: Path) -> tuple[PairMeasure, ...]:
    frame = read_table(path)
    absent = [c for c in PairMeasure._fields if c not in frame.columns]
    if absent:
        raise InputError(
            f"{path} is not a table of this version.", found=f"no column {absent[0]}", next_step="run the study again"
        )
    values = frame[list(PairMeasure._fields)].itertuples(index=False, name=None)
    return tuple(PairMeasure._make(v) for v in values)


def map_caption(pair: PairResults) -> str:
    """How to read the matrices, in one sentence."""
    return (
        f"Cosine of directions mapped from {pair.a} (layers downwards) with those of {pair.b} (layers sideways), mean "
        "over emotions: on development scenarios, where the outlined layers were chosen, beside the best untrained"
        " twin; and on test scenarios, where the small number is the 97.5 % point for shuffled labels, that is, what"
        " any contrast of the same texts reaches through the same map."
    )


def map_alt(pair: PairResults) -> str:
    """The same in words."""
    gains = [m for e in pair.emotions if (m := pair.one(GAIN, e)) is not None]
    words = "; ".join(f"{m.emotion} {number(m.value)} {interval(m.ci_low, m.ci_high)}" for m in gains)
    return (
        f"Cosines of mapped with own directions, layer by layer. Gain over untrained twins at the chosen ones: {words}."
    )


def draw_map(pair: PairResults, *, with_title: bool) -> Figure | None:
    """Three matrices of layers; None without the table of layers."""
    panels = (
        ("development, trained", pair.cells(DEVELOPMENT_COSINE, "trained"), False),
        ("development, best untrained", pair.cells(DEVELOPMENT_COSINE, "best untrained"), False),
        ("test, trained", pair.cells(OWN_COSINE, "trained", "shuffled labels"), True),
    )
    if not all(cells for _, cells, _ in panels):
        return None
    rows = sorted({key[0] for key in panels[0][1]})
    columns = sorted({key[1] for key in panels[0][1]})
    top = _TOP + (0.3 if with_title else 0.0)
    height = top + len(rows) * _CELL + _BOTTOM
    figure = new_figure(height)
    if with_title:
        figure.text(0.006, 1 - 0.07 / height, f"{pair.a}{ARROW}{pair.b}", fontsize=11, fontweight="bold", va="top")
    width = (WIDTH - _LEFT - 0.1 - 2 * _GAP) / 3
    for place, (title, cells, with_null) in enumerate(panels):
        left = _LEFT + place * (width + _GAP)
        axes = figure.add_axes((left / WIDTH, _BOTTOM / height, width / WIDTH, len(rows) * _CELL / height))
        _draw_cells(axes, cells, rows, columns, pair.at, with_null)
        axes.set_title(title, fontsize=9.5, fontweight="bold", loc="left", pad=20)
        axes.set_yticks(range(len(rows)), [layer_name(i) for i in rows])
        if place == 0:
            axes.set_ylabel("layer of source", labelpad=2)
        axes.text(1, -0.04, "layer of target →", transform=axes.transAxes, ha="right", va="top", fontsize=7.5)
    return figure


def _draw_cells(
    axes: Axes, cells: Mapping[tuple[int, int], PairMeasure], rows: list[int], columns: list[int],
    chosen: tuple[int, int], with_null: bool,
) -> None:  # fmt: skip
    from matplotlib.patches import Rectangle

    cell_axes(axes, len(rows), [layer_name(i) for i in columns])
    dense = len(columns) > 7
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            m = cells.get((row, column))
            if m is None:
                continue
            strength = 0.05 + 0.65 * min(max(m.value, 0.0), 1.0)
            axes.add_patch(Rectangle((j - 0.49, i - 0.47), 0.98, 0.94, lw=0, fc=light("above"), alpha=strength))
            text = number(m.value)
            if with_null and not dense:
                axes.text(j + 0.03, i, f"{m.value:.2f}", ha="right", va="center", fontsize=8)
                axes.text(j + 0.09, i, f"{m.null_high:.2f}", ha="left", va="center", fontsize=6.5)
            else:
                axes.text(j, i, text, ha="center", va="center", fontsize=6.2 if dense else 8)
            if (row, column) == chosen:
                axes.add_patch(Rectangle((j - 0.49, i - 0.47), 0.98, 0.94, lw=1.6, fill=False, ec=light("ink")))


_COLUMNS = (
    "From", "To", "Layers", "Emotion", "AUROC, mapped", "own", "shuffled maps, 97.5 %", "untrained", "p", "share",
    "Slope, mapped", "own", "shuffled maps, 95 %", "share",
)  # fmt: skip


def transfer_table(pairs: Sequence[PairResults]) -> str:
    """Detection and steering of every mapped direction beside the model's own, as HTML."""
    rows = "".join(_transfer_row(pair, emotion) for pair in pairs for emotion in pair.emotions)
    head = "".join(f'<th scope="col">{name}</th>' for name in _COLUMNS)
    caption = (
        "Mapped directions at work in the target model: AUROC on texts that never name the emotion, and slope of the "
        "emotion's own word-set log-odds in nats per unit of dose. Shares are of what the model's own direction does."
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Transfer"><table>'
        f"<caption><span>{caption}</span></caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _transfer_row(pair: PairResults, emotion: str) -> str:
    mapped, native = pair.one(DETECTION, emotion), pair.one(NATIVE_DETECTION, emotion)
    untrained, share = pair.one(DETECTION, emotion, "best untrained"), pair.one(DETECTION_SHARE, emotion)
    slope, own, ratio = (pair.one(name, emotion) for name in (SLOPE, NATIVE_SLOPE, SLOPE_SHARE))
    layers = f"{layer_name(pair.at[0])}{ARROW}{layer_name(pair.at[1])}"
    cells = [
        escape(pair.a), escape(pair.b), layers, escape(emotion), _with_interval(mapped), _with_interval(native),
        "" if mapped is None else number(mapped.null_high), _value(untrained),
        "" if mapped is None else p_value(mapped.p), _value(share), _with_interval(slope), _with_interval(own),
        "" if slope is None else interval(slope.null_low, slope.null_high), _value(ratio),
    ]  # fmt: skip
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _value(m: PairMeasure | None) -> str:
    return "–" if m is None else number(m.value)


def _with_interval(m: PairMeasure | None) -> str:
    return "–" if m is None else f'{number(m.value)} <span class="ci">{interval(m.ci_low, m.ci_high)}</span>'


def r2_sentence(pair: PairResults) -> str:
    """Held-out R² at the chosen layers, in words."""
    found = pair.cells(R2, "trained").get(pair.at)
    if found is None:
        return ""
    return (
        f"Held-out R² on emotion texts at layers {layer_name(pair.at[0])}{ARROW}{layer_name(pair.at[1])}: "
        f"{number(found.value)} {interval(found.ci_low, found.ci_high)}, chance 0."
    )


def figures_of(pairs: Sequence[PairResults]) -> Iterator[tuple[str, Figure]]:
    """(file name, figure) of every map."""
    for pair in pairs:
        figure = draw_map(pair, with_title=True)
        if figure is not None:
            yield pair.slug, figure
