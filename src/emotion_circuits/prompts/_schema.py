"""The values that the rest of the package works on: texts, data sets, and the material of the causal tests."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Literal, NamedTuple

from emotion_circuits.errors import InputError
from emotion_circuits.prompts._marks import Span

NEUTRAL: Final = "neutral"
SPLITS: Final = ("development", "test")
BRIDGE = ' She said, "'
"""Neutral words after a text, so that the next one can show the text's emotion; the slot is `opening`."""
SLOTS: Final = ("opening", "adjective")

Slot = Literal["opening", "adjective"]
Split = Literal["development", "test"]


def neutral_first(classes: Iterable[str]) -> tuple[str, ...]:
    """Each class once, neutral before the others, these in the order given."""
    return tuple(sorted(dict.fromkeys(classes), key=lambda name: name != NEUTRAL))


def split_in_turn(place: int) -> str:
    """The split of the `place`-th item of a user's own: of every five the first two are for development."""
    return "development" if place % 5 < 2 else "test"


def check_split(split: str) -> str:
    """Returns `split` if it is one of `SPLITS`, else raises InputError."""
    if split not in SPLITS:
        raise InputError("unknown split", found=repr(split), accepted=", ".join(SPLITS))
    return split


@dataclass(frozen=True, slots=True)
class Text:
    """One text of a data set."""

    text: str
    emotion: str
    """Its class: `neutral` or an emotion's name."""
    scenario: str
    """The group that splits, resampling and permutations keep together."""
    split: str
    """`development` (layers and doses are chosen there) or `test` (values are reported from there)."""
    span: Span | None = None
    """Characters of the emotion word (in a neutral text, of the word in the same slot); None where none is marked."""
    also: tuple[str, ...] = ()
    """Other words that fit the span as well: pairs of texts take those that make both equally long in a model's
    tokens. The data set's hash is that of its texts, without these."""
    where: str = field(default="", compare=False, repr=False)
    """What errors call a text of a user's file: the file and the line."""

    @property
    def marked_word(self) -> str | None:
        """The characters inside the span."""
        return None if self.span is None else self.text[slice(*self.span)]

    @property
    def variants(self) -> tuple[Text, ...]:
        """This text, and the same with every other word in its span."""
        if self.span is None:
            return (self,)
        (start, end), text = self.span, self.text
        others = (
            replace(self, text=text[:start] + word + text[end:], span=(start, start + len(word)), also=())
            for word in self.also
        )
        return (self, *others)


@dataclass(frozen=True)
class Dataset:
    """Texts in a fixed order. Equal content has an equal `hash`, whatever its name."""

    name: str
    texts: tuple[Text, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[Text]:
        return iter(self.texts)

    @cached_property
    def hash(self) -> str:
        """SHA-256 (64 hex digits) over every field of every text, in order."""
        digest = hashlib.sha256()
        for t in self.texts:
            digest.update(json.dumps([t.text, t.emotion, t.scenario, t.split, t.span]).encode() + b"\n")
        return digest.hexdigest()

    @cached_property
    def scenarios(self) -> tuple[str, ...]:
        """The scenarios, each once, in order of first appearance."""
        return tuple(dict.fromkeys(t.scenario for t in self.texts))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The classes that occur, neutral first, the others in order of first appearance."""
        return neutral_first(t.emotion for t in self.texts)

    @cached_property
    def is_matched(self) -> bool:
        """Whether every scenario holds exactly one text of every class that occurs (and there are at least two)."""
        per_cell = Counter((t.scenario, t.emotion) for t in self.texts)
        complete = len(per_cell) == len(self.scenarios) * len(self.classes) == len(self.texts)
        return complete and len(self.classes) > 1

    def require_twins(self, method: str) -> None:
        """Raises InputError, naming `method`, unless every scenario has one neutral text and others of different
        classes."""
        classes: dict[str, list[str]] = {}
        for t in self.texts:
            classes.setdefault(t.scenario, []).append(t.emotion)
        wrong = [s for s, own in classes.items() if NEUTRAL not in own or len(set(own)) < len(own) or len(own) < 2]
        if wrong or not classes:
            raise self._no_blocks(method, f"{len(wrong)} of them are not, such as {wrong[0]}" if wrong else "no texts")

    def require_matched(self, method: str) -> None:
        """Raises InputError, naming `method`, unless the data set is matched."""
        if not self.is_matched:
            raise self._no_blocks(method, "some lack a class", "exactly one text of each class")

    def _no_blocks(
        self, method: str, why: str, accepted: str = "one neutral text and one of an emotion, or several"
    ) -> InputError:
        counts = Counter(t.emotion for t in self.texts)
        listed = ", ".join(f"{c} {counts[c]}" for c in self.classes) or "none"
        return InputError(
            f"{method} compares texts of one scenario, and the scenarios of {self.name} are not complete",
            found=f"{len(self.scenarios)} scenarios ({why}); texts: {listed}",
            accepted=f"every scenario with {accepted}",
            next_step='give each text a "scenario", or class files of equal length (row i is then scenario i)',
        )

    def select(self, emotion: str | None = None, split: str | None = None) -> Dataset:
        """The texts of one emotion and/or one split, in the same order.

        Raises:
            InputError: an emotion or split that does not exist.
        """
        texts = self.texts
        if emotion is not None:
            if emotion not in self.classes:
                raise InputError(
                    f"{self.name} has no such class", found=repr(emotion), accepted=", ".join(self.classes)
                )
            texts = tuple(t for t in texts if t.emotion == emotion)
        if split is not None:
            check_split(split)
            texts = tuple(t for t in texts if t.split == split)
        return Dataset(self.name, texts)


@dataclass(frozen=True, slots=True)
class Context:
    """A neutral beginning after which a model's next word shows its emotion."""

    id: str
    text: str
    slot: Slot
    """What comes next: the first word of an utterance (`opening`) or an `adjective`."""
    split: str


@dataclass(frozen=True, slots=True)
class Continuation:
    """What someone might say after a context of slot `opening`; `text` has no leading space."""

    id: str
    emotion: str
    text: str
    masked: tuple[Span, ...]
    """Characters of its emotion words, which teacher-forced scores leave out."""
    split: str


@dataclass(frozen=True, slots=True)
class WordSet:
    """Single words of one class that can fill one slot."""

    emotion: str
    slot: Slot
    words: tuple[str, ...]


@dataclass(frozen=True)
class WordSets:
    """The word sets of classes and slots."""

    sets: tuple[WordSet, ...]

    def classes(self, slot: Slot) -> tuple[str, ...]:
        """The classes that have words for a slot, in order."""
        return tuple(own.emotion for own in self.sets if own.slot == slot)

    def __iter__(self) -> Iterator[WordSet]:
        return iter(self.sets)

    def words(self, emotion: str, slot: Slot) -> tuple[str, ...]:
        """The words of one class for one slot; InputError where there are none."""
        for word_set in self.sets:
            if (word_set.emotion, word_set.slot) == (emotion, slot):
                return word_set.words
        raise InputError(
            "no such word set",
            found=f"{emotion!r} for slot {slot!r}",
            accepted=", ".join(f"{own.emotion} ({own.slot})" for own in self.sets),
        )


class GenericText(NamedTuple):
    """A short text that a small language model wrote when it was asked for `kind`."""

    kind: str
    text: str
