"""Progress on stderr: a bar with the time left in a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from emotion_circuits._progress import in_lines
from emotion_circuits.cli._output import make_console, say

SILENT_SECONDS = 2.0


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far a long step is. What ends within two seconds shows nothing.

        with progress("Recording", len(texts)) as done:
            record(..., on_batch=done)

    Args:
        label: what is being done.
        total: how much there is to do.

    Yields:
        a function to call with how much has been done so far.
    """
    with (_bar if sys.stderr.isatty() else in_lines(say))(label, total) as done:
        yield done


@contextmanager
def _bar(label: str, total: int) -> Iterator[Callable[[int], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=make_console(stderr=True), transient=True)
    task = bar.add_task(label, total=total)
    start = time.monotonic()

    def done(count: int) -> None:
        bar.update(task, completed=count)
        if not bar.live.is_started and time.monotonic() - start > SILENT_SECONDS:
            bar.start()

    try:
        yield done
    finally:
        bar.stop()


@contextmanager
def counting(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """As `progress`, for callbacks that report increments instead of totals."""
    count = 0
    with progress(label, total) as show:

        def add(n: int) -> None:
            nonlocal count
            count += n
            show(count)

        yield add


@contextmanager
def keeping(what: str) -> Iterator[None]:
    """Let an interrupt inside the block say what is kept.

    with keeping("Finished stages are in results/baseline; the same command goes on from there."):
        ...
    """
    try:
        yield
    except KeyboardInterrupt as error:
        error.add_note(what)
        raise
