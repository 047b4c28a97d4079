"""Weight files that hold more or less than the model: nothing is left out without a word."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from emotion_circuits.errors import InputError
from emotion_circuits.models import load

BUFFERS = {
    "gpt2": ("transformer.h.0.attn.bias", "transformer.h.0.attn.masked_bias"),
    "gpt_neox": ("gpt_neox.layers.0.attention.bias", "gpt_neox.layers.0.attention.masked_bias"),
    "gpt_neo": ("transformer.h.0.attn.attention.bias", "transformer.h.0.attn.attention.masked_bias"),
    "llama": ("model.layers.0.self_attn.rotary_emb.inv_freq",),
}
"""What older releases of transformers kept among the weights, as the public models of these families still do."""

DROPPED = {
    "gpt2": "transformer.h.3.ln_1.weight",
    "gpt_neox": "gpt_neox.layers.0.attention.norm.weight",
    "gpt_neo": "transformer.h.0.attn.attention.q_proj.bias",
    "llama": "model.layers.0.self_attn.q_proj.bias",
}


@pytest.mark.parametrize("family", BUFFERS)
def test_tensors_that_the_model_does_not_use(family: str, tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folders[family], tmp_path / family))
    file = folder / "model.safetensors"
    tensors = load_file(file)
    buffers = {name: torch.ones(1, 1, 64, 64) for name in BUFFERS[family]}
    save_file(tensors | buffers, file, {"format": "pt"})
    ids = torch.arange(20)[None]
    assert torch.equal(load(str(folder)).hf(ids).logits, load(str(tiny_folders[family])).hf(ids).logits)
    save_file(tensors | buffers | {DROPPED[family]: torch.ones(32)}, file, {"format": "pt"})
    with pytest.raises(InputError, match=rf"(?s)1 tensors .* such as {DROPPED[family]}"):
        load(str(folder))


def test_an_index_that_lists_what_its_shards_lack(tiny_gpt2: Path) -> None:
    load(str(tiny_gpt2)).hf.save_pretrained(tiny_gpt2, max_shard_size="300KB")
    (tiny_gpt2 / "model.safetensors").unlink(missing_ok=True)
    index = tiny_gpt2 / "model.safetensors.index.json"
    written = json.loads(index.read_text())
    written["weight_map"]["transformer.h.0.attn.scale"] = written["weight_map"]["transformer.wte.weight"]
    index.write_text(json.dumps(written))
    with pytest.raises(InputError, match=r"(?s)lacks tensors that the index lists.*transformer\.h\.0\.attn\.scale"):
        load(str(tiny_gpt2))
