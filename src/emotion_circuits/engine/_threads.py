"""How many threads compute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Let torch use `n` threads and numpy one, and put both back afterwards.

    torch's threads decide the last digits of its sums. numpy's products here are small: one thread is as fast, never
    waits for a busy core (spread over two busy ones they took ten times as long), and always sums in the same order.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)
