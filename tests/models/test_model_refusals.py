"""Files that transformers takes without a word, and whose numbers would mean nothing: what is wrong, and what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast

from emotion_circuits.engine import load_verified
from emotion_circuits.errors import InputError
from emotion_circuits.models import load


def problem(name: str) -> str:
    with pytest.raises(InputError) as caught:
        load_verified(name)
    assert len(str(caught.value).splitlines()) <= 4
    return str(caught.value)


def spoil(folder: Path, tensor: str, change: float, at: int | None = None) -> None:
    """Multiply a tensor by a number, or put the number at one place of it."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    if at is None:
        weights[tensor] *= change
    else:
        weights[tensor].view(-1)[at] = change
    save_file(weights, path, metadata={"format": "pt"})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    "tensor", ["transformer.h.1.mlp.c_proj.weight", "transformer.wte.weight", "transformer.ln_f.bias"]
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_that_are_not_finite_are_named(tensor: str, value: float, dtype: str, tiny_gpt2: Path) -> None:
    spoil(tiny_gpt2, tensor, value, at=5)
    with pytest.raises(InputError, match="NaN or infinity") as caught:
        load(str(tiny_gpt2), dtype=dtype)  # type: ignore[arg-type]
    assert tensor in str(caught.value) and "1 of " in str(caught.value)
    load(f"{tiny_gpt2}?init=random")


def test_large_finite_weights_are_no_infinity(tiny_gpt2: Path) -> None:
    """Their sum overflows, they do not."""
    spoil(tiny_gpt2, "transformer.wpe.weight", 3e38, at=5)
    spoil(tiny_gpt2, "transformer.wpe.weight", 3e38, at=6)
    load(str(tiny_gpt2))


def test_an_overflow_on_ordinary_text_names_the_layer(tiny_gpt2: Path) -> None:
    spoil(tiny_gpt2, "transformer.h.1.mlp.c_proj.weight", 1e30)
    message = problem(str(tiny_gpt2))
    assert "overflows on ordinary text" in message and "mlp_out of layer 1" in message


def grown(folder: Path, **tokens: object) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.add_special_tokens(tokens)
    tokenizer.save_pretrained(folder)


def test_a_tokenizer_that_outgrew_the_embedding(tiny_gpt2: Path) -> None:
    grown(tiny_gpt2, additional_special_tokens=["<|im_start|>", "<|im_end|>"])
    message = problem(str(tiny_gpt2))
    assert "'<|im_start|>' (4096)" in message and "4,096 rows" in message and "resize_token_embeddings" in message
    assert "'<|im_start|>'" in problem(f"{tiny_gpt2}?init=random")


def test_a_padding_token_may_lie_beyond_the_embedding(tiny_gpt2: Path) -> None:
    grown(tiny_gpt2, pad_token="[PAD]")
    lm = load(str(tiny_gpt2))
    assert lm.encode(["Rain."])
    with pytest.raises(InputError, match=r"\[PAD\]"):
        lm.encode(["Rain.", "a [PAD] b"])


def test_more_rows_than_tokens_are_usual(tiny_gpt2: Path) -> None:
    hf = load(str(tiny_gpt2)).hf
    hf.resize_token_embeddings(4160)
    hf.save_pretrained(tiny_gpt2)
    assert load(str(tiny_gpt2)).vocab_size == 4160


def test_adapters_and_quantized_weights_are_refused(tiny_gpt2: Path) -> None:
    (tiny_gpt2 / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    assert "adapter" in problem(str(tiny_gpt2)) and "merge" in problem(str(tiny_gpt2))
    (tiny_gpt2 / "adapter_config.json").unlink()
    config = json.loads((tiny_gpt2 / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (tiny_gpt2 / "config.json").write_text(json.dumps(config))
    assert "quantized" in problem(str(tiny_gpt2)) and "gptq" in problem(str(tiny_gpt2))


def test_every_weight_is_looked_at(tiny_gpt2: Path) -> None:
    """Wherever a NaN is, the tensor that holds it is named, tied ones by the name under which they are stored."""
    stored = load_file(tiny_gpt2 / "model.safetensors")
    generator = torch.Generator().manual_seed(0)
    for tensor in sorted(stored)[::4]:
        before = (tiny_gpt2 / "model.safetensors").read_bytes()
        at = int(torch.randint(stored[tensor].numel(), (1,), generator=generator))
        spoil(tiny_gpt2, tensor, float("nan"), at=at)
        assert f"{tensor} in" in problem(str(tiny_gpt2))
        (tiny_gpt2 / "model.safetensors").write_bytes(before)
