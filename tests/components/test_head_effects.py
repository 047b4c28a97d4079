"""Effects of heads and units against plain torch, one component and one text at a time, in every family."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from patched_by_hand import ACT, Z, attributed, log_odds, patched, post_norm, projections, run

from emotion_circuits import prompts
from emotion_circuits.components import (
    Component,
    ProjectionOutcome,
    WordSetOutcome,
    attribute,
    exact_effects,
    matched_pairs,
)
from emotion_circuits.engine import Point, count_hooks, gradients, plan_batches, record_tokens
from emotion_circuits.errors import InputError
from tiny_models import WINDOW


def all_heads(lm):
    return [Component("head", layer, h) for layer in range(lm.n_layers) for h in range(lm.n_heads)]


def part(lm, component):
    size = lm.d_head if component.kind == "head" else 1
    return slice(component.number * size, (component.number + 1) * size)


def test_pairs_stand_token_beside_token(case):
    lm, pairs, _ = case
    for pair in pairs.pairs:
        assert len(pair.ids_a) == len(pair.ids_b) > WINDOW
        assert pair.ids_a[0] == pair.ids_b[0] and pair.ids_a != pair.ids_b
        assert pair.text_a.endswith(pairs.bridge.text)
        said = lm.tokenizer.decode([pair.ids_a[k] for k in pair.span]).strip()
        [text] = [t for t in prompts.bank().profile("baseline") if t.text + pairs.bridge.text == pair.text_a]
        assert text.marked_word in said
    assert len(pairs) < pairs.n_scenarios


def test_clean_outcomes_are_the_model_s_own(case):
    lm, pairs, outcome = case
    found = exact_effects(lm, outcome, all_heads(lm)[:1])
    for i, pair in enumerate(pairs.pairs):
        with torch.no_grad():
            expected = [float(log_odds(lm, run(lm, ids)[0], "anger")) for ids in (pair.ids_a, pair.ids_b)]
        assert (found.m_a[i], found.m_b[i]) == pytest.approx(expected, abs=2e-5)


def test_every_head_s_exact_effect(case):
    lm, pairs, outcome = case
    heads = all_heads(lm)
    done = []
    found = exact_effects(lm, outcome, heads, batch_tokens=200, on_patched=done.append)
    assert sum(done) == len(heads) * len(outcome.batches(lm, 200))
    for i, pair in enumerate(pairs.pairs[:2]):
        for k, head in enumerate(heads):
            value = patched(lm, pair, "anger", Z, [(head.layer, part(lm, head))])
            assert found.effects[i, k] == pytest.approx(found.m_a[i] - value, abs=5e-5), (head, i)
    assert len(np.unique(np.abs(found.effects[0]).round(7))) == len(heads), "every head has an effect of its own"
    assert count_hooks(lm) == 0


def test_units_exact_effects(case):
    lm, pairs, outcome = case
    units = [Component("unit", layer, n) for layer in range(lm.n_layers) for n in (0, 17, lm.d_mlp - 1)]
    found = exact_effects(lm, outcome, units)
    for k, unit in enumerate(units):
        value = patched(lm, pairs.pairs[0], "anger", ACT, [(unit.layer, part(lm, unit))])
        assert found.effects[0, k] == pytest.approx(found.m_a[0] - value, abs=5e-5), unit
    assert np.abs(found.effects[0]).max() > 1e-4


@pytest.mark.parametrize("steps", [0, 3])
def test_attribution_is_what_autograd_gives_text_by_text(case, steps):
    lm, pairs, outcome = case
    found = attribute(lm, outcome, ("head", "unit"), steps=steps)
    points = [(j + 0.5) / steps for j in range(steps)] or [1.0]
    for i, pair in enumerate(pairs.pairs[:2]):
        by_z, by_unit = (attributed(lm, pair, "anger", where, points) for where in (Z, ACT))
        heads = torch.stack([x.reshape(lm.n_heads, lm.d_head).sum(1) for x in by_z]).numpy()
        scale = float(np.abs(heads).max())
        assert found.heads[i] == pytest.approx(heads, abs=2e-4 * scale)
        units = torch.stack(by_unit).numpy()
        assert found.units[i] == pytest.approx(units, abs=2e-4 * float(np.abs(units).max()))
    assert count_hooks(lm) == 0
    assert len(np.unique(np.abs(found.heads[0]).round(9))) == found.heads[0].size


def test_attribution_is_the_slope_of_small_patches(case):
    """In float64: move a head a hundredth of the way to the paired prompt's z, and compare the change."""
    lm = replace(case.lm, hf=copy.deepcopy(case.lm.hf).double(), dtype=torch.float64)
    pair, step = case.pairs.pairs[0], 1e-2
    pairs = replace(case.pairs, pairs=(pair, pair))
    found = attribute(lm, WordSetOutcome(lm, pairs, prompts.bank().word_sets()))
    modules = projections(lm, Z)
    with torch.no_grad():
        _, b = run(lm, pair.ids_b)
        for head in all_heads(lm)[1::3]:
            module, at = modules[head.layer], part(lm, head)
            values = []
            for sign in (1, -1):

                def move(value, sign=sign, module=module, at=at):
                    value = value.clone()
                    value[:, 1:, at] += sign * step * (value - b[module])[:, 1:, at]
                    return value

                values.append(float(log_odds(lm, run(lm, pair.ids_a, {module: move})[0], "anger")))
            slope = (values[0] - values[1]) / (2 * step)
            # GPT-Neo's scores and RMS norms are computed in float32 whatever the weights are.
            assert found.heads[0][head.layer, head.number] == pytest.approx(slope, rel=2e-3, abs=2e-4), head


def test_attribution_is_exact_where_the_outcome_is_linear(case):
    """The stream between attention and MLP of a layer, or behind a parallel block, is linear in that layer's z."""
    lm, pairs, _ = case
    layer = lm.n_layers - 1
    if post_norm(lm, Z, layer):
        pytest.skip("a norm stands between the heads and the stream")
    v = np.random.default_rng(3).standard_normal(lm.d_model)
    site = "resid_post" if lm.parallel else "resid_mid"
    outcome = ProjectionOutcome(lm, pairs, v / np.linalg.norm(v), layer, "mean", site)
    heads = [h for h in all_heads(lm) if h.layer == layer]
    exact = exact_effects(lm, outcome, heads)
    estimated = attribute(lm, outcome)
    assert exact.effects == pytest.approx(estimated.heads[:, layer], abs=1e-5)
    assert np.abs(exact.effects).min() > 1e-6
    assert (exact.m_a, exact.m_b) == (pytest.approx(estimated.m_a), pytest.approx(estimated.m_b))


def test_layers_behind_a_projection_have_no_effect(case):
    lm, pairs, _ = case
    outcome = ProjectionOutcome(lm, pairs, np.eye(lm.d_model)[3], 0, "mean")  # the last token's window may be short
    estimated, exact = attribute(lm, outcome), exact_effects(lm, outcome, all_heads(lm))
    assert not estimated.heads[:, 1:].any() and estimated.heads[:, 0].any()
    assert not exact.effects[:, lm.n_heads :].any() and exact.effects[:, : lm.n_heads].any()
    batch = plan_batches([pairs.pairs[1].ids_a], packed=False)[0]
    seen = record_tokens(lm, batch, [Point("resid_post", 0)])[Point("resid_post", 0)]
    assert exact.m_a[1] == pytest.approx(float(seen[0, 1:, 3].mean()), abs=1e-5)


def test_effects_over_the_embeddings_path_sum_to_the_difference(case):
    """Completeness of integrated gradients, at the embeddings themselves."""
    lm, pairs, outcome = case
    [pair, *_] = pairs.pairs
    [a], [b] = (plan_batches([ids], packed=False) for ids in (pair.ids_a, pair.ids_b))
    point = Point("embed", 0)
    e_a, e_b = (record_tokens(lm, batch, [point])[point] for batch in (a, b))
    total, steps = 0.0, 64
    for j in range(steps):
        at = e_b + (j + 0.5) / steps * (e_a - e_b)
        found = gradients(
            lm, a, [point], lambda s: outcome.score(lm, a, s.reshape(1, -1, lm.d_model)).sum(), embedded=at
        )
        total += float(((e_a - e_b) * found.gradients[point]).sum()) / steps
    clean = exact_effects(lm, outcome, all_heads(lm)[:1])
    assert total == pytest.approx(clean.m_a[0] - clean.m_b[0], rel=0.03, abs=3e-3)


def test_the_layout_of_batches_does_not_matter(case):
    lm, _, outcome = case
    heads = all_heads(lm)[::2]
    first, second = (replace(lm, packing=packing) for packing in (False, True))
    assert exact_effects(first, outcome, heads).effects == pytest.approx(
        exact_effects(second, outcome, heads, batch_tokens=64).effects, abs=5e-5
    )
    a, b = attribute(first, outcome), attribute(second, outcome, batch_tokens=64)
    assert a.heads == pytest.approx(b.heads, abs=1e-4 * float(np.abs(a.heads).max()))


def test_too_few_pairs_are_refused(case):
    data = prompts.bank().profile("baseline")
    alone = prompts.Dataset("one", tuple(t for t in data if t.scenario == "1"))
    with pytest.raises(InputError, match="Too few scenarios"):
        matched_pairs(case.lm, alone, "anger")
