"""Split-half cosine: by hand, on planted directions with a known answer, and on noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.statistics import Blocks, spearman_brown, split_half_cosine, split_half_from_gram
from emotion_circuits.statistics._split_half import _mean_cosines

CLASSES = ["neutral", "gratitude", "anger", "apology"]
SMALL = {"n_splits": 20, "n_permutations": 99, "n_bootstrap": 100, "seed": 1}


def texts(n_groups: int, width: int, signal: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Orthogonal class means of length `signal`, isotropic noise of variance 1, a strong effect of the scenario."""
    rng = np.random.default_rng(seed)
    means = signal * np.eye(4, width)
    h = means + rng.normal(size=(n_groups, 4, width)) + 5 * rng.normal(size=(n_groups, 1, width))
    return h.reshape(-1, width), np.tile(CLASSES, n_groups), np.repeat(np.arange(n_groups), 4)


def by_hand(h, labels, groups, target, kind, halves):
    """The definition, one split at a time."""
    cosines = []
    names = np.unique(groups)
    for half in halves:
        directions = []
        for chosen in (names[half == 1], names[half == 0]):
            inside = np.isin(groups, chosen)
            mean = {c: h[inside & (labels == c)].mean(axis=0) for c in CLASSES}
            matched = {c: mean[c] - mean["neutral"] for c in CLASSES[1:]}
            average = np.mean(list(matched.values()), axis=0)
            directions.append(matched[target] - (average if kind == "specific" else 0))
        a, b = directions
        cosines.append(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    return np.mean(cosines)


@settings(max_examples=15, deadline=None)
@given(n_groups=st.integers(4, 9), seed=st.integers(0, 99), kind=st.sampled_from(["matched", "specific"]))
def test_gram_form_equals_the_definition(n_groups, seed, kind):
    h, labels, groups = texts(n_groups, 6, 1.0, seed)
    result = split_half_cosine(h + 100, labels, groups, "anger", kind=kind, **SMALL)
    halves = Blocks.of(labels, groups).halves(SMALL["n_splits"], SMALL["seed"])
    assert set(halves.sum(axis=1)) == {n_groups // 2}
    assert result.value == pytest.approx(by_hand(h, labels, groups, "anger", kind, halves), abs=1e-9)
    shuffle = np.random.default_rng(seed).permutation(len(h))
    other = split_half_cosine(h[shuffle], labels[shuffle], groups[shuffle], "anger", kind=kind, **SMALL)
    assert other.value == pytest.approx(result.value, abs=1e-9)
    assert other.interval[:2] == pytest.approx(result.interval[:2], abs=1e-9)
    assert (other.p, other.n_texts) == (result.p, n_groups * (2 if kind == "matched" else 3))
    assert 0 < result.p <= 1
    assert result.interval.low <= result.interval.high


@pytest.mark.parametrize(("kind", "signal_share", "noise_share"), [("matched", 2.0, 2.0), ("specific", 2 / 3, 2 / 3)])
def test_planted_direction_has_the_known_cosine(kind, signal_share, noise_share):
    """‖E v‖² / (‖E v‖² + noise): contrast vectors (1, −1) or (2/3, −1/3, −1/3) of orthogonal means."""
    n_groups, width, signal = 60, 80, 2.0
    half_noise = noise_share * width / (n_groups / 2)
    expected = signal_share * signal**2 / (signal_share * signal**2 + half_noise)
    result = split_half_cosine(*texts(n_groups, width, signal, 0), "gratitude", kind=kind, **SMALL)
    assert result.value == pytest.approx(expected, abs=0.06)
    assert result.interval.low < expected < result.interval.high
    assert result.p == 1 / 100
    assert result.null_high < result.value
    assert abs(result.null_mean) < 0.05
    full_noise = half_noise / 2
    assert result.ceiling == pytest.approx(signal_share * signal**2 / (signal_share * signal**2 + full_noise), abs=0.05)


def test_no_noise_is_perfect_and_noise_is_at_chance():
    h, labels, groups = texts(8, 6, 3.0, 0)
    clean = np.tile(np.eye(4, 6), (8, 1))
    result = split_half_cosine(clean, labels, groups, "anger", **SMALL)
    assert result.value == pytest.approx(1.0)
    assert result.ceiling == pytest.approx(1.0)
    noise = split_half_cosine(*texts(24, 64, 0.0, 4), "anger", **SMALL)
    assert noise.null_low <= noise.value <= noise.null_high
    assert noise.interval.low < 0 < noise.interval.high
    with pytest.raises(MeasurementError):
        split_half_cosine(np.ones_like(h), labels, groups, "anger", **SMALL)


def test_a_half_without_direction_agrees_with_nothing():
    table = np.zeros((4, 4))
    table[0, 0] = 1.0
    assert _mean_cosines(table[None], Blocks.of(CLASSES[:2] * 4, np.repeat(range(4), 2)).halves(10, 0)) == [0.0]


def test_spearman_brown():
    assert spearman_brown(0.5) == pytest.approx(2 / 3)
    assert spearman_brown(1.0) == 1.0
    assert spearman_brown(-0.1) is None


def test_bad_input_is_refused():
    h, labels, groups = texts(6, 5, 1.0, 0)
    gram = h @ h.T
    with pytest.raises(InputError, match="contrast"):
        split_half_from_gram(gram, labels, groups, "joy", **SMALL)
    with pytest.raises(InputError, match="contrast"):
        split_half_from_gram(gram, labels, groups, "neutral", **SMALL)
    with pytest.raises(InputError, match="exactly once"):
        split_half_from_gram(gram[1:, 1:], labels[1:], groups[1:], "anger", kind="matched", **SMALL)
    with pytest.raises(InputError, match="exactly once"):
        doubled = np.where(groups == 1, 0, groups)
        split_half_from_gram(gram, labels, doubled, "anger", **SMALL)
    with pytest.raises(InputError, match="Too few groups"):
        split_half_from_gram(gram[:12, :12], labels[:12], groups[:12], "anger", **SMALL)
    with pytest.raises(InputError, match="does not fit"):
        split_half_from_gram(gram[1:], labels, groups, "anger", **SMALL)
    with pytest.raises(MeasurementError):
        split_half_cosine(np.where(h > 2, np.nan, h), labels, groups, "anger", **SMALL)
