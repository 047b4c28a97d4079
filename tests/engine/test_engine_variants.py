"""Variants of a run against plain full forward passes and plain generation, in every family."""

from __future__ import annotations

import pytest
import torch

from emotion_circuits.engine import (
    CleanPrefix,
    Edit,
    Point,
    PrefixReplay,
    Push,
    Schedule,
    SuffixReplay,
    added,
    count_hooks,
    edits_of,
    final_states,
    generate,
    generate_variants,
    joined,
    n_variants,
    plan_batches,
    record_tokens,
)
from emotion_circuits.errors import InputError

PROMPTS = ("The parcel arrived on Tuesday, and", "She said that", "We meet at half past nine and then walk to")


def band(lm, n=4, layers=(0, 2), seed=0) -> dict[int, Push]:
    """Adding, ablating, clamping and nothing, at two layers."""
    torch.manual_seed(seed)
    pushes = {}
    for layer in layers:
        units = torch.nn.functional.normalize(torch.randn(n, lm.d_model), dim=-1)
        offset, pull = torch.tensor([3.0, 0.0, 2.0, 0.0]), torch.tensor([0.0, 1.0, 1.0, 0.0])
        pushes[layer] = Push(units, offset, pull)
    return pushes


def one(pushes, k):
    return {layer: push.rows(slice(k, k + 1)) for layer, push in pushes.items()}


def by_full_pass(lm, batch, pushes, k):
    return final_states(lm, batch, edits_of({layer: push.rows(slice(k, k + 1)) for layer, push in pushes.items()}))


def test_a_push_is_the_formula():
    hidden, unit = torch.randn(2, 5, 8), torch.nn.functional.normalize(torch.randn(2, 8), dim=-1)
    everywhere = torch.ones(5, 1, dtype=torch.bool)
    mean = torch.randn(8)
    heights = torch.tensor([0.5, -2.0])
    projection = lambda h: torch.einsum("vtd,vd->vt", h, unit)  # noqa: E731
    clamped = Push.clamp(unit, mean, heights).applied(hidden, everywhere)
    torch.testing.assert_close(projection(clamped), ((unit @ mean) + heights)[:, None].expand(2, 5))
    half = Push.ablate(unit, mean, torch.tensor([1.0, 0.5])).applied(hidden, everywhere)
    expected = projection(hidden) * torch.tensor([[0.0], [0.5]]) + (unit @ mean)[:, None] * torch.tensor([[1.0], [0.5]])
    torch.testing.assert_close(projection(half), expected)
    nothing = Push.add(torch.zeros(2, 8))
    assert torch.equal(nothing.applied(hidden, everywhere), hidden)
    assert nothing.active().tolist() == [False, False] and Push.ablate(unit, mean, heights).active().all()


def test_joined_sets_are_inactive_where_a_set_has_no_layer():
    parts = joined([added(1, torch.ones(2, 4)), added(3, torch.ones(1, 4))])
    assert n_variants(parts) == 3
    assert parts[1].active().tolist() == [True, True, False]
    assert parts[3].active().tolist() == [False, False, True]
    with pytest.raises(InputError, match="same number"):
        n_variants({0: parts[1], 1: parts[3].rows(slice(0, 1))})


@pytest.mark.parametrize("packed", [False, True])
def test_bands_of_any_kind_equal_full_passes(lm, packed):
    if packed and not lm.packing:
        pytest.skip("this family does not take packed rows")
    pushes = band(lm)
    for batch in plan_batches([e.ids for e in lm.encode(PROMPTS)], packed=packed):
        read = batch.last()
        replay = PrefixReplay(lm, batch, 0)
        found = torch.cat([s for _, s in replay.variants(pushes[0], read, 40, later={2: pushes[2]})])
        for k in range(4):
            expected = by_full_pass(lm, batch, pushes, k).reshape(-1, lm.d_model)[read]
            torch.testing.assert_close(found[k], expected, atol=2e-5, rtol=1e-4)
    assert count_hooks(lm) == 0


@pytest.mark.parametrize("back", [1, 2])
def test_a_suffix_after_kept_keys_equals_full_passes(lm, back):
    pushes = band(lm)
    [ids] = [e.ids for e in lm.encode(PROMPTS[2:])]
    [batch] = plan_batches([ids, ids[::-1]], packed=False)
    first = batch.shape[1] - back
    after = torch.arange(batch.shape[1])[:, None] >= first
    states = record_tokens(lm, batch, [Point("resid_post", 0)])[Point("resid_post", 0)]
    replay = SuffixReplay(CleanPrefix(lm, batch, first), 0, states)
    budgets = [1, 10_000]
    for budget in budgets:
        found = torch.cat([s for _, s in replay.variants(pushes[0], batch.last(), budget, later={2: pushes[2]})])
        for k in range(4):
            edits = [Edit(e.point, lambda h, m, e=e: e.apply(h, m & after)) for e in edits_of(one(pushes, k))]
            expected = final_states(lm, batch, edits).reshape(-1, lm.d_model)[batch.last()]
            torch.testing.assert_close(found[k], expected, atol=2e-5, rtol=1e-4)
    assert count_hooks(lm) == 0


def test_a_suffix_needs_tokens_on_both_sides_and_rows_of_one_text(lm):
    [batch] = plan_batches([(5, 6, 7)], packed=False)
    for first in (0, 3):
        with pytest.raises(InputError, match="before the edit"):
            CleanPrefix(lm, batch, first)
    with pytest.raises(InputError, match="rows of one text"):
        CleanPrefix(lm, plan_batches([(5, 6, 7), (4, 5)], packed=True)[0], 1)
    replay = SuffixReplay(CleanPrefix(lm, batch, 2), 0, torch.zeros(1, 3, lm.d_model))
    with pytest.raises(InputError, match="cannot change"):
        next(iter(replay.variants(Push.add(torch.zeros(1, lm.d_model)), [1])))


def test_variants_write_what_each_would_write_alone(lm):
    prompts = lm.encode(PROMPTS)
    pushes = joined([band(lm), added(1, 3 * torch.randn(2, lm.d_model)), added(-1, torch.randn(1, lm.d_model))])
    assert n_variants(pushes) == 7
    alone = [generate(lm, prompts, max_tokens=6, edits=edits_of(one(pushes, k))) for k in range(7)]
    for rows_at_once in (1, 7, 100):
        assert generate_variants(lm, prompts, pushes, max_tokens=6, rows_at_once=rows_at_once) == alone
    assert alone[3] == generate(lm, prompts, max_tokens=6)
    assert count_hooks(lm) == 0


def test_samples_use_the_same_numbers_in_every_variant(lm):
    prompts = lm.encode(PROMPTS)
    pushes = joined([added(1, torch.zeros(2, lm.d_model)), added(2, 3 * torch.randn(1, lm.d_model))])
    options = {"max_tokens": 5, "temperature": 0.9, "top_k": 50, "seeds": [3, 1, 2]}
    found = generate_variants(lm, prompts, pushes, **options)
    assert found[0] == found[1] == generate(lm, prompts, **options)
    assert found[2] == generate(lm, prompts, edits=edits_of(one(pushes, 2)), **options)


def test_a_schedule_says_which_tokens_are_changed(lm):
    assert [Schedule(first=2, every=3).active(step) for step in range(1, 8)] == [
        False, True, False, False, True, False, False,
    ]  # fmt: skip
    prompts = lm.encode(PROMPTS)
    pushes = added(1, 4 * torch.randn(1, lm.d_model))
    clean = generate(lm, prompts, max_tokens=6)
    [never] = generate_variants(lm, prompts, pushes, max_tokens=6, schedule=Schedule(prompt=False, every=0))
    assert never == clean
    [late] = generate_variants(lm, prompts, pushes, max_tokens=6, schedule=Schedule(prompt=False, first=4))
    for text, without in zip(late, clean, strict=True):
        # The fourth token that is fed back is the first whose successor may differ.
        head = lm.tokenizer(without, add_special_tokens=False)["input_ids"][:3]
        assert lm.tokenizer(text, add_special_tokens=False)["input_ids"][:3] == head
    [only_prompt] = generate_variants(lm, prompts, pushes, max_tokens=1, schedule=Schedule(every=0))
    assert only_prompt == generate(lm, prompts, max_tokens=1, edits=edits_of(pushes))


def test_a_variant_that_overflows_is_marked_and_the_others_go_on(lm):
    prompts = lm.encode(PROMPTS)
    pushes = joined([added(1, torch.full((1, lm.d_model), torch.inf)), added(1, torch.zeros(1, lm.d_model))])
    lost, kept = generate_variants(lm, prompts, pushes, max_tokens=3)
    assert lost == [None] * len(prompts)
    assert kept == generate(lm, prompts, max_tokens=3)


def test_no_prompts_and_room(lm):
    assert generate_variants(lm, [], added(0, torch.zeros(2, lm.d_model))) == [[], []]
    with pytest.raises(InputError, match="do not fit"):
        generate_variants(lm, lm.encode(PROMPTS), added(0, torch.zeros(2, lm.d_model)), max_tokens=1000)
