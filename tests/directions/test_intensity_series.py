"""Intensity: growth along a direction is seen, and nothing else is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import SOURCE, plain_generic, planted, planted_vectors, reordered
from scipy.stats import binomtest, spearmanr

from emotion_circuits import prompts
from emotion_circuits.directions import INTENSITY, Activations, fit_directions, intensity_rows, project
from emotion_circuits.directions import _intensity as module
from emotion_circuits.errors import InputError
from emotion_circuits.prompts import Dataset, Text, bank

EMOTIONS = bank().emotions

D, SIGNALS = 12, (0.0, 5.0)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(module, "PROFILE_BOOTSTRAP", 99)


def series(growth, seed=0, n_rows=2):
    """The bundled series, with `growth` per step along the emotion's planted vector, in noise of 1."""
    data = prompts.bank().intensity_series()
    vectors, rng = planted_vectors(D), np.random.default_rng(seed)
    steps = np.tile(np.arange(1, 8), len(data.scenarios))
    values = rng.standard_normal((n_rows, len(data), D))
    values += growth * steps[:, None] * np.stack([vectors[t.emotion] for t in data])
    return Activations(SOURCE, data, {"mean": values.astype(np.float32)}, {})


@pytest.fixture(scope="module")
def directions():
    return fit_directions(planted(n=40, d=D, signals=SIGNALS), "mean", plain_generic(D, rows=2))


EXPLICIT = Dataset("few", tuple(t for t in prompts.bank().profile("baseline") if int(t.scenario) < 12))


def of_directions(rows):
    return {(row.emotion, row.layer): row for row in rows if row.kind == "specific"}


def test_series_are_scenarios_in_rising_order():
    data = prompts.bank().intensity_series()
    own = [t for emotion in prompts.bank().classes for t in emotion.intensity]
    assert [t.text for t in data] == [t.text for t in own]
    assert len(data.scenarios) == 18 and {t.split for t in data} == {"test"}
    assert [t.scenario for t in data] == [s for s in data.scenarios for _ in range(7)]


@pytest.mark.parametrize("sign", [1, -1])
def test_growth_is_seen_with_its_sign(directions, sign):
    for (_, layer), row in of_directions(intensity_rows(series(sign * 1.5), directions, EXPLICIT)).items():
        assert row.statistic == INTENSITY and (row.chance, row.ceiling, row.n_unique) == (0, 1, 6)
        assert row.null_low < 0 < row.null_high and row.ci_low - 1e-9 <= row.value <= row.ci_high + 1e-9
        if layer == 0:
            assert sign * row.value > 0.6 and (row.p < 0.01 if sign > 0 else row.p > 0.99)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000))
def test_the_value_is_the_mean_of_scipy_s_correlations(directions, seed):
    recorded = series(0.3, seed)
    for (emotion, layer), row in of_directions(intensity_rows(recorded, directions, EXPLICIT)).items():
        own = recorded.select(emotion=emotion)
        scores = project(own, directions, emotion, "specific", layer + 1).reshape(6, 7)
        assert row.value == pytest.approx(np.mean([spearmanr(s, range(7)).statistic for s in scores]))


def test_ties_and_series_that_do_not_change():
    data = prompts.bank().intensity_series().select(emotion="anger")
    scores = np.tile([1.0, 1, 2, 3, 3, 4, 5], 6)
    by_series = module._ranks(scores, data) @ module._standard(np.arange(7.0)[None])[0]
    np.testing.assert_allclose(by_series, spearmanr(scores[:7], range(7)).statistic)
    np.testing.assert_array_equal(module._ranks(np.ones(42), data), 0)


def test_the_null_is_that_of_all_orders(directions):
    """All 720 orders of six steps give the null of one series exactly; the mean of two has half its variance."""
    data = Dataset("two", tuple(Text(f"{s} {k}", "anger", s, "test") for s in "ab" for k in range(6)))
    ranks = module._standard(np.arange(6.0)[None])[0]
    exact = [ranks @ ranks[list(order)] for order in itertools.permutations(range(6))]
    row = module._row(directions, data, "anger", 0, "specific", np.tile(np.arange(6.0), 2), 0)
    assert row.value == pytest.approx(1) and row.p < 0.01
    assert row.null_high == pytest.approx(1.96 * np.std(exact) / np.sqrt(2), rel=0.1)
    assert row.null_low == pytest.approx(-row.null_high, rel=0.2)


def test_noise_has_no_intensity(directions):
    nothing = Dataset("one of each", EXPLICIT.texts[:4])
    rows = [
        r for seed in range(60) for r in of_directions(intensity_rows(series(0, seed), directions, nothing)).values()
    ]
    hits = sum(row.p <= 0.05 for row in rows)
    assert binomtest(hits, len(rows), 0.05, alternative="greater").pvalue > 0.01 and hits > 0
    assert np.mean([row.value for row in rows]) == pytest.approx(0, abs=0.05)


def test_floors_know_the_texts_and_no_model(directions):
    rows = {(r.kind, r.emotion): r for r in intensity_rows(series(1), directions, EXPLICIT) if r.kind != "specific"}
    assert set(rows) == set(itertools.product(("floor: bag of words", "floor: number of words"), EMOTIONS))
    for emotion in EMOTIONS:
        texts = prompts.bank().intensity_series().select(emotion=emotion)
        expected = np.mean([
            spearmanr([len(t.text.split()) for t in texts if t.scenario == k], range(7)).statistic
            for k in texts.scenarios
        ])  # fmt: skip
        row = rows["floor: number of words", emotion]
        assert row.value == pytest.approx(expected) and row.layer == -1 and row.n_unique == 6


def test_layers_without_a_direction_and_series_that_do_not_fit(directions):
    explicit = planted(n=12, d=D, signals=SIGNALS)
    explicit.values["mean"][0] = 0.1
    nowhere = fit_directions(explicit, "mean", plain_generic(D, rows=2))
    for row in of_directions(intensity_rows(series(1), nowhere, EXPLICIT)).values():
        assert np.isnan(row.value) == (row.layer == -1) and row.n_unique == 6
    with pytest.raises(InputError, match="differ in length"):
        intensity_rows(reordered(series(1), np.arange(1, 126)), directions, EXPLICIT)
    anger = series(1).select(emotion="anger")
    assert {row.emotion for row in intensity_rows(anger, directions, EXPLICIT)} == {"anger"}
