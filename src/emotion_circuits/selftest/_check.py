"""What a check is, and the chance levels that checks compare with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from emotion_circuits.statistics import ALPHA, hanley_mcneil_se

RARE = 0.001
"""How often a comparison with a chance level, all its parts together, may fail on a healthy model of another seed."""


class SelftestCheck(NamedTuple):
    """A measured value that must lie within its bounds (which are part of the accepted range)."""

    name: str
    value: float
    low: float
    high: float
    ok: bool


def check(name: str, value: float, low: float, high: float) -> SelftestCheck:
    """A check; a value that is not a number fails."""
    return SelftestCheck(name, float(value), float(low), float(high), bool(low <= value <= high))


def furthest(values: Sequence[float], centre: float) -> float:
    """The value furthest from where it should be; NaN if any is."""
    array = np.asarray(values, dtype=np.float64)
    return float(array[np.argmax(np.abs(array - centre))])  # argmax takes the first NaN


def chance_cosine(d_model: int, n: int) -> float:
    """What the largest |cosine| of `n` isotropic vectors with fixed ones exceeds with probability `RARE` at most.

    The squared cosine is Beta(1/2, (d − 1)/2); over the `n` by Bonferroni.
    """
    return math.sqrt(float(stats.beta.isf(RARE / n, 0.5, (d_model - 1) / 2)))


def chance_auroc(n_positive: int, n_negative: int, n: int) -> float:
    """The same for the largest distance of `n` AUROCs from .5, by the normal approximation."""
    return float(stats.norm.isf(RARE / (2 * n)) * hanley_mcneil_se(0.5, n_positive, n_negative))


def false_positives(name: str, p_values: Sequence[float], n_tests: int) -> SelftestCheck:
    """The rate of p ≤ .05 where nothing is there, against the largest rate that an exact binomial test lets pass.

    One-sided, with `n_tests` such checks by Bonferroni: a valid test fails one of them in a twentieth of all seeds at
    most. A conservative test passes.
    """
    p = np.asarray(p_values, dtype=np.float64)
    n = len(p)
    most = int(stats.binom.isf(ALPHA / n_tests, n, ALPHA))
    rate = math.nan if np.isnan(p).any() else float((p <= ALPHA).mean())
    return check(name, rate, 0.0, most / n)
