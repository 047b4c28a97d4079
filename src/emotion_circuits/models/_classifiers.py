"""Where text classifiers come from: a local folder or the hub. They are scorers, not models to measure."""

from __future__ import annotations

from pathlib import Path

from emotion_circuits.errors import InputError
from emotion_circuits.models._hub import hub_folder
from emotion_circuits.models._names import ModelName
from emotion_circuits.models._weights import weight_files


def classifier_folder(name: ModelName) -> Path:
    """The folder of a classifier in Hugging Face format, fetched if it is not there yet.

    Raises:
        InputError: neither a folder nor a hub id; no safetensors weights; the hub cannot be reached.
    """
    if name.kind not in ("folder", "hub") or name.seed is not None:
        raise InputError("This is no classifier.", found=str(name), accepted="a hub id or a local folder")
    folder = name.path if name.kind == "folder" else hub_folder(name)
    if not folder.is_dir():
        raise InputError("There is no such folder.", found=folder, next_step="check the spelling")
    weight_files(folder)
    return folder
