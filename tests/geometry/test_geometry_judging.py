"""Judging maps on emotion texts: every number against its definition, nulls against maps made one by one."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone

from emotion_circuits.errors import InputError
from emotion_circuits.geometry import (
    ALIGNERS,
    CCA,
    Aligner,
    LayerAlignment,
    LeastSquares,
    PlantedModels,
    Procrustes,
    Ridge,
    align_all_layers,
    cosine_gain,
    evaluate_alignment,
    independent_models,
    layer_gain,
    mapped_contrasts,
    noise_twin,
    overlap,
    planted_models,
)
from emotion_circuits.geometry._judging import random_frames, random_map_images
from emotion_circuits.statistics import permute_within_groups

FEW = {"n_draws": 99, "n_bootstrap": 199, "seed": 0}


@pytest.fixture(scope="module")
def planted() -> PlantedModels:
    return planted_models(
        n_fit=400, n_scenarios=20, width_a=40, width_b=32, rank=10, signal_to_noise=10.0, emotion_size=15.0, seed=0
    )


def texts(models) -> tuple:
    return models.emotion_a, models.emotion_b, models.labels, models.groups


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a @ b.T / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))


def directions(X: np.ndarray, models, kind: str) -> np.ndarray:
    emotions = sorted(set(models.labels) - {"neutral"})
    matched = np.stack(
        [X[models.labels == e].mean(axis=0) - X[models.labels == "neutral"].mean(axis=0) for e in emotions]
    )
    return matched - matched.mean(axis=0) if kind == "specific" else matched


@pytest.mark.parametrize("kind", ["specific", "matched"])
@pytest.mark.parametrize("space", ["standardised", "original"])
@pytest.mark.parametrize("aligner", [Ridge(), LeastSquares(), Procrustes(n_components=20)], ids=lambda a: a.name)
def test_every_number_is_its_definition(planted: PlantedModels, aligner: Aligner, space: str, kind: str) -> None:
    fitted = clone(aligner).fit(planted.fit_a, planted.fit_b)
    report = evaluate_alignment(fitted, *texts(planted), kind=kind, space=space, n_draws=9, n_bootstrap=9, seed=0)
    units = planted.fit_b.std(axis=0) if space == "standardised" else 1.0
    mapped = fitted.transform_direction(directions(planted.emotion_a, planted, kind)) / units
    own = directions(planted.emotion_b, planted, kind) / units
    expected = cosine(mapped, own)
    np.testing.assert_allclose(report.cosines, expected, atol=1e-9)
    assert report.emotions == planted.emotions
    np.testing.assert_allclose(report.own, np.diag(expected), atol=1e-9)
    off = expected[~np.eye(3, dtype=bool)]
    assert report.mean_own == pytest.approx(np.diag(expected).mean())
    assert report.wrong_class == pytest.approx(off.mean())
    assert report.specificity == pytest.approx(np.diag(expected).mean() - off.mean())
    assert report.retrieval == 1.0
    assert report.r2 == pytest.approx(fitted.score(planted.emotion_a, planted.emotion_b))
    spans = [
        fitted.transform_direction(directions(planted.emotion_a, planted, "matched")) / units,
        directions(planted.emotion_b, planted, "matched") / units,
    ]
    by_hand = overlap(spans[0].T, spans[1].T)
    assert report.overlap == pytest.approx(float(by_hand.value))
    assert report.overlap_corrected == pytest.approx(float(by_hand.corrected))
    assert (report.n_fit, report.n_scenarios, report.n_texts, report.n_unique) == (400, 20, 80, 80)


@pytest.mark.parametrize("kind", ALIGNERS, ids=lambda kind: kind.name)
def test_shuffled_nulls_are_fits_on_shuffled_pairs(planted: PlantedModels, kind: type[Aligner]) -> None:
    """One by one: fit with the source's rows in another order (with the observed penalty), and map the directions."""
    fitted = kind().fit(planted.fit_a, planted.fit_b)
    vectors = directions(planted.emotion_a, planted, "matched")
    orders = permute_within_groups(np.arange(400), planted.fit_labels, 3, 7)
    images = fitted.shuffled(fitted.source_.direction_scores(vectors), orders)
    for order, image in zip(orders, images, strict=True):
        again = clone(fitted)
        if isinstance(fitted, Ridge):
            again.set_params(penalties=(fitted.penalty_,))
        if isinstance(fitted, CCA):
            again.fit(planted.fit_a, planted.fit_b)
            source, target = (t.scores for t in again.training_texts())
            expected = fitted.target_.direction_from(
                fitted.source_.direction_scores(vectors) @ again.maps_of(source[order].T @ target)
            )
        else:
            expected = again.fit(planted.fit_a[order], planted.fit_b).transform_direction(vectors)
        got = fitted.target_.direction_from(image)
        np.testing.assert_allclose(got, expected, atol=2e-3 * np.abs(expected).max())


def test_the_random_map_null_is_what_random_maps_give() -> None:
    """Maps with the same singular values between random orthonormal frames, made one by one."""
    rng = np.random.default_rng(0)
    spectrum = np.geomspace(1, 0.01, 6)
    vectors, own = rng.standard_normal((3, 8)), rng.standard_normal((3, 6))
    frames = random_frames(rng, 1500, 3, 8), random_frames(rng, 1500, 3, 6)
    images = random_map_images(vectors, spectrum, frames)

    def haar(rows: int) -> np.ndarray:
        return stats.ortho_group.rvs(rows, size=1500, random_state=rng)

    maps = haar(8)[:, :, :6] * spectrum @ haar(6)
    by_hand = vectors @ maps

    def statistics(found: np.ndarray) -> tuple[np.ndarray, ...]:
        lengths = np.linalg.norm(found, axis=-1)
        cosines = (found @ own.T) / (lengths[..., None] * np.linalg.norm(own, axis=1))
        mutual = (found[:, 0] * found[:, 1]).sum(axis=-1) / (lengths[:, 0] * lengths[:, 1])
        return cosines[:, 0, 0], cosines[:, 1, 2], lengths[:, 2], mutual, overlap(found.transpose(0, 2, 1), own.T).value

    for ours, theirs in zip(statistics(images), statistics(by_hand), strict=True):
        assert stats.ks_2samp(ours, theirs).pvalue > 0.005


def test_the_plant_stands_above_every_null_and_its_noise_twin_does_not(planted: PlantedModels) -> None:
    for models, found in ((planted, True), (noise_twin(planted, 1), False)):
        fitted = Ridge().fit(models.fit_a, models.fit_b)
        report = evaluate_alignment(fitted, *texts(models), fit_labels=models.fit_labels, **FEW)
        nulls = [*report.mean_own_nulls, *report.specificity_nulls, *(n for own in report.own_nulls for n in own)]
        assert {null.name for null in nulls} == {"shuffled", "shuffled within class", "random map"}
        assert all((null.p == 0.01) is found for null in nulls if found or null in report.mean_own_nulls)
        assert (report.mean_own > 0.9) is found
        low, high = report.mean_own_interval
        assert low < report.mean_own < high
        assert (low > max(null.high for null in report.mean_own_nulls)) is found
        assert report.mean_own_label_null is not None
        assert (report.cv_r2 > 0.3) is found


def test_a_good_map_carries_any_contrast_of_the_texts_over_and_the_label_null_says_so() -> None:
    models = planted_models(
        n_fit=400, n_scenarios=20, width_a=30, width_b=30, rank=10, signal_to_noise=20.0, emotion_size=1e-9, seed=0
    )
    report = evaluate_alignment(Ridge().fit(models.fit_a, models.fit_b), *texts(models), **FEW)
    assert report.mean_own > 0.8
    assert all(null.p == 0.01 for null in report.mean_own_nulls)
    assert report.mean_own_label_null.p > 0.05
    assert report.mean_own_label_null.mean > 0.8


def layered(models, n_layers: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.permutation(models.fit_a.shape[1]) for _ in range(n_layers)]


@pytest.fixture(scope="module")
def all_layers(planted: PlantedModels) -> tuple[LayerAlignment, list[np.ndarray]]:
    orders = layered(planted, 3, 0)
    return align_all_layers(
        [planted.fit_a[:, o] for o in orders[:2]],
        [planted.fit_b, planted.fit_a[:, orders[2]]],
        [planted.emotion_a[:, o] for o in orders[:2]],
        [planted.emotion_b, planted.emotion_a[:, orders[2]]],
        planted.labels,
        planted.groups,
        aligner=Ridge(n_components=30),
        fit_labels=planted.fit_labels,
        fit_groups=np.arange(400) // 2,
        n_jobs=2,
        **FEW,
    ), orders


def test_all_layers_are_single_maps(all_layers, planted: PlantedModels) -> None:
    result, orders = all_layers
    assert result.cosines.shape == (2, 2, 3, 3)
    fitted = Ridge(n_components=30).fit(planted.fit_a[:, orders[1]], planted.fit_b, np.arange(400) // 2)
    emotion = planted.emotion_a[:, orders[1]]
    single = evaluate_alignment(
        fitted, emotion, planted.emotion_b, planted.labels, planted.groups, fit_labels=planted.fit_labels, **FEW
    )
    one, other = asdict(single), asdict(result.at(1, 0))
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert str(value) == str(other[name]) or np.allclose(
            np.asarray(value, dtype=float), np.asarray(other[name], dtype=float), atol=1e-6
        ), name
    assert result.best() == np.unravel_index(np.argmax(result.mean_own), (2, 2))
    with pytest.raises(InputError, match="pair of layers"):
        result.at(2, 0)
    with pytest.raises(InputError, match="no null"):
        result.null("rotation")
    assert result.null("shuffled").own.p.shape == (2, 2, 3)


def test_layers_do_not_depend_on_jobs_order_or_repetition(all_layers, planted: PlantedModels) -> None:
    result, orders = all_layers
    shuffle = np.random.default_rng(5).permutation(len(planted.labels))
    progress: list[tuple[int, int]] = []
    again = align_all_layers(
        [planted.fit_a[:, o] for o in orders[:2]],
        [planted.fit_b, planted.fit_a[:, orders[2]]],
        [planted.emotion_a[shuffle][:, o] for o in orders[:2]],
        [planted.emotion_b[shuffle], planted.emotion_a[shuffle][:, orders[2]]],
        planted.labels[shuffle],
        planted.groups[shuffle],
        aligner=Ridge(n_components=30),
        fit_labels=planted.fit_labels,
        fit_groups=np.arange(400) // 2,
        n_jobs=1,
        progress=lambda done, of: progress.append((done, of)),
        **FEW,
    )
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]
    np.testing.assert_array_equal(again.cosines, result.cosines)
    np.testing.assert_array_equal(again.bootstrap, result.bootstrap)
    np.testing.assert_allclose(again.r2, result.r2)
    for first, second in zip(again.nulls, result.nulls, strict=True):
        np.testing.assert_array_equal(first.own.p, second.own.p)


def test_intervals_hold_the_value_and_shrink_with_scenarios() -> None:
    widths = []
    for n in (10, 80):
        models = planted_models(
            n_fit=400, n_scenarios=n, width_a=30, width_b=30, rank=10, signal_to_noise=10.0, emotion_size=5.0, seed=0
        )
        fitted = Ridge().fit(models.fit_a, models.fit_b)
        report = evaluate_alignment(fitted, *texts(models), n_draws=0, n_bootstrap=500, seed=0)
        for value, (low, high) in (
            (report.mean_own, report.mean_own_interval),
            (report.specificity, report.specificity_interval),
            (report.r2, report.r2_interval),
            *zip(report.own, report.own_intervals, strict=True),
        ):
            assert low < value < high
        assert report.mean_own_interval[1] <= 1
        widths.append(np.diff(report.mean_own_interval)[0])
    assert widths[1] < widths[0] / 2


def test_gain_over_untrained_models(planted: PlantedModels) -> None:
    trained = mapped_contrasts(Ridge().fit(planted.fit_a, planted.fit_b), *texts(planted))
    twins = [noise_twin(planted, seed) for seed in (1, 2)]
    arms = []
    for twin in twins:
        fitted = Ridge().fit(twin.fit_a, planted.fit_b)
        arms.append(mapped_contrasts(fitted, twin.emotion_a, planted.emotion_b, planted.labels, planted.groups))
    gain = cosine_gain(trained, arms, n_draws=499, seed=0)
    assert gain.gain.value == pytest.approx(gain.trained - max(gain.others))
    assert gain.best_other == max(gain.others)
    assert gain.gain.interval.low > 0.3 and gain.gain.p < 1e-3
    assert gain.interval.low < gain.trained < gain.interval.high
    nothing = cosine_gain(arms[0], arms[1:], n_draws=499, seed=0).gain
    assert nothing.interval.low < nothing.value < nothing.interval.high
    same = cosine_gain(trained, [trained], emotion="amber", n_draws=99, seed=0)
    assert (same.gain.value, same.gain.p, same.emotion) == (0.0, 1.0, "amber")
    with pytest.raises(InputError, match="no untrained"):
        cosine_gain(trained, [], seed=0)
    with pytest.raises(InputError, match="'joy'"):
        cosine_gain(trained, arms, emotion="joy", seed=0)


def test_gain_for_all_layers_agrees_with_that_of_a_pair(planted: PlantedModels) -> None:
    arguments = {"labels": planted.labels, "groups": planted.groups, "n_draws": 0, "n_bootstrap": 999, "seed": 0}
    twin = noise_twin(planted, 1)
    trained = align_all_layers([planted.fit_a], [planted.fit_b], [planted.emotion_a], [planted.emotion_b], **arguments)
    untrained = align_all_layers([twin.fit_a], [planted.fit_b], [twin.emotion_a], [planted.emotion_b], **arguments)
    layers = layer_gain(trained, [untrained])
    pairs = [
        mapped_contrasts(Ridge().fit(m.fit_a, planted.fit_b), m.emotion_a, planted.emotion_b, m.labels, m.groups)
        for m in (planted, twin)
    ]
    gain = cosine_gain(pairs[0], pairs[1:], n_draws=999, seed=0).gain
    assert layers.mean_own[0, 0] == pytest.approx(gain.value)
    assert layers.mean_own_low[0, 0] < layers.mean_own[0, 0] < layers.mean_own_high[0, 0]
    assert layers.mean_own_low[0, 0] == pytest.approx(gain.interval.low, abs=0.3 * (gain.value - gain.interval.low))
    assert layers.p[0, 0] == 1 / 1000
    with pytest.raises(InputError, match="no untrained"):
        layer_gain(trained, [])


def test_noise_is_never_a_gain() -> None:
    """Trained and untrained arms of noise: the one-sided p stays at its level (exact binomial)."""
    small = []
    for seed in range(60):
        models = [independent_models(n_fit=60, n_scenarios=16, width_a=20, width_b=20, seed=(seed, k)) for k in (0, 1)]
        arms = [
            mapped_contrasts(
                Ridge().fit(m.fit_a, models[0].fit_b), m.emotion_a, models[0].emotion_b, m.labels, m.groups
            )
            for m in models
        ]
        small.append(cosine_gain(arms[0], arms[1:], n_draws=199, seed=seed).gain.p <= 0.05)
    assert stats.binomtest(sum(small), 60, 0.05, alternative="greater").pvalue > 0.01
