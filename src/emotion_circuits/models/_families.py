"""What the project must know of an architecture, held as data.

Everything else (recording, editing, replay, attribution) is generic. Adding a family is adding one entry to `FAMILIES`;
the tests run over that list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from emotion_circuits.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Family:
    """Where the parts of one architecture are. Paths are dotted attribute paths."""

    name: str
    """Name for tables and messages."""

    model_types: tuple[str, ...]
    """Values of `config.model_type` in Hugging Face configurations that belong to this family."""

    base: str
    """From the causal LM to the model without its LM head. Running it costs no vocabulary-sized product."""

    blocks: str
    """From the causal LM to the `ModuleList` of blocks."""

    embedding: str
    """From the causal LM to the token embedding."""

    final_norm: str
    """From the causal LM to the norm between the last block and the LM head."""

    lm_head: tuple[str, ...] = ("lm_head",)
    """From the causal LM to the unembedding; the first path that exists (releases of transformers differ for NeoX)."""

    attention: str
    """From a block to its attention module, whose output (or first output) is added to the residual stream."""

    attention_out: str
    """From a block to the attention's out-projection. Its input is the heads' outputs side by side, in every family:
    `z[..., h * d_head : (h + 1) * d_head]` belongs to head h."""

    values: str
    """From a block to the projection that computes the heads' values."""

    value_layout: Literal["alone", "thirds", "by_head"] = "alone"
    """What that projection's output holds: values only; queries, keys and values as thirds; or these three of one head
    side by side, head after head."""

    mlp: str
    """From a block to its MLP, whose output is added to the residual stream."""

    mlp_out: str
    """From a block to the MLP's out-projection. Its input is the neurons' activations."""

    mid_norm: str
    """From a block to the norm before its MLP; its input is `resid_mid` where the block is not parallel."""

    parallel: bool
    """Attention and MLP read the same block input, so no `resid_mid` exists. A configuration may say otherwise: ask
    `is_parallel`."""

    centred_norm: bool
    """The norms subtract the mean over dimensions (LayerNorm), so the model cannot see the all-ones direction of the
    residual stream. False for RMSNorm."""

    bos_auto: bool
    """Whether texts get a BOS token when the caller says "auto" (Pythia was trained without one)."""

    block_output: Literal["tensor", "tuple"] = "tensor"
    """What a block returns: the residual stream, or a tuple that begins with it."""

    gguf: str | None = None
    """llama.cpp's name of the architecture; None where it has none."""

    attention_implementation: str = "sdpa"
    """The `attn_implementation` to load with."""

    def is_parallel(self, config: Any) -> bool:
        """Whether blocks of this configuration run attention and MLP on the same input."""
        return bool(getattr(config, "use_parallel_residual", self.parallel))


FAMILIES: tuple[Family, ...] = (
    Family(
        name="gpt2",
        model_types=("gpt2",),
        gguf="gpt2",
        base="transformer",
        blocks="transformer.h",
        embedding="transformer.wte",
        final_norm="transformer.ln_f",
        attention="attn",
        attention_out="attn.c_proj",
        values="attn.c_attn",
        value_layout="thirds",
        mlp="mlp",
        mlp_out="mlp.c_proj",
        mid_norm="ln_2",
        parallel=False,
        centred_norm=True,
        bos_auto=True,
    ),
    Family(
        name="gpt_neox",
        model_types=("gpt_neox",),
        gguf="gptneox",
        base="gpt_neox",
        blocks="gpt_neox.layers",
        embedding="gpt_neox.embed_in",
        final_norm="gpt_neox.final_layer_norm",
        lm_head=("lm_head", "embed_out"),
        attention="attention",
        attention_out="attention.dense",
        values="attention.query_key_value",
        value_layout="by_head",
        mlp="mlp",
        mlp_out="mlp.dense_4h_to_h",
        mid_norm="post_attention_layernorm",
        parallel=True,
        centred_norm=True,
        bos_auto=False,
    ),
    Family(
        name="gpt_neo",
        model_types=("gpt_neo",),
        base="transformer",
        blocks="transformer.h",
        embedding="transformer.wte",
        final_norm="transformer.ln_f",
        attention="attn",
        attention_out="attn.attention.out_proj",
        values="attn.attention.v_proj",
        mlp="mlp",
        mlp_out="mlp.c_proj",
        mid_norm="ln_2",
        parallel=False,
        centred_norm=True,
        bos_auto=False,
        block_output="tuple",
        attention_implementation="eager",  # transformers has no other one for its local layers
    ),
    Family(
        name="llama",
        model_types=("llama",),
        gguf="llama",
        base="model",
        blocks="model.layers",
        embedding="model.embed_tokens",
        final_norm="model.norm",
        attention="self_attn",
        attention_out="self_attn.o_proj",
        values="self_attn.v_proj",
        mlp="mlp",
        mlp_out="mlp.down_proj",
        mid_norm="post_attention_layernorm",
        parallel=False,
        centred_norm=False,
        bos_auto=False,
    ),
)


def family_of(config: Any) -> Family:
    """The family of a Hugging Face configuration.

    Args:
        config: anything with a `model_type`.

    Raises:
        InputError: the architecture is not known.
    """
    model_type = getattr(config, "model_type", None)
    for family in FAMILIES:
        if model_type in family.model_types:
            return family
    raise InputError(
        "This architecture is not supported.",
        found=f"model_type {model_type!r}",
        accepted=", ".join(known for family in FAMILIES for known in family.model_types),
        next_step="choose a model of one of these families; a new one is one entry in emotion_circuits.models.FAMILIES",
    )
