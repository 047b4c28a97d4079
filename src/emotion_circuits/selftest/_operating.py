"""Operating characteristics: how often each verdict comes out where nothing is planted, and where an effect is.

Each claim is simulated at the sizes of the default study and judged by the code that judges studies. An effect is a
gain over the strongest of the claim's nulls and floors, in multiples of the effect of interest; at 0 the claim is on
the edge of what is false: as good as its strongest floor, or drawn like its controls. How much units and draws vary is
taken from studies of the reference models (see `SPREADS`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from emotion_circuits.analyses import (
    ComponentsPlan,
    EffectsOfInterest,
    SteeringPlan,
    circuit_claim,
    control_null,
    separability_claim,
)
from emotion_circuits.components import SIZES, WITH_ALL_PAIRS, Circuits, DrawnCurves, Faithfulness
from emotion_circuits.directions import gain_over_floors
from emotion_circuits.geometry import (
    BetweenClassSubspace,
    MappedContrasts,
    ScenarioTable,
    compare_subspaces,
    corrected,
    cosine_gain,
    resampled_overlaps,
)
from emotion_circuits.interventions import ControlSlopes, both_signs
from emotion_circuits.prompts import Dataset, bank, contexts
from emotion_circuits.statistics import (
    Claim,
    Rival,
    Verdict,
    floor_of,
    grouped_auroc,
    grouped_bootstrap,
    judge,
    null_from,
    null_of,
    paired_gain,
    sequential_p,
    split_half_cosine,
)

FloatArray = NDArray[np.float64]
Rng = np.random.Generator
Simulator = Callable[[Rng, float], Claim]

MULTIPLES: Final = (0.0, 0.5, 1.0, 2.0)
"""Effects, in multiples of the effect of interest."""
EFFECTS: Final = EffectsOfInterest()
COMPONENTS: Final = ComponentsPlan()
STEERING: Final = SteeringPlan()
FLOOR: Final = 0.6
"""AUROC of the strongest floor, about that of the embeddings in the reference models."""
SCENARIOS: Final = 40
"""Test scenarios of explicit texts in `baseline`."""
DRAWS: Final = 500
"""Of bootstraps, and of permuted labels, which have more in a study; p is coarser here, which only costs power."""
NULL_DRAWS: Final = 1000
"""Shuffled maps, as in a study."""


class Spreads(NamedTuple):
    """What varies, in the reference models' studies."""

    within: float = 0.6
    """Share of a score's variance that lies within scenarios."""
    slope: float = 3.0
    """Deviation of steering slopes between contexts, nats per unit of dose."""
    control: float = 1.7
    """Deviation of shuffled-label controls' slopes; the other kind has 1.25."""
    random_cpr: float = 0.12
    """Deviation of random circuits' CPR."""
    pair: float = 0.5
    """Deviation of a pair's difference, in units of the mean difference."""
    mapped: float = 0.15
    """Deviation of a scenario's contrast in each of 192 dimensions, in units of the direction's length."""


SPREADS: Final = Spreads()


def _scores(
    rng: Rng, data_groups: NDArray[np.intp], positive: NDArray[np.bool_], aurocs: Sequence[float]
) -> FloatArray:
    """(scorers, n) scores of these AUROCs, half of whose variance they share, with scenarios that differ."""
    n, k = len(positive), len(aurocs)
    between, within = rng.normal(size=(k + 1, data_groups.max() + 1)), rng.normal(size=(k + 1, n))
    noise = np.sqrt(1 - SPREADS.within) * between[:, data_groups] + np.sqrt(SPREADS.within) * within
    shift = np.sqrt(2) * stats.norm.ppf(np.asarray(aurocs))
    return np.asarray(np.sqrt(0.5) * noise[:1] + np.sqrt(0.5) * noise[1:] + shift[:, None] * positive)


def _implicit_test() -> tuple[Dataset, str, NDArray[np.intp], NDArray[np.bool_]]:
    """The implicit test texts, an emotion, and each text's scenario and whether it is the emotion's."""
    data, emotion = bank().implicit().select(split="test"), bank().emotions[0]
    groups = np.unique([t.scenario for t in data], return_inverse=True)[1]
    return data, emotion, groups, np.array([t.emotion == emotion for t in data])


def separability(rng: Rng, effect: float) -> Claim:
    """Scores of the implicit test texts, the embedding the strongest floor."""
    data, emotion, groups, positive = _implicit_test()
    own, embedding, words, untrained = _scores(rng, groups, positive, (FLOOR + effect, FLOOR, 0.5, 0.5))
    floors = {"embedding": [embedding], "bag_of_words": [words], "untrained": [untrained]}
    return separability_claim(
        own, data, emotion, floors, effect=EFFECTS.separability, seed=_seed(rng), n_draws=DRAWS, id="rq1.separability",
        statistic="AUROC", unit="scenarios", model="simulated",
        layer=0, evidence=(),
    )  # fmt: skip


def stability(rng: Rng, effect: float) -> Claim:
    """Activations whose specific directions have this expected split-half cosine."""
    d, emotions = 64, 3
    noise = d / (SCENARIOS / 2)  # squared length of the noise of half the scenarios' mean
    length = np.sqrt(noise * effect / (1 - effect))
    values = rng.normal(size=(SCENARIOS, emotions + 1, d)) + 2 * rng.normal(size=(SCENARIOS, 1, d))
    values[:, np.arange(1, emotions + 1), np.arange(emotions)] += length
    labels, groups = np.tile(np.array(bank().names), SCENARIOS), np.repeat(np.arange(SCENARIOS), emotions + 1)
    found = split_half_cosine(
        values.reshape(-1, d), labels, groups, bank().emotions[0],
        n_splits=50, n_permutations=DRAWS, n_bootstrap=DRAWS, seed=_seed(rng),
    )  # fmt: skip
    null = null_from("permuted labels", found.null_mean, found.null_high, found.p, DRAWS, found.interval)
    return _claim("rq1.stability", [null], found.value, found.interval[:2], EFFECTS.stability, SCENARIOS)


def steering(rng: Rng, effect: float) -> Claim:
    """Slopes on test contexts, and those of both kinds of controls on the first of them."""
    n, few = len(contexts("test")), STEERING.control_contexts
    # Without an effect the direction is one of the controls'.
    mean = effect or rng.normal(scale=SPREADS.control)
    slopes = rng.normal(mean, SPREADS.slope, size=n)
    boot = grouped_bootstrap(slopes, n_draws=DRAWS, seed=_seed(rng))
    nulls = []
    for kind, spread, drawn in (
        ("covariance", 1.25, STEERING.covariance_controls),
        ("shuffled-label", SPREADS.control, STEERING.shuffled_controls),
    ):
        means = rng.normal(scale=spread, size=drawn // 2) + rng.normal(scale=SPREADS.slope / few**0.5, size=drawn // 2)
        both = both_signs(means[:, None, None])
        controls = ControlSlopes(kind, ("own",), both)
        nulls.append(control_null(controls, controls.beyond("own", float(slopes[:few].mean())), "own", boot))
    return _claim("rq3.steering", nulls, boot.value, boot.interval[:2], EFFECTS.steering, n, perplexity_ratio=1.0)


def circuit(rng: Rng, effect: float) -> Claim:
    """Differences of pairs in circuits that keep a share of the emotion's effect, and in random ones."""
    n, draws = COMPONENTS.pairs, COMPONENTS.draws
    over = tuple(i for i, size in enumerate(SIZES) if size in COMPONENTS.random_sizes or size == 1)
    sizes = np.array([0.0, *(SIZES[i] for i in over)])
    per_share = float(np.trapezoid([0.0, *[1.0] * (len(over) - 1), 0.0], sizes))  # area of a share kept below size 1
    spread = SPREADS.random_cpr / per_share
    whole, empty = rng.normal(1, SPREADS.pair, n), rng.normal(0, SPREADS.pair / 2, n)

    def kept(shares: FloatArray) -> FloatArray:
        curves = np.full((len(shares), len(SIZES), n), np.nan)
        for i in over:
            noise = rng.normal(scale=SPREADS.pair / 2, size=(len(shares), n))
            curves[:, i] = whole if SIZES[i] == 1 else empty + shares[:, None] * (whole - empty) + noise
        return curves

    random = kept(rng.normal(0.4, spread, draws))
    random[WITH_ALL_PAIRS:, ..., COMPONENTS.drawn_pairs :] = np.nan
    share = 0.4 + effect / per_share if effect else rng.normal(0.4, spread)
    found = Faithfulness(
        "simulated", "own", "", "", SIZES, Circuits(np.zeros((0, 0, 0), bool), np.zeros((0, 0, 0), bool)), whole, empty,
        kept(np.array([share]))[0], random, whole, np.zeros((0, n)), (), 0, over,
    )  # fmt: skip
    beyond = None
    if found.tested:
        areas = found.area(found.random_curves)
        observed = float(found.area(found.share(found.kept, found.drawn_on)))
        beyond = sequential_p(observed, lambda k, m: areas[k : k + m], draws, stop_after=COMPONENTS.exceeding)
    drawn = DrawnCurves(found, beyond)
    return circuit_claim(
        drawn, "simulated", exceeding=COMPONENTS.exceeding, effect=EFFECTS.circuit, evidence="", seed=_seed(rng)
    )


def _contrasts(rng: Rng, own: FloatArray, cosine: float) -> MappedContrasts:
    """(G, E, d) contrasts through a map whose directions have this cosine with the true ones, unit vectors on axes."""
    g, e = own.shape[:2]
    mapped = rng.normal(scale=SPREADS.mapped, size=own.shape)
    mapped[:, np.arange(e), np.arange(e)] += cosine
    mapped[:, np.arange(e), e + np.arange(e)] += np.sqrt(1 - cosine**2)
    return MappedContrasts(bank().emotions, tuple(map(str, range(g))), mapped, own)


def alignment(rng: Rng, effect: float) -> Claim:
    """Contrasts through a map, through an untrained one and through one between embeddings, the strongest floor."""
    e, d, floor = 3, 192, 0.4
    own = rng.normal(scale=SPREADS.mapped, size=(SCENARIOS, e, d))
    own[:, np.arange(e), np.arange(e)] += 1
    # Noise of both means shortens every cosine alike.
    reliability = 1 / (1 + SPREADS.mapped**2 * d / SCENARIOS)
    trained = _contrasts(rng, own, floor + effect / reliability)
    arms = {"embedding": _contrasts(rng, own, floor), "untrained": _contrasts(rng, own, floor - 0.1)}
    seed = _seed(rng)
    gains = {
        k: cosine_gain(trained, [arm], emotion=bank().emotions[0], n_draws=DRAWS, seed=seed) for k, arm in arms.items()
    }
    found = gains["embedding"]
    null = null_of("shuffled", found.trained, rng.normal(scale=0.1, size=NULL_DRAWS), found.interval)
    rivals = [null, *(floor_of(k, g.best_other, g.gain) for k, g in gains.items())]
    return _claim("rq5.alignment", rivals, found.trained, found.interval[:2], EFFECTS.alignment, SCENARIOS)


def transfer(rng: Rng, effect: float) -> Claim:
    """Scores of implicit test texts along a mapped direction, one mapped between embeddings, and shuffled maps'."""
    data, emotion, groups, positive = _implicit_test()
    own, embedding, untrained = _scores(rng, groups, positive, (FLOOR + effect, FLOOR, 0.5))
    seed = _seed(rng)
    found = grouped_auroc(own, positive, groups, n_bootstrap=DRAWS, n_permutations=2, seed=seed)
    floors = {"embedding": [embedding], "untrained": [untrained]}
    rivals = [
        null_of("shuffled maps", found.value, rng.normal(0.5, 0.06, NULL_DRAWS), found.interval),
        *gain_over_floors(own, data, emotion, floors, n_draws=DRAWS, seed=seed),
    ]
    return _claim("rq5.transfer", rivals, found.value, found.interval[:2], EFFECTS.transfer, found.n_groups)


def shared(rng: Rng, effect: float) -> Claim:
    """Texts of two models in one space whose emotions share part of their plane, and of the embeddings."""
    d, e, floor = 64, 3, 0.3
    reliability = 0.63  # what noise of both models' means leaves of a difference, found by simulation

    def table(overlap: float) -> ScenarioTable:
        means = np.zeros((e + 1, d))
        # Each emotion leans out of the common space by the same angle: squared cosines are the overlap.
        means[np.arange(1, e + 1), np.arange(e)] = np.sqrt(overlap)
        means[np.arange(1, e + 1), e + np.arange(e)] = np.sqrt(1 - overlap)
        values = 4 * means[None] + rng.normal(size=(SCENARIOS, e + 1, d)) + 2 * rng.normal(size=(SCENARIOS, 1, d))
        labels, groups = np.tile(np.array(bank().names), SCENARIOS), np.repeat(np.arange(SCENARIOS), e + 1)
        return ScenarioTable.from_texts(values.reshape(-1, d), labels, groups)

    own, embedding, mapped = table(1.0), table(floor), table(floor + effect / reliability)
    estimator = BetweenClassSubspace(n_components=e)
    seed = _seed(rng)
    [found] = compare_subspaces(mapped, own, estimator, n_permutations=499, n_bootstrap=DRAWS, n_splits=2, seed=seed)
    interval = found.corrected_interval
    value, other = (resampled_overlaps((estimator, t), (estimator, own), (e,)) for t in (mapped, embedding))

    def gain(weights: FloatArray) -> FloatArray:
        return np.asarray((value(weights) - other(weights))[:, 0] / (1 - found.chance))

    rivals = []
    for band in found.nulls:
        mean, high = (float(corrected(point, found.chance)) for point in (band.mean, band.high))
        rivals.append(null_from(band.name, mean, high, band.p, band.n_draws, interval))
    level = float(corrected(other(np.ones((1, SCENARIOS)))[0, 0], found.chance))
    rivals.append(floor_of("embedding", level, paired_gain(gain, SCENARIOS, n_draws=DRAWS, seed=seed)))
    return _claim("rq2.shared", rivals, found.corrected, interval[:2], EFFECTS.shared, SCENARIOS)


def _claim(
    id: str,
    rivals: list[Rival],
    value: float,
    interval: tuple[float, float],
    effect: float,
    n: int,
    **conditions: float,
) -> Claim:
    return Claim.beside(
        rivals, id=id, question=id.partition(".")[0].upper(), model="simulated", emotion=None, layer=None, statistic=id,
        value=value, ci95=interval, ceiling=None, n_unique=n, evidence=(), effect_of_interest=effect,
        side_conditions=conditions or None,
    )  # fmt: skip


def _seed(rng: Rng) -> int:
    return int(rng.integers(2**31))


class Declared(NamedTuple):
    """A declared claim: how it is simulated, its effect of interest, and over how many claims Holm runs by default."""

    simulate: Simulator
    effect: float
    n_claims: int
    power: float = 0.8
    """What is asked for at the effect of interest."""


DECLARED: Final = {
    "rq1.separability": Declared(separability, EFFECTS.separability, 18),
    "rq1.stability": Declared(stability, EFFECTS.stability, 18),
    "rq2.shared": Declared(shared, EFFECTS.shared, 6),
    "rq3.steering": Declared(steering, EFFECTS.steering, 9),
    "rq4.circuit": Declared(circuit, EFFECTS.circuit, 9, power=0.7),
    "rq5.alignment": Declared(alignment, EFFECTS.alignment, 36),
    "rq5.transfer": Declared(transfer, EFFECTS.transfer, 36),
}


class Rate(NamedTuple):
    """How often a verdict came out.

    Attributes:
        id: of the claim.
        multiple: of the effect of interest; effect: in the statistic's unit; verdict: which.
        rate, low, high: share of the studies, with its exact 95 % interval.
        n_studies: count.
    """

    id: str
    multiple: float
    effect: float
    verdict: Verdict
    rate: float
    low: float
    high: float
    n_studies: int


def operating_characteristics(id: str, multiple: float, *, n_studies: int, seed: int = 0) -> list[Rate]:
    """Simulate a claim in so many studies, and judge it beside the study's other claims of the question, which have the
    same effect.

    Raises:
        KeyError: no declared claim.
    """
    declared = DECLARED[id]
    rng = np.random.default_rng((seed, sorted(DECLARED).index(id), round(100 * multiple)))
    drawn = [declared.simulate(rng, multiple * declared.effect) for _ in range(n_studies)]
    counts = Counter[Verdict | None]()
    for claim in drawn:
        others = [drawn[i] for i in rng.choice(n_studies, declared.n_claims - 1, replace=True)]
        beside = [other.model_copy(update={"layer": place}) for place, other in enumerate(others, start=1)]
        counts[judge([claim.model_copy(update={"layer": 0}), *beside])[0].verdict] += 1
    rates = []
    for verdict in ("supported", "not supported", "underpowered", "not tested"):
        found = counts[verdict]
        interval = stats.binomtest(found, n_studies).proportion_ci()
        rates.append(
            Rate(
                id,
                multiple,
                multiple * declared.effect,
                verdict,
                found / n_studies,
                float(interval.low),
                float(interval.high),
                n_studies,
            )
        )
    return rates
