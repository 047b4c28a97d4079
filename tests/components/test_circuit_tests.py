"""The claimed circuit's tests against circuits run one by one, and overlaps against circuits drawn by the thousand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from patched_by_hand import ACT, Z, log_odds, projections, run

from emotion_circuits import prompts
from emotion_circuits.components import (
    MINIMALITY,
    Circuits,
    Component,
    Faithfulness,
    Ranking,
    WordSetOutcome,
    _circuit_draws,
    _circuits,
    circuit_gaps,
    circuit_means,
    circuit_overlap,
    circuit_tests,
    draw_until_clear,
    faithfulness,
    matched_circuits,
    random_points,
)
from emotion_circuits.engine import Point, count_hooks
from emotion_circuits.errors import InputError

GENERIC = [t.text for t in prompts.generic_sample(6)]
KINDS = ("head", "unit")
SIZES = (0.1, 0.5, 1.0)


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


def gap_by_hand(lm, pair, heads, units, means):
    """m of one pair with everything outside the circuit at its mean, by plain hooks."""
    change = {}
    for where, site, kept, width in ((Z, "z", heads, lm.d_head), (ACT, "mlp_act", units, 1)):
        for layer, module in enumerate(projections(lm, where)):
            mean, keep = means.mean(Point(site, layer)), np.repeat(kept[layer], width)

            def ablate(value, mean=mean, keep=keep):
                value = value.clone()
                value[:, 1:, ~keep] = mean[~keep].to(value)
                return value

            change[module] = ablate
    a, b = (float(log_odds(lm, run(lm, ids, change)[0].detach(), "anger")) for ids in (pair.ids_a, pair.ids_b))
    return a - b


def test_every_run_is_what_hooks_give(case, means, found):
    lm, pairs, outcome = case
    tests = circuit_tests(lm, outcome, found, means, most_draws=4, n_removed=2, seed=3)
    [heads], [units] = found.circuits.rows([1])
    pair = pairs.pairs[0]
    assert [c.kind for c in tests.members] == sorted(c.kind for c in found.best)
    for component, gaps in zip(tests.members, tests.without, strict=True):
        left = {"head": heads.copy(), "unit": units.copy()}
        assert left[component.kind][component.layer, component.number]
        left[component.kind][component.layer, component.number] = False
        assert gaps[0] == pytest.approx(gap_by_hand(lm, pair, left["head"], left["unit"], means), abs=5e-5)
    drawn = matched_circuits(found.circuits.rows([1]), 2, (3, 6))
    for k in range(2):
        by_hand = gap_by_hand(lm, pair, ~drawn.heads[k], ~drawn.units[k], means)
        assert tests.removed[k, 0] == pytest.approx(by_hand, abs=5e-5)
    assert count_hooks(lm) == 0
    losses = dict(tests.loss_of_random_members())
    both = [(c, loss) for c, loss in found.minimality() if c in losses]
    assert both and all(losses[c] == pytest.approx(loss, abs=2e-4) for c, loss in both)


def test_drawing_goes_on_only_while_the_circuit_stands_out(case, means, found):
    lm, _, outcome = case
    drawn: list[int] = []
    best = replace(found, kept=found.kept + 100.0)
    first = circuit_tests(lm, outcome, best, means, most_draws=19, n_removed=0, on_circuits=drawn.append)
    assert first.beyond.p == 1 / 20 and first.beyond.n_drawn == 19 and len(first.random) == 19
    np.testing.assert_array_equal(first.random[:3], found.random[:, 1])
    members = len(first.members)
    assert sum(drawn) == 19 - 3 + members
    fewer = circuit_tests(lm, outcome, best, means, most_draws=7, n_removed=0)
    np.testing.assert_allclose(fewer.random, first.random[:7], atol=5e-5)
    worst = circuit_tests(lm, outcome, replace(found, kept=found.kept - 100.0), means, exceeding=2, n_removed=0)
    assert worst.beyond.p == 1.0 and worst.beyond.n_drawn == len(worst.random) == 2
    # The k-th draw reaches the middle one's f: with one exceedance asked for, p is 1/l.
    middle = replace(best, kept=best.kept.copy())
    middle.kept[1] = np.sort(first.random.mean(axis=1))[-1]
    some = circuit_tests(lm, outcome, middle, means, most_draws=19, exceeding=1, n_removed=0)
    assert some.beyond.p == 1 / (int(first.random.mean(axis=1).argmax()) + 1) or some.beyond.p == 2 / 20


def test_rows_stand_beside_random_circuits(case, means, found):
    lm, pairs, outcome = case
    tests = circuit_tests(lm, outcome, found, means, most_draws=5, n_removed=4)
    rows = tests.measures(n_draws=50, n_flips=99)
    assert [m.statistic for m in rows] == ["faithfulness", "completeness", MINIMALITY]
    assert all(m.position == "0.5" and m.n_unique == len(pairs) and 0 < m.p <= 1 for m in rows)
    f, complete, minimal = rows
    curves = {m.statistic: m for m in found.measures(n_draws=50) if m.position == "0.5"}
    for row in (f, complete):
        assert row[6:9] == pytest.approx(curves[row.statistic][6:9]), "the curves' own value and interval"
    assert complete.chance == pytest.approx(1 - found.share(tests.removed).mean())
    assert minimal.value == pytest.approx(np.mean([loss for _, loss in found.minimality()]))
    assert minimal.chance == pytest.approx(np.mean([loss for _, loss in tests.loss_of_random_members()]))
    areas = found.area(found.random_curves)
    assert random_points(found, (0.5, 0.99))["CPR"] == pytest.approx(np.quantile(areas, [0.5, 0.99]))
    assert random_points(found, (0.99,))["CMD"] == pytest.approx(np.quantile(found.distance(found.random_curves), 0.01))


def test_nothing_is_run_where_nothing_can_be_tested(case, means, found):
    level = replace(found, whole=found.empty + np.resize([0.1, -0.1], found.empty.size))
    tests = circuit_tests(case.lm, case.outcome, level, means, on_circuits=lambda n: pytest.fail("ran"))
    assert tests.beyond is None and not tests.members
    assert all(np.isnan([m.value, m.p, m.chance]).all() for m in tests.measures(n_draws=50))
    assert np.isnan(random_points(level)["CPR"]).all()


def test_equal_circuits_run_once_and_give_the_same(case, means, monkeypatch):
    lm, _, outcome = case
    rng = np.random.default_rng(0)
    heads, units = (rng.random((2, lm.n_layers, n)) < 0.5 for n in (lm.n_heads, lm.d_mlp))
    asked = []
    original = _circuits._runner
    monkeypatch.setattr(_circuits, "_runner", lambda *given: asked.append(len(given[4])) or original(*given))
    done: list[int] = []
    order = [0, 1, 0, 0, 1]
    gaps = circuit_gaps(lm, outcome, Circuits(heads[order], units[order]), means, on_circuits=done.append)
    assert set(asked) == {2} and sum(done) == 5 * len(asked)
    np.testing.assert_array_equal(gaps, gaps[:2][order])
    assert np.abs(gaps[0] - gaps[1]).min() > 1e-6


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


def test_what_is_refused(case, means, found):
    lm, pairs, outcome = case
    with pytest.raises(InputError, match="cannot be drawn"):
        circuit_tests(lm, outcome, found, means, most_draws=0)
    other = WordSetOutcome(lm, replace(pairs, pairs=pairs.pairs[:3]), prompts.bank().word_sets())
    with pytest.raises(InputError, match="other pairs"):
        circuit_tests(lm, other, found, means)
    assert isinstance(found, Faithfulness)


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
