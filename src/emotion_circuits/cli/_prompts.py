"""`emotion-circuits prompts`: data sets of a profile, checks, a look."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from emotion_circuits._plain import to_plain
from emotion_circuits.cli._options import Json, Profile, ProfileFlag, Seed, command, command_group, flag, text_file
from emotion_circuits.cli._output import Table, emit, say
from emotion_circuits.errors import InputError

if TYPE_CHECKING:
    from emotion_circuits.prompts import Bank

app = command_group("prompts", "Data sets of a profile: build, check, look.")

Kind = Literal[
    "explicit", "implicit", "foils", "real-world", "contexts", "continuations", "word-sets", "intensity", "generic"
]
DEFAULT_LIMIT = 20
OWN_WORDS = (3, 60)
"""The fewest and the most words of a text of one's own."""


@command(app, example="prompts build --profile baseline --data-dir data")
def build(
    *,
    profile: Annotated[Profile | None, flag(help="Only this data set; both by default.")] = None,
    data_dir: Annotated[Path, flag("--output-dir", "--output", help="Folder to write to.")] = Path("data"),
    prompts_dir: Annotated[
        Path | None,
        text_file("--prompts-file", help="Your own prompts instead: a folder of class files, .jsonl, .csv."),
    ] = None,
    overwrite: Annotated[bool, flag(help="Replace files that hold something else.", show_default=False)] = False,
    json: Json = False,
) -> None:
    """Write a profile's data files: the prompts of each class, the data set, the real-world samples.

    With --prompts-dir the data set is built from your own neutral_prompts.json and one such file of
    every emotion, each {"prompts": ["...", ...]}.
    """
    from emotion_circuits.prompts import build as write

    default: tuple[Profile, ...] = ("baseline", "extended") if prompts_dir is None else ("baseline",)
    built = [
        {"profile": name, "file": file}
        for name in ((profile,) if profile else default)
        for file in write(name, data_dir, source=prompts_dir, overwrite=overwrite)
    ]
    emit(built, json)


@command(app, example="prompts validate data/emotion_dataset.jsonl")
def validate(
    path: Annotated[
        Path | None,
        text_file(
            "--dataset",
            help="A .jsonl or .csv file, - for standard input, a folder of class files, or your own emotion (.yaml).",
        ),
    ] = None,
    *,
    profile: Annotated[
        Profile | None, flag(help="The bundled data set (baseline by default), or which of a folder's.")
    ] = None,
    permutations: Annotated[int, flag(help="Draws of each null; 200 take about 15 seconds.", at_least=0)] = 200,
    seed: Seed = 0,
    json: Json = False,
) -> int:
    """Check a data set: defects, and how far the classes differ in what is not emotion, beside chance.

    Without PATH the bundled data set is checked. Of an emotion of your own (.yaml, or texts
    with neutral twins) it says which analyses
    the file is enough for, and what is missing for the others. Exit status 1 if there is a problem.
    """
    from emotion_circuits import prompts

    if path is not None and str(path).startswith("--"):
        raise InputError(f"Unknown option {path}.", next_step="emotion-circuits prompts validate --help")
    own = None
    if path is None or path.suffix.lower() in (".yaml", ".yml"):
        own = None if path is None else prompts.bank([path])
        dataset = (own or prompts.bank()).profile(profile or "baseline")
    else:
        dataset = prompts.read_dataset(path, profile)
        if dataset.is_matched and len(dataset.classes) == 2 and path.suffix.lower() in prompts.OWN_SUFFIXES:
            own = prompts.bank([path])
    say(f"Checking {len(dataset)} texts, {permutations} permutations of each null")
    settings: dict[str, Any] = {} if own is None else {"of": own, "words": OWN_WORDS}
    report = prompts.validate(dataset, n_permutations=permutations, seed=seed, **settings)
    header, *rows = report.table()
    title = f"{report.dataset if own is None else path}: {report.n_texts} texts, {report.n_scenarios} scenarios"
    findings = [f"problem, {f.kind}: {f.message}" for f in report.problems]
    findings += [f"warning, {f.kind}: {f.message}" for f in report.warnings]
    notes = [*findings, f"{len(report.problems)} problems, {len(report.warnings)} warnings."]
    about: dict[str, Any] = {}
    if own is not None:
        short = prompts.lacking(own, own.emotions[0])
        about = {"enough_for": [a for a in prompts.ANALYSES if a not in short], "lacking": dict(short)}
        notes += [f"enough for: {analysis}" for analysis in about["enough_for"]]
        notes += [f"not enough for: {analysis}: {why}" for analysis, why in short.items()]
    emit({"ok": report.ok, **to_plain(report), **about}, json, table=Table(header, rows, title, tuple(notes)))
    return 0 if report.ok else 1


class _Filter(NamedTuple):
    field: str
    values: tuple[str, ...]


@command(app, example="prompts show --emotion gratitude --scenario 1 2 3")
def show(
    *,
    kind: Annotated[Kind, flag(help="What to show.")] = "explicit",
    profile: ProfileFlag = "baseline",
    emotion: Annotated[
        tuple[str, ...], flag("--emotions", help="Only these, bundled or files of your own.", show_default=False)
    ] = (),
    scenario: Annotated[tuple[str, ...], flag("--scenarios", help="Only these.", show_default=False)] = (),
    split: Annotated[Literal["development", "test"] | None, flag(help="Only this one.")] = None,
    limit: Annotated[
        int | None, flag(help=f"At most so many; {DEFAULT_LIMIT} by default, all with --json.", at_least=1)
    ] = None,
    json: Json = False,
) -> None:
    """Show texts of the bank; in explicit texts and foils [ ] marks the span."""
    from emotion_circuits import prompts

    bank = prompts.bank([name for name in emotion if name != prompts.NEUTRAL] or None)
    items = _items(bank, kind, profile)
    wanted = () if not emotion else bank.emotions if prompts.NEUTRAL not in emotion else bank.names
    if emotion and set(emotion) == {prompts.NEUTRAL}:
        wanted = (prompts.NEUTRAL,)
    filters = (_Filter("emotion", wanted), _Filter("scenario", scenario), _Filter("split", (split,) if split else ()))
    for name, values in filters:
        if values:
            if not hasattr(items[0], name):
                raise InputError(f"Items of kind {kind} have no {name}.", next_step=f"leave out --{name}")
            items = [item for item in items if getattr(item, name) in values]
    if json:
        emit(items if limit is None else items[:limit], json)
        return
    shown = items[: limit or DEFAULT_LIMIT]
    columns = [name for name in _fields(items[0]) if name not in ("span", "masked")] if items else ["text"]
    columns.sort(key=lambda name: name in ("text", "words"))  # prose stands last
    rows = [[_marked(item) if name == "text" else getattr(item, name) for name in columns] for item in shown]
    more = f"; --limit {len(items)} shows all" if len(shown) < len(items) else ""
    emit(items, json, table=Table(columns, rows, notes=(f"{len(shown)} of {len(items)} shown{more}.",)))


def _items(bank: Bank, kind: Kind, profile: Profile) -> list[Any]:
    from emotion_circuits import prompts

    makers: dict[Kind, Callable[[], Iterable[Any]]] = {
        "explicit": lambda: bank.profile(profile),
        "implicit": bank.implicit,
        "foils": bank.foils,
        "real-world": bank.real_world,
        "contexts": prompts.contexts,
        "continuations": bank.continuations,
        "word-sets": bank.word_sets,
        "intensity": bank.intensity_series,
        "generic": prompts.generic,
    }
    return list(makers[kind]())


def _fields(item: Any) -> tuple[str, ...]:
    if hasattr(item, "_fields"):
        return tuple(item._fields)
    return tuple(field.name for field in fields(item) if field.repr)


def _marked(item: Any) -> str:
    text, span = str(item.text), getattr(item, "span", None)
    if span is None:
        return text
    start, end = span
    return f"{text[:start]}[{text[start:end]}]{text[end:]}"
