"""`verify` must pass on sound models and catch every kind of sabotage."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from emotion_circuits.engine import Batch, count_hooks, load_verified, packing_error, record, verify
from emotion_circuits.errors import EmotionCircuitsError, MeasurementError
from emotion_circuits.models import load
from tiny_models import VARIANTS

NAMES = {
    "points that did not fire once",
    "modules outside those they belong to",
    "points where ordinary text overflows",
    "residual stream adds up",
    "parts of every block fit together",
    "edits in the middle of a block reach the stream",
    "zero edit equals the clean run, bit for bit",
    "replay equals forward, middle layer",
    "recorded equals transformers' hidden states, bit for bit",
    "final norm and head give transformers' logits",
    "replay equals forward, all layers",
    "zero edit, all layers, bit for bit",
    "right padding changes nothing",
    "packed rows equal one text a row",
    "norms are centred as the family says",
    "the end of a text changes nothing before it",
    "hooks left after an exception",
    "hooks left",
}


@pytest.fixture
def own(lm):
    """A copy that may be spoilt."""
    return replace(load(str(lm.name), bos=False), packing=lm.packing)


def failures(lm, *, quick=False):
    return {check.name for check in verify(lm, quick=quick).checks if not check.ok}


def test_sound_models_pass_every_proof(lm):
    found = verify(lm)
    assert found.ok and {check.name for check in found.checks} == NAMES
    assert lm.packing
    quick = verify(lm, quick=True)
    assert quick.ok and {check.name for check in quick.checks} < NAMES
    assert count_hooks(lm) == 0


@pytest.mark.parametrize("name", ["gpt2", "gpt-neox", "gpt-neo", "gpt2-twin"])
def test_reference_models_pass_every_proof(reference, name):
    lm = reference(name)
    assert lm.packing
    assert all(check.ok for check in verify(lm).checks)


PATHS = ("attention", "attention_out", "mlp", "mlp_out", "mid_norm", "final_norm")


@pytest.mark.parametrize("part", PATHS)
def test_a_family_with_a_wrong_path_is_caught(lm, part):
    """Each path in turn points at another part of the same model, which also exists and also fires."""
    family = lm.family
    wrong = {
        "attention": family.mlp,
        "attention_out": family.mlp_out,
        "mlp": family.attention,
        "mlp_out": family.attention_out,
        "mid_norm": {"gpt2": "ln_1", "gpt_neo": "ln_1"}.get(family.name, "input_layernorm"),
        "final_norm": f"{family.blocks}.0.{family.mid_norm}",
    }[part]
    spoilt = replace(lm, family=replace(family, **{part: wrong}))
    if part == "mid_norm" and lm.parallel:
        return  # nothing is read there
    # All that the quick proofs see, the others see too.
    assert failures(spoilt, quick=True) or (part == "final_norm" and failures(spoilt))


def test_a_block_that_is_run_but_not_counted_is_caught(own):
    """A configuration that says one layer less. (Llama's forward pass obeys it, so there nothing is wrong.)"""
    ran = []
    own.block(2).register_forward_hook(lambda *_: ran.append(1))
    own.hf.config.num_hidden_layers = 2
    assert bool(failures(own)) == bool(ran)


def test_the_wrong_kind_of_block_output_is_caught(lm):
    other = "tensor" if lm.family.block_output == "tuple" else "tuple"
    spoilt = replace(lm, family=replace(lm.family, block_output=other))
    with pytest.raises((AttributeError, TypeError, RuntimeError, ValueError, EmotionCircuitsError)):
        record(spoilt, [(1, 2, 3)], {"last": [[2]]}, [("resid_post", 0)])


def test_a_block_that_adds_something_of_its_own_is_caught(own):
    own.block(1).register_forward_hook(
        lambda _m, _a, out: (out[0] + 0.01, *out[1:]) if isinstance(out, tuple) else out + 0.01
    )
    assert {"residual stream adds up"} <= failures(own, quick=True)


def test_a_block_that_never_computes_the_same_twice_is_caught(own):
    noise = torch.Generator().manual_seed(0)
    own.mlp(1).register_forward_hook(lambda _m, _a, out: out + 1e-4 * torch.randn(out.shape, generator=noise))
    assert "zero edit equals the clean run, bit for bit" in failures(own, quick=True)


def test_a_block_that_depends_on_the_rows_beside_it_is_caught(own):
    """As batch statistics would: alone and together differ."""
    own.mlp(1).register_forward_hook(lambda _m, _a, out: out + 0.01 * out.mean(dim=(0, 1)))
    assert {"right padding changes nothing", "packed rows equal one text a row"} <= failures(own)


def test_a_layer_that_reads_what_only_earlier_layers_know_is_caught(own):
    """A block that looks past the residual stream cannot be replayed from it."""
    kept: dict[str, torch.Tensor] = {}
    own.base.register_forward_pre_hook(lambda *_: kept.clear())
    own.mlp(0).register_forward_hook(lambda _m, _a, out: kept.update(first=out.clone()))

    def peek(_m, _a, out):
        first = kept.pop("first", None)
        return out if first is None else out + 0.1 * first

    own.mlp(2).register_forward_hook(peek)
    assert "replay equals forward, middle layer" in failures(own, quick=True)


def test_weights_that_are_not_numbers_are_caught(own):
    own.mlp_out(1).weight.data[0, 0] = torch.nan
    assert {"residual stream adds up", "right padding changes nothing"} <= failures(own)


def test_broken_packing_is_caught_and_then_not_used(lm, monkeypatch):
    """Texts of a row that see each other: packed rows are refused, and recording goes on without them."""
    original = Batch.inputs

    def leaking(self, model, copies=1):
        given = original(self, model, copies)
        if "attention_mask" in given:
            mask, tokens = given["attention_mask"], self.shape[1]
            every = torch.where(torch.ones(tokens, tokens, dtype=torch.bool).tril(), 0.0, torch.finfo(model.dtype).min)
            every = every.expand(self.shape[0] * copies, 1, -1, -1)
            given["attention_mask"] = dict.fromkeys(mask, every) if isinstance(mask, dict) else every
        return given

    monkeypatch.setattr(Batch, "inputs", leaking)
    assert packing_error(lm) > 1e-3
    assert "packed rows equal one text a row" in failures(lm)
    assert not load_verified(str(lm.name), bos=False).packing


def test_a_load_that_cannot_be_trusted_is_refused(lm, monkeypatch):
    """And the message says which proof failed, by how much, and how to see all of them."""
    from emotion_circuits.engine import _verify

    monkeypatch.setattr(_verify, "_addition_error", lambda *_: 0.25)
    with pytest.raises(MeasurementError, match="residual stream adds up") as caught:
        load_verified(str(lm.name), bos=False)
    assert "0.25" in str(caught.value) and "models verify" in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 4


def test_bfloat16_is_held_to_its_own_limits(tiny_folder):
    lm = load_verified(str(tiny_folder(VARIANTS[0])), bos=False, dtype="bfloat16")
    assert all(check.ok for check in verify(lm).checks)
    assert {check.limit for check in verify(lm).checks} == {0.0, 0.05}
