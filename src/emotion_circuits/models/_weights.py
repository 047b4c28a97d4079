"""Facts about weight files that are known before they are loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from math import prod
from pathlib import Path

import psutil
import torch
from safetensors import SafetensorError, safe_open

from emotion_circuits.errors import InputError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of a model folder, in order.

    Raises:
        InputError: there are none, one of them is missing, or only pickled weights are there.
    """
    if (folder / SINGLE).is_file():
        return (folder / SINGLE,)
    if (folder / INDEX).is_file():
        return _shards(folder)
    pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
    if pickled:
        raise pickled_only(str(folder), pickled[0])
    raise InputError("The folder has no weights.", found=folder, accepted=f"{SINGLE} or {INDEX} with its shards")


def pickled_only(where: str, found: str) -> InputError:
    return InputError(
        f"{where} has only pickled weights, which are never read.",
        found=found,
        accepted="safetensors",
        next_step="choose a revision with safetensors, or convert it with save_pretrained in transformers",
    )


def _shards(folder: Path) -> tuple[Path, ...]:
    try:
        weight_map = json.loads((folder / INDEX).read_text("utf-8"))["weight_map"]
        listed: dict[Path, set[str]] = {}
        for tensor, name in sorted(weight_map.items(), key=lambda item: str(item[1])):
            listed.setdefault(folder / Path(name).name, set()).add(tensor)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise _damaged(folder / INDEX, error) from error
    for shard, tensors in listed.items():
        if not shard.is_file():
            raise InputError("A weight file is missing.", found=folder, accepted=shard.name, next_step="fetch it again")
        if lacking := sorted(tensors - _tensors(shard).keys()):
            raise InputError(
                "A weight file lacks tensors that the index lists.",
                found=f"{shard} lacks {len(lacking)} tensors, such as {lacking[0]}",
                next_step="fetch the files again",
            )
    return tuple(listed)


def count_parameters(files: Iterable[Path]) -> int:
    """How many numbers safetensors files hold, from their headers; this also finds truncated files.

    Raises:
        InputError: a file is damaged.
    """
    return sum(prod(shape) for file in files for shape in _tensors(file).values())


def _tensors(file: Path) -> dict[str, list[int]]:
    """The tensors of a safetensors file and their shapes, from its header."""
    try:
        with safe_open(str(file), framework="pt") as opened:
            return {key: opened.get_slice(key).get_shape() for key in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(file, error) from error


def content_hash(file: Path) -> str:
    """SHA-256 of a file, in hex; read once in a process, unless its size or its time changed."""
    status = file.stat()
    return _sha256(file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256(file: Path, size: int, mtime_ns: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_memory(what: str, parameters: int, dtype: torch.dtype, device: torch.device) -> None:
    """Refuse what will not fit, before anything is read.

    A tenth is added for what the model computes. Memory-mapped files do not count, the system can drop their pages.

    Raises:
        InputError: too little memory is free.
    """
    needed = parameters * dtype.itemsize * 1.1
    on_gpu = device.type == "cuda"
    available = torch.cuda.mem_get_info(device)[0] if on_gpu else psutil.virtual_memory().available
    if needed > available:
        advice = "" if dtype.itemsize < 4 else "use dtype bfloat16, "
        raise InputError(
            f"There is too little memory for {what}.",
            found=f"{available / 1e9:.2f} GB available on {device}",
            accepted=f"at least {needed / 1e9:.2f} GB ({parameters / 1e6:.1f}M parameters in {dtype})",
            next_step=f"{advice}close other programs, or choose a smaller model",
        )


def _damaged(file: Path, error: Exception) -> InputError:
    return InputError(
        f"{file.name} is damaged or incomplete.", found=f"{file}: {error}", next_step="fetch or copy the file again"
    )
