"""The folder for models that were converted once."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from emotion_circuits.errors import InputError

CACHE_VARIABLE = "EMOTION_CIRCUITS_CACHE"

_OWNER = "owner.lock"
"""Held by whoever writes into a workspace; the system lets go of it when that process ends, however it ends."""


def cache_folder() -> Path:
    """Where converted models are kept: `$EMOTION_CIRCUITS_CACHE` if it is set and not empty, else
    `~/.cache/emotion-circuits`.

    Raises:
        InputError: the place is in a home folder that is not known.
    """
    configured = os.environ.get(CACHE_VARIABLE, "").strip() or "~/.cache/emotion-circuits"
    try:
        return Path(configured).expanduser()
    except RuntimeError as error:
        raise InputError(
            "There is no home folder for the cache.",
            found=f"{configured}: {error}",
            next_step=f"set {CACHE_VARIABLE} to a folder of yours",
        ) from error


@contextmanager
def publish(folder: Path, *, needed_bytes: int = 0) -> Iterator[Path]:
    """Give an empty folder to write into, which becomes `folder` in one step if the block ends without an exception.

    Readers see a complete folder or none, also when two processes make the same one or one of them is killed. A folder
    that is already there is replaced. What killed processes left of the same folder is removed first.

    Raises:
        InputError: the place cannot be written, or has less than `needed_bytes` free.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        workspace, owner = _workspace(folder)
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
        owner.release()


def _workspace(folder: Path) -> tuple[Path, FileLock]:
    """A new folder beside `folder`, and the lock that says it has a living owner."""
    while True:
        workspace = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        owner = FileLock(workspace / _OWNER)
        with suppress(FileNotFoundError):
            owner.acquire()
            if (workspace / _OWNER).exists():  # else another process took it for a leftover before it was locked
                return workspace, owner
            owner.release()


def _sweep(folder: Path) -> None:
    """Remove the workspaces of `folder` whose owner is gone."""
    for workspace in folder.parent.glob(f".{folder.name}-*"):
        owner = FileLock(workspace / _OWNER)
        with suppress(Timeout, OSError):
            owner.acquire(blocking=False)
            shutil.rmtree(workspace, ignore_errors=True)
            owner.release()
