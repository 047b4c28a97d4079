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
from scipy import stats

from emotion_circuits._files import write_text
from emotion_circuits._row_tables import Shown, Table, row_table
from emotion_circuits.errors import InputError

from ._gain import Rival
from ._histogram import Histogram
from ._multiple import holm

ALPHA = 0.05
SIGNIFICANT_DIGITS = 4
MOST_UNITS = 1e6
"""More units than anybody would write."""
# What must also hold, as "at most". A steering effect bought with broken text is none.
SIDE_CONDITION_LIMITS = {"perplexity_ratio": 1.5}
# Claims that cannot be supported without a side condition, by id.
REQUIRED_SIDE_CONDITIONS = {"rq3.steering": ("perplexity_ratio",)}

# Left out of the file where they are not set.
OPTIONAL_FIELDS = ("smallest_p", "side_conditions")

Verdict = Literal["supported", "underpowered", "not supported", "not tested"]


def _nan_is_undefined(value: Any) -> Any:
    return None if isinstance(value, Real) and math.isnan(value) else value


Number = Annotated[FiniteFloat | None, BeforeValidator(_nan_is_undefined)]
Probability = Annotated[Annotated[FiniteFloat, Field(ge=0, le=1)] | None, BeforeValidator(_nan_is_undefined)]


class Null(BaseModel):
    """A null of a claim: mean and 97.5 % point of its draws, how many there were, and, where they were kept, their
    histogram."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: FiniteFloat
    high: FiniteFloat
    n_draws: int = Field(ge=1)
    histogram: Histogram | None = None


class Claim(BaseModel):
    """One answer to one question for one model and emotion. In statistics of claims, higher always means more.

    None stands for what is undefined; NaN becomes None. `nulls` and `floors` are what could explain the value more
    simply (see `Rival`): draws under a broken link, and the same statistic from something simpler; `chance` is the
    highest mean of `nulls`. `p_against` holds the p of each, `p` the largest of them. `gain` is the value minus the
    strongest of nulls and floors, `gain_over`; `effect_of_interest` is the gain that would matter. `smallest_p` is the
    smallest p that so many draws can give; None where more draws would change nothing. `side_conditions` hold measured
    values of `SIDE_CONDITION_LIMITS`. `judge` fills `p_adjusted`, `verdict` and `why`; what cannot be tested says why
    itself.
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
    nulls: dict[str, Null] = {}
    gain: Number = None
    gain_ci95: tuple[FiniteFloat, FiniteFloat] | None = None
    gain_over: str | None = None
    effect_of_interest: Annotated[FiniteFloat, Field(gt=0)] | None = None
    null: str
    p: Probability
    p_against: dict[str, Annotated[FiniteFloat, Field(ge=0, le=1)]] = {}
    p_adjusted: Probability = None
    n_unique: int = Field(ge=0)
    unit: str = Field("units", min_length=1)
    verdict: Verdict | None = None
    why: str = ""
    evidence: tuple[str, ...]
    smallest_p: Probability = None
    side_conditions: dict[str, Number] | None = None

    @classmethod
    def beside(cls, rivals: Sequence[Rival], *, value: float, note: str = "", **fields: Any) -> Claim:
        """A claim about a value beside all that could explain it more simply.

        Args:
            rivals: nulls and floors, at least one null.
            value: the statistic.
            note: what `null` says besides the nulls and their draws.
            fields: all others but `chance`, `nulls`, `floors`, `null`, `p`, `p_against`, `smallest_p` and what is about
                the gain, which follow from the rivals.

        Raises:
            InputError: no null.
        """
        nulls = [rival for rival in rivals if rival.n_draws is not None]
        if not nulls:
            raise InputError("A claim needs a null.", found=", ".join(rival.name for rival in rivals) or "no rivals")
        strongest = max(rivals, key=lambda rival: rival.level)
        least = [rival.smallest_p for rival in nulls if rival.smallest_p is not None]
        return cls(
            value=value,
            chance=max(rival.level for rival in nulls),
            floors={rival.name: rival.level for rival in rivals if rival.n_draws is None},
            nulls={
                rival.name: Null.model_validate(
                    {"mean": rival.level, "high": rival.high, "n_draws": rival.n_draws, "histogram": rival.histogram}
                )
                for rival in nulls
            },
            null="; ".join([*(f"{rival.name}, {rival.n_draws} draws" for rival in nulls), *([note] if note else [])]),
            p=max(rival.p for rival in rivals),
            p_against={rival.name: rival.p for rival in rivals},
            smallest_p=max(least, default=None),
            gain=value - strongest.level,
            gain_ci95=strongest.gain,
            gain_over=strongest.name,
            **fields,
        )

    @model_validator(mode="before")
    @classmethod
    def _undefined_interval(cls, data: Any) -> Any:
        """An interval with an undefined end is undefined."""
        if not isinstance(data, dict):
            return data
        intervals = {}
        for name in ("ci95", "gain_ci95"):
            if isinstance(data.get(name), (tuple, list)):
                bounds = list(data[name])[:2]  # an Interval carries level and method behind its ends
                undefined = any(bound is None or _nan_is_undefined(bound) is None for bound in bounds)
                intervals[name] = None if undefined else bounds
        return {**data, **intervals}

    @model_validator(mode="after")
    def _consistent(self) -> Claim:
        if self.id.partition(".")[0] != self.question.lower():
            raise ValueError(f"id {self.id!r} does not belong to question {self.question!r}")
        for name, bounds in (("ci95", self.ci95), ("gain_ci95", self.gain_ci95)):
            if bounds is not None and bounds[0] > bounds[1]:
                raise ValueError(f"{name} {bounds} is upside down")
        if self.p is not None and self.smallest_p is not None and self.p < self.smallest_p:
            raise ValueError(f"p {self.p:g} is below the smallest possible, {self.smallest_p:g}")
        for name in (self.model, *self.evidence):
            if PurePosixPath(name).is_absolute() or PureWindowsPath(name).is_absolute() or ".." in Path(name).parts:
                raise ValueError(f"{name!r} names a place on one machine; use a name or a path inside the results")
        unknown = sorted(set(self.side_conditions or ()) - set(SIDE_CONDITION_LIMITS))
        if unknown:
            raise ValueError(f"unknown side condition {unknown[0]!r}; known: {', '.join(SIDE_CONDITION_LIMITS)}")
        return self


SHOWN = (
    "id", "model", "emotion", "layer", "value", "ci95", "chance", "gain", "gain_ci95", "gain_over", "p_adjusted",
    "n_unique", "verdict",
)  # fmt: skip


class Claims(Shown, tuple[Claim, ...]):
    """Claims that a notebook shows as the table that `study` prints."""

    def table(self) -> Table:
        """Every claim with its interval, chance, gain, n and verdict."""
        rows = [{name: getattr(claim, name) for name in SHOWN} for claim in self]
        return row_table(rows, title="Claims", most=len(rows))


class _Condition(NamedTuple):
    words: str
    holds: bool


def judge(claims: Sequence[Claim]) -> tuple[Claim, ...]:
    """Adjust p-values and give each claim its verdict and the reason, in the order they came.

    Holm runs over all claims of one question, whatever their model and emotion; undefined p-values do not count. Then:

    * "not tested" where the value, its interval, its p or its gain is undefined, for the reason that the claim gives or
      this one;
    * "supported" where the adjusted p is below .05, the gain's interval lies above 0, and every side condition holds;
    * "not supported" where a side condition is broken, or the gain's whole interval lies below the effect of interest:
      an effect that would matter is excluded;
    * "underpowered" otherwise; the reason says how many units, or that more draws, would decide it.

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
            verdict, why = _verdict(claims[index], p_adjusted, smallest, sum(p is not None for p in adjusted))
            update = {"p_adjusted": p_adjusted, "verdict": verdict, "why": why}
            judged[index] = claims[index].model_copy(update=update)
    return tuple(judged)


def untested(
    id: str, model: str, emotion: str | None, statistic: str, why: str, *, n_unique: int = 0, evidence: str = ""
) -> Claim:
    """A declared claim that cannot be tested, which says why. It does not count in Holm.

    Args:
        n_unique, evidence: units and file of what was measured all the same.
    """
    return Claim(
        id=id, question=id.partition(".")[0].upper(), model=model, emotion=emotion, layer=None, statistic=statistic,
        value=None, ci95=None, chance=None, ceiling=None, floors={}, null="", p=None, n_unique=n_unique,
        evidence=(evidence,) if evidence else (), why=f"{why}.",
    )  # fmt: skip


def _verdict(claim: Claim, p_adjusted: float | None, smallest_p: float | None, n_claims: int) -> tuple[Verdict, str]:
    gain, bounds, over, wanted = claim.gain, claim.gain_ci95, claim.gain_over, claim.effect_of_interest
    if claim.value is None or claim.ci95 is None or p_adjusted is None or gain is None or bounds is None:
        needed = {
            "value": claim.value,
            "interval": claim.ci95,
            "p": p_adjusted,
            "gain": gain,
            "gain's interval": bounds,
        }
        missing = ", ".join(name for name, part in needed.items() if part is None)
        return "not tested", claim.why or f"{claim.statistic} has no defined {missing}."
    low, high = bounds
    significant, conditions = p_adjusted < ALPHA, _side_conditions(claim)
    sentence = (
        f"{claim.statistic} is {_short(claim.value)} [{', '.join(map(_short, claim.ci95))}], n = {claim.n_unique}: "
        f"a gain of {_short(gain)} [{_short(low)}, {_short(high)}] over {over or 'chance'} "
        f"({_short(claim.value - gain)}), "
        f"p = {_short(p_adjusted)} after Holm over {n_claims} is {'below' if significant else 'not below'} {ALPHA:g}"
    )
    if not significant and claim.p_against:
        name, largest = max(claim.p_against.items(), key=lambda item: item[1])
        sentence += f" (largest against {name}: {_short(largest)})"
    sentence += "".join(f", {condition.words}" for condition in conditions)
    few_draws = []
    if smallest_p is not None and smallest_p >= ALPHA:  # whatever the gain, it could not have been supported
        few_draws = [f"with so few draws of the null no p after Holm could be below {_short(smallest_p)}"]
    if not all(condition.holds for condition in conditions):
        return "not supported", sentence + "."
    if significant and low > 0:
        return "supported", sentence + "."
    if wanted is None:
        return "not supported", f"{sentence}; no effect of interest is declared."
    if high < wanted:
        excluded = f"one of {_short(wanted)}, which would matter, is excluded"
        return "not supported", "; ".join([sentence, excluded, *few_draws]) + "."
    decides = few_draws or [_what_would_decide(claim, gain, bounds, wanted, p_adjusted)]
    return "underpowered", f"{sentence}; {decides[0]}."


def _what_would_decide(claim: Claim, gain: float, bounds: tuple[float, float], wanted: float, p_adjusted: float) -> str:
    """How many units would decide a claim if its gain stayed what it is: intervals shrink with the root of n, and z
    grows with it."""
    factors = []
    if gain > 0 and claim.p is not None and claim.p < 0.5:
        # Holm multiplies by the claim's place, which stays.
        z, z_needed = (
            stats.norm.isf([claim.p, claim.p * min(ALPHA / p_adjusted, 1.0)]) if p_adjusted > ALPHA else (1, 1)
        )
        factors.append(max(((gain - bounds[0]) / gain) ** 2, (z_needed / z) ** 2))
    if gain < wanted:
        factors.append(((bounds[1] - gain) / (wanted - gain)) ** 2)
    units = claim.n_unique * min(factors, default=math.inf)
    if not units < MOST_UNITS:
        return f"no number of {claim.unit} that could be had would decide it"
    # Never as many as there are: these did not decide it.
    return (
        f"about {max(math.ceil(units), claim.n_unique + 1)} {claim.unit} would decide it if the gain stayed what it is"
    )


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
        for name in ("floors", "nulls", "p_against"):
            row[name] = dict(sorted(row[name].items()))
        rows.append(
            {name: _rounded(value) for name, value in row.items() if value is not None or name not in OPTIONAL_FIELDS}
        )
        for null in rows[-1]["nulls"].values():
            if null["histogram"] is None:
                del null["histogram"]
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


def read_claims(path: str | os.PathLike[str]) -> Claims:
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
    return Claims(claims)
