"""The store: which stages are finished, with what parameters, and whether their files are still whole.

`manifest.json` is the only state. It is rewritten in one step after each stage, so that a study killed at any moment
keeps the stages it had finished. A stage is finished if its key is the same and its files have the same bytes.
"""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from emotion_circuits._files import read_json, write_json
from emotion_circuits._parts import key_of, versions
from emotion_circuits.errors import InputError

SCHEMA = 1


def file_hash(path: Path) -> str:
    """SHA-256 of a file, 16 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def stage_key(name: str, parameters: Mapping[str, Any], inputs: Sequence[str]) -> str:
    """What a finished stage is recognised by: its parameters, its inputs' keys and the packages that compute.

    Args:
        name: of the stage.
        parameters: JSON values.
        inputs: keys of the stages it reads.
    """
    return key_of([name, parameters, list(inputs)])


class Store:
    """The results of one profile.

    Args:
        folder: `results/<profile>`; made when the first stage is finished.

    Raises:
        InputError: the folder holds results of another schema, or a manifest that cannot be read.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._path = folder / "manifest.json"
        self._stages = self._read()

    def _read(self) -> dict[str, dict[str, Any]]:
        if not self._path.exists():
            return {}
        found = read_json(self._path)
        schema = found.get("schema") if isinstance(found, dict) else None
        if schema != SCHEMA:
            raise InputError(
                f"{self.folder} holds results of another version.",
                found=f"schema {schema}",
                accepted=f"schema {SCHEMA}",
                next_step="give another folder with --results, or move this one away",
            )
        stages: dict[str, dict[str, Any]] = found["stages"]
        return stages

    def _write(self) -> None:
        write_json(self._path, {"schema": SCHEMA, "stages": dict(sorted(self._stages.items()))})

    @property
    def entries(self) -> dict[str, dict[str, Any]]:
        """What the manifest says of every finished stage."""
        return self._read()

    def files(self, stage: str) -> tuple[str, ...]:
        """What a finished stage wrote, in its order, relative to the folder."""
        return tuple(self._stages.get(stage, {"files": ()})["files"])

    def finished(self, stage: str, key: str) -> bool:
        """Whether the stage was finished under this key and its files are as they were."""
        entry = self._stages.get(stage)
        if entry is None or entry["key"] != key:
            return False
        return all(
            (self.folder / name).is_file() and file_hash(self.folder / name) == digest
            for name, digest in entry["files"].items()
        )

    def finish(
        self, stage: str, key: str, files: Sequence[Path], seconds: float, parameters: Mapping[str, Any]
    ) -> None:
        """Record a finished stage and what made its files, beside whatever is recorded by now."""
        self._stages = self._read()
        written = {path.relative_to(self.folder).as_posix(): file_hash(path) for path in files}
        for name in set(self._stages.get(stage, {"files": {}})["files"]) - set(written):  # of another set of emotions
            (self.folder / name).unlink(missing_ok=True)
        self._stages[stage] = {
            "key": key,
            "parameters": dict(parameters),
            "files": written,
            "seconds": round(seconds, 2),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions() | {"python": platform.python_version()},
        }
        self._write()

    def forget(self, stage: str) -> None:
        """Remove what an earlier run left of a stage that cannot run now, so that nobody takes it for this study's."""
        entry = self._stages.pop(stage, None)
        if entry is not None:
            self._write()
            for name in entry["files"]:
                (self.folder / name).unlink(missing_ok=True)


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._start
