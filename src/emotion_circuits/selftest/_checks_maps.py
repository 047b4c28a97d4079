"""Do maps between models find a planted one, how close do they come, and how much does it take for them to find it?

"Signal four times the noise" has two readings, in amplitude (variance 16) and in variance, and both are planted. Five
degrees are the bound for amplitude and 2,000 texts. With half of the texts, or in variance, the bound is what theory
leaves to plain least squares with as many.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy import stats

from emotion_circuits.geometry import (
    Aligner,
    AlignmentReport,
    PlantedModels,
    Ridge,
    evaluate_alignment,
    planted_models,
    principal_angles,
)
from emotion_circuits.selftest._bench import Bench
from emotion_circuits.selftest._check import RARE, SelftestCheck, check
from emotion_circuits.selftest._checks_pairs import side_by_side
from emotion_circuits.statistics import ALPHA

WIDTH, RANK = 192, 40
N_FRESH = 1000


class Plant(NamedTuple):
    """Texts, variance of the weakest component over that of the noise, its reading, and whether five degrees bind."""

    n_texts: int
    variance: float
    reading: str
    strict: bool = False


SIGNAL = 4.0
PLANTS = (
    Plant(1000, SIGNAL**2, "amplitude"),
    Plant(2000, SIGNAL**2, "amplitude", strict=True),
    Plant(1000, SIGNAL, "variance"),
)
MOST_DEGREES = 5.0
LEAST_SHARE = 0.95
SAMPLING = 0.01
"""How far R² of `N_FRESH` texts may lie from its expectation."""
FEW_TEXTS = 70
STRENGTHS = (1 / 64, 1 / 16, 1 / 4, 1.0, SIGNAL**2)
"""Of the power curve: variance of the weakest component over that of the noise."""


class Recovered(NamedTuple):
    """What one map made of a plant, beside what theory allows.

    Attributes:
        degrees: largest principal angle between the span of the mapped planted directions and of the target's own.
        retrieval: share of mapped directions, found in texts, that are nearest to their own.
        share: R² on fresh texts over that of the best linear map.
        most_degrees: of least squares.
    """

    degrees: float
    retrieval: float
    share: float
    most_degrees: float


def recovered_map(plant: Plant, seed: int) -> Recovered:
    """Plant a map and fit it."""
    models = _plant(plant.n_texts, plant.variance, seed)
    aligner = Ridge().fit(models.fit_a, models.fit_b)
    fresh = models.fresh(N_FRESH, seed)
    return Recovered(
        degrees=_degrees(aligner, models),
        retrieval=_judged(aligner, models, 1, seed).retrieval,
        share=aligner.score(*fresh) / models.best_r2(*fresh),
        most_degrees=degrees_of_least_squares(models),
    )


def degrees_of_least_squares(models: PlantedModels) -> float:
    """An angle that the error of least squares exceeds with probability `RARE` at most.

    The best map bends the directions, since it shrinks weak components more. To their images comes Gaussian noise: a
    direction u has u Σ⁻¹ uᵀ / (n − d − 1) of it in each of the target's dimensions, and a k × d matrix of such noise
    is no longer than √d + √k + √(2 ln(1/p)) with probability 1 − p (Davidson and Szarek 2001).
    """
    images = models.directions_a @ models.best_map
    bend = float(principal_angles(images.T, models.directions_b.T).max())
    shares = models.directions_a @ models.loadings_a.T
    noise = (shares / (1 + models.latent_variances)) @ shares.T / (len(models.fit_a) - WIDTH - 1)
    length = np.sqrt(WIDTH) + np.sqrt(len(images)) + np.sqrt(2 * np.log(1 / RARE))
    weakest = float(np.linalg.svd(images, compute_uv=False).min())
    return float(np.degrees(bend + np.arcsin(min(1.0, length * np.sqrt(np.linalg.eigvalsh(noise)[-1]) / weakest))))


def planted_maps(bench: Bench) -> Iterator[SelftestCheck]:
    """Angle, retrieval and R² of maps from texts enough, the worst of several plants."""
    n = bench.drawn(4, 20)
    seeds = range(bench.seed * n, (bench.seed + 1) * n)
    for plant in PLANTS:
        found = side_by_side(partial(recovered_map, plant), seeds)
        most = MOST_DEGREES if plant.strict else max(f.most_degrees for f in found)
        name = f"{n} maps of {plant.n_texts:,} texts, signal {SIGNAL:g} × noise in {plant.reading}"
        yield check(f"{name}, largest angle in degrees", max(f.degrees for f in found), 0, most)
        yield check(f"{name}, lowest R² over the best", min(f.share for f in found), LEAST_SHARE, 1 + SAMPLING)
        yield check(f"{name}, lowest share retrieved", min(f.retrieval for f in found), 1, 1)


def power_of_maps(bench: Bench) -> Iterator[SelftestCheck]:
    """How often a map from few texts is told from shuffled pairs, by strength of the plant.

    What power should be is not known beforehand, so all but the strongest plant are shown only: their bounds are 0 and
    1. The strongest must be found more often than noise is.
    """
    n, n_draws = bench.drawn(20, 200), bench.drawn(39, 1999)
    seeds = range(bench.seed * n, (bench.seed + 1) * n)
    above_chance = (int(stats.binom.isf(RARE, n, ALPHA)) + 1) / n
    for variance in STRENGTHS:
        p = side_by_side(partial(map_p, variance, n_draws), seeds)
        rate = float(np.mean(np.asarray(p) <= ALPHA)) if np.isfinite(p).all() else np.nan
        name = f"power with {FEW_TEXTS} texts, {n} maps, signal {np.sqrt(variance):g} × noise in amplitude"
        strongest = variance == max(STRENGTHS)
        yield check(name if strongest else f"{name} (shown)", rate, above_chance if strongest else 0, 1)


def map_p(variance: float, n_draws: int, seed: int) -> float:
    """p of the mapped directions' own cosine over shuffled pairs."""
    models = _plant(FEW_TEXTS, variance, seed)
    report = _judged(Ridge().fit(models.fit_a, models.fit_b), models, n_draws, seed)
    [p] = [null.p for null in report.mean_own_nulls if null.name == "shuffled"]
    return p


def _plant(n_texts: int, variance: float, seed: int) -> PlantedModels:
    return planted_models(
        n_fit=n_texts,
        n_scenarios=FEW_TEXTS,
        width_a=WIDTH,
        width_b=WIDTH,
        rank=RANK,
        signal_to_noise=variance,
        seed=seed,
    )


def _degrees(aligner: Aligner, models: PlantedModels) -> float:
    images = aligner.transform_direction(models.directions_a)
    return float(np.degrees(principal_angles(images.T, models.directions_b.T).max()))


def _judged(aligner: Aligner, models: PlantedModels, n_draws: int, seed: int) -> AlignmentReport:
    return evaluate_alignment(
        aligner,
        models.emotion_a,
        models.emotion_b,
        models.labels,
        models.groups,
        n_draws=n_draws,
        n_bootstrap=2,
        seed=seed,
    )
