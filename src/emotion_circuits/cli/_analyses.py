"""Commands of analyses: a study of one analysis and what it needs, in the study's own store, its settings as flags."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App

from emotion_circuits._own_files import GROUP
from emotion_circuits._row_tables import row_table
from emotion_circuits.cli._errors import BAD_INPUT, FAILURE, PROGRAM
from emotion_circuits.cli._options import (
    MODEL_OPTIONS,
    STORE_OPTIONS,
    BatchTokens,
    Emotions,
    Json,
    ModelOptions,
    Seed,
    StoreOptions,
    flag,
)
from emotion_circuits.cli._output import emit, say
from emotion_circuits.cli._progress import keeping, progress
from emotion_circuits.errors import InputError

if TYPE_CHECKING:
    from emotion_circuits.analyses import Analysis
    from emotion_circuits.statistics import Claim
    from emotion_circuits.study import Study

BUILT_IN = {
    "quality": "Judge directions: where and how well they tell emotions apart.",
    "steering": "Steer with each emotion's direction, beside control directions.",
    "punctuation": "Ablate a direction at a text's punctuation or word only, or everywhere.",
    "language": "Judge directions of one language on texts of another.",
    "text": "Let the model write, clean, steered and asked to, and score the texts.",
    "swap": "Put the paired prompt's values into a run, by layer and place.",
    "circuit": "Join heads and units into circuits, and measure what each carries alone.",
    "compare-methods": "Set the ways of changing tone beside each other: effect against damage.",
}
"""Command → its line on the help page, which does not wait for what loads the library; a test compares them."""
FILES_FLAG = "--analyses"
CLAIM_FIELDS = ("id", "model", "emotion", "layer", "value", "ci95", "chance", "p", "n_unique")


_SHARED: dict[str, Any] = {**MODEL_OPTIONS.loading(), "seed": 0, "batch_tokens": None}
"""What flags of all analyses are by default: then the settings of the study in the folder, if there is one, stay."""


def take_files(argv: Iterable[str]) -> tuple[tuple[Path, ...], list[str]]:
    """Take `--analyses FILE` out before the command's name.

    Raises:
        InputError: the flag without a file.
    """
    tokens, files = list(argv), []
    while tokens and tokens[0].partition("=")[0] == FILES_FLAG:
        given = tokens.pop(0)
        if "=" not in given and not tokens:
            raise InputError(f"{FILES_FLAG} needs a Python file.")
        files.append(Path(given.partition("=")[2] if "=" in given else tokens.pop(0)))
    return tuple(files), tokens


def analysis_commands(wanted: Collection[str] = tuple(BUILT_IN), files: tuple[Path, ...] = ()) -> dict[str, App]:
    """A command for each analysis of the package, of these files and of installed packages; for those of the package
    that are not wanted only a name and a line.

    Raises:
        InputError: a file that cannot be used.
    """
    found = {name: App(name=name, help=summary) for name, summary in BUILT_IN.items()}
    if named := {*wanted} & {*BUILT_IN}:
        from emotion_circuits.analyses import BUILT_IN as ANALYSES

        found |= {one.command: _command(one, files) for one in ANALYSES if one.command in named}
    elif files or entry_points(group=GROUP):
        from emotion_circuits.analyses import analyses_from

        found |= {one.command: _command(one, files) for one in analyses_from(files)}
    return found


def _command(one: Analysis, files: tuple[Path, ...]) -> App:
    def run(
        *,
        models: Annotated[tuple[str, ...], flag("--model", help="Models, as `models list` names them.")],
        emotions: Emotions = (),
        seed: Seed = 0,
        batch_tokens: BatchTokens = None,
        model_options: ModelOptions = MODEL_OPTIONS,
        store_options: StoreOptions = STORE_OPTIONS,
        json: Json = False,
        **settings: Any,
    ) -> int | None:
        from emotion_circuits.prompts import kept_bank
        from emotion_circuits.study import kept_settings, run_study, study_from_mapping

        shared = {**model_options.loading(), "seed": seed, "batch_tokens": batch_tokens}
        given = {name: value for name, value in shared.items() if value != _SHARED[name]}
        plan = {name: value for name, value in settings.items() if value != _default(one, name)}
        values = kept_settings(store_options.folder) | given
        if one.plan_key:
            values[one.plan_key] = (values.get(one.plan_key) or {}) | plan
        elif plan:
            values["plans"] = {one.name: plan}
        places = {"results": store_options.results, "profile": store_options.profile, "analyses": files}
        study = study_from_mapping({**values, **places, "models": models, "emotions": emotions or None})
        bank = kept_bank(study.folder)
        if bank is not None and emotions and {*bank.emotions} != {*study.bank.emotions}:
            raise InputError(
                f"{study.folder} is about other emotions.",
                found=", ".join(study.bank.emotions),
                accepted=", ".join(bank.emotions),
                next_step="leave --emotions out, give another --results, or run `study` with them",
            )
        study = study if bank is None else study.about(bank)
        with keeping(f"Finished stages are kept in {study.folder}; the same command goes on from there."):
            result = run_study(study, only=(one.name,), tell=say, progress=progress)
        _show(one, study, json, result.failed)
        if set(result.failed) <= result.bad_input:
            return BAD_INPUT if result.failed else None
        return FAILURE

    signature = inspect.signature(run)
    parameters = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    run.__signature__ = signature.replace(parameters=[*parameters, *_flags(one)])  # type: ignore[attr-defined]
    paragraphs = (inspect.getdoc(one.kind) or "").split("\n\n") if one.command in BUILT_IN else [one.question]
    run.__doc__ = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    example = f"Example:\n  {PROGRAM} {one.command} --model reference/gpt2"
    return App(name=one.command, help_epilogue=example, default_command=run)


def _default(one: Analysis, name: str) -> Any:
    field = one.plan_type.model_fields[name]
    return inspect.Parameter.empty if field.is_required() else field.get_default(call_default_factory=True)


def _flags(one: Analysis) -> list[inspect.Parameter]:
    """A flag for each setting; where it takes several values, also by its singular."""
    found = []
    for name, field in one.plan_type.model_fields.items():
        several = name.endswith("s") and "tuple" in str(field.annotation)
        aliases = [f"--{name[:-1].replace('_', '-')}"] if several else []
        negative = f"--no-{name.replace('_', '-')}" if field.annotation is bool else None
        told = " ".join((field.description or "").split())
        shown = flag(*aliases, help=told, show_default=_told, negative=negative)
        # The type is known only here; mypy takes annotations for types that are written down.
        kind, default = Annotated[field.annotation, shown], _default(one, name)
        found.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default))
    return found


def _told(default: Any) -> str:
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _without_value(claims: Sequence[Claim]) -> list[str]:
    """Why claims have no value: each reason once."""
    of_reason: dict[str, list[str]] = {}
    for claim in claims:
        if claim.value is None:
            of_reason.setdefault(claim.why, []).append(" ".join(filter(None, (claim.id, claim.emotion))))
    return [f"{', '.join(names)}: {why}" for why, names in of_reason.items()]


def _show(one: Analysis, study: Study, json: bool, failed: Mapping[str, str]) -> None:
    """Its claims, which only a study judges, or the rows of its first table."""
    from emotion_circuits._files import read_table
    from emotion_circuits.study import Store, read_unjudged

    store, targets = Store(study.folder), list(one.targets(study))
    stages = [one.stage(*target) for target in targets]
    written = [study.folder / name for stage in stages for name in store.files(stage)]
    tables = [next((p for p in map(Path, store.files(stage)) if p.suffix == ".parquet"), None) for stage in stages]
    rows: list[Any] = [row for path in tables if path for row in read_table(study.folder / path).to_dict("records")]
    claims = read_unjudged(study.folder, stages)
    notes = [f"Written to {path}" for path in written]
    shown: list[Any] = rows
    if claims and one.command in BUILT_IN:
        shown = [{name: getattr(claim, name) for name in CLAIM_FIELDS} for claim in claims]
        notes.insert(0, "p is not adjusted; a verdict needs all claims of its question, as `study` has them.")
        notes[1:1] = _without_value(claims)
    if json or shown:
        result = {"rows": rows, "claims": claims, "files": written, "failed": dict(failed)}
        emit(result, json, table=row_table(shown, title=one.heading, notes=notes))
