"""Models as activations: two that read one plant layer by layer, and twins that share nothing with anything."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.comparison import Side
from emotion_circuits.directions import Activations, Source
from emotion_circuits.geometry import PlantedModels, noise_twin, planted_models
from emotion_circuits.prompts import Dataset, Text

N_FIT, N_SCENARIOS, WIDTH = 300, 40, 40


def planted(seed: int = 0, *, emotion_size: float = 30.0) -> PlantedModels:
    return planted_models(
        n_fit=N_FIT, n_scenarios=N_SCENARIOS, width_a=WIDTH, width_b=WIDTH, rank=24, signal_to_noise=16.0,
        emotion_size=emotion_size, seed=seed,
    )  # fmt: skip


def texts_of(labels: NDArray[np.str_], groups: NDArray[np.int_]) -> Dataset:
    """Half of the scenarios are for development."""
    return Dataset(
        "planted",
        tuple(
            Text(
                f"{label} text of scenario {group}.",
                str(label),
                str(group),
                ("development", "test")[int(str(group).split()[-1]) % 2],
            )
            for label, group in zip(labels, groups, strict=True)
        ),
    )


def activations(name: str, data: Dataset, rows: list[NDArray[np.float64]]) -> Activations:
    source = Source(model=name, revision="planted", dtype="float32", bos=False, centred_norm=False)
    return Activations(source, data, {"mean": np.stack(rows).astype(np.float32)}, {})


def side(name: str, fit: NDArray[np.float64], emotion: NDArray[np.float64], plant: PlantedModels, seed: int) -> Side:
    """`embed` and layer 0 are noise, layer 1 is the plant."""
    rng = np.random.default_rng(seed)
    fit_rows = [rng.standard_normal(fit.shape) for _ in range(2)] + [fit]
    emotion_rows = [rng.standard_normal(emotion.shape) for _ in range(2)] + [emotion]
    fit_data = Dataset(
        "fit-neutral", tuple(Text(f"Fit text {i}.", "neutral", f"neutral-{i}", "development") for i in range(len(fit)))
    )
    data = texts_of(plant.labels, plant.groups)
    return Side(activations(name, fit_data, fit_rows), activations(name, data, emotion_rows))


def sides(seed: int = 0, *, emotion_size: float = 30.0) -> tuple[Side, Side, list[Side], list[Side]]:
    """A, B and two twins of each; the twins have the plant's covariance and nothing in common with anyone."""
    plant = planted(seed, emotion_size=emotion_size)
    twins = [noise_twin(plant, 100 * seed + number) for number in (1, 2)]
    return (
        side("A", plant.fit_a, plant.emotion_a, plant, 1),
        side("B", plant.fit_b, plant.emotion_b, plant, 2),
        [side(f"A{i}", t.fit_a, t.emotion_a, plant, 10 + i) for i, t in enumerate(twins)],
        [side(f"B{i}", t.fit_b, t.emotion_b, plant, 20 + i) for i, t in enumerate(twins)],
    )
