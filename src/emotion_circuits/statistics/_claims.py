"""Claims: answers to the declared questions, each with its evidence and chance level, and the rule that judges them."""

from __future__ import annotations

import json
import math
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from numbers import Real
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from emotion_circuits._files import write_text
from emotion_circuits.errors import InputError

from ._multiple import holm

ALPHA = 0.05
SIGNIFICANT_DIGITS = 4
# What must also hold, as "at most". A steering effect bought with broken text is none.
SIDE_CONDITION_LIMITS = {"perplexity_ratio": 1.5}
# Claims that cannot be supported without a side condition, by id.
REQUIRED_SIDE_CONDITIONS = {"rq3.steering": ("perplexity_ratio",)}

# Left out of the file where they are not set.
OPTIONAL_FIELDS = ("smallest_detectable", "effect_of_interest", "smallest_p", "side_conditions")

Verdict = Literal["supported", "underpowered", "not supported", "not tested"]


def _nan_is_undefined(value: Any) -> Any:
    return None if isinstance(value, Real) and math.isnan(value) else value


Number = Annotated[FiniteFloat | None, BeforeValidator(_nan_is_undefined)]
Probability = Annotated[Annotated[FiniteFloat, Field(ge=0, le=1)] | None, BeforeValidator(_nan_is_undefined)]


class Claim(BaseModel):
    """One answer to one question for one model and emotion. In statistics of claims, higher always means more.

    None stands for what is undefined; NaN becomes None. `floors` are the same statistic from what could explain it more
    simply (a bag of words, an untrained model). `chance` is its expectation under `null`. `smallest_detectable` and
    `effect_of_interest` share one unit (both the statistic's value, or both its distance from chance). `smallest_p` is
    the smallest p that so many draws of the null can give; None where more draws would change nothing.
    `side_conditions` hold measured values of `SIDE_CONDITION_LIMITS`. `judge` fills `p_adjusted`, `verdict` and `why`;
    a claim that cannot be tested may say why itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1)
    question: str = Field(min_length=1)
    model: str = Field(min_length=1)
    emotion: str | None
    layer: int | None
    statistic: str = Field(min_length=1)
    value: Number
    ci95: tuple[FiniteFloat, FiniteFloat] | None
    chance: Number
    ceiling: Number
    floors: dict[str, FiniteFloat]
    null: str
    p: Probability
    p_adjusted: Probability = None
    n_unique: int = Field(ge=0)
    verdict: Verdict | None = None
    why: str = ""
    evidence: tuple[str, ...]
    smallest_detectable: Number = None
    effect_of_interest: Number = None
    smallest_p: Probability = None
    side_conditions: dict[str, Number] | None = None

    @model_validator(mode="before")
    @classmethod
    def _undefined_interval(cls, data: Any) -> Any:
        """An interval with an undefined end is undefined."""
        if isinstance(data, dict) and isinstance(data.get("ci95"), (tuple, list)):
            bounds = list(data["ci95"])[:2]  # an Interval carries level and method behind its ends
            undefined = any(bound is None or _nan_is_undefined(bound) is None for bound in bounds)
            return {**data, "ci95": None if undefined else bounds}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Claim:
        if self.id.partition(".")[0] != self.question.lower():
            raise ValueError(f"id {self.id!r} does not belong to question {self.question!r}")
        if self.ci95 is not None and self.ci95[0] > self.ci95[1]:
            raise ValueError(f"ci95 {self.ci95} is upside down")
        if self.p is not None and self.smallest_p is not None and self.p < self.smallest_p:
            raise ValueError(f"p {self.p:g} is below the smallest possible, {self.smallest_p:g}")
        for name in (self.model, *self.evidence):
            if PurePosixPath(name).is_absolute() or PureWindowsPath(name).is_absolute() or ".." in Path(name).parts:
                raise ValueError(f"{name!r} names a place on one machine; use a name or a path inside the results")
        unknown = sorted(set(self.side_conditions or ()) - set(SIDE_CONDITION_LIMITS))
        if unknown:
            raise ValueError(f"unknown side condition {unknown[0]!r}; known: {', '.join(SIDE_CONDITION_LIMITS)}")
        return self


class _Floor(NamedTuple):
    name: str
    value: float


class _Condition(NamedTuple):
    words: str
    holds: bool


def judge(claims: Sequence[Claim]) -> tuple[Claim, ...]:
    """Adjust p-values and give each claim its verdict and the reason, in the order they came.

    Holm runs over all claims of one question, whatever their model and emotion; undefined p-values do not count. Then:

    * "not tested" where the value, its interval, its p or any level to compare with is undefined, for the reason that
      the claim gives or this one;
    * "supported" where the adjusted p is below .05, the interval lies above the strongest of chance and floors, and
      every side condition holds;
    * "underpowered" where it is not supported and the smallest effect detectable with 80 % power exceeds the effect of
      interest, or the null has too few draws for any p after Holm to be below .05;
    * "not supported" otherwise.

    Pass all claims of a question at once, unrounded.

    Raises:
        InputError: the same claim twice (it would count twice in Holm).
    """
    counts = Counter(_order(claim) for claim in claims)
    if claims and max(counts.values()) > 1:
        raise InputError("A claim is given twice.", found=" ".join(str(part) for part in counts.most_common(1)[0][0]))
    of_question: dict[str, list[int]] = defaultdict(list)
    for index, claim in enumerate(claims):
        of_question[claim.question].append(index)
    judged = list(claims)
    for indices in of_question.values():
        own = [claims[i].p for i in indices]
        adjusted = holm(own)
        for place, (index, p_adjusted) in enumerate(zip(indices, adjusted, strict=True)):
            smallest = claims[index].smallest_p
            if smallest is not None and p_adjusted is not None:
                smallest = holm([*own[:place], smallest, *own[place + 1 :]])[place]
            verdict, why = _verdict(claims[index], p_adjusted, smallest, len([p for p in adjusted if p is not None]))
            update = {"p_adjusted": p_adjusted, "verdict": verdict, "why": why}
            judged[index] = claims[index].model_copy(update=update)
    return tuple(judged)


def untested(id: str, model: str, emotion: str | None, statistic: str, why: str) -> Claim:
    """A declared claim that cannot be tested, which says why. It does not count in Holm."""
    return Claim(
        id=id, question=id.partition(".")[0].upper(), model=model, emotion=emotion, layer=None, statistic=statistic,
        value=None, ci95=None, chance=None, ceiling=None, floors={}, null="", p=None, n_unique=0, evidence=(),
        why=f"{why}.",
    )  # fmt: skip


def _strongest(claim: Claim) -> _Floor | None:
    """The highest of chance and floors; on ties chance, then the first name."""
    levels = [] if claim.chance is None else [_Floor("chance", claim.chance)]
    levels += [_Floor(f"the floor {name}", value) for name, value in sorted(claim.floors.items())]
    return max(levels, key=lambda level: level.value, default=None)


def _verdict(claim: Claim, p_adjusted: float | None, smallest_p: float | None, n_claims: int) -> tuple[Verdict, str]:
    strongest = _strongest(claim)
    if claim.value is None or claim.ci95 is None or p_adjusted is None or strongest is None:
        needed = {"value": claim.value, "interval": claim.ci95, "p": p_adjusted, "chance level": strongest}
        missing = ", ".join(name for name, found in needed.items() if found is None)
        return "not tested", claim.why or f"{claim.statistic} has no defined {missing}."
    low, high = claim.ci95
    above, significant = low > strongest.value, p_adjusted < ALPHA
    conditions = _side_conditions(claim)
    result = f"{claim.statistic} is {_short(claim.value)} [{_short(low)}, {_short(high)}], n = {claim.n_unique}"
    beyond = f"lies {'above' if above else 'not above'} {strongest.name} ({_short(strongest.value)})"
    holm_p = (
        f"p = {_short(p_adjusted)} after Holm over {n_claims} is {'below' if significant else 'not below'} {ALPHA:g}"
    )
    sentence = f"{result}: the interval {beyond}, {holm_p}"
    sentence += "".join(f", {condition.words}" for condition in conditions)
    if above and significant and all(condition.holds for condition in conditions):
        return "supported", sentence + "."
    smallest, wanted = claim.smallest_detectable, claim.effect_of_interest
    if smallest is not None and wanted is not None and smallest > wanted:
        power = f"the smallest effect detectable with 80 % power, {_short(smallest)}, exceeds the one of interest"
        return "underpowered", f"{sentence}; {power}, {_short(wanted)}."
    if smallest_p is not None and smallest_p >= ALPHA:
        few = f"with so few draws of the null no p after Holm could be below {_short(smallest_p)}"
        return "underpowered", f"{sentence}; {few}."
    return "not supported", sentence + "."


def _side_conditions(claim: Claim) -> list[_Condition]:
    measured = claim.side_conditions or {}
    conditions = []
    for name in sorted({*measured, *REQUIRED_SIDE_CONDITIONS.get(claim.id, ())}):
        value, limit = measured.get(name), SIDE_CONDITION_LIMITS[name]
        words = f"its {name.replace('_', ' ')}"
        if value is None:
            conditions.append(_Condition(f"{words} was not measured", False))
        else:
            holds = value <= limit
            relation = "is at most" if holds else "exceeds"
            conditions.append(_Condition(f"{words} of {_short(value)} {relation} {limit:g}", holds))
    return conditions


def _short(value: float) -> str:
    return f"{value:.{SIGNIFICANT_DIGITS}g}"


def _order(claim: Claim) -> tuple[str, str, str, str, int, str]:
    layer = -1 if claim.layer is None else claim.layer
    return claim.question, claim.id, claim.model, claim.emotion or "", layer, claim.statistic


def claims_json(claims: Sequence[Claim]) -> str:
    """The text of claims.json: sorted, floats to four significant digits, keys in the schema's order, no time, no path.

    Optional fields that are not set are left out. Verdicts come from `judge`, before any rounding.
    """
    unjudged = [claim.id for claim in claims if claim.verdict is None]
    if unjudged:
        raise InputError(
            "A claim has no verdict.", found=unjudged[0], next_step="pass the claims through judge() first"
        )
    rows = []
    for claim in sorted(claims, key=_order):
        row = claim.model_dump(mode="json")
        row["floors"] = dict(sorted(claim.floors.items()))
        rows.append(
            {name: _rounded(value) for name, value in row.items() if value is not None or name not in OPTIONAL_FIELDS}
        )
    return json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(_short(value)) + 0.0  # + 0.0 turns -0.0 into 0.0
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def write_claims(path: str | os.PathLike[str], claims: Sequence[Claim]) -> None:
    """Write claims.json in one step: the file is the old one or the new one, never half of it.

    Raises:
        InputError: unjudged claims.
        WriteError: a folder that cannot be written.
    """
    write_text(Path(path), claims_json(claims))


def read_claims(path: str | os.PathLike[str]) -> tuple[Claim, ...]:
    """Read claims.json.

    Raises:
        InputError: no such file, no JSON, or another schema (an older one included).
    """
    source = Path(path)
    again = "run the study again, or name another results folder"
    try:
        rows = json.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"Cannot read claims from {source}.", found=error.strerror or error, next_step=again
        ) from error
    except ValueError as error:
        raise InputError(f"{source} is not JSON.", found=error, accepted="a list of claims", next_step=again) from error
    if not isinstance(rows, list):
        raise InputError(f"{source} holds no claims.", found=type(rows).__name__, accepted="a list", next_step=again)
    claims = []
    for number, row in enumerate(rows, start=1):
        try:
            claims.append(Claim.model_validate(row))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise InputError(
                f"Claim {number} of {source} has another schema than this version's.",
                found=f"{place}: {first['msg']}" if place else first["msg"],
                accepted=f"the fields {', '.join(Claim.model_fields)}",
                next_step=again,
            ) from error
    if any(claim.verdict is None for claim in claims):
        raise InputError(f"{source} holds a claim without a verdict.", next_step=again)
    return tuple(claims)
