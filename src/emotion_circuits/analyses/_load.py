"""Where analyses come from: a file of the user's, or an installed package."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from emotion_circuits.analyses._analysis import Analysis, declared_in
from emotion_circuits.analyses._built_in import BUILT_IN
from emotion_circuits.errors import EmotionCircuitsError, InputError

STAGES = {"claims", "report", *(one.name for one in BUILT_IN)}
"""What stages' names begin with, besides those of analyses from outside."""
GROUP = "emotion_circuits.analyses"
"""Entry points that name modules with analyses."""


def load_analyses(path: Path) -> tuple[Analysis, ...]:
    """The analyses of a Python file. The file is run: name only files that you would run yourself.

    Raises:
        InputError: it cannot be read or run, or declares no analysis.
    """
    path = path.expanduser().resolve()
    if path.suffix != ".py" or not path.is_file():
        raise InputError(f"{path} is no Python file.", accepted="a file that ends in .py")
    source = path.read_text("utf-8")
    name = f"_analyses_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look a class's module up
    try:
        spec.loader.exec_module(module)
    except EmotionCircuitsError:
        raise
    except Exception as error:  # whatever a user's file may raise
        raise InputError(f"{path} cannot be run.", found=f"{type(error).__name__}: {error}") from error
    found = _declared(vars(module), source)
    if not found:
        raise InputError(f"{path} declares no analysis.", accepted="a class under @analysis(...)")
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
