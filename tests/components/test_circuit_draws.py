"""Random circuits drawn until it is clear, and overlaps against circuits drawn by the thousand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from emotion_circuits import prompts
from emotion_circuits.analyses._circuits import circuit_claim
from emotion_circuits.components import (
    CPR,
    Circuits,
    Component,
    DrawnCurves,
    Faithfulness,
    Ranking,
    WordSetOutcome,
    _circuit_draws,
    _circuits,
    circuit_gaps,
    circuit_means,
    circuit_overlap,
    draw_until_clear,
    faithfulness,
    mean_of_draws,
)
from emotion_circuits.engine import count_hooks
from emotion_circuits.errors import InputError
from emotion_circuits.statistics import sequential_p

GENERIC = [t.text for t in prompts.generic_sample(6)]
KINDS = ("head", "unit")
SIZES = (0.1, 0.5, 1.0)


@pytest.fixture(scope="module")
def case(contrast):
    """Draws do not depend on the family."""
    return contrast


@pytest.fixture(scope="module")
def means(case):
    return circuit_means(case.lm, GENERIC)


def ranking_of(lm, seed=0):
    rng = np.random.default_rng(seed)
    found = {}
    for kind, n in (("head", lm.n_heads), ("unit", lm.d_mlp)):
        every = [Component(kind, layer, i) for layer in range(lm.n_layers) for i in range(n)]
        found[kind] = Ranking.of("invented", every, rng.standard_normal(len(every)))
    return found


@pytest.fixture(scope="module")
def found(case, means):
    """An untrained model's difference may be anything: give it one, but for rounding the same in all pairs."""
    one = faithfulness(
        case.lm, case.outcome, ranking_of(case.lm), means, sizes=SIZES, declared=0.5, n_random=3, n_dropped=6
    )
    return replace(one, whole=one.empty + np.linspace(0.9, 1.1, one.empty.size))


def test_equal_circuits_run_once_and_give_the_same(case, means, monkeypatch):
    lm, _, outcome = case
    rng = np.random.default_rng(0)
    heads, units = (rng.random((2, lm.n_layers, n)) < 0.5 for n in (lm.n_heads, lm.d_mlp))
    asked = []
    original = _circuits._runner
    monkeypatch.setattr(_circuits, "_runner", lambda *given: asked.append(len(given[2])) or original(*given))
    done: list[int] = []
    order = [0, 1, 0, 0, 1]
    gaps = circuit_gaps(lm, outcome, Circuits(heads[order], units[order]), means, on_circuits=done.append)
    assert set(asked) == {2} and sum(done) == 5 * len(asked)
    np.testing.assert_array_equal(gaps, gaps[:2][order])
    assert np.abs(gaps[0] - gaps[1]).min() > 1e-6


def test_most_draws_may_run_few_of_the_pairs(case, found, means, monkeypatch):
    """The first draws run all; the circuit and its random ones are compared on the pairs that all of them ran."""
    lm, pairs, outcome = case
    assert len(pairs) > 2
    few = WordSetOutcome(lm, pairs.at_most(2), prompts.bank().word_sets())
    monkeypatch.setattr(_circuit_draws, "WITH_ALL_PAIRS", 3)
    found = replace(found, whole=found.empty + 9 + np.arange(found.empty.size) / 99)  # clear on any pairs
    some, every = (draw_until_clear(lm, outcome, found, means, few=on, most_draws=5, exceeding=9) for on in (few, None))
    assert every.found.drawn_on.all() and some.found.drawn_on.tolist() == [True] * 2 + [False] * (len(pairs) - 2)
    np.testing.assert_allclose(some.found.random[:3], every.found.random[:3], atol=1e-6)
    np.testing.assert_allclose(some.found.random[3:, ..., :2], every.found.random[3:, ..., :2], atol=5e-5)
    assert np.isnan(some.found.random[3:, ..., 2:]).all()
    of_two = replace(
        every.found, whole=found.whole[:2], empty=found.empty[:2], kept=found.kept[:, :2],
        random=every.found.random[..., :2],
    )  # fmt: skip
    np.testing.assert_allclose(some.found.random_curves, of_two.random_curves, atol=5e-5)
    null = of_two.area(of_two.random_curves)
    assert some.beyond.p == pytest.approx((1 + (null >= of_two.area(of_two.curve)).sum()) / 6)
    row = next(m for m in some.found.measures(n_draws=20) if m.statistic == "CPR")
    assert row.p == pytest.approx(some.beyond.p) and row.value == pytest.approx(found.area(found.curve))
    gain = np.full(found.empty.size, 99.0)
    gain[:2] = -5, 5
    unclear = replace(found, whole=found.empty + gain)
    again = draw_until_clear(lm, outcome, unclear, means, few=few, most_draws=5, exceeding=9)
    assert again.beyond is None or again.found.drawn_on.all(), "an effect that is not clear on two pairs takes all"


def drawn_overlaps(a, b, within, n=4000):
    rng = np.random.default_rng(1)
    found = []
    for _ in range(n):
        one = rng.permuted(a, axis=1) if within else rng.permutation(a.ravel()).reshape(a.shape)
        found.append((one & b).sum())
    return np.array(found)


def test_overlap_beside_drawn_circuits():
    rng = np.random.default_rng(5)
    heads, units = (rng.random((2, 4, n)) < share for n, share in ((6, 0.4), (30, 0.2)))
    units[:, 0] |= rng.random((2, 30)) < 0.8  # both prefer a layer
    a, b = (Circuits(heads[i : i + 1], units[i : i + 1]) for i in (0, 1))
    for overlap in circuit_overlap(a, b):
        x, y = a.of(overlap.kind)[0], b.of(overlap.kind)[0]
        assert overlap.shared == (x & y).sum() and overlap.jaccard == pytest.approx((x & y).sum() / (x | y).sum())
        assert (overlap.n_a, overlap.n_b, overlap.n_all) == (x.sum(), y.sum(), x.size)
        for within, chance, p in (
            (False, overlap.chance, overlap.p),
            (True, overlap.chance_within_layers, overlap.p_within_layers),
        ):
            drawn = drawn_overlaps(x, y, within)
            assert p == pytest.approx((drawn >= overlap.shared).mean(), abs=0.03)
            assert chance == pytest.approx((drawn / (x.sum() + y.sum() - drawn)).mean(), abs=0.01)
    assert circuit_overlap(a, b)[1].p < 0.05 < circuit_overlap(a, b)[1].p_within_layers, "they share a layer, no more"
    whole = [o.p_within_layers for o in circuit_overlap(a, a)]
    assert max(whole) < 1e-3 and all(o.jaccard == 1 for o in circuit_overlap(a, a))
    nothing = Circuits(np.zeros_like(heads[:1]), np.zeros_like(units[:1]))
    assert all(np.isnan(o.jaccard) and o.p == 1 for o in circuit_overlap(nothing, nothing))
    with pytest.raises(InputError, match="Two circuits"):
        circuit_overlap(Circuits(heads, units), a)
    with pytest.raises(InputError, match="different numbers"):
        circuit_overlap(a, Circuits(heads[:1, :3], units[:1, :3]))


def test_cpr_is_tested_with_as_many_draws_as_it_takes(case, found, means, monkeypatch):
    lm, _, outcome = case
    exceeded = replace(found, kept=found.empty - np.ones(found.kept.shape))
    few = draw_until_clear(lm, outcome, exceeded, means, most_draws=30, exceeding=4)
    assert few.beyond.n_drawn == len(few.found.random) == 4 and few.beyond.p == 1.0
    reached = replace(found, kept=found.empty + 9 * np.ones(found.kept.shape))
    every = draw_until_clear(lm, outcome, reached, means, most_draws=6, exceeding=4)
    null = every.found.area(every.found.random_curves)
    assert len(null) == 6 and every.beyond.p == pytest.approx((1 + (null >= reached.area(reached.curve)).sum()) / 7)
    row = next(m for m in every.found.measures(n_draws=20) if m.statistic == "CPR")
    assert row.p == pytest.approx(every.beyond.p) and row.chance == pytest.approx(null.mean())
    monkeypatch.setattr(_circuit_draws, "DRAWN_AT_ONCE", 1)
    one_by_one = draw_until_clear(lm, outcome, reached, means, most_draws=6, exceeding=4).found.random
    np.testing.assert_allclose(one_by_one, every.found.random, atol=5e-5)
    other = draw_until_clear(lm, outcome, reached, means, most_draws=2, seed=1).found.random
    assert np.abs(other - every.found.random[:2]).max() > 1e-6
    unclear = replace(found, whole=found.empty)
    assert draw_until_clear(lm, outcome, unclear, means).beyond is None and count_hooks(lm) == 0
    with pytest.raises(InputError, match="drawn"):
        draw_until_clear(lm, outcome, found, means, most_draws=0)


def test_chance_is_of_the_pairs_that_the_value_is_of():
    """Where most draws ran the first pairs only, and random circuits keep less there: the claim's gain and the row's
    chance are of all pairs, as the value and the gain's interval are."""
    n, draws = 24, 99
    whole, empty, kept = np.ones(n), np.zeros(n), np.ones((2, n))
    random = np.ones((draws, 2, n))
    random[:, 0] = np.where(np.arange(n) < n // 2, 0.2, 0.6) + np.linspace(-0.05, 0.05, draws)[::-1, None]
    random[_circuit_draws.WITH_ALL_PAIRS :, :, n // 2 :] = np.nan
    nothing = Circuits(np.zeros((0, 0, 0), bool), np.zeros((0, 0, 0), bool))
    found = Faithfulness(
        "m", "anger", "o", "by", (0.5, 1.0), nothing, whole, empty, kept, random, whole, np.zeros((0, n)), (), 0, (0, 1)
    )
    beyond = sequential_p(0.75, lambda k, m: found.area(found.random_curves)[k : k + m], draws)
    claim = circuit_claim(DrawnCurves(found, beyond), "m", exceeding=10, effect=0.35, evidence="", seed=0)
    [row] = [row for row in found.measures() if row.statistic == CPR]
    expected = float(found.area(found.share(mean_of_draws(random))))
    assert claim.chance == pytest.approx(expected) and row.chance == pytest.approx(expected)
    assert claim.gain_ci95[0] <= claim.gain <= claim.gain_ci95[1]
    assert claim.gain == pytest.approx(claim.value - expected)
    assert claim.null == f"random circuits, {beyond.n_drawn} draws; those after the first 20 on 12 of the pairs"
