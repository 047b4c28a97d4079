"""Families that a user registers: what the registry takes and refuses, and that all else works from the facts."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from check_loaded_model import check_loaded_model

import emotion_circuits as ec
from emotion_circuits.engine import load_verified, verify
from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.models import families, family_of_model, forget_family, load
from tiny_models import Variant, save_tiny

OLMO2 = ec.Family(
    name="olmo2",
    model_types=("olmo2",),
    attention_post_norm="post_attention_layernorm",
    mid_norm="mlp",  # no norm stands before it
    mlp_post_norm="post_feedforward_layernorm",
)
GEMMA2 = replace(
    next(f for f in families() if f.name == "gemma3"),
    name="gemma2",
    model_types=("gemma2",),
    attention_implementation="eager",
)
OTHERS = {
    "olmo2": (OLMO2, {}),
    "gemma2": (GEMMA2, {"final_logit_softcapping": 3.0, "attn_logit_softcapping": 2.0, "head_dim": 16}),
    "stablelm": (ec.Family(name="stablelm", model_types=("stablelm",), centred_norm=True), {}),
    "cohere": (
        ec.Family(name="cohere", model_types=("cohere",), parallel=True, centred_norm=True),
        {"logit_scale": 1.0},
    ),
}


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = families()
    yield
    for family in set(families()) - set(before):
        forget_family(family.name)


def folder_of(name: str, folder: Path, **settings: object) -> Path:
    return save_tiny(Variant(name, name, {**OTHERS[name][1], **settings}), folder)


@pytest.mark.parametrize("name", OTHERS)
def test_a_registered_family_is_proven_and_measured_like_the_others(name: str, tmp_path: Path) -> None:
    folder = folder_of(name, tmp_path)
    with pytest.raises(InputError, match=f"(?s)'{name}'.*gemma3_text.*register"):
        load(str(folder))
    assert ec.register_family(OTHERS[name][0]) is families()[-1] and family_of_model(str(folder)).name == name
    lm = load_verified(str(folder), bos=False)
    assert lm.packing and all(check.ok for check in verify(lm).checks)
    check_loaded_model(folder, bos=False)


@pytest.mark.parametrize(
    ("wrong", "settings", "proof"),
    [
        ({"attention_post_norm": None}, {}, "adds up|fit together"),
        ({"mlp_post_norm": "post_attention_layernorm"}, {}, "adds up|fit together"),
        ({"mid_norm": "self_attn"}, {}, "fit together"),
        ({"centred_norm": True}, {}, "centred"),
    ],
)
def test_a_family_with_a_wrong_fact_is_refused(wrong: dict, settings: dict, proof: str, tmp_path: Path) -> None:
    ec.register_family(replace(OLMO2, **wrong))
    with pytest.raises(MeasurementError, match=proof):
        load_verified(str(folder_of("olmo2", tmp_path, **settings)), bos=False)


def test_models_that_no_fact_describes_are_refused(tmp_path: Path) -> None:
    """Logits that are scaled, attention that looks ahead, layers of another kind."""
    ec.register_family(OTHERS["cohere"][0])
    with pytest.raises(MeasurementError, match="logits"):
        load_verified(str(folder_of("cohere", tmp_path / "scaled", logit_scale=0.5)), bos=False)
    ahead = Variant("gemma3_text", "gemma3_text", {"use_bidirectional_attention": True})
    with pytest.raises(MeasurementError, match="end of a text"):
        load_verified(str(save_tiny(ahead, tmp_path / "ahead")), bos=False)
    folder = save_tiny(Variant("llama", "llama"), tmp_path / "kind")
    config = folder / "config.json"
    config.write_text(
        config.read_text().replace("{", '{"layer_types": ["full_attention", "chunked_attention", "full_attention"],', 1)
    )
    with pytest.raises(InputError, match="chunked_attention"):
        load_verified(str(folder), bos=False)


def test_the_registry_keeps_names_and_types_apart() -> None:
    assert ec.register_family(OLMO2) == ec.register_family(replace(OLMO2)) and families().count(OLMO2) == 1
    for other in (replace(OLMO2, mlp="other"), replace(OLMO2, name="mine"), replace(OLMO2, model_types=("llama",))):
        with pytest.raises(InputError, match="there already"):
            ec.register_family(other)
    with pytest.raises(InputError, match="model types"):
        ec.register_family(replace(OLMO2, model_types="olmo2"))  # type: ignore[arg-type]
    forget_family("olmo2")
    with pytest.raises(InputError, match="No such family"):
        forget_family("llama")
    assert "olmo2" not in [family.name for family in families()]


def test_a_file_of_families_serves_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import emotion_circuits as ec\nec.register_family(ec.Family(name='mine', model_types=('stablelm',)))\n"
    )
    monkeypatch.setenv("EMOTION_CIRCUITS_FAMILIES", str(file))
    done = subprocess.run(
        [sys.executable, "-m", "emotion_circuits", "models", "list"], capture_output=True, text=True, check=True
    )
    assert re.search(r"Known families: .*gemma3,\s+mine", done.stdout + done.stderr)
    assert families()[-1].name == "mine"
    forget_family("mine")
    file.write_text("1 / 0")
    monkeypatch.setenv("EMOTION_CIRCUITS_FAMILIES", str(tmp_path / ".." / tmp_path.name / "mine.py"))
    with pytest.raises(InputError, match="ZeroDivisionError"):
        families()
