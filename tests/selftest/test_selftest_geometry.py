"""Noise and planted maps: checks that a healthy geometry passes, and a broken one does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest

from emotion_circuits.geometry import Ridge, TwoModels, corrected, independent_models, overlap, planted_models
from emotion_circuits.selftest import Bench, SelftestCheck, bench
from emotion_circuits.selftest import _checks_maps as maps
from emotion_circuits.selftest import _checks_pairs as pairs

FEW = (pairs.Size(20, 20, 24, 40),)


@pytest.fixture(scope="module")
def shared() -> Bench:
    return bench("gpt2")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "SIZES", FEW)
    monkeypatch.setattr(pairs, "QUICK_DRAWS", 19)
    monkeypatch.setattr(maps, "WIDTH", 48)
    monkeypatch.setattr(maps, "RANK", 8)
    monkeypatch.setattr(maps, "PLANTS", tuple(p._replace(n_texts=300 * (1 + p.strict)) for p in maps.PLANTS))
    monkeypatch.setattr(maps, "STRENGTHS", (1 / 16, 16.0))


def of(found: list[SelftestCheck], part: str) -> list[SelftestCheck]:
    """The checks whose name holds a part; there must be some."""
    chosen = [one for one in found if part in one.name]
    assert chosen, part
    return chosen


@pytest.fixture(scope="module")
def noise_pair() -> Callable[[pairs.Size, int, int], pairs.Pair]:
    """The same pairs of noise for several tests, computed once."""
    return cache(pairs.noise_pair)


def test_independent_noise_passes(shared, noise_pair, monkeypatch):
    monkeypatch.setattr(pairs, "noise_pair", noise_pair)
    found = list(pairs.nothing_between_noise(shared))
    assert all(one.ok for one in found), [one for one in found if not one.ok]
    assert len(of(found, "false positives")) == 17
    assert all(one.name.startswith("40 noise pairs of 20 × 24, ") for one in found)


def linked(*, n_fit: int, n_scenarios: int, width_a: int, width_b: int, seed: int) -> TwoModels:
    """Noise that is the same in both models, emotions too: everything there is to find."""
    models = independent_models(n_fit=n_fit, n_scenarios=n_scenarios, width_a=width_a, width_b=width_b, seed=seed)
    emotion = models.emotion_a + 8.0 * np.eye(4, width_a)[np.unique(models.labels, return_inverse=True)[1]]
    return replace(models, fit_b=models.fit_a, emotion_a=emotion, emotion_b=emotion)


def test_every_check_of_noise_fails_on_models_that_share_all(shared, monkeypatch):
    monkeypatch.setattr(pairs, "independent_models", linked)
    found = list(pairs.nothing_between_noise(shared))
    # What the texts share whatever their labels is part of the null of shuffled labels: here that is all.
    passed = [one.name for one in found if one.ok]
    assert [name for name in passed if "labels" not in name] == []


@pytest.mark.parametrize(
    "name",
    [
        "overlap, labels",
        "debiased CKA",
        "specificity, shuffled",
        "own cosine, shuffled labels",
        "overlap after the map, shuffled labels",
    ],
)
def test_one_p_that_is_too_small_is_seen_among_all(shared, noise_pair, monkeypatch, name):
    def biased(size: pairs.Size, n_draws: int, seed: int) -> pairs.Pair:
        pair = noise_pair(size, n_draws, seed)
        return pair._replace(p_values=pair.p_values | {name: pair.p_values[name] / 10})

    monkeypatch.setattr(pairs, "noise_pair", biased)
    found = list(pairs.nothing_between_noise(shared))
    assert [one.name.split(" of ")[-1] for one in found if not one.ok] == [name]


def test_the_deviation_of_chance_is_that_of_random_subspaces():
    rng = np.random.default_rng(0)
    bases = rng.standard_normal((2, 3000, 24, 3))
    drawn = corrected(overlap(*bases).value, 3 / 24)
    assert pairs.chance_deviation(24, 0) == pytest.approx(drawn.std(), rel=0.05)


def test_planted_maps_pass(shared):
    found = [*maps.planted_maps(shared), *maps.power_of_maps(shared)]
    assert all(one.ok for one in found), [one for one in found if not one.ok]
    weak, strong = of(found, "power")
    assert weak.value < strong.value
    assert "(shown)" in weak.name and "(shown)" not in strong.name


class ShuffledRidge(Ridge):
    """A map of texts that are not each other's."""

    def fit(self, X, Y, groups=None):
        return super().fit(np.random.default_rng(0).permutation(X), Y)


def test_every_check_of_planted_maps_fails_on_shuffled_texts(shared, monkeypatch):
    monkeypatch.setattr(maps, "Ridge", ShuffledRidge)
    monkeypatch.setattr(Bench, "drawn", lambda self, few, many: 19 if few == 39 else 8)
    found = [*maps.planted_maps(shared), *maps.power_of_maps(shared)]
    assert not any(one.ok for one in found if "(shown)" not in one.name), [one for one in found if one.ok]


def test_a_bent_map_breaks_the_bounds_of_angle_and_r2(shared, monkeypatch):
    """A little of another map, as a mistake in units would add."""

    class Bent(Ridge):
        def fit(self, X, Y, groups=None):
            super().fit(X, Y, groups)
            self.map_ = self.map_ @ (
                np.eye(len(self.map_))
                + 0.3 * np.random.default_rng(0).standard_normal(self.map_.shape) / np.sqrt(len(self.map_))
            )
            return self

    monkeypatch.setattr(maps, "Ridge", Bent)
    found = list(maps.planted_maps(shared))
    assert not any(one.ok for one in of(found, "angle") + of(found, "R²") if "amplitude" in one.name)


def test_the_bound_of_least_squares_holds_for_least_squares():
    fit = partial(planted_models, n_fit=300, n_scenarios=4, width_a=48, width_b=48, rank=8, signal_to_noise=4.0)
    for seed in range(20):
        models = fit(seed=seed)
        coefficients = np.linalg.lstsq(models.fit_a, models.fit_b, rcond=None)[0]
        images = models.directions_a @ coefficients
        angle = np.degrees(maps.principal_angles(images.T, models.directions_b.T).max())
        assert angle < maps.degrees_of_least_squares(models)
        assert angle > 0.3 * maps.degrees_of_least_squares(models)


def test_a_map_that_gives_no_number_fails(shared, monkeypatch):
    monkeypatch.setattr(maps, "map_p", lambda variance, n_draws, seed: np.nan)
    assert not any(one.ok for one in maps.power_of_maps(shared))
