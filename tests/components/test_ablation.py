"""Ablation and patching of several heads and units, against plain torch, and the rows that come of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from patched_by_hand import ACT, Z, log_odds, patched, projections, run

from emotion_circuits import prompts
from emotion_circuits.components import (
    METHODS,
    Component,
    ComponentEffect,
    ContinuationOutcome,
    ablate,
    agreeing,
    effects_of,
    generic_values,
    patch,
    random_sets,
)
from emotion_circuits.components._runs import edits_for, observe
from emotion_circuits.engine import Point, count_hooks, run_from
from emotion_circuits.errors import InputError
from emotion_circuits.statistics import rows_table

GENERIC = tuple(text.text for text in prompts.generic_sample(12))
NAMED = (Component("head", 2, 1), Component("head", 0, 3), Component("unit", 1, 5), Component("head", 2, 0))


def slices(lm, components):
    sizes = {"head": lm.d_head, "unit": 1}
    return [(c.layer, slice(c.number * sizes[c.kind], (c.number + 1) * sizes[c.kind])) for c in components]


def by_hand(lm, ids, components, values):
    """m with values (layer, kind) → (width,) or a number put into components, position 0 as it was."""
    change = {}
    for kind, where in (("head", Z), ("unit", ACT)):
        for layer, module in enumerate(projections(lm, where)):
            chosen = slices(lm, [c for c in components if (c.kind, c.layer) == (kind, layer)])
            if chosen:

                def put(value, chosen=chosen, given=values[layer, kind]):
                    value = value.clone()
                    for _, part in chosen:
                        value[:, 1:, part] = given if isinstance(given, float) else given[part]
                    return value

                change[module] = put
    with torch.no_grad():
        return float(log_odds(lm, run(lm, ids, change)[0], "anger"))


@pytest.fixture
def generic(case):
    return generic_values(case.lm, GENERIC, NAMED)


def test_zero_and_mean_ablation_by_hand(case, generic):
    lm, pairs, outcome = case
    means = {}
    for site, kind, paths in (("z", "head", Z), ("mlp_act", "unit", ACT)):
        for layer, module in enumerate(projections(lm, paths)):
            rows = []
            for encoded in lm.encode(GENERIC):
                places = np.unique(np.linspace(1, len(encoded) - 1, 8).round().astype(int))
                with torch.no_grad():
                    rows.append(run(lm, encoded.ids)[1][module][0, places])
            means[layer, kind] = torch.cat(rows).mean(0)
            if Point(site, layer) in generic.pool:
                torch.testing.assert_close(generic.mean(Point(site, layer)), means[layer, kind], rtol=1e-4, atol=1e-5)
    for method, values in (("zero", dict.fromkeys(means, 0.0)), ("mean", means)):
        found = ablate(lm, outcome, NAMED, method, generic, n_random=2)
        for i, pair in enumerate(pairs.pairs[:2]):
            assert found.a[0, i] == pytest.approx(by_hand(lm, pair.ids_a, NAMED, values), abs=5e-5)
            assert found.b[0, i] == pytest.approx(by_hand(lm, pair.ids_b, NAMED, values), abs=5e-5)


def test_patching_several_heads_both_ways_by_hand(case):
    lm, pairs, outcome = case
    heads = [c for c in NAMED if c.kind == "head"]
    found = patch(lm, outcome, heads, n_random=3)
    for i, pair in enumerate(pairs.pairs[:2]):
        turned = replace(pair, ids_a=pair.ids_b, ids_b=pair.ids_a)
        assert found.a[0, i] == pytest.approx(patched(lm, pair, "anger", Z, slices(lm, heads)), abs=5e-5)
        assert found.b[0, i] == pytest.approx(patched(lm, turned, "anger", Z, slices(lm, heads)), abs=5e-5)
        for k, other in enumerate(random_sets(lm, sorted(heads), 3, 0), 1):
            assert found.a[k, i] == pytest.approx(patched(lm, pair, "anger", Z, slices(lm, other)), abs=5e-5)


def test_patching_with_its_own_values_keeps_every_bit(case):
    lm, _, outcome = case
    for sides in outcome.batches(lm):
        for layer in range(lm.n_layers):
            for kind, site in (("head", "z"), ("unit", "mlp_act")):
                named = [Component(kind, layer, 1), Component(kind, layer, 2)]
                seen = observe(lm, outcome, sides.a, [Point("resid_pre", layer), Point(site, layer)])
                first, edits = edits_for(lm, [named], seen.values)
                states = run_from(lm, sides.a, first, seen.values[Point("resid_pre", layer)], edits)
                with torch.no_grad():
                    assert torch.equal(outcome.score(lm, sides.a, states)[0], seen.scores)


def test_all_components_of_b_give_the_outcome_of_b(case):
    """The last token is the same in both prompts: what all heads and units write makes the whole difference."""
    lm, _, outcome = case
    everything = [Component("head", layer, h) for layer in range(lm.n_layers) for h in range(lm.n_heads)]
    everything += [Component("unit", layer, n) for layer in range(lm.n_layers) for n in range(lm.d_mlp)]
    found = patch(lm, outcome, everything, n_random=0)
    assert found.a[0] == pytest.approx(found.m_b, abs=5e-5)
    assert found.b[0] == pytest.approx(found.m_a, abs=5e-5)
    assert np.abs(found.m_a - found.m_b).min() > 1e-3


def test_the_order_of_heads_plays_no_part_and_nothing_stays_behind(case, generic):
    lm, _, outcome = case
    for method in METHODS:
        first = ablate(lm, outcome, NAMED, method, generic, n_random=3)
        again = ablate(lm, outcome, NAMED[::-1], method, generic, n_random=3)
        assert np.array_equal(first.a, again.a) and np.array_equal(first.b, again.b)
        assert first.spec == again.spec and first.components == again.components
    assert count_hooks(lm) == 0
    one = ablate(lm, outcome, NAMED[:1], "zero", n_random=0)
    assert np.abs(one.a[0] - one.m_a).max() > 1e-4


def test_resampling_depends_on_the_seed_and_not_on_batches(case, generic):
    lm, _, outcome = case
    whole, parts, other = (
        ablate(lm, outcome, NAMED, "resample", generic, n_random=0, seed=seed, batch_tokens=size)
        for seed, size in ((0, 2048), (0, 32), (1, 2048))
    )
    assert whole.a == pytest.approx(parts.a, abs=5e-5)
    assert np.abs(whole.a - other.a).max() > 1e-4


def test_random_sets_match_the_layers_and_never_hold_a_named_one(tiny_gpt2_lm):
    lm = tiny_gpt2_lm
    named = [Component("head", 1, 0), Component("head", 1, 2), Component("unit", 0, 3)]
    sets = random_sets(lm, named, 30, 0)
    assert len(set(sets)) == 30
    for chosen in sets:
        assert not set(chosen) & set(named)
        assert sorted((c.kind, c.layer) for c in chosen) == sorted((c.kind, c.layer) for c in named)
    assert {c.number for [c] in random_sets(lm, named[:1], 30, 0)} == {1, 2, 3}, "all there are"
    assert random_sets(lm, [Component("head", 1, h) for h in range(lm.n_heads)], 5, 0) == []


def test_rows_hold_chance_ceiling_and_interval(case):
    lm, pairs, outcome = case
    rows = effects_of(lm, outcome, ablate(lm, outcome, NAMED[:1], "zero"), n_draws=99)
    rows += effects_of(lm, outcome, patch(lm, outcome, NAMED[:1]), n_draws=99)
    assert [r.statistic for r in rows] == ["loss in emotion prompts", "loss of the gap", "noising", "denoising"]
    for row in rows:
        assert row.ci_low <= row.value <= row.ci_high and row.null_low <= row.chance <= row.null_high
        assert row.n_random == 3 and row.n_unique == len(pairs) and row.components == "2:1"
        assert 2 / 4 <= row.p_random <= 1 and 0 < row.p <= 1
    assert list(rows_table(ComponentEffect, rows).columns) == list(type(rows[0])._fields)
    alike = [rows[0]._replace(p=p, value=v) for p, v in ((0.01, 1.0), (0.04, 2.0), (0.02, -1.0), (0.5, 3.0))]
    assert agreeing(alike) == 2 and agreeing(alike[2:]) == 1 and agreeing(alike[3:]) == 0


def test_continuations_as_an_outcome(case):
    lm, pairs, _ = case
    two = replace(pairs, pairs=pairs.pairs[:2])
    chosen = [
        c for e in ("anger", "neutral") for c in [x for x in prompts.bank().continuations() if x.emotion == e][:2]
    ]
    outcome = ContinuationOutcome(lm, two, chosen)
    found = ablate(lm, outcome, NAMED[:2], "zero", n_random=0)
    expected = []
    for c in chosen:
        [encoded] = lm.encode([two.pairs[0].text_a + c.text])
        with torch.no_grad():
            log_p = run(lm, encoded.ids)[0].log_softmax(-1)
        start = len(two.pairs[0].text_a)
        kept = [
            k
            for k, (x, y) in enumerate(encoded.offsets)
            if x >= start and not any(x < start + e and y > start + s for s, e in c.masked)
        ]
        expected.append(np.mean([float(log_p[k - 1, encoded.ids[k]]) for k in kept]))
    assert found.m_a[0] == pytest.approx(np.mean(expected[:2]) - np.mean(expected[2:]), abs=2e-5)
    assert np.abs(found.a[0] - found.m_a).max() > 1e-5


def test_what_cannot_be_asked(case, generic):
    lm, _, outcome = case
    with pytest.raises(InputError, match="generic"):
        ablate(lm, outcome, NAMED, "mean")
    with pytest.raises(InputError, match="Unknown ablation"):
        ablate(lm, outcome, NAMED, "half", generic)
    with pytest.raises(InputError, match="twice"):
        patch(lm, outcome, [NAMED[0], NAMED[0]])
    with pytest.raises(InputError, match="No heads"):
        patch(lm, outcome, [])
