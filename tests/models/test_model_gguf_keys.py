"""Conversion with accounting: what a GGUF file says is honoured to the last logit, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf_files import VOCABULARY, small_tokenizer, tiny_config, write_gguf
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from emotion_circuits.errors import InputError
from emotion_circuits.models import load

IDS = torch.arange(60)[None] * 7
LLAMA3 = {"rope_type": "llama3", "factor": 6.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA3 |= {"original_max_position_embeddings": 256, "rope_theta": 500.0}


def model_of(family: str, **changes: Any) -> PreTrainedModel:
    """Weights far from their initial values, so that every setting shows in the logits."""
    config = type(tiny_config(family)).from_dict(tiny_config(family).to_dict() | changes)
    random = torch.Generator().manual_seed(11)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=random)
        parameter.data = 1 + 0.2 * noise if noise.ndim == 1 and name.endswith("weight") else 0.2 * noise
    return model


def same_logits(file: Path, model: PreTrainedModel) -> None:
    ours, theirs = load(str(file)).hf(IDS).logits, model(IDS).logits
    assert theirs.abs().max() > 1
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        pytest.param({}, {}, id="plain"),
        pytest.param(
            {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}},
            {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0},
            id="linear",
        ),
        pytest.param(
            {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
            {"llama.rope.scale_linear": 2.0},
            id="linear, old key",
        ),
        pytest.param({}, {"llama.rope.scaling.type": "none", "llama.rope.scaling.factor": 4.0}, id="scaling is off"),
        pytest.param({"tie_word_embeddings": True}, {"llama.vocab_size": None}, id="tied"),
        pytest.param({"attention_bias": True, "mlp_bias": True}, {}, id="biases"),
        pytest.param(
            {"head_dim": 16}, {"llama.attention.key_length": 16, "llama.attention.value_length": 16}, id="wide heads"
        ),
        pytest.param(
            {"rms_norm_eps": 0.03},
            {"llama.expert_count": 0, "llama.attention.causal": True, "llama.logit_scale": 1.0, "quantize.x": "y"},
            id="keys that change nothing",
        ),
    ],
)
def test_llama_keys_are_honoured(changes: Any, keys: Any, tmp_path: Path, empty_caches: Path) -> None:
    model = model_of("llama", **changes)
    write_gguf(tmp_path / "llama.gguf", model, small_tokenizer(), keys=keys)
    same_logits(tmp_path / "llama.gguf", model)


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_rope_factors_are_honoured(factor: float, tmp_path: Path, empty_caches: Path) -> None:
    model = model_of("llama", rope_parameters=LLAMA3)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](model.config, torch.device("cpu"))
    factors = 500.0 ** -(torch.arange(0, 8, 2) / 8) / scaled
    assert factors.tolist() == pytest.approx([1, 1, 2.5314457, 6])  # untouched, between, and the whole factor
    model.model.rotary_emb.inv_freq = scaled / factor
    keys = {"llama.rope.scaling.factor": factor}
    tensors = {"rope_freqs.weight": factors.numpy()}
    write_gguf(tmp_path / "llama.gguf", model, small_tokenizer(), keys=keys, tensors=tensors)
    same_logits(tmp_path / "llama.gguf", model)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("positions", [64, 1024])
def test_gpt2_with_any_context(positions: int, tied: bool, tmp_path: Path, empty_caches: Path) -> None:
    model = model_of("gpt2", n_positions=positions, tie_word_embeddings=tied, layer_norm_epsilon=0.02)
    write_gguf(tmp_path / "gpt2.gguf", model, small_tokenizer(), "gpt2")
    same_logits(tmp_path / "gpt2.gguf", model)
    assert load(str(tmp_path / "gpt2.gguf")).max_positions == positions


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        pytest.param({}, {}, id="plain"),
        pytest.param({"tie_word_embeddings": False, "head_dim": 16, "query_pre_attn_scalar": 16}, {}, id="wide heads"),
        pytest.param(
            {"rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 5e4},
                "sliding_attention": {"rope_type": "default", "rope_theta": 300.0},
            }},
            {
                "gemma3.rope.scaling.type": "linear",
                "gemma3.rope.scaling.factor": 8.0,
                "gemma3.rope.freq_base_swa": 300.0,
            },
            id="frequencies",
        ),
        pytest.param({"num_hidden_layers": 7}, {}, id="every sixth layer has no window"),
    ],
)  # fmt: skip
def test_gemma3_keys_are_honoured(changes: Any, keys: Any, tmp_path: Path, empty_caches: Path) -> None:
    """Texts are longer than the window."""
    model = model_of("gemma3_text", **{"query_pre_attn_scalar": 8, "layer_types": None, **changes})
    assert model.config.sliding_window < IDS.shape[1]
    write_gguf(tmp_path / "gemma.gguf", model, small_tokenizer(), "gemma3", keys=keys)
    same_logits(tmp_path / "gemma.gguf", model)


@pytest.mark.parametrize("quantized", [True, False])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_model_is_the_one_that_transformers_reads(
    family: str, quantized: bool, tmp_path: Path, empty_caches: Path
) -> None:
    model = model_of(family, **({"n_positions": 1024} if family == "gpt2" else {}))
    write_gguf(tmp_path / "m.gguf", model, small_tokenizer(), family, quantized=quantized)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf", dtype=torch.float32)
    ours = load(str(tmp_path / "m.gguf")).hf(IDS).logits
    if family == "gpt2":  # whose GELU is one operation here: rounded elsewhere
        torch.testing.assert_close(ours, theirs(IDS).logits, rtol=0, atol=5e-6)
    else:
        assert torch.equal(ours, theirs(IDS).logits)
    assert torch.equal(theirs(IDS).logits, model(IDS).logits) is not quantized


ONE = np.ones(32, np.float32)


@pytest.mark.parametrize(
    ("family", "keys", "tensors", "named"),
    [
        ("llama", {"llama.rope.scaling.type": "yarn"}, {}, "llama.rope.scaling.type = yarn"),
        ("llama", {"llama.rope.scaling.attn_factor": 1.5}, {}, "llama.rope.scaling.attn_factor = 1.5"),
        ("llama", {"llama.rope.dimension_count": 4}, {}, "llama.rope.dimension_count = 4"),
        ("llama", {"llama.attention.value_length": 16}, {}, "llama.attention.value_length = 16"),
        ("llama", {"llama.attention.scale": 0.5}, {}, "llama.attention.scale = 0.5"),
        ("llama", {"llama.attention.sliding_window": 8}, {}, "llama.attention.sliding_window = 8"),
        ("llama", {"llama.attention.head_count": [4, 4, 2]}, {}, "llama.attention.head_count = [4, 4, 2]"),
        ("llama", {"llama.logit_scale": 0.0625}, {}, "llama.logit_scale = 0.0625"),
        ("llama", {"llama.expert_count": 8, "llama.expert_used_count": 2}, {}, "llama.expert_used_count = 2"),
        ("llama", {"llama.something_new": 7}, {}, "llama.something_new = 7"),
        ("llama", {"llama.attention.head_count_kv": None}, {}, "llama.attention.head_count_kv is missing"),
        ("llama", {"llama.attention.layer_norm_rms_epsilon": None}, {}, "layer_norm_rms_epsilon is missing"),
        ("llama", {"llama.block_count": 2}, {}, "tensor blk.2.attn_q.weight"),
        ("gemma3", {"gemma3.attention.sliding_window": None}, {}, "sliding_window is missing"),
        ("gemma3", {"gemma3.final_logit_softcapping": 30.0}, {}, "gemma3.final_logit_softcapping = 30.0"),
        ("gemma3", {"gemma3.attention.sliding_window_pattern": 2}, {}, "sliding_window_pattern = 2"),
        ("llama", {"llama.vocab_size": VOCABULARY - 1}, {}, f"llama.vocab_size = {VOCABULARY - 1}"),
        ("llama", {"general.type": "adapter"}, {}, "general.type = adapter"),
        ("llama", {"split.count": 3}, {}, "split.count = 3"),
        ("llama", {}, {"rope_factors_long.weight": ONE[:4]}, "tensor rope_factors_long.weight"),
        ("llama", {}, {"rope_freqs.weight": ONE[:3]}, "tensor rope_freqs.weight of 3 numbers"),
        ("llama", {}, {"blk.1.attn_q.bias": ONE}, "tensor blk.1.attn_q.bias"),
        ("llama", {}, {"blk.0.attn_q.bias": ONE}, "tensor blk.0.attn_k.bias is missing"),
        ("llama", {}, {"blk.2.ffn_up.weight": None}, "tensor blk.2.ffn_up.weight is missing"),
        ("llama", {}, {"output_norm.weight": ONE[:16]}, "tensor output_norm.weight of shape (16,)"),
        ("gpt2", {"gpt2.rope.freq_base": 1e4}, {}, "gpt2.rope.freq_base = 10000.0"),
        ("gpt2", {"gpt2.attention.head_count_kv": 2}, {}, "gpt2.attention.head_count_kv = 2"),
        ("gpt2", {"gpt2.context_length": 128}, {}, "tensor position_embd.weight of shape (64, 32)"),
        ("gpt2", {}, {"rope_freqs.weight": ONE[:4]}, "tensor rope_freqs.weight"),
        ("gpt2", {}, {"blk.0.attn_norm.bias": None}, "tensor blk.0.attn_norm.bias is missing"),
    ],
)
def test_what_cannot_be_honoured_is_named(
    family: str, keys: Any, tensors: Any, named: str, tmp_path: Path, empty_caches: Path
) -> None:
    model = model_of("gemma3_text" if family == "gemma3" else family)
    write_gguf(tmp_path / "m.gguf", model, small_tokenizer(), family, keys=keys, tensors=tensors)
    with pytest.raises(InputError, match=r"m\.gguf cannot be converted exactly") as caught:
        load(str(tmp_path / "m.gguf"))
    assert named in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 4
    assert not empty_caches.exists()
