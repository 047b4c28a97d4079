"""Whatever is given, the program ends with a result or with a few clear lines.

`BAD_INPUTS=2000 pytest tests/cli/test_cli_bad_inputs.py` tries so many in all; the suite a few dozen.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bad_inputs import KINDS, SHARES, Workshop, check
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from emotion_circuits import engine, prompts
from emotion_circuits.cli import main
from tiny_models import VARIANTS, Variant

TRIED = int(os.environ.get("BAD_INPUTS", "60"))


@pytest.fixture(scope="session")
def workshop(
    tiny_folder: Callable[[Variant], Path], tmp_path_factory: pytest.TempPathFactory, shorten: Any, one_load: Any
) -> Workshop:
    folder = tmp_path_factory.mktemp("workshop")
    made = Workshop(tiny_folder(VARIANTS[0]), folder / "v.safetensors", folder / "acts")
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        assert main(["extract", "--model", str(made.model), "--output", str(made.activations)]) == 0
        assert main(["vectors", "--activations-dir", str(made.activations), "--output", str(made.vectors)]) == 0
    return made


@pytest.fixture
def quick_commands(workshop: Workshop, shorten: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole models are loaded once, broken ones every time; fewer of the bundled texts are recorded."""
    load = engine.load_verified
    shorten(monkeypatch)
    cached = engine.load_verified
    monkeypatch.setattr(
        engine, "load_verified", lambda name, **o: (cached if name == str(workshop.model) else load)(name, **o)
    )
    for name in ("foils", "intensity_series"):
        whole = getattr(prompts.bank(), name)()
        few = prompts.Dataset(whole.name, whole.texts[:12])
        monkeypatch.setattr(prompts.Bank, name, lambda bank, few=few: few)
    monkeypatch.setenv("HOME", "/nonexistent")


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_ends_in_a_few_clear_lines(kind: str, workshop: Workshop, quick_commands: None) -> None:
    @seed(int(os.environ.get("BAD_INPUTS_SEED", "0")))
    @settings(max_examples=max(1, round(TRIED * SHARES[kind])), database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def tried(data: st.DataObject) -> None:
        check(data.draw(KINDS[kind](workshop)), workshop)

    tried()
