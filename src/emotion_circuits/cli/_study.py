"""The study command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from emotion_circuits._own_files import NAMED
from emotion_circuits.cli._errors import FAILURE
from emotion_circuits.cli._options import Emotions, Json, command, flag
from emotion_circuits.cli._output import Table, emit, say
from emotion_circuits.cli._progress import keeping, progress
from emotion_circuits.cli._track import TrackingFlag, track_finished

if TYPE_CHECKING:
    from emotion_circuits.study import StudyResult


@command(example="study --models reference/gpt2 reference/gpt-neo")
def study(
    file: Annotated[Path | None, Parameter(help="A study in YAML; flags override its keys.")] = None,
    /,
    *,
    models: Annotated[tuple[str, ...], flag("--model", help="Models, as `models list` names them.")] = (),
    emotions: Emotions = (),
    profile: Annotated[Literal["baseline", "extended"] | None, flag(help="Which data set.")] = None,
    results: Annotated[Path | None, flag(help="Folder for results; ./results by default.")] = None,
    device: Annotated[str | None, flag(help="auto, cpu or cuda.")] = None,
    dtype: Annotated[Literal["float32", "bfloat16"] | None, flag(help="Precision of the weights.")] = None,
    threads: Annotated[int | None, flag(help="Threads of every worker; part of the result's key.")] = None,
    seed: Annotated[int | None, flag(help="Seed of everything random.", at_least=0)] = None,
    batch_tokens: Annotated[int | None, flag(help="Tokens of one forward pass.", at_least=1)] = None,
    jobs: Annotated[
        int | None,
        flag(help="Processes that stages run in, side by side; by default one a model, if there is room.", at_least=1),
    ] = None,
    full: Annotated[bool, flag(help="Every layer, finer doses and more draws: hours instead of minutes.")] = False,
    tracking: TrackingFlag = None,
    no_track: Annotated[bool, flag(help="Record nothing in MLflow, even where it is installed.")] = False,
    json: Json = False,
) -> int | None:
    """Run everything for the models named, and end with the claims and a report.

    Finished stages are kept: the same command goes on where it stopped, and does nothing when nothing changed.
    A stage that cannot run for a model is named at the end, with exit status 1; the others are made.
    """
    from emotion_circuits.study import read_study, run_study, study_from_mapping

    given: dict[str, Any] = {
        "models": models or None,
        "emotions": emotions or None,
        "profile": profile,
        "results": results,
        "device": device,
        "dtype": dtype,
        "threads": threads,
        "seed": seed,
        "batch_tokens": batch_tokens,
    }
    base = read_study(file).model_dump(exclude_unset=True) if file else {}
    if named := NAMED.get():
        given["analyses"] = list({path.resolve(): path for path in (*base.get("analyses", ()), *named)})
    chosen = study_from_mapping(base | {key: value for key, value in given.items() if value is not None})
    if full:
        chosen = chosen.lifted()
    say(f"{chosen.profile} study of {', '.join(chosen.models)}, into {chosen.folder}")
    with keeping(f"Finished stages are kept in {chosen.folder}; the same command goes on from there."):
        result = run_study(chosen, jobs=jobs, tell=say, progress=progress)
    if not no_track:
        track_finished(chosen.folder, tracking)
    emit(_plain(result), json, table=claims_table(result))
    for stage, why in result.failed.items():
        say(f"failed: {stage}: {why}")
    if result.not_run:
        say(f"not run, because they need these: {', '.join(result.not_run)}")
    return FAILURE if result.failed else None


def _plain(result: StudyResult) -> dict[str, Any]:
    return {
        "report": str(result.report),
        "computed": list(result.computed),
        "kept": list(result.kept),
        "failed": dict(result.failed),
        "not_run": list(result.not_run),
        "seconds": round(result.seconds, 1),
        "claims": [claim.model_dump(mode="json") for claim in result.claims],
    }


def claims_table(result: StudyResult) -> Table:
    """Every claim with its interval, chance, gain, n and verdict; then where the report lies."""
    did = f"{len(result.computed)} stages computed, {len(result.kept)} kept, {result.seconds:.1f} s"
    return replace(result.claims.table(), notes=(did, f"Report: {result.report}"))
