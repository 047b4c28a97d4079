"""Directions as control vectors of other programs: GGUF files for llama.cpp and repeng.

llama.cpp (`common_control_vector_load` in common/common.cpp, `llama_adapter_cvec` in src/llama-adapter.cpp,
`build_cvec` in src/models/gpt2.cpp, gptneox.cpp and llama.cpp) reads the float32 vector `direction.N`, multiplies it by
the strength given and adds it to the output of block N, blocks counted from 0, at every token. So `direction.N`
is our `resid_post` of layer N, without an offset. Its table of vectors begins with block 1: it refuses a file with a
`direction.0`, and what enters block 0 (`embed`) has no slot either. repeng (`ControlVector`, `ControlModel`)
reads the same files, wraps the blocks of those numbers and adds at every token that is no padding; it can hold block 0.
Neither reads `controlvector.layer_count`; it is the number of vectors in the file, as both programs write it.

One difference remains: both add the vector to a text's first token too, which our steering leaves alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emotion_circuits._files import whole_file
from emotion_circuits.directions._sets import DirectionSet
from emotion_circuits.errors import InputError
from emotion_circuits.models import family_of_model

ARCHITECTURE = "controlvector"
DEFAULT_DOSE = 0.2
FIRST_LAYER = 1
"""The first block that has a slot in llama.cpp."""
_TENSOR = "direction."

FloatArray = NDArray[np.float32]


class ControlVector(NamedTuple):
    """What a control vector file holds: `repeng.ControlVector(*found)` is repeng's own value.

    Attributes:
        model_hint: llama.cpp's name of the architecture (`gpt2`, `gptneox`, `llama`); what others wrote, if anything.
        directions: block index → (d,) float32, as long as what strength 1 adds.
    """

    model_hint: str
    directions: dict[int, FloatArray]


class ExportedVector(NamedTuple):
    """What was written, and what could not be.

    Attributes:
        file: where.
        model_hint: as in `ControlVector`.
        lengths: block index → length of its vector, dose · s.
        left_out: blocks asked for that the file has no slot for.
    """

    file: Path
    model_hint: str
    lengths: dict[int, float]
    left_out: tuple[int, ...]


def to_repeng(
    directions: DirectionSet,
    emotion: str,
    *,
    dose: float = DEFAULT_DOSE,
    kind: str = "specific",
    layers: Sequence[int] | None = None,
) -> dict[int, FloatArray]:
    """The vectors dose · s · v̂ that steering adds, by block: `repeng.ControlVector(model_type, to_repeng(...))`.

    Args:
        directions: of one model; s is its layer's unit (`GenericStatistics.unit`).
        emotion: whose direction.
        dose: what coefficient 1 stands for.
        kind: which direction.
        layers: block indices; all by default.

    Returns:
        block index → (d,) float32, in rising order.

    Raises:
        InputError: a dose that is 0, no finite number or too large for float32, an emotion, kind or layer that is not
            there, `embed`.
    """
    if not np.isfinite(dose) or dose == 0:
        raise InputError("This dose makes no vector.", found=dose, accepted="a finite number other than 0")
    chosen = range(directions.n_layers) if layers is None else sorted(set(layers))
    if not chosen:
        raise InputError("No layers were given.", accepted=f"0 to {directions.n_layers - 1}")
    if min(chosen) < 0:
        raise InputError(
            "A control vector is added after a block; embed stands before the first.",
            found=f"layer {min(chosen)}",
            accepted=f"0 to {directions.n_layers - 1}",
        )
    found = {}
    for layer in chosen:
        unit = directions.direction(emotion, layer, kind).unit
        length = dose * float(directions.generic.unit[layer + 1])
        if not abs(length) <= float(np.finfo(np.float32).max):
            raise InputError(
                f"This dose is too large for the file's numbers at layer {layer}.", found=f"{dose:g}",
                accepted="a vector that float32 can hold",
            )  # fmt: skip
        found[layer] = (length * unit).astype(np.float32)
    return found


def export_gguf(
    directions: DirectionSet,
    emotion: str,
    path: Path,
    *,
    dose: float = DEFAULT_DOSE,
    kind: str = "specific",
    layers: Sequence[int] | None = None,
    model_hint: str | None = None,
) -> ExportedVector:
    """Write one emotion's control vectors as the GGUF file that llama.cpp and repeng read.

    Args:
        directions, emotion, dose, kind, layers: as for `to_repeng`; strength 1 is the dose.
        path: file to write.
        model_hint: name of the architecture; by default that of the directions' model.

    Raises:
        InputError: as for `to_repeng`; nothing is left without layer 0; the architecture is not known here; the file
            cannot be written.
    """
    found = to_repeng(directions, emotion, dose=dose, kind=kind, layers=layers)
    written = {layer: vector for layer, vector in found.items() if layer >= FIRST_LAYER}
    if not written:
        last = directions.n_layers - 1
        raise InputError(
            "Nothing is left to export: a control vector file has no slot for layer 0.",
            accepted=f"layers {FIRST_LAYER} to {last}" if last >= FIRST_LAYER else "a model of two layers or more",
        )
    hint = _hint_of(directions.source.model) if model_hint is None else model_hint
    _write(path, hint, written)
    lengths = {layer: float(np.linalg.norm(vector.astype(np.float64))) for layer, vector in written.items()}
    return ExportedVector(path, hint, lengths, tuple(layer for layer in found if layer not in written))


def load_gguf_control_vector(path: Path) -> ControlVector:
    """Read a control vector file, whoever wrote it.

    A `direction.0`, which repeng can write, is read as block 0. `model_hint` is empty where the file has none.

    Raises:
        InputError: missing, no whole GGUF file, not a control vector, or vectors that are not float32, finite,
            one-dimensional and of one width.
    """
    from gguf import GGMLQuantizationType, GGUFReader

    if not path.is_file():
        raise InputError("There is no such file.", found=path, accepted="a .gguf control vector")
    try:
        reader = GGUFReader(path)
        fields = {
            name: str(reader.fields[name].contents()) if name in reader.fields else ""
            for name in ("general.architecture", f"{ARCHITECTURE}.model_hint")
        }
        tensors = [(t.name, t.tensor_type, np.array(t.data)) for t in reader.tensors]
    except (ValueError, IndexError, KeyError, OSError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not a whole GGUF file.", found=f"{type(error).__name__}: {str(error)[:160]}"
        ) from error
    if fields["general.architecture"] != ARCHITECTURE:
        raise InputError(
            f"{path} is no control vector.", found=repr(fields["general.architecture"]), accepted=repr(ARCHITECTURE)
        )
    found: dict[int, FloatArray] = {}
    for name, quantization, values in tensors:
        number = name.removeprefix(_TENSOR)
        if not name.startswith(_TENSOR) or not (number.isascii() and number.isdigit()):
            raise InputError(f"{path} holds a tensor that is no direction.", found=name, accepted=f"{_TENSOR}1 …")
        if quantization != GGMLQuantizationType.F32 or values.ndim != 1:
            raise InputError(
                f"{name} in {path} cannot be used.",
                found=f"{quantization.name} of shape {values.shape}",
                accepted="F32 with one dimension",
            )
        if not np.isfinite(values).all():
            raise InputError(f"{name} in {path} holds NaN or infinity.")
        found[int(number)] = values.astype(np.float32)
    if len({len(vector) for vector in found.values()}) != 1:
        widths = sorted({len(vector) for vector in found.values()})
        raise InputError(f"The vectors of {path} do not make one model's.", found=f"widths {widths or 'none'}")
    return ControlVector(fields[f"{ARCHITECTURE}.model_hint"], dict(sorted(found.items())))


def _write(path: Path, hint: str, vectors: Mapping[int, FloatArray]) -> None:
    from gguf import GGUFWriter

    with whole_file(path) as part:
        writer = GGUFWriter(part, ARCHITECTURE)
        try:
            writer.add_string(f"{ARCHITECTURE}.model_hint", hint)
            writer.add_uint32(f"{ARCHITECTURE}.layer_count", len(vectors))
            for layer, vector in vectors.items():
                writer.add_tensor(f"{_TENSOR}{layer}", vector)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()


def _hint_of(model: str) -> str:
    """llama.cpp's name of a model's architecture; Hugging Face's where llama.cpp has none."""
    try:
        family = family_of_model(model)
    except InputError as error:
        raise InputError(
            f"The architecture of {model} is not known here.",
            found=error.problem,
            next_step="give the model hint, llama.cpp's name of it: gpt2, gptneox, llama",
        ) from error
    return family.gguf or family.name
