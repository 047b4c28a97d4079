"""The float32 setting: applied inside, restored outside whatever happens, and the model's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from emotion_circuits.cli._app import build_app
from emotion_circuits.engine import forward, matmul_precision
from emotion_circuits.models import load
from emotion_circuits.study import Study

OTHER = {"highest": "medium", "medium": "highest"}


@pytest.fixture(autouse=True)
def setting_restored() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    yield
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize("setting", ["highest", "medium"])
@pytest.mark.parametrize("before", ["highest", "high", "medium"])
def test_the_setting_holds_inside_and_is_restored_after_an_exception(tiny_gpt2_lm, setting, before):
    outside = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(before)
        with matmul_precision(tiny_gpt2_lm, setting):
            assert torch.get_float32_matmul_precision() == setting
        assert torch.get_float32_matmul_precision() == before
        with pytest.raises(KeyError), matmul_precision(tiny_gpt2_lm, setting):
            raise KeyError
        assert torch.get_float32_matmul_precision() == before
    finally:
        torch.set_float32_matmul_precision(outside)


def test_an_inner_block_takes_the_enclosing_one_s_setting_else_the_model_s_own(tiny_gpt2_lm):
    """A forward pass inside `matmul_precision(…, "highest")` runs at "highest", whatever the model was loaded with."""
    seen = []
    handle = tiny_gpt2_lm.mlp(0).register_forward_hook(lambda *_: seen.append(torch.get_float32_matmul_precision()))
    try:
        for setting in ("highest", "medium"):
            lm = replace(tiny_gpt2_lm, float32_products=OTHER[setting])
            with matmul_precision(lm, setting):
                forward(lm, torch.tensor([[1, 2]]))
                with pytest.raises(KeyError), matmul_precision(lm, OTHER[setting]):
                    forward(lm, torch.tensor([[1, 2]]))
                    raise KeyError
                forward(lm, torch.tensor([[1, 2]]))
            forward(lm, torch.tensor([[1, 2]]))
    finally:
        handle.remove()
    assert seen == ["highest", "medium", "highest", "medium", "medium", "highest", "medium", "highest"]
    assert tiny_gpt2_lm.float32_products == "highest"


def test_a_forward_pass_that_fails_leaves_no_setting_behind(tiny_gpt2_lm):
    outside = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with pytest.raises(IndexError):
            forward(tiny_gpt2_lm, torch.tensor([[10_000]]))
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(outside)


def test_accelerators_are_left_alone(tiny_gpt2_lm):
    before = torch.get_float32_matmul_precision()
    with matmul_precision(replace(tiny_gpt2_lm, device=torch.device("meta")), OTHER.get(before, "medium")):
        assert torch.get_float32_matmul_precision() == before


def test_the_command_line_hands_the_setting_to_the_model():
    argv = ["models", "verify", "reference/gpt2", "--float32-products", "medium", "--threads", "1"]
    _, bound, _ = build_app().parse_args(argv)
    options = bound.arguments["options"].loading()
    assert options == {"device": "auto", "dtype": "float32", "bos": "auto", "threads": 1, "float32_products": "medium"}
    del options["threads"]
    assert load("reference/gpt2?init=random&seed=0", **options).float32_products == "medium"
    assert Study().float32_products == "highest", "and no clock decides"
