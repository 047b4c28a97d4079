"""Two models by relative depth and function: what must be 1, what must be chance, and what is refused."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from emotion_circuits.comparison import (
    ALL,
    ALL_FUNCTIONS,
    DEPTH_CORRELATION,
    DEPTH_DIFFERENCE,
    OWN_EMOTION,
    OWN_FUNCTION,
    PairMeasure,
    _depths,
    adjusted,
    component_rows,
    write_component_rows,
)
from emotion_circuits.comparison._depths import Orders, depth_bins, mean_depth, own_minus_others
from emotion_circuits.components import FUNCTIONS, DepthProfiles, ScenarioProfile
from emotion_circuits.errors import InputError
from emotion_circuits.statistics._resampling import Bootstrap, Interval

EMOTIONS = ("gratitude", "anger", "apology")
NAMES = tuple(f.name for f in FUNCTIONS)
QUICK = {"n_draws": 199, "n_bootstrap": 20}
ORDERS = {"n_draws": 720, "n_bootstrap": 20}  # all of six layers


def made(means: np.ndarray, noise: float = 0.1, seed: int = 0, model: str = "a", first: int = 0, n: int = 10):
    """Profiles (E, F, L) with noise over scenarios `first` to `first + n`."""
    rng = np.random.default_rng(seed)
    scenarios = tuple(str(k) for k in range(first, first + n))
    of = {
        (e, f): ScenarioProfile(scenarios, means[i, j] + noise * rng.standard_normal((n, means.shape[2])))
        for i, e in enumerate(EMOTIONS[: means.shape[0]])
        for j, f in enumerate(NAMES[: means.shape[1]])
    }
    return DepthProfiles(model, means.shape[2], of)


def random_means(seed: int, layers: int = 8, emotions: int = 3, functions: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((emotions, functions, layers))


def one(rows: list[PairMeasure], statistic: str, emotion: str = ALL, kind: str = ALL_FUNCTIONS) -> PairMeasure:
    [found] = [m for m in rows if (m.statistic, m.emotion, m.kind) == (statistic, emotion, kind)]
    return found


def test_a_model_is_like_itself_and_its_scale_does_not_matter():
    a = made(random_means(0))
    louder = DepthProfiles("b", 8, {k: ScenarioProfile(p.scenarios, 7.5 * p.values) for k, p in a.of.items()})
    rows = component_rows(a, louder, n_draws=999, n_bootstrap=50)
    single = [m for m in rows if m.statistic == DEPTH_CORRELATION]
    assert len(single) == 15 + 6 and all(m.value == pytest.approx(1) for m in single)
    assert all(m.value == pytest.approx(0, abs=1e-12) for m in rows if m.statistic == DEPTH_DIFFERENCE)
    assert all(m.p == pytest.approx(1 / 1000) for m in single if m.emotion == ALL)
    assert all(m.ceiling > 0.9 and m.n_unique == 10 and m.layer_a == m.layer_b for m in single)
    own = one(rows, OWN_FUNCTION)
    assert own.value > 0.7 and own.p == pytest.approx(1 / 120) and one(rows, OWN_EMOTION).p == pytest.approx(1 / 6)
    assert sum(q is not None for q in adjusted(rows)) == 15


def test_other_numbers_of_layers_at_the_same_relative_depths():
    means = random_means(1, layers=6)
    deep, shallow = made(np.repeat(means, 3, axis=2), 0.01), made(means, 0.01, model="b", seed=1)
    for a, b in ((deep, shallow), (shallow, deep)):
        rows = component_rows(a, b, **QUICK)
        assert one(rows, DEPTH_CORRELATION).value > 0.99 and {m.null for m in rows if "layers" in m.null} == {
            f"layers of {shallow.model} in any order"
        }
        assert all(abs(m.value) < 0.02 for m in rows if m.statistic == DEPTH_DIFFERENCE)
        peak = int(np.abs(means[0, 0]).argmax())
        m = one(rows, DEPTH_CORRELATION, "gratitude", "heads carry")
        at = {a.model: m.layer_a, b.model: m.layer_b}
        assert at["b"] == peak and at["a"] // 3 == peak


@pytest.mark.parametrize("layers", [(9, 6), (6, 6)])
def test_the_other_way_round_differences_turn_round_and_the_rest_stays(layers):
    a, b = (made(random_means(7 + i, layers=n), 0.5, i, "ab"[i]) for i, n in enumerate(layers))
    there, back = component_rows(a, b, **ORDERS), component_rows(b, a, **ORDERS)
    for one_way, other in zip(there, back, strict=True):
        sign = -1 if one_way.statistic == DEPTH_DIFFERENCE else 1
        assert (one_way.layer_a, one_way.layer_b) == (other.layer_b, other.layer_a)
        assert one_way.value == pytest.approx(sign * other.value, abs=1e-12)
        if sign == 1 or layers[0] != layers[1]:  # of two equally deep ones it is the first that is put in other orders
            assert one_way.chance == pytest.approx(sign * other.chance, abs=1e-9)
            assert one_way.p == pytest.approx(other.p)
            band = sorted((sign * other.null_low, sign * other.null_high))
            assert [one_way.null_low, one_way.null_high] == pytest.approx(band, abs=1e-9)


def test_bins_keep_what_layers_hold():
    for layers, bins in ((8, 8), (12, 8), (30, 7), (9, 4)):
        table = depth_bins(layers, bins)
        np.testing.assert_allclose(table.sum(axis=0), 1)
        np.testing.assert_allclose(table.sum(axis=1), layers / bins)
        profile = np.random.default_rng(0).random(layers)
        cumulative = np.interp(np.linspace(0, 1, bins + 1), np.linspace(0, 1, layers + 1), [0, *profile.cumsum()])
        np.testing.assert_allclose(table @ profile, np.diff(cumulative))
    np.testing.assert_array_equal(depth_bins(8, 8), np.eye(8))
    assert mean_depth(np.array([0.0, -2.0, 0.0, 0.0])) == pytest.approx(0.375) and mean_depth(np.zeros(4)) == 0.5


def test_a_function_found_deeper_is_said_to_be_deeper():
    means = np.zeros((1, 2, 10))
    means[:, :, 6] = 1.0
    moved = np.roll(means, -3, axis=2)
    rows = component_rows(made(means, 0.02), made(moved, 0.02, model="b", seed=1), **QUICK)
    m = one(rows, DEPTH_DIFFERENCE, "gratitude", "heads carry")
    assert one(rows, DEPTH_DIFFERENCE).value == pytest.approx(m.value, abs=0.05)
    assert 0.2 < m.ci_low <= m.value <= m.ci_high < 0.35 and (m.layer_a, m.layer_b) == (6, 3)
    assert one(rows, DEPTH_CORRELATION, "gratitude", "heads carry").value < 0.1


@pytest.fixture
def without_ceilings(monkeypatch):
    """They take half of the time and have no part in p, intervals and chance."""
    monkeypatch.setattr(_depths, "reliability", lambda *_, **__: 1.0)


@pytest.fixture
def without_intervals(monkeypatch):
    """They take most of what is left and have no part in p and chance."""

    def value_only(of, n, **_):
        return Bootstrap(float(of(np.ones((1, n)))[0]), Interval(np.nan, np.nan, 0.95, "none"), np.nan)

    monkeypatch.setattr(_depths, "weighted_bootstrap", value_only)


def test_layers_in_another_order_are_chance_and_noise_is_found_at_the_nominal_rate(without_ceilings, without_intervals):
    """One test over all cells and one of a single cell, each of 200 unrelated pairs."""
    overall, single, values = 0, 0, []
    for k in range(200):
        a, b = (made(random_means(2 * k + i, emotions=2, functions=2), 0.5, 2 * k + i, "ab"[i]) for i in (0, 1))
        rows = component_rows(a, b, n_draws=99, n_bootstrap=2, seed=k)
        m = one(rows, DEPTH_CORRELATION)
        overall, values = overall + (m.p <= 0.05), [*values, m.value]
        single += one(rows, DEPTH_CORRELATION, "anger", "units carry").p <= 0.05
    for false in (overall, single):
        assert stats.binomtest(false, 200, 0.05, alternative="greater").pvalue > 0.01
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(200)
    assert one(rows, DEPTH_CORRELATION).chance == pytest.approx(0, abs=0.1)


def test_all_orders_are_taken_where_they_are_few():
    orders = Orders.of(4, 9999, 0)
    assert orders.exact and {tuple(o) for o in orders.rows} == set(permutations(range(4)))
    assert orders.p(1.0, np.array([1.0, *np.zeros(23)])) == pytest.approx(1 / 24)
    drawn = Orders.of(9, 9999, 0)
    assert not drawn.exact and drawn.p(1.0, np.zeros(9999)) == pytest.approx(1 / 10000)
    table = np.arange(9.0).reshape(3, 3)
    assert own_minus_others(table) == pytest.approx(np.mean([0, 4, 8]) - np.mean([1, 2, 3, 5, 6, 7]))


def test_intervals_hold_the_true_correlation(without_ceilings):
    """Of profiles whose noise is small beside them; 19 of 20 times at least about so."""
    means = [random_means(i, emotions=1, functions=1) for i in (50, 51)]
    truth = float(np.corrcoef(means[0][0, 0], means[1][0, 0])[0, 1])
    inside = 0
    for k in range(100):
        a, b = (made(means[i], 1.0, seed=2 * k + i, model="ab"[i], n=30) for i in (0, 1))
        m = component_rows(a, b, n_draws=99, n_bootstrap=300, seed=k)[0]
        inside += m.ci_low <= truth <= m.ci_high
    assert inside >= 85


def test_only_scenarios_of_both_models_count():
    a, b = made(random_means(3)), made(random_means(3), model="b", seed=1, first=4)
    rows = component_rows(a, b, **QUICK)
    assert {m.n_unique for m in rows} == {6}
    alone = {k: p.only([str(s) for s in range(4, 10)]) for k, p in a.of.items()}
    assert component_rows(DepthProfiles("a", 8, alone), b, **QUICK) == rows
    few = component_rows(a, made(random_means(3), model="b", first=7), **QUICK)
    assert [(m.emotion, m.n_unique) for m in few] == [(e, 3) for e in EMOTIONS]
    assert all(np.isnan(m.value) and np.isnan(m.p) for m in few)


def test_what_is_refused_and_what_is_written(tmp_path):
    with pytest.raises(InputError, match="few layers"):
        component_rows(made(random_means(0, layers=3)), made(random_means(1)))
    with pytest.raises(InputError, match="in common"):
        component_rows(made(random_means(0)), DepthProfiles("b", 8, {}))
    a, b = made(random_means(0), model="reference/gpt2"), made(random_means(0), model="reference/gpt-neo")
    path = write_component_rows(tmp_path, a, b, **QUICK)
    assert path == tmp_path / "cross_model" / "reference--gpt2_and_reference--gpt-neo_components.parquet"
