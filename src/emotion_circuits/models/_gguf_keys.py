"""What a GGUF file says of its model: every key and tensor is used, known to change nothing, or refused by name.

transformers' reader takes the keys and tensors it knows and leaves out the rest without a word. Here an architecture is
a row of `ARCHITECTURES`; whatever a file says beyond that row would make the converted model another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from emotion_circuits.errors import InputError

_USE_FOLDER = "use the model's folder in Hugging Face format"


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """How the keys of one `general.architecture` become a Hugging Face configuration. Keys are without its name."""

    model_type: str

    settings: Mapping[str, str]
    """Keys that are settings of the configuration."""

    required: tuple[str, ...]
    """Those of them that a file must have: transformers would put another model's value in their place."""

    same_as: Mapping[str, str] = field(default_factory=dict)
    """Keys that must agree with a setting, because the Hugging Face model has none of its own for them."""

    biases: Mapping[str, str] = field(default_factory=dict)
    """Settings that are on where a tensor exists."""

    rotary: bool = False

    more_keys: tuple[str, ...] = ()
    """Keys that only `derived` uses."""

    derived: Callable[[dict[str, Any], Mapping[str, Any]], dict[str, Any]] | None = None
    """Settings so far and keys → settings that stand in no key of their own."""


def _gemma3(settings: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """What llama.cpp has in its code: frequencies of the layers with a window, and how scores are scaled."""
    local = {"rope_type": "default", "rope_theta": own.get("rope.freq_base_swa", 10_000.0)}
    of_27b = settings["num_hidden_layers"] == 62
    width = settings["hidden_size"] // settings["num_attention_heads"] if of_27b else settings["head_dim"]
    rope = {"full_attention": settings["rope_parameters"], "sliding_attention": local}
    return {"rope_parameters": rope, "query_pre_attn_scalar": width}


_LLAMA = {
    "context_length": "max_position_embeddings",
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
}
_HEAD_DIM = {"attention.value_length": "head_dim", "rope.dimension_count": "head_dim"}

ARCHITECTURES = {
    "llama": Architecture(
        model_type="llama",
        settings=_LLAMA,
        # Without attention.head_count_kv transformers leaves queries and keys in llama.cpp's order.
        required=tuple(key for key in _LLAMA if key != "attention.key_length"),
        same_as=_HEAD_DIM,
        biases={"attention_bias": "blk.0.attn_q.bias", "mlp_bias": "blk.0.ffn_up.bias"},
        rotary=True,
    ),
    "gemma3": Architecture(
        model_type="gemma3_text",
        settings=_LLAMA | {"attention.sliding_window": "sliding_window"},
        required=(*_LLAMA, "attention.sliding_window", "rope.freq_base"),
        same_as=_HEAD_DIM,
        rotary=True,
        more_keys=("rope.freq_base_swa",),
        derived=_gemma3,
    ),
    "gpt2": Architecture(
        model_type="gpt2",
        settings={
            "context_length": "n_positions",
            "block_count": "n_layer",
            "embedding_length": "n_embd",
            "feed_forward_length": "n_inner",
            "attention.head_count": "n_head",
            "attention.layer_norm_epsilon": "layer_norm_epsilon",
        },
        required=(
            "context_length",
            "block_count",
            "embedding_length",
            "attention.head_count",
            "attention.layer_norm_epsilon",
        ),
        same_as={"attention.head_count_kv": "n_head"},
    ),
}
"""By `general.architecture`: those that both transformers' GGUF reader and the families here know."""

_NEUTRAL: dict[str, tuple[object, ...]] = {
    "attention.causal": (True,),
    "attention.clamp_kqv": (0.0,),
    "attention.max_alibi_bias": (0.0,),
    "attention.scale": (0.0,),
    "attention.sliding_window": (0,),
    "attn_logit_softcapping": (0.0,),
    "embedding_scale": (0.0, 1.0),
    "expert_count": (0,),
    "expert_used_count": (0,),
    "final_logit_softcapping": (0.0,),
    "logit_scale": (0.0, 1.0),
    "residual_scale": (0.0, 1.0),
    "rope.scaling.attn_factor": (1.0,),
    "tensor_data_layout": ("Meta AI original pth",),
    "use_parallel_residual": (False,),
}
"""Keys of any architecture, with the values at which they change nothing."""

_NO_NUMBERS = ("pooling_type", "rope.scaling.finetuned", "rope.scaling.original_context_length")
"""Keys of any architecture that decide no logits (the last one belongs to scalings that are refused)."""

_ROPE = ("rope.freq_base", "rope.scaling.type", "rope.scaling.factor", "rope.scale_linear")
_ROPE_FACTORS = "rope_freqs.weight"


@dataclass(frozen=True)
class GgufModel:
    """A GGUF file whose every key and tensor is accounted for."""

    config: Any
    """The `PreTrainedConfig` that it describes."""

    keys: Mapping[str, Any]
    """All metadata, by its full name."""

    parameters: int


def read_gguf(file: Path) -> GgufModel:
    """Read what a `.gguf` file says, without its weights.

    Raises:
        InputError: the file is damaged, of an unknown architecture, or says something that cannot be honoured.
    """
    from gguf import GGUFReader

    try:
        reader = GGUFReader(file)
        keys = {name: entry.contents() for name, entry in reader.fields.items()}
        shapes = {tensor.name: tuple(int(size) for size in reversed(tensor.shape)) for tensor in reader.tensors}
        parameters = sum(int(tensor.n_elements) for tensor in reader.tensors)
        factors = [
            float(x) for tensor in reader.tensors if tensor.name == _ROPE_FACTORS for x in tensor.data.reshape(-1)
        ]
        name = keys["general.architecture"]
    except (ValueError, IndexError, KeyError, OSError, TypeError) as error:
        raise unreadable(file, error) from error
    if name not in ARCHITECTURES:
        raise InputError(
            "GGUF files of this architecture are not supported.",
            found=f"{name!r} in {file}",
            accepted=", ".join(ARCHITECTURES),
            next_step=_USE_FOLDER,
        )
    _check_whole(file, keys)
    architecture = ARCHITECTURES[name]
    own = {key.removeprefix(f"{name}."): value for key, value in keys.items() if key.startswith(f"{name}.")}
    config = _config(file, name, own, keys, shapes, factors)
    _check_tensors(file, name, config, shapes, rotary=architecture.rotary)
    return GgufModel(config, keys, parameters)


def refuse(file: Path, what: Iterable[str], accepted: str | None = None) -> InputError:
    """The error for keys and tensors that the conversion would leave out."""
    named = list(what)
    more = f" and {len(named) - 4} more" if len(named) > 4 else ""
    return InputError(
        f"{file.name} cannot be converted exactly.",
        found=", ".join(named[:4]) + more,
        accepted=accepted,
        next_step=_USE_FOLDER,
    )


def unreadable(file: Path, error: Exception) -> InputError:
    return InputError(
        f"{file.name} cannot be read as a GGUF model.",
        found=f"{type(error).__name__}: {str(error)[:160]}",
        next_step=f"fetch the file again, or {_USE_FOLDER}",
    )


def _check_whole(file: Path, keys: Mapping[str, Any]) -> None:
    if (kind := keys.get("general.type", "model")) != "model":
        raise refuse(file, [f"general.type = {kind}"], "model")
    if (parts := keys.get("split.count", 0)) > 1:
        raise refuse(file, [f"split.count = {parts}: a part of a model"], "one whole file (llama-gguf-split --merge)")


def _config(
    file: Path,
    name: str,
    own: Mapping[str, Any],
    keys: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    factors: list[float],
) -> Any:
    from transformers import AutoConfig

    known = ARCHITECTURES[name]
    rope = _ROPE if known.rotary else ()
    used = {*known.settings, *known.same_as, *rope, *known.more_keys, "vocab_size"}
    strange = [
        f"{name}.{key} = {_short(value)}"
        for key, value in own.items()
        if (key in used and isinstance(value, list))  # one value a layer
        or (key not in used and key not in _NO_NUMBERS and value not in _NEUTRAL.get(key, ()))
    ]
    if strange:
        raise refuse(file, strange)
    if missing := [f"{name}.{key} is missing" for key in known.required if key not in own]:
        raise refuse(file, missing)
    rows = shapes.get("token_embd.weight", (0,))[0]
    for key, count in ((f"{name}.vocab_size", own.get("vocab_size", rows)), ("tokenizer.ggml.tokens", _count(keys))):
        if count > rows or (count != rows and key.endswith("vocab_size")):
            raise refuse(file, [f"{key} = {count}", f"{rows} rows of token_embd.weight"])
    settings: dict[str, Any] = {setting: own[key] for key, setting in known.settings.items() if key in own}
    settings |= {setting: tensor in shapes for setting, tensor in known.biases.items()}
    for special in ("bos", "eos"):  # the default ids of the configuration are another model's
        settings[f"{special}_token_id"] = keys.get(f"tokenizer.ggml.{special}_token_id")
    if known.rotary:
        settings["rope_parameters"] = _rope(file, name, own, factors)
    if known.derived is not None:
        settings |= known.derived(settings, own)
    try:
        config = AutoConfig.for_model(
            known.model_type, vocab_size=rows, tie_word_embeddings="output.weight" not in shapes, **settings
        )
    except Exception as error:  # transformers validates configurations with exceptions of many kinds
        raise unreadable(file, error) from error
    for key, setting in known.same_as.items():
        if own.get(key, getattr(config, setting)) != getattr(config, setting):
            raise refuse(file, [f"{name}.{key} = {own[key]}"], str(getattr(config, setting)))
    return config


def _rope(file: Path, name: str, own: Mapping[str, Any], factors: list[float]) -> dict[str, Any]:
    """Rotary frequencies: divided by one factor (linear scaling), by one each (`rope_freqs.weight`), or both."""
    kind = own.get("rope.scaling.type", "linear")
    if kind not in ("none", "linear"):
        raise refuse(file, [f"{name}.rope.scaling.type = {kind}"], "none, linear")
    factor = own.get("rope.scaling.factor") or own.get("rope.scale_linear") or 1.0
    factor = 1.0 if kind == "none" else float(factor)
    base = {"rope_theta": own.get("rope.freq_base", 10_000.0)}
    if not factors:
        return base | ({"rope_type": "default"} if factor == 1 else {"rope_type": "linear", "factor": factor})
    frequencies = (own.get("attention.key_length") or own["embedding_length"] // own["attention.head_count"]) // 2
    if len(factors) != frequencies:
        raise refuse(file, [f"tensor {_ROPE_FACTORS} of {len(factors)} numbers"], f"{frequencies}, by the file's keys")
    divisors = [factor * each for each in factors]
    # transformers' only scaling with a factor each; both lists are the same, so that the text's length changes nothing.
    return base | {
        "rope_type": "longrope",
        "short_factor": divisors,
        "long_factor": divisors,
        "attention_factor": 1.0,
        "factor": 1.0,
        "original_max_position_embeddings": own["context_length"],
    }


def _check_tensors(file: Path, name: str, config: Any, shapes: Mapping[str, tuple[int, ...]], *, rotary: bool) -> None:
    """The file's tensors are those of the model, no more, no fewer, and of its sizes."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map
    from transformers import AutoModelForCausalLM

    architecture = next(number for number, known in MODEL_ARCH_NAMES.items() if known == name)
    names = get_tensor_name_map(architecture, config.num_hidden_layers)
    from_config: Any = AutoModelForCausalLM.from_config
    with torch.device("meta"):
        wanted = {
            names.get_name(own, (".weight", ".bias")): tuple(value.shape)
            for own, value in from_config(config).state_dict().items()
        }
    if config.tie_word_embeddings:
        del wanted["output.weight"]
    if rotary and _ROPE_FACTORS in shapes:
        wanted[_ROPE_FACTORS] = shapes[_ROPE_FACTORS]
    if unknown := [f"tensor {tensor}" for tensor in shapes if tensor not in wanted]:
        raise refuse(file, unknown)
    if missing := [f"tensor {tensor} is missing" for tensor in wanted if tensor not in shapes]:
        raise refuse(file, missing)
    for tensor, shape in shapes.items():
        if sorted(shape) != sorted(wanted[tensor]):  # GPT-2's matrices are stored the other way round
            raise refuse(file, [f"tensor {tensor} of shape {shape}"], f"{wanted[tensor]}, by the file's own keys")


def _count(keys: Mapping[str, Any]) -> int:
    tokens = keys.get("tokenizer.ggml.tokens")
    return len(tokens) if isinstance(tokens, list) else 0


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
