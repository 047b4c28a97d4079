"""Passes from a pair's first difference on give what passes over whole texts give, in every family and outcome."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from patched_by_hand import Z, patched

from emotion_circuits import prompts
from emotion_circuits.components import (
    Component,
    ContinuationOutcome,
    Outcome,
    ProjectionOutcome,
    WordSetOutcome,
    attribute,
    exact_effects,
)
from emotion_circuits.components._runs import edits_for, observe
from emotion_circuits.engine import Edit, Point, TailBatch, count_hooks, plan_batches, run_from, tails, with_ids
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel

OUTCOMES = ("words", "continuations", "last", "span", "mean")


def outcome_of(case, name: str, lm: LoadedModel) -> Outcome:
    if name == "words":
        return case.outcome
    if name == "continuations":
        given = prompts.bank().continuations()
        own, neutral = ([c for c in given if c.emotion == e][:2] for e in ("anger", "neutral"))
        return ContinuationOutcome(lm, case.pairs, [*own, *neutral])
    v = np.random.default_rng(5).standard_normal(lm.d_model)
    return ProjectionOutcome(lm, case.pairs, v / np.linalg.norm(v), lm.n_layers - 1, name)


def components_of(lm: LoadedModel) -> list[Component]:
    layers = range(lm.n_layers)
    return [
        *(Component("head", layer, h) for layer in layers for h in range(lm.n_heads)),
        *(Component("unit", layer, n) for layer in layers for n in (3, lm.d_mlp - 1)),
    ]


@pytest.fixture
def whole(monkeypatch):
    """Makes both screens run whole texts, as they do where pairs differ from their first token on."""

    def switch():
        monkeypatch.setattr(Outcome, "from_first_difference", lambda _, lm, sides, copies: [sides])

    return switch


@pytest.mark.parametrize("packing", [True, False])
def test_both_screens_equal_passes_over_whole_texts(case, packing, whole):
    as_over_whole_texts(case, "words", packing, whole)


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("name", OUTCOMES[1:])
def test_and_they_do_whatever_is_read(contrast, name, packing, whole):
    """Which tokens an outcome reads does not depend on the family."""
    as_over_whole_texts(contrast.of(2) if name == "continuations" else contrast, name, packing, whole)


def as_over_whole_texts(case, name, packing, whole):
    lm = replace(case.lm, packing=packing and case.lm.packing)
    outcome, named = outcome_of(case, name, lm), components_of(lm)
    exact = exact_effects(lm, outcome, named, batch_tokens=300)
    estimated = attribute(lm, outcome, ("head", "unit"), batch_tokens=300)
    path = attribute(lm, outcome, steps=2)
    whole()
    expected = exact_effects(lm, outcome, named)
    scale = float(np.abs(np.concatenate([expected.m_a, expected.m_b])).max())
    assert exact.effects == pytest.approx(expected.effects, abs=1e-5 * max(scale, 1.0))
    assert exact.m_a == pytest.approx(expected.m_a, abs=1e-5 * max(scale, 1.0))
    assert exact.m_b == pytest.approx(expected.m_b, abs=1e-5 * max(scale, 1.0))
    for kind, found, steps in (("head", estimated, 0), ("unit", estimated, 0), ("head", path, 2)):
        other = attribute(lm, outcome, (kind,), steps=steps).of(kind)
        assert found.of(kind) == pytest.approx(other, abs=2e-4 * float(np.abs(other).max()))
    assert count_hooks(lm) == 0
    assert not any("forward" in vars(lm.mlp(layer)) for layer in range(lm.n_layers))


def test_every_family_takes_the_short_way(case):
    lm, pairs, outcome = case
    for sides in outcome.batches(lm):
        parts = outcome.from_first_difference(lm, sides, copies=4)
        assert all(isinstance(side, TailBatch) for part in parts for side in part)
        assert sorted(t for part in parts for t in part.a.texts) == sorted(sides.a.texts)
        spared = sum(len(ids) for part in parts for ids in part.a.before.ids)
        first = [pairs.pairs[t].ids_a for t in sides.a.texts]
        assert 0 < spared < sum(map(len, first))


def test_a_head_patched_by_hand(case):
    """Of a pair each on its own, with plain hooks and no cache."""
    lm, pairs, outcome = case
    head = Component("head", lm.n_layers - 1, lm.n_heads - 1)
    found = exact_effects(lm, outcome, [head])
    at = slice(head.number * lm.d_head, (head.number + 1) * lm.d_head)
    for i, pair in enumerate(pairs.pairs):
        value = patched(lm, pair, "anger", Z, [(head.layer, at)])
        assert found.effects[i, 0] == pytest.approx(found.m_a[i] - value, abs=5e-5)


def test_own_values_keep_every_bit(case):
    """Beside a clean run through passes of the same shape."""
    lm, _, outcome = case
    for sides in outcome.batches(lm):
        for part in outcome.from_first_difference(lm, sides, copies=2):
            for layer in range(lm.n_layers):
                entering, site = Point("resid_pre", layer), Point("z", layer)
                seen = observe(lm, outcome, part.a, [entering])
                kept: list[torch.Tensor] = []

                def keep(hidden, _, kept=kept):
                    kept.append(hidden.clone())
                    return hidden

                clean = run_from(lm, part.a, layer, seen.values[entering], [Edit(site, keep)], copies=2)
                own = {site: kept[0].reshape(2, *part.a.shape, -1)}
                sets = [[Component("head", layer, 0)], [Component("head", layer, 1)]]
                first, edits = edits_for(lm, sets, own)
                again = run_from(lm, part.a, first, seen.values[entering], edits, copies=2)
                assert torch.equal(outcome.scores(lm, part.a, clean), outcome.scores(lm, part.a, again))


def test_a_last_mlp_at_the_tokens_read_gives_the_same_there(case):
    lm, _, outcome = case
    for sides in outcome.batches(lm):
        entering = Point("resid_pre", lm.n_layers - 1)
        states = observe(lm, outcome, sides.a, [entering]).values[entering]
        read = outcome.reads(sides.a)
        every = run_from(lm, sides.a, entering.layer, states, copies=2)
        some = run_from(lm, sides.a, entering.layer, states, copies=2, tokens=read)
        torch.testing.assert_close(some[:, read], every[:, read], atol=1e-5, rtol=1e-5)
        assert not torch.allclose(some, every), "other tokens' states are of no use"


def test_pairs_that_differ_from_the_first_token_on_run_whole(case):
    lm, pairs, _ = case
    odd = replace(pairs.pairs[0], ids_b=(pairs.pairs[0].ids_b[0] + 1, *pairs.pairs[0].ids_b[1:]))
    outcome = WordSetOutcome(lm, replace(pairs, pairs=(odd, pairs.pairs[1])), prompts.bank().word_sets())
    parts = [p for sides in outcome.batches(lm) for p in outcome.from_first_difference(lm, sides, copies=1)]
    assert any(not isinstance(part.a, TailBatch) for part in parts)
    assert np.isfinite(exact_effects(lm, outcome, [Component("head", 0, 0)]).effects).all()


def test_tails_need_tokens_on_both_sides_and_the_same_beginning(case):
    lm = case.lm
    [batch] = plan_batches([(5, 6, 7, 8)], packed=False)
    for first in (0, 4):
        with pytest.raises(InputError, match="before the edit"):
            tails(lm, batch, [first])
    [tail] = tails(lm, batch, [2])
    assert with_ids(tail, [(5, 6, 9, 9)]).ids == ((9, 9),)
    with pytest.raises(InputError, match="begin otherwise"):
        with_ids(tail, [(4, 6, 9, 9)])
