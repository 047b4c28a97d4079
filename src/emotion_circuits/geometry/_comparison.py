"""Overlap of the same kind of subspace in two models, between its chance and its ceiling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from emotion_circuits.errors import InputError
from emotion_circuits.statistics import Interval, exceedance_p, substream, weighted_bootstrap

from ._draws import Draws, halves, label_permutations, observed
from ._inputs import FloatArray, ScenarioTable, Seed, require_same_design
from ._overlap import coordinate_null, corrected, nested_overlaps, principal_angles, rotation_null
from ._rescaled import rescaled_shares, rescaled_weights
from ._subspaces import SubspaceEstimator

OverlapNull = Literal["labels", "rotation", "coordinates"]
LabelDraws = Literal["joint", "independent"]
ALL_NULLS: tuple[OverlapNull, ...] = ("labels", "rotation", "coordinates")


@dataclass(frozen=True)
class NullBand:
    """Where a statistic lies under a broken link: mean, 2.5 % and 97.5 % points, and p of "no larger than this"."""

    name: str
    mean: float
    low: float
    high: float
    p: float
    n_draws: int

    @classmethod
    def of(cls, name: str, value: float, draws: FloatArray) -> NullBand:
        """Summarise (n,) draws beside the observed value."""
        low, high = np.quantile(draws, [0.025, 0.975])
        return cls(name, float(draws.mean()), float(low), float(high), exceedance_p(value, draws), len(draws))


@dataclass(frozen=True)
class OverlapResult:
    """Overlap S of two subspaces of k dimensions, with everything that says what it is worth.

    Attributes:
        value, corrected: S and S* = (S − k/d)/(1 − k/d).
        interval, corrected_interval: bootstrap over scenarios, for S and S*.
        chance: k/d.
        null, null_mean, null_low, null_high, p: the strictest of `nulls`, that of the largest p (then of the highest
            band).
        nulls: all of them.
        ceiling: S of a model with itself, between the halves of the scenarios (geometric mean of both models).
        split_half: S of one model on one half with the other on the other half, which pays the same price for having
            half the scenarios as `ceiling` does: compare these two.
        angles: principal angles in degrees, largest first.
        k, d, n_scenarios, n_texts, n_unique: counts; the last two of the model that has fewer.
    """

    value: float
    corrected: float
    interval: Interval
    corrected_interval: Interval
    chance: float
    null: str
    null_mean: float
    null_low: float
    null_high: float
    p: float
    nulls: tuple[NullBand, ...]
    ceiling: float
    split_half: float
    angles: tuple[float, ...]
    k: int
    d: int
    n_scenarios: int
    n_texts: int
    n_unique: int


def compare_subspaces(
    a: ScenarioTable,
    b: ScenarioTable,
    estimator: SubspaceEstimator,
    *,
    estimator_b: SubspaceEstimator | None = None,
    k_values: Sequence[int] | None = None,
    nulls: Sequence[OverlapNull] = ALL_NULLS,
    label_draws: LabelDraws = "joint",
    n_permutations: int = 1000,
    n_bootstrap: int = 2000,
    n_splits: int = 100,
    seed: Seed,
    level: float = 0.95,
) -> tuple[OverlapResult, ...]:
    """Overlap of one kind of subspace in two models (or layers, or positions) on the same scenarios.

    Between models this means something only after alignment: pass `a` mapped into b's space. Unaligned, for equal d,
    it is here to be seen beside its chance.

    Args:
        a, b: the texts of each side, with the same scenarios, classes and width.
        estimator, estimator_b: how the subspace is found; the second is for b where it is another one (two emotions of
            one model, say).
        k_values: dimensions, each a result; None for the estimator's own. Leading columns of one basis serve all.
        nulls: "labels" shuffles classes within scenarios and runs the estimator again, "rotation" and "coordinates"
            break the link between the two spaces.
        label_draws: "joint" plays the same shuffles on both sides, so that what the texts share whatever their emotion
            (all of it, between aligned models) is part of the null; "independent" shuffles each side by itself.
        n_permutations, n_bootstrap, n_splits, seed, level: draws, their seed, nominal coverage.

    Returns:
        One result per k, in the given order.

    Raises:
        InputError: different widths, scenarios or classes, or a k that the texts (or half of them) cannot give.
        MeasurementError: texts that span fewer than k dimensions, in a draw too.
    """
    _require_comparable(a, b, nulls)
    ks = tuple(k_values) if k_values is not None else (estimator.n_components or estimator.default_components(a),)
    require_ks(ks, a.width)
    one, two = (of_size(each, max(ks)) for each in (estimator, estimator if estimator_b is None else estimator_b))

    def overlaps(draws_a: Draws, draws_b: Draws) -> FloatArray:
        return overlaps_of_draws((one, a, draws_a), (two, b, draws_b), ks)

    basis_a, basis_b = one.bases(a, observed(a)), two.bases(b, observed(b))
    values = nested_overlaps(basis_a, basis_b, ks)[0]

    def draws_of(null: OverlapNull) -> FloatArray:
        if null == "labels":
            first = label_permutations(a, n_permutations, substream(seed, 3))
            other = first if label_draws == "joint" else label_permutations(b, n_permutations, substream(seed, 4))
            return overlaps(first, other)
        if null == "rotation":
            return np.stack([rotation_null(a.width, k, k, n_permutations, seed) for k in ks], axis=1)
        return coordinate_null(basis_a[0], basis_b[0], ks, n_permutations, seed)

    draws_of_null: dict[str, FloatArray] = {null: draws_of(null) for null in nulls}
    first_half, second_half = halves(a, n_splits, substream(seed, 5))
    self_a, self_b = (_self_overlap(e, table, ks, first_half, second_half) for e, table in ((one, a), (two, b)))
    ceilings = np.sqrt(self_a * self_b)
    across = (overlaps(first_half, second_half).mean(axis=0) + overlaps(second_half, first_half).mean(axis=0)) / 2

    remembered = _remember(resampled_overlaps((one, a), (two, b), ks))
    results = []
    for i, k in enumerate(ks):
        boot = weighted_bootstrap(
            lambda weights, i=i: remembered(weights)[:, i],  # type: ignore[misc]  # mypy takes i for a second argument
            a.n_scenarios, n_draws=n_bootstrap, seed=substream(seed, 6), level=level,
        )  # fmt: skip
        angles = np.degrees(principal_angles(basis_a[0][:, :k], basis_b[0][:, :k]))
        nulls_of_k = {name: null[:, i] for name, null in draws_of_null.items()}
        stability = (float(ceilings[i]), float(across[i]))
        results.append(_result(a, b, k, float(values[i]), boot.interval, nulls_of_k, stability, angles))
    return tuple(results)


def _result(
    a: ScenarioTable, b: ScenarioTable, k: int, value: float, interval: Interval, nulls: Mapping[str, FloatArray],
    stability: tuple[float, float], angles: FloatArray,
) -> OverlapResult:  # fmt: skip
    """One dimension's overlap beside its strictest null; `stability` is the ceiling and what halves of both share."""
    chance = k / a.width
    bands = tuple(NullBand.of(name, value, null) for name, null in nulls.items())
    strictest = max(bands, key=lambda band: (band.p, band.high))
    low, high = (float(bound) for bound in corrected(interval[:2], chance))
    return OverlapResult(
        value=value, corrected=float(corrected(value, chance)), interval=interval,
        corrected_interval=interval._replace(low=low, high=high), chance=chance, null=strictest.name,
        null_mean=strictest.mean, null_low=strictest.low, null_high=strictest.high, p=strictest.p, nulls=bands,
        ceiling=stability[0], split_half=stability[1], angles=tuple(angles.tolist()), k=k, d=a.width,
        n_scenarios=a.n_scenarios, n_texts=min(a.n_texts, b.n_texts), n_unique=min(a.n_unique, b.n_unique),
    )  # fmt: skip


def resampled_overlaps(
    first: tuple[SubspaceEstimator, ScenarioTable], second: tuple[SubspaceEstimator, ScenarioTable], ks: tuple[int, ...]
) -> Callable[[FloatArray], FloatArray]:
    """(B, G) weights of scenarios → (B, K) S of two subspaces, with shortened steps (see `rescaled_weights`)."""
    basis_a, basis_b = (one.bases(table, observed(table)) for one, table in (first, second))
    values = nested_overlaps(basis_a, basis_b, ks)[0]

    def resampled(weights: FloatArray) -> FloatArray:
        stepped = Draws(rescaled_weights(weights))
        return rescaled_shares(values, overlaps_of_draws((*first, stepped), (*second, stepped), ks))

    return resampled


def overlaps_of_draws(
    first: tuple[SubspaceEstimator, ScenarioTable, Draws],
    second: tuple[SubspaceEstimator, ScenarioTable, Draws],
    ks: tuple[int, ...],
) -> FloatArray:
    """(B, K) S between the subspaces of two tables, draw by draw, in batches that bound memory."""
    (one, a, draws_a), (two, b, draws_b) = first, second
    pairs = zip(draws_a.parts(a.cells.size), draws_b.parts(a.cells.size), strict=True)
    return np.concatenate([nested_overlaps(one.bases(a, x), two.bases(b, y), ks) for x, y in pairs])


def _require_comparable(a: ScenarioTable, b: ScenarioTable, nulls: Sequence[OverlapNull]) -> None:
    if not nulls or set(nulls) - set(ALL_NULLS):
        raise InputError("There is no such null.", found=", ".join(nulls), accepted=", ".join(ALL_NULLS))
    if a.width != b.width:
        raise InputError(
            "Subspaces of models of different width have no overlap.",
            found=f"{a.width} and {b.width} dimensions",
            next_step="align the models first (align), then compare in one of them",
        )
    require_same_design(a, b)


def require_ks(ks: tuple[int, ...], width: int) -> None:
    """Raise `InputError` unless subspaces of these dimensions can differ in overlap."""
    if not ks or not all(1 <= k < width for k in ks):
        raise InputError("No overlap for these dimensions.", found=ks, accepted=f"1 to {width - 1}")


def of_size(estimator: SubspaceEstimator, k: int) -> SubspaceEstimator:
    """The estimator for k dimensions."""
    parameters = estimator.get_params()
    return type(estimator)(**{**parameters, "n_components": k})


def _self_overlap(
    estimator: SubspaceEstimator, table: ScenarioTable, ks: tuple[int, ...], first: Draws, second: Draws
) -> FloatArray:
    """(K,) mean S over splits."""
    overlaps = nested_overlaps(estimator.bases(table, first), estimator.bases(table, second), ks)
    return np.asarray(overlaps.mean(axis=0))


def _remember(function: Callable[[FloatArray], FloatArray]) -> Callable[[FloatArray], FloatArray]:
    """All k of a sweep ask for the same bootstrap draws: compute them once."""
    known: dict[bytes, FloatArray] = {}

    def remembered(weights: FloatArray) -> FloatArray:
        key = weights.tobytes()
        if key not in known:
            known[key] = function(weights)
        return known[key]

    return remembered
