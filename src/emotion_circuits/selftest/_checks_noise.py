"""How often do tests find something where there is nothing?

Seeds 0 … N − 1 give N independent draws; in each draw one emotion is tested, so that no two tests of a kind share data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from emotion_circuits.directions import (
    Activations,
    GenericStatistics,
    Source,
    centroid_accuracy,
    choose_layers,
    cleaned_values,
    detection,
    fit_directions,
)
from emotion_circuits.interventions import Choice
from emotion_circuits.prompts import Dataset, Text
from emotion_circuits.selftest._bank import CLASSES, EMOTIONS
from emotion_circuits.selftest._bench import WHERE, Bench, Subject
from emotion_circuits.selftest._blueprint import PlantSpec
from emotion_circuits.selftest._check import SelftestCheck, false_positives
from emotion_circuits.selftest._checks_causal import steering_p
from emotion_circuits.selftest._planted import plant
from emotion_circuits.statistics import split_half_cosine

PValues = dict[str, float]

N_TESTS = 6
"""How many rates there are, over noise and twins."""

N_PERMUTATIONS = 199
N_LAYERS, WIDTH, N_SCENARIOS = 3, 48, 16
"""Of noise without a model: layers that one is chosen from, dimensions, scenarios in each split."""
TWIN = PlantSpec(n_layers=4, d_model=64, present=False)
TWIN_CHOICE = Choice(2, 0.2)


def noise_activations(seed: int) -> tuple[Activations, Activations]:
    """Explicit and implicit "activations" that are independent noise of unequal spread, with strong scenarios."""
    rng = np.random.default_rng([seed, 3])

    def drawn(name: str) -> Activations:
        splits = ["development"] * N_SCENARIOS + ["test"] * N_SCENARIOS
        texts = tuple(Text("noise", c, f"{name}-{g}", split) for g, split in enumerate(splits) for c in CLASSES)
        shape = (N_LAYERS + 1, len(splits), len(CLASSES), WIDTH)
        values = rng.standard_normal(shape) * np.geomspace(1, 0.1, WIDTH) + 2 * rng.standard_normal(
            (*shape[:2], 1, WIDTH)
        )
        flat = values.reshape(N_LAYERS + 1, -1, WIDTH).astype(np.float32)
        source = Source(model="noise", revision=f"seed-{seed}", dtype="float32", bos=False, centred_norm=False)
        return Activations(source, Dataset(name, texts), {WHERE: flat}, {})

    return drawn("explicit"), drawn("implicit")


def noise_p_values(seed: int) -> PValues:
    """p of every test of directions on one draw of noise, with the layer chosen on development scenarios."""
    explicit, implicit = noise_activations(seed)
    emotion = EMOTIONS[seed % len(EMOTIONS)]
    ones = np.ones(N_LAYERS + 1, dtype=np.float32)
    generic = GenericStatistics(np.zeros((N_LAYERS + 1, WIDTH), dtype=np.float32), ones, (), (), 8)
    found = fit_directions(explicit, WHERE, generic, ("specific",), share=0)
    layer = choose_layers(implicit.select(split="development"), found)[emotion]
    test = explicit.select(split="test")
    values = test.at(WHERE)[layer + 1].astype(np.float64)
    judged = implicit.select(split="test")
    return {
        "AUROC": detection(
            judged, found, emotion, layer + 1, n_bootstrap=2, n_permutations=N_PERMUTATIONS, seed=seed
        ).p,
        "split-half cosine": _stability_p(values, test, emotion, seed),
        "nearest-centroid accuracy": centroid_accuracy(
            values, test.labels, test.scenarios, n_permutations=N_PERMUTATIONS, seed=seed
        ).p,
    }


def twin_p_values(seed: int) -> PValues:
    """p of separability, stability and steering in a model of its own without a plant."""
    subject = Subject(plant(TWIN, seed=seed))
    emotion = EMOTIONS[seed % len(EMOTIONS)]
    found = subject.directions()
    layer = found.chosen_layer[emotion]
    test = subject.explicit.select(split="test")
    values = cleaned_values(test, WHERE, found.generic, found.cleaned)[layer + 1]
    judged = subject.implicit.select(split="test")
    return {
        "AUROC": detection(
            judged, found, emotion, layer + 1, n_bootstrap=2, n_permutations=N_PERMUTATIONS, seed=seed
        ).p,
        "split-half cosine": _stability_p(values, test, emotion, seed),
        "steering slope": steering_p(subject, emotion, TWIN_CHOICE, (N_PERMUTATIONS + 1) // 2, seed).p,
    }


def _stability_p(values: np.ndarray, test: Activations, emotion: str, seed: int) -> float:
    return split_half_cosine(
        values, test.labels, test.scenarios, emotion,
        n_splits=30, n_permutations=N_PERMUTATIONS, n_bootstrap=2, seed=seed,
    ).p  # fmt: skip


def false_positives_in_noise(bench: Bench) -> Iterator[SelftestCheck]:
    """Tests of directions on independent noise."""
    yield from _rates("noise", noise_p_values, bench.drawn(200, 2000), bench.seed)


def false_positives_in_twins(bench: Bench) -> Iterator[SelftestCheck]:
    """Tests of directions and steering in models without a plant."""
    yield from _rates("twins", twin_p_values, bench.drawn(20, 400), bench.seed)


def _rates(where: str, p_values: Callable[[int], PValues], n: int, seed: int) -> Iterator[SelftestCheck]:
    draws = [p_values(seed * n + k) for k in range(n)]
    for name in draws[0]:
        found = [draw[name] for draw in draws]
        yield false_positives(f"{n} {where}, false positives of {name}", found, N_TESTS)
