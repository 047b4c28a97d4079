"""What is taken out before fitting: each cleaning against a slow computation, and what it may never do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import SOURCE, plain_generic, planted, planted_vectors, reordered
from sklearn.covariance import LedoitWolf

from emotion_circuits.directions import (
    CLEANINGS,
    ESTIMATORS,
    IMPLICIT,
    RESCALINGS,
    SPLIT_HALF,
    GenericStatistics,
    MatchedContrast,
    SpecificContrast,
    choose_layers,
    choose_layers_within,
    cleaned_values,
    cleaning_rows,
    cleaning_words,
    detection,
    fit_directions,
    fit_with_layers,
    load_directions,
    save_directions,
)
from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.prompts import bank

EMOTIONS = bank().emotions

SMALL = {"n": 12, "signals": (0.0, 3.0)}
rescaled = pytest.mark.parametrize("cleaning", RESCALINGS)


def centred(made):
    return replace(made, source=SOURCE.model_copy(update={"centred_norm": True}))


def square_by_hand(neutral, cleaning):
    """W², of the mean variance of the neutral texts."""
    if cleaning == "standardised":
        variances = neutral.var(axis=0)
        return np.diag(variances.mean() / variances)
    return neutral.var(axis=0).mean() * np.linalg.inv(LedoitWolf().fit(neutral).covariance_)


@rescaled
def test_rescaled_directions_are_those_of_a_slow_computation(cleaning):
    made, generic = planted(**SMALL), plain_generic(rows=2)
    found = fit_directions(made, "mean", generic, ("matched", "specific"), cleaning)
    for row, values in enumerate(made.values["mean"].astype(float)):
        square = square_by_hand(values[made.labels == "neutral"], cleaning)
        for kind, estimator in (("matched", MatchedContrast), ("specific", SpecificContrast)):
            raw = estimator().fit(values, made.labels, made.scenarios).directions_
            for emotion in EMOTIONS:
                np.testing.assert_allclose(
                    found.vectors[kind][emotion][row], square @ raw[emotion], rtol=1e-4, atol=1e-5
                )


@pytest.mark.parametrize("cleaning", CLEANINGS)
@pytest.mark.parametrize("prepare", [centred, lambda made: made])
def test_contrasts_of_cleaned_values_are_the_directions(cleaning, prepare):
    """Splits, permutations and controls are computed on these values: they must be of the same recipe."""
    made, generic = prepare(planted(**SMALL)), plain_generic(rows=2)
    found = fit_directions(made, "mean", generic, ("specific",), cleaning)
    for row, values in enumerate(cleaned_values(made, "mean", generic, cleaning)):
        contrast = SpecificContrast().fit(values, made.labels, made.scenarios).directions_
        for emotion in EMOTIONS:
            np.testing.assert_allclose(found.vectors["specific"][emotion][row], contrast[emotion], atol=1e-5)


@rescaled
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), factor=st.floats(0.1, 30), shift=st.floats(-5, 5))
def test_rescaled_directions_keep_the_streams_units(cleaning, seed, factor, shift):
    made, generic = planted(**SMALL, seed=seed), plain_generic(rows=2)
    moved = replace(made, values={"mean": (factor * made.values["mean"] + shift).astype(np.float32)})
    here, there = (
        fit_directions(a, "mean", generic, ("specific",), cleaning).vectors["specific"] for a in (made, moved)
    )
    for emotion in EMOTIONS:
        np.testing.assert_allclose(there[emotion], factor * here[emotion], rtol=2e-3, atol=2e-3 * factor)


def test_whitening_does_not_depend_on_the_axes():
    made, generic = planted(**SMALL), plain_generic(rows=2)
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((12, 12)))[0]
    turned = replace(made, values={"mean": (made.values["mean"] @ rotation).astype(np.float32)})
    here, there = (
        fit_directions(a, "mean", generic, ("specific",), "whitened").vectors["specific"] for a in (made, turned)
    )
    for emotion in EMOTIONS:
        np.testing.assert_allclose(there[emotion], here[emotion] @ rotation, atol=1e-4)


@rescaled
def test_what_neutral_texts_vary_by_counts_less(cleaning):
    """One loud dimension hides the emotion from a mean difference; rescaled it does not."""
    made, generic = planted(n=20, d=24, signals=(1.5,)), plain_generic(24, rows=1)
    made.values["mean"][:, :, 3] += 40 * np.random.default_rng(0).standard_normal(80).astype(np.float32)
    plain, better = (fit_directions(made, "mean", generic, ("specific",), c) for c in (0.0, cleaning))
    fresh = planted(n=20, d=24, signals=(1.5,), seed=9)
    fresh.values["mean"][:, :, 3] += 40 * np.random.default_rng(1).standard_normal(80).astype(np.float32)
    for emotion in EMOTIONS:
        few = {"n_bootstrap": 9, "n_permutations": 9}
        assert (
            detection(fresh, better, emotion, 0, **few).value > detection(fresh, plain, emotion, 0, **few).value + 0.1
        )


@rescaled
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_the_direction_a_model_cannot_see_is_in_none(cleaning, kind):
    made = centred(planted(**SMALL))
    made.values["mean"] += 30
    for vectors in fit_directions(made, "mean", plain_generic(rows=2), (kind,), cleaning).vectors[kind].values():
        assert np.abs(vectors.sum(axis=1)).max() < 1e-4 * np.linalg.norm(vectors, axis=1).max()


@rescaled
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_dimensions_and_layers_that_do_not_vary_are_in_no_direction(cleaning, kind):
    made = planted(**SMALL)
    made.values["mean"][0] = 0.1
    made.values["mean"][1, :, 5] = -7.0
    for vectors in fit_directions(made, "mean", plain_generic(rows=2), (kind,), cleaning).vectors[kind].values():
        assert np.isfinite(vectors).all()
        assert not vectors[0].any() and vectors[1, 5] == 0 and np.linalg.norm(vectors[1]) > 1e-3


@rescaled
def test_what_cannot_be_rescaled_is_refused(cleaning):
    made, generic = planted(**SMALL), plain_generic(rows=2)
    one = reordered(made, np.arange(4))
    with pytest.raises(InputError, match="learnt from neutral texts"):
        fit_directions(one, "mean", generic, ("specific",), cleaning)
    made.values["mean"][1, 0] = np.nan
    with pytest.raises(MeasurementError, match="NaN"):
        fit_directions(made, "mean", generic, ("specific",), cleaning)


@pytest.mark.parametrize("cleaning", CLEANINGS)
def test_the_file_says_how_directions_were_cleaned(cleaning, tmp_path):
    made = fit_directions(planted(**SMALL), "mean", plain_generic(rows=2), ("specific",), cleaning)
    save_directions(made, tmp_path / "d.safetensors")
    found = load_directions(tmp_path / "d.safetensors")
    assert found.cleaned == made.cleaned == cleaning and type(found.cleaned) is type(cleaning)


def test_names_of_cleanings():
    made, generic = planted(**SMALL), plain_generic(rows=2)
    plain = fit_with_layers(made, "mean", generic)
    for settings_, cleaned in (
        ({"cleaning": "components"}, 0.5),
        ({"cleaning": "components", "share": 0.3}, 0.3),
        ({"cleaning": "none"}, 0.0),
        ({"cleaning": "whitened", "share": 0.3}, "whitened"),
    ):
        found = fit_with_layers(made, "mean", generic, **settings_)
        direct = fit_directions(made, "mean", generic, share=cleaned)
        assert found.cleaned == cleaned
        for kind, by_emotion in direct.vectors.items():
            for emotion, vectors in by_emotion.items():
                assert np.array_equal(vectors, found.vectors[kind][emotion])
                if cleaned == 0.5:
                    assert np.array_equal(vectors, plain.vectors[kind][emotion])
        assert found.chosen_layer == choose_layers_within(made.select(split="development"), "mean", generic, cleaned)
    with pytest.raises(InputError, match="polished"):
        fit_with_layers(made, "mean", generic, cleaning="polished")
    assert [cleaning_words(c) for c in CLEANINGS] == [
        "none", "components .3", "components .5", "components .7", "standardised", "whitened"
    ]  # fmt: skip


def wide_generic(d, rows):
    """Components up to .75, as many as .7 needs."""
    bases = tuple(np.linalg.qr(np.random.default_rng(k).standard_normal((d, 3)))[0].T for k in range(rows))
    shares = tuple(np.array([0.35, 0.6, 0.75], np.float32) for _ in range(rows))
    zeros, ones = np.zeros((rows, d), np.float32), np.ones(rows, np.float32)
    return GenericStatistics(zeros, ones, tuple(b.astype(np.float32) for b in bases), shares, 40)


def test_every_cleaning_is_judged_at_the_layer_of_its_own_directions():
    explicit, implicit = planted(d=20, signals=(0, 4, 1)), planted(d=20, signals=(0, 4, 1), seed=50)
    generic = wide_generic(20, 3)
    rows = cleaning_rows(explicit, implicit, "mean", generic)
    by_key = {(row.kind, row.emotion, row.statistic): row for row in rows}
    assert len(by_key) == len(rows) == len(CLEANINGS) * 3 * 3
    for cleaning in CLEANINGS:
        directions = fit_directions(explicit, "mean", generic, ("specific",), cleaning)
        chosen = choose_layers(implicit.select(split="development"), directions)
        for emotion in EMOTIONS:
            kind = f"specific, {cleaning_words(cleaning)}"
            found, half = by_key[kind, emotion, IMPLICIT], by_key[kind, emotion, SPLIT_HALF]
            expected = detection(implicit.select(split="test"), directions, emotion, chosen[emotion] + 1)
            assert (found.layer, half.layer) == (chosen[emotion], chosen[emotion])
            assert (found.value, found.p, found.n_unique) == (expected.value, expected.p, 8)
            assert found.chance == 0.5 and abs(half.chance) < 0.2
            assert found.value > 0.8 and half.p < 0.05
    with pytest.raises(InputError, match="emotion_token"):
        cleaning_rows(explicit, implicit, "emotion-token", generic)
    with pytest.raises(InputError, match="implicit test texts"):
        cleaning_rows(explicit, implicit.select(split="development"), "mean", generic)


@rescaled
def test_noise_stays_noise(cleaning):
    values = []
    for seed in range(40):
        made, fresh = planted(n=10, signals=(0.0,), seed=seed), planted(n=10, signals=(0.0,), seed=seed + 500)
        found = fit_directions(made, "mean", plain_generic(rows=1), ("specific",), cleaning)
        values += [detection(fresh, found, e, 0, n_bootstrap=9, n_permutations=9).value for e in EMOTIONS]
    assert np.mean(values) == pytest.approx(0.5, abs=0.03)


def test_planted_directions_survive_every_cleaning():
    made, generic = planted(n=200, d=12, signals=(6.0,)), plain_generic(rows=1)
    vectors = planted_vectors(12)
    for cleaning in RESCALINGS:
        found = fit_directions(made, "mean", generic, tuple(ESTIMATORS), cleaning)
        for kind in ESTIMATORS:
            for emotion in EMOTIONS:
                unit = found.direction(emotion, -1, kind).unit
                assert unit @ vectors[emotion] > max(unit @ vectors[e] for e in EMOTIONS if e != emotion)
