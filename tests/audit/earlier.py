"""The earlier project's formulas a second time, by other means, on plain arrays: what rows are held against."""

from __future__ import annotations

import numpy as np
from scipy.linalg import subspace_angles


def basis(texts: np.ndarray, k: int) -> np.ndarray:
    """(d, k) leading eigenvectors of the covariance."""
    return np.linalg.eigh(np.cov(texts.T))[1][:, ::-1][:, :k]


def cosines(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sort(np.cos(subspace_angles(a, b)))[::-1][:5].mean())


def squares(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean([min(1.0, float(x @ y) ** 2) for x in a.T for y in b.T]))


def turned(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """What every correct rotation onto b does to a, where the centred columns decide it."""
    target = b.mean(axis=1, keepdims=True)
    left, _, right = np.linalg.svd((a - a.mean(axis=1, keepdims=True)) @ (b - target).T)
    return (left @ right).T @ (a - a.mean(axis=1, keepdims=True)) + target


def shortest_map(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.linalg.pinv(x) @ y


def biased_cka(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return float(np.linalg.norm(x.T @ y) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y))


def pair_cosine(classes: dict[str, np.ndarray]) -> float:
    v = [x.mean(axis=0) - classes["neutral"].mean(axis=0) for name, x in classes.items() if name != "neutral"]
    pairs = [(v[i], v[j]) for i in range(len(v)) for j in range(i)]
    return float(np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs]))
