"""Tiny models with random weights for the rooms that run forward passes: one of every family, and some odd siblings."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoTokenizer
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from emotion_circuits.directions import DirectionSet, GenericStatistics, source_of
from emotion_circuits.models import LoadedModel, ModelName, families
from emotion_circuits.models._sources import reference_folder
from emotion_circuits.prompts import bank
from tiny_tokenizers import save_tokenizer

EMOTIONS = bank().emotions

WINDOW = 12
"""Of sliding windows and GPT-Neo's local layers: shorter than the texts of the tests."""

TEXTS = (
    "The parcel arrived on Tuesday, and nobody asked who had sent it or why.",
    "Rain.",
    "She read the letter twice, then put it back into the drawer and closed it, slowly, with both of her hands.",
    "We meet at half past nine.",
    "A door.",
)


@dataclass(frozen=True)
class Variant:
    """A tiny model: an architecture, and settings that differ from its usual ones."""

    name: str
    model_type: str
    settings: dict[str, Any] = field(default_factory=dict)


SETTINGS: dict[str, dict[str, Any]] = {
    "llama": {"attention_bias": True},
    "qwen2": {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    "qwen3": {"head_dim": 16, "num_key_value_heads": 1},
    "gemma3_text": {
        "head_dim": 16,
        "final_logit_softcapping": 3.0,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
}
"""What the usual configuration leaves out of what an architecture can do."""

VARIANTS = (
    *(
        Variant(model_type, model_type, SETTINGS.get(model_type, {}))
        for family in families()
        for model_type in family.model_types
    ),
    Variant("gpt_neox sequential", "gpt_neox", {"use_parallel_residual": False}),
)

CONTRASTING = ("gpt_neox", "gemma3_text")
"""Attention and MLP side by side, layer norms with biases, one key a head; and one after the other, RMS norms before
and behind both, keys that heads share, sliding windows."""

SIZES = {
    "vocab_size": 4096,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 160,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "window_size": WINDOW,
    "sliding_window": WINDOW,
    "attention_types": [[["global", "local", "global"], 1]],
}


def tiny_config(model_type: str, **settings: Any) -> Any:
    """Three layers, four heads, width 32: of `SIZES` what the architecture's own configuration has, so that a family
    needs no entry here."""
    usual = AutoConfig.for_model(model_type)
    sizes = {key: value for key, value in SIZES.items() if getattr(usual, key, None) is not None}
    return AutoConfig.for_model(model_type, **{**sizes, **settings})


def fits(variant: Variant, style: str) -> bool:
    """transformers reads whatever tokenizer a Qwen 2 model has as one of Qwen 2's own kind, so others are not tried."""
    return variant.model_type != "qwen2" or style in ("byte_level", "byte_level_bos", "added_tokens")


def tiny_model(variant: Variant, **settings: Any) -> Any:
    """Weights large enough that attention is uneven; gains and biases that are not 1 and 0."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        config = tiny_config(variant.model_type, **variant.settings, **settings)
        hf = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    noise = torch.Generator().manual_seed(11)
    for name, parameter in hf.named_parameters():
        drawn = torch.randn(parameter.shape, generator=noise)
        is_norm = parameter.ndim == 1 and name.endswith("weight")
        parameter.data = 1 + 0.2 * drawn if is_norm else drawn * (0.2 if parameter.ndim > 1 else 0.1)
    return hf


WEIGHTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "tied": ({"tie_word_embeddings": True}, {}),
    "untied": ({"tie_word_embeddings": False}, {}),
    "sharded": ({}, {"max_shard_size": "40KB"}),
    "bfloat16": ({}, {}),
    "padded vocabulary": ({"vocab_size": SIZES["vocab_size"] + 64}, {}),
}
"""Ways in which weights are stored: settings of the configuration, and of `save_pretrained`."""


def save_tiny(variant: Variant, folder: Path, *, style: str | None = None, weights: str | None = None) -> Path:
    """The model as a folder that `load` takes.

    Args:
        variant: which one.
        folder: where to.
        style: of its tokenizer, one of `tiny_tokenizers.STYLES`; None for a reference model's.
        weights: one of `WEIGHTS`; None leaves it to the configuration.
    """
    settings, saving = WEIGHTS[weights] if weights else ({}, {})
    if style:
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer = AutoTokenizer.from_pretrained(save_tokenizer(style, folder))
        settings = {**settings, "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    hf = tiny_model(variant, **settings)
    (hf.to(torch.bfloat16) if weights == "bfloat16" else hf).save_pretrained(folder, **saving)
    reference = reference_folder(ModelName.parse("reference/gpt2"))
    for file in () if style else ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(reference / file, folder / file)
    return folder


def ids_of(lm: LoadedModel, texts: tuple[str, ...] = TEXTS) -> list[tuple[int, ...]]:
    return [e.ids for e in lm.encode(texts)]


def direction_set(lm: LoadedModel, seed: int = 0) -> DirectionSet:
    """Random directions of different lengths in every layer, and norms that differ by layer."""
    rng = np.random.default_rng(seed)
    rows = lm.n_layers + 1
    norm = np.linspace(1.0, 3.0, rows).astype(np.float32)
    generic = GenericStatistics(np.zeros((rows, lm.d_model), np.float32), norm, (), (), 9, spread=norm)
    vectors = {
        kind: {
            e: (0.5 + k) * rng.standard_normal((rows, lm.d_model)).astype(np.float32) for k, e in enumerate(EMOTIONS)
        }
        for kind in ("matched", "specific")
    }
    return DirectionSet(source_of(lm), "mean", "hash", vectors, generic, {}, 0.5)
