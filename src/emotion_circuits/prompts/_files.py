"""Reading users' files, with errors that name file and line: JSON strictly, other texts by their suffix."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from emotion_circuits._files import read_bytes
from emotion_circuits.errors import InputError

Model = TypeVar("Model", bound=BaseModel)

STANDARD_INPUT = Path("-")
MAX_DEPTH = 100
"""Of nested JSON; what is written back is walked recursively."""

_LINE = '{"text": "..."} on each line'
_ACCEPTED = (
    f".jsonl or .ndjson with {_LINE}, .csv or .tsv with a column `text`, .json, .txt; - is standard input (JSON)"
)
_LINES, _TABLES, _REST = ("", ".jsonl", ".ndjson"), {".csv": ",", ".tsv": "\t"}, (".json", ".txt")
READ_AS_ROWS = (*_LINES, *_TABLES)
"""Suffixes, in small letters, whose rows have named fields. What has none is read as JSON lines: pipes, for example."""


class Row(NamedTuple):
    """One text of a file with the fields beside it.

    Attributes:
        where: what errors call it: the file and the line.
        value: its fields, `text` among them.
        line: the line as it was written, where it is JSON.
    """

    where: str
    value: dict[str, Any]
    line: str = ""

    @property
    def text(self) -> str:
        return str(self.value["text"])


def read_rows(path: Path, *, blank: bool = False) -> list[Row]:
    """The texts of any file of texts.

    By its suffix, in small or capital letters: JSON lines (`.jsonl`, `.ndjson`, no suffix, `-` for standard input), a
    table with a header (`.csv`, `.tsv`), `.txt` with a text on each line, `.json` with a list of texts or of objects,
    which may stand under `prompts`. Blank lines are skipped.

    Args:
        path: the file; pipes and `-` can be read once.
        blank: accept texts that are empty or only white space.

    Raises:
        InputError: naming the file and the line: no such file, another format, a text that is missing or empty.
    """
    suffix = path.suffix.lower()
    if suffix in _LINES:
        rows: Iterator[Row] = read_jsonl(path)
    elif suffix in _TABLES:
        rows = _read_table(path, _TABLES[suffix])
    elif suffix == ".txt":
        rows = (Row(where, {"text": line}) for where, line in _lines(path))
    elif suffix == ".json":
        rows = _read_list(path)
    else:
        raise InputError(f"{path} is not named like a file of texts.", found=suffix, accepted=_ACCEPTED)
    found = []
    for row in rows:
        text = row.value.get("text")
        if not isinstance(text, str):
            raise InputError(f"{row.where}: there is no text", found=repr(row.value)[:80], accepted=_LINE)
        if not blank and not text.strip():
            raise InputError(f"{row.where}: the text is empty", next_step="leave it out")
        found.append(row)
    if not found:
        raise InputError(f"{shown(path)} holds no texts", accepted=_ACCEPTED)
    return found


def shown(path: Path) -> str:
    """What errors call a file."""
    return "standard input" if path == STANDARD_INPUT else str(path)


def read_text(path: Path) -> str:
    """The file's text: UTF-8, or UTF-16 where a byte order mark says so; the mark is dropped.

    Raises:
        InputError: it cannot be read, is no such text, or holds a NUL character.
    """
    try:
        if path == STANDARD_INPUT and sys.stdin is None:
            raise OSError("it is closed")
        data = sys.stdin.buffer.read() if path == STANDARD_INPUT else read_bytes(path)
    except OSError as error:
        raise InputError(f"cannot read {shown(path)}", found=error.strerror or error) from error
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        at = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{shown(path)}, line {at}: not UTF-8 text", found=error.reason, next_step="save it as UTF-8"
        ) from error
    if "\0" in text:
        at = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(f"{shown(path)}, line {at}: not text", found="a NUL character", next_step="save it as UTF-8")
    return text


def read_json(path: Path) -> object:
    """The file's JSON value; InputError as `parse_json` has it."""
    return parse_json(read_text(path), shown(path))


def read_jsonl(path: Path) -> Iterator[Row]:
    """The objects of a JSONL file; blank lines are skipped."""
    for where, line in _lines(path):
        value = parse_json(line, where)
        if not isinstance(value, dict):
            raise InputError(f"{where}: not an object", found=line[:80], accepted=_LINE)
        yield Row(where, value, line.strip())


def parse_json(text: str, where: str) -> object:
    """The JSON value, if writing it again gives the same value in UTF-8.

    Raises:
        InputError: starting with `where`: it is not JSON, names a field twice, holds half of a surrogate pair or a
            number that is not finite or too long, or is nested deeper than `MAX_DEPTH`.
    """
    try:
        value: object = json.loads(text, object_pairs_hook=_unique, parse_constant=_finite, parse_float=_finite)
        _check_depth_and_characters(value)
    except json.JSONDecodeError as error:
        at = f", line {error.lineno}" if "\n" in text else ""
        raise InputError(f"{where}{at}: not JSON", found=f"{error.msg} at column {error.colno}") from error
    except RecursionError:
        raise InputError(f"{where}: nested too deeply", accepted=f"at most {MAX_DEPTH} levels") from None
    except UnicodeEncodeError as error:
        raise InputError(
            f"{where}: half of a surrogate pair, which is no character",
            found=f"\\u{ord(error.object[error.start]):04x}",
            next_step="mend or leave out the text",
        ) from error
    except ValueError as error:
        raise InputError(f"{where}: a value that cannot be kept", found=str(error).split(";")[0]) from error
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the field {next(n for n in names if names.count(n) > 1)!r} is there twice")
    return found


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number[:40]} is not a finite number")
    return value


def _check_depth_and_characters(value: object, depth: int = 0) -> None:
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, dict | list):
        if depth == MAX_DEPTH:
            raise RecursionError
        for item in value if isinstance(value, list) else (*value, *value.values()):
            _check_depth_and_characters(item, depth + 1)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Where it is, and the line, for all that are not blank."""
    # Not str.splitlines: it would also cut at characters such as U+2028, which JSON allows inside strings.
    text = read_text(path).replace("\r\n", "\n").replace("\r", "\n")
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"{shown(path)}, line {number}", line


def _read_table(path: Path, delimiter: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    start = 1
    try:
        for fields in reader:
            where, start = f"{shown(path)}, line {start}", reader.line_num + 1
            if not any(fields):
                continue
            if header is None:
                header = fields
                if header.count("text") != 1 or len(set(header)) < len(header):
                    raise InputError(
                        f"{where}: the header needs a column `text`, and every name once",
                        found=", ".join(map(repr, header))[:200],
                    )
            elif len(fields) != len(header):
                raise InputError(f"{where}: {len(fields)} fields", accepted=f"{len(header)}, as in the header")
            else:
                yield Row(where, dict(zip(header, fields, strict=True)))
    except csv.Error as error:
        raise InputError(f"{shown(path)}, line {start}: not a table", found=error) from error


def _read_list(path: Path) -> Iterator[Row]:
    found = read_json(path)
    found = found.get("prompts") if isinstance(found, dict) else found
    if not isinstance(found, list):
        raise InputError(f"{path} holds no list of texts", accepted='{"prompts": ["...", ...]} or ["...", ...]')
    for number, item in enumerate(found, 1):
        yield Row(f"{path}, text {number}", item if isinstance(item, dict) else {"text": item})


def parse(model: type[Model], value: object, where: str) -> Model:
    """`value` as a `model`; InputError that starts with `where` and names the first wrong field."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{where}: {field + ': ' if field else ''}{first['msg']}", found=repr(value)[:120]) from error
