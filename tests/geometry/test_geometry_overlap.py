"""Overlap: oracles, invariances, exact nulls, and what the comparison says of planted and identical models."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.linalg import subspace_angles

from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.geometry import (
    BetweenClassSubspace,
    PairedDifferenceSubspace,
    Ridge,
    ScenarioTable,
    WithinClassSubspace,
    compare_subspaces,
    coordinate_null,
    independent_models,
    orthonormal,
    overlap,
    planted_models,
    principal_angles,
    rotation_null,
)
from emotion_circuits.geometry._overlap import mean_squared_cosines

FAST = {"n_permutations": 99, "n_bootstrap": 99, "n_splits": 10, "seed": 0}


@st.composite
def pairs(draw: st.DrawFn):
    d = draw(st.integers(4, 40))
    k_a, k_b = draw(st.integers(1, d - 1)), draw(st.integers(1, d - 1))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    return rng.standard_normal((d, k_a)), rng.standard_normal((d, k_b)), rng


@settings(max_examples=60, deadline=None)
@given(pairs())
def test_overlap_is_the_mean_squared_cosine_of_scipys_angles(pair) -> None:
    A, B, _ = pair
    angles = subspace_angles(A, B)
    result = overlap(A, B)
    assert result.value == pytest.approx(np.mean(np.cos(angles) ** 2), abs=1e-9)
    np.testing.assert_allclose(principal_angles(A, B), angles, atol=1e-7)
    assert result.chance == max(A.shape[1], B.shape[1]) / len(A)
    assert -1e-12 <= result.value <= 1 + 1e-12
    assert result.corrected <= 1 + 1e-9


@settings(max_examples=60, deadline=None)
@given(pairs())
def test_overlap_does_not_see_basis_sign_scale_order_or_rotation(pair) -> None:
    A, B, rng = pair
    value = overlap(A, B).value
    mixed = A @ (rng.standard_normal((A.shape[1], A.shape[1])) + 3 * np.eye(A.shape[1]))
    columns = B[:, rng.permutation(B.shape[1])] * rng.choice([-1e3, 1e-3], B.shape[1])
    rotation = np.linalg.qr(rng.standard_normal((len(A), len(A))))[0]
    rows = rng.permutation(len(A))
    for a, b in ((mixed, B), (A, columns), (rotation @ A, rotation @ B), (A[rows], B[rows]), (B, A)):
        assert overlap(a, b).value == pytest.approx(value, abs=1e-6)
    assert overlap(A, A).value == pytest.approx(1.0)
    assert overlap(A, A).corrected == pytest.approx(1.0)


def test_stacks_broadcast() -> None:
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((4, 1, 9, 2)), rng.standard_normal((3, 9, 2))
    stacked = overlap(A, B).value
    assert stacked.shape == (4, 3)
    for i in range(4):
        for j in range(3):
            assert stacked[i, j] == pytest.approx(overlap(A[i, 0], B[j]).value)
    assert principal_angles(A, B).shape == (4, 3, 2)


@pytest.mark.parametrize(("d", "k_a", "k_b"), [(20, 3, 3), (20, 3, 7), (7, 1, 1), (8, 6, 6), (9, 2, 8), (192, 10, 10)])
def test_rotation_null_is_what_random_rotations_give(d: int, k_a: int, k_b: int) -> None:
    rng = np.random.default_rng(1)
    fixed = np.linalg.qr(rng.standard_normal((d, k_a)))[0]
    by_hand = overlap(fixed, rng.standard_normal((800, d, k_b))).value
    null = rotation_null(d, k_a, k_b, 800, seed=2)
    assert stats.ks_2samp(by_hand, null).pvalue > 0.01
    assert abs(null.mean() - max(k_a, k_b) / d) < 4 * null.std() / np.sqrt(800)


def test_rotation_null_of_lines_is_beta() -> None:
    null = rotation_null(30, 1, 1, 2000, seed=0)
    assert stats.kstest(null, stats.beta(0.5, 14.5).cdf).pvalue > 0.01


def test_coordinate_null_permutes_dimensions() -> None:
    rng = np.random.default_rng(0)
    A, B = (orthonormal(rng.standard_normal((5, 2))) for _ in range(2))
    possible = {
        round(float(overlap(A[list(p)], B).value), 9)
        for p in np.array(np.meshgrid(*[range(5)] * 5)).T.reshape(-1, 5)
        if len(set(p)) == 5
    }
    null = coordinate_null(A, B, (2,), 300, seed=1)[:, 0]
    assert {round(float(v), 9) for v in null} <= possible
    assert len(set(np.round(null, 9))) > 60


def test_a_basis_that_is_not_orthonormal_is_refused_not_clipped() -> None:
    with pytest.raises(MeasurementError, match="exceeds 1"):
        mean_squared_cosines(np.eye(4)[:, :2] * 1.001, np.eye(4)[:, :2])


def test_identical_models_reach_one_and_their_ceiling() -> None:
    table = planted_models(n_fit=10, n_scenarios=30, seed=0).table_a
    [result] = compare_subspaces(table, table, BetweenClassSubspace(), **FAST)
    assert result.value == pytest.approx(1.0)
    assert result.corrected == pytest.approx(1.0)
    assert max(result.angles) < 1e-4
    assert result.split_half == pytest.approx(result.ceiling)
    assert 0.5 < result.ceiling < 1
    assert (result.n_scenarios, result.n_texts, result.n_unique, result.k, result.d) == (30, 120, 120, 3, 192)


def test_an_aligned_plant_lies_above_every_null_and_an_unaligned_one_at_chance() -> None:
    planted = planted_models(n_fit=1000, n_scenarios=40, width_a=96, width_b=96, seed=0)
    mapped = planted.table_a.mapped(Ridge().fit(planted.fit_a, planted.fit_b).transform)
    [aligned] = compare_subspaces(mapped, planted.table_b, BetweenClassSubspace(), **FAST)
    assert aligned.corrected > 0.8
    assert aligned.p == 0.01
    assert {null.name for null in aligned.nulls} == {"labels", "rotation", "coordinates"}
    assert all(null.high < aligned.interval.low for null in aligned.nulls)
    assert aligned.interval.low < aligned.value < aligned.interval.high <= 1
    assert aligned.split_half <= aligned.ceiling + 0.02
    alone = [compare_subspaces(t, t, BetweenClassSubspace(), **FAST)[0] for t in (mapped, planted.table_b)]
    halves = [own.ceiling for own in alone]  # of a model with itself
    assert halves[0] != pytest.approx(halves[1])
    assert aligned.ceiling == pytest.approx(np.sqrt(halves[0] * halves[1]))
    [unaligned] = compare_subspaces(planted.table_a, planted.table_b, BetweenClassSubspace(), **FAST)
    assert abs(unaligned.corrected) < 0.05
    assert unaligned.p > 0.05


def test_a_sweep_over_k_equals_single_comparisons_and_is_deterministic() -> None:
    a, b = (independent_models(n_fit=10, n_scenarios=12, width_a=30, width_b=30, seed=s).table_a for s in (0, 1))
    sweep = compare_subspaces(a, b, PairedDifferenceSubspace(), k_values=(2, 5), **FAST)
    for k, result in zip((2, 5), sweep, strict=True):
        [single] = compare_subspaces(a, b, PairedDifferenceSubspace(n_components=k), **FAST)
        assert result.value == pytest.approx(single.value)
        assert result.interval == pytest.approx((*single.interval[:3], single.interval.method))
        assert result.chance == k / 30
    assert sweep == compare_subspaces(a, b, PairedDifferenceSubspace(), k_values=(2, 5), **FAST)
    independent = compare_subspaces(a, b, PairedDifferenceSubspace(), label_draws="independent", **FAST)
    assert independent[0].value == pytest.approx(compare_subspaces(a, b, PairedDifferenceSubspace(), **FAST)[0].value)


def test_two_emotions_of_one_model() -> None:
    table = planted_models(n_fit=10, n_scenarios=20, seed=0).table_a
    one, other = (PairedDifferenceSubspace(n_components=1, emotion=e) for e in ("amber", "azure"))
    [result] = compare_subspaces(table, table, one, estimator_b=other, **FAST)
    assert result.value < 0.1


def test_different_widths_name_the_way_out() -> None:
    models = independent_models(n_fit=10, n_scenarios=8, width_a=10, width_b=12, seed=0)
    for call in (
        lambda: compare_subspaces(models.table_a, models.table_b, BetweenClassSubspace(), **FAST),
        lambda: overlap(np.eye(10)[:, :2], np.eye(12)[:, :2]),
    ):
        with pytest.raises(InputError, match="align"):
            call()


def test_different_scenarios_are_refused() -> None:
    models = independent_models(n_fit=10, n_scenarios=8, width_a=10, width_b=10, seed=0)
    renamed = np.where(models.groups == "scenario 0", "scenario z", models.groups)
    other = ScenarioTable.from_texts(models.emotion_b, models.labels, renamed)
    with pytest.raises(InputError, match="different scenarios"):
        compare_subspaces(models.table_a, other, BetweenClassSubspace(), **FAST)


@pytest.mark.parametrize(
    ("basis", "message"),
    [
        (np.zeros((5, 2)), "linearly dependent"),
        (np.outer(np.arange(1.0, 6), [1, 2]), "linearly dependent"),
        (np.full((5, 2), np.nan), "NaN"),
        (np.ones((2, 5)), "wrong shape"),
        (np.ones(5), "wrong shape"),
    ],
)
def test_no_basis_no_number(basis: np.ndarray, message: str) -> None:
    with pytest.raises((InputError, MeasurementError), match=message):
        overlap(basis, np.eye(5)[:, :2])


def test_the_whole_space_has_no_overlap() -> None:
    with pytest.raises(InputError, match="Chance is 1"):
        overlap(np.eye(5), np.eye(5))
    with pytest.raises(InputError):
        compare_subspaces(
            *[independent_models(n_fit=10, n_scenarios=8, width_a=4, width_b=4, seed=0).table_a] * 2,
            WithinClassSubspace(),
            k_values=(4,),
            **FAST,
        )
