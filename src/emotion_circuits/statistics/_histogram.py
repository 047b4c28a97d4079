"""Draws of a null as a histogram, so that a reader sees where a value lies among them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

BINS = 24


class Histogram(NamedTuple):
    """Draws, counted in bins of equal width from `low` to `high`."""

    low: float
    high: float
    counts: tuple[int, ...]


def histogram_of(draws: npt.ArrayLike) -> Histogram:
    """The histogram of (m,) draws."""
    counts, edges = np.histogram(draws, bins=BINS)
    return Histogram(float(edges[0]), float(edges[-1]), tuple(map(int, counts)))
