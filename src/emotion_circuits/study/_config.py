"""`Study`: one model that is the YAML file, the Python object and the cache key."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, Field, ValidationError, create_model, model_validator

from emotion_circuits._files import read_json, write_json
from emotion_circuits._own_files import run_named
from emotion_circuits.analyses import BUILT_IN, Analysis, AnalysisPlan, Paths, Settings, analyses_from
from emotion_circuits.errors import InputError
from emotion_circuits.prompts import OWN_SUFFIXES
from emotion_circuits.study._yaml import read_yaml

SETTINGS_FILE = "study.json"


class _Study(Settings):
    """Everything that decides a study's numbers, and where they go: settings that all analyses share, and the plan of
    each under its own key.

    The same study gives the same bytes of `claims.json` anywhere on one kind of processor.
    """

    analyses: Paths = ()
    """Python files with analyses of one's own (`emotion_circuits.analyses`), or that register families, aligners and
    scorers; installed analyses take part anyway."""
    plans: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Settings of such analyses: name → setting → value."""

    @model_validator(mode="before")
    @classmethod
    def _run_files(cls, values: Any) -> Any:
        """Run users' files: what they register is among the values that are accepted."""
        run_named(_files(values.get("analyses")) if isinstance(values, dict) else ())
        return values

    def lifted(self) -> Study:
        """The same study without the default's limits on time: every layer, finer doses, more draws of every null, and
        analyses that run only where asked for. What the user has set stays."""
        plans = {one.plan_key: getattr(self, one.plan_key) for one in BUILT_IN if one.plan_key}
        plans |= {one.plan_key: one.plan_type() for one in BUILT_IN
                  if one.optional and one.plan_key not in self.model_fields_set}  # fmt: skip
        study: Study = super().lifted()
        return study.model_copy(update={key: plan.lifted() for key, plan in plans.items() if plan is not None})

    @cached_property
    def planned(self) -> tuple[tuple[Analysis, AnalysisPlan], ...]:
        """The analyses that take part, each with its settings: the package's, and those from outside.

        Raises:
            InputError: a file that cannot be used, two analyses of one name, settings of one that is not there.
        """
        planned = [(one, getattr(self, one.plan_key) if one.plan_key else AnalysisPlan()) for one in BUILT_IN]
        own = analyses_from(self.analyses)
        unknown = sorted(set(self.plans) - {one.name for one in own})
        if unknown:
            raise InputError("The study has settings of an analysis that is not there.", found=unknown[0],
                             accepted=", ".join(one.name for one in own) or "name its file under analyses")  # fmt: skip
        planned += [(one, one.plan(self.plans.get(one.name, {}))) for one in own]
        return tuple((one, plan) for one, plan in planned if plan is not None)


def _plan_fields(analyses: Iterable[Analysis]) -> dict[str, Any]:
    """Key of a plan → its type and default; None by default where an analysis runs only if asked for."""
    kinds = {one.plan_key: (one.plan_type, one.optional) for one in analyses if one.plan_key}
    return {key: (kind | None, None) if optional else (kind, kind()) for key, (kind, optional) in kinds.items()}


if TYPE_CHECKING:

    class Study(_Study): ...
else:
    Study = create_model("Study", __base__=_Study, __doc__=_Study.__doc__, **_plan_fields(BUILT_IN))


def _files(given: Any) -> list[str | Path]:
    """What is a path of what stands under `analyses`; the rest is refused with the other values."""
    several = given if isinstance(given, list | tuple) else (given,)
    return [one for one in several if isinstance(one, str | Path)]


def study_from_mapping(values: dict[str, Any], where: str = "the study") -> Study:
    """Validate a mapping.

    Raises:
        InputError: a key or value that is not accepted, with the nearest key's name.
    """
    try:
        return Study.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])[:200]
        if first["type"] == "extra_forbidden":
            known = _keys_beside(first["loc"])
            near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1, cutoff=0.5)
            raise InputError(
                f"{where} has a key that does not exist.",
                found=path,
                accepted=", ".join(known),
                next_step=f"did you mean {near[0]}?" if near else None,
            ) from error
        found = repr(first.get("input"))[:200]
        raise InputError(f"{where}: {path} cannot be used.", found=found, accepted=first["msg"]) from error


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Study
    for part in location[:-1]:
        annotation = model.model_fields[str(part)].annotation
        for kind in get_args(annotation) or (annotation,):  # of `Plan | None` the plan
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                model = kind
    return list(model.model_fields)


def read_study(path: Path) -> Study:
    """Read a study from YAML. Files that it names lie beside it, unless their paths are absolute.

    Raises:
        InputError: missing, not YAML, or with keys or values that are not accepted.
    """
    values = read_yaml(path)
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise InputError(f"{path} is not a mapping of keys to values.", found=type(values).__name__)
    return study_from_mapping(values | _beside(values, path.parent), str(path))


def _beside(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The files that a study names, from its folder; what is no path is left for the checks of the values."""

    def from_folder(path: str) -> str:
        return os.path.normpath(folder / Path(path).expanduser())

    found: dict[str, Any] = {}
    for key, ends in (("emotions", OWN_SUFFIXES), ("analyses", (".py",))):
        given = values.get(key)
        several = given if isinstance(given, list) else [given]
        if any(isinstance(one, str) and one.lower().endswith(ends) for one in several):
            found[key] = [
                from_folder(one) if isinstance(one, str) and one.lower().endswith(ends) else one for one in several
            ]
    quality = values.get("quality")
    if isinstance(quality, dict) and isinstance(quality.get("external"), str):
        found["quality"] = quality | {"external": from_folder(quality["external"])}
    return found


def keep_settings(study: Study) -> Path:
    """Keep what a study was told, but for places and names, in its folder: commands go on from it."""
    path = study.folder / SETTINGS_FILE
    elsewhere = {"results", "profile", "models", "emotions", "analyses", "plans"}
    write_json(path, study.model_dump(mode="json", exclude_unset=True, exclude=elsewhere))
    return path


def kept_settings(folder: Path) -> dict[str, Any]:
    """What the study of a results folder was told; nothing where there is none.

    Raises:
        InputError: its file cannot be read.
    """
    path = folder / SETTINGS_FILE
    found = read_json(path) if path.is_file() else {}
    study_from_mapping(found, str(path))
    return dict(found)
