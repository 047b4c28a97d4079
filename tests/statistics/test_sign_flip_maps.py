"""Maps of paired effects: p-values of every entry and over the whole map."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.statistics import benjamini_hochberg, max_t, sign_flip_map, sign_flip_test


def drawn(groups: int, entries: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((groups, entries)) + 0.3


@given(st.integers(2, 7), st.integers(1, 5), st.integers(0, 99))
def test_all_patterns_by_brute_force(groups, entries, seed):
    values = drawn(groups, entries, seed)
    found = sign_flip_map(values, n_draws=128, seed=0)
    scaled = values / np.sqrt((values**2).sum(axis=0))
    null = np.array([np.array(signs) @ scaled for signs in product([1, -1], repeat=groups)])
    observed = scaled.sum(axis=0)
    assert found.exact and found.n_draws == 2**groups
    assert found.p == pytest.approx((np.abs(null) >= np.abs(observed) - 1e-9).mean(axis=0))
    reached = np.abs(null).max(axis=1)[:, None] >= np.abs(observed) - 1e-9
    assert found.p_max_t == pytest.approx(reached.mean(axis=0))
    assert found.t == pytest.approx(observed) and found.mean == pytest.approx(values.mean(axis=0))


def test_random_patterns_agree_with_the_other_tests():
    values = drawn(20, 30, 1)
    found = sign_flip_map(values, n_draws=4000, seed=5)
    assert not found.exact
    for k in (0, 7, 29):
        alone = sign_flip_test(values[:, k], n_draws=4000, seed=2, alternative="two-sided").p
        assert found.p[k] == pytest.approx(alone, abs=0.035)
    scaled = values / np.sqrt((values**2).sum(axis=0))
    signs = np.random.default_rng(9).choice([-1, 1], size=(4000, 20))
    assert found.p_max_t == pytest.approx(max_t(scaled.sum(axis=0), signs @ scaled), abs=0.035)
    assert list(found.q) == benjamini_hochberg(list(found.p))
    assert (found.p_max_t >= found.p).all()


def test_one_scale_for_all_and_entries_without_effect():
    values = drawn(9, 4, 3)
    found, scaled = (sign_flip_map(v, seed=0) for v in (values, values * [1e-6, 1.0, 1e6, -1.0]))
    assert found.p_max_t == pytest.approx(scaled.p_max_t)
    with_nothing = sign_flip_map(np.column_stack([values, np.zeros(9)]), seed=0)
    assert with_nothing.p[-1] == with_nothing.p_max_t[-1] == 1 and with_nothing.t[-1] == 0


def test_the_family_wise_rate():
    hits = [sign_flip_map(np.random.default_rng(s).standard_normal((8, 40)), seed=s).p_max_t.min() for s in range(300)]
    assert np.mean(np.array(hits) <= 0.05) <= 0.09  # 99.9 % point of a valid test


def test_what_cannot_be_tested():
    with pytest.raises(InputError):
        sign_flip_map(np.zeros((0, 3)), seed=0)
    with pytest.raises(InputError):
        sign_flip_map(np.zeros(3), seed=0)
    with pytest.raises(MeasurementError):
        sign_flip_map([[np.nan, 1.0]], seed=0)
