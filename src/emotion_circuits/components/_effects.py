"""What ablating or patching did, as rows: value, interval over scenarios, chance from random components, ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.components._ablate import Changes
from emotion_circuits.components._outcomes import Outcome
from emotion_circuits.models import LoadedModel
from emotion_circuits.statistics import exceedance_p, grouped_bootstrap, sign_flip_test

if TYPE_CHECKING:
    pass

FloatArray = NDArray[np.float64]
LOSS, GAP, NOISING, DENOISING = "loss in emotion prompts", "loss of the gap", "noising", "denoising"


class ComponentEffect(NamedTuple):
    """One measured effect of some components together.

    Attributes:
        model, emotion, components, method, outcome: what was done to what, and what was measured.
        statistic: `loss in emotion prompts` m(a) − m(a edited); `loss of the gap`, the same of m(a) − m(b) with both
            edited; for patches `noising` m(a) − m(a patched) and `denoising` m(b patched) − m(b).
        value: mean over pairs; ci_low, ci_high: 95 % over scenarios.
        chance: mean over random components of the same layers; null_low, null_high: 2.5 % and 97.5 % points; NaN where
            there are none.
        ceiling: the clean gap m(a) − m(b), which is what all components together carry.
        p: two-sided sign-flip test over scenarios against 0.
        p_random: two-sided, over the random components; never below 2 / (n_random + 1).
        n_random, n_unique: sets of random components, pairs.
    """

    model: str
    emotion: str
    components: str
    method: str
    outcome: str
    statistic: str
    value: float
    ci_low: float
    ci_high: float
    chance: float
    null_low: float
    null_high: float
    ceiling: float
    p: float
    p_random: float
    n_random: int
    n_unique: int


def effects_of(
    lm: LoadedModel, outcome: Outcome, changes: Changes, *, seed: int = 0, n_draws: int = 9999
) -> list[ComponentEffect]:
    """The rows of one ablation or patch."""
    lost, gained = changes.m_a - changes.a, changes.b - changes.m_b
    patched = changes.method == "patch"
    found = {NOISING: lost, DENOISING: gained} if patched else {LOSS: lost, GAP: lost + gained}
    rows = []
    for statistic, values in found.items():
        boot = grouped_bootstrap(values[0], seed=seed)
        random = values[1:].mean(axis=1)
        has_null = len(random) > 0
        low, high = np.quantile(random, [0.025, 0.975]) if has_null else (np.nan, np.nan)
        rows.append(
            ComponentEffect(
                model=str(lm.name),
                emotion=outcome.pairs.emotion,
                components=changes.spec,
                method=changes.method,
                outcome=outcome.name,
                statistic=statistic,
                value=boot.value,
                ci_low=boot.interval.low,
                ci_high=boot.interval.high,
                chance=float(random.mean()) if has_null else np.nan,
                null_low=float(low),
                null_high=float(high),
                ceiling=float((changes.m_a - changes.m_b).mean()),
                p=sign_flip_test(values[0], n_draws=n_draws, seed=seed, alternative="two-sided").p,
                p_random=exceedance_p(boot.value, random, "two-sided") if has_null else np.nan,
                n_random=changes.n_random,
                n_unique=len(outcome.pairs),
            )
        )
    return rows


def agreeing(effects: Sequence[ComponentEffect], statistic: str = LOSS, alpha: float = 0.05) -> int:
    """How many ablation methods found an effect of the same sign with p below `alpha`: at least two should, before
    components are said to matter."""
    signs = [np.sign(e.value) for e in effects if e.statistic == statistic and e.p <= alpha]
    return max((sum(s == sign for s in signs) for sign in (-1, 1)), default=0)
