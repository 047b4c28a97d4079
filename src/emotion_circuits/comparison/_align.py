"""Maps between two models: fitted on neutral text, layers chosen on development scenarios, judged on test scenarios.

Beside every value stands what untrained twins reach with the same code: word identity alone survives any network, so an
untrained pair aligns too, and only what stands above it was learnt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from emotion_circuits._row_tables import Shown, Table, row_table
from emotion_circuits.comparison._fit_texts import FIT_POSITION, fit_kinds
from emotion_circuits.comparison._rows import Route
from emotion_circuits.comparison._sides import Side, in_target_units, require_same_texts, table_of
from emotion_circuits.errors import InputError
from emotion_circuits.geometry import (
    Aligner,
    BetweenClassSubspace,
    GainResult,
    LayerAlignment,
    MappedContrasts,
    OverlapResult,
    ScenarioTable,
    align_all_layers,
    aligner_named,
    compare_subspaces,
    corrected,
    cosine_gain,
    mapped_contrasts,
    resampled_overlaps,
)
from emotion_circuits.statistics import Rival, floor_of, paired_gain

DEVELOPMENT, TEST = "development", "test"
FloatArray = NDArray[np.float64]
NewAligner = Callable[[], Aligner]
Resampled = Callable[[FloatArray], FloatArray]
"""From (B, G) weights of scenarios to (B,)."""
FLOOR_BOOTSTRAP = 1000


class Arm(NamedTuple):
    """The same alignment with an untrained twin on one side, at the layers where it does best on development texts.

    Attributes:
        a, b: the models.
        row_a, row_b: chosen rows, 0 is `embed`.
        development: (La, Lb) mean own cosine on development scenarios.
        contrasts: mapped and own contrasts of the test scenarios.
        overlap: S of mapped and own subspaces on test scenarios, from their weights.
        aligner: the map at the chosen rows.
    """

    a: Side
    b: Side
    row_a: int
    row_b: int
    development: FloatArray
    contrasts: MappedContrasts
    overlap: Resampled
    aligner: Aligner


@dataclass(frozen=True, eq=False)
class PairAlignment(Shown):
    """A map from model A to model B and everything that says what it is worth.

    Attributes:
        a, b: the models.
        method: the aligner's name.
        fit_set: name of the texts it was fitted on.
        rows_a, rows_b: rows that were tried; 0 is `embed`, k + 1 layer k.
        row_a, row_b: the chosen ones.
        development: (La, Lb) mean own cosine on development scenarios, from which the rows were chosen.
        layers: every pair of rows on test scenarios, with all nulls.
        arms: untrained arms.
        gains: trained minus best untrained cosine at the chosen rows, per emotion and, last, their mean.
        over_embedding: the same over the map between the embeddings; none where those were not tried.
        embedding: the map between the embeddings; None where those were not tried.
        shared: overlap of the mapped with the own between-class subspace at the chosen rows.
        shared_floors: S* of untrained arms and of the embeddings, and what `shared` gains over each.
        aligner: the map at the chosen rows.
    """

    a: Side
    b: Side
    method: str
    fit_set: str
    rows_a: tuple[int, ...]
    rows_b: tuple[int, ...]
    row_a: int
    row_b: int
    development: FloatArray
    layers: LayerAlignment
    arms: tuple[Arm, ...]
    gains: tuple[GainResult, ...]
    over_embedding: tuple[GainResult, ...]
    embedding: Arm | None
    shared: OverlapResult
    shared_floors: tuple[Rival, ...]
    aligner: Aligner

    def table(self) -> Table:
        """What is kept at the chosen layers, beside untrained twins and every null."""
        from emotion_circuits.comparison._alignment_rows import chosen_rows  # which needs this class

        return row_table(chosen_rows(self), notes=("Layers are chosen on development scenarios.",))

    @property
    def best_untrained(self) -> FloatArray:
        """(La, Lb) the largest of the untrained arms' mean own cosines on development scenarios."""
        return np.asarray(np.max([arm.development for arm in self.arms], axis=0))

    @property
    def route(self) -> Route:
        """The chosen layers."""
        return self.between(self.row_a, self.row_b)

    def between(self, row_a: int, row_b: int) -> Route:
        """Any pair of rows."""
        return Route(self.a.name, self.b.name, row_a - 1, row_b - 1, self.method, self.fit_set)

    @property
    def at(self) -> tuple[int, int]:
        """Index of the chosen rows in `layers`."""
        return self.rows_a.index(self.row_a), self.rows_b.index(self.row_b)


def align_pair(
    a: Side,
    b: Side,
    twins_a: Sequence[Side],
    twins_b: Sequence[Side],
    *,
    rows_a: Sequence[int] | None = None,
    rows_b: Sequence[int] | None = None,
    method: str = "ridge",
    n_components: int | None = None,
    n_draws: int = 1000,
    n_bootstrap: int = 2000,
    seed: int = 0,
    n_jobs: int = 1,
    on_step: Callable[[int], None] | None = None,
) -> PairAlignment:
    """Map model A onto model B and judge the map.

    The chosen rows are those of the largest mean own cosine on development scenarios, `embed` left out (its alignment
    is a floor). Untrained arms choose theirs in the same way, `embed` included: the strictest of them is subtracted.

    Args:
        a, b: the models.
        twins_a, twins_b: untrained twins of each; arms are twin of A → B and A → twin of B.
        rows_a, rows_b: rows to try; all by default. 0 is `embed`.
        method: name of an aligner.
        n_components: components that maps work in; None for as many as the texts allow.
        n_draws: of each null. n_bootstrap, seed: draws over scenarios, seed of everything.
        n_jobs: pairs of layers at a time; it changes no number.
        on_step: called with how many of `n_steps` alignments are done.

    Raises:
        InputError: different texts, no untrained twins, rows that are not there.
        MeasurementError: NaN, constant layers, too low a rank.
    """
    if not twins_a and not twins_b:
        raise InputError("There is no untrained twin to compare with.", accepted="one or more")
    for other in (b, *twins_a, *twins_b):
        require_same_texts(a.fit, other.fit)
        require_same_texts(a.explicit, other.explicit)
    chosen_a, chosen_b = checked_rows(a.name, a.n_rows, rows_a), checked_rows(b.name, b.n_rows, rows_b)
    new = partial(aligner_named(method), n_components=n_components)
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if on_step:
            on_step(steps)

    def developed(one: Side, two: Side) -> FloatArray:
        found = _aligned(one, two, chosen_a, chosen_b, DEVELOPMENT, new, 0, 2, seed, n_jobs)
        step()
        return found.mean_own

    # Products of a few hundred rows: threads of their own would only wait for each other.
    with threadpool_limits(1, user_api="blas"):
        development = developed(a, b)
        row_a, row_b = _best(development, chosen_a, chosen_b, without_embed=True)
        aligner = _fitted(a, b, row_a, row_b, new)
        pairs = [(twin, b) for twin in twins_a] + [(a, twin) for twin in twins_b]
        arms = tuple(_arm(one, two, developed(one, two), chosen_a, chosen_b, new) for one, two in pairs)
        embedding = _arm_at(a, b, 0, 0, development, new) if 0 in chosen_a and 0 in chosen_b else None
        layers = _aligned(a, b, chosen_a, chosen_b, TEST, new, n_draws, n_bootstrap, seed, n_jobs)
        step()
        trained = _contrasts(aligner, a, b, row_a, row_b)
        floors = {"untrained": arms} | ({"embedding": (embedding,)} if embedding else {})
        shared = _shared(aligner, a, b, row_a, row_b, max(n_draws, 99), n_bootstrap, seed)
        own = _overlap_of_weights(aligner, a, b, row_a, row_b)
        shared_floors = tuple(_shared_floor(name, own, some, shared, seed) for name, some in floors.items())
        over_embedding = _gains(trained, [embedding], n_bootstrap, seed) if embedding else ()
        step()
        return PairAlignment(
            a=a, b=b, method=method, fit_set=a.fit.data.name.removeprefix("fit-"), rows_a=chosen_a, rows_b=chosen_b,
            row_a=row_a, row_b=row_b, development=development, layers=layers, arms=arms,
            gains=_gains(trained, arms, n_bootstrap, seed), over_embedding=over_embedding, embedding=embedding,
            shared=shared, shared_floors=shared_floors, aligner=aligner,
        )  # fmt: skip


def n_steps(n_twins: int) -> int:
    """How often `align_pair` calls `on_step`, for so many twins on both sides together."""
    return n_twins + 3


def _shared_space(aligner: Aligner, a: Side, b: Side, row_a: int, row_b: int) -> tuple[ScenarioTable, ScenarioTable]:
    """The test texts of both, see `in_target_units`."""
    tables = (table_of(side.explicit, FIT_POSITION, row, TEST) for side, row in ((a, row_a), (b, row_b)))
    return in_target_units(aligner, *tables)


def checked_rows(name: str, n_rows: int, rows: Sequence[int] | None) -> tuple[int, ...]:
    """The rows of a model's activations that are aligned (0 is `embed`), all of them for None.

    Raises:
        InputError: no block among them, or a row that is not there.
    """
    chosen = tuple(range(n_rows)) if rows is None else tuple(dict.fromkeys(rows))
    if not any(chosen) or not all(0 <= row < n_rows for row in chosen):
        raise InputError(
            f"{name} cannot be aligned at these layers.",
            found=", ".join(str(row - 1) for row in chosen),
            accepted=f"-1 (embed) to {n_rows - 2}, one block or more",
        )
    return chosen


def _aligned(
    a: Side, b: Side, rows_a: Sequence[int], rows_b: Sequence[int], split: str, new: NewAligner,
    n_draws: int, n_bootstrap: int, seed: int, n_jobs: int,
) -> LayerAlignment:  # fmt: skip
    labels, scenarios = a.design(split)
    kinds = fit_kinds(a.fit)
    return align_all_layers(
        a.fit_layers(rows_a), b.fit_layers(rows_b), a.emotion_layers(rows_a, split), b.emotion_layers(rows_b, split),
        labels, scenarios, aligner=new(),
        fit_labels=kinds if len(set(kinds.tolist())) > 1 else None,
        n_draws=n_draws, n_bootstrap=n_bootstrap, seed=seed, n_jobs=n_jobs,
    )  # fmt: skip


def _best(
    values: FloatArray, rows_a: Sequence[int], rows_b: Sequence[int], *, without_embed: bool = False
) -> tuple[int, int]:
    """Rows of the largest value, the lower ones of equals."""
    if without_embed:
        values = np.where(np.outer(np.asarray(rows_a) > 0, np.asarray(rows_b) > 0), values, -np.inf)
    flat = int(np.argmax(values))
    return rows_a[flat // len(rows_b)], rows_b[flat % len(rows_b)]


def _fitted(a: Side, b: Side, row_a: int, row_b: int, new: NewAligner) -> Aligner:
    return new().fit(a.fit_layers([row_a])[0], b.fit_layers([row_b])[0])


def _contrasts(aligner: Aligner, a: Side, b: Side, row_a: int, row_b: int) -> MappedContrasts:
    labels, scenarios = a.design(TEST)
    return mapped_contrasts(
        aligner, a.emotion_layers([row_a], TEST)[0], b.emotion_layers([row_b], TEST)[0], labels, scenarios
    )


def _arm(
    a: Side, b: Side, development: FloatArray, rows_a: Sequence[int], rows_b: Sequence[int], new: NewAligner
) -> Arm:
    row_a, row_b = _best(development, rows_a, rows_b)
    return _arm_at(a, b, row_a, row_b, development, new)


def _arm_at(a: Side, b: Side, row_a: int, row_b: int, development: FloatArray, new: NewAligner) -> Arm:
    aligner = _fitted(a, b, row_a, row_b, new)
    contrasts = _contrasts(aligner, a, b, row_a, row_b)
    return Arm(a, b, row_a, row_b, development, contrasts, _overlap_of_weights(aligner, a, b, row_a, row_b), aligner)


def _overlap_of_weights(aligner: Aligner, a: Side, b: Side, row_a: int, row_b: int) -> Resampled:
    tables = _shared_space(aligner, a, b, row_a, row_b)
    k = BetweenClassSubspace().default_components(tables[0])
    estimator = BetweenClassSubspace(n_components=k)
    found = resampled_overlaps((estimator, tables[0]), (estimator, tables[1]), (k,))
    return lambda weights: found(weights)[:, 0]


def _gains(trained: MappedContrasts, others: Sequence[Arm], n_bootstrap: int, seed: int) -> tuple[GainResult, ...]:
    """Per emotion and, last, of their mean."""
    contrasts = [arm.contrasts for arm in others]
    return tuple(
        cosine_gain(trained, contrasts, emotion=emotion, n_draws=n_bootstrap, seed=seed)
        for emotion in (*trained.emotions, None)
    )


def _shared_floor(name: str, own: Resampled, arms: Sequence[Arm], shared: OverlapResult, seed: int) -> Rival:
    """S* of the best of these arms in every draw, and what the trained map's gains over it."""

    def best(weights: FloatArray) -> FloatArray:
        return np.asarray(np.max([arm.overlap(weights) for arm in arms], axis=0))

    def gain(weights: FloatArray) -> FloatArray:
        return (own(weights) - best(weights)) / (1 - shared.chance)

    level = float(corrected(best(np.ones((1, shared.n_scenarios)))[0], shared.chance))
    return floor_of(name, level, paired_gain(gain, shared.n_scenarios, n_draws=FLOOR_BOOTSTRAP, seed=seed))


def _shared(
    aligner: Aligner, a: Side, b: Side, row_a: int, row_b: int, n_draws: int, n_bootstrap: int, seed: int
) -> OverlapResult:
    mapped, own = _shared_space(aligner, a, b, row_a, row_b)
    [found] = compare_subspaces(
        mapped, own, BetweenClassSubspace(), n_permutations=n_draws, n_bootstrap=n_bootstrap, seed=seed
    )
    return found
