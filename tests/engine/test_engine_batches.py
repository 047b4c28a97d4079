"""How texts are laid out: every text once, nothing overlaps, and no token sees another text."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from emotion_circuits.engine import DEFAULT_BATCH_TOKENS, plan_batches, plan_branches
from emotion_circuits.engine._batches import ROW_TOKENS
from emotion_circuits.engine._branches import LONGEST_ROW
from emotion_circuits.errors import InputError

LENGTHS = st.lists(st.integers(1, 200), max_size=30)
CPU = SimpleNamespace(device=torch.device("cpu"), dtype=torch.float32, windows={"full_attention": None})


def texts_of(lengths):
    """Tokens are unique over all texts and never 0, so a token says where it comes from."""
    ends = np.cumsum([0, *lengths])
    return [tuple(range(1000 + ends[k], 1000 + ends[k + 1])) for k in range(len(lengths))]


@settings(deadline=None)
@given(LENGTHS, st.booleans(), st.sampled_from([1, 64, 300, DEFAULT_BATCH_TOKENS]))
@example([128, 128], True, DEFAULT_BATCH_TOKENS)
def test_every_text_has_one_place_of_its_own(lengths, packed, batch_tokens):
    ids = texts_of(lengths)
    batches = plan_batches(ids, packed=packed, batch_tokens=batch_tokens)
    assert sorted(text for batch in batches for text in batch.texts) == list(range(len(ids)))
    for batch in batches:
        rows, tokens = batch.shape
        assert rows * tokens <= batch_tokens or rows == 1
        assert tokens <= max(ROW_TOKENS if packed else 1, *map(len, ids))
        grid, owner, places = batch.input_ids(), batch.owner, batch.position_ids
        assert grid.shape == owner.shape == places.shape == batch.shape
        assert sum(len(own) for own in batch.ids) == (owner >= 0).sum() == (grid > 0).sum()  # no overlap
        for i, text in enumerate(batch.texts):
            assert batch.ids[i] == ids[text]
            assert tuple(grid[owner == i]) == ids[text]
            assert list(places[owner == i]) == list(range(len(ids[text])))  # positions start again
            assert [grid.reshape(-1)[batch.flat(i, k)] for k in range(len(ids[text]))] == list(ids[text])
        assert [grid.reshape(-1)[k] for k in batch.last()] == [own[-1] for own in batch.ids]
        if not packed:
            assert (owner >= 0).all() and len(batch.texts) == rows


def allowed_by(batch):
    """(rows, tokens, tokens): whether a token may look at another, from what the model is given."""
    given_inputs = batch.inputs(CPU)
    tokens = batch.shape[1]
    if batch.unmasked:
        assert set(given_inputs) == {"input_ids"}
        return np.broadcast_to(np.tri(tokens, dtype=bool), (batch.shape[0], tokens, tokens))
    mask = given_inputs["attention_mask"]
    assert mask.shape == (batch.shape[0], 1, tokens, tokens)
    assert ((mask == 0) | (mask == torch.finfo(torch.float32).min)).all()
    assert torch.equal(given_inputs["position_ids"], torch.from_numpy(batch.position_ids))
    return (mask[:, 0] == 0).numpy()


@settings(deadline=None, max_examples=30)
@given(LENGTHS, st.booleans())
def test_a_token_sees_its_own_text_up_to_itself_and_nothing_else(lengths, packed):
    for batch in plan_batches(texts_of(lengths), packed=packed):
        allowed = allowed_by(batch)
        grid, owner = batch.input_ids(), batch.owner
        for row in range(batch.shape[0]):
            real = owner[row] >= 0
            seen = allowed[row][real]
            assert not seen[:, ~real].any()  # filling is seen by no text
            same = owner[row][real][:, None] == owner[row][real][None, :]
            before = grid[row][real][:, None] >= grid[row][real][None, :]  # tokens count upwards inside a text
            assert (seen[:, real] == (same & before)).all()
            assert allowed[row].any(axis=1).all()  # no softmax over nothing, filling included


@settings(deadline=None)
@given(LENGTHS.filter(lambda lengths: len(lengths) > 1), st.booleans())
def test_halves_keep_every_text(lengths, packed):
    ids = texts_of(lengths)
    for batch in plan_batches(ids, packed=packed):
        if len(batch.texts) == 1:
            continue
        first, second = batch.halves()
        assert sorted(first.texts + second.texts) == sorted(batch.texts)
        assert abs(len(first.texts) - len(second.texts)) <= 1
        for half in (first, second):
            assert [ids[text] for text in half.texts] == list(half.ids)
            assert max(map(len, half.ids)) <= half.shape[1] <= max(ROW_TOKENS, batch.shape[1])
            assert (half.owner >= 0).sum() == sum(map(len, half.ids))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=12), st.booleans())
@example([15002, 9002, 5702], True)
def test_what_a_pass_is_given_grows_with_its_tokens_not_with_their_square(lengths, packed):
    ids = [(1,) * n for n in lengths]
    model = SimpleNamespace(
        **vars(CPU), packing=packed, d_model=32, family=SimpleNamespace(attention_implementation="sdpa")
    )
    branched = plan_branches(model, ids, [k // 3 for k in range(len(ids))], lengths)
    for batch in (*plan_batches(ids, packed=packed), *branched):
        rows, tokens = batch.shape
        assert rows * tokens <= DEFAULT_BATCH_TOKENS or len(batch.texts) == 1
        assert sum(map(len, batch.ids)) >= 0.875 * rows * tokens or tokens <= LONGEST_ROW
        elements = sum(value.numel() for value in batch.inputs(CPU).values())
        assert elements <= rows * tokens * (LONGEST_ROW + 2)


def test_packing_wastes_little_and_fills_long_rows_first():
    ids = texts_of([12, 7, 30, 3, 9, 21, 5, 16] * 20)
    packed = plan_batches(ids, packed=True)
    assert sum(b.shape[0] * b.shape[1] for b in packed) < 1.05 * sum(map(len, ids))


def test_only_position_0_and_filling_are_out_of_reach_of_edits():
    [batch] = plan_batches(texts_of([5, 3, 1]), packed=True)
    editable = batch.editable(torch.device("cpu"))
    assert editable.shape == (*batch.shape, 1)
    assert editable.reshape(-1).tolist() == [False, True, True, True, True, False, True, True, False]
    [rows] = plan_batches(texts_of([4, 4]), packed=False)
    assert rows.editable(torch.device("cpu"))[..., 0].tolist() == [[False, True, True, True]] * 2


def test_copies_repeat_whole_batches_along_the_rows():
    for lengths in ([4, 4], [150, 4, 3]):
        [batch, *_] = plan_batches(texts_of(lengths), packed=len(lengths) > 2)
        once, thrice = batch.inputs(CPU), batch.inputs(CPU, copies=3)
        for name, value in once.items():
            assert torch.equal(thrice[name], torch.cat([value] * 3))


@pytest.mark.parametrize("packed", [True, False])
def test_a_text_without_tokens_cannot_be_laid_out(packed):
    with pytest.raises(InputError, match="no tokens"):
        plan_batches([(1, 2), ()], packed=packed)
