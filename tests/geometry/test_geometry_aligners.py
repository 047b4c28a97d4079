"""Aligners: the common check, an oracle for each, planted recovery, and noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes, subspace_angles
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.model_selection import GroupKFold

from emotion_circuits.errors import InputError
from emotion_circuits.geometry import (
    ALIGNERS,
    CCA,
    Aligner,
    LeastSquares,
    PlantedModels,
    Procrustes,
    RelativeAnchors,
    Ridge,
    aligner_named,
    check_aligner,
    independent_models,
    load_aligner,
    planted_models,
    principal_angles,
    save_aligner,
)


@pytest.fixture(scope="module")
def planted() -> PlantedModels:
    return planted_models(n_fit=1000, n_scenarios=40, rank=40, signal_to_noise=16.0, seed=0)


def small(n: int = 200, seed: int = 0):
    return planted_models(n_fit=n, n_scenarios=4, width_a=12, width_b=9, rank=4, seed=seed)


@pytest.mark.parametrize("kind", ALIGNERS, ids=lambda kind: kind.name)
def test_every_aligner_passes_the_check(kind: type[Aligner]) -> None:
    check_aligner(kind())


class MeanMap(LeastSquares):
    """Wrong: it maps in-sample by chance, whatever the texts."""

    def _fit_map(self, source, target, groups):
        return np.random.default_rng(int(abs(source[0, 0]) * 1e6)).standard_normal((source.shape[1], target.shape[1]))


def test_the_check_can_fail() -> None:
    with pytest.raises(AssertionError, match="MeanMap"):
        check_aligner(MeanMap())


def test_names() -> None:
    assert [aligner_named(kind.name) for kind in ALIGNERS] == list(ALIGNERS)
    with pytest.raises(InputError, match="no aligner 'svcca'"):
        aligner_named("svcca")
    assert [kind.name for kind in ALIGNERS if not kind.in_sample_safe] == ["least-squares"]


def test_ridge_is_scikit_learns_with_the_same_choice_of_penalty() -> None:
    """All dimensions kept, the scores are the standardised texts rotated, so ridge there is ridge on those texts."""
    models = small()
    groups = np.arange(200) // 4
    ours = Ridge(n_components=9).fit(models.fit_a[:, :9], models.fit_b, groups)
    X, Y = ((Z - Z.mean(axis=0)) / Z.std(axis=0) for Z in (models.fit_a[:, :9], models.fit_b))
    penalties = np.asarray(ours.penalties) * len(X)  # the mean variance of 9 standardised dimensions is 1, times n
    sklearns = RidgeCV(penalties, cv=list(GroupKFold(5).split(X, groups=groups)), scoring="neg_mean_squared_error").fit(
        X, Y
    )
    # Ours scales the penalty with the training fold's variance, so the choice may differ by one step at most.
    steps = np.log10(ours.penalty_ * len(X) / sklearns.alpha_) / 0.5
    assert abs(steps) <= 1
    same = SklearnRidge(ours.penalty_ * len(X)).fit(X, Y)
    np.testing.assert_allclose(
        ours.transform(models.fit_a[:, :9]), same.predict(X) * models.fit_b.std(axis=0) + models.fit_b.mean(axis=0)
    )


def test_cross_validated_r2_is_that_of_refitting_every_fold() -> None:
    models = small()
    groups = np.arange(200) // 4
    ours = Ridge(n_components=5, penalties=(0.3,)).fit(models.fit_a, models.fit_b, groups)
    source, target = (texts.scores for texts in ours.training_texts())
    residual = total = 0.0
    for train, test in GroupKFold(5).split(source, groups=groups):
        variance = np.square(source[train] - source[train].mean(axis=0)).sum() / source.shape[1]
        fold = SklearnRidge(0.3 * variance).fit(source[train], target[train])
        residual += np.square(target[test] - fold.predict(source[test])).sum()
        total += np.square(target[test] - target[train].mean(axis=0)).sum()
    assert ours.cv_r2_ == pytest.approx(1 - residual / total, abs=1e-9)


def test_procrustes_is_scipys() -> None:
    models = small()
    ours = Procrustes(n_components=6).fit(models.fit_a, models.fit_b)
    source, target = (texts.scores for texts in ours.training_texts())
    rotation, size = orthogonal_procrustes(source, target)
    np.testing.assert_allclose(ours.map_, rotation * size / np.square(source).sum(), atol=1e-12)


def test_canonical_correlations_are_cosines_between_the_spaces_of_texts() -> None:
    models = small()
    ours = CCA(n_components=6).fit(models.fit_a, models.fit_b)
    source, target = (texts.scores for texts in ours.training_texts())
    expected = np.sort(np.cos(subspace_angles(source, target)))[::-1]
    np.testing.assert_allclose(ours.correlations_, expected, atol=1e-9)
    assert (ours.held_out_correlations_ <= ours.correlations_).all()
    assert ours.held_out_correlations_[0] > 0.5
    # With all of the correlation kept it would be least squares.
    ours.held_out_correlations_ = ours.correlations_
    np.testing.assert_allclose(
        ours.maps_of(source.T @ target), LinearRegression().fit(source, target).coef_.T, atol=1e-9
    )


def test_cca_against_repsim() -> None:
    repsim = pytest.importorskip("repsim")
    models = small()
    ours = CCA(n_components=6).fit(models.fit_a, models.fit_b)
    source, target = (texts.scores for texts in ours.training_texts())
    # Its "pillai" is the mean correlation and its "yanai" the mean square, whatever the names say elsewhere.
    means = [repsim.cca([source, target], summary_type=summary)[0, 1] for summary in ("pillai", "yanai")]
    assert ours.correlations_.mean() == pytest.approx(means[0], abs=1e-9)
    assert np.square(ours.correlations_).mean() == pytest.approx(means[1], abs=1e-9)


def test_least_squares_is_exact_in_sample_on_noise_and_worthless_on_fresh_texts() -> None:
    noise, more = (independent_models(n_fit=70, n_scenarios=2, seed=seed) for seed in (0, 1))
    fitted = LeastSquares().fit(noise.fit_a, noise.fit_b)
    assert fitted.score(noise.fit_a, noise.fit_b) == pytest.approx(1.0)
    assert fitted.score(more.fit_a, more.fit_b) < -0.2


def test_anchors_carry_a_rotated_model_over() -> None:
    models = small(300)
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((12, 12)))[0]
    # Standardising bends the rotation a little; on sphered texts it stays one.
    sphered = np.linalg.svd(models.fit_a - models.fit_a.mean(axis=0), full_matrices=False)[0]
    fitted = RelativeAnchors(penalty=1e-9).fit(sphered[:200], sphered[:200] @ rotation * 7)
    assert fitted.score(sphered[200:], sphered[200:] @ rotation * 7) > 0.95
    fewer = [RelativeAnchors(n_anchors=80, seed=seed).fit(models.fit_a, models.fit_b) for seed in (0, 0, 1)]
    assert np.array_equal(fewer[0].map_, fewer[1].map_)
    assert not np.allclose(fewer[0].map_, fewer[2].map_)
    with pytest.raises(InputError, match="anchors"):
        RelativeAnchors(n_anchors=301).fit(models.fit_a, models.fit_b)


@pytest.mark.parametrize("kind", [Ridge, CCA], ids=lambda kind: kind.name)
def test_planted_maps_are_recovered(planted: PlantedModels, kind: type[Aligner]) -> None:
    fitted = kind().fit(planted.fit_a, planted.fit_b)
    images = fitted.transform_direction(planted.directions_a)
    assert np.degrees(principal_angles(images.T, planted.directions_b.T).max()) < 5
    fresh = planted.fresh(500, 1)
    assert fitted.score(*fresh) > 0.95 * planted.best_r2(*fresh)
    assert fitted.score(*fresh) <= planted.best_r2(*fresh) + 0.01


@pytest.mark.parametrize("kind", ALIGNERS, ids=lambda kind: kind.name)
def test_noise_explains_nothing_of_fresh_texts(kind: type[Aligner]) -> None:
    for n, width in ((70, 192), (280, 96)):
        fit, fresh = (independent_models(n_fit=n, n_scenarios=2, width_a=width, width_b=width, seed=s) for s in (2, 3))
        assert kind().fit(fit.fit_a, fit.fit_b).score(fresh.fit_a, fresh.fit_b) <= 0.01


def test_units_of_either_model_do_not_matter_to_the_fit() -> None:
    models = small()
    scales = np.geomspace(1e-2, 1e3, 12)
    for kind in (Ridge, Procrustes, CCA, RelativeAnchors):
        plain = kind().fit(models.fit_a, models.fit_b)
        scaled = kind().fit(models.fit_a * scales + 40, models.fit_b * 1e3 - 7)
        np.testing.assert_allclose(
            scaled.transform(models.fit_a[:5] * scales + 40), plain.transform(models.fit_a[:5]) * 1e3 - 7, rtol=1e-5
        )


def test_an_interrupted_save_leaves_the_old_map(tmp_path, monkeypatch) -> None:
    models = small()
    path = save_aligner(Ridge().fit(models.fit_a, models.fit_b), tmp_path / "map.safetensors", {"pair": ["a", "b"]})
    before = path.read_bytes()

    def broken(*_: object) -> None:  # after the bytes are written, before the file takes its name
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(KeyboardInterrupt):
        save_aligner(Procrustes().fit(models.fit_a, models.fit_b), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["map.safetensors"]
    loaded, metadata = load_aligner(path)
    assert isinstance(loaded, Ridge)
    assert metadata == {"pair": ["a", "b"]}


@pytest.mark.parametrize(
    "view", [lambda a: a.T.copy().T, lambda a: np.repeat(a, 2, axis=1)[:, ::2], lambda a: a[::-1][::-1]]
)
def test_arrays_are_saved_right_whatever_their_memory(tmp_path, view) -> None:
    models = small()
    fitted = Ridge().fit(models.fit_a, models.fit_b)
    before = fitted.transform(models.fit_a)
    fitted.map_ = view(fitted.map_)
    loaded, _ = load_aligner(save_aligner(fitted, tmp_path / "map.safetensors"))
    np.testing.assert_array_equal(loaded.map_, fitted.map_)
    np.testing.assert_allclose(loaded.transform(models.fit_a), before)
