"""How far a long step is, in lines: for logs, and for processes that have no screen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

LINE_SECONDS = 30.0


class Progress(Protocol):
    """Shows how far a long step is: `with progress(label, total) as done: done(count_so_far)`."""

    def __call__(self, label: str, total: int) -> AbstractContextManager[Callable[[int], None]]: ...


def in_lines(tell: Callable[[str], None]) -> Progress:
    """A progress that says every half minute how much is done, and how long the rest takes."""

    @contextmanager
    def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
        start = last = time.monotonic()

        def done(count: int) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= LINE_SECONDS and 0 < count < total:
                last = now
                tell(f"{label}: {count} of {total}, {(now - start) * (total - count) / count:.0f} s left")

        yield done

    return progress
