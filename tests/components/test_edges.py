"""Edges of a circuit: they add up, they are slopes, and they are exact where nothing is curved; in every family."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from patched_by_hand import ACT, Z, attributed, block, embed, log_odds, post_norm, projections, run, written

from emotion_circuits import prompts
from emotion_circuits.components import (
    EMBED,
    OUTPUT,
    Component,
    ContinuationOutcome,
    Edges,
    ProjectionOutcome,
    WordSetOutcome,
    attribute,
    edges,
    exact_effects,
    node_name,
)
from emotion_circuits.engine import Point, count_hooks, forward, hooks, plan_batches
from emotion_circuits.errors import InputError


def everything(lm):
    return [
        Component(kind, layer, i)
        for layer in range(lm.n_layers)
        for kind, n in (("head", lm.n_heads), ("unit", lm.d_mlp))
        for i in range(n)
    ]


def some(lm):
    """A head and a unit of every layer."""
    return [
        c for layer in range(lm.n_layers) for c in (Component("head", layer, 1), Component("unit", layer, 7 + layer))
    ]


def into(found, target):
    """(pairs, sources) effects that end in a target, and the sources."""
    at = [i for i, pair in enumerate(found.pairs_of_nodes) if pair[1] == target]
    return found.effects[:, at], [found.pairs_of_nodes[i][0] for i in at]


def precise(lm):
    return replace(lm, hf=copy.deepcopy(lm.hf).double(), dtype=torch.float64)


@pytest.mark.parametrize("steps", [0, 2])
def test_all_that_writes_into_the_stream_adds_up(case, steps):
    lm, _, outcome = case
    targets = some(lm)
    found = edges(lm, outcome, everything(lm), targets, steps=steps)
    own = attribute(lm, outcome, ("head", "unit"), steps=steps)
    assert found.targets == (*targets, OUTPUT)
    for place, target in enumerate(found.targets):
        effects, sources = into(found, target)
        scale = float(np.abs(effects).max())
        assert effects.sum(axis=1) == pytest.approx(found.arriving[:, place], abs=2e-4 * scale), target
        assert sources[0] == EMBED and scale > 0
        if target == OUTPUT:
            assert len(sources) == 1 + len(everything(lm))
            assert found.own[:, place] == pytest.approx(own.m_a - own.m_b, abs=1e-5)
        else:
            heads = target.layer * lm.n_heads
            heads += lm.n_heads if target.kind == "unit" and not lm.parallel else 0
            assert len(sources) == 1 + heads + target.layer * lm.d_mlp
            expected = own.of(target.kind)[:, target.layer, target.number]
            assert found.own[:, place] == pytest.approx(expected, abs=1e-4 * float(np.abs(expected).max()))
    assert count_hooks(lm) == 0


def test_over_the_path_edges_add_up_to_what_the_target_carries(case):
    """Completeness of integrated gradients: what arrives is the target's own attribution, of the output the gap."""
    lm, _, outcome = case.of(2)
    found = edges(lm, outcome, [], some(lm), steps=24)
    scale = np.abs(found.own).max(axis=0)
    assert (scale > 0).all()
    for place, target in enumerate(found.targets):
        assert found.arriving[:, place] == pytest.approx(found.own[:, place], abs=0.03 * scale[place]), target


def test_what_only_the_output_reads_has_its_whole_effect_there(case):
    """Between the last units and the output there is nothing; and the last heads, where blocks are parallel."""
    lm, pairs, outcome = case
    last = lm.n_layers - 1
    kinds = ("head", "unit") if lm.parallel else ("unit",)
    members = [Component(kind, last, i) for kind in kinds for i in range(4)]
    found, own = edges(lm, outcome, members, steps=0), attribute(lm, outcome, ("head", "unit"))
    effects, sources = into(found, OUTPUT)
    assert sources[1:] == members
    written = written_by_hand(lm, pairs, members)
    gradients = [gradient_of_the_last_stream(lm, pair) for pair in pairs.pairs]
    for i, member in enumerate(members):
        expected = [float((one[i] * gradient).sum()) for one, gradient in zip(written, gradients, strict=True)]
        assert effects[:, 1 + i] == pytest.approx(expected, abs=1e-4 * float(np.abs(expected).max())), member
        if post_norm(lm, ACT, last) is None:  # else the norm is between, whose scale changes too
            expected = own.of(member.kind)[:, last, member.number]
            assert effects[:, 1 + i] == pytest.approx(expected, abs=1e-4 * float(np.abs(expected).max())), member


def written_by_hand(lm, pairs, members):
    """For each pair, what each member writes more in the first prompt, (tokens, d); position 0 as 0."""
    found = []
    for pair in pairs.pairs:
        with torch.no_grad():
            a, b = run(lm, pair.ids_a)[1], run(lm, pair.ids_b)[1]
        own = []
        for member in members:
            module, part = _module(lm, member)
            where = Z if member.kind == "head" else ACT
            more, less = (written(lm, where, member.layer, seen[module], part)[0] for seen in (a, b))
            difference = (more - less).detach()
            difference[0] = 0
            own.append(difference)
        found.append(own)
    return found


def gradient_of_the_last_stream(lm, pair):
    """(tokens, d) of the log-odds at the first prompt, by autograd."""
    kept = []
    handle = block(lm, lm.n_layers - 1).register_forward_hook(lambda m, i, out: kept.append(out))
    with torch.enable_grad():
        logits, _ = run(lm, pair.ids_a, embeddings=embed(lm, pair.ids_a).requires_grad_(True))
        stream = kept[0] if isinstance(kept[0], torch.Tensor) else kept[0][0]
        handle.remove()
        return torch.autograd.grad(log_odds(lm, logits, "anger"), stream)[0][0]


def test_edges_are_slopes_of_the_target_s_attribution(case):
    """In float64 and plain torch: what the source itself writes is put into the stream, a thousandth of it."""
    lm, pair, step = precise(case.lm), case.pairs.pairs[0], 1e-3
    pairs = replace(case.pairs, pairs=(pair, pair))
    found = edges(lm, WordSetOutcome(lm, pairs, prompts.bank().word_sets()), some(lm), steps=0)
    with torch.enable_grad():
        start = lm.embedding(torch.tensor([pair.ids_a])).detach().requires_grad_(True)
        logits, seen = run(lm, pair.ids_a, embeddings=start)
        log_odds(lm, logits, "anger").backward()
    [batch] = plan_batches([pair.ids_a], packed=False)
    checked = 0
    for (source, target), effects in zip(found.pairs_of_nodes, found.effects.T, strict=True):
        if source == EMBED or target == OUTPUT:
            continue
        [[own]] = written_by_hand(lm, replace(pairs, pairs=(pair,)), [source])
        reader, read = _module(lm, target)
        mid = target.kind == "unit" and not lm.parallel
        stream = Point("resid_mid" if mid else "resid_pre", target.layer)
        at = Point("mlp_act" if target.kind == "unit" else "z", target.layer)
        values = []
        for sign in (1, -1):
            kept = []
            touches = {stream: lambda h, s=sign, w=own: h + s * step * w, at: kept.append}
            with torch.no_grad(), hooks(lm, touches):
                forward(lm, **batch.inputs(lm))
            values.append(float((kept[0] * seen[reader].grad)[:, 1:, read].sum()))
        slope = (values[0] - values[1]) / (2 * step)
        # GPT-Neo's scores and Llama's norms are computed in float32 whatever the weights are.
        assert effects[0] == pytest.approx(slope, rel=3e-3, abs=2e-5 + 1e-3 * np.abs(found.own).max()), (source, target)
        checked += abs(slope) > 1e-6
    assert checked >= 6


def _module(lm, component):
    size = lm.d_head if component.kind == "head" else 1
    module = projections(lm, Z if component.kind == "head" else ACT)[component.layer]
    return module, slice(component.number * size, (component.number + 1) * size)


def test_a_linear_outcome_has_exact_edges(case):
    """A projection is linear in the stream: the edges into it sum to it, and a last head's is its patched effect."""
    lm, pairs, _ = case
    v = np.random.default_rng(3).standard_normal(lm.d_model)
    site = "resid_post" if lm.parallel else "resid_mid"
    outcome = ProjectionOutcome(lm, pairs, v / np.linalg.norm(v), 1, "mean", site)
    found = edges(lm, outcome, everything(lm), ())
    effects, sources = into(found, OUTPUT)
    assert found.own[:, 0] == pytest.approx(found.arriving[:, 0], abs=1e-5)
    assert effects.sum(axis=1) == pytest.approx(found.own[:, 0], abs=1e-5)
    heads = [Component("head", 1, h) for h in range(lm.n_heads)]
    if post_norm(lm, Z, 1) is None:
        expected = exact_effects(lm, outcome, heads).effects
    else:  # patching one head changes the scale of the norm for all
        own = written_by_hand(lm, pairs, heads)
        expected = [
            [(one[1:] @ torch.from_numpy(v / np.linalg.norm(v)).float()).mean() for one in each] for each in own
        ]
    assert effects[:, [sources.index(h) for h in heads]] == pytest.approx(np.array(expected), abs=1e-5)
    assert all(s == EMBED or s.layer <= 1 for s in sources)
    assert (Component("unit", 1, 0) in sources) == lm.parallel
    with pytest.raises(InputError, match="depends on none"):
        edges(lm, outcome, [Component("head", 2, 0)])


def test_several_texts_for_each_pair(case):
    """Weights of the texts are in the effects once, and the layout of batches does not matter."""
    lm, pairs, _ = case.of(2)
    known = prompts.bank().continuations()
    own, neutral = ([c for c in known if c.emotion == e][:n] for e, n in (("anger", 3), ("neutral", 2)))
    outcome = ContinuationOutcome(lm, pairs, [*own, *neutral])
    found = edges(lm, outcome, some(lm), steps=0)
    own = attribute(lm, outcome, ("head", "unit"))
    for place, target in enumerate(found.targets[:-1]):
        expected = own.of(target.kind)[:, target.layer, target.number]
        assert found.own[:, place] == pytest.approx(expected, abs=1e-4 * float(np.abs(expected).max()))
    assert found.own[:, -1] == pytest.approx(own.m_a - own.m_b, abs=1e-5)
    other = edges(replace(lm, packing=not lm.packing), outcome, some(lm), steps=0, batch_tokens=64)
    assert other.effects == pytest.approx(found.effects, abs=2e-4 * float(np.abs(found.effects).max()))


def test_what_cannot_be_joined_is_refused(case):
    lm, _, outcome = case
    for wrong, said in (([Component("head", 9, 0)], "no head"), ([Component("head", 0, 0)] * 2, "twice")):
        with pytest.raises(InputError, match=said):
            edges(lm, outcome, wrong)


def made_up(effects, own=None):
    effects = np.asarray(effects, dtype=float)
    names = [(EMBED, OUTPUT), *((Component("head", 0, i), OUTPUT) for i in range(effects.shape[1] - 1))]
    own = effects.sum(axis=1, keepdims=True) if own is None else own
    return Edges("m", "anger", "o", tuple(names), effects, (OUTPUT,), own, effects.sum(axis=1, keepdims=True) + 0.5)


def test_rows_hold_interval_p_and_share():
    rng = np.random.default_rng(0)
    effects = np.c_[np.full(12, 0.2), rng.normal(size=12) * 0.01, np.linspace(0.05, 0.15, 12)]
    rows = made_up(effects).rows()
    assert [r.source for r in rows] == [EMBED, "head 0:1", "head 0:0"] and {r.n for r in rows} == {12}
    by = {r.source: r for r in rows}
    assert by["head 0:1"].effect == pytest.approx(0.1) and by["head 0:1"].ci_low < 0.1 < by["head 0:1"].ci_high
    assert by[EMBED].p == pytest.approx(2 / 2**12) and by["head 0:0"].p > 0.05
    assert sum(r.share for r in rows) == pytest.approx(1)
    [target] = made_up(effects).target_rows()
    assert target.node == OUTPUT and target.others == pytest.approx(0.5) and target.n == 12
    # A share of what is not clearly there means nothing.
    unclear = made_up(effects, np.r_[np.ones(6), -np.ones(6)][:, None]).rows()
    assert all(np.isnan(r.share) for r in unclear)
    assert node_name(Component("unit", 3, 17)) == "unit 3:17"


def test_noise_gives_edges_at_the_promised_rate():
    rng = np.random.default_rng(1)
    hits = [min(r.p for r in made_up(rng.normal(size=(8, 30))).rows(n_bootstrap=10)) <= 0.05 for _ in range(100)]
    assert np.mean(hits) <= 0.12


def test_the_target_s_own_attribution_is_what_plain_torch_gives(case):
    """`own` is of the emotion's prompt, as plain torch gives it."""
    lm, pairs, outcome = case
    found = edges(lm, outcome, some(lm), steps=0)
    layers = attributed(lm, pairs.pairs[0], "anger", ACT, [1.0])
    for place, target in enumerate(found.targets[:-1]):
        if target.kind == "unit":
            expected = float(layers[target.layer][target.number])
            assert found.own[0, place] == pytest.approx(expected, abs=2e-4 * float(layers[target.layer].abs().max()))
