"""GGUF files, converted once to a folder that loads fast.

transformers reads GGUF slowly (a quarter of a minute for 135M parameters) and into float32 anyway.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from emotion_circuits.errors import InputError
from emotion_circuits.models._cache import cache_folder, publish
from emotion_circuits.models._quiet import quiet_transformers
from emotion_circuits.models._weights import SINGLE, check_memory, content_hash

ARCHITECTURES = ("llama", "gpt2")
"""Values of `general.architecture` that both transformers' GGUF reader and the families here know."""

_SOURCE = "source.json"


class ConvertedSource(BaseModel):
    """What a converted folder was made from; written last, so its presence says that the folder is complete."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    gguf_sha256: str
    weights_bytes: int
    transformers: str
    package: str | None = None
    package_version: str | None = None


def converted_source(folder: Path) -> ConvertedSource | None:
    """What a folder of the cache was converted from; None if it is missing, incomplete or damaged."""
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
    file: Path, folder: Path, *, sha256: str, package: str | None = None, package_version: str | None = None
) -> None:
    """Write a `.gguf` file's model as float32 safetensors with its tokenizer.

    Raises:
        InputError: the file is damaged or of an unknown architecture, or memory or disk space is short.
    """
    import transformers

    parameters = _check(file)
    # The reader holds all dequantized tensors while the model takes them over.
    check_memory(f"converting {file.name}", 2 * parameters, torch.float32, torch.device("cpu"))
    with publish(folder, needed_bytes=4 * parameters + 50_000_000) as fresh:
        try:
            with quiet_transformers(), contextlib.redirect_stderr(io.StringIO()):  # its progress bar has no switch
                tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
                model = transformers.AutoModelForCausalLM.from_pretrained(
                    file.parent, gguf_file=file.name, dtype=torch.float32
                )
                _forget_quantization(model)
                model.save_pretrained(fresh, max_shard_size="1000GB")
                tokenizer.save_pretrained(fresh)
        except (ValueError, KeyError, RuntimeError, TypeError, ImportError) as error:
            raise _unreadable(file, error) from error
        weights = fresh / SINGLE
        source = ConvertedSource(
            file=file.name,
            gguf_sha256=sha256,
            weights_bytes=weights.stat().st_size,
            transformers=transformers.__version__,
            package=package,
            package_version=package_version,
        )
        (fresh / _SOURCE).write_text(source.model_dump_json(indent=2) + "\n", "utf-8")


def _check(file: Path) -> int:
    """The number of parameters of a readable file of a known architecture."""
    from gguf import GGUFReader

    try:
        reader = GGUFReader(file)
        architecture = reader.fields["general.architecture"].contents()
        parameters = sum(int(tensor.n_elements) for tensor in reader.tensors)
    except (ValueError, IndexError, KeyError, OSError, TypeError) as error:
        raise _unreadable(file, error) from error
    if architecture not in ARCHITECTURES:
        raise InputError(
            "GGUF files of this architecture are not supported.",
            found=f"{architecture!r} in {file}",
            accepted=", ".join(ARCHITECTURES),
            next_step="use the model's folder in Hugging Face format",
        )
    return parameters


def _forget_quantization(model: torch.nn.Module) -> None:
    """The tensors are plain float32 now, but transformers refuses to save a model that was ever quantized."""
    model.is_quantized = False  # type: ignore[assignment]
    model.hf_quantizer = None  # type: ignore[assignment]
    for owner, attribute in ((model, "quantization_method"), (model.config, "quantization_config")):
        if hasattr(owner, attribute):
            delattr(owner, attribute)


def _unreadable(file: Path, error: Exception) -> InputError:
    return InputError(
        f"{file.name} cannot be read as a GGUF model.",
        found=f"{type(error).__name__}: {str(error)[:160]}",
        next_step="fetch the file again, or use the model's folder in Hugging Face format",
    )
