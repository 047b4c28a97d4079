"""Processes for stages that run no model: their NumPy takes what a model's stages leave, and every core at the end.

What such a stage gives does not depend on where it runs: every process has the study's number of threads, and reads its
input from files that are whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from emotion_circuits.errors import EmotionCircuitsError
from emotion_circuits.study._config import Study

WORKERS = 2
"""Each is a process of one busy thread."""


class Done(NamedTuple):
    """What came back from another process.

    Attributes:
        files: written.
        seconds: it took.
        said: lines for the user.
        error: why there are no files; an exception with arguments of its own does not travel as it is.
    """

    files: list[Path]
    seconds: float
    said: list[str]
    error: tuple[type[EmotionCircuitsError], str] | None = None

    def checked(self) -> Done:
        """Raise what was raised there."""
        if self.error is not None:
            kind, text = self.error
            raise kind.of_text(text)
        return self


def run_stage(study: Study, name: str) -> Done:
    """Run one stage of a study in this process."""
    import torch
    from threadpoolctl import threadpool_limits

    from emotion_circuits.study._plan import plan_study
    from emotion_circuits.study._store import Stopwatch
    from emotion_circuits.study._workshop import Workshop

    watch, said = Stopwatch(), list[str]()
    torch.set_num_threads(study.threads)
    with threadpool_limits(1, user_api="blas"):
        stage = next(s for s in plan_study(study) if s.name == name)
        try:
            files = stage.run(Workshop(study, said.append))
        except EmotionCircuitsError as error:
            return Done([], watch.seconds, said, (type(error), str(error)))
    return Done(files, watch.seconds, said)


def _stand_back() -> None:
    """Take only what the first process leaves: a model's threads wait for each other, so that one core taken from them
    at a wrong moment costs both."""
    if hasattr(os, "nice"):
        os.nice(19)


class Side:
    """Stages that run beside the others, started in the order they were given."""

    def __init__(self, study: Study):
        self._study = study
        self._pool: ProcessPoolExecutor | None = None
        self.running: dict[str, Future[Done]] = {}

    def start(self, name: str) -> None:
        """Give a stage whose inputs are finished to another process."""
        if self._pool is None:
            # A fresh process: a fork of one that has threads may hang.
            self._pool = ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn"), initializer=_stand_back)
        self.running[name] = self._pool.submit(run_stage, self._study, name)

    def finished(self, wait_for: tuple[str, ...] = ()) -> Iterator[tuple[str, Done]]:
        """Stages that have ended, and those named once they have."""
        for name in list(self.running):
            if name in wait_for or self.running[name].done():
                yield name, self.running.pop(name).result().checked()

    def close(self) -> None:
        """Let nothing more start."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def beside(study: Study) -> Iterator[Side]:
    """The other processes, which start nothing more at the end, whatever happens."""
    side = Side(study)
    try:
        yield side
    finally:
        side.close()
