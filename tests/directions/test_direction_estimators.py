"""One battery over `ESTIMATORS`: a new estimator is tested as soon as it is in the table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import matched_data, planted_values, planted_vectors

from emotion_circuits.directions import (
    ESTIMATORS,
    FisherDirection,
    LogisticProbe,
    MatchedContrast,
    PairedComponent,
    SpecificContrast,
)
from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.prompts import bank

EMOTIONS = bank().emotions

# The probe standardises every dimension, which no rotation leaves alone. It and the discriminant take texts unmatched.
NOT_ROTATING = {"probe"}
NOT_MATCHED = {"probe", "lda"}

battery = pytest.mark.parametrize("kind", ESTIMATORS)


def material(n=24, d=10, signal=4.0, seed=0):
    data = matched_data(n)
    labels = np.array([t.emotion for t in data])
    scenarios = np.array([t.scenario for t in data])
    return planted_values(data, d, signal, seed=seed), labels, scenarios


def fitted(kind, values, labels, scenarios):
    return ESTIMATORS[kind]().fit(values, labels, scenarios).directions_


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@battery
def test_a_planted_direction_is_found(kind):
    """A contrast with neutral holds what all emotions share, one among emotions does not."""
    values, labels, scenarios = material(n=200, signal=6.0)
    vectors = planted_vectors(10)
    found = fitted(kind, values, labels, scenarios)
    assert set(found) == set(EMOTIONS)
    for emotion in EMOTIONS:
        own = vectors[emotion] - np.mean([vectors[e] for e in EMOTIONS], axis=0)
        with_common = vectors[emotion] + vectors["common"]
        truth = {"matched": with_common, "pca": with_common}.get(kind, own)
        assert cosine(found[emotion], truth) > (0.75 if kind in NOT_MATCHED else 0.98)
        assert all(
            cosine(found[emotion], vectors[e]) < cosine(found[emotion], vectors[emotion])
            for e in EMOTIONS
            if e != emotion
        )


@battery
def test_texts_of_an_emotion_score_higher_on_its_direction(kind):
    train, labels, scenarios = material(n=60, signal=3.0)
    fresh, fresh_labels, _ = material(n=60, signal=3.0, seed=1)
    for emotion, vector in fitted(kind, train, labels, scenarios).items():
        scores = fresh @ vector
        others = np.isin(fresh_labels, EMOTIONS) & (fresh_labels != emotion)
        error = np.sqrt(2 / 60) * scores.std()
        assert scores[fresh_labels == emotion].mean() > scores[others].mean() + 3 * error


@battery
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), factor=st.floats(0.01, 100), shift=st.floats(-50, 50))
def test_scale_and_offset_of_the_stream_do_not_turn_a_direction(kind, seed, factor, shift):
    values, labels, scenarios = material(seed=seed)
    moved = factor * values + shift * np.linspace(-1, 1, values.shape[1])
    here, there = fitted(kind, values, labels, scenarios), fitted(kind, moved, labels, scenarios)
    for emotion in EMOTIONS:
        assert cosine(here[emotion], there[emotion]) > 1 - 1e-5
        if kind != "probe":  # lengths are in the stream's units
            np.testing.assert_allclose(there[emotion], factor * here[emotion], rtol=1e-6, atol=1e-6 * factor)


@battery
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_a_rotated_stream_has_rotated_directions(kind, seed):
    if kind in NOT_ROTATING:
        return
    values, labels, scenarios = material(seed=seed)
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((10, 10)))[0]
    here, there = fitted(kind, values, labels, scenarios), fitted(kind, values @ rotation, labels, scenarios)
    for emotion in EMOTIONS:
        np.testing.assert_allclose(there[emotion], here[emotion] @ rotation, atol=1e-9)


@battery
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_order_of_texts_does_not_matter(kind, seed):
    values, labels, scenarios = material(seed=seed)
    order = np.random.default_rng(seed).permutation(len(values))
    here = fitted(kind, values, labels, scenarios)
    there = fitted(kind, values[order], labels[order], scenarios[order])
    for emotion in EMOTIONS:
        np.testing.assert_allclose(here[emotion], there[emotion], atol=1e-4 * np.linalg.norm(here[emotion]))


@battery
def test_an_offset_of_a_scenario_is_no_emotion(kind):
    """Topics move all texts of a scenario alike: matched contrasts must not see them at all."""
    values, labels, scenarios = material()
    names = np.unique(scenarios)
    offsets = dict(zip(names, np.random.default_rng(5).standard_normal((len(names), 10)), strict=True))
    moved = values + np.stack([offsets[s] for s in scenarios])
    if kind not in NOT_MATCHED:
        here, there = fitted(kind, values, labels, scenarios), fitted(kind, moved, labels, scenarios)
        for emotion in EMOTIONS:
            np.testing.assert_allclose(here[emotion], there[emotion], atol=1e-9)


@battery
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(kind, bad):
    values, labels, scenarios = material()
    values[3, 2] = bad
    with pytest.raises(MeasurementError, match="NaN or infinity"):
        fitted(kind, values, labels, scenarios)


@battery
def test_shapes_that_do_not_fit_are_refused(kind):
    values, labels, scenarios = material()
    for wrong in ((values[:-1], labels, scenarios), (values, labels[:-1], scenarios), (values[0], labels, scenarios)):
        with pytest.raises(InputError, match="differ in number"):
            fitted(kind, *wrong)


@battery
@pytest.mark.parametrize("spoil", ["missing", "twice", "no neutral", "only neutral"])
def test_incomplete_scenarios_are_refused_where_they_matter(kind, spoil):
    values, labels, scenarios = material()
    keep = np.ones(len(labels), dtype=bool)
    if spoil == "missing":
        keep[np.flatnonzero(labels == "neutral")[1]] = False
    elif spoil == "no neutral":
        keep = labels != "neutral"
    elif spoil == "only neutral":
        keep = labels == "neutral"
    elif spoil == "twice":
        labels = labels.copy()
        labels[5] = labels[6]
    if kind not in NOT_MATCHED:
        with pytest.raises(InputError, match="neutral text"):
            fitted(kind, values[keep], labels[keep], scenarios[keep])


def test_contrasts_are_the_differences_of_means():
    values, labels, scenarios = material()
    means = {c: values[labels == c].mean(axis=0) for c in ("neutral", *EMOTIONS)}
    matched = MatchedContrast().fit(values, labels, scenarios).directions_
    specific = SpecificContrast().fit(values, labels, scenarios).directions_
    for emotion in EMOTIONS:
        np.testing.assert_allclose(matched[emotion], means[emotion] - means["neutral"], atol=1e-12)
        np.testing.assert_allclose(
            specific[emotion], means[emotion] - np.mean([means[e] for e in EMOTIONS], axis=0), atol=1e-12
        )
    np.testing.assert_allclose(sum(specific.values()), 0, atol=1e-12)


def test_the_probe_is_scikit_learn_s_on_standardised_activations():
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    values, labels, scenarios = material(signal=1.0)
    scaler = StandardScaler().fit(values)
    found = LogisticProbe(strength=0.1).fit(values, labels, scenarios).directions_
    for emotion in EMOTIONS:
        oracle = LogisticRegression(C=0.1, class_weight="balanced", max_iter=5000, tol=1e-10)
        oracle.fit(scaler.transform(values), labels == emotion)
        assert cosine(found[emotion], oracle.coef_[0] / scaler.scale_) > 1 - 1e-6


@battery
@pytest.mark.parametrize("constant", [3.0, 0.1, -1e6, 0.0])
def test_what_never_varies_but_for_rounding_is_in_no_direction(kind, constant):
    """A dimension, or all of them: nothing is learnt there, and above all not from rounding."""
    values, labels, scenarios = material()
    rounding = 1 + 1e-15 * np.random.default_rng(0).standard_normal(values.shape)
    values[:, 4] = constant * rounding[:, 4]
    for vector in fitted(kind, values, labels, scenarios).values():
        assert np.isfinite(vector).all() and abs(vector[4]) <= 1e-12 * max(1, abs(constant)) < np.linalg.norm(vector)
    for vector in fitted(kind, constant * rounding, labels, scenarios).values():
        assert np.linalg.norm(vector) <= 1e-12 * max(1, abs(constant))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), n=st.integers(3, 30), d=st.integers(2, 40))
def test_the_component_is_the_axis_of_the_largest_second_moment(seed, n, d):
    """About zero, not about the mean; it points where the mean difference does, and is its projection's length."""
    rng = np.random.default_rng(seed)
    labels, scenarios = np.tile(["neutral", "anger"], n), np.repeat(np.arange(n), 2)
    values = rng.standard_normal((2 * n, d)) + np.outer(np.tile([0, 1], n), rng.standard_normal(d))
    differences = values[1::2] - values[::2]
    found = PairedComponent().fit(values, labels, scenarios).directions_["anger"]
    moments, axes = np.linalg.eigh(differences.T @ differences)
    if moments[-1] - moments[-2] < 0.01 * moments[-1]:
        return
    assert abs(cosine(found, axes[:, -1])) > 1 - 1e-6
    assert found @ differences.mean(axis=0) == pytest.approx(found @ found)


def test_a_component_without_the_mean_would_miss_the_emotion():
    """All pairs differ by the same vector, so about their mean nothing is left of it."""
    rng = np.random.default_rng(0)
    labels, scenarios = np.tile(["neutral", "anger"], 40), np.repeat(np.arange(40), 2)
    values = rng.standard_normal((80, 8))
    values[1::2, 0] += 5.0
    values[:, 1] *= 2.0
    found = PairedComponent().fit(values, labels, scenarios).directions_["anger"]
    assert cosine(found, np.eye(8)[0]) > 0.95


def test_with_many_texts_the_discriminant_is_scikit_learn_s():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    values, labels, scenarios = material(n=3000, signal=1.0)
    values = values @ np.linalg.qr(np.random.default_rng(3).standard_normal((10, 10)))[0] * np.geomspace(0.2, 5, 10)
    found = FisherDirection().fit(values, labels, scenarios).directions_
    oracle = LinearDiscriminantAnalysis(solver="lsqr").fit(values, labels)
    for emotion in EMOTIONS:
        own = oracle.classes_ == emotion
        assert cosine(found[emotion], oracle.coef_[own][0] - oracle.coef_[~own].mean(axis=0)) > 0.999


def test_the_discriminant_is_as_long_as_the_classes_are_apart_along_it():
    values, labels, scenarios = material(n=6, d=40)  # fewer texts than dimensions
    values[:, 7] = values[:, 8]
    for emotion, vector in FisherDirection().fit(values, labels, scenarios).directions_.items():
        others = np.mean([values[labels == c].mean(axis=0) for c in np.unique(labels) if c != emotion], axis=0)
        apart = values[labels == emotion].mean(axis=0) - others
        assert vector @ apart == pytest.approx(vector @ vector) and vector @ apart > 0


def test_noise_that_dimensions_share_is_left_out_by_the_discriminant_only():
    """The emotion lies in dimension 0, where noise hides it; dimension 1 has the same noise and no emotion."""
    rng = np.random.default_rng(0)
    labels, scenarios = np.tile(["neutral", "anger"], 100), np.repeat(np.arange(100), 2)
    shared = 5 * rng.standard_normal(200)
    values = np.stack([shared + (labels == "anger"), shared, *rng.standard_normal((4, 200))], axis=1)
    values += 0.1 * rng.standard_normal(values.shape)

    def separation(kind):
        scores = values @ fitted(kind, values, labels, scenarios)["anger"]
        one, other = scores[labels == "anger"], scores[labels != "anger"]
        return (one.mean() - other.mean()) / np.sqrt(one.var() + other.var())

    assert separation("lda") > 3 > 1 > separation("matched")


def test_texts_like_their_class_s_mean_have_their_difference_for_a_discriminant():
    labels, scenarios = np.tile(["neutral", "anger", "apology"], 5), np.repeat(np.arange(5), 3)
    values = np.tile(np.eye(4)[:3], (5, 1))
    found = FisherDirection().fit(values, labels, scenarios).directions_
    np.testing.assert_allclose(found["anger"], [-0.5, 1, -0.5, 0])


def test_a_discriminant_needs_an_emotion_and_something_else():
    values, labels, scenarios = material()
    for kept in ("neutral", "anger"):
        keep = labels == kept
        with pytest.raises(InputError, match="two classes"):
            FisherDirection().fit(values[keep], labels[keep], scenarios[keep])
