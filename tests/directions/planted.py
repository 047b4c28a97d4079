"""Activations with a known structure: noise, plus a vector per emotion, plus one that all emotions share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from emotion_circuits.directions import Activations, GenericStatistics, Source
from emotion_circuits.prompts import Dataset, Text, bank

CLASSES = bank().names
EMOTIONS = bank().emotions

SOURCE = Source(model="m", revision="r", dtype="float32", bos=True, centred_norm=False)


def matched_data(n: int, name: str = "planted", development: int | None = None) -> Dataset:
    half = n // 2 if development is None else development
    texts = [
        Text(f"{c} text number {k}", c, f"s{k:02}", "development" if k < half else "test")
        for k in range(n)
        for c in CLASSES
    ]
    return Dataset(name, tuple(texts))


def planted_vectors(d: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Orthonormal vectors, one per emotion, and `common`."""
    drawn = np.random.default_rng(seed).standard_normal((d, 4))
    return dict(zip((*EMOTIONS, "common"), np.linalg.qr(drawn)[0].T, strict=True))


def planted_values(data: Dataset, d: int, signal: float, noise: float = 1.0, seed: int = 0) -> np.ndarray:
    """(texts, d); texts of a scenario share an offset, as topics do."""
    rng = np.random.default_rng(seed)
    vectors = planted_vectors(d)
    topic = {s: 2 * rng.standard_normal(d) for s in data.scenarios}
    values = np.stack([topic[t.scenario] + noise * rng.standard_normal(d) for t in data])
    for i, text in enumerate(data):
        if text.emotion != "neutral":
            values[i] += signal * (vectors[text.emotion] + vectors["common"])
    return values


def planted(
    n: int = 16, d: int = 12, signals: tuple[float, ...] = (0.0, 0.0, 4.0, 1.0), seed: int = 0, **data: int
) -> Activations:
    """`signals[row]` at each row of the layers, `embed` first; so the best layer is the row of the largest, less 1."""
    texts = matched_data(n, **data)  # type: ignore[arg-type]
    values = np.stack([planted_values(texts, d, s, seed=seed + 7 * k) for k, s in enumerate(signals)])
    return Activations(SOURCE, texts, {"mean": values.astype(np.float32)}, dict.fromkeys(CLASSES))


def plain_generic(d: int = 12, rows: int = 4, seed: int = 3) -> GenericStatistics:
    """Some mean, some norms, and two components per row that hold .4 and .6 of the variance."""
    rng = np.random.default_rng(seed)
    bases = [np.linalg.qr(rng.standard_normal((d, 2)))[0].T.astype(np.float32) for _ in range(rows)]
    shares = tuple(np.array([0.4, 0.6], np.float32) for _ in range(rows))
    norm = np.linspace(1.0, 4.0, rows).astype(np.float32)
    return GenericStatistics(rng.standard_normal((rows, d)).astype(np.float32), norm, tuple(bases), shares, 40)


def reordered(activations: Activations, order: np.ndarray) -> Activations:
    data = Dataset(activations.data.name, tuple(activations.data.texts[i] for i in order))
    return replace(activations, data=data, values={p: v[:, order] for p, v in activations.values.items()})
