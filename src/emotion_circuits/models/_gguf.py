"""GGUF files, converted once to a folder that loads fast.

transformers reads GGUF slowly (a quarter of a minute for 135M parameters) and into float32 anyway.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from emotion_circuits.errors import InputError
from emotion_circuits.models._cache import cache_folder, publish
from emotion_circuits.models._gguf_keys import GgufModel, read_gguf, refuse, unreadable
from emotion_circuits.models._gguf_tokenizer import gguf_tokenizer
from emotion_circuits.models._quiet import quiet_transformers
from emotion_circuits.models._weights import SINGLE, check_memory, content_hash

_SOURCE = "source.json"
_CONVERTER = 2
"""Raise it whenever the conversion changes: folders that another converter made are not used, but made again."""


class ConvertedSource(BaseModel):
    """What a converted folder was made from; written last, so its presence says that the folder is complete."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    gguf_sha256: str
    weights_bytes: int
    transformers: str
    converter: Literal[2]
    package: str | None = None
    package_version: str | None = None


def converted_source(folder: Path) -> ConvertedSource | None:
    """What a folder of the cache was converted from; None if it is missing, incomplete, damaged or another
    converter's."""
    try:
        source = ConvertedSource.model_validate_json((folder / _SOURCE).read_text("utf-8"))
        complete = (folder / SINGLE).stat().st_size == source.weights_bytes
    except (OSError, ValidationError):
        return None
    return source if complete else None


def gguf_folder(file: Path) -> Path:
    """The converted folder of a `.gguf` file, named by the file's hash; converts it the first time.

    Raises:
        InputError: the file is missing, damaged or of an unknown architecture, or memory or disk space is short.
    """
    if not file.is_file():
        raise InputError("There is no such file.", found=file, accepted="a .gguf file")
    sha256 = content_hash(file)
    folder = cache_folder() / "gguf" / sha256[:16]
    if converted_source(folder) is None:
        convert(file, folder, sha256=sha256)
    return folder


def convert(
    file: Path,
    folder: Path,
    *,
    sha256: str,
    package: str | None = None,
    package_version: str | None = None,
    beside: Sequence[Path] = (),
) -> None:
    """Write a `.gguf` file's model as float32 safetensors with its tokenizer, and copies of what belongs beside it.

    Raises:
        InputError: the file is damaged, of an unknown architecture or says what cannot be honoured, or memory or disk
            space is short.
    """
    import transformers

    try:
        described = read_gguf(file)
        tokenizer = gguf_tokenizer(file, described.keys)
    except InputError:
        raise
    except Exception as error:  # the tokenizers library raises bare Exception
        raise unreadable(file, error) from error
    # The reader holds all dequantized tensors while the model takes them over.
    check_memory(f"converting {file.name}", 2 * described.parameters, torch.float32, torch.device("cpu"))
    with publish(folder, needed_bytes=4 * described.parameters + 50_000_000) as fresh:
        try:
            with quiet_transformers(), contextlib.redirect_stderr(io.StringIO()):  # its progress bar has no switch
                model = _model(file, described)
                model.save_pretrained(fresh, max_shard_size="1000GB")
                tokenizer.save_pretrained(fresh)
                _check_written(file, fresh, model, tokenizer)
        except InputError:
            raise
        except (ValueError, KeyError, RuntimeError, TypeError, ImportError) as error:
            raise unreadable(file, error) from error
        for other in beside:
            shutil.copy(other, fresh / other.name)
        source = ConvertedSource(
            file=file.name,
            gguf_sha256=sha256,
            weights_bytes=(fresh / SINGLE).stat().st_size,
            transformers=transformers.__version__,
            converter=_CONVERTER,
            package=package,
            package_version=package_version,
        )
        (fresh / _SOURCE).write_text(source.model_dump_json(indent=2) + "\n", "utf-8")


def _model(file: Path, described: GgufModel) -> Any:
    from transformers import AutoModelForCausalLM

    auto: Any = AutoModelForCausalLM
    with tempfile.TemporaryDirectory(prefix="emotion-circuits-") as alone:  # what lies beside the file must not count
        (Path(alone) / "model.gguf").symlink_to(file.resolve())
        model, report = auto.from_pretrained(
            alone, gguf_file="model.gguf", config=described.config, dtype=torch.float32, output_loading_info=True
        )
    if missing := sorted(report["missing_keys"]):
        raise refuse(file, [f"{tensor} was not filled" for tensor in missing])
    _forget_quantization(model)
    return model


def _check_written(file: Path, folder: Path, model: Any, tokenizer: Any) -> None:
    """The folder, loaded again, is the same model with the same tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    auto: Any = AutoModelForCausalLM
    again = auto.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    length = min(64, model.config.max_position_embeddings)
    ids = torch.arange(length)[None] * 7 % model.config.vocab_size
    with torch.inference_mode():
        before, after = model(ids).logits, again(ids).logits
    if not torch.allclose(before, after, rtol=1e-4, atol=1e-4, equal_nan=True):
        raise refuse(file, [f"logits that change by {(before - after).abs().max():.2g} once they are written"])
    kept = cast(Any, AutoTokenizer.from_pretrained(folder, local_files_only=True))
    if kept.backend_tokenizer.to_str() != tokenizer.backend_tokenizer.to_str():
        raise refuse(file, ["a tokenizer that changes once it is written"])


def _forget_quantization(model: torch.nn.Module) -> None:
    """The tensors are plain float32 now, but transformers refuses to save a model that was ever quantized."""
    model.is_quantized = False  # type: ignore[assignment]
    model.hf_quantizer = None  # type: ignore[assignment]
    for owner, attribute in ((model, "quantization_method"), (model.config, "quantization_config")):
        if hasattr(owner, attribute):
            delattr(owner, attribute)
