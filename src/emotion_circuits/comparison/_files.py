"""An alignment's files in a results folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emotion_circuits._files import write_table
from emotion_circuits.comparison._align import PairAlignment
from emotion_circuits.comparison._alignment_rows import chosen_rows, layer_rows
from emotion_circuits.comparison._rows import PairMeasure, pair_slug
from emotion_circuits.geometry import save_aligner
from emotion_circuits.statistics import rows_table


def map_path(folder: Path, a: str, b: str) -> Path:
    """Where the map from A to B lies."""
    return folder / "alignment" / f"{pair_slug(a, b)}.safetensors"


def write_alignment(
    pair: PairAlignment, folder: Path, more: Sequence[PairMeasure] = (), map_file: Path | None = None
) -> list[Path]:
    """Write the table of the chosen layers, that of all layers, and the map with its route.

    Args:
        pair: what to write.
        folder: `results/<profile>`.
        more: further rows about the chosen layers.
        map_file: where the map goes; by default into the folder.

    Returns:
        The three files, in that order.
    """
    name = pair_slug(pair.a.name, pair.b.name)
    chosen, layers = (folder / "cross_model" / f"{name}_{what}.parquet" for what in ("alignment", "layers"))
    write_table(chosen, rows_table(PairMeasure, [*chosen_rows(pair), *more]))
    write_table(layers, rows_table(PairMeasure, layer_rows(pair)))
    target = map_path(folder, pair.a.name, pair.b.name) if map_file is None else map_file
    made_from = {side: source.fit.source.model_dump() for side, source in (("source", pair.a), ("target", pair.b))}
    return [chosen, layers, save_aligner(pair.aligner, target, pair.route._asdict() | made_from)]
