"""Edits: what is written, where it is not written, and that nothing but the edit changes."""

from __future__ import annotations

import pytest
import torch

from emotion_circuits.engine import (
    SITES,
    Point,
    ablate_direction,
    add,
    at_tokens,
    count_hooks,
    final_states,
    generate,
    hooks,
    logits_at,
    logits_of,
    matmul_precision,
    plan_batches,
    record_tokens,
    replace,
)
from emotion_circuits.engine._sites import width
from emotion_circuits.errors import InputError
from tiny_models import ids_of

LAYER = 1


def batch_of(lm, packed=True):
    batches = plan_batches(ids_of(lm), packed=packed)
    return max(batches, key=lambda b: len(b.texts))


def sites_of(lm):
    return [s for s in SITES if s != "embed" and (s != "resid_mid" or not lm.parallel)]


def vector_of(lm, site, seed=0):
    return torch.randn(width(lm, site), generator=torch.Generator().manual_seed(seed))


def read_after(lm, batch, edits, point):
    """The tensor at the point after the edits: a hook attached later sees what an earlier one wrote."""
    seen = {}
    editable = batch.editable(lm.device)
    with torch.no_grad(), hooks(lm, {e.point: e.touch(editable) for e in edits}):
        seen.update(record_tokens(lm, batch, [point]))
    return seen[point]


@pytest.mark.parametrize("packed", [True, False])
def test_an_edit_of_nothing_changes_no_bit(lm, packed):
    """Adding zeros, ablating with nothing to take away, replacing with what was there: the clean run, bit for bit."""
    batch = batch_of(lm, packed)
    clean = final_states(lm, batch)
    for site in sites_of(lm):
        point = Point(site, LAYER)
        there = record_tokens(lm, batch, [point])[point]
        zero = torch.zeros(width(lm, site))
        for edit in (add(point, zero), ablate_direction(point, zero, zero), replace(point, there)):
            assert torch.equal(final_states(lm, batch, [edit]), clean), (site, edit)


def test_edits_write_what_they_say_and_leave_first_tokens_and_filling_alone(lm):
    batch = batch_of(lm)
    editable = batch.editable(lm.device)
    assert 0 < int(editable.sum()) < editable.numel() - len(batch.texts) + 1
    for site in sites_of(lm):
        point = Point(site, LAYER)
        clean = record_tokens(lm, batch, [point])[point]
        v, mean = vector_of(lm, site), vector_of(lm, site, 1)
        unit = v / v.norm()
        excess = torch.einsum("rtd,d->rt", clean - mean, unit)
        values = torch.randn(clean.shape, generator=torch.Generator().manual_seed(2))
        for edit, expected in (
            (add(point, v), clean + v),
            (ablate_direction(point, unit, mean), clean - excess[..., None] * unit),
            (replace(point, values), values),
            (replace(point, v), v.expand_as(clean)),
        ):
            found = read_after(lm, batch, [edit], point)
            torch.testing.assert_close(found, torch.where(editable, expected, clean), rtol=0, atol=1e-5)
            assert torch.equal(found[~editable[..., 0]], clean[~editable[..., 0]])


def test_after_an_ablation_every_token_has_the_mean_s_component(lm):
    batch, point = batch_of(lm), Point("resid_post", LAYER)
    v, mean = vector_of(lm, "resid_post"), vector_of(lm, "resid_post", 1)
    unit = v / v.norm()
    once = read_after(lm, batch, [ablate_direction(point, unit, mean)], point)
    chosen = once[batch.editable(lm.device)[..., 0]]
    torch.testing.assert_close(chosen @ unit, (mean @ unit).expand(len(chosen)), rtol=0, atol=1e-5)


def test_each_row_can_lose_a_direction_of_its_own_at_chosen_tokens(lm):
    batch, point = batch_of(lm), Point("resid_post", LAYER)
    clean = record_tokens(lm, batch, [point])[point]
    mean = vector_of(lm, "resid_post", 1)
    drawn = torch.randn(clean.shape[0], clean.shape[2], generator=torch.Generator().manual_seed(3))
    units = drawn / drawn.norm(dim=1, keepdim=True)
    chosen = torch.rand(*clean.shape[:2], 1, generator=torch.Generator().manual_seed(4)) < 0.5
    found = read_after(lm, batch, [at_tokens(ablate_direction(point, units, mean), chosen)], point)
    touched = (batch.editable(lm.device) & chosen)[..., 0]
    assert 0 < int(touched.sum()) < int(batch.editable(lm.device).sum())
    assert torch.equal(found[~touched], clean[~touched])
    for row, unit in enumerate(units):
        left = found[row][touched[row]] @ unit
        torch.testing.assert_close(left, (mean @ unit).expand(len(left)), rtol=0, atol=1e-5)


def test_a_later_layer_s_edit_leaves_earlier_layers_alone(lm):
    batch = batch_of(lm)
    clean = record_tokens(lm, batch, [Point("resid_post", 0), Point("resid_post", 2)])
    edit = add(Point("resid_post", LAYER), vector_of(lm, "resid_post"))
    assert torch.equal(read_after(lm, batch, [edit], Point("resid_post", 0)), clean["resid_post", 0])
    after = read_after(lm, batch, [edit], Point("resid_post", 2))
    first = torch.from_numpy(batch.position_ids == 0)
    assert torch.equal(after[first], clean["resid_post", 2][first])  # position 0 sees nothing that was edited
    assert not torch.allclose(after[~first], clean["resid_post", 2][~first], atol=1e-2)


def test_a_change_of_the_stream_is_carried_on_by_the_stream(lm):
    """Written to the middle of a block, a vector reaches the MLP *and* what the block passes on."""
    batch = batch_of(lm)
    editable = batch.editable(lm.device)
    v = vector_of(lm, "resid_post")
    points = [Point(site, LAYER) for site in ("attn_out", "mlp_out", "resid_pre", "resid_post")]
    for site in ("resid_pre", "resid_mid", "attn_out"):
        if site not in sites_of(lm):
            continue
        edit = add(Point(site, LAYER), v)
        with torch.no_grad(), hooks(lm, {edit.point: edit.touch(editable)}):
            seen = record_tokens(lm, batch, points)
        clean = record_tokens(lm, batch, points)
        written = torch.where(editable, v, torch.zeros_like(v)) if site == "resid_mid" else 0
        parts = seen["resid_pre", LAYER] + seen["attn_out", LAYER] + seen["mlp_out", LAYER] + written
        torch.testing.assert_close(seen["resid_post", LAYER], parts, rtol=0, atol=1e-5)
        assert torch.equal(seen["mlp_out", LAYER], clean["mlp_out", LAYER]) == (lm.parallel and site == "attn_out")


def test_every_row_can_have_an_edit_of_its_own(lm):
    """Vectors (rows, width) are as many runs with one vector each."""
    ids = [ids_of(lm)[0]] * 3
    [together] = plan_batches(ids, packed=False)
    [alone] = plan_batches(ids[:1], packed=False)
    for site in sites_of(lm):
        point = Point(site, LAYER)
        vectors = torch.stack([vector_of(lm, site, k) for k in range(3)])
        rows = final_states(lm, together, [add(point, vectors)])
        for k in range(3):
            own = final_states(lm, alone, [add(point, vectors[k])])
            torch.testing.assert_close(rows[k], own[0], rtol=0, atol=2e-5)
        assert not torch.allclose(rows[0], rows[1], atol=1e-3)


def test_doubles_and_other_places_are_brought_to_the_stream_s_type(lm):
    batch, point = batch_of(lm), Point("resid_post", LAYER)
    v = vector_of(lm, "resid_post")
    assert torch.equal(
        final_states(lm, batch, [add(point, v.double())]), final_states(lm, batch, [add(point, v.double().float())])
    )


def test_two_edits_at_one_point_are_refused_since_one_would_be_lost(lm):
    batch, point = batch_of(lm), Point("resid_post", LAYER)
    edits = [add(point, vector_of(lm, "resid_post", k)) for k in range(2)]
    with pytest.raises(InputError, match="Two edits"):
        final_states(lm, batch, edits)
    with pytest.raises(InputError, match="Two edits"):
        generate(lm, lm.encode(["A door"]), max_tokens=1, edits=edits)
    assert count_hooks(lm) == 0


def test_edits_at_several_points_all_apply(lm):
    batch = batch_of(lm)
    edits = [add(Point(site, k), vector_of(lm, site, k)) for k in range(lm.n_layers) for site in ("z", "resid_post")]
    together = final_states(lm, batch, edits)
    assert torch.equal(together, final_states(lm, batch, edits[::-1]))
    for left_out in range(len(edits)):
        others = [e for i, e in enumerate(edits) if i != left_out]
        assert not torch.allclose(final_states(lm, batch, others), together, atol=1e-3)


def test_logits_at_are_the_full_model_s_logits(lm):
    [batch] = plan_batches([ids_of(lm)[0]] * 2, packed=False)
    with torch.no_grad(), matmul_precision(lm):
        theirs = lm.hf(**batch.inputs(lm)).logits.reshape(-1, lm.vocab_size)
        read = [*batch.last(), 3, 3, 0]
        torch.testing.assert_close(logits_at(lm, batch, read), theirs[read], rtol=0, atol=1e-5)
        assert torch.equal(logits_of(lm, final_states(lm, batch)).reshape(-1, lm.vocab_size), theirs)
    edit = add(Point("resid_post", LAYER), vector_of(lm, "resid_post"))
    with_edit = logits_of(lm, final_states(lm, batch, [edit])).reshape(-1, lm.vocab_size)[read]
    torch.testing.assert_close(logits_at(lm, batch, read, [edit]), with_edit, rtol=0, atol=1e-5)
