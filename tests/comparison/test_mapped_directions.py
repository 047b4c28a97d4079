"""Directions that crossed a map: they detect what was planted, and steer as far as the model lets them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from planted_sides import WIDTH, activations, planted, sides, texts_of

from emotion_circuits.comparison import MappedDirections, PairAlignment, align_pair, detect, transfer_claims
from emotion_circuits.directions import DirectionSet, GenericStatistics
from emotion_circuits.statistics import judge


@pytest.fixture(scope="module")
def pair() -> PairAlignment:
    a, b, twins_a, twins_b = sides()
    return align_pair(a, b, twins_a, twins_b, n_draws=99, n_bootstrap=100, seed=0)


def own_directions(pair: PairAlignment) -> DirectionSet:
    """B's own directions, without cleaning."""
    vectors = np.stack([pair.b.specific_vectors(row) for row in range(3)]).astype(np.float32)
    nothing = np.zeros((1, WIDTH), np.float32)
    nothing[0, 0] = 1
    generic = GenericStatistics(
        np.zeros((3, WIDTH), np.float32), np.ones(3, np.float32), (nothing,) * 3, (np.ones(1, np.float32),) * 3, 8
    )
    by_emotion = {e: vectors[:, i] for i, e in enumerate(pair.b.emotions)}
    return DirectionSet(pair.b.explicit.source, "mean", "x", {"specific": by_emotion}, generic, {}, 0.0)


def test_mapped_directions_detect_the_plant_and_shuffled_maps_do_not(pair: PairAlignment) -> None:
    plant = planted(0)
    texts = texts_of(plant.labels, plant.groups)
    implicit = activations("B", texts, [plant.emotion_b] * 3)
    mapped, found = detect(pair, own_directions(pair), implicit, n_draws=199, seed=0)
    for one in found:
        assert one.mapped.value > 0.95
        assert one.p == pytest.approx(1 / 200)
        assert abs(one.shuffled.mean() - 0.5) < 0.1
        assert one.share == pytest.approx(1, abs=0.1)
    np.testing.assert_allclose(np.linalg.norm(mapped.mapped, axis=1), 1)
    np.testing.assert_allclose(np.linalg.norm(mapped.shuffled, axis=2), 1)


def test_nothing_is_detected_where_the_texts_have_no_emotion(pair: PairAlignment) -> None:
    plant = planted(0)
    rng = np.random.default_rng(5)
    noise = activations(
        "B", texts_of(plant.labels, plant.groups), list(rng.standard_normal((3, len(plant.labels), WIDTH)))
    )
    _, found = detect(pair, own_directions(pair), noise, n_draws=199, seed=0)
    claims = judge(transfer_claims(pair, found, 0.7, "a.parquet"))
    assert all(c.verdict != "supported" for c in claims)
    assert all(c.chance is not None and abs(c.chance - 0.5) < 0.1 for c in claims)


def test_mapped_directions_come_back_from_their_file(pair: PairAlignment, tmp_path: Path) -> None:
    plant = planted(0)
    implicit = activations("B", texts_of(plant.labels, plant.groups), [plant.emotion_b] * 3)
    mapped, _ = detect(pair, own_directions(pair), implicit, n_draws=20, seed=0)
    read = MappedDirections.load(mapped.save(tmp_path / "m.safetensors", 7))
    assert read.route == mapped.route and read.emotions == mapped.emotions
    np.testing.assert_array_equal(read.mapped, mapped.mapped)
    np.testing.assert_array_equal(read.shuffled, mapped.shuffled[:7])
