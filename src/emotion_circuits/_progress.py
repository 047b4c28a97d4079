"""How far a long step is, in lines: for logs, and for processes that have no screen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

LINE_SECONDS = 30.0


def in_lines(tell: Callable[[str], None]) -> Callable[[str, int], AbstractContextManager[Callable[[int], None]]]:
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
