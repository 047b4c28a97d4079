"""Commands of analyses from outside the package: a study of one stage, its settings as flags."""

import inspect
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from emotion_circuits.cli._errors import FAILURE, PROGRAM
from emotion_circuits.cli._options import STORE_OPTIONS, Emotions, Json, StoreOptions, flag
from emotion_circuits.cli._output import Table, emit, format_cell, say
from emotion_circuits.cli._progress import keeping, progress
from emotion_circuits.errors import InputError

FLAG, GROUP = "--analyses", "emotion_circuits.analyses"
LAST = 1000
"""Their place in the help page."""


def take_files(argv: Iterable[str]) -> tuple[tuple[Path, ...], list[str]]:
    """Take `--analyses FILE` out before the command's name.

    Raises:
        InputError: the flag without a file.
    """
    tokens, files = list(argv), []
    while tokens and tokens[0].partition("=")[0] == FLAG:
        given = tokens.pop(0)
        if "=" not in given and not tokens:
            raise InputError(f"{FLAG} needs a Python file.")
        files.append(Path(given.partition("=")[2] if "=" in given else tokens.pop(0)))
    return tuple(files), tokens


def own_commands(files: tuple[Path, ...]) -> dict[str, App]:
    """A command for each analysis in these files and in installed packages.

    Raises:
        InputError: a file that cannot be used.
    """
    if not files and not entry_points(group=GROUP):
        return {}  # the help page does not wait for what loads the library
    from emotion_circuits.analyses import analyses_from

    return {one.name: _command(one, files) for one in analyses_from(files)}


def _command(own: Any, files: tuple[Path, ...]) -> App:
    def run(
        *,
        models: Annotated[tuple[str, ...], flag("--model", help="Models, as `models list` names them.")],
        emotions: Emotions = (),
        store_options: StoreOptions = STORE_OPTIONS,
        plan: Any = None,
        json: Json = False,
    ) -> int | None:
        from emotion_circuits._files import read_table
        from emotion_circuits.models import ModelName
        from emotion_circuits.study import run_study, study_from_mapping

        study = study_from_mapping(
            {
                "models": models,
                "emotions": emotions or None,
                "results": store_options.results,
                "profile": store_options.profile,
                "analyses": files,
                "plans": {own.name: {} if plan is None else plan.model_dump(exclude_unset=True)},
            }
        )
        with keeping(f"Finished stages are kept in {study.folder}; the same command goes on from there."):
            result = run_study(study, only=(own.name,), tell=say, progress=progress)
        rows = [
            row
            for model in study.models
            if (path := study.folder / "analyses" / f"{own.name}_{ModelName.parse(model).slug}.parquet").is_file()
            for row in read_table(path).to_dict("records")
        ]
        columns = ("model", "emotion", "layer", "statistic", "value", "ci_low", "ci_high", "chance", "p", "n_unique")
        cells = [tuple(format_cell(row[name]) for name in columns) for row in rows]
        emit({"rows": rows, "failed": dict(result.failed)}, json, table=Table(columns, cells, title=own.question))
        for stage, why in result.failed.items():
            say(f"failed: {stage}: {why}")
        return FAILURE if result.failed else None

    try:
        default = own.plan({})
    except InputError:  # some of its settings must be given
        default = inspect.Parameter.empty
    settings, signature = Annotated[own.plan_type, Parameter(name="*")], inspect.signature(run)
    parameters = [
        p.replace(annotation=settings, default=default) if p.name == "plan" else p
        for p in signature.parameters.values()
    ]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__["plan"] = settings
    run.__doc__ = f"{own.question}\n\nAn analysis from outside the package, with a study's stages and store."
    return App(
        name=own.name, help_epilogue=f"Example:\n  {PROGRAM} {own.name} --model reference/gpt2", default_command=run
    )
