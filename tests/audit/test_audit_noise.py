"""Independent noise of the earlier project's shape, 70 texts of 768 dimensions, gives what it took for findings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from audit_models import made_of, noise_model, texts

from emotion_circuits.audit import _formulas as seed
from emotion_circuits.audit import _honest as honest
from emotion_circuits.audit import audit
from emotion_circuits.audit._cells import PairCell, noise_classes, noise_pair
from emotion_circuits.audit._metrics import random_cosines
from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.report import audit_picture, write_pictures

N_CELLS = 12
K = 10


@pytest.fixture(scope="module")
def cells() -> list[PairCell]:
    return [noise_pair(70, 768, number) for number in range(N_CELLS)]


def check_mean(values: list[float], expected: float, rounding: float = 0.0005) -> None:
    """The mean of independent draws, within four of its standard errors and the rounding of what is expected."""
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    assert abs(np.mean(values) - expected) < 4 * error + rounding, (np.mean(values), error)


def over(cells: list[PairCell], value: Callable[[PairCell], float]) -> list[float]:
    return [value(cell) for cell in cells]


@pytest.mark.parametrize(("k", "expected"), [(2, 0.042), (5, 0.068), (10, 0.148), (20, 0.254)])
def test_the_five_largest_cosines_grow_with_k_alone(cells, k, expected):
    values = over(cells, lambda cell: seed.mean_of_largest_cosines(*cell.bases_of(k)))
    check_mean(values, expected)
    check_mean(values, random_cosines(768, k))  # and that is chance


@pytest.mark.parametrize("k", [2, 5, 10, 20])
def test_the_squared_entry_is_one_over_d_at_every_k(cells, k):
    values = over(cells, lambda cell: seed.mean_squared_entry(*cell.bases_of(k)))
    check_mean(values, 1 / 768, rounding=0)
    check_mean(over(cells, lambda cell: honest.corrected_overlap(cell, k)), 0, rounding=0)


def test_the_map_takes_noise_near_one_and_only_by_rounding(cells):
    for cell in cells[:3]:
        a, b = cell.bases_of(K)
        assert 0.7 < seed.mean_squared_entry(cell.mapped_basis, b) <= 1
        by_rank = seed.mapped_columns(a, seed.least_squares_map(cell.neutral_a, cell.neutral_b))
        assert seed.mean_squared_entry(by_rank, b) < 1 / 768
        again = np.linalg.qr(np.asarray(cell.mapped_basis, dtype=np.float64))[0]
        assert seed.mean_squared_entry(again, b) == pytest.approx(1 / 768, rel=0.6)


def test_procrustes_gains_by_the_mean_that_it_adds(cells):
    few = cells[:4]
    gains = {
        overlap: [overlap(cell.turned.as_computed, cell.bases_of(K)[1]) - overlap(*cell.bases_of(K)) for cell in few]
        for overlap in (seed.mean_squared_entry, seed.mean_of_largest_cosines)
    }
    check_mean(gains[seed.mean_squared_entry], 0.00996, rounding=0.0001)
    check_mean(gains[seed.mean_of_largest_cosines], 0.175)
    # Without the mean nothing is gained; turned the right way, nearly all there is.
    for cell in few:
        _, b = cell.bases_of(K)
        bare = cell.turned.as_computed - b.mean(axis=1, keepdims=True)
        assert seed.mean_squared_entry(bare, b) < 3 / 768
        assert seed.mean_squared_entry(cell.turned.as_meant, b) > 0.95 / K


def test_what_to_use_instead_is_nothing_on_noise(cells):
    check_mean(over(cells, lambda cell: honest.held_out_overlap(cell, honest.least_squares_image)), 0, rounding=0)
    check_mean(over(cells, lambda cell: honest.held_out_overlap(cell, honest.rotated_image)), 0, rounding=0)
    check_mean([honest.whole_space_debiased(noise_pair(70, 768, number)) for number in range(60)], 0, rounding=0)
    assert all(honest.in_sample_r2(cell) == pytest.approx(1) for cell in cells[:3])
    assert max(over(cells[:4], honest.ridge_r2)) < 0.01
    assert max(over(cells[:4], honest.least_squares_r2)) < 0.01


@pytest.mark.parametrize(("n", "expected"), [(70, 0.92), (280, 0.73)])
def test_biased_cka_of_noise_depends_on_the_shape_alone(n, expected):
    values = [honest.whole_space_biased(noise_pair(n, 768, number)) for number in range(4)]
    check_mean(values, expected, rounding=0.005)
    check_mean(values, 768 / (768 + n), rounding=0.002)


def test_one_neutral_mean_makes_vectors_of_noise_alike():
    noise = [noise_classes(70, 768, ("anger", "apology", "gratitude"), number) for number in range(20)]
    check_mean([seed.mean_pair_cosine(seed.difference_vectors(c.classes, "neutral")) for c in noise], 0.5, rounding=0)
    check_mean([honest.specific_cosine(c) for c in noise], -0.5, rounding=0.001)


def test_models_of_different_width_are_compared_only_where_that_means_something():
    rows = audit([noise_model("A", 1), noise_model("B", 2, d=40)], layers=[1], n_noise=20).rows
    between = {row.metric: row for row in rows if row.model == "A ~ B"}
    raw = between["mean squared Gram entry, k = 10"]
    assert raw.on_models is None and raw.verdict == "no data" and "align" in raw.note
    assert between["squared entries after a map from neutral texts"].on_models is not None
    assert between["linear CKA, biased"].on_models is not None


def test_one_model_alone_has_noise_and_its_own_rows_and_a_figure(tmp_path):
    report = audit([noise_model("A", 1)], layers=[1], n_noise=20)
    raw = next(row for row in report.rows if row.metric == "mean squared Gram entry, k = 10")
    assert raw.on_models is None and raw.on_noise is not None and raw.verdict == "no data"
    assert report.overlap is not None
    files = write_pictures([audit_picture(report.overlap)], tmp_path)
    assert [file.name for file in files] == ["overlap_on_noise.png", "overlap_on_noise.svg"]
    before = [file.read_bytes() for file in files]
    assert [file.read_bytes() for file in write_pictures([audit_picture(report.overlap)], tmp_path)] == before
    assert "chance 1/32" in files[1].read_text()


def test_too_few_texts_for_a_subspace_give_no_number():
    rows = audit([noise_model("A", 1, n=8), noise_model("B", 2, n=8)], layers=[1], n_noise=5).rows
    by_metric = {row.metric: row for row in rows}
    assert by_metric["mean of the 5 largest cosines, k = 5"].on_models is not None
    for name in ("mean of the 5 largest cosines, k = 10", "squared entries after a map from neutral texts"):
        assert by_metric[name].on_models is None and by_metric[name].verdict == "no data"


def test_constant_layers_and_nan_give_an_error_and_no_number():
    other = noise_model("B", 2)
    for spoil, problem in ((0.0, "span fewer than"), (np.nan, "NaN")):
        values = noise_model("A", 1).values["sentence_end"] * np.where(np.arange(5) == 2, spoil, 1)[:, None, None]
        with pytest.raises(MeasurementError, match=problem):
            audit([made_of(values, "A", texts(24)), other], layers=[1], n_noise=2)


def test_other_texts_are_refused():
    a, b = noise_model("A", 1), noise_model("B", 2)
    strange = made_of(b.values["sentence_end"], "B", texts(24, "other"))
    audit([a, strange], layers=[1], n_noise=2)  # only the name of the set differs
    fewer = noise_model("B", 2, n=23)
    with pytest.raises(InputError, match="different texts"):
        audit([a, fewer], layers=[1], n_noise=2)
