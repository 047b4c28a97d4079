"""From a model's name to a local folder with its files."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from emotion_circuits.errors import InputError
from emotion_circuits.models._gguf import converted_source, gguf_folder
from emotion_circuits.models._hub import cached_snapshot, download, hub_folder
from emotion_circuits.models._names import ModelName, no_config
from emotion_circuits.models._packaged import get_packaged, packaged_folder, packaged_path


class ModelFolder(NamedTuple):
    """A local folder in Hugging Face format."""

    path: Path
    commit: str | None = None
    """Of a hub model."""
    gguf_sha256: str | None = None
    """Of the file that the folder was converted from."""


def find(name: ModelName) -> ModelFolder:
    """The folder of a model. Hub models are downloaded, `.gguf` files converted if need be; packaged ones are not.

    For an untrained twin no weight file is needed, and none is fetched.

    Raises:
        InputError: the model cannot be found or fetched.
    """
    if name.kind == "reference":
        return ModelFolder(reference_folder(name))
    if name.kind == "hub":
        folder = hub_folder(name, weights=not name.is_untrained)
        return ModelFolder(folder, folder.name)
    if name.kind == "folder":
        return ModelFolder(_local_folder(name.path))
    folder = packaged_folder(name.source) if name.kind == "packaged" else gguf_folder(name.path)
    source = converted_source(folder)
    return ModelFolder(folder, gguf_sha256=source.gguf_sha256 if source else None)


def get(name: ModelName | str, tell: Callable[[str], None] = lambda _: None, *, accept_terms: bool = False) -> Path:
    """Bring a model to this machine, and renew a hub model's branch.

    Args:
        tell: is called with one line before each long step.
        accept_terms: of a model whose terms of use have to be accepted.

    Returns:
        the model's local folder.

    Raises:
        InputError: the model cannot be found or fetched, or its terms are not accepted.
    """
    name = ModelName.parse(name)
    if name.kind == "packaged":
        return get_packaged(name.source, tell, accept_terms=accept_terms)
    if name.kind == "hub":
        tell(f"Fetching {name.trained} from the hub")
        return download(name, weights=not name.is_untrained)
    if name.kind == "gguf":
        tell(f"Converting {name.path.name}, if that was not done before")
    return find(name).path


def is_available(name: ModelName | str) -> bool:
    """Whether a model loads without a download. Asks no network."""
    name = ModelName.parse(name)
    if name.kind == "hub":
        return cached_snapshot(name, weights=not name.is_untrained) is not None
    if name.kind == "packaged":
        return converted_source(packaged_path(name.source)) is not None
    return name.kind == "reference" or name.path.exists()


def reference_folder(name: ModelName) -> Path:
    """The bundled files of a reference model."""
    return Path(str(files("emotion_circuits.models") / "data" / name.source.removeprefix("reference/")))


def _local_folder(path: Path) -> Path:
    if not path.is_dir():
        raise InputError("There is no such folder.", found=path, accepted="a folder in Hugging Face format")
    if not (path / "config.json").is_file():
        raise no_config(path)
    return path
