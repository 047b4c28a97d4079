"""What heads and units write, where heads look, and the table of a screen."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from patched_by_hand import ACT, Z, gain, projections, run, written
from test_ablation import slices

from emotion_circuits.components import Component, attention_to_span, direct_effects, screen
from emotion_circuits.engine import count_hooks
from emotion_circuits.errors import InputError


@pytest.mark.parametrize("where", ["last", "span", "mean"])
def test_what_components_write_along_a_direction(case, where):
    lm, pairs, outcome = case
    v = torch.from_numpy(np.random.default_rng(5).standard_normal(lm.d_model)).float()
    pair = pairs.pairs[1]
    tokens = {"last": [-1], "span": list(pair.span), "mean": list(range(1, len(pair.ids_a)))}[where]
    for kind, paths in (("head", Z), ("unit", ACT)):
        found = direct_effects(lm, outcome, kind, v.double().numpy(), where)
        for side, values in (("ids_a", found.a), ("ids_b", found.b)):
            with torch.no_grad():
                seen = run(lm, getattr(pair, side))[1]
                for layer, module in enumerate(projections(lm, paths)):
                    full = seen[module][0, tokens]
                    for number in (0, 3):
                        [(_, part)] = slices(lm, [Component(kind, layer, number)])
                        along = float((written(lm, paths, layer, full, part) @ v).mean())
                        assert values[1, layer, number] == pytest.approx(along, abs=2e-5)
    with pytest.raises(InputError, match="width"):
        direct_effects(lm, outcome, "head", np.ones(3), "last")


def test_attention_to_the_word_weighted_by_what_is_moved(case):
    """Against transformers' own weights, and values solved from z = A v."""
    lm, pairs, outcome = case
    before = lm.config._attn_implementation
    found = attention_to_span(lm, outcome)
    assert lm.config._attn_implementation == before and count_hooks(lm) == 0
    pair = pairs.pairs[0]
    # Where a token hardly looks at itself, solving for its value asks for all the digits of float64.
    lm = replace(lm, hf=copy.deepcopy(lm.hf).double(), dtype=torch.float64)
    lm.hf.set_attn_implementation("eager")
    neo_values: list[torch.Tensor] = []
    if lm.family.name == "gpt_neo":
        for block in lm.hf.transformer.h:
            block.attn.attention.v_proj.register_forward_hook(lambda m, i, out: neo_values.append(out[0]))
    with torch.no_grad():
        weights = lm.hf(torch.tensor([pair.ids_a]), output_attentions=True, use_cache=False).attentions
        seen = run(lm, pair.ids_a)[1]
        for layer, module in enumerate(projections(lm, Z)):
            for head in range(lm.n_heads):
                [(_, part)] = slices(lm, [Component("head", layer, head)])
                a = weights[layer][0, head]
                if neo_values:  # its scores are not scaled, so its weights are too uneven to solve for values
                    values = neo_values[layer][:, part]
                else:
                    values = torch.linalg.solve_triangular(a, seen[module][0, :, part], upper=False)
                alone = torch.zeros(len(values), lm.n_heads * lm.d_head, dtype=torch.float64)
                alone[:, part] = values
                own = module(alone) - module(torch.zeros_like(alone))
                moved = a[-1] * (own * gain(lm, Z, layer)).norm(dim=1)
                expected = float(moved[list(pair.span)].sum() / moved.sum())
                assert found.a[0, layer, head] == pytest.approx(expected, abs=2e-3), (layer, head)
    assert found.a.min() >= 0 and found.a.max() <= 1


def test_a_screen_s_table(case):
    lm, pairs, outcome = case
    result = screen(lm, outcome, exact=2, steps=2, unit=np.eye(lm.d_model)[0])
    table = result.table(n_draws=99)
    assert list(table.columns[:4]) == ["layer", "head", "emotion", "score"] and "p" in table
    assert len(table) == lm.n_layers * lm.n_heads
    assert table[["score", "ci_low", "ci_high", "p", "p_single", "q", "direct", "attention"]].notna().all(axis=None)
    assert (table["p"] >= table["p_single"] - 1e-12).all() and table["p"].between(0, 1).all()
    assert set(table[table["layer"] < 2].index) <= set(table[table["exact"].notna()].index)
    assert result.path is not None and table["score"].to_numpy() == pytest.approx(result.path.mean(axis=0).ravel())
    agreement = result.agreement(n_draws=99)
    assert agreement.n == int(table["exact"].notna().sum()) and agreement.n_pairs == len(pairs)
    assert -1 <= agreement.ci_low <= agreement.ci_high <= 1 and -1 <= agreement.spearman <= 1
    assert set(result.rankings()) == {"attribution", "path attribution", "direct effect", "attention", "exact"}


def test_a_screen_of_units_and_what_it_leaves_out(case):
    lm, _, outcome = case
    found = screen(lm, outcome, "unit", exact=3)
    table = found.table(n_draws=19)
    assert len(table) == lm.n_layers * lm.d_mlp and table["exact"].notna().sum() == 3
    assert "unit" in table and "attention" not in table and table["direct"].isna().all()
    assert screen(lm, outcome, "unit", exact=0).exact is None
    with pytest.raises(InputError, match="cannot be measured"):
        screen(lm, outcome, exact=-1)


def test_scores_change_their_sign_when_prompts_are_exchanged(case):
    """Or sign flips would be no test of them. With the gradient at one prompt alone they do not."""
    lm, _, outcome = case
    for steps in (0, 1):
        there, back = (screen(lm, one, exact=0, steps=steps, attention=False) for one in (outcome, outcome.exchanged()))
        scale = np.abs(there.estimate).max()
        np.testing.assert_allclose(there.estimate, -back.estimate, atol=1e-5 * scale)
        np.testing.assert_allclose(there.m_a, back.m_b, atol=5e-5)
    assert np.abs(there.attribution + back.attribution).max() > 1e-3 * scale
