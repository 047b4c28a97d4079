from __future__ import annotations

from pathlib import Path

import pytest

from emotion_circuits.app import Benches, Explorer, Session, Workbench, open_bench
from small_study import Small
from study_fixtures import common, small, undisturbed

__all__ = ["common", "small", "undisturbed"]


@pytest.fixture(scope="session")
def bench(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """A small model with directions that are made from its texts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOTION_CIRCUITS_CACHE", str(tmp_path_factory.mktemp("cache")))
        return open_bench(small.model, threads=1)


@pytest.fixture
def explorer(bench: Workbench) -> Explorer:
    benches = Benches(None, threads=1)
    benches._kept[str(bench.lm.name)] = bench
    return Explorer(benches)


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture(scope="session")
def pairs() -> str:
    """Pasted pairs of a made-up emotion: told by one word."""
    things = ["parcel", "train", "soup", "lamp", "garden", "letter", "kettle", "window", "boat", "song"]
    places = ["came", "was late", "stood there"]
    lines = [f"I was overjoyed when the {t} {p}. | I was upstairs when the {t} {p}." for t in things for p in places]
    return "\n".join(lines[:24])


@pytest.fixture(scope="session")
def results(undisturbed: Path) -> Path:
    return undisturbed
