"""How often are claims supported where nothing is, and where the effect of interest is?"""

from __future__ import annotations

from collections.abc import Iterator

from scipy import stats

from emotion_circuits.selftest._bench import Bench
from emotion_circuits.selftest._check import RARE, SelftestCheck, check
from emotion_circuits.selftest._operating import DECLARED, operating_characteristics
from emotion_circuits.statistics import ALPHA

QUICK, FULL = 30, 400
"""Simulated studies of each claim."""


def operating(bench: Bench) -> Iterator[SelftestCheck]:
    """False claims at most in one of twenty studies, and power at the effect of interest, by exact binomial bounds."""
    n = bench.drawn(QUICK, FULL)
    for id, declared in DECLARED.items():
        false, power = (
            next(r.rate for r in operating_characteristics(id, multiple, n_studies=n, seed=bench.seed)
                 if r.verdict == "supported")
            for multiple in (0.0, 1.0)
        )  # fmt: skip
        most = float(stats.binom.isf(RARE, n, ALPHA)) / n
        yield check(f"{id}: share of {n} studies that support it where nothing is", false, 0, most)
        least = float(stats.binom.ppf(RARE, n, declared.power)) / n
        name = f"{id}: share of {n} studies that support a gain of {declared.effect:g}"
        yield check(name, power, least, 1)
