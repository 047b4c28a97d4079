"""Independent pieces of work on several cores.

Each piece runs its linear algebra on one core and the pieces run beside each other: numpy lets go of the interpreter in
its products and decompositions. One matrix spread over cores that other programs use too waits for the slowest of them
at every step (ten times longer in a trial), and its last digits depend on the number of cores; here neither holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from threadpoolctl import ThreadpoolController

from emotion_circuits.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(function: Callable[[Item], Result], items: Sequence[Item], n_jobs: int) -> Iterator[Result]:
    """Results in the order of the items; the first error ends it."""
    if n_jobs < 1:
        raise InputError("The number of jobs is 1 or more.", found=n_jobs)
    with _libraries().limit(limits=1, user_api="blas"):
        if n_jobs == 1:
            yield from map(function, items)
            return
        with ThreadPoolExecutor(n_jobs) as pool:
            futures = [pool.submit(function, item) for item in items]
            try:
                for future in futures:
                    yield future.result()
            finally:
                for future in futures:
                    future.cancel()


@cache
def _libraries() -> ThreadpoolController:
    """Searched for once: to read the list of what is loaded takes longer than a small piece of work."""
    return ThreadpoolController()
