"""Hooks fire as often as asked, are gone afterwards whatever happens, and reach what they say they reach."""

from __future__ import annotations

import pytest
import torch

from emotion_circuits.engine import (
    SITES,
    Point,
    count_hooks,
    forward,
    generate,
    gradients,
    hooks,
    matmul_precision,
    plan_batches,
    record,
    record_tokens,
)
from emotion_circuits.engine import add as add_edit
from emotion_circuits.errors import InputError, MeasurementError
from tiny_models import ids_of

IDS = torch.tensor([[5, 6, 7, 8]])


def all_points(lm):
    return [
        Point(site, layer)
        for site in SITES
        for layer in range(lm.n_layers)
        if (site != "embed" or layer == 0) and (site != "resid_mid" or not lm.parallel)
    ]


def test_a_hook_that_fires_too_seldom_or_too_often_is_an_error(lm):
    for runs, asked in ((0, 1), (2, 1), (1, 2), (1, 0)):
        with pytest.raises(MeasurementError, match=f"fired {runs} times instead of {asked}"):  # noqa: SIM117
            with hooks(lm, {Point("z", 1): lambda _: None}, firings=asked):
                for _ in range(runs):
                    forward(lm, IDS)
        assert count_hooks(lm) == 0
    with hooks(lm, {point: lambda _: None for point in all_points(lm)}, firings=2):
        forward(lm, IDS)
        forward(lm, IDS)
        assert count_hooks(lm) == len(all_points(lm))


def test_an_exception_inside_is_not_covered_up_by_the_count(lm):
    with pytest.raises(KeyError, match="inside"), hooks(lm, {Point("z", 1): lambda _: None}):
        raise KeyError("inside")
    assert count_hooks(lm) == 0


def test_no_hook_survives_any_entry_point_that_fails(lm):
    """Each way into the model, with a hook of somebody else's that fails in the middle of the pass."""
    [batch] = plan_batches(ids_of(lm)[:2], packed=True)
    encoded = lm.encode(["A door."])
    edit = add_edit(Point("resid_post", 0), torch.zeros(lm.d_model))

    def fail(*_):
        raise KeyError("on purpose")

    handle = lm.mlp(1).register_forward_hook(fail)
    try:
        for run in (
            lambda: record(lm, [(1, 2)], {"last": [[1]]}, all_points(lm)),
            lambda: record_tokens(lm, batch, all_points(lm)),
            lambda: gradients(lm, batch, all_points(lm), lambda h: h.sum()),
            lambda: generate(lm, encoded, max_tokens=2, edits=[edit]),
        ):
            with pytest.raises(KeyError, match="on purpose"):
                run()
            assert count_hooks(lm) == 0
    finally:
        handle.remove()


def test_a_bad_point_among_good_ones_leaves_nothing_behind(lm):
    with pytest.raises(InputError), hooks(lm, {Point("z", 0): lambda _: None, Point("z", 9): lambda _: None}):
        pass
    assert count_hooks(lm) == 0


def test_what_a_hook_returns_replaces_the_tensor_and_none_leaves_it(lm):
    """A value written at a point must arrive at the next one."""
    with torch.no_grad():
        clean = forward(lm, IDS)
        with hooks(lm, {point: lambda _: None for point in all_points(lm)}):
            assert torch.equal(forward(lm, IDS), clean)
        with hooks(lm, {point: lambda hidden: hidden.clone() for point in all_points(lm)}):
            assert torch.equal(forward(lm, IDS), clean)
        for point in all_points(lm):
            with hooks(lm, {point: lambda hidden: hidden + torch.linspace(-1, 1, hidden.shape[-1])}):
                assert not torch.allclose(forward(lm, IDS), clean, atol=1e-3), point
        assert torch.equal(forward(lm, IDS), clean)


def test_the_order_in_which_points_are_given_does_not_matter(lm):
    with torch.no_grad():
        touches = {p: lambda hidden: hidden * 1.1 for p in all_points(lm)}
        with hooks(lm, touches):
            there = forward(lm, IDS)
        with hooks(lm, dict(reversed(touches.items()))):
            assert torch.equal(forward(lm, IDS), there)


def test_attn_out_and_mlp_out_are_what_joins_the_stream(lm):
    """Writing zeros at both leaves the block's input; at one, the other's part."""
    layer = 1
    [batch] = plan_batches([(5, 6, 7, 8)], packed=False)
    points = [Point(site, layer) for site in ("resid_pre", "attn_out", "mlp_out", "resid_post")]
    with torch.no_grad(), matmul_precision(lm):
        with hooks(lm, {Point(s, layer): torch.zeros_like for s in ("attn_out", "mlp_out")}):
            seen = record_tokens(lm, batch, [points[0], points[3]])
        assert torch.equal(seen[points[0]], seen[points[3]])
        with hooks(lm, {Point("attn_out", layer): torch.zeros_like}):
            seen = record_tokens(lm, batch, points)
        torch.testing.assert_close(seen[points[3]], seen[points[0]] + seen[points[2]], rtol=0, atol=1e-6)
