"""Tiny random models of every family, saved as folders."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from emotion_circuits.models import families
from tiny_models import Variant, save_tiny


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    few_positions = {"max_position_embeddings": 64}
    return {
        family.name: save_tiny(
            Variant(family.name, family.model_types[0], few_positions), tmp_path_factory.mktemp(family.name)
        )
        for family in families()
    }


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
