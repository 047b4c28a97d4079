"""Replay: every variant equals the full forward pass with that edit."""

from __future__ import annotations

import pytest
import torch

from emotion_circuits.engine import (
    Point,
    PrefixReplay,
    add,
    count_hooks,
    final_states,
    plan_batches,
    record_tokens,
)
from emotion_circuits.errors import EmotionCircuitsError
from tiny_models import ids_of

LAYERS = range(3)


def deltas_of(lm, n=4):
    """The first is no change at all."""
    drawn = torch.randn(n, lm.d_model, generator=torch.Generator().manual_seed(3))
    drawn[0] = 0
    return drawn


def collected(replay, deltas, read, **options):
    """(variants, read, d), checking that the slices cover every variant once and in order."""
    pieces = list(replay.variants(deltas, read, **options))
    assert [k for chosen, _ in pieces for k in range(len(deltas))[chosen]] == list(range(len(deltas)))
    return torch.cat([states for _, states in pieces])


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("layer", LAYERS)
def test_variants_equal_the_full_forward_pass_with_the_edit(lm, layer, packed):
    for batch in plan_batches(ids_of(lm), packed=packed):
        read = [batch.flat(i, k) for i, own in enumerate(batch.ids) for k in range(len(own))]
        deltas = deltas_of(lm)
        found = collected(PrefixReplay(lm, batch, layer), deltas, read)
        assert found.shape == (len(deltas), len(read), lm.d_model)
        for delta, states in zip(deltas, found, strict=True):
            full = final_states(lm, batch, [add(Point("resid_post", layer), delta)]).reshape(-1, lm.d_model)[read]
            assert float((states - full).abs().max()) <= 1e-5 * float(full.abs().max())
    assert count_hooks(lm) == 0


@pytest.mark.parametrize("layer", LAYERS)
def test_no_change_is_the_clean_run_bit_for_bit(lm, layer):
    """In the same batch shape, that is one variant at a time."""
    [batch] = plan_batches(ids_of(lm), packed=True)
    everywhere = list(range(batch.shape[0] * batch.shape[1]))
    found = collected(PrefixReplay(lm, batch, layer), torch.zeros(2, lm.d_model), everywhere, batch_tokens=1)
    clean = final_states(lm, batch).reshape(-1, lm.d_model)
    real = torch.from_numpy(batch.owner >= 0).reshape(-1)
    assert all(torch.equal(states[real], clean[real]) for states in found)


@pytest.mark.parametrize("batch_tokens", [1, 128, 300, 10_000])
def test_neither_chunks_nor_order_matter(lm, batch_tokens):
    [batch] = plan_batches(ids_of(lm), packed=True)
    deltas, read = deltas_of(lm, 7), batch.last()
    replay = PrefixReplay(lm, batch, 1)
    whole = collected(replay, deltas, read)
    chunked = collected(replay, deltas, read, batch_tokens=batch_tokens)
    torch.testing.assert_close(chunked, whole, rtol=0, atol=1e-5)
    order = [4, 0, 6, 1, 5, 2, 3]
    shuffled = collected(replay, deltas[order], read, batch_tokens=batch_tokens)
    torch.testing.assert_close(shuffled, whole[order], rtol=0, atol=1e-5)
    torch.testing.assert_close(collected(replay, deltas, read[::-1]), whole.flip(1), rtol=0, atol=1e-5)


def test_variants_do_not_spoil_the_recorded_stream(lm):
    """The clean states are used again and again: a first variant must not be in the second."""
    [batch] = plan_batches(ids_of(lm), packed=True)
    replay = PrefixReplay(lm, batch, 0)
    before = replay.states.clone()
    first = collected(replay, deltas_of(lm), batch.last())
    again = collected(replay, deltas_of(lm), batch.last())
    assert torch.equal(first, again) and torch.equal(replay.states, before)


def test_states_recorded_before_are_taken_as_they_are(lm):
    [batch] = plan_batches(ids_of(lm), packed=True)
    point = Point("resid_post", 1)
    states = record_tokens(lm, batch, [point])[point]
    given = collected(PrefixReplay(lm, batch, 1, states), deltas_of(lm), batch.last())
    assert torch.equal(given, collected(PrefixReplay(lm, batch, 1), deltas_of(lm), batch.last()))
    scaled = states * torch.linspace(0, 1, lm.d_model)
    moved = collected(PrefixReplay(lm, batch, 1, scaled), deltas_of(lm), batch.last())
    assert not torch.allclose(moved, given, atol=1e-4)


def test_blocks_before_the_edit_do_not_run_again(lm):
    [batch] = plan_batches(ids_of(lm), packed=True)
    replay = PrefixReplay(lm, batch, 1)
    ran = dict.fromkeys(LAYERS, 0)

    def counter(layer):
        def hook(*_):
            ran[layer] += 1

        return hook

    handles = [lm.mlp(k).register_forward_hook(counter(k)) for k in LAYERS]
    collected(replay, deltas_of(lm), batch.last())
    for handle in handles:
        handle.remove()
    assert ran == {0: 0, 1: 0, 2: 1}


def test_doubles_and_no_variants(lm):
    [batch] = plan_batches(ids_of(lm), packed=True)
    replay = PrefixReplay(lm, batch, 1)
    deltas = deltas_of(lm)
    found = collected(replay, deltas.double(), batch.last())
    assert torch.equal(found, collected(replay, deltas, batch.last()))
    assert list(replay.variants(torch.zeros(0, lm.d_model), batch.last())) == []


def test_variants_that_do_not_fit_are_halved_until_they_do(lm, monkeypatch):
    [batch] = plan_batches(ids_of(lm), packed=True)
    deltas, read = deltas_of(lm, 7), batch.last()
    replay = PrefixReplay(lm, batch, 0)
    whole = collected(replay, deltas, read)
    original, rows = lm.base.forward, []

    def small_device(*args, **kwargs):
        rows.append(len(kwargs["input_ids"]))
        if rows[-1] > 2 * batch.shape[0]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(*args, **kwargs)

    monkeypatch.setattr(lm.base, "forward", small_device)
    torch.testing.assert_close(collected(replay, deltas, read), whole, rtol=0, atol=1e-5)
    assert max(rows) == 7 * batch.shape[0] and count_hooks(lm) == 0

    def never(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(lm.base, "forward", never)
    with pytest.raises(EmotionCircuitsError, match="single variant"):
        collected(replay, deltas, read)
