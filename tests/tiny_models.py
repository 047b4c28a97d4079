"""Tiny models with random weights for the rooms that run forward passes: one of every family, and some odd siblings."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import GPT2Config, GPTNeoConfig, GPTNeoXConfig, LlamaConfig
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from emotion_circuits.directions import DirectionSet, GenericStatistics, source_of
from emotion_circuits.models import FAMILIES, LoadedModel, ModelName
from emotion_circuits.models._sources import reference_folder
from emotion_circuits.prompts import bank

EMOTIONS = bank().emotions

WINDOW = 8
"""Of GPT-Neo's local layers: shorter than the texts of the tests."""

TEXTS = (
    "The parcel arrived on Tuesday, and nobody asked who had sent it or why.",
    "Rain.",
    "She read the letter twice, then put it back into the drawer and closed it, slowly, with both of her hands.",
    "We meet at half past nine.",
    "A door.",
)


@dataclass(frozen=True)
class Variant:
    """A tiny model: a family, and settings that differ from the family's usual ones."""

    name: str
    family: str
    settings: dict[str, Any] = field(default_factory=dict)


VARIANTS = (
    *(Variant(family.name, family.name) for family in FAMILIES),
    Variant("gpt_neox sequential", "gpt_neox", {"use_parallel_residual": False}),
    Variant("llama wide heads", "llama", {"head_dim": 16, "attention_bias": True, "num_key_value_heads": 1}),
)


def tiny_config(variant: Variant) -> Any:
    """Three layers, four heads, width 32. A new family needs an entry here."""
    common = {"vocab_size": 4096, "bos_token_id": 0, "eos_token_id": 0}
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 160}
    usual: dict[str, tuple[Any, dict[str, Any]]] = {
        "gpt2": (GPT2Config, {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 160}),
        "gpt_neox": (
            GPTNeoXConfig,
            {
                "intermediate_size": 48,
                "rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5},
                **sizes,
            },
        ),
        "gpt_neo": (
            GPTNeoConfig,
            {
                "hidden_size": 32,
                "num_layers": 3,
                "num_heads": 4,
                "max_position_embeddings": 160,
                "window_size": WINDOW,
                "attention_types": [[["global", "local", "global"], 1]],
            },
        ),
        "llama": (LlamaConfig, {"intermediate_size": 48, "num_key_value_heads": 2, **sizes}),
    }
    kind, settings = usual[variant.family]
    return kind(**{**common, **settings, **variant.settings})


def tiny_model(variant: Variant) -> Any:
    """Weights large enough that attention is uneven; gains and biases that are not 1 and 0."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        hf = AutoModelForCausalLM.from_config(tiny_config(variant), dtype=torch.float32).eval()
    noise = torch.Generator().manual_seed(11)
    for name, parameter in hf.named_parameters():
        drawn = torch.randn(parameter.shape, generator=noise)
        is_norm = parameter.ndim == 1 and name.endswith("weight")
        parameter.data = 1 + 0.2 * drawn if is_norm else drawn * (0.2 if parameter.ndim > 1 else 0.1)
    return hf


def save_tiny(variant: Variant, folder: Path) -> Path:
    """The model as a folder that `load` takes, with the tokenizer of a reference model."""
    tiny_model(variant).save_pretrained(folder)
    tokenizer = reference_folder(ModelName.parse("reference/gpt2"))
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / file, folder / file)
    return folder


def ids_of(lm: LoadedModel, texts: tuple[str, ...] = TEXTS) -> list[tuple[int, ...]]:
    return [e.ids for e in lm.encode(texts)]


def direction_set(lm: LoadedModel, seed: int = 0) -> DirectionSet:
    """Random directions of different lengths in every layer, and norms that differ by layer."""
    rng = np.random.default_rng(seed)
    rows = lm.n_layers + 1
    norm = np.linspace(1.0, 3.0, rows).astype(np.float32)
    generic = GenericStatistics(np.zeros((rows, lm.d_model), np.float32), norm, (), (), 9)
    vectors = {
        kind: {
            e: (0.5 + k) * rng.standard_normal((rows, lm.d_model)).astype(np.float32) for k, e in enumerate(EMOTIONS)
        }
        for kind in ("matched", "specific")
    }
    return DirectionSet(source_of(lm), "mean", "hash", vectors, generic, {}, 0.5)
