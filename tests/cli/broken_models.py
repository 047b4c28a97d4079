"""Models' folders, and the program's own files, with one thing broken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from odd_values import CONFIG_KEYS, MODEL_FILES, ODD_CONTENTS, ODD_PARTS, ODD_SETTINGS, ODD_SHARDS, TOKENIZER_PARTS
from safetensors import safe_open
from safetensors.numpy import save_file


class Damage(NamedTuple):
    """What is broken, in words, and a function that breaks it in a folder."""

    what: str
    do: Callable[[Path], None]


def _edit_json(path: Path, edit: Callable[[Any], object]) -> None:
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


def _edit_tensors(path: Path, edit: Callable[[dict[str, str], dict[str, Any]], object]) -> None:
    with safe_open(path, framework="numpy") as file:
        header = dict(file.metadata() or {})
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    edit(header, tensors)
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, path, metadata=header)


@st.composite
def files(draw: st.DrawFn, names: tuple[str, ...]) -> Damage:
    name, how = draw(st.sampled_from(names)), draw(st.sampled_from(["gone", "cut", "flip", "whole", "folder"]))
    content = draw(st.sampled_from(ODD_CONTENTS) | st.binary(max_size=80))
    at, bits = draw(st.floats(0, 1)), draw(st.integers(1, 255))

    def broken(folder: Path) -> None:
        path = folder / name
        data = bytearray(path.read_bytes())
        place = int(at * (len(data) - 1))
        path.unlink()
        if how == "cut":
            path.write_bytes(data[:place])
        elif how == "flip":
            data[min(place, 2000)] ^= bits
            path.write_bytes(data)
        elif how == "whole":
            path.write_bytes(content)
        elif how == "folder":
            path.mkdir()

    return Damage(f"{name}: {how} {at} {bits} {content[:40]!r}", broken)


@st.composite
def tensors(draw: st.DrawFn) -> Damage:
    how = draw(st.sampled_from(["gone", "more", "shape", "dtype", "nan", "inf", "zero", "one axis less", "empty"]))
    where, kind = draw(st.integers(0, 60)), draw(st.sampled_from(["float16", "float64", "int8", "int64", "bool"]))

    def edit(_: dict[str, str], found: dict[str, Any]) -> None:
        key = sorted(found)[where % len(found)]
        value = found.pop(key)
        if how == "more":
            found |= {key: value, f"{key}.lora_A": value}
        elif how in ("nan", "inf"):
            value.flat[where % value.size] = float(how)
            found[key] = value
        elif how == "empty":
            found.clear()
        elif how != "gone":
            made = {"shape": value[:-1], "dtype": value.astype(kind), "zero": 0 * value, "one axis less": value.ravel()}
            found[key] = made[how]

    return Damage(f"tensor {where}: {how} {kind}", lambda folder: _edit_tensors(folder / "model.safetensors", edit))


@st.composite
def settings(draw: st.DrawFn) -> Damage:
    file = draw(st.sampled_from(["config.json", "config.json", "tokenizer_config.json", "generation_config.json"]))
    key, value = draw(st.sampled_from(CONFIG_KEYS)), draw(st.sampled_from(ODD_SETTINGS))
    gone = draw(st.integers(0, 3)) == 0

    def edit(config: Any) -> None:
        config.pop(key, None) if gone else config.__setitem__(key, value)

    return Damage(f"{file}: {key} = {'gone' if gone else value!r}", lambda folder: _edit_json(folder / file, edit))


@st.composite
def tokenizers(draw: st.DrawFn) -> Damage:
    part, value = draw(st.sampled_from(TOKENIZER_PARTS)), draw(st.sampled_from(ODD_PARTS))
    how = draw(st.sampled_from(["set", "far id", "no vocabulary", "no merges", "gone"]))
    far = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)

    def edit(whole: Any) -> None:
        if how == "set":
            whole[part] = value
        elif how == "far id":
            whole["added_tokens"].append({"id": 10**6, "content": "<far>", **far})
        elif how == "no vocabulary":
            whole["model"]["vocab"] = {}
        elif how == "no merges":
            whole["model"]["merges"] = []
        else:
            del whole[part]

    return Damage(f"tokenizer: {how} {part} {value!r}", lambda folder: _edit_json(folder / "tokenizer.json", edit))


@st.composite
def additions(draw: st.DrawFn) -> Damage:
    """An index of shards, or an adapter, beside the weights or in their place."""
    shard, keep = draw(st.sampled_from(ODD_SHARDS)), draw(st.booleans())
    maps: list[Any] = [{"weight_map": {"transformer.wte.weight": shard}}, {"weight_map": []}, {}, []]
    content = draw(st.sampled_from([*maps, {"weight_map": {"x": shard}, "metadata": 3}]))
    file = draw(
        st.sampled_from(["model.safetensors.index.json", "model.safetensors.index.json", "adapter_config.json"])
    )

    def broken(folder: Path) -> None:
        (folder / file).write_text(json.dumps(content))
        if not keep:
            (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    return Damage(f"{file}: {content!r}, weights kept: {keep}", broken)


def model_folders() -> st.SearchStrategy[Damage]:
    return files(MODEL_FILES) | tensors() | settings() | tokenizers() | additions()


@st.composite
def own_files(draw: st.DrawFn, source: Path, target: str) -> Damage:
    """A directions file or a folder of activations, copied to `target` and broken there."""
    names = tuple(sorted(str(p.relative_to(source)) for p in source.rglob("*.safetensors"))) or (target,)
    name, how = draw(st.sampled_from(names)), draw(st.sampled_from(["file", "header", "tensor"]))
    file = draw(files((name,)))
    where, key = draw(st.integers(0, 50)), draw(st.integers(0, 20))
    value = draw(st.sampled_from([None, "{}", "[]", "null", "x", "3", '{"anger": 99}', '{"anger": "x"}', "NaN"]))
    odd = [np.zeros(0), np.zeros((2, 2)), np.full((4, 32), np.nan), np.zeros((4, 32), np.int64)]
    spoil = odd[draw(st.integers(0, len(odd) - 1))]

    def edit(header: dict[str, str], found: dict[str, Any]) -> None:
        if how == "tensor":
            found[sorted(found)[where % len(found)]] = spoil
            return
        field = sorted(header)[key % len(header)]
        del header[field]
        if value is not None:
            header[field] = value

    def broken(here: Path) -> None:
        folder = here / target if source.is_dir() else here
        if source.is_dir():
            shutil.copytree(source, folder)
        else:
            shutil.copy(source, here / target)
        if how == "file":
            file.do(folder)
        else:
            _edit_tensors(folder / name, edit)

    return Damage(f"{how}: {file.what}, {where}, {key}, {value}, {spoil.shape} {spoil.dtype}", broken)
