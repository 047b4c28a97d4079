"""Files that are either whole or not there: written under a temporary name and renamed. Nothing is ever unpickled."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emotion_circuits._plain import to_plain
from emotion_circuits.errors import InputError, WriteError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


PART = ".{}.{}.part"
"""Temporary names: of a file's name and the number of the process that writes it."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, which takes its name when the block ends without an exception.

    A symbolic link stays, and the file that it names is written. What is no file (a pipe, `/dev/null`) is written as
    it is.

    Raises:
        WriteError: the folder cannot be written, or the disk is full.
    """
    try:
        target = Path(os.path.realpath(path)) if path.is_symlink() else path
        special = target.exists() and not target.is_file() and not target.is_dir()
        part = target if special else target.with_name(PART.format(target.name, os.getpid()))
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            if not special:
                part.replace(target)
        finally:
            if not special:
                part.unlink(missing_ok=True)
    except OSError as error:
        full = error.errno in DISK_FULL
        advice = "make room there" if full else "choose a folder you may write"
        refusal = WriteError(f"Cannot write {path}.", found=error.strerror or error, next_step=advice)
        refusal.exit_status = 1 if full else 2
        raise refusal from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write JSON, indented, keys in the order given; results of any kind as `to_plain` puts them."""
    write_text(path, json.dumps(to_plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_bytes(path: Path) -> bytes:
    """The content of a file or pipe; a device is refused, since some (`/dev/zero`, `/dev/full`) never end.

    Raises:
        OSError: it cannot be read, or is a device.
    """
    kind = path.stat().st_mode
    if stat.S_ISCHR(kind) or stat.S_ISBLK(kind):
        raise OSError(errno.EINVAL, "it is a device, not a file")
    return path.read_bytes()


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        InputError: missing or malformed.
    """
    try:
        return json.loads(read_bytes(path).decode("utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"No such file: {path}.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not readable JSON.", found=error) from error


def write_table(path: Path, table: pd.DataFrame, *, source: Mapping[str, Any] | None = None) -> None:
    """Write parquet, or JSON where the name ends so; `source`, where it is given, says how the model was run, and is
    read as `attrs["source"]`."""
    if path.suffix.lower() == ".json":
        write_json(path, table)
        return
    if source is not None:
        table = table.copy(deep=False)
        table.attrs["source"] = dict(source)
    with whole_file(path) as part:
        table.to_parquet(part, index=False)


def read_table(path: Path) -> pd.DataFrame:
    """Read parquet.

    Raises:
        InputError: missing or malformed.
    """
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except FileNotFoundError as error:
        raise InputError(f"No such file: {path}.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a readable table.", found=error) from error


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray], header: Mapping[str, str]) -> None:
    """Write safetensors with a text header.

    Arrays are made contiguous first: safetensors 0.8.0 stores others wrongly, without an error. The same content gives
    the same bytes: safetensors itself writes the text header in an order that changes from call to call.
    """
    import numpy as np
    from safetensors.numpy import save

    written = save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, metadata=dict(header))
    start = 8 + int.from_bytes(written[:8], "little")
    ordered = json.dumps(json.loads(written[8:start]), sort_keys=True, separators=(",", ":")).encode()
    ordered += b" " * (-len(ordered) % 8)  # the format aligns the tensors to eight bytes
    with whole_file(path) as part, part.open("wb") as file:
        file.write(len(ordered).to_bytes(8, "little") + ordered)
        file.write(memoryview(written)[start:])


def read_tensors(path: Path, schema: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read safetensors of one schema.

    Raises:
        InputError: missing, corrupted, or written under another schema.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError(f"No such file: {path}.")
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"{path} is not a whole safetensors file.", found=error, next_step="delete it and make it again"
        ) from error
    if header.get("schema") != schema:
        raise InputError(
            f"{path} was written by another version or command.",
            found=f"schema {header.get('schema')!r}",
            accepted=schema,
            next_step="make it again with this version",
        )
    return tensors, header
