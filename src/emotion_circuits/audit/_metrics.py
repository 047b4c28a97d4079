"""Every number of the earlier project that can be computed again: formula, chance, maximum, and what to use instead.

To add one: a `Metric` in `pair_metrics`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from emotion_circuits.geometry import orthonormal

from . import _formulas as seed
from . import _honest as honest
from ._cells import MAP_K, NEUTRAL, ClassCell, LayersCell, PairCell

Cell = TypeVar("Cell", PairCell, ClassCell, LayersCell)
K_VALUES = (2, 5, 10, 20)
#: Draws of random subspaces for the one chance level that has no formula.
CHANCE_DRAWS = 400


class Reported(NamedTuple):
    """What the earlier project reported, from its lowest to its highest value."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        return (self.low + self.high) / 2


@dataclass(frozen=True)
class Corrected(Generic[Cell]):
    """A statistic to use instead: `expected` is what it gives where there is nothing."""

    name: str
    value: Callable[[Cell], float]
    expected: float = 0.0


@dataclass(frozen=True)
class Metric(Generic[Cell]):
    """A formula of the earlier project.

    Attributes:
        name: what it is called in every table.
        value: the formula as it was computed.
        corrected: what to use instead.
        chance: what the number would have to be where there is nothing, by width of the second model. If noise gives
            far more, the formula is at fault.
        ceiling: the most it can be; None where it has no maximum.
        k: dimension of the subspaces.
        reported: by the earlier project, if it did.
        same_width: it needs models of one width.
        cubic: its cost grows with the cube of the width, so wide models get fewer draws of noise.
        least_texts: how many texts of a class it needs.
    """

    name: str
    value: Callable[[Cell], float]
    corrected: Corrected[Cell]
    chance: Callable[[int], float]
    ceiling: float | None
    k: int | None = None
    reported: Reported | None = None
    same_width: bool = False
    cubic: bool = False
    least_texts: int = 3


SUBSPACE = "mean of the 5 largest cosines, k = {}"
ENTRIES = "mean squared Gram entry, k = {}"
MAPPED = "squared entries after a map from neutral texts"
MAPPED_RANK = "squared entries, map by a solver that finds the rank"
MAPPED_ORTHONORMAL = "squared entries, mapped basis orthonormal again"
IN_SAMPLE = "R² of least squares on the texts it was fitted on"
LS_HELD_OUT = "R² of least squares on other texts"
TURNED = "gain by Procrustes, squared entries"
TURNED_COSINES = "gain by Procrustes, cosines"
TURNED_AS_MEANT = "gain by Procrustes if turned the right way"
COSINE = "cosine between emotions' vectors, one neutral mean"
NORMS = "longest over shortest vector, all layers"
CKA = "linear CKA, biased"

S_STAR = "S*"
S_STAR_MAPPED = "S* after least squares, held out"
S_STAR_TURNED = "S* after rotation, held out"
RIDGE_R2 = "R² of ridge, held out"


def pair_metrics() -> tuple[Metric[PairCell], ...]:
    """Metrics on two models, in the order of the table."""
    rows: list[Metric[PairCell]] = []
    for k in K_VALUES:
        rows.append(
            Metric(
                SUBSPACE.format(k),
                _cosines(k),
                _s_star(k),
                _random_cosines_of(k),
                1.0,
                k,
                Reported(0.137, 0.155) if k == MAP_K else None,
                same_width=True,
                least_texts=k + 1,
            )
        )
    for k in K_VALUES:
        rows.append(
            Metric(
                ENTRIES.format(k),
                _entries(k),
                _s_star(k),
                _one_over,
                1 / k,
                k,
                {2: Reported(0.002, 0.005), MAP_K: Reported(0.001, 0.001)}.get(k),
                same_width=True,
                least_texts=k + 1,
            )
        )
    mapped = Corrected(S_STAR_MAPPED, lambda cell: honest.held_out_overlap(cell, honest.least_squares_image))
    turned = Corrected(S_STAR_TURNED, lambda cell: honest.held_out_overlap(cell, honest.rotated_image))
    ridge = Corrected(RIDGE_R2, honest.ridge_r2)
    needs = MAP_K + 1
    rows += [
        Metric(
            MAPPED, lambda c: seed.mean_squared_entry(c.mapped_basis, c.bases_of(MAP_K)[1]), mapped, _one_over,
            1 / MAP_K, MAP_K, Reported(0.99, 0.99), cubic=True, least_texts=needs,
        ),
        Metric(MAPPED_RANK, _mapped_by_rank, mapped, _one_over, 1 / MAP_K, MAP_K, least_texts=needs),
        Metric(
            MAPPED_ORTHONORMAL, _mapped_orthonormal, mapped, _one_over, 1 / MAP_K, MAP_K, cubic=True,
            least_texts=needs,
        ),
        Metric(IN_SAMPLE, honest.in_sample_r2, ridge, _zero, 1.0),
        Metric(LS_HELD_OUT, honest.least_squares_r2, ridge, _zero, 1.0, least_texts=6),
        Metric(
            TURNED, _gain(seed.mean_squared_entry), turned, _zero, 1 / MAP_K, MAP_K, Reported(0.0097, 0.0104),
            same_width=True, cubic=True, least_texts=needs,
        ),
        Metric(
            TURNED_COSINES, _gain(seed.mean_of_largest_cosines), turned, _zero, 1.0, MAP_K, Reported(0.15, 0.20),
            same_width=True, cubic=True, least_texts=needs,
        ),
        Metric(
            TURNED_AS_MEANT, _gain(seed.mean_squared_entry, as_meant=True), turned, _zero, 1 / MAP_K, MAP_K,
            same_width=True, cubic=True, least_texts=needs,
        ),
        Metric(
            CKA, honest.whole_space_biased, Corrected("debiased CKA", honest.whole_space_debiased), _zero, 1.0,
            least_texts=4,
        ),
    ]  # fmt: skip
    return tuple(rows)


def class_metric(n_emotions: int) -> Metric[ClassCell]:
    """The one metric on one layer of one model. Independent directions have cosine 0; noise does not, as all of them
    are measured from one mean."""
    return Metric(
        COSINE,
        lambda cell: seed.mean_pair_cosine(seed.difference_vectors(cell.classes, NEUTRAL)),
        Corrected("cosine, specific and standardised", honest.specific_cosine, expected=-1 / (n_emotions - 1)),
        _zero,
        1.0,
        reported=Reported(0.482, 0.988),
    )


def layers_metric() -> Metric[LayersCell]:
    """The one metric on all layers of all models. One α means one thing where it is 1."""
    return Metric(
        NORMS,
        honest.layers_ratio,
        Corrected("longest over shortest, in doses", honest.dose_ratio, expected=1.0),
        lambda d: 1.0,
        None,
        reported=Reported(622 / 11, 622 / 11),
    )


def random_cosines(d: int, k: int) -> float:
    """Mean of the five largest cosines between a subspace and uniformly random ones."""
    if k >= d:
        return float("nan")
    rng = np.random.default_rng([d, k])
    draws = np.linalg.qr(rng.standard_normal((CHANCE_DRAWS, d, k)))[0]
    cosines = np.linalg.svd(draws[:, :k], compute_uv=False)
    return float(cosines[:, : seed.LARGEST].mean())


def _zero(d: int) -> float:
    return 0.0


def _one_over(d: int) -> float:
    return 1 / d


def _cosines(k: int) -> Callable[[PairCell], float]:
    return lambda cell: seed.mean_of_largest_cosines(*cell.bases_of(k))


def _random_cosines_of(k: int) -> Callable[[int], float]:
    return lambda d: random_cosines(d, k)


def _entries(k: int) -> Callable[[PairCell], float]:
    return lambda cell: seed.mean_squared_entry(*cell.bases_of(k))


def _s_star(k: int) -> Corrected[PairCell]:
    return Corrected(f"{S_STAR}, k = {k}", lambda cell: honest.corrected_overlap(cell, k))


def _mapped_by_rank(cell: PairCell) -> float:
    a, b = cell.bases_of(MAP_K)
    return seed.mean_squared_entry(seed.mapped_columns(a, seed.least_squares_map(cell.neutral_a, cell.neutral_b)), b)


def _mapped_orthonormal(cell: PairCell) -> float:
    """Every column first scaled to length 1, so that only its direction counts."""
    mapped = np.asarray(cell.mapped_basis, dtype=np.float64)
    return seed.mean_squared_entry(orthonormal(mapped / np.linalg.norm(mapped, axis=0)), cell.bases_of(MAP_K)[1])


def _gain(
    overlap: Callable[[seed.FloatArray, seed.FloatArray], float], as_meant: bool = False
) -> Callable[[PairCell], float]:
    def gain(cell: PairCell) -> float:
        a, b = cell.bases_of(MAP_K)
        return overlap(cell.turned.as_meant if as_meant else cell.turned.as_computed, b) - overlap(a, b)

    return gain
