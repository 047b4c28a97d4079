"""The earlier project's formulas against numbers worked out by hand, and against a second way to compute them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes, subspace_angles

from emotion_circuits.audit import _formulas as seed

ANGLE = 0.6


def two_planes() -> tuple[np.ndarray, np.ndarray]:
    """Two planes in three dimensions that share one axis and differ by `ANGLE` along the other."""
    a = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    b = np.array([[np.cos(ANGLE), 0.0], [0.0, 1.0], [np.sin(ANGLE), 0.0]])
    return a, b


def bases(number: int, d: int = 30, k: int = 6) -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(number).standard_normal((2, d, k))
    first, second = np.linalg.qr(draws)[0]
    return first, second


def test_two_planes_by_hand():
    assert seed.mean_squared_entry(*two_planes()) == pytest.approx((np.cos(ANGLE) ** 2 + 1) / 4)
    assert seed.mean_of_largest_cosines(*two_planes()) == pytest.approx((np.cos(ANGLE) + 1) / 2)


def test_equal_subspaces_give_one_over_k_and_one():
    for k in (2, 5, 10):
        a, _ = bases(k, k=k)
        assert seed.mean_squared_entry(a, a) == pytest.approx(1 / k)
        assert seed.mean_of_largest_cosines(a, a) == pytest.approx(1)


def test_only_the_five_largest_cosines_count():
    e = np.eye(12)
    assert seed.mean_of_largest_cosines(e[:, :6], e[:, 1:7]) == pytest.approx(1)  # five are 1, the sixth is 0
    assert seed.mean_of_largest_cosines(e[:, :6], e[:, 2:8]) == pytest.approx(4 / 5)


def test_cosines_are_those_of_principal_angles():
    a, b = bases(1)
    largest = np.sort(np.cos(subspace_angles(a, b)))[::-1][:5]
    assert seed.mean_of_largest_cosines(a, b) == pytest.approx(largest.mean())


def test_long_columns_are_cut_to_one_entry_by_entry():
    a, b = bases(2)
    assert seed.mean_squared_entry(1e9 * a, b) == 1.0
    assert seed.mean_squared_entry(a.astype(np.float32) * np.float32(1e30), b.astype(np.float32)) == 1.0
    squares = np.square(4 * a.T @ b)
    assert seed.mean_squared_entry(4 * a, b) == pytest.approx(np.where(squares > 1, 1, squares).mean())


def test_class_basis_leaves_out_what_the_class_has_in_common():
    rng = np.random.default_rng(3)
    along = np.outer(rng.standard_normal(20) * 9, np.eye(8)[2])
    texts = along + rng.standard_normal((20, 8)) * 0.01 + 100 * np.eye(8)[5]
    assert abs(seed.class_basis(texts, 1)[2, 0]) > 0.999


def test_with_enough_texts_both_solvers_agree():
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((200, 12)), rng.standard_normal((200, 7))
    assert np.allclose(seed.normal_equation_map(x, y), seed.least_squares_map(x, y), atol=1e-4)


def test_with_too_few_texts_only_one_of_them_finds_the_shortest_map():
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((20, 60)), rng.standard_normal((20, 60))
    short, long = seed.least_squares_map(x, y), seed.normal_equation_map(x, y)
    assert np.allclose(short, np.linalg.pinv(x) @ y)
    assert np.allclose(x @ short, y)
    assert np.linalg.norm(long) > 5 * np.linalg.norm(short)


def test_mapped_columns_are_images_of_the_columns():
    a, _ = bases(6, d=5, k=2)
    matrix = np.random.default_rng(6).standard_normal((5, 4))
    assert np.allclose(seed.mapped_columns(a, matrix)[:, 1], a[:, 1] @ matrix)


@given(st.integers(0, 10**6))
def test_turning_is_procrustes_where_the_columns_decide_it(number):
    a, b = bases(number)
    as_meant = seed.turn_onto(a, b).as_meant
    centred = [basis - basis.mean(axis=1, keepdims=True) for basis in (a, b)]
    rotation, total = orthogonal_procrustes(centred[0].T, centred[1].T)
    turned = as_meant - b.mean(axis=1, keepdims=True)
    assert np.allclose(turned.T @ turned, centred[0].T @ centred[0])  # a rotation changes no inner product
    assert (turned * centred[1]).sum() == pytest.approx(total)
    assert (rotation.T @ centred[0] * centred[1]).sum() == pytest.approx(total)


def test_as_computed_the_rotation_is_transposed_and_the_targets_mean_added():
    a, b = bases(7)
    computed = seed.turn_onto(a, b).as_computed
    turned = computed - b.mean(axis=1, keepdims=True)
    centred = [basis - basis.mean(axis=1, keepdims=True) for basis in (a, b)]
    assert np.allclose(turned.T @ turned, centred[0].T @ centred[0])
    assert (turned * centred[1]).sum() < 0.5 * np.linalg.norm(centred[0] @ centred[1].T, "nuc")
    # Every inner product with the target's basis has 1/k from the mean.
    assert (computed.T @ b).mean() == pytest.approx(1 / a.shape[1], abs=0.02)


def test_turning_a_basis_onto_itself_changes_nothing():
    a, _ = bases(8)
    for turned in seed.turn_onto(a, a):
        assert np.allclose(turned, a)


def test_vectors_share_the_neutral_mean():
    classes = {"anger": np.array([[2.0, 0], [4, 0]]), "neutral": np.array([[1.0, 1]]), "thanks": np.array([[1.0, 3]])}
    vectors = seed.difference_vectors(classes, "neutral")
    assert np.allclose(vectors, [[2, -1], [0, 2]])
    assert seed.mean_pair_cosine(vectors) == pytest.approx(-1 / np.sqrt(5))


@given(st.integers(1, 40), st.integers(0, 1000))
def test_averaging_attention_over_keys_gives_one_over_length(length, number):
    logits = np.random.default_rng(number).standard_normal((12, length)) * 5
    rows = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(seed.attention_score(rows), 1 / length)
