"""Similarity of whole spaces against slow references written out by hand, an independent package, and noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import pdist, squareform

from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.geometry import biased_cka, cka, compare_spaces, mutual_neighbours, planted_models, rsa


def two_models(n: int = 40, seed: int = 0, shared: float = 1.0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Two layers of a model 8 wide, three of one 11 wide, with something in common."""
    rng = np.random.default_rng(seed)
    latent = shared * rng.standard_normal((n, 4))
    return tuple(
        [latent @ rng.standard_normal((4, d)) + rng.standard_normal((n, d)) for _ in range(count)]
        for d, count in ((8, 2), (11, 3))
    )


def unbiased_hsic(K: np.ndarray, L: np.ndarray) -> float:
    """Song et al. 2012, equation 5, as printed."""
    n = len(K)
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    one = np.ones(n)
    total = (
        np.trace(K @ L) + (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ K @ L @ one)
    )
    return total / (n * (n - 3))


def slow_cka(X: np.ndarray, Y: np.ndarray) -> float:
    K, L = X @ X.T, Y @ Y.T
    return unbiased_hsic(K, L) / np.sqrt(unbiased_hsic(K, K) * unbiased_hsic(L, L))


def slow_rsa(X: np.ndarray, Y: np.ndarray) -> float:
    return stats.spearmanr(pdist(X, "correlation"), pdist(Y, "correlation")).statistic


def slow_neighbours(X: np.ndarray, Y: np.ndarray, k: int = 5) -> float:
    shares = []
    distances = [squareform(pdist(Z - Z.mean(axis=0), "cosine")) for Z in (X, Y)]
    for rows in zip(*distances, strict=True):
        near = [set(np.argsort(row)[1 : k + 1]) for row in rows]
        shares.append(len(near[0] & near[1]) / k)
    return float(np.mean(shares))


@pytest.mark.parametrize(
    ("fast", "slow"),
    [(cka, slow_cka), (rsa, slow_rsa), (lambda a, b: mutual_neighbours(a, b, k=5), slow_neighbours)],
    ids=["cka", "rsa", "neighbours"],
)
def test_all_pairs_of_layers_equal_the_slow_reference(fast, slow) -> None:
    A, B = two_models()
    np.testing.assert_allclose(fast(A, B), [[slow(X, Y) for Y in B] for X in A], atol=1e-9)


def test_biased_cka_is_the_centred_ratio() -> None:
    A, B = two_models()
    X, Y = A[0] - A[0].mean(axis=0), B[0] - B[0].mean(axis=0)
    expected = np.square(X.T @ Y).sum() / (np.linalg.norm(X.T @ X) * np.linalg.norm(Y.T @ Y))
    assert biased_cka(A, B)[0, 0] == pytest.approx(expected)


def test_against_repsim() -> None:
    """Its CKA divides by the biased norm whatever the estimator, so the unbiased ratio is made from its HSIC."""
    repsim = pytest.importorskip("repsim")
    A, B = two_models()
    matrices = [*A, *B]
    hsic = repsim.hsic(matrices, kernel_type="linear", estimator="song")
    ratio = hsic / np.sqrt(np.outer(np.diag(hsic), np.diag(hsic)))
    np.testing.assert_allclose(cka(A, B), ratio[:2, 2:], atol=1e-9)
    np.testing.assert_allclose(
        biased_cka(A, B), repsim.cka(matrices, kernel_type="linear", estimator="gretton")[:2, 2:], atol=1e-9
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-3, 1.0, 50.0]))
def test_invariances(seed: int, scale: float) -> None:
    [X, _], [Y, *_] = two_models(n=15, seed=seed)
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    order = rng.permutation(15)
    moved = scale * X @ rotation + 5
    assert cka([moved], [Y])[0, 0] == pytest.approx(cka([X], [Y])[0, 0], abs=1e-7)
    assert mutual_neighbours([moved], [Y], k=3)[0, 0] == pytest.approx(mutual_neighbours([X], [Y], k=3)[0, 0])
    assert rsa([scale * X], [Y])[0, 0] == pytest.approx(rsa([X], [Y])[0, 0], abs=1e-9)
    for measure in (cka, biased_cka, rsa, lambda a, b: mutual_neighbours(a, b, k=3)):
        value = measure([X], [Y])[0, 0]
        assert measure([X[order]], [Y[order]])[0, 0] == pytest.approx(value, abs=1e-7)
        assert measure([Y], [X])[0, 0] == pytest.approx(value, abs=1e-7)
        assert measure([X], [X])[0, 0] == pytest.approx(1.0)
        assert value <= 1 + 1e-9


@pytest.mark.parametrize("measure", ["cka", "rsa", "neighbours"])
def test_the_null_is_the_measure_on_shuffled_texts(measure: str) -> None:
    A, B = two_models(n=30)
    function = {"cka": cka, "rsa": rsa, "neighbours": lambda a, b: mutual_neighbours(a, b, k=4)}[measure]
    result = compare_spaces(A, B, measure=measure, k=4, n_draws=300, seed=0)
    rng = np.random.default_rng(1)
    by_hand = np.stack([function([X[order] for X in A], B) for order in (rng.permutation(30) for _ in range(300))])
    spread = by_hand.std(axis=0)
    assert (np.abs(result.null_mean - by_hand.mean(axis=0)) < 5 * spread / np.sqrt(300)).all()
    np.testing.assert_allclose(result.null_high, np.quantile(by_hand, 0.975, axis=0), atol=float(spread.max()))
    np.testing.assert_allclose(result.value, function(A, B))
    assert result.p.shape == (2, 3)
    assert (result.p == 1 / 301).all()
    assert (result.low < result.value).all() and (result.value < result.high).all()


@pytest.mark.parametrize("measure", ["cka", "rsa", "neighbours"])
def test_the_jackknife_leaves_out_scenarios(measure: str) -> None:
    A, B = two_models(n=24)
    groups = np.repeat(np.arange(8), 3)
    result = compare_spaces(A, B, measure=measure, groups=groups, k=4, n_draws=9, seed=0)
    assert (result.n_groups, result.n_texts, result.n_unique) == (8, 24, 24)
    if measure == "cka":
        left = np.stack([cka([X[groups != g] for X in A], [Y[groups != g] for Y in B]) for g in range(8)])
        error = np.sqrt(7 / 8 * np.square(left - left.mean(axis=0)).sum(axis=0))
        np.testing.assert_allclose(result.high - result.value, stats.t.isf(0.025, 7) * error, rtol=1e-6)


def test_shuffling_within_classes_keeps_what_classes_give() -> None:
    rng = np.random.default_rng(0)
    classes = np.repeat(np.arange(4), 10)
    offsets = 5 * rng.standard_normal((4, 6))
    A, B = ([offsets[classes] @ rng.standard_normal((6, 6)) + rng.standard_normal((40, 6))] for _ in range(2))
    assert compare_spaces(A, B, n_draws=199, seed=0).p[0, 0] < 0.01
    assert compare_spaces(A, B, within=classes, n_draws=199, seed=0).p[0, 0] > 0.05


def test_planted_models_are_similar_and_their_noise_is_not_where_biased_cka_says_it_is() -> None:
    planted = planted_models(n_fit=100, n_scenarios=4, width_a=60, width_b=50, rank=6, signal_to_noise=20.0, seed=0)
    assert compare_spaces([planted.fit_a], [planted.fit_b], n_draws=99, seed=0).p[0, 0] == 0.01
    rng = np.random.default_rng(0)
    noise = [rng.standard_normal((70, 768)) for _ in range(20)]
    assert biased_cka(noise[:10], noise[10:]).min() > 0.9
    assert abs(cka(noise[:10], noise[10:]).mean()) < 0.01


def test_what_has_no_similarity() -> None:
    X = np.random.default_rng(0).standard_normal((10, 3))
    with pytest.raises(InputError, match="neighbours"):
        mutual_neighbours([X], [X], k=9)
    with pytest.raises(InputError, match="four texts"):
        cka([X[:3]], [X[:3]])
    with pytest.raises(InputError, match="measure"):
        compare_spaces([X], [X], measure="svcca", seed=0)
    with pytest.raises(InputError, match="Groups"):
        compare_spaces([X], [X], groups=np.zeros(10), seed=0)
    level = np.arange(10.0)[:, None] * np.ones(3)
    with pytest.raises(MeasurementError, match="correlation distance"):
        rsa([level], [X])
