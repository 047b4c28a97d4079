"""The bundled bank: loading it and giving every item its split."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel

from emotion_circuits.errors import InputError
from emotion_circuits.prompts._files import Model, parse, read_json, read_jsonl
from emotion_circuits.prompts._lexicon import LEXICON, emotion_words
from emotion_circuits.prompts._marks import Unmarked, unmark
from emotion_circuits.prompts._schema import (
    CLASSES,
    SLOTS,
    Context,
    Continuation,
    Dataset,
    GenericText,
    IntensityText,
    Slot,
    Text,
    WordSet,
    WordSets,
    check_emotion,
    check_split,
)

PROFILES: Final = {"baseline": 70, "extended": 100}
"""Profile → number of scenarios."""

Emotion = Literal["neutral", "gratitude", "anger", "apology"]
Split = Literal["development", "test"]

_DATA = Path(__file__).parent / "data"
_DEVELOPMENT_SCENARIOS = frozenset([*range(1, 31), *range(71, 81)])
_DEVELOPMENT_IMPLICIT = 16
_DEVELOPMENT_CONTEXTS_PER_SLOT = 8
_DEVELOPMENT_CONTINUATIONS_PER_CLASS = 12


def bank_hash() -> str:
    """16 hex digits that change with any character of the bundled texts, word sets and lexicon."""
    content = [[path.name, hashlib.sha256(path.read_bytes()).hexdigest()] for path in sorted(_DATA.glob("*.json*"))]
    patterns = {emotion: pattern.pattern for emotion, pattern in LEXICON.items()}
    return hashlib.sha256(json.dumps([content, patterns]).encode()).hexdigest()[:16]


class _ScenarioRow(BaseModel):
    id: int | str
    topic: str
    neutral: str
    gratitude: str
    anger: str
    apology: str


class _ContextRow(BaseModel):
    id: str
    text: str
    slot: Slot


class _LabelledRow(BaseModel):
    id: str
    emotion: Emotion
    text: str


class _FoilRow(_LabelledRow):
    split: Split


class RealWorldRow(_LabelledRow):
    """A real-world text with the kind of writing that it imitates."""

    kind: str


class _IntensityRow(_LabelledRow):
    series: int
    step: int


class _GenericRow(BaseModel):
    kind: str
    text: str


class _WordSetsFile(BaseModel):
    neutral: dict[Slot, list[str]]
    gratitude: dict[Slot, list[str]]
    anger: dict[Slot, list[str]]
    apology: dict[Slot, list[str]]


def _rows(file: str, model: type[Model]) -> Iterator[Model]:
    path = _DATA / file
    for row in read_jsonl(path):
        yield parse(model, row.value, row.where)


def _unmark(marked: str, item: object, spans: range) -> Unmarked:
    try:
        result = unmark(marked)
    except ValueError as error:
        raise InputError(f"the bank's text {item!r} is badly marked: {error}", found=marked) from error
    if len(result.spans) not in spans:
        raise InputError(f"the bank's text {item!r} has {len(result.spans)} marked spans", found=marked)
    return result


def _scenario_texts(row: _ScenarioRow, split: str, *, marked: bool) -> Iterator[Text]:
    for emotion in CLASSES:
        plain = _unmark(getattr(row, emotion), row.id, range(1, 2) if marked else range(1))
        yield Text(plain.text, emotion, str(row.id), split, plain.spans[0] if marked else None)


def profile(name: str) -> Dataset:
    """The explicit texts of a profile: `baseline` is scenarios 1–70 (280 texts), `extended` 1–100 (400 texts).

    Ordered by scenario, then by class. Every text has a span. Scenarios 1–30 and 71–80 are for development.

    Raises:
        InputError: an unknown profile.
    """
    if name not in PROFILES:
        raise InputError("unknown profile", found=repr(name), accepted=", ".join(PROFILES))
    texts: list[Text] = []
    for row in sorted(_rows("scenarios.jsonl", _ScenarioRow), key=lambda row: int(row.id)):
        if int(row.id) <= PROFILES[name]:
            split = "development" if int(row.id) in _DEVELOPMENT_SCENARIOS else "test"
            texts += _scenario_texts(row, split, marked=True)
    return Dataset(name, tuple(texts))


def implicit() -> Dataset:
    """40 scenarios of their own × 4 classes whose texts never name the emotion; no spans. i1–i16 are development."""
    texts: list[Text] = []
    for number, row in enumerate(_rows("implicit.jsonl", _ScenarioRow), 1):
        split = "development" if number <= _DEVELOPMENT_IMPLICIT else "test"
        texts += _scenario_texts(row, split, marked=False)
    return Dataset("implicit", tuple(texts))


def real_world_rows() -> tuple[RealWorldRow, ...]:
    """The rows behind `real_world`."""
    return tuple(_rows("real_world.jsonl", RealWorldRow))


def real_world() -> Dataset:
    """35 texts in the manner of posts, reviews and e-mails; each its own scenario, all test, no spans."""
    return Dataset("real_world", tuple(Text(row.text, row.emotion, row.id, "test") for row in real_world_rows()))


def foils() -> Dataset:
    """Texts that use a word of an emotion's lexicon without the emotion ("thanks to the new bypass").

    `emotion` is the one whose word is used, the span marks that word, each text is its own scenario.
    """
    texts = []
    for row in _rows("foils.jsonl", _FoilRow):
        plain = _unmark(row.text, row.id, range(1, 2))
        texts.append(Text(plain.text, row.emotion, row.id, row.split, plain.spans[0]))
    return Dataset("foils", tuple(texts))


def contexts(split: str | None = None) -> tuple[Context, ...]:
    """40 neutral beginnings; the first 8 of each slot are for development, the others for test."""
    seen: Counter[str] = Counter()
    found = []
    for row in _rows("contexts.jsonl", _ContextRow):
        seen[row.slot] += 1
        own = "development" if seen[row.slot] <= _DEVELOPMENT_CONTEXTS_PER_SLOT else "test"
        found.append(Context(row.id, row.text, row.slot, own))
    return tuple(c for c in found if split is None or c.split == check_split(split))


def continuations(split: str | None = None) -> tuple[Continuation, ...]:
    """30 utterances per class; the first 12 of each class are for development, the others for test."""
    seen: Counter[str] = Counter()
    found = []
    for row in _rows("continuations.jsonl", _LabelledRow):
        seen[row.emotion] += 1
        own = "development" if seen[row.emotion] <= _DEVELOPMENT_CONTINUATIONS_PER_CLASS else "test"
        plain = _unmark(row.text, row.id, range(3))
        found.append(Continuation(row.id, row.emotion, plain.text, plain.spans, own))
    return tuple(c for c in found if split is None or c.split == check_split(split))


def word_sets() -> WordSets:
    """Single words of each class for each slot."""
    path = _DATA / "word_sets.json"
    file = parse(_WordSetsFile, read_json(path), str(path))
    slots: tuple[Slot, ...] = SLOTS
    return WordSets(tuple(WordSet(c, slot, tuple(getattr(file, c)[slot])) for c in CLASSES for slot in slots))


def intensity(emotion: str | None = None) -> tuple[IntensityText, ...]:
    """Series in which one emotion grows step by step; ordered by emotion, series and step."""
    rows = [IntensityText(r.id, r.emotion, r.series, r.step, r.text) for r in _rows("intensity.jsonl", _IntensityRow)]
    rows.sort(key=lambda r: (CLASSES.index(r.emotion), r.series, r.step))
    return tuple(r for r in rows if emotion is None or r.emotion == check_emotion(emotion))


def intensity_series() -> Dataset:
    """`intensity` as a data set: a series is a scenario, its texts in rising order of the steps; all test, no spans."""
    return Dataset("intensity", tuple(Text(r.text, r.emotion, f"{r.emotion}-{r.series}", "test") for r in intensity()))


@cache
def _all_generic() -> tuple[GenericText, ...]:
    return tuple(GenericText(row.kind, row.text) for row in _rows("generic.jsonl", _GenericRow))


def generic(
    kinds: Collection[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    *,
    without_emotion_words: bool = False,
) -> tuple[GenericText, ...]:
    """Short texts of SmolLM2-135M-Instruct, for alignment maps, means and residual norms.

    Args:
        kinds: only texts that were asked for as these kinds (`neutral`, `gratitude`, `joy`, …); None for all.
        limit: so many of them, in an order drawn by `seed`: a smaller limit gives the beginning of a larger one.
            None gives all, in the order of the file.
        without_emotion_words: leave out texts with a word of `LEXICON` (what was asked for is not always what
            was written: "neutral" texts thank and apologise too).

    Raises:
        InputError: an unknown kind, or fewer texts than `limit`.
    """
    known = dict.fromkeys(text.kind for text in _all_generic())
    unknown = set(kinds or ()) - set(known)
    if unknown:
        raise InputError("unknown kind of generic text", found=", ".join(sorted(unknown)), accepted=", ".join(known))
    chosen = [
        text
        for text in _all_generic()
        if (kinds is None or text.kind in kinds) and not (without_emotion_words and emotion_words(text.text))
    ]
    if limit is None:
        return tuple(chosen)
    if not 0 < limit <= len(chosen):
        raise InputError("cannot draw so many generic texts", found=limit, accepted=f"1 to {len(chosen)}")
    # By hash, not by a generator, so that the draw cannot change with a version of Python or NumPy.
    chosen.sort(key=lambda text: hashlib.sha256(f"{seed}:{text.text}".encode()).digest())
    return tuple(chosen[:limit])


def generic_sample(n: int) -> tuple[GenericText, ...]:
    """The one mixed sample of `n` generic texts (all kinds) that norms and means are taken from."""
    return generic(limit=n)
