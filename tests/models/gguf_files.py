"""Writes `.gguf` files of tiny models, in llama.cpp's layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFValueType, GGUFWriter, quants
from transformers import PreTrainedModel

import tiny_models
from emotion_circuits.models import ModelName
from emotion_circuits.models._sources import reference_folder

TOKENIZER = reference_folder(ModelName.parse("reference/gpt2"))
VOCABULARY = 512
"""Reading a vocabulary takes most of a conversion's time."""


def tiny_config(family: str) -> Any:
    """Widths that quantized blocks of 32 numbers fill."""
    sizes = {} if family == "gpt2" else {"intermediate_size": 64}
    return tiny_models.tiny_config(family, max_position_embeddings=64, vocab_size=VOCABULARY, **sizes)


LLAMA = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
GEMMA3 = LLAMA | {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
}
GPT2 = {
    "transformer.wte": "token_embd",
    "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm",
    "lm_head": "output",
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}


def write_gguf(
    file: Path,
    model: PreTrainedModel,
    tokenizer: Path | Mapping[str, Any],
    architecture: str = "llama",
    *,
    keys: Mapping[str, Any] | None = None,
    tensors: Mapping[str, np.ndarray | None] | None = None,
    quantized: bool = False,
) -> None:
    """Write a model and its tokenizer.

    Args:
        tokenizer: a byte-level tokenizer.json, or the keys after `tokenizer.ggml.`.
        keys: changes to the metadata; None takes a key away.
        tensors: changes to the tensors; None takes a tensor away.
        quantized: whether matrices are stored as Q8_0.
    """
    written = _model_keys(model.config, architecture) | {
        f"tokenizer.ggml.{key}": value
        for key, value in (byte_level(tokenizer) if isinstance(tokenizer, Path) else tokenizer).items()
    }
    writer = GGUFWriter(file, architecture)
    for key, value in (written | dict(keys or {})).items():
        if value is not None:
            _add(writer, key, value)
    for name, tensor in (_tensors(model) | dict(tensors or {})).items():
        if tensor is None:
            continue
        if quantized and tensor.ndim == 2 and tensor.shape[1] % 32 == 0:
            kind = GGMLQuantizationType.Q8_0
            writer.add_tensor(name, quants.quantize(tensor, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def byte_level(tokenizer_file: Path) -> dict[str, Any]:
    """The keys of a byte-level tokenizer.json."""
    written = json.loads(tokenizer_file.read_text("utf-8"))
    tokens = written["model"]["vocab"] | {added["content"]: added["id"] for added in written["added_tokens"]}
    special = {added["id"] for added in written["added_tokens"]}
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in written["model"]["merges"]]
    return {
        "model": "gpt2",
        "tokens": sorted(tokens, key=tokens.__getitem__),
        "token_type": [3 if i in special else 1 for i in range(len(tokens))],
        "merges": merges,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }


@cache
def _first_tokens() -> dict[str, Any]:
    """The reference models' tokenizer as its training began: with the first tokens and merges only."""
    keys = byte_level(TOKENIZER / "tokenizer.json")
    tokens = keys["tokens"][:VOCABULARY]
    merges = [merge for merge in keys["merges"] if {*merge.split(), merge.replace(" ", "")} <= {*tokens}]
    return keys | {"tokens": tokens, "token_type": keys["token_type"][:VOCABULARY], "merges": merges}


def small_tokenizer() -> dict[str, Any]:
    """The keys of a byte-level tokenizer of `VOCABULARY` tokens."""
    return deepcopy(_first_tokens())


def _model_keys(config: Any, architecture: str) -> dict[str, Any]:
    keys = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "attention.head_count": config.num_attention_heads,
    }
    if config.model_type == "gpt2":
        keys |= {"feed_forward_length": 4 * config.hidden_size}
        keys |= {"attention.layer_norm_epsilon": config.layer_norm_epsilon}
    else:
        keys |= {
            "feed_forward_length": config.intermediate_size,
            "attention.head_count_kv": config.num_key_value_heads,
            "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
            "rope.freq_base": float(config.rope_parameters.get("full_attention", config.rope_parameters)["rope_theta"]),
            "rope.dimension_count": config.head_dim,
            "vocab_size": config.vocab_size,
        }
    if config.model_type == "gemma3_text":
        keys |= {"attention.key_length": config.head_dim, "attention.sliding_window": config.sliding_window}
    return {f"{architecture}.{key}": value for key, value in keys.items()}


def _tensors(model: PreTrainedModel) -> dict[str, np.ndarray]:
    config = model.config
    parts = {"gpt2": GPT2, "gemma3_text": GEMMA3}.get(config.model_type, LLAMA)
    tensors = {}
    for key, value in model.state_dict().items():
        path, kind = key.rsplit(".", 1)
        tensor = value.float().numpy()
        if config.model_type == "gemma3_text" and "norm" in path:  # llama.cpp keeps what is multiplied by
            tensor = tensor + 1
        if path in parts:
            if path != "lm_head" or not config.tie_word_embeddings:
                tensors[f"{parts[path]}.{kind}"] = tensor
            continue
        _, _, layer, part = path.split(".", 3)
        if config.model_type == "gpt2" and tensor.ndim == 2:
            tensor = tensor.T
        if config.model_type == "llama" and part.endswith(("q_proj", "k_proj")):  # llama.cpp interleaves their rows
            halves = tensor.reshape(-1, 2, config.head_dim // 2, *tensor.shape[1:])
            tensor = halves.swapaxes(1, 2).reshape(tensor.shape)
        tensors[f"blk.{layer}.{parts[part]}.{kind}"] = np.ascontiguousarray(tensor)
    return tensors


def _add(writer: GGUFWriter, key: str, value: Any) -> None:
    kinds = {bool: GGUFValueType.BOOL, int: GGUFValueType.UINT32, float: GGUFValueType.FLOAT32}
    if isinstance(value, list):
        writer.add_array(key, value)
    else:
        writer.add_key_value(key, value, kinds.get(type(value), GGUFValueType.STRING))
