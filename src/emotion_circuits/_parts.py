"""Parts of a long computation, kept as soon as they are done, so that a run that is killed goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import emotion_circuits
from emotion_circuits._files import read_tensors, write_tensors
from emotion_circuits.errors import InputError

if TYPE_CHECKING:
    import numpy as np

SCHEMA = "part-1"
NUMERIC_PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "scipy", "scikit-learn", "vaderSentiment")


def key_of(content: Any) -> str:
    """What a result is recognised by: everything that decides it, as JSON values, and the packages that compute."""
    packages = [f"{package} {number}" for package, number in versions().items()]
    return hashlib.sha256(json.dumps([content, packages], sort_keys=True, default=str).encode()).hexdigest()[:16]


@cache
def versions() -> dict[str, str]:
    """Of what computes; looking one up takes milliseconds, and a study has hundreds of keys."""
    return {package: version(package) for package in NUMERIC_PACKAGES} | {
        "emotion-circuits": emotion_circuits.__version__
    }


class Parts:
    """Arrays by name, each in a file of its own, valid for one set of parameters.

    Args:
        folder: where the files are; made when the first part is kept.
        parameters: everything that decides the arrays, as JSON values. Parts made under others are made again.
    """

    def __init__(self, folder: Path, parameters: Any):
        self.folder = folder
        self.key = key_of(parameters)

    def kept(self, name: str, compute: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The arrays of a part: read if it was finished under these parameters, otherwise computed and kept."""
        path = self.folder / f"{name}.safetensors"
        if path.is_file():
            try:
                arrays, header = read_tensors(path, SCHEMA)
            except InputError:  # a part that cannot be read is made again
                header = {}
            if header.get("key") == self.key:
                return arrays
        made = dict(compute())
        write_tensors(path, made, {"schema": SCHEMA, "key": self.key})
        return made

    def clear(self) -> None:
        """Remove all parts, once what they were for is written."""
        shutil.rmtree(self.folder, ignore_errors=True)
