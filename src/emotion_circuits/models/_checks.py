"""What transformers loads without a word, and no number could be trusted from: refused, naming what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from emotion_circuits.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

ADAPTER = "adapter_config.json"
_SHOWN = 5


def check_files(folder: Path) -> None:
    """Refuse weights that are not the model's own numbers.

    Raises:
        InputError: they are quantized, or an adapter lies beside them, which would be left out.
    """
    if (folder / ADAPTER).is_file():
        raise adapter_beside(folder)
    quantized = json.loads((folder / "config.json").read_text("utf-8")).get("quantization_config")
    if quantized:
        method = quantized.get("quant_method", "unknown") if isinstance(quantized, dict) else quantized
        raise InputError(
            "The weights are quantized.",
            found=f"quantization_config ({method}) in {folder / 'config.json'}",
            accepted="weights in float32, bfloat16 or float16",
            next_step="use the model that was quantized, or model.dequantize() and save_pretrained in transformers",
        )


def adapter_beside(where: object) -> InputError:
    """Of a model that has an adapter beside it."""
    return InputError(
        "An adapter lies beside the model; without it the model would be another one.",
        found=f"{ADAPTER} in {where}",
        accepted="a model without an adapter, or with it merged",
        next_step="merge it (merge_and_unload in peft) and save_pretrained into a new folder, or take its files away",
    )


def check_finite(folder: Path, model: torch.nn.Module) -> None:
    """One pass over all weights where they are: a sum is finite only if all its terms are.

    Raises:
        InputError: a tensor holds NaN or infinity.
    """
    tensors = [(n, t) for n, t in (*model.named_parameters(), *model.named_buffers()) if t.is_floating_point()]
    sums = torch.stack([t.sum(dtype=torch.float32) for _, t in tensors]).isfinite().tolist()
    for (name, tensor), finite in zip(tensors, sums, strict=True):
        # The sum of large numbers may overflow by itself.
        if not finite and (wrong := int((~tensor.isfinite()).sum())):
            raise InputError(
                "The weights hold NaN or infinity.",
                found=f"{name} in {folder}: {wrong:,} of {tensor.numel():,} numbers",
                accepted="finite numbers",
                next_step="fetch or convert the model again; if you trained it, take an earlier checkpoint",
            )


def check_tokens(folder: Path, tokenizer: PreTrainedTokenizerFast, rows: int) -> None:
    """Refuse a tokenizer that grew while the embedding did not. More rows than tokens are usual.

    A padding token may lie beyond, as it does in many fine-tuned models: nothing here pads with it, and `encode`
    refuses the text that spells it out.

    Raises:
        InputError: texts can give a token that the embedding has no row for.
    """
    beyond = {t: i for t, i in tokenizer.get_vocab().items() if i >= rows and t != tokenizer.pad_token}
    if not beyond:
        return
    convert = cast(Any, tokenizer).convert_tokens_to_string
    written = tokenizer([*beyond, *(convert([t]) for t in beyond)], add_special_tokens=False)["input_ids"]
    made = {i for ids in cast("list[list[int]]", written) for i in ids} & set(beyond.values())
    if made:
        named = sorted((i, t) for t, i in beyond.items() if i in made)
        shown = ", ".join(f"{t!r} ({i})" for i, t in named[:_SHOWN]) + (" …" if len(named) > _SHOWN else "")
        raise InputError(
            "The tokenizer has tokens that the embedding has no rows for.",
            found=f"{shown} in {folder}, whose embedding has {rows:,} rows",
            accepted=f"token ids below {rows:,}",
            next_step="take the tokenizer that belongs to these weights, or "
            "model.resize_token_embeddings(len(tokenizer)) in transformers and save both",
        )
