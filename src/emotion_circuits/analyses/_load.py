"""Where analyses come from: a file of the user's, or an installed package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from emotion_circuits._own_files import GROUP, run_file
from emotion_circuits.analyses._analysis import Analysis, declared_in
from emotion_circuits.analyses._built_in import BUILT_IN
from emotion_circuits.errors import InputError

STAGES = {"claims", "report", *(one.name for one in BUILT_IN)}
"""What stages' names begin with, besides those of analyses from outside."""


def load_analyses(path: Path) -> tuple[Analysis, ...]:
    """The analyses of a Python file, which may also register families, aligners and scorers. The file is run: name only
    files that you would run yourself.

    Raises:
        InputError: it cannot be read or run, or declares no analysis and registers nothing.
    """
    own = run_file(path)
    found = _declared(own.names, own.source)
    if not found and not own.registered:
        raise InputError(
            f"{own.path} declares no analysis and registers nothing.",
            accepted="a class under @analysis(...), or calls of register_family, register_aligner, register_scorer",
        )
    return found


def _declared(names: Mapping[str, Any], source: str) -> tuple[Analysis, ...]:
    """The analyses of a module.

    Raises:
        InputError: one needs what no study has.
    """
    found, of_models = declared_in(names.values(), source), [one.name for one in BUILT_IN if one.scope == "model"]
    for one in found:
        unknown = sorted({*one.needs} - {*of_models})
        if unknown:
            raise InputError(f"{one.name} needs what no study has.", found=unknown[0], accepted=", ".join(of_models))
    return found


def analyses_from(paths: Iterable[Path]) -> tuple[Analysis, ...]:
    """Installed analyses, and those of a user's files.

    Raises:
        InputError: a file that cannot be used, an analysis with a name that is taken, or in need of what there is not.
    """
    found = [*installed_analyses(), *(one for path in paths for one in load_analyses(path))]
    names = [one.name for one in found]
    taken = sorted({*names} & STAGES)
    if taken:
        raise InputError("An analysis has the name of a stage.", found=taken[0], next_step="give it another name")
    if len(set(names)) < len(names):
        raise InputError("Two analyses have one name.", found=", ".join(sorted(names)))
    return tuple(found)


def installed_analyses() -> tuple[Analysis, ...]:
    """The analyses of installed packages, which name their modules as entry points of `emotion_circuits.analyses`."""
    found: list[Analysis] = []
    for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name):
        module = entry.load()
        found += _declared(vars(module), Path(str(module.__file__)).read_text("utf-8"))
    return tuple(found)
