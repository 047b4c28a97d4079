"""What the project must know of an architecture, held as data.

Everything else (recording, editing, replay, attribution) is generic. A family that is not bundled is registered with
`register_family`; the tests run over `families()`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from emotion_circuits._own_files import HOW, Registry
from emotion_circuits.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Family:
    """Where the parts of one architecture are. Paths are dotted attribute paths.

    The defaults are Llama's layout, which most architectures of transformers share. Layers' sizes, sliding windows and
    soft caps come from the configuration.
    """

    name: str
    """Name for tables and messages."""

    model_types: tuple[str, ...]
    """Values of `config.model_type` in Hugging Face configurations that belong to this family."""

    blocks: str = "model.layers"
    """From the causal LM to the `ModuleList` of blocks."""

    final_norm: str = "model.norm"
    """From the causal LM to the norm between the last block and the LM head."""

    attention: str = "self_attn"
    """From a block to its attention module."""

    attention_out: str = "self_attn.o_proj"
    """From a block to the attention's out-projection. Its input is the heads' outputs side by side, in every family:
    `z[..., h * d_head : (h + 1) * d_head]` belongs to head h."""

    attention_post_norm: str | None = None
    """From a block to the norm that the out-projection's output passes before it is added to the residual stream; None
    where it is added as it is."""

    values: str = "self_attn.v_proj"
    """From a block to the projection that computes the heads' values."""

    value_layout: Literal["alone", "thirds", "by_head"] = "alone"
    """What that projection's output holds: values only; queries, keys and values as thirds; or these three of one head
    side by side, head after head."""

    mlp: str = "mlp"
    """From a block to its MLP."""

    mlp_out: str = "mlp.down_proj"
    """From a block to the MLP's out-projection. Its input is the neurons' activations."""

    mlp_post_norm: str | None = None
    """As `attention_post_norm`, after the MLP."""

    mid_norm: str = "post_attention_layernorm"
    """From a block to what reads `resid_mid` where the block is not parallel: the norm before its MLP, or the MLP."""

    parallel: bool = False
    """Attention and MLP read the same block input, so no `resid_mid` exists. A configuration may say otherwise: ask
    `is_parallel`."""

    centred_norm: bool = False
    """The norms subtract the mean over dimensions (LayerNorm), so the model cannot see the all-ones direction of the
    residual stream. False for RMSNorm."""

    bos_auto: bool = False
    """Whether texts get a BOS token when the caller says "auto" though the tokenizer adds none (Pythia was trained
    without one)."""

    block_output: Literal["tensor", "tuple"] = "tensor"
    """What a block returns: the residual stream, or a tuple that begins with it."""

    gguf: str | None = None
    """llama.cpp's name of the architecture; None where it has none."""

    attention_implementation: str = "sdpa"
    """The `attn_implementation` to load with."""

    def is_parallel(self, config: Any) -> bool:
        """Whether blocks of this configuration run attention and MLP on the same input."""
        return bool(getattr(config, "use_parallel_residual", self.parallel))


BUNDLED: tuple[Family, ...] = (
    Family(
        name="gpt2",
        model_types=("gpt2",),
        gguf="gpt2",
        blocks="transformer.h",
        final_norm="transformer.ln_f",
        attention="attn",
        attention_out="attn.c_proj",
        values="attn.c_attn",
        value_layout="thirds",
        mlp_out="mlp.c_proj",
        mid_norm="ln_2",
        centred_norm=True,
        bos_auto=True,
    ),
    Family(
        name="gpt_neox",
        model_types=("gpt_neox",),
        gguf="gptneox",
        blocks="gpt_neox.layers",
        final_norm="gpt_neox.final_layer_norm",
        attention="attention",
        attention_out="attention.dense",
        values="attention.query_key_value",
        value_layout="by_head",
        mlp_out="mlp.dense_4h_to_h",
        parallel=True,
        centred_norm=True,
    ),
    Family(
        name="gpt_neo",
        model_types=("gpt_neo",),
        blocks="transformer.h",
        final_norm="transformer.ln_f",
        attention="attn",
        attention_out="attn.attention.out_proj",
        values="attn.attention.v_proj",
        mlp_out="mlp.c_proj",
        mid_norm="ln_2",
        centred_norm=True,
        block_output="tuple",
        attention_implementation="eager",  # transformers has no other one for its local layers
    ),
    Family(name="llama", model_types=("llama",), gguf="llama"),
    Family(name="mistral", model_types=("mistral",), gguf="llama"),
    Family(name="qwen2", model_types=("qwen2",), gguf="qwen2"),
    Family(name="qwen3", model_types=("qwen3",), gguf="qwen3"),
    Family(
        name="gemma3",
        model_types=("gemma3_text",),
        gguf="gemma3",
        attention_post_norm="post_attention_layernorm",
        mid_norm="pre_feedforward_layernorm",
        mlp_post_norm="post_feedforward_layernorm",
        bos_auto=True,
    ),
)

FAMILIES: Final = Registry("family", {family.name: family for family in BUNDLED})


def register_family(family: Family) -> Family:
    """Make an architecture known, for this process. Its models are then proven on load like any other's.

    The same family again is no error, so that a module that registers one may be imported twice.

    Raises:
        InputError: another family has its name or one of its model types.
    """
    types = family.model_types
    if not types or isinstance(types, str):
        raise InputError("A family needs its model types.", found=repr(types), accepted='a tuple such as ("olmo2",)')
    for known in FAMILIES.values():
        if known == family:
            return FAMILIES.again(known.name)
        if known.name == family.name or set(known.model_types) & set(types):
            raise FAMILIES.taken(known.name, f"{known.name} ({', '.join(known.model_types)})")
    return FAMILIES.register(family.name, family)


def forget_family(name: str) -> None:
    """Undo `register_family`. Models that are loaded keep their family.

    Raises:
        InputError: no family of this name was registered.
    """
    FAMILIES.forget(name)


def families() -> tuple[Family, ...]:
    """The bundled families, then those registered, also by the files that EMOTION_CIRCUITS_FAMILIES names.

    Raises:
        InputError: such a file cannot be run.
    """
    return tuple(FAMILIES.values())


def family_of(config: Any) -> Family:
    """The family of a Hugging Face configuration.

    Args:
        config: anything with a `model_type`.

    Raises:
        InputError: the architecture is not known.
    """
    model_type = getattr(config, "model_type", None)
    known = families()
    for family in known:
        if model_type in family.model_types:
            return family
    raise InputError(
        "This architecture is not supported.",
        found=f"model_type {model_type!r}",
        accepted=", ".join(one for family in known for one in family.model_types),
        next_step=f"choose a model of one of these, or register its family (docs/adding.md) and {HOW}",
    )
