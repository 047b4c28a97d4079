"""Permutation within groups, p-values, max-T and sequential stopping."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.statistics import exceedance_p, max_t, permute_within_groups, sequential_p

values = st.integers(-6, 6).map(float)
nulls = hnp.arrays(np.float64, st.integers(1, 40), elements=values)


@settings(max_examples=40, deadline=None)
@given(data=st.lists(st.tuples(st.integers(0, 3), st.sampled_from("xyz")), min_size=1, max_size=30))
def test_permutations_stay_in_their_group(data):
    labels, groups = (np.array(column) for column in zip(*data, strict=True))
    permuted = permute_within_groups(labels, groups, 20, seed=1)
    assert permuted.shape == (20, len(labels))
    for group in np.unique(groups):
        of_group = np.sort(permuted[:, groups == group], axis=1)
        assert (of_group == np.sort(labels[groups == group])).all()


def test_permutations_are_uniform_and_reproducible():
    permuted = permute_within_groups([0, 1, 2, 0, 1, 2], ["b", "b", "b", "a", "a", "a"], 6000, seed=2)
    patterns, counts = np.unique(permuted, axis=0, return_counts=True)
    assert len(patterns) == 36  # 3! by 3!: the groups shuffle independently
    assert abs(counts - 6000 / 36).max() < 5 * np.sqrt(6000 / 36)
    assert (permuted == permute_within_groups([0, 1, 2, 0, 1, 2], list("bbbaaa"), 6000, seed=2)).all()
    assert len(np.unique(permute_within_groups(np.arange(4), None, 2000, seed=0), axis=0)) == 24


@given(observed=values, null=nulls)
def test_p_counts_the_observed(observed, null):
    for alternative, extreme in (("greater", null >= observed), ("less", null <= observed)):
        p = exceedance_p(observed, null, alternative)
        assert p == (extreme.sum() + 1) / (len(null) + 1)
        assert 0 < p <= 1
    both = exceedance_p(observed, null, "two-sided")
    one_sided = [exceedance_p(observed, null, a) for a in ("greater", "less")]
    assert both == min(1, 2 * min(one_sided)) == exceedance_p(-observed, -null, "two-sided")


def test_rounding_does_not_make_a_tie_a_win():
    assert exceedance_p(0.1 + 0.2, [0.3] * 9) == 1.0
    with pytest.raises(MeasurementError):
        exceedance_p(float("nan"), [0.0])
    with pytest.raises(InputError):
        exceedance_p(0.0, [])


@given(
    table=hnp.arrays(np.float64, st.tuples(st.integers(2, 12), st.integers(1, 6)), elements=values),
    studentise=st.booleans(),
)
def test_max_t_is_never_smaller_than_the_single_p(table, studentise):
    observed, null = table[0], table[1:]
    adjusted = max_t(observed, null, studentise=studentise)
    assert ((adjusted > 0) & (adjusted <= 1)).all()
    if not studentise:
        single = [exceedance_p(abs(o), np.abs(n)) for o, n in zip(observed, null.T, strict=True)]
        assert (adjusted >= np.array(single) - 1e-12).all()
        assert (np.diff(adjusted[np.argsort(-np.abs(observed))]) >= 0).all()


def test_studentised_max_t_lets_quiet_entries_speak():
    rng = np.random.default_rng(0)
    null = rng.normal(size=(999, 2)) * [1, 100]
    observed = [6.0, 0.0]
    assert max_t(observed, null)[0] > 0.5
    assert max_t(observed, null, studentise=True)[0] < 0.01


@given(
    null=hnp.arrays(np.float64, st.integers(1, 60), elements=values),
    observed=values,
    stop_after=st.integers(1, 8),
    batch=st.integers(1, 70),
)
def test_sequential_p_follows_its_definition_at_any_batch(null, observed, stop_after, batch):
    result = sequential_p(observed, lambda i, n: null[i : i + n], len(null), stop_after=stop_after, batch=batch)
    hits = np.flatnonzero(null >= observed)
    if len(hits) >= stop_after:
        drawn = hits[stop_after - 1] + 1
        assert result == (stop_after / drawn, drawn, stop_after)
    else:
        assert result == ((len(hits) + 1) / (len(null) + 1), len(null), len(hits))
        assert result.p == exceedance_p(observed, null)
    mirrored = sequential_p(
        -observed, lambda i, n: -null[i : i + n], len(null), stop_after=stop_after, alternative="less"
    )
    assert mirrored == result


def test_sequential_p_saves_work_only_where_nothing_is_found():
    rng = np.random.default_rng(0)
    null = rng.normal(size=9999)
    nothing = sequential_p(0.0, lambda i, n: null[i : i + n], 9999)
    clear = sequential_p(9.0, lambda i, n: null[i : i + n], 9999)
    assert nothing.n_drawn < 100
    assert clear == (1 / 10000, 9999, 0)
    with pytest.raises(InputError):
        sequential_p(0.0, lambda i, n: null[: n + 1], 10)
