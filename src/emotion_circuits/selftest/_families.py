"""A blueprint as a model of each family: the only place that knows how a family lays its weights out.

A family joins by being added to `BUILDERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from emotion_circuits.selftest._blueprint import Blueprint, Layer, PlantSpec

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


BUILDERS: dict[str, Callable[[PlantSpec, Blueprint], tuple[Any, Weights]]] = {
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "llama": _llama,
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
