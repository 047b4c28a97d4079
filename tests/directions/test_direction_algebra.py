"""Directions as values: their arithmetic, what they remember, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from emotion_circuits.directions import Direction, Provenance
from emotion_circuits.errors import InputError, MeasurementError

PROVENANCE = Provenance(
    model="m",
    revision="r",
    site="resid_post",
    layer=3,
    position="mean",
    bos=True,
    estimator="mean difference",
    kind="specific",
    emotion="anger",
    data_hash="h",
)
VECTORS = arrays(np.float64, 6, elements=st.floats(-100, 100)).filter(lambda v: np.linalg.norm(v) > 1e-3)
FACTORS = st.floats(-1e3, 1e3).filter(lambda f: abs(f) > 1e-3)


def direction(vector, **changes):
    return Direction.from_vector(vector, PROVENANCE.model_copy(update=changes))


@given(VECTORS)
def test_unit_times_norm_is_the_vector(vector):
    d = direction(vector)
    assert np.linalg.norm(d.unit) == pytest.approx(1, abs=1e-12)
    assert d.norm == pytest.approx(np.linalg.norm(vector)) and d.norm > 0
    np.testing.assert_allclose(d.vector, vector, rtol=1e-12, atol=1e-12)
    assert d.provenance == PROVENANCE


@settings(max_examples=40)
@given(VECTORS, FACTORS, FACTORS)
def test_multiples(vector, a, b):
    v = direction(vector)
    assert np.array_equal((v * 20).vector, (-v * -20).vector) and np.array_equal((v * 20).unit, (-(v * -20)).unit)
    assert np.array_equal((a * v).vector, (v * a).vector)
    length = np.linalg.norm(vector)
    for found, expected in ((v * a * b, a * b * vector), (v / a, vector / a), (v * a / a, vector)):
        np.testing.assert_allclose(found.vector, expected, atol=1e-12 * max(found.norm, length))
    assert (v * a).norm == pytest.approx(abs(a) * v.norm)
    assert (v * a).cosine(v) == pytest.approx(np.sign(a))
    assert (v * a).provenance == v.provenance


@given(VECTORS, VECTORS, VECTORS)
def test_sums(a, b, c):
    da, db, dc = (direction(v) for v in (a, b, c))
    if min(np.linalg.norm(v) for v in (a + b, a + b + c, b + c, a - b)) < 1e-6:
        return
    np.testing.assert_allclose((da + db).vector, a + b, atol=1e-9)
    np.testing.assert_allclose((da + db).vector, (db + da).vector, atol=1e-9)
    np.testing.assert_allclose(((da + db) + dc).vector, (da + (db + dc)).vector, atol=1e-9)
    np.testing.assert_allclose((da - db).vector, a - b, atol=1e-9)
    np.testing.assert_allclose((da - db).vector, (-(db - da)).vector, atol=1e-9)


def test_what_a_sum_was_made_from_is_kept():
    anger, apology = direction(np.eye(6)[0]), direction(np.eye(6)[1], emotion="apology", kind="matched")
    both, less = anger + apology, anger - apology
    assert both.provenance.emotion == "anger + apology" and both.provenance.kind == "specific + matched"
    assert less.provenance.emotion == "anger − apology"
    assert both.provenance.model == less.provenance.model == "m" and both.provenance.layer == 3
    assert (anger + anger).provenance == anger.provenance
    other = direction(np.eye(6)[1], position="sentence_end", data_hash="i", estimator="logistic regression")
    mixed = (anger + other).provenance
    assert (mixed.position, mixed.data_hash) == ("mean + sentence_end", "h + i")
    assert mixed.estimator == "mean difference + logistic regression"


@pytest.mark.parametrize("changes", [{"model": "n"}, {"revision": "s"}, {"site": "z"}, {"site": "embed", "layer": -1}])
def test_directions_without_common_coordinates_do_not_mix(changes):
    a, b = direction(np.eye(6)[0]), direction(np.eye(6)[1], **changes)
    for mix in (lambda: a + b, lambda: a - b, lambda: a.cosine(b)):
        with pytest.raises(InputError, match="no common coordinates"):
            mix()


def test_widths_must_agree():
    with pytest.raises(InputError):
        direction(np.eye(6)[0]).cosine(direction(np.ones(5)))


@pytest.mark.parametrize("factor", [0, 0.0, -0.0])
def test_nothing_has_no_direction(factor):
    v = direction(np.eye(6)[0])
    with pytest.raises(MeasurementError, match="no direction"):
        v * factor
    with pytest.raises(MeasurementError, match="no direction"):
        v - v
    with pytest.raises(MeasurementError, match="no direction"):
        direction(np.zeros(6))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_is_refused(bad):
    with pytest.raises(MeasurementError, match="NaN or infinity"):
        direction([1.0, bad])
    with pytest.raises(InputError, match="multiplied"):
        direction([1.0, 2.0]) * bad


@pytest.mark.parametrize("divisor", [0, 0.0, np.float64(0)])
def test_division_by_nothing(divisor):
    with pytest.raises(InputError, match="divided by 0"):
        direction([1.0, 2.0]) / divisor
