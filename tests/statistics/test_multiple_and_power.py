"""Multiple testing against brute force, power against simulation and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from emotion_circuits.errors import InputError
from emotion_circuits.statistics import (
    benjamini_hochberg,
    hanley_mcneil_se,
    holm,
    smallest_auroc,
    smallest_from_se,
    smallest_mean,
)

p_lists = st.lists(st.floats(0, 1) | st.none() | st.just(float("nan")), max_size=12)


def holm_by_steps(p: list[float], alpha: float) -> list[bool]:
    """Holm as a procedure: reject in order until one exceeds alpha over the number left."""
    rejected = [False] * len(p)
    for step, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if p[index] * (len(p) - step) > alpha:
            break
        rejected[index] = True
    return rejected


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=10), alpha=st.sampled_from([0.01, 0.05, 0.2]))
def test_holm_rejects_what_the_procedure_rejects(p, alpha):
    assert [adjusted <= alpha for adjusted in holm(p)] == holm_by_steps(p, alpha)


@given(p=p_lists)
def test_undefined_p_values_pass_through_and_do_not_count(p):
    for adjust in (holm, benjamini_hochberg):
        result = adjust(p)
        defined = [i for i, x in enumerate(p) if x is not None and not math.isnan(x)]
        assert [result[i] for i in defined] == adjust([p[i] for i in defined])
        for i, x in enumerate(p):
            if x is None:
                assert result[i] is None
            elif math.isnan(x):
                assert math.isnan(result[i])
            else:
                assert x - 1e-12 <= result[i] <= 1


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_order_does_not_matter_and_holm_is_stricter(p):
    assert holm(p[::-1]) == holm(p)[::-1]
    assert all(h >= b - 1e-12 for h, b in zip(holm(p), benjamini_hochberg(p), strict=True))


def test_known_values():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert benjamini_hochberg([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.04, 0.04])
    with pytest.raises(InputError):
        holm([0.5, 1.5])


@pytest.mark.parametrize("n_groups", [2, 3, 12, 40])
@pytest.mark.parametrize("alternative", ["greater", "two-sided"])
def test_smallest_mean_has_the_power_it_names(n_groups, alternative):
    effect = smallest_mean(2.0, n_groups, alternative=alternative)
    assert effect == pytest.approx(2 * smallest_mean(1.0, n_groups, alternative=alternative))
    rng = np.random.default_rng(0)
    samples = rng.normal(effect, 2.0, (20000, n_groups))
    p = stats.ttest_1samp(samples, 0, axis=1, alternative=alternative).pvalue
    assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.015)


def test_smallest_mean_grows_with_strictness():
    assert smallest_mean(0.0, 5) == 0.0
    assert smallest_mean(1, 20) < smallest_mean(1, 10) < smallest_mean(1, 10, alpha=0.01)
    assert smallest_mean(1, 10) < smallest_mean(1, 10, power=0.9)
    for n_groups, sd in ((1, 1.0), (5, float("nan")), (5, -1.0)):
        with pytest.raises(InputError):
            smallest_mean(sd, n_groups)


def test_smallest_auroc_solves_its_equation():
    z_alpha, z_power = stats.norm.isf(0.05), stats.norm.isf(0.2)
    found = smallest_auroc(24, 72)
    reach = z_alpha * hanley_mcneil_se(0.5, 24, 72) + z_power * hanley_mcneil_se(found, 24, 72)
    assert found - 0.5 == pytest.approx(reach)
    assert 0.5 < smallest_auroc(240, 720) < found < smallest_auroc(12, 36) < 1
    assert smallest_auroc(1, 1) == 1.0
    # Under no difference the exact variance of Mann–Whitney is known.
    assert hanley_mcneil_se(0.5, 24, 72) == pytest.approx(math.sqrt((24 + 72 + 1) / (12 * 24 * 72)), rel=0.01)
    with pytest.raises(InputError):
        smallest_auroc(0, 5)


def test_smallest_from_se():
    assert smallest_from_se(0.1) == pytest.approx(0.1 * (1.6449 + 0.8416), abs=1e-4)
    assert smallest_from_se(0.1, alternative="two-sided") == pytest.approx(0.1 * (1.96 + 0.8416), abs=1e-4)
    with pytest.raises(InputError):
        smallest_from_se(float("inf"))
    with pytest.raises(InputError):
        smallest_from_se(0.1, alpha=0.9)
