"""Maps between models as files: safetensors with the metadata as JSON in the header, never a pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from emotion_circuits._files import write_tensors
from emotion_circuits.errors import InputError

from ._aligner import Aligner
from ._aligners import aligner_named
from ._reduction import Reduction

FORMAT = "emotion-circuits map 1"


def save_aligner(aligner: Aligner, path: Path | str, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write a fitted map.

    Args:
        aligner: a fitted aligner.
        path: the file, by custom ``*.safetensors``; it appears whole or not at all.
        metadata: what else is to be kept (models, layers, texts), as JSON.

    Raises:
        InputError: an aligner that is not fitted, metadata that is not JSON, or a folder that cannot be written.
    """
    if not hasattr(aligner, "map_"):
        raise InputError("Only a fitted map can be saved.", next_step="call fit first")
    tensors = {"map": aligner.map_, "target_mean": aligner.target_mean_, "target_scale": aligner.target_scale_}
    for side, reduction in (("source", aligner.source_), ("target", aligner.target_)):
        tensors |= {f"{side}.mean": reduction.mean, f"{side}.scale": reduction.scale}
        if reduction.components is not None:
            tensors[f"{side}.components"] = reduction.components
    try:
        header = json.dumps(
            {
                "aligner": aligner.name,
                "parameters": aligner.get_params(),
                "n_fit": aligner.n_fit_,
                "metadata": dict(metadata or {}),
            },
            sort_keys=True,
        )
    except TypeError as error:
        raise InputError("The metadata of the map is not JSON.", found=error) from None
    destination = Path(path)
    try:
        write_tensors(destination, tensors, {"format": FORMAT, "json": header})
    except InputError as error:
        raise InputError("The map cannot be written.", found=error, next_step="another folder") from None
    return destination


def load_aligner(path: Path | str) -> tuple[Aligner, dict[str, Any]]:
    """A map and its metadata from a file of `save_aligner`. It transforms and scores; shuffling needs a new fit.

    Raises:
        InputError: no file, or not one of these.
    """
    try:
        with safe_open(str(path), framework="numpy") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
    except (OSError, SafetensorError) as error:
        raise InputError(f"The map {path} cannot be read.", found=error) from None
    if header.get("format") != FORMAT:
        raise InputError(f"{path} does not hold a map.", found=header.get("format"), accepted=FORMAT)
    stored = json.loads(header["json"])
    aligner = aligner_named(stored["aligner"])(**stored["parameters"])
    aligner.source_, aligner.target_ = (
        Reduction(tensors[f"{side}.mean"], tensors[f"{side}.scale"], tensors.get(f"{side}.components"))
        for side in ("source", "target")
    )
    aligner.target_mean_, aligner.target_scale_ = tensors["target_mean"], tensors["target_scale"]
    aligner.map_, aligner.n_fit_, aligner.training_ = tensors["map"], int(stored["n_fit"]), None
    return aligner, stored["metadata"]
