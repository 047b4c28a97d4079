"""What an analysis declares, and what everything else is derived from."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from emotion_circuits._parts import key_of
from emotion_circuits.errors import InputError
from emotion_circuits.statistics import Claim, Measure

if TYPE_CHECKING:
    from emotion_circuits.report import TitledChart

NEEDS: Final = ("activations", "directions", "quality", "sweep", "steering", "text", "swap", "heads", "circuits")
"""Stages of a model whose results an analysis may read."""
LANGUAGES: Final = ("en", "ja")
_NAME = re.compile(r"[a-z][a-z0-9-]{1,30}")
_DECLARED: Final = "__analysis__"
Declared = TypeVar("Declared", bound=type)


class AnalysisPlan(BaseModel):
    """The settings of an analysis: its part of the study file, its flags, and its part of the key of its results."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Measures:
    """What an analysis found for one model.

    Attributes:
        rows: every number beside its chance level.
        claims: what it answers; judged with all others of its question.
    """

    rows: Sequence[Measure]
    claims: Sequence[Claim] = ()


@dataclass(frozen=True)
class Analysis:
    """An analysis as it was declared; see `analysis`.

    Attributes:
        name: of the command and of the stage.
        question: heads the section of the report.
        needs: stages of the model that run before it.
        kind: the class with `run`, and perhaps `figures` and `words`.
        code: identifies the source that it was read from: edited, it runs again.
    """

    name: str
    question: str
    needs: tuple[str, ...]
    kind: type[Any]
    code: str = field(default="", compare=False)

    @property
    def plan_type(self) -> type[AnalysisPlan]:
        """Its settings; none of its own where it declares no `Plan`."""
        found: type[AnalysisPlan] = getattr(self.kind, "Plan", AnalysisPlan)
        return found

    def plan(self, values: Mapping[str, Any]) -> AnalysisPlan:
        """Its settings from a study file or flags.

        Raises:
            InputError: a key or value that is not accepted.
        """
        try:
            return self.plan_type.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            raise InputError(
                f"{self.name}: {'.'.join(map(str, first['loc']))} cannot be used.",
                found=repr(first.get("input"))[:200],
                accepted=first["msg"] if first["type"] != "extra_forbidden" else ", ".join(self.plan_type.model_fields),
            ) from error

    def run(self, work: Any, plan: AnalysisPlan, model: str) -> Measures:
        """Measure one model.

        Raises:
            InputError: what it returns is no `Measures`, or a claim has another question than its name.
        """
        found = self.kind().run(work, plan, model)
        if not isinstance(found, Measures):
            raise InputError(
                f"{self.name} returns no measures.", found=type(found).__name__, accepted="Measures(rows, claims)"
            )
        for claim in found.claims:
            if claim.question != self.name:
                raise InputError(
                    f"{self.name} claims something for another question.", found=claim.question, accepted=self.name
                )
        return found

    def figures(self, rows: Sequence[Measure]) -> Iterable[TitledChart]:
        """Charts of one model's rows."""
        draw = getattr(self.kind, "figures", None)
        found: Iterable[TitledChart] = () if draw is None else draw(self.kind(), rows)
        return found

    def words(self, rows: Sequence[Measure], language: str = "en") -> str:
        """One paragraph that says what was found."""
        say = getattr(self.kind, "words", None)
        return "" if say is None else str(say(self.kind(), rows, language))


def analysis(name: str, *, question: str, needs: Sequence[str] = ()) -> Callable[[Declared], Declared]:
    """Declare a class as an analysis of a model.

    Its instances have `run(work, plan, model) -> Measures`, and may have `figures(rows)`, some
    `emotion_circuits.report.TitledChart`, and `words(rows, language)`, a paragraph. `work` gives `work.model(name)`,
    proven and loaded, `work.activations(name)`, `work.directions(name, position)`, `work.bank` and `work.study`.
    `Plan`, an `AnalysisPlan` inside the class, holds its settings.

    Args:
        name: small letters, digits and hyphens: of the command, the stage, the study file's key and the files.
        question: what it answers.
        needs: stages of the model that it reads, out of `NEEDS`.

    Raises:
        InputError: a name or need that cannot be used, or a class without `run`.
    """
    if not _NAME.fullmatch(name):
        raise InputError("An analysis cannot have this name.", found=repr(name), accepted="small letters, digits, -")
    unknown = [need for need in needs if need not in NEEDS]
    if unknown:
        raise InputError(f"{name} needs what no study has.", found=unknown[0], accepted=", ".join(NEEDS))

    def declare(kind: Declared) -> Declared:
        if not callable(getattr(kind, "run", None)):
            raise InputError(f"{name} cannot run.", found=kind.__name__, accepted="a class with run(work, plan, model)")
        if not issubclass(getattr(kind, "Plan", AnalysisPlan), AnalysisPlan):
            raise InputError(f"{name} has a Plan of another kind.", accepted="a subclass of AnalysisPlan")
        setattr(kind, _DECLARED, Analysis(name, question, tuple(needs), kind))
        return kind

    return declare


def declared_in(values: Iterable[Any], source: str) -> tuple[Analysis, ...]:
    """The analyses among values of a module, in the order of their definition; `source` is its text."""
    found = [value.__dict__[_DECLARED] for value in values if inspect.isclass(value) and _DECLARED in value.__dict__]
    code = key_of([source])
    return tuple(Analysis(one.name, one.question, one.needs, one.kind, code) for one in found)
