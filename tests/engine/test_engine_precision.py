"""The float32 setting: applied inside, restored outside whatever happens, and chosen by what was measured."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import torch

from emotion_circuits.engine import _precision as precision
from emotion_circuits.engine import forward, matmul_precision

CPU = torch.device("cpu")
OTHER = {"highest": "medium", "medium": "highest"}


@pytest.fixture(autouse=True)
def setting_restored() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    yield
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize("setting", ["highest", "medium"])
@pytest.mark.parametrize("before", ["highest", "high", "medium"])
def test_the_setting_holds_inside_and_is_restored_after_an_exception(setting, before):
    outside = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(before)
        with matmul_precision(CPU, setting):
            assert torch.get_float32_matmul_precision() == setting
        assert torch.get_float32_matmul_precision() == before
        with pytest.raises(KeyError), matmul_precision(CPU, setting):
            raise KeyError
        assert torch.get_float32_matmul_precision() == before
    finally:
        torch.set_float32_matmul_precision(outside)


def test_an_inner_block_takes_the_enclosing_one_s_setting(tiny_gpt2_lm):
    """A forward pass inside `matmul_precision(…, "highest")` runs at "highest", whatever was probed."""
    seen = []
    handle = tiny_gpt2_lm.mlp(0).register_forward_hook(lambda *_: seen.append(torch.get_float32_matmul_precision()))
    try:
        for setting in ("highest", "medium"):
            with matmul_precision(CPU, setting):
                forward(tiny_gpt2_lm, torch.tensor([[1, 2]]))
                with pytest.raises(KeyError), matmul_precision(CPU, OTHER[setting]):
                    forward(tiny_gpt2_lm, torch.tensor([[1, 2]]))
                    raise KeyError
                forward(tiny_gpt2_lm, torch.tensor([[1, 2]]))
        forward(tiny_gpt2_lm, torch.tensor([[1, 2]]))
    finally:
        handle.remove()
    assert seen[:6] == ["highest", "medium", "highest", "medium", "highest", "medium"]
    assert seen[6] == precision.probe_precision().chosen


def test_a_forward_pass_that_fails_leaves_no_setting_behind(tiny_gpt2_lm):
    outside = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with pytest.raises(IndexError):
            forward(tiny_gpt2_lm, torch.tensor([[10_000]]))
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(outside)


def test_accelerators_are_left_alone():
    before = torch.get_float32_matmul_precision()
    with matmul_precision(torch.device("meta"), OTHER.get(before, "medium")):
        assert torch.get_float32_matmul_precision() == before


def test_the_choice_follows_from_what_was_measured(monkeypatch):
    found = precision.measure_precision(repeats=1)
    assert found.error_highest < 1e-5 and found.rate_highest > 0 and found.rate_medium > 0
    assert found.chosen == "highest" or found.error_medium <= precision.MAX_ERROR
    monkeypatch.setattr(precision, "MIN_SPEEDUP", float("inf"))
    assert precision.measure_precision(repeats=1).chosen == "highest"
    monkeypatch.setattr(precision, "MIN_SPEEDUP", 0.0)
    monkeypatch.setattr(precision, "MAX_ERROR", 1.0)
    assert precision.measure_precision(repeats=1).chosen == "medium"
    monkeypatch.setattr(precision, "MAX_ERROR", -1.0)
    assert precision.measure_precision(repeats=1).chosen == "highest"


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOTION_CIRCUITS_CACHE", str(tmp_path))
    precision.probe_precision.cache_clear()
    yield tmp_path
    precision.probe_precision.cache_clear()


@pytest.fixture
def measured(monkeypatch):
    """How often something was measured; measuring takes seconds on a busy machine."""
    probes = []

    def measure():
        probes.append(precision.PrecisionProbe("medium", 1.0, 2.0, 1e-7, 1e-7))
        return probes[-1]

    monkeypatch.setattr(precision, "measure_precision", measure)
    return probes


def test_the_probe_is_kept_for_the_next_process(own_cache, measured):
    first = precision.probe_precision()
    [file] = own_cache.glob("precision-*.json")
    precision.probe_precision.cache_clear()
    assert precision.probe_precision() == first and len(measured) == 1
    assert json.loads(file.read_text())["chosen"] == first.chosen


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"chosen": "sloppy"}', "full"])
def test_a_damaged_file_is_probed_again(own_cache, measured, content):
    good = precision.probe_precision()
    [file] = own_cache.glob("precision-*.json")
    file.write_text(json.dumps({**good._asdict(), "chosen": "sloppy"}) if content == "full" else content)
    precision.probe_precision.cache_clear()
    assert precision.probe_precision() == good and len(measured) == 2


def test_a_cache_that_cannot_be_written_is_no_obstacle(own_cache, measured, monkeypatch):
    (own_cache / "file").write_text("")
    monkeypatch.setenv("EMOTION_CIRCUITS_CACHE", str(own_cache / "file"))
    assert precision.probe_precision() == measured[0]
