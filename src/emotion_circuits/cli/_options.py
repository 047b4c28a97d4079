"""Flags that commands share, and the pieces to declare their own tersely."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import wraps
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from cyclopts import App, ArgumentCollection, CoercionError, Parameter
from cyclopts.validators import Number

from emotion_circuits.cli._errors import PROGRAM
from emotion_circuits.errors import InputError

if TYPE_CHECKING:
    from emotion_circuits.directions import Source
    from emotion_circuits.prompts import Bank


def flag(*aliases: str, help: str | None = None, at_least: float | None = None, **settings: Any) -> Parameter:
    """How a parameter appears on the command line; use it inside `Annotated`.

    Hyphens and underscores are one in every name, so aliases are for other words only. Lists take several values.

    Args:
        aliases: further names, `--model1`.
        help: one line; without it, the docstring's `Args:` entry.
        at_least: the smallest number accepted.
        settings: anything else that `cyclopts.Parameter` takes.
    """
    if at_least is not None:
        settings["validator"] = Number(gte=at_least)
    return Parameter(alias=aliases, help=help, **settings)


def text_file(*aliases: str, help: str) -> Parameter:
    """A flag for one file to read, which may be `-`; cyclopts would take that for an option otherwise."""
    return flag(*aliases, help=help, allow_leading_hyphen=True)


Writes = Literal["nothing", "output", "results"]


def command(
    group: App | None = None, *, example: str, name: str | None = None, writes: Writes = "nothing"
) -> Callable[[Callable[..., Any]], Any]:
    """Make a function a command.

    Args:
        group: the group it belongs to; without one the decorated function becomes an App of its own, to be listed in
            `COMMANDS`.
        example: what to type after the program's name; it closes the help page, and a test parses it.
        name: if it is not the function's.
        writes: into the results folder, which one run at a time owns: never; unless `--output` names a place outside;
            or always.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        if writes != "nothing":
            function = _owning_results(function, always=writes == "results")
        chosen = name or function.__name__.strip("_").replace("_", "-")
        place = None if group is None else len(group.resolved_commands())  # help keeps the order of the module
        epilogue = f"Example:\n  {PROGRAM} {example}"
        app = App(name=chosen, help_epilogue=epilogue, sort_key=place, default_command=function)
        if group is None:
            return app
        group.command(app)
        return function

    return decorate


def _owning_results(function: Callable[..., Any], always: bool) -> Callable[..., Any]:
    signature = inspect.signature(function)

    @wraps(function)
    def alone(*args: Any, **kwargs: Any) -> Any:
        from emotion_circuits._lock import owned

        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        folder, output = given.arguments["store_options"].folder, given.arguments.get("output")
        inside = always or output is None or Path(realpath(output)).is_relative_to(realpath(folder))
        with owned(folder) if inside else nullcontext():
            return function(*args, **kwargs)

    return alone


def whole_numbers(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse what is not written as a whole number where one is wanted; cyclopts would round layer 3.5 to 4."""
    for argument in arguments:
        if _holds_int(argument.resolved_hint):
            for token in argument.tokens:
                if token.value and not re.fullmatch(r"[+-]?\d+", token.value):
                    raise CoercionError(token=token, argument=argument, target_type=int)


def _holds_int(kind: Any) -> bool:
    return kind is int or any(_holds_int(part) for part in get_args(kind))


def command_group(name: str, summary: str) -> App:
    """An App that holds the commands of a group."""
    return App(name=name, help=summary, help_epilogue="")


Emotions = Annotated[
    tuple[str, ...],
    flag(
        "--emotion",
        help="Bundled emotions by name, your own by file (.yaml, .csv, .jsonl); the default is in the bank.",
        show_default=False,
    ),
]
Json = Annotated[bool, flag(help="Print the result as JSON, and nothing else on stdout.", show_default=False)]
Seed = Annotated[int, flag(help="Seed of everything random.", at_least=0)]
Profile = Literal["baseline", "extended"]
ProfileFlag = Annotated[Profile, flag(help="Data set: baseline has 280 texts, extended 400.")]
ModelFlag = Annotated[
    str,
    flag("--model1", help="Hub id, folder, .gguf file, smollm2-135m, gemma3-270m or reference/...; see `models list`."),
]
OtherModelFlag = Annotated[str, flag("--model2", help="The second model, named like the first.")]
BatchTokens = Annotated[int | None, flag(help="Tokens in one forward pass; fewer need less memory.", at_least=1)]
Layers = Annotated[tuple[int, ...] | None, flag(help="Blocks, counted from 0; all by default.", at_least=0)]


@Parameter(name="*")
@dataclass(frozen=True)
class ModelOptions:
    """How a model runs."""

    device: Annotated[str, flag(help="auto (CUDA where there is one), cpu, cuda:0 ...")] = "auto"
    dtype: Annotated[
        Literal["float32", "bfloat16"], flag(help="Precision of the weights; float32 below a billion parameters.")
    ] = "float32"
    bos: Annotated[
        Literal["auto", "on", "off"],
        flag(help="A BOS token before each text; auto: as for the files read, else as is usual for the model."),
    ] = "auto"
    threads: Annotated[int | None, flag(help="torch's threads; by default as many as it takes.", at_least=1)] = None
    float32_products: Annotated[
        Literal["highest", "medium"],
        flag(help="medium is faster on some processors, with bfloat16's digits."),
    ] = "highest"

    def loading(self, source: Source | None = None) -> dict[str, Any]:
        """What `load` takes.

        Args:
            source: how the files that the model is to be used with were made.

        Raises:
            InputError: they were made with another BOS setting.
        """
        bos: bool | Literal["auto"] = "auto" if self.bos == "auto" else self.bos == "on"
        if source is not None:
            if bos not in ("auto", source.bos):
                raise InputError(
                    f"The files of {source.model} were made with another BOS setting.",
                    found=f"--bos {self.bos}",
                    accepted=f"--bos {'on' if source.bos else 'off'}, or auto",
                    next_step=f"leave it out, or make the files again: extract --bos {self.bos}",
                )
            bos = source.bos
        return {**dataclasses.asdict(self), "bos": bos}


@Parameter(name="*")
@dataclass(frozen=True)
class StoreOptions:
    """Where results are, and of which data set."""

    results: Annotated[Path, flag(help="Folder of all results.")] = Path("results")
    profile: ProfileFlag = "baseline"

    @property
    def folder(self) -> Path:
        """`results/<profile>`."""
        return self.results / self.profile

    @property
    def bank(self) -> Bank:
        """The classes that the results are about: those that `extract` or `study` was given, else the default."""
        from emotion_circuits.prompts import bank, kept_bank

        return kept_bank(self.folder) or bank()


# As defaults of parameters: one instance each, since a call in a signature hides that it happens only once.
MODEL_OPTIONS = ModelOptions()
STORE_OPTIONS = StoreOptions()
