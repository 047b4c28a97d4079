"""Tiny models in folders, and one small study of one of them that several files of tests look at."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from emotion_circuits.models import ModelName
from emotion_circuits.models._sources import reference_folder
from emotion_circuits.study import run_study
from small_study import N_LAYERS, Small
from tiny_models import VARIANTS, save_tiny


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all processes of a test run see."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@pytest.fixture(scope="session")
def small(common: Path) -> Small:
    """The first three of a reference model's eight blocks, which tell emotions apart, and a tiny model of another
    family."""
    reference = reference_folder(ModelName.parse("reference/gpt2"))
    some, other = common / "models" / "some", common / "models" / "llama"
    with FileLock(common / "models.lock"):
        if not other.exists():
            some.mkdir(parents=True)
            for file in ("tokenizer.json", "tokenizer_config.json"):
                shutil.copy(reference / file, some / file)
            AutoModelForCausalLM.from_pretrained(reference, num_hidden_layers=N_LAYERS).save_pretrained(some)
            [llama] = [variant for variant in VARIANTS if variant.name == "llama"]
            save_tiny(llama, other)
    return Small(str(some), str(other))


@pytest.fixture(scope="session")
def undisturbed(small: Small, common: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished small study, computed once for all processes; who changes a file puts it back."""
    with FileLock(common / "study.lock"):
        if not (common / "study" / "baseline" / "report").exists():
            run_study(small.study(common / "study"))
    return (
        Path(shutil.copytree(common / "study", tmp_path_factory.mktemp("undisturbed"), dirs_exist_ok=True)) / "baseline"
    )
