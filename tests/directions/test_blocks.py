"""Blocks: scenarios that lack classes, against the same numbers computed apart, and on noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import SOURCE, plain_generic

from emotion_circuits.directions import (
    ESTIMATORS,
    Activations,
    centroid_accuracy,
    compared,
    cosine_rows,
    fit_directions,
    stability_rows,
)
from emotion_circuits.errors import InputError
from emotion_circuits.prompts import Dataset, Text
from emotion_circuits.statistics import Blocks, exceedance_p, permute_within_groups, split_half_cosine

D = 10


def design(n_shared: int, n_own: int, seed: int = 0, signal: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scenarios of neutral, anger and fear, others of neutral and joy, in random order; a subject for each."""
    rng = np.random.default_rng(seed)
    texts = [(c, f"s{k}") for k in range(n_shared) for c in ("neutral", "anger", "fear")]
    texts += [(c, f"joy-{k}") for k in range(n_own) for c in ("neutral", "joy")]
    labels, groups = np.array([texts[i] for i in rng.permutation(len(texts))]).T
    topic = {g: 3 * rng.standard_normal(D) + 4 * g.startswith("joy") for g in np.unique(groups)}
    vectors = dict(zip(("anger", "fear", "joy"), np.eye(3, D), strict=True)) | {"neutral": np.zeros(D)}
    values = np.stack([topic[g] + signal * vectors[c] for c, g in zip(labels, groups, strict=True)])
    return values + rng.standard_normal(values.shape), labels, groups


def recorded(values: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> Activations:
    texts = tuple(Text(f"{c} in {g}", str(c), str(g), "test") for c, g in zip(labels, groups, strict=True))
    return Activations(SOURCE, Dataset("own", texts), {"mean": values[None].astype(np.float32)}, {})


def apart(values: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> dict[str, np.ndarray]:
    """Matched contrasts, scenario by scenario."""
    found = {}
    for emotion in ("anger", "fear", "joy"):
        own = np.unique(groups[labels == emotion])
        at = [[values[(groups == g) & (labels == c)][0] for g in own] for c in (emotion, "neutral")]
        found[emotion] = np.mean(at[0], axis=0) - np.mean(at[1], axis=0)
    return found


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 7), st.integers(2, 7), st.integers(0, 99))
def test_contrasts_are_those_of_each_emotions_own_scenarios(n_shared, n_own, seed):
    values, labels, groups = design(n_shared, n_own, seed)
    expected = apart(values, labels, groups)
    common = np.mean(list(expected.values()), axis=0)
    matched, specific, pca = (
        ESTIMATORS[k]().fit(values, labels, groups).directions_ for k in ("matched", "specific", "pca")
    )
    blocks = Blocks.of(labels, groups)
    [permuted] = permute_within_groups(labels, groups, 1, seed)
    again = apart(values, permuted, groups)
    codes = np.array([(*blocks.emotions, "neutral").index(c) for c in permuted])
    for emotion, vector in expected.items():
        np.testing.assert_allclose(matched[emotion], vector, atol=1e-12)
        np.testing.assert_allclose(specific[emotion], vector - common, atol=1e-12)
        assert pca[emotion] @ vector >= 0
        for kind, off in (("matched", 0), ("specific", np.mean(list(again.values()), axis=0))):
            np.testing.assert_allclose(blocks.weights(emotion, kind, codes) @ values, again[emotion] - off, atol=1e-12)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_what_scenarios_of_ones_own_are_about_has_no_part_in_a_direction(kind):
    """All texts of joy's scenarios moved far away: its own directions stay, and with `matched` all others."""
    values, labels, groups = design(6, 6, seed=3, signal=2.0)
    moved = values + 50.0 * np.char.startswith(groups, "joy")[:, None]
    one, other = (ESTIMATORS[kind]().fit(v, labels, groups).directions_ for v in (values, moved))
    for emotion in one:
        np.testing.assert_allclose(one[emotion], other[emotion], atol=1e-4)


def test_one_emotion_has_a_specific_direction_which_is_the_matched_one():
    values, labels, groups = design(1, 8, signal=1.0)
    own = np.char.startswith(groups, "joy")
    found = {k: ESTIMATORS[k]().fit(values[own], labels[own], groups[own]).directions_ for k in ESTIMATORS}
    np.testing.assert_array_equal(found["specific"]["joy"], found["matched"]["joy"])
    halves = [
        split_half_cosine(values[own], labels[own], groups[own], "joy", kind=k, n_permutations=50, seed=1)
        for k in ("specific", "matched")
    ]
    assert halves[0] == halves[1]
    acts = recorded(values[own], labels[own], groups[own])
    assert cosine_rows(acts, fit_directions(acts, "mean", *plain())) == []


def plain():
    return plain_generic(D, rows=1), ("matched", "specific"), 0.0


@settings(max_examples=15, deadline=None)
@given(st.integers(4, 9), st.integers(4, 9), st.sampled_from(["anger", "joy"]), st.integers(0, 99))
def test_halves_of_incomplete_designs_by_definition(n_shared, n_own, emotion, seed):
    values, labels, groups = design(n_shared, n_own, seed, signal=1.0)
    found = split_half_cosine(values, labels, groups, emotion, n_splits=9, n_permutations=20, n_bootstrap=50, seed=seed)
    blocks = Blocks.of(labels, groups)
    weights = blocks.weights(emotion)
    cosines = []
    for half in blocks.halves(9, seed):
        a, b = ((weights * (half[blocks.groups] == side)) @ values for side in (0, 1))
        assert half[blocks.has("joy")].sum() in (n_own // 2, -(-n_own // 2))
        assert half[~blocks.has("joy")].sum() in (n_shared // 2, -(-n_shared // 2))
        cosines.append(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    assert found.value == pytest.approx(np.mean(cosines), abs=1e-9)
    assert found.n_groups == (n_own if emotion == "joy" else n_shared)
    assert found.interval.low <= found.interval.high


def test_on_noise_split_half_and_length_are_at_chance():
    """p of a valid test is at most .25 in about a quarter of noise."""
    found = []
    for seed in range(40):
        values, labels, groups = design(8, 8, seed)
        blocks = Blocks.of(labels, groups)
        permuted = permute_within_groups(blocks.codes, blocks.groups, 60, seed)
        for e in ("anger", "joy"):
            half = split_half_cosine(values, labels, groups, e, n_splits=10, n_permutations=60, n_bootstrap=2, seed=9)
            lengths = np.linalg.norm(blocks.weights(e, codes=permuted) @ values, axis=1)
            found.append((half.p, exceedance_p(float(np.linalg.norm(blocks.weights(e) @ values)), lengths)))
    for share in (np.array(found) <= 0.25).mean(axis=0):
        assert 0.12 <= share <= 0.38


def test_rows_of_incomplete_designs_count_the_emotions_own_scenarios():
    acts = recorded(*design(5, 8, signal=1.0))
    rows = stability_rows(acts, fit_directions(acts, "mean", *plain()))
    assert {(r.emotion, r.n_unique) for r in rows} == {("anger", 5), ("fear", 5), ("joy", 8)}
    cosines = cosine_rows(acts, fit_directions(acts, "mean", *plain()))
    assert {(r.emotion, r.n_unique) for r in cosines} == {("anger–fear", 5), ("anger–joy", 13), ("fear–joy", 13)}
    assert all(r.null_low <= r.chance <= r.null_high for r in cosines)


def test_accuracy_of_what_scenarios_are_about_is_its_chance():
    values, labels, groups = design(12, 12, seed=5)
    found = centroid_accuracy(values, labels, groups)
    assert found.null_low <= found.value <= found.null_high and found.null_mean > 1 / 4
    told = centroid_accuracy(*design(12, 12, seed=5, signal=9.0))
    assert told.value > told.null_high and told.p < 0.01


def test_an_emotion_is_told_from_the_texts_of_its_scenarios():
    texts = [Text(c, c, "1", "test") for c in ("neutral", "anger")] + [
        Text(c, c, "2", "test") for c in ("neutral", "joy")
    ]
    paired = compared(Dataset("d", tuple(texts)), "joy")
    assert list(paired.kept) == [False, False, True, True] and list(paired.groups) == ["2", "2"]
    alone = compared(Dataset("d", (*texts, Text("j", "joy", "3", "test"))), "joy")
    assert alone.kept.all() and alone.groups is None
    assert not compared(Dataset("d", tuple(texts)), "fear").positive.any()


def test_what_is_no_design_is_refused():
    for labels, groups in ((["joy", "joy", "neutral"], "aab"), (["neutral", "neutral"], "ab"), (["joy", "joy"], "ab")):
        with pytest.raises(InputError, match="neutral text"):
            Blocks.of(labels, list(groups))
