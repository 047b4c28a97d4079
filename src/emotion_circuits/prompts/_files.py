"""Reading rows of JSON with errors that name file and line, and writing whole files or none."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ValidationError

from emotion_circuits.errors import InputError


class Row(NamedTuple):
    """One parsed line of a JSONL file."""

    line: int
    value: object


def read_text(path: Path) -> str:
    """The file's UTF-8 text (a byte order mark is dropped); InputError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text", found=error, next_step="save it as UTF-8") from error
    except OSError as error:
        raise InputError(f"cannot read {path}", found=error.strerror or error) from error


def read_json(path: Path) -> object:
    """The file's JSON value; InputError naming file and line if it is malformed."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: not JSON", found=error.msg) from error


def read_jsonl(path: Path) -> Iterator[Row]:
    """The values of a JSONL file with their line numbers; blank lines are skipped."""
    # Not str.splitlines: it would also cut at characters such as U+2028, which JSON allows inside strings.
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, line {number}: not JSON", found=f"{error.msg} at column {error.colno}") from error
        yield Row(number, value)


def parse[Model: BaseModel](model: type[Model], value: object, where: str) -> Model:
    """`value` as a `model`; InputError that starts with `where` and names the first wrong field."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{where}: {field + ': ' if field else ''}{first['msg']}", found=repr(value)[:120]) from error


def write_atomically(path: Path, content: str) -> None:
    """Writes `content` to a temporary file beside `path` and renames it, so that readers see all of it or none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise InputError(
            f"cannot write to the folder {path.parent}",
            found=error.strerror or error,
            next_step="choose a folder that you may write to",
        ) from error
    try:
        # mkstemp makes files only their owner can read; a data set is meant to be shared.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        with open(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(content)
        os.replace(temporary, path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise InputError(f"cannot write {path}", found=error.strerror or error) from error
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
