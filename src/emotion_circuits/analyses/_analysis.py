"""What an analysis declares, and what everything else is derived from."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from pydantic import ValidationError

from emotion_circuits._parts import key_of
from emotion_circuits.analyses._settings import AnalysisPlan, Settings
from emotion_circuits.analyses._work import compared, slug
from emotion_circuits.comparison import pair_slug
from emotion_circuits.errors import InputError
from emotion_circuits.statistics import Claim, Measure

if TYPE_CHECKING:
    from emotion_circuits.report import TitledChart

LANGUAGES: Final = ("en", "ja")
_NAME = re.compile(r"[a-z][a-z0-9_-]{1,30}")
_DECLARED: Final = "__analysis__"
Declared = TypeVar("Declared", bound=type)
Scope = Literal["model", "compared model", "pair", "ordered pair"]


@dataclass(frozen=True)
class Measures:
    """What an analysis found for one model, or for two of them.

    Attributes:
        rows: every number beside its chance level; None for an analysis that writes its files itself.
        claims: what it answers; judged with all others of its question.
        files: what it has written itself, into `work.folder`.
    """

    rows: Sequence[Measure] | None = None
    claims: Sequence[Claim] = ()
    files: Sequence[Path] = ()


@dataclass(frozen=True)
class Analysis:
    """An analysis as it was declared; see `analysis`.

    Attributes:
        name: of the command, the stage and the key of its settings.
        question: heads the section of the report.
        kind: the class with `run`, and perhaps `figures` and `words`.
        needs: analyses that run before it.
        scope: what it runs for.
        plan_key: key of its settings in a study file; empty for an analysis from outside the package, whose settings
            stand under `plans`, and for one without settings.
        reads: other settings that decide what it finds.
        optional: it runs only where the study has a plan for it.
        command: of the command line; empty for none.
        code: identifies the source that it was read from: edited, it runs again.
    """

    name: str
    question: str
    kind: type[Any]
    needs: tuple[str, ...] = ()
    scope: Scope = "model"
    plan_key: str = ""
    reads: tuple[str, ...] = ()
    optional: bool = False
    command: str = ""
    code: str = field(default="", compare=False)

    @property
    def plan_type(self) -> type[AnalysisPlan]:
        """Its settings; none of its own where it declares no `Plan`."""
        found: type[AnalysisPlan] = getattr(self.kind, "Plan", AnalysisPlan)
        return found

    @property
    def heading(self) -> str:
        """What it answers: of the package's own, where the question is only a number, what it does."""
        told = inspect.cleandoc(self.kind.__doc__ or "").partition("\n")[0]
        return told if self.question.startswith("RQ") else self.question

    def stage(self, *target: str) -> str:
        """What its stage for a model, or for a pair of them, is listed under."""
        return stage_name(self.name, *target)

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

    def decides(self, plan: AnalysisPlan) -> dict[str, Any]:
        """What of its settings decides its result, as JSON values: all and the code that they name, unless it says
        otherwise."""
        own = getattr(self.kind, "decides", None)
        return dict(plan.model_dump(mode="json") | plan.registered() if own is None else own(plan))

    def targets(self, study: Settings) -> Iterable[tuple[str, ...]]:
        """The models, or pairs of models, that it runs for in a study."""
        own = getattr(self.kind, "targets", None)
        if own is not None:
            found: Iterable[tuple[str, ...]] = own(study)
            return found
        if self.scope == "model":
            return [(name,) for name in study.models]
        names = compared(study)
        if self.scope == "compared model":
            return [(name,) for name in names]
        return list((combinations if self.scope == "pair" else permutations)(names, 2))

    def inputs(self, study: Settings, *target: str) -> list[str]:
        """The stages that run before it: of the models that it runs for, unless it says otherwise."""
        own = getattr(self.kind, "inputs", None)
        if own is not None:
            return list(own(study, *target))
        return [stage_name(need, name) for need in self.needs for name in target]

    def run(self, work: Any, plan: AnalysisPlan, *target: str) -> Measures:
        """Measure one model, or a pair.

        Raises:
            InputError: what it returns is no `Measures`, or a claim has another question than its name.
        """
        found = self.kind().run(work, plan, *target)
        if not isinstance(found, Measures):
            raise InputError(
                f"{self.name} returns no measures.", found=type(found).__name__, accepted="Measures(rows, claims)"
            )
        for claim in found.claims:
            if claim.question not in (self.name, *self.question.split(", ")):
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


def stage_name(analysis: str, *target: str) -> str:
    """What the stage of an analysis for a model, or for a pair of them, is listed under."""
    return f"{analysis}/{slug(*target) if len(target) == 1 else pair_slug(*target)}"


def analysis(
    name: str,
    *,
    question: str,
    needs: Sequence[str] = (),
    scope: Scope = "model",
    plan_key: str = "",
    reads: Sequence[str] = (),
    optional: bool = False,
    command: str | None = None,
) -> Callable[[Declared], Declared]:
    """Declare a class as an analysis.

    Its instances have `run(work, plan, model) -> Measures`, and may have `figures(rows)`, some
    `emotion_circuits.report.TitledChart`, and `words(rows, language)`, a paragraph. `work` gives `work.model(name)`,
    proven and loaded, `work.activations(name)`, `work.directions(name, position)`, `work.bank` and `work.study`.
    `Plan`, an `AnalysisPlan` inside the class, holds its settings.

    Args:
        name: small letters, digits, _ and -: of the command, the stage, the study file's key and the files.
        question: what it answers.
        needs: analyses of the same model whose results it reads.
        scope: "model"; "compared model", of two or more trained ones; "pair" of those, either way or as an
            "ordered pair". `run` gets one model's name or two.
        plan_key: for the package's own: where its settings stand in a study.
        reads: for the package's own: other keys of the study that decide its result.
        optional: for the package's own: it runs only where the study has a plan for it.
        command: for the package's own: of the command line, empty for none; by default its name.

    Raises:
        InputError: a name that cannot be used, or a class without `run`.
    """
    if not _NAME.fullmatch(name):
        raise InputError("An analysis cannot have this name.", found=repr(name), accepted="small letters, digits, _, -")

    def declare(kind: Declared) -> Declared:
        if not callable(getattr(kind, "run", None)):
            raise InputError(f"{name} cannot run.", found=kind.__name__, accepted="a class with run(work, plan, model)")
        if not issubclass(getattr(kind, "Plan", AnalysisPlan), AnalysisPlan):
            raise InputError(f"{name} has a Plan of another kind.", accepted="a subclass of AnalysisPlan")
        named = name if command is None else command
        made = Analysis(name, question, kind, tuple(needs), scope, plan_key, tuple(reads), optional, named)
        setattr(kind, _DECLARED, made)
        return kind

    return declare


def declared(kind: type[Any]) -> Analysis:
    """The analysis that a class was declared as."""
    found: Analysis = kind.__dict__[_DECLARED]
    return found


def declared_in(values: Iterable[Any], source: str) -> tuple[Analysis, ...]:
    """The analyses among values of a module, in the order of their definition; `source` is its text."""
    code = key_of([source])
    return tuple(replace(declared(v), code=code) for v in values if inspect.isclass(v) and _DECLARED in v.__dict__)
