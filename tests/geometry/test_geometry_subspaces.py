"""Subspace estimators: independent slow references, invariances, planted recovery."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigh, subspace_angles
from sklearn.base import clone
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.decomposition import PCA

from emotion_circuits.geometry import (
    AllOnesRemover,
    BetweenClassSubspace,
    GenericCleaner,
    LDASubspace,
    PairedDifferenceSubspace,
    PerDimensionScaler,
    ScenarioTable,
    ShrunkWhitening,
    SubspaceEstimator,
    WithinClassSubspace,
    independent_models,
    planted_models,
    remove_all_ones,
)
from emotion_circuits.geometry._draws import Draws, halves, label_permutations, observed

ESTIMATORS = [
    BetweenClassSubspace(),
    BetweenClassSubspace(n_components=2),
    LDASubspace(),
    LDASubspace(n_components=1),
    PairedDifferenceSubspace(n_components=5),
    PairedDifferenceSubspace(n_components=4, emotion="amber"),
    WithinClassSubspace(n_components=4, emotion="azure"),
]
WIDTHS = [8, 60]  # fewer and more dimensions than texts


def by_name(estimator: SubspaceEstimator) -> str:
    return f"{type(estimator).__name__}-{estimator.n_components}"


def angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(subspace_angles(a, b).max()))


def noise_texts(width: int, n_scenarios: int = 9, seed: int = 0):
    models = independent_models(n_fit=10, n_scenarios=n_scenarios, width_a=width, width_b=2, seed=seed)
    return models.emotion_a, models.labels, models.groups


def test_between_class_spans_the_mean_differences() -> None:
    X, labels, groups = noise_texts(12)
    means = np.stack([X[labels == name].mean(axis=0) for name in np.unique(labels)])
    basis = BetweenClassSubspace().fit(X, labels, groups).basis_
    assert angle(basis, (means[1:] - means[0]).T) < 1e-5
    ordered = PCA().fit(means).components_
    np.testing.assert_allclose(np.abs((basis * ordered[:3].T).sum(axis=0)), 1.0)


@pytest.mark.parametrize("width", WIDTHS)
def test_lda_agrees_with_the_generalised_eigenproblem(width: int) -> None:
    """The textbook problem with the *within*-class covariance and the same ridge has the same solutions, in order."""
    X, labels, groups = noise_texts(width)
    X = X * np.geomspace(10, 0.1, width)  # isotropic noise would be shrunk to the identity
    centred = X - X.mean(axis=0)
    shrinkage = ledoit_wolf_shrinkage(centred, assume_centered=True)
    total = centred.T @ centred / len(X)
    means = np.stack([centred[labels == name].mean(axis=0) for name in np.unique(labels)])
    between = means.T @ means / len(means)
    ridge = shrinkage * np.trace(total) / width / (1 - shrinkage)
    _, vectors = eigh(between, total - between + ridge * np.eye(width))
    for k in (1, 2, 3):
        assert angle(LDASubspace(n_components=k).fit(X, labels, groups).basis_, vectors[:, ::-1][:, :k]) < 1e-4


@pytest.mark.parametrize("width", WIDTHS)
def test_paired_differences_are_an_uncentred_pca(width: int) -> None:
    X, labels, groups = noise_texts(width)
    order = np.argsort(groups, kind="stable")
    by_class = {name: X[order][labels[order] == name] for name in np.unique(labels)}
    differences = {name: texts - by_class["neutral"] for name, texts in by_class.items() if name != "neutral"}
    for emotion, rows in ((None, np.vstack(list(differences.values()))), ("amber", differences["amber"])):
        right = np.linalg.svd(rows)[2]
        basis = PairedDifferenceSubspace(n_components=3, emotion=emotion).fit(X, labels, groups).basis_
        assert angle(basis, right[:3].T) < 1e-5


@pytest.mark.parametrize("width", WIDTHS)
def test_within_class_is_a_pca_of_the_class(width: int) -> None:
    X, labels, groups = noise_texts(width)
    expected = PCA(4).fit(X[labels == "amber"]).components_.T
    assert angle(WithinClassSubspace(n_components=4, emotion="amber").fit(X, labels, groups).basis_, expected) < 1e-5


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=by_name)
@pytest.mark.parametrize("width", WIDTHS)
def test_draws_are_fits_on_drawn_texts(estimator: SubspaceEstimator, width: int) -> None:
    """What a batch gives for a draw, a fit gives on texts relabelled or left out by hand."""
    X, labels, groups = noise_texts(width, n_scenarios=12)
    table = ScenarioTable.from_texts(X, labels, groups)
    permuted = label_permutations(table, 3, seed=1)
    bases = estimator.bases(table, permuted)
    for draw in range(3):
        played = table.cells[np.arange(table.n_scenarios)[:, None], permuted.players[draw]]
        by_hand = clone(estimator).fit(
            played.reshape(-1, width), np.tile(table.classes, 12), np.repeat(table.scenarios, 4)
        )
        assert angle(bases[draw], by_hand.basis_) < 1e-4
    if isinstance(estimator, LDASubspace):
        return  # its shrinkage belongs to all texts
    first, _ = halves(table, 3, seed=2)
    for draw, basis in enumerate(estimator.bases(table, first)):
        kept = np.isin(groups, np.array(table.scenarios)[first.weights[draw] > 0])
        assert angle(basis, clone(estimator).fit(X[kept], labels[kept], groups[kept]).basis_) < 1e-4


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=by_name)
def test_weights_are_copies_of_scenarios(estimator: SubspaceEstimator) -> None:
    X, labels, groups = noise_texts(10, n_scenarios=12)
    table = ScenarioTable.from_texts(X, labels, groups)
    weights = np.ones(12)
    weights[:2] = (3, 0)
    [basis] = estimator.bases(table, Draws(weights[None]))
    copied = np.concatenate([table.cells[:1], table.cells[:1], table.cells[:1], table.cells[2:]])
    names = [f"{i:02d}" for i in range(13)]
    again = ScenarioTable(copied, table.classes, tuple(names), 52, 44)
    if not isinstance(estimator, LDASubspace):
        assert angle(basis, estimator.bases(again, observed(again))[0]) < 1e-4


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=by_name)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), width=st.sampled_from([6, 50]), scale=st.sampled_from([1e-3, 1.0, 1e4]))
def test_a_rotated_shifted_scaled_model_has_the_rotated_subspace(
    estimator: SubspaceEstimator, seed: int, width: int, scale: float
) -> None:
    X, labels, groups = noise_texts(width, seed=seed)
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.standard_normal((width, width)))[0]
    order = rng.permutation(len(X))
    basis = clone(estimator).fit(X, labels, groups).basis_
    moved = clone(estimator).fit(scale * (X @ rotation + 3)[order], labels[order], groups[order]).basis_
    np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-9)
    # Signs too: they follow from the texts.
    np.testing.assert_allclose(rotation.T @ basis, moved, atol=1e-4)


def test_leading_columns_are_the_smaller_subspace() -> None:
    X, labels, groups = noise_texts(30)
    for kind in (BetweenClassSubspace, LDASubspace, PairedDifferenceSubspace, WithinClassSubspace):
        large, small = (kind(n_components=k).fit(X, labels, groups).basis_ for k in (3, 2))
        np.testing.assert_allclose(np.abs((large[:, :2] * small).sum(axis=0)), 1.0)


def test_texts_of_one_cell_are_averaged() -> None:
    X, labels, groups = noise_texts(7)
    doubled = np.vstack([X + 1, X - 1])
    table = ScenarioTable.from_texts(doubled, np.tile(labels, 2), np.tile(groups, 2))
    np.testing.assert_allclose(table.cells, ScenarioTable.from_texts(X, labels, groups).cells, atol=1e-12)
    assert (table.n_texts, table.n_unique) == (72, 72)
    assert ScenarioTable.from_texts(np.vstack([X, X]), np.tile(labels, 2), np.tile(groups, 2)).n_unique == 36


def test_planted_subspaces_are_found() -> None:
    planted = planted_models(n_fit=10, n_scenarios=70, emotion_size=100.0, seed=0)
    truth = planted.directions_a.T
    texts = (planted.emotion_a, planted.labels, planted.groups)
    assert angle(BetweenClassSubspace().fit(*texts).basis_, truth) < 5
    assert angle(PairedDifferenceSubspace(n_components=3).fit(*texts).basis_, truth) < 5
    anger = PairedDifferenceSubspace(n_components=1, emotion="amber").fit(*texts).basis_
    assert angle(anger, truth[:, [planted.emotions.index("amber")]]) < 5
    assert (anger.T @ truth[:, planted.emotions.index("amber")] > 0).all()
    # What varies within a class is not what makes it one.
    assert angle(WithinClassSubspace(n_components=3, emotion="amber").fit(*texts).basis_, truth) > 60


def test_generic_cleaner_removes_what_was_asked_and_no_more() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 20)) * np.geomspace(10, 0.1, 20) + 5
    for share in (0.0, 0.3, 0.5, 0.7):
        cleaner = GenericCleaner(share).fit(X)
        remaining = cleaner.transform(X).var(axis=0).sum() / X.var(axis=0).sum()
        assert remaining == pytest.approx(1 - cleaner.removed_share_)
        assert remaining <= 1 - share + 1e-9
        if share:
            variances = PCA().fit(X).explained_variance_ratio_
            assert variances[: len(cleaner.components_) - 1].sum() < share
    np.testing.assert_allclose(
        cleaner.transform(X[:1]) - cleaner.transform(X[1:2]), cleaner.transform_direction(X[:1] - X[1:2]), atol=1e-9
    )
    np.testing.assert_allclose(GenericCleaner(0.0).fit_transform(X), X - X.mean(axis=0))


def test_whitening_and_scaling() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4000, 6)) @ rng.standard_normal((6, 6)) + 2
    np.testing.assert_allclose(np.cov(ShrunkWhitening().fit_transform(X).T), np.eye(6), atol=0.1)
    scaled = PerDimensionScaler().fit_transform(X)
    np.testing.assert_allclose(scaled.std(axis=0), 1.0)
    np.testing.assert_allclose(AllOnesRemover().fit_transform(X).sum(axis=1), 0.0, atol=1e-9)
    np.testing.assert_allclose(remove_all_ones(np.ones((2, 3, 4))), 0.0)
