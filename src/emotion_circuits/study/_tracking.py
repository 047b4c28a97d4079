"""A study in MLflow: a run for the study, below it one for every stage.

All that is written, times too, comes from the files of a finished study. So recording a study again writes the same
once more, and what was cut short is completed by the next time.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from emotion_circuits.errors import InputError
from emotion_circuits.statistics import read_claims
from emotion_circuits.study._store import Store
from emotion_circuits.study._tracked_runs import Run, run_of_stage, run_of_study, stages_of

EXPERIMENT = "emotion-circuits"
STUDY, STAGE, KEY, REPORT = (f"emotion_circuits.{name}" for name in ("study", "stage", "key", "report"))
"""Tags that runs are known by: of a study the key of its claims, of a stage its name and key. A study's `report` is the
key of its report, set when all else is written."""
PARENT = "mlflow.parentRunId"
SECONDS_FOR_THE_LOCK = 120


class Tracked(NamedTuple):
    """Where a study is recorded: the store (without passwords), its run, how many runs with its stages', and whether
    anything was written."""

    store: str
    run: str
    runs: int
    written: bool


def can_track() -> bool:
    """Whether MLflow and what its stores need is installed; nothing is imported."""
    return all(find_spec(name) for name in ("mlflow", "sqlalchemy"))


def record_study(folder: Path, store: str | None = None) -> Tracked:
    """Record the study of a results folder, unless it is there already.

    Args:
        folder: `results/<profile>`.
        store: MLflow's tracking URI; by default that of `MLFLOW_TRACKING_URI`, else `mlflow.db` beside the profiles.

    Raises:
        InputError: MLflow is not installed; no finished study; a store that cannot be used.
    """
    if not can_track():
        raise InputError("MLflow and SQLAlchemy are not both installed.", next_step="pip install -e '.[track]'")
    entries = Store(folder).entries
    claims = read_claims(folder / "claims.json") if {"claims", "report"} <= set(entries) else []
    stages = stages_of(claims, entries)
    if not stages:
        raise InputError(f"There is no finished study in {folder}.", next_step="run `study`, or give --results")
    uri = store or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder.parent / 'mlflow.db').resolve()}"
    with _alone(uri):
        recorder = _Recorder.opened(uri)
        study, report = entries["claims"]["key"], entries["report"]["key"]
        run, tags = next(iter(recorder.find(STUDY, study)), (None, {}))
        written = tags.get(REPORT) != report
        if written:
            run = recorder.put(run_of_study(folder, claims, stages), {STUDY: study}, run)
            known = {tags.get(STAGE): child for child, tags in recorder.find(PARENT, run)}
            for stage, entry in stages.items():
                who = {PARENT: run, STAGE: stage, KEY: entry["key"]}
                recorder.put(run_of_stage(folder, claims, stage, entry), who, known.get(stage))
            recorder.keep(run, folder, entries["report"]["files"])
            recorder.client.set_tag(run, REPORT, report)
    return Tracked(_without_password(uri), str(run), 1 + len(stages), written)


def _without_password(text: str) -> str:
    return re.sub(r"://[^/@\s]*@", "://–@", text)


def _database(uri: str) -> Path | None:
    scheme, _, path = uri.partition(":///")
    return Path(path.partition("?")[0]).absolute() if scheme.startswith("sqlite") and path else None


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Be the only one who records into a SQLite store: of two who make its tables at once one fails, and two who record
    one study would make its runs twice.

    Raises:
        InputError: for whatever goes wrong with a store.
    """
    from filelock import FileLock

    database = _database(uri)
    try:
        with ExitStack() as stack:
            if database is not None:
                database.parent.mkdir(parents=True, exist_ok=True)
                lock = FileLock(database.with_name(f".{database.name}.lock"), timeout=SECONDS_FOR_THE_LOCK)
                stack.enter_context(lock)
                with closing(sqlite3.connect(database)) as one:  # MLflow would try for minutes what cannot be opened
                    one.execute("PRAGMA schema_version")
            yield
    except InputError:
        raise
    except Exception as error:  # each store has its own; the first line says what it was
        reason = _without_password((str(error).strip() or type(error).__name__).splitlines()[0])[:300]
        raise InputError(f"MLflow cannot record in {_without_password(uri)}.", found=reason) from error


@dataclass(frozen=True)
class _Recorder:
    """MLflow's client and the experiment it writes into."""

    client: Any
    experiment: str

    @classmethod
    def opened(cls, uri: str) -> _Recorder:
        """A store, made where it is not there. A SQLite store keeps its files in `mlartifacts` beside it."""
        os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}  # before it is imported
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # a server that is away must not hold a study up
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # they print tracebacks of what they raise as well
        # The client asks nobody who and where we are; MLflow's `start_run` would run git.
        client, database = MlflowClient(uri), _database(uri)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        known = client.get_experiment_by_name(name)
        files = None if database is None else (database.parent / "mlartifacts").as_uri()
        return cls(client, known.experiment_id if known else client.create_experiment(name, artifact_location=files))

    def find(self, tag: str, value: str) -> list[tuple[str, dict[str, str]]]:
        """Runs that have a tag, each with its tags."""
        runs = self.client.search_runs([self.experiment], f"tags.`{tag}` = '{value}'", max_results=50_000)
        return [(run.info.run_id, run.data.tags) for run in runs]

    def put(self, run: Run, who: Mapping[str, str], there: str | None) -> str:
        """Write a run, into the one that is there already if there is one; its id."""
        from mlflow.entities import Metric, Param, RunTag

        if there is None:
            made = self.client.create_run(self.experiment, start_time=run.start, tags=dict(who), run_name=run.name)
            there = str(made.info.run_id)
        entities = {
            "metrics": [Metric(name, number, run.end, 0) for name, number in run.numbers.items()],
            "params": [Param(name, value) for name, value in run.settings.items()],
            "tags": [RunTag(name, value) for name, value in {**run.tags, **who}.items()],
        }
        for kind, all_of_them in entities.items():  # stores take a hundred at a time
            for start in range(0, len(all_of_them), 100):
                self.client.log_batch(there, **{kind: all_of_them[start : start + 100]})
        self.client.set_terminated(there, "FINISHED", run.end)
        return there

    def keep(self, run: str, folder: Path, drawn: Iterable[str]) -> None:
        """Keep claims, manifest, settings, report and figures, these as PNG."""
        for name in ("claims.json", "manifest.json", "study.json", "emotions.json", *drawn):
            if not name.endswith(".svg") and (folder / name).is_file():
                self.client.log_artifact(run, folder / name, Path(name).parent.as_posix().removeprefix("."))
