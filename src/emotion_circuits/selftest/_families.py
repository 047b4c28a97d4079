"""A blueprint as a model of each family: the only place that knows how a family lays its weights out.

A family joins by being added to `BUILDERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from emotion_circuits.selftest._blueprint import (
    EMBEDDING_LENGTH,
    HEAD_SCORE,
    NOISE,
    Blueprint,
    FloatArray,
    Layer,
    PlantSpec,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Weights = dict[str, NDArray[np.float64]]


def _gpt2(spec: PlantSpec, blueprint: Blueprint) -> tuple[Any, Weights]:
    from transformers import GPT2Config

    config = GPT2Config(
        n_embd=spec.d_model,
        n_layer=spec.n_layers,
        n_head=spec.n_heads,
        n_inner=spec.d_mlp,
        n_positions=spec.max_positions,
        tie_word_embeddings=False,
        **_common(blueprint),
    )
    weights = {
        "transformer.wte.weight": blueprint.embedding,
        "transformer.wpe.weight": blueprint.positions,
        "lm_head.weight": blueprint.lm_head,
    }
    for i, layer in enumerate(blueprint.layers):
        block = f"transformer.h.{i}"
        # Conv1D holds (inputs, outputs), and query, key and value as thirds.
        weights |= {
            f"{block}.attn.c_attn.weight": np.concatenate([layer.query, layer.key, layer.value]).T,
            f"{block}.attn.c_attn.bias": _with_zeros(layer.query_bias, 2),
            f"{block}.attn.c_proj.weight": layer.out.T,
            f"{block}.mlp.c_fc.weight": layer.up.T,
            f"{block}.mlp.c_fc.bias": layer.up_bias,
            f"{block}.mlp.c_proj.weight": layer.down.T,
        }
    return config, weights


def _gpt_neox(spec: PlantSpec, blueprint: Blueprint) -> tuple[Any, Weights]:
    from transformers import GPTNeoXConfig

    config = GPTNeoXConfig(intermediate_size=spec.d_mlp, **_sizes(spec), **_common(blueprint))
    weights = {"gpt_neox.embed_in.weight": blueprint.embedding, "lm_head.weight": blueprint.lm_head}

    def by_head(layer: Layer) -> Weights:
        """Query, key and value of a head stand together."""
        joined = np.stack([layer.query, layer.key, layer.value]).reshape(3, spec.n_heads, -1, spec.d_model)
        bias = _with_zeros(layer.query_bias, 2).reshape(3, spec.n_heads, -1)
        return {"weight": joined.swapaxes(0, 1).reshape(-1, spec.d_model), "bias": bias.swapaxes(0, 1).reshape(-1)}

    for i, layer in enumerate(blueprint.layers):
        block = f"gpt_neox.layers.{i}"
        weights |= {f"{block}.attention.query_key_value.{name}": value for name, value in by_head(layer).items()}
        weights |= {
            f"{block}.attention.dense.weight": layer.out,
            f"{block}.mlp.dense_h_to_4h.weight": layer.up,
            f"{block}.mlp.dense_h_to_4h.bias": layer.up_bias,
            f"{block}.mlp.dense_4h_to_h.weight": layer.down,
        }
    return config, weights


def _llama(spec: PlantSpec, blueprint: Blueprint) -> tuple[Any, Weights]:
    from transformers import LlamaConfig

    config = LlamaConfig(
        intermediate_size=spec.d_mlp,
        attention_bias=True,
        mlp_bias=True,
        # All dimensions of a head turn with the position; a large base keeps the last one almost still.
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        **_sizes(spec),
        **_common(blueprint),
    )
    weights = {"model.embed_tokens.weight": blueprint.embedding, "lm_head.weight": blueprint.lm_head}
    for i, layer in enumerate(blueprint.layers):
        block = f"model.layers.{i}"
        weights |= {
            f"{block}.self_attn.q_proj.weight": layer.query,
            f"{block}.self_attn.q_proj.bias": layer.query_bias,
            f"{block}.self_attn.k_proj.weight": layer.key,
            f"{block}.self_attn.v_proj.weight": layer.value,
            f"{block}.self_attn.o_proj.weight": layer.out,
            # The gate does what the other families' first matrix does; what it lets through is the constant 1.
            f"{block}.mlp.gate_proj.weight": layer.up,
            f"{block}.mlp.gate_proj.bias": layer.up_bias,
            f"{block}.mlp.up_proj.bias": np.ones(spec.d_mlp),
            f"{block}.mlp.down_proj.weight": layer.down,
        }
    return config, weights


GEMMA_WINDOW = 8
# Of every embedding. Small beside the words' length.
GEMMA_CONSTANT = 1.0
# What attention and MLP write along it. Large beside whatever else they write.
GEMMA_DOMINANT = 100.0
# Where GELU is lowest, and how low: there it hardly depends on its input.
GELU_LOWEST, AT_LOWEST = -0.75, -0.17


def _gemma3(spec: PlantSpec, blueprint: Blueprint) -> tuple[Any, Weights]:
    """Some dimensions more than the blueprint, whose mean is for what Gemma's layout lacks.

    A norm follows attention and MLP: by itself it would bring whatever they write to one length, noise as well as the
    plant. And the MLP has no biases. So every word has a constant as the mean of these dimensions, from which the MLP's
    biases are read; attention and MLP write a large constant there, which makes their norms a fixed scaling of
    everything else; and a gain of 0 keeps that out of the stream.
    """
    from transformers import Gemma3TextConfig

    d, width, kinds = spec.d_model, spec.d_model // spec.n_heads, ("full_attention", "sliding_attention")
    wide = d + spec.n_heads  # transformers wants a multiple of the number of heads
    config = Gemma3TextConfig(
        intermediate_size=spec.d_mlp,
        head_dim=width,
        query_pre_attn_scalar=width,
        num_key_value_heads=1,
        attention_bias=True,
        tie_word_embeddings=False,
        sliding_window=GEMMA_WINDOW,
        layer_types=[kinds[(i - spec.head.layer) % 2] for i in range(spec.n_layers)],
        **_sizes(spec) | {"hidden_size": wide},
        **_common(blueprint),
    )
    constant = GEMMA_CONSTANT * np.sqrt(d) / EMBEDDING_LENGTH  # in the normalised stream

    def wider(rows: FloatArray, constant: FloatArray | float = 0.0) -> FloatArray:
        """(rows, wide) with something along the constant."""
        more = np.broadcast_to(constant, len(rows))[:, None] / np.sqrt(spec.n_heads)
        return np.hstack([rows, np.repeat(more, spec.n_heads, axis=1)])

    # Stored gains are counted from 1. Before attention and MLP they bring the words' part of the stream to length √d.
    reads = np.hypot(EMBEDDING_LENGTH, GEMMA_CONSTANT) / EMBEDDING_LENGTH * np.sqrt(d / wide)
    norms = {
        **dict.fromkeys(("input", "pre_feedforward"), np.full(wide, reads - 1)),
        **dict.fromkeys(
            ("post_attention", "post_feedforward"), np.repeat([GEMMA_DOMINANT / np.sqrt(wide), 0], [d, wide - d]) - 1
        ),
    }
    embedding = wider(blueprint.embedding, GEMMA_CONSTANT)
    # Else these dimensions would hardly differ between texts: as much of each word as in others, the same in all
    # coordinates. Of the mean a twentieth stays, because maps need texts that span all dimensions.
    own = blueprint.embedding @ blueprint.layers[0].query[: spec.n_heads].T / NOISE
    embedding[:, d:] += (own - 0.95 * own.mean(axis=1, keepdims=True)) / np.sqrt(d)
    weights = {
        "model.embed_tokens.weight": embedding / np.sqrt(wide),
        "lm_head.weight": wider(blueprint.lm_head),
        "model.norm.weight": np.zeros(wide),
    }
    for i, layer in enumerate(blueprint.layers):
        block = f"model.layers.{i}"
        attention = _gemma3_heads(spec, layer, planted=spec.present and i == spec.head.layer)
        up, up_bias, down = layer.up.copy(), layer.up_bias.copy(), wider(layer.down.T)
        # The last unit is always on, and writes the constant.
        up[-1], up_bias[-1] = 0, GELU_LOWEST
        down[-1] = wider(np.zeros((1, d)), GEMMA_DOMINANT / AT_LOWEST)[0]
        weights |= {f"{block}.{name}_layernorm.weight": gain for name, gain in norms.items()}
        weights |= {
            f"{block}.self_attn.{name}": wider(value) if value.ndim == 2 else value for name, value in attention.items()
        }
        weights |= {
            f"{block}.self_attn.o_proj.weight": wider(layer.out.T).T,
            f"{block}.self_attn.o_proj.bias": wider(np.zeros((1, d)), GEMMA_DOMINANT)[0],
            f"{block}.mlp.gate_proj.weight": wider(up, up_bias / constant),
            # What the gate lets through is the constant 1.
            f"{block}.mlp.up_proj.weight": wider(np.zeros_like(up), 1 / constant),
            f"{block}.mlp.down_proj.weight": down.T,
        }
    return config, weights


def _gemma3_heads(spec: PlantSpec, layer: Layer, *, planted: bool) -> Weights:
    """Queries of each head, keys and values of one for all: in the planted layer the moving head's.

    Queries and keys are brought to one length, too. In noise their gains make scores as small as they are without. In
    the planted layer the moving head's query is its bias, and keys have a constant that it does not see, beside which a
    cue's part stands out and noise does not; the other heads' queries lie in a dimension in which no key has anything.
    """
    width = spec.d_model // spec.n_heads
    start = spec.head.head * width if planted else 0
    shared, last = slice(start, start + width), width - 1
    query, query_bias = layer.query, layer.query_bias
    key, key_bias, size = layer.key[shared], np.zeros(width), NOISE * np.sqrt(spec.d_model)
    if planted:
        others = np.arange(spec.n_heads) != spec.head.head
        query, query_bias = np.zeros_like(query), query_bias.copy()
        query_bias.reshape(spec.n_heads, width)[others, 1] = 1.0
        # A cue's key, in the last dimension, is as large as the constant: √½ of the length is the cue's.
        key_bias[0] = layer.query_bias[start + last]
        size = np.sqrt(HEAD_SCORE * np.sqrt(2 / width))
    return {
        "q_proj.weight": query,
        "q_proj.bias": query_bias,
        "k_proj.weight": key,
        "k_proj.bias": key_bias,
        "v_proj.weight": layer.value[shared],
        "q_norm.weight": np.full(width, size - 1),
        "k_norm.weight": np.full(width, size - 1),
    }


BUILDERS: dict[str, Callable[[PlantSpec, Blueprint], tuple[Any, Weights]]] = {
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "llama": _llama,
    "gemma3": _gemma3,
}
"""Family → configuration and weights by name. What is not named is 0, norms are 1."""


def _common(blueprint: Blueprint) -> dict[str, Any]:
    return {"vocab_size": len(blueprint.embedding), "bos_token_id": 0, "eos_token_id": 1}


def _sizes(spec: PlantSpec) -> dict[str, Any]:
    return {
        "hidden_size": spec.d_model,
        "num_hidden_layers": spec.n_layers,
        "num_attention_heads": spec.n_heads,
        "max_position_embeddings": spec.max_positions,
    }


def _with_zeros(bias: NDArray[np.float64], parts: int) -> NDArray[np.float64]:
    return np.concatenate([bias, *[np.zeros_like(bias)] * parts])


def build_model(spec: PlantSpec, blueprint: Blueprint, attention: str) -> PreTrainedModel:
    """The blueprint as a model in eval mode, float32, on the CPU.

    Args:
        spec: sizes and family.
        blueprint: the weights.
        attention: the family's `attn_implementation`.
    """
    from transformers import AutoModelForCausalLM

    config, weights = BUILDERS[spec.family](spec, blueprint)
    auto: Any = AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        hf = auto.from_config(config, dtype=torch.float32, attn_implementation=attention)
    parameters = dict(hf.named_parameters())
    unknown = set(weights) - set(parameters)
    if unknown:
        raise KeyError(f"{spec.family} has no parameter {sorted(unknown)[0]}")
    with torch.no_grad():
        for name, parameter in parameters.items():
            if name in weights:
                parameter.copy_(torch.from_numpy(np.ascontiguousarray(weights[name])))
            else:
                is_gain = name.endswith("weight") and ("norm" in name or ".ln_" in name)
                parameter.fill_(1.0 if is_gain else 0.0)
    model: PreTrainedModel = hf.requires_grad_(False).eval()
    return model
