"""Stages in processes of their own: those that do not wait for each other run side by side, and no number changes.

A worker makes the study anew from its settings and its folder, so that only names, paths and lines of text pass between
processes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from multiprocessing import connection, get_all_start_methods, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from emotion_circuits._own_files import NAMED, run_named
from emotion_circuits._parts import Parts
from emotion_circuits._progress import in_lines
from emotion_circuits.analyses import Workshop
from emotion_circuits.engine import threads
from emotion_circuits.errors import EmotionCircuitsError, InputError, WriteError
from emotion_circuits.models import get, resolve_device
from emotion_circuits.prompts import kept_bank
from emotion_circuits.study._config import Study, study_from_mapping
from emotion_circuits.study._plan import run_analysis, steps_of
from emotion_circuits.study._store import Stopwatch

ROOM = 1.5e9
"""Bytes that a worker needs besides its model, which it holds as float32 and works on."""
PATIENCE = 10.0
"""Seconds that a worker has to tidy up once it is told to end."""


def usual_jobs(study: Study) -> int:
    """As many workers as there are models, processors and memory for; one where there is an accelerator."""
    if resolve_device(study.device).type != "cpu":
        return 1
    largest = max(sum(file.stat().st_size for file in get(name).glob("*.safetensors")) for name in study.models)
    room = psutil.virtual_memory().available // (ROOM + 4 * largest)
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(len(study.models), processors, int(room)))


class Outcome(NamedTuple):
    """What became of a stage: the files it wrote, or why it could not run, and whether the user's input is why."""

    files: tuple[Path, ...] = ()
    seconds: float = 0.0
    failed: str = ""
    bad_input: bool = False


def outcome_of(run: Callable[[], Sequence[Path]]) -> Outcome:
    """Run a stage and say what became of it.

    Raises:
        WriteError: a result cannot be kept, and neither could the next one's.
    """
    watch = Stopwatch()
    try:
        files = run()
    except WriteError:
        raise
    except EmotionCircuitsError as error:
        return Outcome(failed=" ".join(str(error).split()), bad_input=isinstance(error, InputError))
    return Outcome(tuple(files), watch.seconds)


class Workers:
    """Processes that run stages of a study, for a `with` block; at its end they are gone, whatever ends it.

    Args:
        study: whose folder this process owns, with its bank in it.
        n: how many.
    """

    def __init__(self, study: Study, n: int):
        self._of_study = (NAMED.get(), study.model_dump(mode="json", exclude_unset=True))
        self._n = n
        self._idle: list[Connection] = []
        self._busy: dict[Connection, str] = {}
        self._processes: list[BaseProcess] = []

    def __enter__(self) -> Workers:
        # A server that has imported everything once, and whose copies hold no threads of this process.
        method = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"
        context: Any = get_context(method)
        if method == "forkserver":
            context.set_forkserver_preload([__name__])
        with _patient_threads():
            for _ in range(self._n):
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(theirs, *self._of_study), daemon=True)
                process.start()
                theirs.close()
                self._processes.append(process)
                self._idle.append(ours)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(PATIENCE)
            if process.is_alive():
                process.kill()

    @property
    def free(self) -> bool:
        """Whether a worker waits for a stage."""
        return bool(self._idle)

    @property
    def running(self) -> frozenset[str]:
        """The stages that are being run."""
        return frozenset(self._busy.values())

    def start(self, stage: str, key: str, missing: Collection[str]) -> None:
        """Give a stage to a worker that waits."""
        worker = self._idle.pop(0)
        worker.send((stage, key, sorted(missing)))
        self._busy[worker] = stage

    def said(self) -> Iterator[tuple[str, Outcome | str]]:
        """Wait until workers say something: of a stage its outcome, or a line for the user.

        Raises:
            WriteError: a result cannot be kept.
            EmotionCircuitsError: a worker has died.
            RuntimeError: a stage broke, with its traceback.
        """
        ready = connection.wait([*self._busy])
        for worker in [one for one in self._busy if one in ready]:
            stage = self._busy[worker]
            try:
                kind, *given = worker.recv()
            except (EOFError, OSError):
                raise EmotionCircuitsError(
                    f"The process that ran {stage} has died.", next_step="if memory ran out, give --jobs 1"
                ) from None
            if kind == "tell":
                yield stage, str(given[0])
                continue
            self._idle.append(worker)
            del self._busy[worker]
            if kind == "unwritten":
                error = WriteError(given[0])
                error.exit_status = given[1]
                raise error
            if kind == "broken":
                raise RuntimeError(f"{stage} failed.\n{given[0]}")
            yield stage, Outcome(*given)


@contextlib.contextmanager
def _patient_threads() -> Iterator[None]:
    """Threads of processes that are started here give the processor up while they wait for each other: all workers
    have as many as one alone would, since their number decides the last digits."""
    settings = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update({name: before[name] or value for name, value in settings.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]


def _work(parent: Connection, named: tuple[Path, ...], settings: dict[str, Any]) -> None:
    """A worker's life: run the stages that it is told, until it is told to end or nobody is left to tell it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one decides
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # files that are half-written are removed on the way out
    threading.Thread(target=_end_with_parent, daemon=True).start()
    NAMED.set(named)
    run_named(named)
    study = study_from_mapping(settings)
    bank = kept_bank(study.folder)
    study = study if bank is None else study.about(bank)
    steps = {one.stage(*target): (one, plan, target) for one, plan, target in steps_of(study)}

    def tell(line: str) -> None:
        parent.send(("tell", line))

    work = Workshop(study, tell, in_lines(tell))
    with threads(study.threads):
        while True:
            stage, key, missing = parent.recv()
            work.missing, work.parts = {*missing}, parts_of(work.folder, stage, key)
            try:
                parent.send(("done", *outcome_of(partial(run_analysis, *steps[stage], work))))
            except WriteError as error:
                parent.send(("unwritten", str(error), error.exit_status))
            except Exception:  # the process that started this one raises it, with this traceback
                parent.send(("broken", traceback.format_exc()))


def parts_of(folder: Path, stage: str, key: str) -> Parts:
    """Where a stage that is killed keeps what it has done so far."""
    return Parts(folder / ".parts" / stage.replace("/", "_"), key)


def _end_with_parent() -> None:
    above = parent_process()
    if above is not None:
        connection.wait([above.sentinel])
        os._exit(1)
