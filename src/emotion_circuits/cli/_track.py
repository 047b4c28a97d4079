"""`emotion-circuits track`: studies in MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from emotion_circuits.cli._options import STORE_OPTIONS, Json, StoreOptions, command, command_group, flag
from emotion_circuits.cli._output import emit, say

app = command_group("track", "Studies in MLflow, side by side.")

TrackingFlag = Annotated[
    str | None,
    flag(help="MLflow's tracking URI; by default MLFLOW_TRACKING_URI, else mlflow.db in the folder of results."),
]


@command(app, example="track sync --results results", writes="results")
def sync(*, tracking: TrackingFlag = None, store_options: StoreOptions = STORE_OPTIONS, json: Json = False) -> None:
    """Record the study of a results folder in MLflow.

    A study is a run, each of its stages a run below it. What is recorded already stays as it is.
    """
    from emotion_circuits.study import record_study

    emit(record_study(store_options.folder, tracking), json)


def track_finished(folder: Path, tracking: str | None) -> None:
    """Record a study that has just ended, where MLflow is installed; what goes wrong is a line on stderr."""
    from emotion_circuits.study import can_track, record_study

    if tracking is None and not can_track():
        return
    try:
        say(f"tracked in {record_study(folder, tracking).store}")
    except Exception as error:  # whatever it is, the study is finished
        say(f"not tracked: {' '.join(str(error).split()) or type(error).__name__}")
