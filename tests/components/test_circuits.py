"""Circuits against plain hooks, one circuit and one text at a time, in every family; and the arithmetic of curves."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from patched_by_hand import ACT, Z, log_odds, projections, run

from emotion_circuits import prompts
from emotion_circuits.components import (
    SIZES,
    Circuits,
    Component,
    Faithfulness,
    Ranking,
    WordSetOutcome,
    circuit_gaps,
    circuit_means,
    faithfulness,
    judged_circuit,
    matched_circuits,
    n_circuits,
    ranked_circuits,
    ranking_and_judging,
    rankings_by,
)
from emotion_circuits.engine import Point, count_hooks
from emotion_circuits.engine._run import overridden
from emotion_circuits.errors import InputError

GENERIC = [t.text for t in prompts.generic_sample(6)]
KINDS = ("head", "unit")


@pytest.fixture(scope="module")
def means(case):
    return circuit_means(case.lm, GENERIC)


def random_circuits(lm, n, seed=0, share=0.4):
    rng = np.random.default_rng(seed)
    return Circuits(rng.random((n, lm.n_layers, lm.n_heads)) < share, rng.random((n, lm.n_layers, lm.d_mlp)) < share)


def by_hand(lm, ids, circuit, means):
    """The outcome of one text with every component outside the circuit at its mean, by plain hooks."""
    change = {}
    for where, site, kept, width in ((Z, "z", circuit.heads[0], lm.d_head), (ACT, "mlp_act", circuit.units[0], 1)):
        for layer, module in enumerate(projections(lm, where)):
            mean, keep = means.mean(Point(site, layer)), kept[layer].repeat(width)

            def ablate(value, mean=mean, keep=keep):
                value = value.clone()
                value[:, 1:, ~keep] = mean[~keep].to(value)
                return value

            change[module] = ablate
    return float(log_odds(lm, run(lm, ids, change)[0].detach(), "anger"))


def test_circuits_are_what_hooks_give(case, means):
    lm, pairs, outcome = case
    circuits = random_circuits(lm, 3)
    done = []
    gaps = circuit_gaps(lm, outcome, circuits, means, batch_tokens=200, on_circuits=done.append)
    assert gaps.shape == (3, len(pairs)) and sum(done) == 3
    for c in range(3):
        for i, pair in enumerate(pairs.pairs[:2]):
            a, b = (by_hand(lm, ids, circuits.rows([c]), means) for ids in (pair.ids_a, pair.ids_b))
            assert gaps[c, i] == pytest.approx(a - b, abs=5e-5)
    assert len(np.unique(gaps.round(7))) == gaps.size
    assert count_hooks(lm) == 0


def test_units_that_depend_on_each_other_are_not_computed_apart(contrast):
    """A softmax over units has no parameters that would tell of it."""
    lm, pairs, outcome = contrast.of(2)
    circuits = random_circuits(lm, 2)
    with ExitStack() as stack:
        for layer in range(lm.n_layers):
            [act] = [m for m in lm.mlp(layer).children() if not list(m.parameters())]
            stack.enter_context(overridden(act, lambda x: x.shape[-1] * x.softmax(dim=-1)))
        means = circuit_means(lm, GENERIC)
        gaps = circuit_gaps(lm, outcome, circuits, means)
        for c in range(2):
            a, b = (by_hand(lm, ids, circuits.rows([c]), means) for ids in (pairs.pairs[1].ids_a, pairs.pairs[1].ids_b))
            assert gaps[c, 1] == pytest.approx(a - b, abs=5e-5)


def test_all_is_the_clean_model_and_neither_order_nor_layout_matters(case, means):
    lm, pairs, outcome = case
    everything = Circuits(*(np.ones((1, lm.n_layers, n), dtype=bool) for n in (lm.n_heads, lm.d_mlp)))
    clean = [
        float(log_odds(lm, run(lm, p.ids_a)[0].detach(), "anger"))
        - float(log_odds(lm, run(lm, p.ids_b)[0].detach(), "anger"))
        for p in pairs.pairs
    ]
    assert circuit_gaps(lm, outcome, everything, means)[0] == pytest.approx(clean, abs=5e-5)
    circuits = random_circuits(lm, 4)
    first = circuit_gaps(replace(lm, packing=True), outcome, circuits, means)
    second = circuit_gaps(replace(lm, packing=False), outcome, circuits.rows([3, 2, 1, 0]), means, batch_tokens=64)
    np.testing.assert_allclose(first, second[::-1], atol=5e-5)


def ranking_of(lm, seed=0):
    rng = np.random.default_rng(seed)
    found = {}
    for kind, n in (("head", lm.n_heads), ("unit", lm.d_mlp)):
        every = [Component(kind, layer, i) for layer in range(lm.n_layers) for i in range(n)]
        found[kind] = Ranking.of("invented", every, rng.standard_normal(len(every)))
    return found


def test_sizes_are_shares_of_each_kind_and_nested(case):
    lm, rankings = case.lm, ranking_of(case.lm)
    circuits = ranked_circuits(lm, rankings, SIZES)
    for kind, n in (("head", lm.n_heads), ("unit", lm.d_mlp)):
        members = circuits.of(kind)
        assert members.sum(axis=(1, 2)).tolist() == [int(size * n * lm.n_layers + 0.5) for size in SIZES]
        assert all((members[i] <= members[i + 1]).all() for i in range(len(SIZES) - 1))
        best = rankings[kind].top(int(members[7].sum()))
        assert all(members[7][c.layer, c.number] for c in best)
    assert circuits.members(len(SIZES) - 1) == tuple(
        sorted((*rankings["head"].components, *rankings["unit"].components), key=lambda c: (c.layer, c.kind, c.number))
    )


def test_random_circuits_match_layers_and_kinds(case):
    circuits = ranked_circuits(case.lm, ranking_of(case.lm), SIZES)
    drawn = matched_circuits(circuits, 5, seed=1)
    assert len(drawn) == 5 * len(SIZES)
    for kind in KINDS:
        members = drawn.of(kind).reshape(5, len(SIZES), *drawn.of(kind).shape[1:])
        assert (members.sum(axis=3) == circuits.of(kind).sum(axis=2)[None]).all()
        assert all((members[:, i] <= members[:, i + 1]).all() for i in range(len(SIZES) - 1))
        assert len({m.tobytes() for m in members[:, 8]}) == 5
    again = matched_circuits(circuits, 5, seed=1)
    assert all((a == b).all() for a, b in zip(drawn, again, strict=True))


def test_a_curve_ends_at_one_and_stands_beside_random_circuits(case, means):
    lm, _, outcome = case
    done = []
    found = faithfulness(lm, outcome, ranking_of(lm), means, n_random=3, n_dropped=4, on_circuits=done.append)
    assert sum(done) == n_circuits(len(SIZES), 3, 4)
    assert found.by == "invented" and found.random.shape == (3, len(SIZES), len(outcome.pairs))
    # An untrained model's gap may be anything: give it one.
    clear = replace(found, whole=found.empty + np.linspace(0.9, 1.1, found.empty.size))
    clear = replace(clear, kept=np.vstack([clear.kept[:-1], clear.whole]))
    assert clear.tested and clear.curve[-1] == pytest.approx(1.0)
    rows = clear.measures(n_draws=50)
    assert [m.statistic for m in rows] == ["faithfulness"] * len(SIZES) + ["CPR", "CMD", "completeness"]
    assert all(m.n_unique == len(outcome.pairs) and m.kind == "invented" for m in rows)
    by_hand = (clear.kept[5].mean() - clear.empty.mean()) / (clear.whole.mean() - clear.empty.mean())
    assert rows[5].value == pytest.approx(by_hand) and rows[5].position == "0.05"
    assert {c.kind for c in found.best} <= set(KINDS) and len(found.minimality()) == len(found.best) == 4
    level = replace(found, whole=found.empty + np.resize([0.1, -0.1], found.empty.size))
    assert not level.tested and all(np.isnan(m.value) for m in level.measures(n_draws=50))


@given(st.lists(st.floats(-1, 2), min_size=2, max_size=2), st.integers(2, 6))
def test_areas_are_those_of_the_curve(levels, n):
    """With m(∅) = 0 and m(N) = 1 for all pairs, f is m itself."""
    one = np.ones(n)
    kept = np.array([levels[0] * one, levels[1] * one, one])
    none = np.zeros((0, n))
    found = Faithfulness(
        "m", "anger", "o", "by", (0.2, 0.5, 1.0), Circuits(np.zeros((3, 1, 1), bool), np.zeros((3, 1, 1), bool)),
        one + np.linspace(-0.01, 0.01, n), 0 * one, kept, np.zeros((0, 3, n)), one, none, (), 0,
        (0, 1, 2),
    )  # fmt: skip
    a, b = levels
    area = 0.2 * a / 2 + 0.3 * (a + b) / 2 + 0.5 * (b + 1) / 2
    rows = {m.statistic: m for m in found.measures(n_draws=20)}
    assert rows["CPR"].value == pytest.approx(area, abs=1e-9)
    away = 0.2 * (1 + abs(1 - a)) / 2 + 0.3 * (abs(1 - a) + abs(1 - b)) / 2 + 0.5 * abs(1 - b) / 2
    assert rows["CMD"].value == pytest.approx(away, abs=1e-9)
    assert rows["completeness"].value == pytest.approx(0.0)


def test_random_circuits_at_some_sizes_only(case, means):
    """What they keep does not depend on which other sizes run, and areas are over their sizes alone."""
    lm, _, outcome = case
    every = faithfulness(lm, outcome, ranking_of(lm), means, n_random=2, n_dropped=0)
    some = faithfulness(lm, outcome, ranking_of(lm), means, n_random=2, n_dropped=0, random_sizes=(0.1, 0.5))
    assert some.areas_over == (6, 8, 9) and some.areas_from == "sizes 0.1, 0.5, 1"
    np.testing.assert_allclose(some.random[:, some.areas_over], every.random[:, some.areas_over], atol=5e-5)
    assert np.isnan(np.delete(some.random, some.areas_over, axis=1)).all()
    f = np.linspace(0.0, 1.0, 10)
    by_hand = 0.1 * f[6] / 2 + 0.4 * (f[6] + f[8]) / 2 + 0.5 * (f[8] + f[9]) / 2
    assert some.area(f) == pytest.approx(by_hand)
    with pytest.raises(InputError, match="sizes of the curve"):
        faithfulness(lm, outcome, ranking_of(lm), means, random_sizes=(0.3,))


def test_rankings_are_made_on_one_half_and_judged_on_the_other(case, means):
    lm, pairs, _ = case
    ranking, judging = ranking_and_judging(pairs)
    assert {*ranking.scenarios} | {*judging.scenarios} == {*pairs.scenarios}
    assert not {*ranking.scenarios} & {*judging.scenarios}
    asked = []

    def outcome(some):
        asked.append(some.scenarios)
        return WordSetOutcome(lm, some, prompts.bank().word_sets())

    found = judged_circuit(lm, outcome, pairs, "attribution", means, n_random=2, n_dropped=1)
    assert asked == [ranking.scenarios, judging.scenarios] and found.whole.shape == (len(judging),)
    first = rankings_by(lm, outcome(ranking), "random", seed=1)
    assert first["head"].components != rankings_by(lm, outcome(ranking), "random", seed=2)["head"].components
    with pytest.raises(InputError, match="direction"):
        rankings_by(lm, outcome(ranking), "direct effect")
    with pytest.raises(InputError, match="ranking by"):
        rankings_by(lm, outcome(ranking), "beauty")
    with pytest.raises(InputError, match="too few pairs"):
        ranking_and_judging(replace(pairs, pairs=pairs.pairs[:3]))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"sizes": (0.5, 0.1), "declared": 0.1}, "grow"),
        ({"sizes": (0.1, 0.5), "declared": 0.2}, "declared size"),
        ({"sizes": (0.1, 1.5), "declared": 0.1}, "0 to 1"),
        ({"n_random": -1}, "-1"),
    ],
)
def test_what_is_refused(tiny_gpt2_lm, asked, said):
    lm = tiny_gpt2_lm
    from emotion_circuits.components import matched_pairs

    outcome = WordSetOutcome(
        lm, matched_pairs(lm, prompts.bank().profile("baseline"), "anger"), prompts.bank().word_sets()
    )
    with pytest.raises(InputError, match=said):
        faithfulness(lm, outcome, ranking_of(lm), circuit_means(lm, GENERIC), **asked)
