"""How results reach the user: JSON or a table on stdout, everything else on stderr."""

from __future__ import annotations

import json as json_module
import re
import sys
from typing import Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from emotion_circuits._plain import is_frame, to_plain
from emotion_circuits._row_tables import Table as Table
from emotion_circuits._row_tables import format_cell as format_cell
from emotion_circuits._row_tables import layer_name as layer_name
from emotion_circuits._row_tables import p_cell as p_cell

PIPED_WIDTH = 100
_NUMERIC = re.compile(r"(?:[\d\s.,…%+–−×\[\]-]|e[+-]?\d|nan|inf)*")  # intervals too; "–" stands for a missing value


# What a terminal would obey instead of showing it: controls, line and paragraph separators, signs that turn text round.
_GLYPHS: dict[int, str] = {code: chr(0x2400 + code) for code in range(32)} | {0x7F: "␡"}
_GLYPHS |= {
    code: f"\\u{code:04x}"
    for code in (*range(0x80, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF)
}
_ESCAPES = {code: f"\\u{code:04x}" for code in _GLYPHS if code >= 0x7F}


def visible(text: str) -> str:
    """The text on one line, with a glyph for every character that a terminal would obey: ␛ for an escape."""
    return text.translate(_GLYPHS)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise  # called while the BrokenPipeError is handled; `main` ends the program quietly


def make_console(*, stderr: bool = False) -> Console:
    """A console for stdout or stderr; where its output is piped it is 100 columns wide."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPED_WIDTH
    return _Console(stderr=stderr, width=width, highlight=False, emoji=False, markup=False)


def emit(result: object, json: bool, *, table: Table | None = None) -> None:
    """Print a command's result to stdout.

    Args:
        result: dataclasses, pydantic models, named tuples, mappings, data frames, arrays, and lists of these.
        json: print it as JSON, and nothing else; numbers that are not finite become null.
        table: what to show without `json`; left out, the result itself is shown: a row for each element of a list or
            data frame, else a row for each field. A result with a method `table()` chooses for itself: a `Table`, a
            data frame, or a tuple of rows of which the first is the header.
    """
    if json:
        ascii_only = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
        text = json_module.dumps(to_plain(result), indent=2, ensure_ascii=ascii_only, allow_nan=False)
        sys.stdout.write(text.translate(_ESCAPES) + "\n")
    else:
        _show(table or _as_table(result))


def note(text: str) -> None:
    """One line to stderr that the user should know, and that is no failure."""
    sys.stderr.write(f"note: {visible(' '.join(text.split()))}\n")


def say(text: str) -> None:
    """One line to stderr about what is going on."""
    sys.stderr.write(visible(text) + "\n")
    sys.stderr.flush()


def range_cell(*values: float | None) -> str:
    """From the least to the greatest of the values, with three significant digits; a dash where none is known."""
    known = sorted(v for v in values if v is not None and v == v)
    shown = dict.fromkeys(f"{v:z.3g}" for v in (*known[:1], *known[-1:]))
    return " … ".join(shown) or "–"


def _as_table(result: Any) -> Table:
    if isinstance(result, Table):
        return result
    if hasattr(result, "table"):
        own = result.table()
        if isinstance(own, tuple) and not hasattr(own, "_fields"):
            return Table(own[0], own[1:])
        return _as_table(own)
    columns = [str(name) for name in result.columns] if is_frame(result) else None
    plain = to_plain(result)
    if not isinstance(plain, list):
        rows = plain.items() if isinstance(plain, dict) else [("", plain)]
        return Table(("", ""), [tuple(row) for row in rows])
    records = [row if isinstance(row, dict) else {"": row} for row in plain]
    columns = columns or list(dict.fromkeys(key for row in records for key in row))
    return Table(columns, [[row.get(column) for column in columns] for row in records])


def _show(table: Table) -> None:
    cells = [[visible(format_cell(value)) for value in row] for row in table.rows]
    headed = any(table.columns)
    grid = RichTable(box=box.SIMPLE_HEAD if headed else None, show_header=headed, show_edge=False, pad_edge=False)
    for place, name in enumerate(table.columns):
        numeric = all(_NUMERIC.fullmatch(row[place]) for row in cells)
        widest = max((len(row[place]) for row in cells), default=0)
        grid.add_column(
            Text(name),
            justify="right" if numeric else "left",
            no_wrap=numeric,
            min_width=widest if numeric else None,
            overflow="fold",
        )
    for row in cells:
        grid.add_row(*map(Text, row))
    console = make_console()
    measured = Measurement.get(console, console.options.update(max_width=100_000), grid)
    # In a pipe a row is one line, for grep; in a terminal prose wraps, but a number is never cut.
    console.width = max(console.width, measured.minimum if console.is_terminal else measured.maximum)
    if table.title:
        sys.stdout.write(visible(table.title) + "\n")
    with console.capture() as capture:
        console.print(grid)
    lines = capture.get().splitlines()
    sys.stdout.writelines(f"{line if console.is_terminal else line.rstrip()}\n" for line in lines)
    sys.stdout.writelines(f"{visible(line)}\n" for line in table.notes)
