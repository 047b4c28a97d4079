"""Rows of results as a table, on the screen or in a notebook: one printer for everything that has a value, an interval
and a chance."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from textwrap import fill
from typing import Any

SIGNIFICANT_DIGITS = 4
SHOWN_ROWS = 60
HEAD_WIDTH = 16
DIGITS = 3
OF_THE_FIRST = ("null_low", "ceiling", "n_unique")
"""What a table of several statistics says of the first only; the file has it of all."""
STATISTIC = "statistic"
HEADS = {
    "id": "claim",
    "ci_low": "95 % interval", "null_low": "by chance, 95 %", "p_random": "p over chance", "n_unique": "n",
    "layer_a": "layer", "layer_b": "layer in the other", "ci95": "95 % interval", "gain_ci95": "its 95 % interval",
    "gain_over": "over",
}  # fmt: skip
"""Fields that the screen calls by another name than the file; the others lose their underscores only."""


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows for the screen. Numbers are shown with four significant digits, right-aligned and never cut."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str | None = None
    notes: Sequence[str] = ()
    """Lines under the table."""


class Shown(ABC):
    """A result that a notebook shows as its table."""

    @abstractmethod
    def table(self) -> Table:
        """What it says, each number beside its chance."""

    def _repr_html_(self) -> str:
        table = self.table()
        names = (name.replace("-\n", "-") for name in table.columns)  # they were broken for the screen
        heads = "".join(f"<th>{escape(name)}</th>" for name in names)
        lines = ("".join(f"<td>{escape(format_cell(cell))}</td>" for cell in row) for row in table.rows)
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        notes = "".join(f"<div>{escape(note)}</div>" for note in table.notes)
        return f"<table><caption>{escape(table.title or '')}</caption><tr>{heads}</tr>{body}</table>{notes}"


def row_table(
    rows: Iterable[Any],
    *,
    title: str | None = None,
    notes: Sequence[str] = (),
    hide: Sequence[str] = (),
    heads: Mapping[str, str] | None = None,
    wide: bool = False,
    most: int = SHOWN_ROWS,
) -> Table:
    """Rows with a column for each field that says something.

    Both ends of an interval share a cell. Fields that are empty everywhere are left out, and names that are the same
    in all rows are said once, in a note.

    Args:
        rows: named tuples or mappings with one set of fields.
        title: stands above.
        notes: stand below.
        hide: fields that the title says, or the file has for those who need them.
        heads: what the screen calls fields, besides `HEADS`.
        wide: a line for all statistics of one thing: the first with all its fields, others beside it with the most
            important ones.
        most: rows shown; a note counts the rest.
    """
    records = [dict(row if isinstance(row, Mapping) else row._asdict()) for row in rows]
    names = [name for name in (records[0] if records else {}) if name not in hide]
    names = [name for name in names if any(not _is_empty(record[name]) for record in records)]
    same = [name for name in names if len(records) > 1 and _is_name(records, name)]
    names = [name for name in names if name not in same and (not wide or name != STATISTIC)]
    said = [f"{_head(name, heads)}: {records[0][name]}" for name in same]
    columns, lines = _wide(records, names) if wide else _long(records, names)
    left = len(lines) - most
    return Table(
        # A statistic heads its own value; what follows is beside it.
        [fill(of if of and name == "value" else _head(name, heads), HEAD_WIDTH) for of, name in columns],
        lines[:most],
        title=title,
        notes=[*(["; ".join(said)] if said else []), *([f"{left} more rows in the file"] if left > 0 else []), *notes],
    )


def layer_name(layer: int) -> str:
    """A layer as tables and titles name it: `embed` or the block's number."""
    return "embed" if layer < 0 else str(layer)


def format_cell(value: object, digits: int = SIGNIFICANT_DIGITS) -> str:
    """A value as it stands in a table, a number with that many significant digits."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        # Beyond the significant digits an exponent would only make a count or a norm harder to read.
        large = 10**digits <= abs(value) < 1e9
        return f"{value:.0f}" if large else f"{value:z.{digits}g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {format_cell(item, digits)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(format_cell(item, digits) for item in value)
    return str(value)


def p_cell(p: float | None) -> str:
    """A probability with three decimals, never as 0; a dash where there is none."""
    if p is None or p != p:
        return "–"
    return "<0.001" if p < 0.0005 else f"{p:.3f}"


Columns = list[tuple[str, str]]
"""Of each column the statistic it is of, or nothing, and its field."""


def _long(records: Sequence[dict[str, Any]], names: Sequence[str]) -> tuple[Columns, list[tuple[str, ...]]]:
    shown = _without_ends(names)
    return [("", name) for name in shown], [tuple(_cell(record, name) for name in shown) for record in records]


def _wide(records: Sequence[dict[str, Any]], names: Sequence[str]) -> tuple[Columns, list[tuple[str, ...]]]:
    """What stands before the value says what a line is about, the rest belongs to the statistic."""
    keys, numbers = names[: names.index("value")], names[names.index("value") :]
    by_key: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    for record in records:
        by_key.setdefault(tuple(record[key] for key in keys), {})[record[STATISTIC]] = record
    columns: Columns = [("", key) for key in keys]
    for place, statistic in enumerate(dict.fromkeys(record[STATISTIC] for record in records)):
        own = [record for record in records if record[STATISTIC] == statistic]
        told = [name for name in numbers if any(not _is_empty(record[name]) for record in own)]
        columns += [(statistic, name) for name in _without_ends(told) if not place or name not in OF_THE_FIRST]
    lines = []
    for of in by_key.values():
        first = next(iter(of.values()))
        lines.append(tuple(_cell(of.get(s, {}) if s else first, name) for s, name in columns))
    return columns, lines


def _without_ends(names: Sequence[str]) -> list[str]:
    """The fields that get a column: of an interval only its start."""
    return [name for name in names if not (name.endswith("_high") and name.replace("_high", "_low") in names)]


def _head(name: str, heads: Mapping[str, str] | None) -> str:
    known = {**HEADS, **(heads or {})}
    return known.get(name) or name.replace("_low", " 95 %").replace("_", " ")


def _cell(record: Mapping[str, Any], name: str) -> str:
    value, high = record.get(name), record.get(name.replace("_low", "_high"))
    if name.endswith("_low"):
        return "–" if _is_empty(value) or _is_empty(high) else _interval(value, high)
    if _is_empty(value):
        return "–"
    if name.startswith("layer") and isinstance(value, int):
        return layer_name(value)
    if isinstance(value, tuple) and len(value) == 2 and name in ("ci95", "gain_ci95"):
        return _interval(*value)
    return p_cell(value) if name in ("p", "q") or name.startswith("p_") else format_cell(value, DIGITS)


def _interval(low: Any, high: Any) -> str:
    return f"[{low:z.{DIGITS}g}, {high:z.{DIGITS}g}]"


def _is_name(records: Sequence[dict[str, Any]], name: str) -> bool:
    """Whether a field is one and the same word in all rows."""
    return isinstance(records[0][name], str) and len({record[name] for record in records}) == 1


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or value != value
