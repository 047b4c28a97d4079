"""Rows of an interchange: how much of the difference between both prompts follows each patch, beside a donor's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.components._interchange import Direction, Interchange, Swapped
from emotion_circuits.statistics import Measure, sign_flip_map, weighted_bootstrap

FloatArray = NDArray[np.float64]
SMALLEST_GAP = 2.0
"""Standard errors: a difference between both prompts that is smaller has no shares worth naming."""


def recovered(outcome: str) -> str:
    """The statistic's name: 0 is the neutral prompt's outcome, 1 the emotion's."""
    return f"recovered {outcome}"


def gap_is_clear(found: Interchange) -> bool:
    """Whether the prompts differ in the outcome by more than twice the difference's standard error."""
    gap = found.m_a - found.m_b
    error = gap.std(ddof=1) / np.sqrt(len(gap))
    return bool(abs(gap.mean()) > SMALLEST_GAP * error)


def interchange_measures(
    found: Interchange, *, seed: int = 0, n_draws: int = 2000, n_flips: int = 9999
) -> list[Measure]:
    """A row for each direction, site, layer and place.

    `value` is r = Σ(m(patched) − m(b)) / Σ(m(a) − m(b)) over pairs: when denoising 0 is no effect and 1 all, when
    noising 1 is no effect and 0 all. `chance` is r with donors' values, between `null_low` and `null_high` in 95 % of
    bootstrap draws. p is two-sided, by sign flips over pairs of what the paired values do beyond the donors', and
    adjusted over the direction's map without the place `all` (max-T); NaN there, and where fewer than two pairs have
    donors. `position` is the place, `kind` the direction and the site. Where `gap_is_clear` does not hold, all but n is
    NaN.
    """
    rows, clear = [], gap_is_clear(found)
    for direction, swapped in found.swapped.items():
        p_values = _p_values(found, swapped, n_flips, seed)
        for i, site in enumerate(found.sites):
            for k, layer in enumerate(found.layers):
                for p, place in enumerate(found.places):
                    own, low, high, n = _share(found, clear, swapped.own[:, i, k, p], n_draws, seed)
                    if not n:
                        continue
                    chance, null_low, null_high, _ = _share(found, clear, swapped.donor[:, i, k, p], n_draws, seed)
                    rows.append(
                        Measure(
                            model=found.model, emotion=found.pairs.emotion, position=place, layer=layer,
                            kind=kind_of(direction, site), statistic=recovered(found.outcome), value=own, ci_low=low,
                            ci_high=high, chance=chance, null_low=null_low, null_high=null_high,
                            ceiling=1.0 if direction == "denoising" else 0.0,
                            p=float(p_values[i, k, p]) if clear else float("nan"), n_unique=n,
                        )
                    )  # fmt: skip
    return rows


def kind_of(direction: Direction, site: str) -> str:
    """How rows name what was done."""
    return f"{direction} {site}"


def _share(
    found: Interchange, clear: bool, patched: FloatArray, n_draws: int, seed: int
) -> tuple[float, float, float, int]:
    """r with its interval, and how many pairs are behind it."""
    nan = float("nan")
    known = np.isfinite(patched)
    n = int(known.sum())
    if n < 2 or not clear:
        return nan, nan, nan, n
    moved, gap = (patched - found.m_b)[known], (found.m_a - found.m_b)[known]
    # Each pair's difference against the mean of them all: a draw in which they cancel would have no ratio.
    scale = float((found.m_a - found.m_b).mean())
    if abs(gap.mean()) < abs(scale) / 10:
        return nan, nan, nan, n

    def of(weights: FloatArray) -> FloatArray:
        result: FloatArray = (weights @ moved) / (weights @ gap)
        return result

    boot = weighted_bootstrap(of, n, n_draws=n_draws, seed=seed)
    return boot.value, boot.interval.low, boot.interval.high, n


def _p_values(found: Interchange, swapped: Swapped, n_flips: int, seed: int) -> FloatArray:
    """(sites, layers, places) over the map of single places, all of which can fail to matter."""
    single = [p for p, place in enumerate(found.places) if place != "all"]
    result = np.full(swapped.own.shape[1:], np.nan)
    if single:
        beyond = (swapped.own - swapped.donor)[..., single]
        known = np.isfinite(beyond)
        flat = np.where(known, beyond, 0.0).reshape(len(beyond), -1)
        p = sign_flip_map(flat, n_draws=n_flips, seed=seed).p_max_t.reshape(beyond.shape[1:])
        result[..., single] = np.where(known.sum(axis=0) < 2, np.nan, p)
    return result
