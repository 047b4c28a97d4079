"""Whatever decides a number is in the keys of the stages that rest on it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from emotion_circuits.prompts import _bank
from emotion_circuits.study import Study, keys_of, plan_study
from tiny_models import VARIANTS, save_tiny

BANK = sorted(path.name for path in _bank._DATA.glob("*.json*"))


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the bundled texts that a test may edit."""
    folder = tmp_path / "bank"
    shutil.copytree(_bank._DATA, folder)
    monkeypatch.setattr(_bank, "_DATA", folder)
    return folder


def keys(*models: str) -> dict[str, str]:
    return keys_of(plan_study(Study(models=models)))


@pytest.mark.parametrize("file", BANK)
def test_one_character_of_the_bank_changes_every_key(file: str, bank: Path) -> None:
    before = keys("reference/gpt2", "reference/gpt-neo")
    text = (bank / file).read_text(encoding="utf-8")
    at = next(i for i in range(len(text) // 2, len(text)) if text[i : i + 3].isalpha())
    (bank / file).write_text(text[:at] + text[at].swapcase() + text[at + 1 :], encoding="utf-8")
    after = keys("reference/gpt2", "reference/gpt-neo")
    assert not {name for name in before if before[name] == after[name]}


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("config.json", {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}),
        ("config.json", {"rms_norm_eps": 1e-3}),
        ("tokenizer_config.json", {"bos_token": "<|bos|>"}),
        ("generation_config.json", {"eos_token_id": 7}),
        ("tokenizer.json", {"truncation": None, "version": "1.1"}),
    ],
)
def test_an_edited_model_runs_again_and_no_other_does(file: str, change: dict[str, object], tmp_path: Path) -> None:
    [llama] = [v for v in VARIANTS if v.name == "llama"]
    folder = save_tiny(llama, tmp_path / "tiny")
    before = keys(str(folder), "reference/gpt2")
    written = json.loads((folder / file).read_text(encoding="utf-8"))
    (folder / file).write_text(json.dumps(written | change), encoding="utf-8")
    after = keys(str(folder), "reference/gpt2")
    changed = {name for name in before if before[name] != after[name]}
    rest_on_it = {"claims", "report", "mapped_steering/reference--gpt2"}
    assert changed == rest_on_it | {name for name in before if "tiny" in name}


def test_however_a_model_is_named_its_stages_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tiny(VARIANTS[0], tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    assert keys("./tiny") == keys("tiny") == keys("./tiny/") == keys(str(tmp_path / "tiny"))
    with pytest.raises(ValueError, match="each model once"):
        Study(models=("tiny", "./tiny"))
