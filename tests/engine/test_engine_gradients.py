"""Gradients, against finite differences and against autograd on a model without hooks."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from emotion_circuits.engine import (
    SITES,
    Point,
    count_hooks,
    forward,
    gradients,
    hooks,
    plan_batches,
    pulled_back,
    record_tokens,
)
from emotion_circuits.errors import InputError
from tiny_models import ids_of


def points_of(lm):
    return [
        Point(site, layer)
        for layer in range(lm.n_layers)
        for site in SITES
        if (site != "embed" or layer == 0) and (site != "resid_mid" or not lm.parallel)
    ]


@pytest.fixture
def precise(lm):
    """The same weights in float64."""
    return replace(lm, hf=copy.deepcopy(lm.hf).double(), dtype=torch.float64)


def metric_of(lm, batch):
    """A curved function of logits at every text's last token."""
    last = torch.tensor(batch.last())

    def metric(normed):
        logits = lm.lm_head(normed.reshape(-1, normed.shape[-1])[last])
        return logits.log_softmax(-1)[:, 7].sum() + (logits[:, 3] * logits[:, 9]).mean()

    return metric


@pytest.mark.parametrize("packed", [True, False])
def test_gradients_equal_finite_differences(precise, packed):
    lm = precise
    batch = plan_batches(ids_of(lm)[3:], packed=packed)[-1]
    metric = metric_of(lm, batch)
    found = gradients(lm, batch, points_of(lm), metric)
    assert set(found.values) == set(found.gradients) == set(points_of(lm))
    # GPT-Neo's scores and RMS norms are computed in float32 whatever the weights are.
    rough = lm.family.name == "gpt_neo" or not lm.family.centred_norm
    step, tolerance = (1e-2, 2e-3) if rough else (1e-4, 1e-6)
    for k, point in enumerate(points_of(lm)):
        gradient = found.gradients[point]
        along = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
        along /= along.norm()
        values = []
        for sign in (1, -1):
            with torch.no_grad(), hooks(lm, {point: lambda h, s=sign, v=along: h + s * step * v}):
                values.append(float(metric(forward(lm, **batch.inputs(lm)))))
        numeric = (values[0] - values[1]) / (2 * step)
        assert float((gradient * along).sum()) == pytest.approx(
            numeric, rel=tolerance, abs=tolerance * float(gradient.norm())
        ), point


def test_the_residual_stream_s_gradients_equal_autograd_without_hooks(precise):
    """transformers keeps the graph of its own hidden states: no hook of ours is on the model."""
    lm = precise
    batch = plan_batches(ids_of(lm)[:1], packed=False)[0]
    metric = metric_of(lm, batch)
    points = [Point("embed", 0), *(Point("resid_post", layer) for layer in range(lm.n_layers - 1))]
    found = gradients(lm, batch, points, metric)
    assert count_hooks(lm) == 0
    embedded = lm.embedding(torch.from_numpy(batch.input_ids())).requires_grad_(True)
    out = lm.base(inputs_embeds=embedded, output_hidden_states=True, use_cache=False)
    states = out.hidden_states[:-1]
    outcome = metric(out[0])
    expected = torch.autograd.grad(outcome, states)
    assert found.metric == pytest.approx(outcome.item(), rel=1e-9)
    for point, gradient, state in zip(points, expected, states, strict=True):
        torch.testing.assert_close(found.gradients[point], gradient, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(found.values[point], state.detach(), rtol=1e-9, atol=1e-9)


def test_values_are_those_of_a_recording_and_nothing_stays_behind(lm):
    [batch] = plan_batches(ids_of(lm), packed=True)
    metric = metric_of(lm, batch)
    with torch.inference_mode():  # what recorded before must not matter
        record_tokens(lm, batch, points_of(lm))
    found = gradients(lm, batch, points_of(lm), metric)
    for point, seen in record_tokens(lm, batch, points_of(lm)).items():
        assert torch.equal(found.values[point], seen)
        assert not found.values[point].requires_grad and not found.gradients[point].requires_grad
    assert count_hooks(lm) == 0
    assert all(p.grad is None and not p.requires_grad for p in lm.hf.parameters())


def test_which_points_are_asked_for_does_not_change_their_gradients(lm):
    [batch] = plan_batches(ids_of(lm), packed=True)
    metric = metric_of(lm, batch)
    together = gradients(lm, batch, points_of(lm), metric)
    for point in points_of(lm):
        alone = gradients(lm, batch, [point], metric)
        torch.testing.assert_close(alone.gradients[point], together.gradients[point], rtol=1e-5, atol=1e-6)
    backwards = gradients(lm, batch, points_of(lm)[::-1], metric)
    for point in points_of(lm):
        torch.testing.assert_close(backwards.gradients[point], together.gradients[point], rtol=1e-5, atol=1e-6)
    # Both are what enters block 0.
    assert torch.equal(together.gradients["embed", 0], together.gradients["resid_pre", 0])


def test_tokens_that_a_metric_does_not_see_have_no_gradient(lm):
    """Packed neighbours, later tokens and filling."""
    [batch] = plan_batches(ids_of(lm), packed=True)
    text = batch.texts.index(2)
    at = batch.flat(text, 5)
    found = gradients(lm, batch, points_of(lm), lambda normed: normed.reshape(-1, lm.d_model)[at].square().sum())
    sees = torch.from_numpy((batch.owner == text) & (batch.position_ids <= 5))
    for point, gradient in found.gradients.items():
        assert float(gradient[~sees].abs().max()) < 1e-7, point
        if point.layer < lm.n_layers - 1:  # after the last attention only the token itself matters
            assert float(gradient[sees].abs().max()) > 1e-6, point


def test_a_metric_that_ignores_a_point_gives_zeros(lm):
    [batch] = plan_batches(ids_of(lm)[:1], packed=False)
    [first] = [Point("resid_post", lm.n_layers - 1)]
    found = gradients(lm, batch, [Point("mlp_out", 0), first], lambda normed: normed[:, 0].sum())
    assert found.gradients["mlp_out", 0][:, 1:].abs().max() == 0


def test_gradients_pulled_back_to_a_given_stream(precise):
    """They are those of the whole pass where the stream is the model's own, and no hook is left."""
    lm = precise
    batch = plan_batches(ids_of(lm)[:2], packed=False)[-1]
    metric, layer = metric_of(lm, batch), lm.n_layers - 1
    for onto in (Point("resid_pre", 1), Point("resid_post", layer), *([] if lm.parallel else [Point("resid_mid", 1)])):
        found = gradients(lm, batch, [onto], metric)
        back = pulled_back(lm, batch, None, onto, found.values[onto], [metric, lambda s: 2 * metric(s)])
        torch.testing.assert_close(back[0], found.gradients[onto], rtol=1e-5, atol=1e-8)
        torch.testing.assert_close(back[1], 2 * back[0])
    assert count_hooks(lm) == 0
    for read, onto in ((Point("z", 0), Point("resid_pre", 1)), (None, Point("attn_out", 1))):
        with pytest.raises(InputError, match="stream before it"):
            pulled_back(lm, batch, read, onto, torch.zeros(1), [metric])
