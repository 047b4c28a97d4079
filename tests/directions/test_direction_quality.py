"""Quality: every number beside its chance, each equal to a slow computation, and none better than chance on noise."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from planted import plain_generic, planted
from scipy.stats import binomtest

from emotion_circuits.directions import (
    Activations,
    EvaluationTexts,
    UntrainedTwin,
    bag_of_words_scores,
    choose_layers,
    cosine_rows,
    detection,
    fit_directions,
    judged_scores,
    pair_cosines,
    project,
    quality_profile,
)
from emotion_circuits.directions import _quality as quality
from emotion_circuits.directions._quality import pair_cosine_null
from emotion_circuits.prompts import Dataset, Text, bank
from emotion_circuits.statistics import auroc, exceedance_p

CLASSES = bank().names
EMOTIONS = bank().emotions

SIGNALS = (0.0, 4.0, 1.0)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    for name in ("PROFILE_BOOTSTRAP", "PROFILE_PERMUTATIONS"):
        monkeypatch.setattr(quality, name, 99)


def texts_of(seed=0, n=12):
    explicit, implicit = planted(n, signals=SIGNALS, seed=seed), planted(n, signals=SIGNALS, seed=seed + 100)
    others = planted(n, signals=SIGNALS, seed=seed + 200)
    scattered = tuple(Text(t.text, t.emotion, f"r{i}", "test") for i, t in enumerate(others.data))
    real = Activations(others.source, Dataset("real_world", scattered), others.values, {})
    return EvaluationTexts(explicit, implicit, real)


def directions_of(explicit, share=0.5):
    return fit_directions(explicit, "mean", plain_generic(rows=3), share=share)


@pytest.fixture(scope="module")
def profile():
    texts = texts_of()
    directions = directions_of(texts.explicit)
    return texts, directions, quality_profile(texts, directions) + cosine_rows(texts.explicit, directions)


def test_no_number_travels_without_its_chance_and_n(profile):
    _, _, rows = profile
    assert len(rows) > 100
    for row in rows:
        assert np.isfinite(row.value) and np.isfinite(row.chance), row
        assert row.n_unique >= 2 and row.model == "m" and row.position == "mean" and row.statistic and row.kind
        assert row.ci_low - 1e-9 <= row.value <= row.ci_high + 1e-9 or row.statistic == "split-half cosine", row
        assert row.null_low <= row.null_high and row.value <= row.ceiling + 1e-9, row
        if row.statistic != "cosine between emotions":
            assert 0 < row.p <= 1 and row.null_low - 1e-9 <= row.chance <= row.null_high + 1e-9, row


def test_every_measure_stands_at_every_layer_for_every_emotion(profile):
    _, _, rows = profile
    cells: dict[str, set] = {}
    for row in rows:
        key = (row.emotion, row.layer, row.kind)
        assert key not in cells.setdefault(row.statistic, set()), (row.statistic, key)
        cells[row.statistic].add(key)
    layers = (-1, 0, 1)
    aurocs = [name for name in cells if name.startswith("AUROC")]
    assert len(aurocs) == 3 and any("held out" in name for name in aurocs)
    for name in aurocs:
        assert cells[name] == set(itertools.product(EMOTIONS, layers, ("specific", "probe")))
    assert cells["split-half cosine"] == set(itertools.product(EMOTIONS, layers, ("specific", "matched")))
    assert len(cells["cosine between emotions"]) == 3 * 3 * 2
    assert {key[0] for key in cells["nearest-centroid accuracy, held out by scenario"]} == {"all"}


def test_a_planted_layer_stands_out(profile):
    _, _, rows = profile
    for row in rows:
        if row.layer == 0 and row.kind == "specific" and row.statistic.startswith("AUROC"):
            assert row.value > 0.75 and row.p < 0.05, row


@pytest.mark.parametrize("share", [0, 0.5])
def test_aurocs_are_those_of_the_projections_and_held_out_directions_see_no_test_text(share):
    """By the same recipe as the directions they stand for, cleaning included."""
    texts = texts_of(3)
    directions = directions_of(texts.explicit, share)
    rows = {(r.statistic, r.emotion, r.layer, r.kind): r.value for r in quality_profile(texts, directions)}
    development = fit_directions(texts.explicit.select(split="development"), "mean", directions.generic, share=share)
    for emotion, row, kind in itertools.product(EMOTIONS, range(3), ("specific", "probe")):
        for name, judged, found in (
            ("AUROC on explicit test texts, held out", texts.explicit.select(split="test"), development),
            ("AUROC on implicit texts", texts.implicit.select(split="test"), directions),
            ("AUROC on real-world texts", texts.real_world, directions),
        ):
            expected = auroc(project(judged, found, emotion, kind, row), judged.labels == emotion)
            assert rows[name, emotion, row - 1, kind] == pytest.approx(float(expected)), (name, emotion, row, kind)


def test_the_unit_is_the_scenario_where_there_is_one():
    texts = texts_of()
    directions = directions_of(texts.explicit)
    assert detection(texts.implicit, directions, "anger", 1).n_groups == 12
    assert detection(texts.real_world, directions, "anger", 1).n_groups == 48


# Cosines between pairs, and their null.


def pairs_by_hand(explicit, values, emotion):
    rows = {(t.scenario, t.emotion): values[i] for i, t in enumerate(explicit.data)}
    differences = {s: rows[s, emotion] - rows[s, "neutral"] for s in sorted(explicit.data.scenarios)}
    found = []
    for scenario, own in differences.items():
        rest = sum(d for s, d in differences.items() if s != scenario)
        found.append(own @ rest / np.linalg.norm(own) / np.linalg.norm(rest))
    return np.array(list(differences.values())), np.array(found)


def test_pair_cosines_equal_a_slow_loop():
    explicit = planted()
    values = explicit.values["mean"][2].astype(float)
    for emotion in EMOTIONS:
        _, by_hand = pairs_by_hand(explicit, values, emotion)
        np.testing.assert_allclose(pair_cosines(explicit, values, emotion), by_hand, atol=1e-9)


def test_the_null_of_pair_cosines_swaps_whole_pairs():
    """The cosines of one data set share their differences: flipping the cosines' signs one by one is not their null."""
    explicit = planted(n=9)
    values = explicit.values["mean"][2].astype(float)
    differences, _ = pairs_by_hand(explicit, values, "anger")
    found = pair_cosine_null(explicit, values, "anger", 50, seed=4)
    signs = np.random.default_rng(4).choice([-1.0, 1.0], size=(50, 9))
    for draw, flips in zip(found, signs, strict=True):
        flipped = differences * flips[:, None]
        rest = flipped.sum(axis=0) - flipped
        cosines = np.einsum("gd,gd->g", flipped, rest) / np.linalg.norm(flipped, axis=1) / np.linalg.norm(rest, axis=1)
        assert draw == pytest.approx(cosines.mean(), abs=1e-9)


def test_on_noise_the_p_of_pair_cosines_is_valid():
    """300 sets of noise: at or below .05 one time in twenty. (Flipping single cosines: one in eight.)"""
    hits = 0
    for seed in range(300):
        explicit = planted(n=10, d=16, signals=(0.0,), seed=seed)
        values = explicit.values["mean"][0].astype(float)
        observed = float(pair_cosines(explicit, values, "anger").mean())
        hits += exceedance_p(observed, pair_cosine_null(explicit, values, "anger", 59, seed=seed)) <= 0.05
    assert binomtest(hits, 300, 0.05, alternative="greater").pvalue > 0.01
    assert hits >= 5


# Cosines between emotions.


def test_cosine_rows_are_the_cosines_of_the_directions():
    texts = texts_of(1)
    directions = directions_of(texts.explicit)
    for row in cosine_rows(texts.explicit, directions):
        first, second = row.emotion.split("–")
        a, b = (directions.direction(e, row.layer, row.kind) for e in (first, second))
        assert row.value == pytest.approx(a.cosine(b), abs=1e-5)
        assert row.n_unique == 12 and -1 <= row.ci_low <= row.ci_high <= 1


def test_the_null_of_cosines_is_that_of_permuted_labels():
    explicit = planted(7, signals=SIGNALS)
    directions = fit_directions(explicit, "mean", plain_generic(), share=0)
    values = explicit.at("mean")[2].astype(np.float64)
    classes = ("neutral", *directions.emotions)
    order = np.argsort(explicit.scenarios, kind="stable")
    by_class = np.stack([values[order][explicit.labels[order] == c] for c in classes], axis=1)
    rng = np.random.default_rng(5)
    rng.multinomial(7, np.full(7, 1 / 7), size=quality.PROFILE_BOOTSTRAP)  # the bootstrap comes first
    null = {"matched": [], "specific": []}
    for swap in np.argsort(rng.random((quality.PROFILE_PERMUTATIONS, 7, 4)), axis=2):
        means = np.take_along_axis(by_class, swap[:, :, None], axis=1).mean(axis=0)
        matched = means[1:] - means[0]
        for kind, vectors in (("matched", matched), ("specific", matched - matched.mean(axis=0))):
            null[kind].append(vectors[0] @ vectors[1] / np.linalg.norm(vectors[0]) / np.linalg.norm(vectors[1]))
    pair = f"{classes[1]}–{classes[2]}"
    for row in cosine_rows(explicit, directions, seed=5):
        if (row.layer, row.emotion) == (1, pair):
            found = (row.chance, row.null_low, row.null_high)
            assert found == pytest.approx((np.mean(null[row.kind]), *np.quantile(null[row.kind], [0.025, 0.975])))


def test_chance_is_half_for_raw_cosines_and_minus_half_for_specific_ones():
    """What shares −μ_neutral looks alike, what sums to zero looks opposed: in noise, of any width."""
    wide = planted(20, d=200, signals=(0.0,), seed=8)
    directions = fit_directions(wide, "mean", plain_generic(200, rows=1), share=0)
    for row in cosine_rows(wide, directions):
        expected = 0.5 if row.kind == "matched" else -0.5
        assert row.chance == pytest.approx(expected, abs=0.05)
        assert row.null_low - 0.05 <= row.value <= row.null_high + 0.05


# Floors.


def test_a_bag_of_words_knows_words_and_nothing_else():
    def texts(marks):
        return tuple(Text(f"it was {marks[c]} number {k}", c, str(k), "test") for k in range(8) for c in CLASSES)

    words = {c: f"word{c}" for c in CLASSES}
    explicit = Dataset("explicit", texts(words))
    for emotion in EMOTIONS:
        same, other = Dataset("same", texts(words)), Dataset("other", texts(dict.fromkeys(CLASSES, "this")))
        assert judged_scores(bag_of_words_scores(explicit, same, emotion), same, emotion).value == 1.0
        nothing = judged_scores(bag_of_words_scores(explicit, other, emotion), other, emotion)
        assert nothing.value == pytest.approx(0.5) and nothing.p > 0.5


def test_the_untrained_floor_is_the_same_recipe_in_the_twin():
    explicit, implicit = planted(n=12, signals=SIGNALS, seed=5), planted(n=12, signals=SIGNALS, seed=6)
    judged = implicit.select(split="test")
    twin = UntrainedTwin(explicit, implicit, "mean")
    for emotion in EMOTIONS:
        layer, found = twin.layers[emotion], judged_scores(twin.scores(judged, emotion), judged.data, emotion)
        directions = fit_directions(explicit, "mean", plain_generic(rows=3), ("specific",), share=0)
        assert layer == choose_layers(implicit.select(split="development"), directions)[emotion]
        scores = judged.values["mean"][layer + 1] @ directions.vectors["specific"][emotion][layer + 1]
        assert found.value == pytest.approx(float(auroc(scores, judged.labels == emotion)))


def test_noise_gives_no_better_than_chance():
    """Directions from noise, judged on other noise, over many sets."""
    values = []
    for seed in range(40):
        explicit, fresh = planted(n=10, signals=(0.0,), seed=seed), planted(n=10, signals=(0.0,), seed=seed + 500)
        directions = fit_directions(explicit, "mean", plain_generic(rows=1))
        values += [detection(fresh, directions, e, 0, n_bootstrap=10, n_permutations=10).value for e in EMOTIONS]
    assert np.mean(values) == pytest.approx(0.5, abs=0.03)
