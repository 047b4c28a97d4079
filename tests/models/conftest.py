"""Tiny random models of every family, saved as folders."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPTNeoConfig, GPTNeoXConfig, LlamaConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from emotion_circuits.models import FAMILIES, ModelName
from emotion_circuits.models._sources import reference_folder

VOCABULARY = 4096
TOKENIZER = reference_folder(ModelName.parse("reference/gpt2"))


def tiny_config(family: str) -> PreTrainedConfig:
    """Three layers, four heads of width 8. A new family needs an entry here."""
    common = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0}
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 64}
    configs = {
        "gpt2": lambda: GPT2Config(n_embd=32, n_layer=3, n_head=4, n_positions=64, **common),
        "gpt_neox": lambda: GPTNeoXConfig(intermediate_size=64, **sizes, **common),
        "gpt_neo": lambda: GPTNeoConfig(
            hidden_size=32,
            num_layers=3,
            num_heads=4,
            max_position_embeddings=64,
            window_size=8,
            attention_types=[[["global", "local", "global"], 1]],
            **common,
        ),
        "llama": lambda: LlamaConfig(intermediate_size=64, num_key_value_heads=2, **sizes, **common),
    }
    return configs[family]()


def tiny_model(family: str) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return AutoModelForCausalLM.from_config(tiny_config(family), dtype=torch.float32).eval()


def add_tokenizer(folder: Path) -> None:
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / file, folder / file)


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for family in FAMILIES:
        folders[family.name] = folder = tmp_path_factory.mktemp(family.name)
        tiny_model(family.name).save_pretrained(folder)
        add_tokenizer(folder)
    return folders


@pytest.fixture
def tiny_gpt2(tiny_folders: dict[str, Path], tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(tiny_folders["gpt2"], tmp_path / "gpt2"))


@pytest.fixture
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No converted model, no hub model, and a hub that refuses connections."""
    import huggingface_hub.constants

    monkeypatch.setenv("EMOTION_CIRCUITS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    return tmp_path / "cache"
