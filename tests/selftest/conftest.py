from __future__ import annotations

from collections.abc import Iterator

import pytest

from emotion_circuits.engine import threads
from emotion_circuits.selftest import Bench, bench


@pytest.fixture(scope="session", autouse=True)
def small_products_on_one_core() -> Iterator[None]:
    with threads(1):
        yield


@pytest.fixture(scope="session")
def healthy() -> Bench:
    """Shared by tests that change nothing of it."""
    return bench("gpt2")
