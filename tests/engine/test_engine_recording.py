"""Recording: the same values however texts are batched, means over tokens, memory that runs out, blocks not run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emotion_circuits.engine import (
    Point,
    Recording,
    count_hooks,
    for_each_batch,
    forward,
    hooks,
    matmul_precision,
    only_blocks,
    plan_batches,
    record,
    record_tokens,
)
from emotion_circuits.errors import EmotionCircuitsError, InputError, MeasurementError
from tiny_models import ids_of

LAYERS = 3
POINTS = [Point("embed", 0), *(Point(s, k) for k in range(LAYERS) for s in ("z", "mlp_act", "attn_out", "resid_post"))]


def every_token(ids):
    return {str(k): [[k] if k < len(own) else [] for own in ids] for k in range(max(map(len, ids)))}


def assert_close(a: Recording, b: Recording, tolerance: float = 1e-5):
    assert a.positions == b.positions and set(a.values) == set(b.values)
    for point, values in a.values.items():
        other = b.values[point]
        assert torch.equal(values.isnan(), other.isnan())
        difference = (values.nan_to_num() - other.nan_to_num()).abs().max()
        assert float(difference) <= tolerance * float(other.nan_to_num().abs().max()), point


def test_what_is_gathered_is_bit_for_bit_what_the_batch_held(lm):
    """The same batch, so the same bits: gathering, ordering and copying must not touch a number."""
    ids = ids_of(lm) * 3
    for packed in (True, False):
        found = record(lm, ids, every_token(ids), POINTS, packed=packed)
        for batch in plan_batches(ids, packed=packed):
            whole = record_tokens(lm, batch, POINTS)
            for i, text in enumerate(batch.texts):
                for k in range(len(batch.ids[i])):
                    for point in POINTS:
                        there = whole[point].reshape(-1, whole[point].shape[-1])[batch.flat(i, k)]
                        assert torch.equal(found.at(str(k), point)[text], there)


def test_packed_unpacked_and_right_padded_agree(lm):
    ids = ids_of(lm)
    positions = every_token(ids)
    packed = record(lm, ids, positions, POINTS, packed=True)
    assert_close(packed, record(lm, ids, positions, POINTS, packed=False))
    assert_close(packed, record(lm, ids, positions, POINTS, packed=True, batch_tokens=1))
    longest = max(map(len, ids))
    padded = torch.zeros(len(ids), longest, dtype=torch.long)
    mask = torch.zeros_like(padded)
    for row, own in enumerate(ids):
        padded[row, : len(own)] = torch.tensor(own)
        mask[row, : len(own)] = 1
    with torch.no_grad(), matmul_precision(lm):
        theirs = lm.base(padded, attention_mask=mask, output_hidden_states=True, use_cache=False).hidden_states
    for row, own in enumerate(ids):
        for k in range(len(own)):
            for layer in range(lm.n_layers - 1):
                ours = packed.at(str(k), Point("resid_post", layer))[row]
                torch.testing.assert_close(ours, theirs[layer + 1][row, k], rtol=0, atol=1e-4)


def test_the_order_of_texts_does_not_matter(lm):
    ids = ids_of(lm)
    order = [3, 0, 4, 2, 1]
    here = record(lm, ids, every_token(ids), POINTS)
    there = record(lm, [ids[i] for i in order], every_token([ids[i] for i in order]), POINTS)
    moved = Recording({p: v[:, order] for p, v in here.values.items()}, here.positions, 0)
    assert_close(moved, there)


def test_several_tokens_are_averaged_and_none_is_nan(lm):
    ids = ids_of(lm)
    point = Point("resid_post", 1)
    single = record(lm, ids, every_token(ids), [point])
    chosen = [[0, 2, 5], [], [1], [3, 3, 4], [0]]
    found = record(lm, ids, {"some": chosen, "none": [[]] * 5}, [point])
    for text, tokens in enumerate(chosen):
        expected = [single.at(str(k), point)[text].numpy() for k in tokens]
        if tokens:
            np.testing.assert_allclose(found.at("some", point)[text], np.mean(expected, axis=0), atol=1e-5)
        else:
            assert found.at("some", point)[text].isnan().all()
    assert found.at("none", point).isnan().all()
    assert found.values[point].shape == (2, 5, lm.d_model)


def test_a_run_counts_its_texts_and_tokens(tiny_gpt2_lm):
    lm = tiny_gpt2_lm
    ids = ids_of(lm) * 4
    done: list[int] = []
    found = record(lm, ids, {"last": [[len(i) - 1] for i in ids]}, POINTS[:1], batch_tokens=60, on_batch=done.append)
    assert done == sorted(set(done)) and done[-1] == len(ids) and len(done) > 2
    batches = plan_batches(ids, packed=True, batch_tokens=60)
    assert found.n_forward_tokens == sum(b.shape[0] * b.shape[1] for b in batches)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("more", [0, 1, 20, 60])
def test_memory_that_runs_out_halves_the_batch_and_changes_no_value(tiny_gpt2_lm, monkeypatch, packed, more):
    """A device that holds the longest text and `more` tokens."""
    lm = tiny_gpt2_lm
    ids = ids_of(lm) * 4
    most = max(map(len, ids)) + more
    whole = record(lm, ids, every_token(ids), POINTS, packed=packed)
    original, refused = lm.base.forward, []

    def small_device(*args, **kwargs):
        if kwargs["input_ids"].numel() > most:
            refused.append(kwargs["input_ids"].shape)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(*args, **kwargs)

    monkeypatch.setattr(lm.base, "forward", small_device)
    done: list[int] = []
    found = record(lm, ids, every_token(ids), POINTS, packed=packed, on_batch=done.append)
    assert refused
    assert done[-1] == len(ids)
    assert_close(found, whole)
    assert count_hooks(lm) == 0


def test_one_text_that_does_not_fit_is_an_error_that_says_so(tiny_gpt2_lm):
    def never(_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(EmotionCircuitsError, match="single text") as caught:
        for_each_batch(plan_batches([(1, 2, 3)] * 5, packed=True), never)
    assert not isinstance(caught.value, InputError)
    assert "3 tokens" in str(caught.value)


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    seen = []

    def wrong(batch):
        seen.append(batch)
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape"):
        for_each_batch(plan_batches([(1, 2)] * 4, packed=False), wrong)
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"positions": {"last": [[1]]}}, "given for 1 texts"),
        ({"positions": {"last": [[1], [4]]}}, "outside its tokens"),
        ({"positions": {"last": [[1], [-1]]}}, "outside its tokens"),
        ({"positions": {}}, "No positions"),
        ({"points": []}, "No points"),
    ],
)
def test_what_cannot_be_recorded(tiny_gpt2_lm, arguments, said):
    options = {"positions": {"last": [[1], [2]]}, "points": [Point("resid_post", 0)], **arguments}
    with pytest.raises(InputError, match=said):
        record(tiny_gpt2_lm, [(1, 2), (3, 4, 5, 6)], options["positions"], options["points"])


def test_no_texts_give_an_empty_recording(tiny_gpt2_lm):
    found = record(tiny_gpt2_lm, [], {"last": []}, [Point("z", 0)])
    assert found.values["z", 0].shape == (1, 0, 32)


# Blocks that need not run.


@pytest.fixture
def calls(lm):
    """How often each block's attention ran."""
    count = dict.fromkeys(range(lm.n_layers), 0)

    def counter(layer):
        def hook(*_):
            count[layer] += 1

        return hook

    handles = [lm.attention(layer).register_forward_hook(counter(layer)) for layer in range(lm.n_layers)]
    yield count
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize(("start", "stop"), [(0, None), (1, None), (2, 3), (0, 1), (0, 0), (3, None), (1, 2)])
def test_only_the_blocks_asked_for_run(lm, calls, start, stop):
    ids = torch.tensor([ids_of(lm)[0]])
    with torch.no_grad(), only_blocks(lm, start=start, stop=stop):
        forward(lm, ids)
    assert list(calls.values()) == [int(start <= k < (lm.n_layers if stop is None else stop)) for k in range(3)]
    assert count_hooks(lm) == 0
    with torch.no_grad():
        forward(lm, ids)
    assert list(calls.values()) == [1 + int(start <= k < (3 if stop is None else stop)) for k in range(3)]


@pytest.mark.parametrize(
    ("point", "needed"),
    [
        (Point("embed", 0), 0),
        (Point("resid_pre", 2), 2),
        (Point("z", 1), 2),
        (Point("resid_post", 0), 1),
        (Point("mlp_out", 2), 3),
    ],
)
def test_recording_stops_after_the_last_block_it_needs(lm, calls, point, needed):
    """Blocks past the last point are not run, nor is the LM head."""
    heads = []
    handle = lm.lm_head.register_forward_hook(lambda *_: heads.append(1))
    record(lm, [(1, 2, 3)], {"last": [[2]]}, [Point("embed", 0), point])
    handle.remove()
    assert list(calls.values()) == [1] * needed + [0] * (3 - needed)
    assert not heads


def test_skipped_blocks_pass_their_input_on_untouched(lm):
    ids = torch.tensor([ids_of(lm)[0]])
    [batch] = plan_batches([ids_of(lm)[0]], packed=False)
    embedded = record_tokens(lm, batch, [Point("embed", 0)])["embed", 0]
    with torch.no_grad(), matmul_precision(lm):
        expected = lm.final_norm(embedded)
        with only_blocks(lm, stop=0):
            assert torch.equal(forward(lm, ids), expected)


def test_blocks_come_back_after_an_exception_and_after_nesting(lm):
    ids = torch.tensor([ids_of(lm)[0]])
    with torch.no_grad():
        before = forward(lm, ids)
        with pytest.raises(KeyError), only_blocks(lm, start=1):
            assert count_hooks(lm) == 1
            raise KeyError
        assert count_hooks(lm) == 0
        with only_blocks(lm, start=1):
            inside = forward(lm, ids)
            with only_blocks(lm, start=1, stop=2):
                assert count_hooks(lm) == 2
            assert torch.equal(forward(lm, ids), inside)
        assert torch.equal(forward(lm, ids), before)


def test_a_forward_that_somebody_else_put_on_a_block_survives(lm):
    """Libraries that spread a model over devices replace the blocks' forward too."""
    ids = torch.tensor([ids_of(lm)[0]])
    block = lm.block(0)
    ran = []
    original = block.forward

    def theirs(*args, **kwargs):
        ran.append(1)
        return original(*args, **kwargs)

    block.forward = theirs
    try:
        with torch.no_grad(), only_blocks(lm, start=1):
            forward(lm, ids)
        assert not ran
        with torch.no_grad():
            forward(lm, ids)
        assert ran == [1] and block.forward is theirs
    finally:
        del block.forward


def test_a_point_in_a_skipped_block_is_an_error_and_not_an_empty_result(lm):
    """`resid_mid` and `z` of a block that does not run never fire."""
    said = pytest.raises(MeasurementError, match="z of layer 2 fired 0 times")
    with said, torch.no_grad(), hooks(lm, {Point("z", 2): lambda _: None}), only_blocks(lm, stop=2):
        forward(lm, torch.tensor([[1, 2, 3]]))
