"""One run at a time owns a results folder: a lock that names its owner and dies with it."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from emotion_circuits._files import PART, write_text
from emotion_circuits.errors import InputError, WriteError

LOCK, OWNER = ".lock", ".owner.json"


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Be the only run that writes into a folder; what a killed run left half-written there is removed.

    The operating system holds the lock, so it ends with its process, however that ends. A folder that was made for it
    and stayed empty is removed again.

    Raises:
        InputError: another run owns the folder, with its process, host, command and start; or it cannot be written.
    """
    from filelock import FileLock, Timeout

    new = [path for path in (folder, *folder.parents) if not path.exists()]
    lock = FileLock(folder / LOCK, blocking=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise InputError(
            f"Another run is at work in {folder}.",
            found=_owner(folder),
            accepted="one run at a time",
            next_step="wait until it has ended, end it, or give another folder",
        ) from None
    except OSError as error:
        raise WriteError(
            f"Cannot write {folder}.", found=error.strerror or error, next_step="choose a folder you may write"
        ) from error
    try:
        for left in folder.rglob(PART.format("*", "*")):  # nobody else writes here now
            left.unlink(missing_ok=True)
        write_text(folder / OWNER, json.dumps(_self()))
        yield
    finally:
        with suppress(OSError):
            (folder / OWNER).unlink()
        with suppress(OSError):
            if new and [path.name for path in folder.iterdir()] == [LOCK]:
                (folder / LOCK).unlink()
                for path in new:
                    path.rmdir()
        lock.release()


def _self() -> dict[str, str | int]:
    return {
        "pid": os.getpid(),
        "host": platform.node(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def _owner(folder: Path) -> str:
    """Who holds the lock, as far as it has said so yet."""
    try:
        own = json.loads((folder / OWNER).read_text(encoding="utf-8"))
        return f"process {own['pid']} on {own['host']}, since {own['since']}: {own['command']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "a process that has not written its name yet"
