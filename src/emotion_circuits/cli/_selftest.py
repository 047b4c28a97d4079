"""The selftest command."""

from __future__ import annotations

from typing import Annotated

from emotion_circuits.cli._options import Json, Seed, command, flag
from emotion_circuits.cli._output import Table, emit, format_cell
from emotion_circuits.cli._progress import progress


@command(example="selftest --json")
def selftest(
    *,
    full: Annotated[bool, flag(help="Many more draws of noise; takes minutes.", show_default=False)] = False,
    seed: Seed = 0,
    json: Json = False,
) -> int:
    """Find what was planted in models built by hand, and nothing in noise.

    Small models of several families, in which an emotion's direction and what it does are known, are measured like any
    other. Exit status 1 if a check fails.
    """
    from emotion_circuits.selftest import n_steps, run_selftest

    with progress("Self-test", n_steps()) as done:
        report = run_selftest(full=full, seed=seed, on_step=done)
    rows = [
        (c.name, c.value, f"{format_cell(c.low)} … {format_cell(c.high)}", "ok" if c.ok else "FAILED")
        for c in report.checks
    ]
    failed = sum(not c.ok for c in report.checks)
    summary = f"{failed} of {len(rows)} checks failed." if failed else f"All {len(rows)} checks pass."
    emit(report, json, table=Table(("check", "value", "accepted", ""), rows, notes=(summary,)))
    return 0 if report.ok else 1
