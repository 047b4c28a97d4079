"""How often do overlap, similarity and maps find something between models of independent noise?

Seeds 0 … N − 1 give N independent pairs. Similarity is that of the texts that maps are fitted on; overlap and maps are
judged on scenarios of four texts each.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from emotion_circuits.geometry import (
    AlignmentReport,
    BetweenClassSubspace,
    OverlapResult,
    Ridge,
    TwoModels,
    compare_spaces,
    compare_subspaces,
    evaluate_alignment,
    independent_models,
    rotation_null,
)
from emotion_circuits.selftest._bank import EMOTIONS
from emotion_circuits.selftest._bench import Bench
from emotion_circuits.selftest._check import SelftestCheck, check, false_positive_family, unbiased

Item = TypeVar("Item")
Result = TypeVar("Result")
Measure = Literal["cka", "rsa", "neighbours"]


class Size(NamedTuple):
    """Pairs of one shape: texts to fit on, scenarios to judge on, dimensions, and how many pairs."""

    n_fit: int
    n_scenarios: int
    width: int
    n_pairs: int


SIZES = (Size(70, 70, 192, 200), Size(280, 280, 192, 200), Size(1000, 250, 768, 10))
QUICK_DRAWS, FULL_DRAWS = 19, 1999
"""Of each null. With p = (b + 1)/(m + 1) both give p ≤ .05 in exactly 5 % of cases where a test is exact."""
EXPLAINED = 0.01
"""How much of fresh texts a map fitted on noise may explain on average."""
WORSE_THAN_NOTHING = -1.0
"""R² of predictions as far from the truth as twice its variance: no regularised map is so wrong."""
CHANCE = 1 / len(EMOTIONS)
"""Of a mapped direction to be nearest to its own."""
MEASURES: dict[Measure, str] = {"cka": "debiased CKA", "rsa": "RSA", "neighbours": "mutual neighbours"}
N_ROTATIONS = 100_000
MOST_THREADS = 4


class Pair(NamedTuple):
    """What was found in one pair: p of every test, corrected overlap, and of the map R² and the share retrieved."""

    p_values: dict[str, float]
    corrected: float
    r2: float
    retrieval: float


def noise_pair(size: Size, n_draws: int, seed: int) -> Pair:
    """Every test of `geometry` on one pair of models of independent noise."""
    models = independent_models(
        n_fit=size.n_fit, n_scenarios=size.n_scenarios, width_a=size.width, width_b=size.width, seed=seed
    )
    overlap = _overlap(models, n_draws, seed)
    report = _alignment(models, n_draws, seed)
    found = {f"overlap, {null.name}": null.p for null in overlap.nulls}
    found |= {name: _similarity_p(models, measure, n_draws, seed) for measure, name in MEASURES.items()}
    for statistic, nulls in (
        ("own cosine", (*report.mean_own_nulls, report.mean_own_label_null)),
        ("specificity", report.specificity_nulls),
        ("overlap after the map", (*report.overlap_nulls, report.overlap_label_null)),
    ):
        found |= {f"{statistic}, {null.name}": null.p for null in nulls if null is not None}
    return Pair(found, overlap.corrected, report.r2, report.retrieval)


def _overlap(models: TwoModels, n_draws: int, seed: int) -> OverlapResult:
    [result] = compare_subspaces(
        models.table_a,
        models.table_b,
        BetweenClassSubspace(),
        n_permutations=n_draws,
        n_bootstrap=2,
        n_splits=1,
        seed=seed,
    )
    return result


def _alignment(models: TwoModels, n_draws: int, seed: int) -> AlignmentReport:
    return evaluate_alignment(
        Ridge().fit(models.fit_a, models.fit_b),
        models.emotion_a,
        models.emotion_b,
        models.labels,
        models.groups,
        fit_labels=models.fit_labels,
        n_draws=n_draws,
        n_bootstrap=2,
        seed=seed,
    )


def _similarity_p(models: TwoModels, measure: Measure, n_draws: int, seed: int) -> float:
    # Groups only matter to the interval, which is not asked for here: few are cheap.
    groups = np.arange(len(models.fit_a)) % 3
    found = compare_spaces([models.fit_a], [models.fit_b], measure=measure, groups=groups, n_draws=n_draws, seed=seed)
    return float(found.p[0, 0])


def nothing_between_noise(bench: Bench) -> Iterator[SelftestCheck]:
    """Rates of false positives, bias of the corrected overlap, and what maps explain and retrieve of noise."""
    n_draws = bench.drawn(QUICK_DRAWS, FULL_DRAWS)
    rates: dict[str, list[float]] = {}
    for size in SIZES:
        name = f"{size.n_pairs} noise pairs of {size.n_fit:,} × {size.width}"
        seeds = range(bench.seed * size.n_pairs, (bench.seed + 1) * size.n_pairs)
        pairs = side_by_side(partial(noise_pair, size, n_draws), seeds)
        for test in pairs[0].p_values:
            rates[f"{name}, false positives of {test}"] = [pair.p_values[test] for pair in pairs]
        deviation = chance_deviation(size.width, bench.seed)
        yield unbiased(f"{name}, mean corrected overlap", [pair.corrected for pair in pairs], 0.0, deviation)
        explained = float(np.mean([pair.r2 for pair in pairs]))
        yield check(f"{name}, mean held-out R² of maps", explained, WORSE_THAN_NOTHING, EXPLAINED)
        # As if the hits of a pair came all or none: they depend on each other.
        deviation = np.sqrt(CHANCE * (1 - CHANCE))
        yield unbiased(f"{name}, mean share retrieved", [pair.retrieval for pair in pairs], CHANCE, deviation)
    yield from false_positive_family(rates)


def chance_deviation(width: int, seed: int) -> float:
    """Standard deviation of S* between uniformly random subspaces, which class means of Gaussian noise span."""
    k = len(EMOTIONS)
    return float(rotation_null(width, k, k, N_ROTATIONS, seed).std() / (1 - k / width))


def side_by_side(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Results in the order of the items. Every item works on one core, several of them at a time."""
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        return list(pool.map(function, items))
