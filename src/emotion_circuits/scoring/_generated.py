"""Texts that a model wrote: what is known of each, and which belong together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emotion_circuits.errors import InputError

CLEAN, RANDOM = "clean", "random"
"""What a random direction wrote. Where a method's chance level is something else, its arm is `random` and the method's
name (`twin_of`)."""
_Number = Annotated[float, Field(allow_inf_nan=False)]


class GeneratedText(BaseModel):
    """One text and how it came about; further fields of a line are ignored.

    Attributes:
        prompt: the beginning that all arms share; the unit of intervals and tests.
        text: the continuation only; may be empty.
        arm: `clean` is what others are compared with, `random` gives the chance level, `random X` that of an arm X;
            any other name.
        emotion: what the arm was meant to bring about; None for clean text.
        dose, layer, sample: of steering; None where there is none.
        perplexity: under the clean model, if it is known.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    prompt: str
    text: str
    arm: Annotated[str, Field(min_length=1)] = "text"
    emotion: Annotated[str, Field(min_length=1)] | None = None
    dose: _Number | None = None
    layer: int | None = None
    sample: int | None = None
    perplexity: float | None = None

    @property
    def empty(self) -> bool:
        return not self.text.strip()


def twin_of(arm: str) -> str:
    """The arm that gives an arm's chance level if `random` does not: `random swap` of `swap`."""
    return f"{RANDOM} {arm}"


def is_random(arm: str) -> bool:
    """Whether an arm is there to give a chance level."""
    return arm == RANDOM or arm.startswith(f"{RANDOM} ")


class Cell(NamedTuple):
    """Texts that came about in the same way."""

    arm: str
    emotion: str | None
    dose: float | None
    layer: int | None

    @property
    def title(self) -> str:
        """For the screen: `steered gratitude .2 @ 6`."""
        parts = [self.arm, self.emotion, None if self.dose is None else f"{self.dose:g}"]
        if self.layer is not None:
            parts.append("@ embed" if self.layer < 0 else f"@ {self.layer}")
        return " ".join(part for part in parts if part)


def parse_generated(record: Mapping[str, Any], where: str, classes: Collection[str] | None = None) -> GeneratedText:
    """A record of a file as a text; optional fields may be empty strings, as they are in a table.

    Args:
        record: the fields. where: what errors call it. classes: the emotions that are known; None takes any.

    Raises:
        InputError: a field that is missing or of another kind, or an emotion that is not known.
    """
    given = {name: value for name, value in record.items() if value != "" or name in ("prompt", "text", "arm")}
    try:
        text = GeneratedText.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "line"
        raise InputError(
            f"{where}: no usable {field!r}.",
            found=first["msg"] if first["type"] == "missing" else repr(first["input"])[:120],
            accepted='{"prompt": "...", "text": "...", "arm": "clean"}; also emotion, dose, layer, sample, perplexity',
        ) from error
    if classes is not None and text.emotion is not None and text.emotion not in classes:
        raise InputError(
            f"{where}: no such emotion.",
            found=repr(text.emotion)[:120],
            accepted=", ".join(classes),
            next_step="name others with --emotions",
        )
    return text


def cells_of(texts: Sequence[GeneratedText]) -> dict[Cell, NDArray[np.intp]]:
    """The numbers of the texts of every cell: clean first, then by arm, emotion, layer and dose.

    A text that repeats another of its cell, with the same prompt and sample, is left out: runs of several doses or
    emotions bring the same clean text with them. Where no sample is given, nothing tells a repeat from a second draw.
    """
    members: dict[Cell, list[int]] = {}
    seen = set()
    for i, t in enumerate(texts):
        # Clean text is clean whatever dose it came with; its emotion only says whose run it belongs to.
        cell = Cell(t.arm, t.emotion, None, None) if t.arm == CLEAN else Cell(t.arm, t.emotion, t.dose, t.layer)
        key = (cell, t.prompt, t.sample, t.text)
        if t.sample is None or key not in seen:
            members.setdefault(cell, []).append(i)
        seen.add(key)
    ordered = sorted(
        members, key=lambda c: (c.arm != CLEAN, c.arm, c.emotion or "", c.layer if c.layer is not None else -2,
                                -np.inf if c.dose is None else c.dose),
    )  # fmt: skip
    return {cell: np.array(members[cell]) for cell in ordered}


def stored_perplexities(texts: Sequence[GeneratedText]) -> NDArray[np.float64] | None:
    """(texts,) the texts' own `perplexity`, NaN where one is missing or not finite; None where all are missing."""
    values = np.array([np.nan if t.perplexity is None else t.perplexity for t in texts], dtype=np.float64)
    values[~np.isfinite(values) | (values <= 0)] = np.nan
    return None if np.isnan(values).all() else values
