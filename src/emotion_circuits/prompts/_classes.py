"""A class of texts as data: neutral or an emotion, from a folder of the bank or one file of a user's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, StrictStr, StringConstraints

from emotion_circuits.errors import InputError
from emotion_circuits.prompts._files import parse, read_jsonl, read_text
from emotion_circuits.prompts._lexicon import Lexicon
from emotion_circuits.prompts._marks import Unmarked, unmark
from emotion_circuits.prompts._schema import NEUTRAL, Continuation, Slot, Text, split_in_turn

MIN_PAIRS: Final = 20
"""Pairs that directions, their quality and steering need."""
MIN_PAIRS_FOR_CLAIMS: Final = 40

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
HexColour = Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")]
Word = Annotated[StrictStr, StringConstraints(min_length=1, pattern=r"^\S+$")]
Synonym = Annotated[StrictStr, StringConstraints(min_length=1)]
Line = Annotated[StrictStr, StringConstraints(min_length=1, strip_whitespace=True)]

RESERVED: Final = (NEUTRAL, "all", "other")
"""Names that tables use for something else."""


class ClassFile(BaseModel):
    """`class.yaml` of a bundled class, and a user's own file, which holds its texts too.

    In texts, `[ ]` marks the word that carries the emotion; in utterances, the words that scores leave out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    label: dict[str, Line] = {}
    """Language → the emotion's name in it; the name itself where a language is missing."""
    colour: HexColour | None = None
    colour_dark: HexColour | None = None
    marker: Annotated[str, StringConstraints(min_length=1, max_length=1)] | None = None
    """matplotlib's sign for points."""
    words: dict[Slot, tuple[Word, ...]] = {}
    request: Line | None = None
    lexicon: tuple[StrictStr, ...] = ()
    """Regular expressions of words that name the emotion; the words above where there are none."""
    synonyms: tuple[Synonym, ...] = ()
    """Labels under which classifiers from elsewhere know it."""
    valence: Literal[-1, 0, 1] = 0
    """Which way a positive–negative scale goes with it; 0 for neither."""
    pairs: tuple[tuple[Line, Line], ...] = ()
    """A text and its neutral twin."""
    implicit: tuple[Line | tuple[Line, Line], ...] = ()
    """Texts that do not name the emotion, alone or with a neutral twin."""
    utterances: tuple[Line, ...] = ()
    foils: tuple[Line, ...] = ()
    intensity: tuple[tuple[Line, ...], ...] = ()
    """Series of texts from weak to strong."""


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: int | str
    text: StrictStr
    split: Literal["development", "test"] | None = None
    also: tuple[Word, ...] = ()
    """Other words for the marked one."""


class _SeriesRow(BaseModel):
    id: str
    series: int
    step: int
    text: StrictStr


@dataclass(frozen=True)
class EmotionClass:
    """One class with all its texts.

    Attributes:
        name: in tables and file names.
        label: language → its name there.
        colour: in light and in dark pages; None leaves the choice to who draws.
        marker: matplotlib's sign for points; None likewise.
        words: slot → single words that can fill it.
        request: a sentence that asks for the emotion in words.
        lexicon: finds words that name it.
        synonyms: labels under which classifiers from elsewhere know it.
        valence: 1, −1, or 0 where a positive–negative scale says nothing.
        explicit, implicit: texts; those of a user's class with their neutral twins.
        foils: texts that use a word of its lexicon without the emotion.
        intensity: texts of rising strength; a series is a scenario.
        utterances: what someone might say who feels so.
    """

    name: str
    label: Mapping[str, str] = field(default_factory=dict)
    colour: tuple[str, str] | None = None
    marker: str | None = None
    words: Mapping[Slot, tuple[str, ...]] = field(default_factory=dict)
    request: str | None = None
    lexicon: Lexicon = field(default_factory=Lexicon)
    synonyms: tuple[str, ...] = ()
    valence: int = 0
    explicit: tuple[Text, ...] = ()
    implicit: tuple[Text, ...] = ()
    foils: tuple[Text, ...] = ()
    intensity: tuple[Text, ...] = ()
    utterances: tuple[Continuation, ...] = ()

    def __repr__(self) -> str:
        return f"EmotionClass({self.name}: {', '.join(f'{n} {what}' for what, n in self.counts.items())})"

    @property
    def counts(self) -> dict[str, int]:
        """How many of its own texts of each kind there are."""
        sets = {"explicit": self.explicit, "implicit": self.implicit, "foils": self.foils, "intensity": self.intensity}
        own = {kind: sum(t.emotion == self.name for t in texts) for kind, texts in sets.items()}
        return own | {"utterances": len(self.utterances), "words": sum(map(len, self.words.values()))}

    def label_in(self, language: str) -> str:
        """Its name in a language."""
        return self.label.get(language, self.label.get("en", self.name))


def _base(file: ClassFile) -> EmotionClass:
    """The class without its texts."""
    named = () if file.name == NEUTRAL else tuple(word.lower() for own in file.words.values() for word in own)
    dark = file.colour_dark or file.colour
    return EmotionClass(
        name=file.name,
        label=file.label,
        colour=None if file.colour is None or dark is None else (file.colour, dark),
        marker=file.marker,
        words=file.words,
        request=file.request,
        lexicon=Lexicon(file.name, file.lexicon or named, are_words=not file.lexicon),
        synonyms=file.synonyms or (file.name,),
        valence=file.valence,
    )


class Splits(NamedTuple):
    """Which items of a bundled collection are for development; all else is test."""

    explicit: frozenset[str]
    """Scenarios."""
    implicit: frozenset[int]
    """Places in the file, from 0."""
    utterances: frozenset[int]


def read_bundled(folder: Path, splits: Splits) -> EmotionClass:
    """A class of the bank from its folder.

    Raises:
        InputError: a file that is not as it should be.
    """
    base = _base(_class_file(folder / "class.yaml"))
    name = base.name

    def rows(file: str) -> list[tuple[_Row, str]]:
        path = folder / file
        if not path.is_file():
            return []
        return [(parse(_Row, row.value, where), where) for row in read_jsonl(path) for where in [row.where]]

    explicit, implicit, foils, utterances = [], [], [], []
    for row, where in rows("explicit.jsonl"):
        split = "development" if str(row.id) in splits.explicit else "test"
        explicit.append(replace(_text(row.text, name, str(row.id), split, where, spans=range(1, 2)), also=row.also))
    for number, (row, where) in enumerate(rows("implicit.jsonl")):
        split = "development" if number in splits.implicit else "test"
        implicit.append(_text(row.text, name, str(row.id), split, where, spans=range(1)))
    for row, where in rows("foils.jsonl"):
        foils.append(_text(row.text, name, str(row.id), row.split or "test", where, spans=range(1, 2)))
    for number, (row, where) in enumerate(rows("utterances.jsonl")):
        split = "development" if number in splits.utterances else "test"
        utterances.append(_utterance(row.text, name, str(row.id), split, where))
    return replace(
        base,
        explicit=tuple(explicit),
        implicit=tuple(implicit),
        foils=tuple(foils),
        intensity=_series(folder / "intensity.jsonl", name),
        utterances=tuple(utterances),
    )


def _series(path: Path, name: str) -> tuple[Text, ...]:
    if not path.is_file():
        return ()
    rows = [parse(_SeriesRow, row.value, row.where) for row in read_jsonl(path)]
    rows.sort(key=lambda r: (r.series, r.step))
    return tuple(Text(r.text, name, f"{name}-{r.series}", "test") for r in rows)


def read_own(path: Path) -> EmotionClass:
    """A user's own emotion from a YAML file.

    Raises:
        InputError: the file cannot be read, has keys or values that are not accepted, or a name that tables need.
    """
    file = _class_file(path)
    if file.name in RESERVED:
        raise InputError(f"{path}: {file.name!r} cannot be the name of an emotion.", accepted="a name of its own")
    if not file.pairs:
        raise InputError(f"{path} has no pairs.", accepted='"pairs", a list of [text, its neutral twin]')
    name = file.name
    explicit: list[Text] = []
    for k, pair in enumerate(file.pairs):
        explicit += _twins(pair, name, f"{name}-{k + 1}", split_in_turn(k), f"{path}, pair {k + 1}", range(2))
    implicit: list[Text] = []
    for k, given in enumerate(file.implicit):
        where = f"{path}, implicit text {k + 1}"
        alone_or_twins = (given,) if isinstance(given, str) else given
        implicit += _twins(alone_or_twins, name, f"{name}-implicit-{k + 1}", split_in_turn(k), where, range(1))
    foils = [
        _text(text, name, f"{name}-foil-{k + 1}", split_in_turn(k), f"{path}, foil {k + 1}", spans=range(2))
        for k, text in enumerate(file.foils)
    ]
    return replace(
        _base(file),
        explicit=tuple(explicit),
        implicit=tuple(implicit),
        foils=tuple(foils),
        intensity=tuple(
            Text(text, name, f"{name}-{k + 1}", "test") for k, series in enumerate(file.intensity) for text in series
        ),
        utterances=tuple(
            _utterance(text, name, f"{name}-{k + 1:02}", split_in_turn(k), f"{path}, utterance {k + 1}")
            for k, text in enumerate(file.utterances)
        ),
    )


def _class_file(path: Path) -> ClassFile:
    try:
        values = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML.", found=str(error).splitlines()[0]) from error
    return parse(ClassFile, values, str(path))


def _twins(pair: Sequence[str], name: str, scenario: str, split: str, where: str, spans: range) -> list[Text]:
    texts = [
        _text(text, emotion, scenario, split, where, spans)
        for text, emotion in zip(pair, (name, NEUTRAL), strict=False)
    ]
    return texts[::-1]  # neutral first, as in the bundled scenarios


def _text(marked: str, emotion: str, scenario: str, split: str, where: str, spans: range) -> Text:
    plain = _unmark(marked, where, spans)
    return Text(plain.text, emotion, scenario, split, plain.spans[0] if plain.spans else None)


def _utterance(marked: str, emotion: str, id: str, split: str, where: str) -> Continuation:
    plain = _unmark(marked, where, range(6))
    return Continuation(id, emotion, plain.text, plain.spans, split)


def _unmark(marked: str, where: str, spans: range) -> Unmarked:
    try:
        result = unmark(marked)
    except ValueError as error:
        raise InputError(f"{where} is badly marked: {error}", found=marked) from error
    if len(result.spans) not in spans:
        accepted = "1 marked word" if spans.start else f"at most {spans.stop - 1} marked words"
        raise InputError(f"{where} has {len(result.spans)} marked words.", found=marked, accepted=accepted)
    return result
