from __future__ import annotations

from collections.abc import Iterator

import pytest

from emotion_circuits.selftest import Bench, bench
from emotion_circuits.selftest._run import one_thread


@pytest.fixture(scope="session", autouse=True)
def small_products_on_one_core() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="session")
def healthy() -> Bench:
    """Shared by tests that change nothing of it."""
    return bench("gpt2")
