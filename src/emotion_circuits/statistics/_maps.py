"""Maps of many paired effects, such as one for each head: which of them are more than chance?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from emotion_circuits.errors import InputError

from ._multiple import benjamini_hochberg
from ._resampling import ROUNDING, FloatArray, Seed, batch_length, finite_array


class MapTest(NamedTuple):
    """p-values of all entries of a map.

    Attributes:
        mean: (M,) over groups.
        t: (M,) Σx / √Σx², the mean over its deviation under sign flips; at most √G, and 0 where all values are 0.
        p: (M,) of each entry alone, two-sided.
        p_max_t: (M,) family-wise adjusted over the map by the largest `|t|` (Westfall and Young 1993).
        q: (M,) Benjamini and Hochberg's adjustment of `p`.
        n_draws: sign patterns; all of them if `exact`.
    """

    mean: FloatArray
    t: FloatArray
    p: FloatArray
    p_max_t: FloatArray
    q: FloatArray
    n_draws: int
    exact: bool


def sign_flip_map(paired: npt.ArrayLike, *, n_draws: int = 9999, seed: Seed) -> MapTest:
    """Test every entry of a map of paired differences for a mean other than 0.

    A draw flips the sign of whole groups, the same for all entries, which keeps their dependence. Entries are brought
    to one scale by their root mean square, which no flip changes; so an entry of small but steady effects counts as
    much as a large one. All sign patterns are taken if there are no more than `n_draws`.

    Args:
        paired: (G, M) differences.
        n_draws: random patterns.
        seed: of the patterns.

    Raises:
        InputError: no groups, entries or draws.
        MeasurementError: values that are not finite.
    """
    values = finite_array(paired, "The paired differences", (2,))
    n_groups, n_entries = values.shape
    if not values.size or n_draws < 1:
        raise InputError("A map needs groups, entries and draws.", found=f"{values.shape}, {n_draws} draws")
    length = np.sqrt((values**2).sum(axis=0))
    scaled = values / np.where(length > 0, length, 1.0)
    observed = np.abs(scaled.sum(axis=0))
    exact = 2**n_groups <= n_draws
    flips = _patterns(n_groups) if exact else _drawn(n_groups, n_draws, seed)
    alone = np.zeros(n_entries, dtype=np.int64)
    largest = np.empty(len(flips))
    # Both are lengths, so that of `reaches` only this is left, once for all draws.
    least = observed - ROUNDING * observed
    step = batch_length(n_entries)
    for first in range(0, len(flips), step):
        null = np.abs(flips[first : first + step] @ scaled)
        alone += np.count_nonzero(null >= least, axis=0)
        largest[first : first + step] = null.max(axis=1)
    together = len(flips) - np.searchsorted(np.sort(largest), least)
    # All patterns hold the observed one already; random ones do not.
    extra = 0 if exact else 1
    total = len(flips) + extra
    p = (alone + extra) / total
    q = np.array(benjamini_hochberg(list(p)), dtype=np.float64)
    signed = scaled.sum(axis=0)
    return MapTest(values.mean(axis=0), signed, p, (together + extra) / total, q, len(flips), exact)


def _patterns(n_groups: int) -> FloatArray:
    bits = (np.arange(2**n_groups)[:, None] >> np.arange(n_groups)) & 1
    result: FloatArray = (1 - 2 * bits).astype(np.float64)
    return result


def _drawn(n_groups: int, n_draws: int, seed: Seed) -> FloatArray:
    bits = np.random.default_rng(seed).integers(2, size=(n_draws, n_groups))
    result: FloatArray = (1 - 2 * bits).astype(np.float64)
    return result
