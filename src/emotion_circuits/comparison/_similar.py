"""Two models compared without a map: directions in raw coordinates, and how texts relate in either."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from emotion_circuits.comparison._rows import ALL, PairMeasure
from emotion_circuits.comparison._sides import require_same_texts, rows_of, table_of
from emotion_circuits.directions import Activations
from emotion_circuits.errors import InputError
from emotion_circuits.geometry import compare_spaces, rotation_null
from emotion_circuits.statistics import exceedance_p, grouped_bootstrap

SpaceMeasure = Literal["cka", "rsa", "neighbours"]
_NAMES: Final = {"cka": "debiased linear CKA", "rsa": "RSA (Spearman)", "neighbours": "shared nearest neighbours"}
RAW_COSINE = "cosine of two models' directions in raw coordinates"


def space_rows(
    a: Activations,
    b: Activations,
    position: str,
    measure: SpaceMeasure,
    *,
    layers: Sequence[int] | None = None,
    n_draws: int = 1000,
    seed: int = 0,
) -> list[PairMeasure]:
    """Similarity of every layer of A with every layer of B; texts are shuffled within classes for the null.

    Shuffling within classes asks for more than that both tell the classes apart.
    """
    require_same_texts(a, b)
    rows_a, rows_b = (rows_of(x, layers) for x in (a, b))
    found = compare_spaces(
        [a.at(position)[row] for row in rows_a], [b.at(position)[row] for row in rows_b],
        measure=measure, groups=a.scenarios, within=a.labels, n_draws=n_draws, seed=seed,
    )  # fmt: skip
    return [
        PairMeasure(
            a.source.model, b.source.model, ALL, position, row_a - 1, row_b - 1, f"all texts of {a.data.name}",
            _NAMES[measure], float(found.value[i, j]), float(found.low[i, j]), float(found.high[i, j]),
            "texts shuffled within classes", float(found.null_mean[i, j]), float(found.null_low[i, j]),
            float(found.null_high[i, j]), 1.0, float(found.p[i, j]), found.n_groups,
        )
        for i, row_a in enumerate(rows_a)
        for j, row_b in enumerate(rows_b)
    ]  # fmt: skip


def direction_rows(
    a: Activations,
    b: Activations,
    position: str,
    *,
    layers: Sequence[int] | None = None,
    n_draws: int = 1000,
    seed: int = 0,
) -> list[PairMeasure]:
    """Cosines of specific directions of two models of one width, in coordinates that have nothing in common.

    Chance is that of a direction turned at random. Shown because earlier work compared models so: align them first.

    Raises:
        InputError: models of different width, or different texts.
    """
    require_same_texts(a, b)
    width = a.at(position).shape[2]
    if b.at(position).shape[2] != width:
        raise InputError(
            "Directions of models of different width have no cosine.",
            found=f"{width} and {b.at(position).shape[2]} dimensions",
            next_step="map one into the other with `emotion-circuits align`",
        )
    squares = rotation_null(width, 1, 1, n_draws, seed)
    signs = np.random.default_rng((seed, 51)).choice([-1.0, 1.0], n_draws)
    null = np.sqrt(squares) * signs
    low, high = np.quantile(null, [0.025, 0.975])
    found = []
    for row in rows_of(min((a, b), key=lambda x: x.n_layers), layers):
        tables = table_of(a, position, row), table_of(b, position, row)
        contrasts = [table.contrasts("neutral", "specific") for table in tables]
        for place, emotion in enumerate(tables[0].emotions("neutral")):
            paired = np.concatenate([c[:, place] for c in contrasts], axis=1)

            def cosine(rows: np.ndarray) -> np.ndarray:
                mean = rows.mean(axis=1)
                one, two = mean[:, :width], mean[:, width:]
                return np.asarray((one * two).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1))

            boot = grouped_bootstrap(paired, cosine, n_draws=400, seed=seed)
            found.append(
                PairMeasure(
                    a.source.model, b.source.model, emotion, position, row - 1, row - 1, "specific, not aligned",
                    RAW_COSINE, boot.value, boot.interval.low, boot.interval.high, "random rotations",
                    float(null.mean()), float(low), float(high), 1.0,
                    exceedance_p(abs(boot.value), np.abs(null)), len(paired),
                )
            )  # fmt: skip
    return found
