"""The smallest effect that a design could have seen: a result is "underpowered" when this exceeds what matters."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from scipy import optimize, stats

from emotion_circuits.errors import InputError

Sided = Literal["greater", "two-sided"]


def _critical_share(alpha: float, power: float, alternative: Sided) -> float:
    """alpha of one tail, after checking that both rates make sense."""
    if not 0 < alpha < power < 1:
        raise InputError("Level and power do not fit.", found=f"{alpha}, {power}", accepted="0 < alpha < power < 1")
    return alpha if alternative == "greater" else alpha / 2


def smallest_mean(
    sd: float, n_groups: int, *, alpha: float = 0.05, power: float = 0.8, alternative: Sided = "greater"
) -> float:
    """Smallest true mean of paired values that a t-test finds with the given power (noncentral t).

    Args:
        sd: standard deviation of the paired values between groups.
        n_groups: G, at least 2.
        alpha: the level; under Holm the level that the claim must pass, such as .05 over the number of claims.
        power: probability of finding it.
        alternative: "greater" is one-sided.

    Returns:
        The mean in the values' unit.
    """
    tail = _critical_share(alpha, power, alternative)
    if n_groups < 2 or not (sd >= 0 and math.isfinite(sd)):
        raise InputError("Power needs two groups and a finite deviation.", found=f"{n_groups} groups, sd {sd}")
    freedom = n_groups - 1
    critical = stats.t.isf(tail, freedom)

    def excess_power(shift: float) -> float:
        found = stats.nct.sf(critical, freedom, shift)
        if alternative == "two-sided":
            # scipy gives NaN where this tail is too small for it
            found += np.nan_to_num(stats.nct.cdf(-critical, freedom, shift))
        return float(found) - power

    # Twice the critical value and the normal quantile is always enough, whatever the degrees of freedom.
    shift = optimize.brentq(excess_power, 0.0, 2 * (critical + stats.norm.isf(1 - power) + 1))
    return float(shift * sd / math.sqrt(n_groups))


def hanley_mcneil_se(auroc: float, n_positive: int, n_negative: int) -> float:
    """Standard error of an AUROC under exponential score distributions (Hanley and McNeil 1982)."""
    q1, q2 = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    variance = (auroc * (1 - auroc) + (n_positive - 1) * (q1 - auroc**2) + (n_negative - 1) * (q2 - auroc**2)) / (
        n_positive * n_negative
    )
    return math.sqrt(max(variance, 0.0))


def smallest_auroc(
    n_positive: int, n_negative: int, *, alpha: float = 0.05, power: float = 0.8, alternative: Sided = "greater"
) -> float:
    """Smallest AUROC told from .5 with the given power, by Hanley and McNeil's variance.

    Returns:
        The AUROC (not its distance from .5); 1.0 where even perfect separation would not reach the power.
    """
    tail = _critical_share(alpha, power, alternative)
    if n_positive < 1 or n_negative < 1:
        raise InputError("An AUROC needs texts of both kinds.", found=f"{n_positive} and {n_negative}")
    threshold = 0.5 + stats.norm.isf(tail) * hanley_mcneil_se(0.5, n_positive, n_negative)
    beta = stats.norm.isf(1 - power)

    def margin(auroc: float) -> float:
        return float(auroc - threshold - beta * hanley_mcneil_se(auroc, n_positive, n_negative))

    return float(optimize.brentq(margin, 0.5, 1.0)) if margin(1.0) > 0 else 1.0


def smallest_from_se(
    standard_error: float, *, alpha: float = 0.05, power: float = 0.8, alternative: Sided = "greater"
) -> float:
    """Smallest distance from chance that a statistic of this standard error shows: (z₁₋α + z_power) · se."""
    tail = _critical_share(alpha, power, alternative)
    if not (standard_error >= 0 and math.isfinite(standard_error)):
        raise InputError("The standard error is not a finite number ≥ 0.", found=standard_error)
    return float((stats.norm.isf(tail) + stats.norm.isf(1 - power)) * standard_error)
