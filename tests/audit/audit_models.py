"""Models made of numbers, as activations that the audit takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emotion_circuits.directions import Activations, Source, save_activations
from emotion_circuits.models import ModelName
from emotion_circuits.prompts import Dataset, Text, bank

CLASSES = bank().names


def texts(n: int, name: str = "numbers") -> Dataset:
    """n scenarios, every class once in each."""
    return Dataset(name, tuple(Text(f"{c} {g}", c, f"s{g:03}", "test") for c in CLASSES for g in range(n)))


def made_of(values: np.ndarray, name: str, data: Dataset) -> Activations:
    """Activations with (layers + 1, texts, d) values at the ends of sentences."""
    source = Source(model=name, revision="r", dtype="float32", bos=False, centred_norm=False)
    return Activations(source, data, {"sentence_end": values.astype(np.float32)}, dict.fromkeys(CLASSES, 0.9))


def noise_model(name: str, seed: int, n: int = 24, d: int = 32, n_layers: int = 4) -> Activations:
    """Independent Gaussian numbers in every layer, ever larger."""
    sizes = np.arange(1, n_layers + 2)[:, None, None]
    values = np.random.default_rng([seed, 7]).standard_normal((n_layers + 1, len(CLASSES) * n, d)) * sizes
    return made_of(values, name, texts(n))


def turned(activations: Activations, name: str, seed: int) -> Activations:
    """The same model in other coordinates."""
    values = activations.values["sentence_end"]
    d = values.shape[2]
    rotation = np.linalg.qr(np.random.default_rng([seed, 8]).standard_normal((d, d)))[0]
    return made_of(values @ rotation, name, activations.data)


def save(folder: Path, *models: Activations) -> Path:
    """A results folder with these models' activations."""
    for model in models:
        save_activations(model, folder / "baseline" / "activations" / ModelName.parse(model.source.model).slug)
    return folder
