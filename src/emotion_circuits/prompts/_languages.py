"""Texts in other languages than English: written in the language, not translated, for scenarios of their own.

A scenario has one text of every class, in one register. The first scenarios are for development, as in English.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, RootModel, StrictStr

from emotion_circuits.errors import InputError
from emotion_circuits.prompts._files import parse, parse_json, read_jsonl, read_text
from emotion_circuits.prompts._schema import NEUTRAL, Context, Dataset, Text

_FOLDER = Path(__file__).parent / "data" / "languages"
DEVELOPMENT: Final = {"explicit": 30, "implicit": 20}
"""Scenarios of each kind that are for development: the first."""
_MARKED = re.compile(r"\[([^\[\]]+)\]")


class _Scenario(BaseModel):
    model_config = ConfigDict(extra="allow")

    scenario: int

    def texts(self) -> dict[str, str]:
        """Class → text, with the marked word in brackets."""
        return {name: str(text) for name, text in (self.model_extra or {}).items()}


class _Utterance(BaseModel):
    emotion: StrictStr
    text: StrictStr


class _Slots(BaseModel):
    opening: tuple[StrictStr, ...]


class _Words(RootModel[dict[str, _Slots]]):
    """Class → slot → words."""


class _Context(BaseModel):
    id: StrictStr
    text: StrictStr


@dataclass(frozen=True)
class LanguageTexts:
    """Texts of one language.

    Attributes:
        language: its code, such as `ja`.
        explicit: texts that name the emotion, a scenario having one of every class.
        implicit: texts that do not.
        spoken: what someone might say in each class.
        openings: contexts that end where somebody begins to speak.
        words: class → words that an utterance may begin with.
    """

    language: str
    explicit: Dataset
    implicit: Dataset
    spoken: Dataset
    openings: tuple[Context, ...]
    words: Mapping[str, tuple[str, ...]]

    def only(self, classes: Collection[str]) -> LanguageTexts:
        """The texts of some classes."""
        explicit, implicit, spoken = (
            Dataset(data.name, tuple(t for t in data if t.emotion in classes))
            for data in (self.explicit, self.implicit, self.spoken)
        )
        words = {name: own for name, own in self.words.items() if name in classes}
        return LanguageTexts(self.language, explicit, implicit, spoken, self.openings, words)

    @property
    def emotions(self) -> tuple[str, ...]:
        """Of all classes but neutral."""
        return tuple(name for name in self.explicit.classes if name != NEUTRAL)


def languages() -> tuple[str, ...]:
    """Codes of the languages that texts come in, besides English."""
    return tuple(sorted(folder.name for folder in _FOLDER.iterdir() if folder.is_dir()))


@cache
def language_texts(language: str) -> LanguageTexts:
    """The texts of a language.

    Raises:
        InputError: there are none.
    """
    if language not in languages():
        raise InputError("There are no texts in this language.", found=repr(language), accepted=", ".join(languages()))
    explicit, implicit = (
        Dataset(f"{kind} {language}", tuple(_texts(language, kind))) for kind in ("explicit", "implicit")
    )
    rows = [parse(_Context, row.value, row.where) for row in read_jsonl(_FOLDER / language / "contexts.jsonl")]
    contexts = tuple(Context(row.id, row.text, "opening", "test") for row in rows)
    found = parse(_Words, parse_json(read_text(_FOLDER / language / "words.json"), "words.json"), "words.json")
    words = {name: slots.opening for name, slots in found.root.items()}
    return LanguageTexts(
        language, explicit, implicit, Dataset(f"spoken {language}", _spoken(language)), contexts, words
    )


def _spoken(language: str) -> tuple[Text, ...]:
    """The k-th utterance of every class is one scenario."""
    rows = [parse(_Utterance, row.value, row.where) for row in read_jsonl(_FOLDER / language / "utterances.jsonl")]
    seen: Counter[str] = Counter()
    texts = []
    for row in rows:
        scenario = f"{language}-spoken-{seen[row.emotion]}"
        seen[row.emotion] += 1
        texts.append(Text(_MARKED.sub(r"\1", row.text), row.emotion, scenario, "development"))
    return tuple(texts)


def _texts(language: str, kind: str) -> Iterator[Text]:
    for row in read_jsonl(_FOLDER / language / f"{kind}.jsonl"):
        made = parse(_Scenario, row.value, row.where)
        split = "development" if made.scenario <= DEVELOPMENT[kind] else "test"
        for name, marked in made.texts().items():
            place = _MARKED.search(marked)
            span = None if place is None else (place.start(), place.end() - 2)
            yield Text(_MARKED.sub(r"\1", marked), name, f"{language}-{kind}-{made.scenario}", split, span)
