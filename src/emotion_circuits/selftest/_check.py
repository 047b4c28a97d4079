"""What a check is, and the chance levels that checks compare with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from emotion_circuits.statistics import ALPHA, hanley_mcneil_se, holm

RARE = 0.001
"""How often a comparison with a chance level, all its parts together, may fail on a healthy model of another seed."""

STANDARD_ERRORS = 3.0
"""How far the mean of independent draws may lie from its expectation."""


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


def false_positive_family(p_values: Mapping[str, Sequence[float]]) -> list[SelftestCheck]:
    """Rates of p ≤ .05 where nothing is there, judged together: name → p-values of independent draws.

    A rate fails if its one-sided exact binomial p, adjusted by Holm over all of them, is .05 or less. Its bound is the
    largest rate that passes beside the others: Holm compares with .05 / (tests − those that fail).
    """
    tests = [_more_than_alpha(np.asarray(values, dtype=np.float64)) for values in p_values.values()]
    rejected = [p is not None and p <= ALPHA for p in holm(tests)]
    n_tests = max(1, sum(not math.isnan(p) for p in tests))
    checks = []
    for (name, values), is_rejected in zip(p_values.items(), rejected, strict=True):
        others = sum(rejected) - is_rejected
        checks.append(false_positives(name, values, n_tests - others))
    return checks


def _more_than_alpha(p: NDArray[np.float64]) -> float:
    """One-sided exact binomial p of so many p-values below `ALPHA`."""
    if np.isnan(p).any():
        return math.nan
    return float(stats.binomtest(int((p <= ALPHA).sum()), len(p), ALPHA, alternative="greater").pvalue)


def unbiased(name: str, values: Sequence[float], expected: float, deviation: float) -> SelftestCheck:
    """The mean of independent draws, within `STANDARD_ERRORS` of what it should be; their deviation is known."""
    reach = STANDARD_ERRORS * deviation / math.sqrt(len(values))
    return check(name, float(np.mean(values)), expected - reach, expected + reach)
