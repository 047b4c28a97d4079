"""The folder for models that were converted once."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from emotion_circuits.errors import InputError

CACHE_VARIABLE = "EMOTION_CIRCUITS_CACHE"


def cache_folder() -> Path:
    """Where converted models are kept: `$EMOTION_CIRCUITS_CACHE`, else `~/.cache/emotion-circuits`."""
    configured = os.environ.get(CACHE_VARIABLE)
    return Path(configured).expanduser() if configured else Path.home() / ".cache" / "emotion-circuits"


@contextmanager
def publish(folder: Path, *, needed_bytes: int = 0) -> Iterator[Path]:
    """Give an empty folder to write into, which becomes `folder` in one step if the block ends without an exception.

    Readers see a complete folder or none, also when two processes make the same one or one of them is killed. A folder
    that is already there is replaced.

    Raises:
        InputError: the place cannot be written, or has less than `needed_bytes` free.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        workspace = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise InputError(
            "The cache folder cannot be written.", found=error, next_step=f"set {CACHE_VARIABLE} to a folder of yours"
        ) from error
    try:
        free = shutil.disk_usage(workspace).free
        if free < needed_bytes:
            raise InputError(
                "There is too little disk space for the converted model.",
                found=f"{free / 1e9:.1f} GB free in {folder.parent}",
                accepted=f"{needed_bytes / 1e9:.1f} GB",
                next_step=f"free some, or set {CACHE_VARIABLE} to another folder",
            )
        fresh = workspace / "new"
        fresh.mkdir()
        yield fresh
        with suppress(FileNotFoundError):
            folder.rename(workspace / "old")
        try:
            fresh.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process has just made the same
                raise
    finally:
        shutil.rmtree(workspace, ignore_errors=True)
