"""Reading rows of JSON with errors that name file and line, and writing whole files or none."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from emotion_circuits.errors import InputError

Model = TypeVar("Model", bound=BaseModel)


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
            raise InputError(
                f"{path}, line {number}: not JSON", found=f"{error.msg} at column {error.colno}"
            ) from error
        yield Row(number, value)


def parse(model: type[Model], value: object, where: str) -> Model:
    """`value` as a `model`; InputError that starts with `where` and names the first wrong field."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{where}: {field + ': ' if field else ''}{first['msg']}", found=repr(value)[:120]) from error


def write_atomically(path: Path, content: str) -> None:
    """Writes `content` to a temporary file beside `path` and renames it, so that readers see all of it or none."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(content, encoding="utf-8", newline="\n")
        temporary.replace(path)
    except OSError as error:
        raise InputError(
            f"cannot write {path}",
            found=error.strerror or error,
            next_step="choose a folder that you may write to",
        ) from error
    finally:
        # After the rename it is gone already; after a failure, an interrupt included, it must not stay behind. A
        # folder that cannot be written cannot be cleaned either, and that error would hide the first one.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
