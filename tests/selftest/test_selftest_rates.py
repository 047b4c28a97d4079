"""Rates of false positives: bounds that a valid test keeps and a broken one does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from emotion_circuits.selftest import _checks_components as components
from emotion_circuits.selftest import _checks_noise as noise
from emotion_circuits.selftest import bench
from emotion_circuits.selftest._check import (
    chance_auroc,
    chance_cosine,
    check,
    false_positive_family,
    false_positives,
    furthest,
    unbiased,
)
from emotion_circuits.statistics import holm


@pytest.mark.parametrize("n", [20, 200, 2000])
def test_the_bound_is_the_largest_rate_that_an_exact_binomial_lets_pass(n):
    bound = false_positives("p", np.linspace(0.001, 1, n), 6).high
    most = round(bound * n)
    assert stats.binomtest(most + 1, n, 0.05, alternative="greater").pvalue <= 0.05 / 6
    assert stats.binomtest(most, n, 0.05, alternative="greater").pvalue > 0.05 / 6


def test_valid_and_conservative_tests_pass_and_loose_ones_fail():
    uniform = np.random.default_rng(0).random(200)
    assert false_positives("valid", uniform, 6).ok
    assert false_positives("conservative", uniform**0.5, 6).ok
    assert not false_positives("loose", uniform**3, 6).ok


@given(st.lists(st.integers(0, 60), min_size=1, max_size=12))
def test_a_family_of_rates_is_judged_by_holm_and_its_bounds_say_so(counts):
    n = 60
    p_values = {str(i): [0.01] * k + [0.5] * (n - k) for i, k in enumerate(counts)}
    adjusted = holm([stats.binomtest(k, n, 0.05, alternative="greater").pvalue for k in counts])
    found = false_positive_family(p_values)
    assert [one.ok for one in found] == [p > 0.05 for p in adjusted]
    for i, one in enumerate(found):
        assert one.value == counts[i] / n
        # One more than the bound would have failed beside the same others.
        more = p_values | {one.name: [0.01] * round(one.high * n + 1) + [0.5] * round(n - one.high * n - 1)}
        assert not false_positive_family(more)[i].ok or not one.ok


def test_an_undefined_rate_fails_without_moving_the_others():
    fine = [0.01] * 2 + [0.5] * 58
    alone, [among, undefined] = (
        false_positive_family({"fine": fine})[0],
        false_positive_family({"fine": fine, "undefined": [math.nan] * 60}),
    )
    assert among == alone and alone.ok and not undefined.ok


def test_bias_is_seen_and_its_absence_passes():
    values = np.random.default_rng(0).normal(0, 2, 400)
    assert unbiased("healthy", values, 0.0, 2.0).ok
    assert not unbiased("biased", values + 0.5, 0.0, 2.0).ok
    assert not unbiased("undefined", [*values, math.nan], 0.0, 2.0).ok


def test_a_p_that_is_not_a_number_fails():
    assert not false_positives("undefined", [0.5, math.nan], 6).ok
    assert not check("undefined", math.nan, 0, 1).ok
    assert math.isnan(furthest([0.1, math.nan, 3], 0))


def test_chance_levels_hold_what_chance_gives():
    rng = np.random.default_rng(1)
    draws = rng.standard_normal((4000, 9, 64))
    cosines = np.abs(draws[..., 0] / np.linalg.norm(draws, axis=-1)).max(axis=1)
    assert np.mean(cosines > chance_cosine(64, 9)) <= 0.003
    assert np.quantile(cosines, 0.99) > 0.8 * chance_cosine(64, 9)
    ranks = rng.random((2000, 3, 128)).argsort(axis=-1).argsort(axis=-1)
    aurocs = (ranks[..., :32].sum(axis=-1) - 32 * 31 / 2) / (32 * 96)
    far = np.abs(aurocs - 0.5).max(axis=1)
    assert np.mean(far > chance_auroc(32, 96, 3)) <= 0.004
    assert np.quantile(far, 0.99) > 0.7 * chance_auroc(32, 96, 3)


def test_rates_see_a_leak_between_the_classes(monkeypatch):
    """Noise to which a small constant of the class is added is no noise."""
    original = noise.noise_activations

    def leaking(seed):
        both = original(seed)
        for activations in both:
            for k, name in enumerate(("cyan", "amber", "azure")):
                activations.values[noise.WHERE][:, activations.labels == name, k] += 1.2
        return both

    monkeypatch.setattr(noise, "noise_activations", leaking)
    found = list(noise._rates("noise", noise.noise_p_values, 30, 0))
    assert found and not any(one.ok for one in found)


def test_few_draws_of_noise_and_of_a_twin():
    found = list(noise._rates("noise", noise.noise_p_values, 40, 0))
    assert all(one.ok for one in found), found
    p_values = noise.twin_p_values(3)
    assert set(p_values) == {"AUROC", "split-half cosine", "steering slope"}
    assert all(0 < p <= 1 for p in p_values.values())


def test_the_number_of_rates_is_what_the_bounds_assume(monkeypatch):
    monkeypatch.setattr(noise, "_rates", lambda where, p_values, n, seed: p_values(seed))
    shared = bench("gpt2")
    names = [*noise.false_positives_in_noise(shared), *noise.false_positives_in_twins(shared)]
    assert len(names) == noise.N_TESTS


def test_a_plant_in_the_twin_is_no_false_positive_that_passes():
    shared = bench("gpt2")
    assert all(one.ok for one in components.false_positives_of_screens(shared))
    shared.twin = shared.subject
    heads, _ = components.false_positives_of_screens(shared)
    assert not heads.ok
