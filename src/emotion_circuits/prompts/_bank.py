"""The bank: neutral and the emotions of a study, each a folder of the package or a file of a user's."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Final

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from emotion_circuits._files import write_text
from emotion_circuits.errors import InputError
from emotion_circuits.prompts._classes import EmotionClass, Splits, read_bundled, read_own
from emotion_circuits.prompts._files import Model, parse, read_jsonl, read_text
from emotion_circuits.prompts._lexicon import EmotionWord, emotion_words
from emotion_circuits.prompts._schema import (
    NEUTRAL,
    SLOTS,
    Context,
    Continuation,
    Dataset,
    GenericText,
    Slot,
    Text,
    WordSet,
    WordSets,
    check_split,
)

OWN_SUFFIXES: Final = (".yaml", ".yml", ".jsonl", ".ndjson", ".csv", ".tsv")
"""How the file of a user's own emotion ends; the last four are data sets of its texts and their neutral twins."""
PROFILES: Final = {"baseline": 70, "extended": 100}
"""Profile → number of bundled scenarios. A user's own pairs all take part in either."""

_DATA = Path(__file__).parent / "data"
_DEVELOPMENT_SCENARIOS = frozenset(str(k) for k in (*range(1, 31), *range(71, 81)))
# The bank has grown: texts that were for test before stay so, and of the new ones the first are for development.
_SPLITS = Splits(
    explicit=_DEVELOPMENT_SCENARIOS,
    implicit=frozenset((*range(16), *range(40, 64))),
    utterances=frozenset((*range(12), *range(30, 50))),
)
_DEVELOPMENT_CONTEXTS = frozenset((*range(1, 9), *range(21, 25)))
"""Numbers of the contexts of each slot."""


class _BankFile(BaseModel):
    default: tuple[str, ...]
    """The emotions of a study that names none."""
    order: tuple[str, ...]
    """All bundled classes, in the order of tables and figures."""


class _ContextRow(BaseModel):
    id: str
    text: str
    slot: Slot


class RealWorldRow(BaseModel):
    """A real-world text with the kind of writing that it imitates."""

    id: str
    kind: str
    emotion: str
    text: str


class _GenericRow(BaseModel):
    kind: str
    text: str


def _rows(file: str, model: type[Model]) -> Iterator[Model]:
    path = _DATA / file
    for row in read_jsonl(path):
        yield parse(model, row.value, row.where)


@dataclass(frozen=True)
class Bank:
    """The classes that a study works on, with all their texts. Make one with `bank`.

    Attributes:
        classes: neutral first.
    """

    classes: tuple[EmotionClass, ...]

    def __repr__(self) -> str:
        return f"Bank({', '.join(self.names)})"

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of all classes, `neutral` first."""
        return tuple(own.name for own in self.classes)

    @property
    def emotions(self) -> tuple[str, ...]:
        """Of all classes but neutral."""
        return self.names[1:]

    def __getitem__(self, name: str) -> EmotionClass:
        for own in self.classes:
            if own.name == name:
                return own
        raise InputError("There is no such emotion here.", found=repr(name), accepted=", ".join(self.names))

    @cached_property
    def hash(self) -> str:
        """16 hex digits that change with any character of the classes' texts, words and lexicons, and of the texts that
        belong to no class."""
        common = [[path.name, hashlib.sha256(path.read_bytes()).hexdigest()] for path in sorted(_DATA.glob("*.jsonl"))]
        content = [*common, *(identity_of(own) for own in self.classes)]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def profile(self, name: str) -> Dataset:
        """The explicit texts of a profile: bundled classes have 70 scenarios in `baseline`, 100 in `extended`.

        Ordered by scenario, then by class. Bundled scenarios 1–30 and 71–80 are for development.

        Raises:
            InputError: an unknown profile.
        """
        if name not in PROFILES:
            raise InputError("unknown profile", found=repr(name), accepted=", ".join(PROFILES))
        texts = [
            t
            for own in self.classes
            for t in own.explicit
            if not t.scenario.isdigit() or int(t.scenario) <= PROFILES[name]
        ]
        return Dataset(name, self._by_scenario(texts))

    def implicit(self) -> Dataset:
        """Texts that never name their emotion; no spans. 40 of the 160 bundled scenarios are development."""
        return Dataset("implicit", self._by_scenario([t for own in self.classes for t in own.implicit]))

    def _by_scenario(self, texts: Sequence[Text]) -> tuple[Text, ...]:
        """Scenario by scenario, each in the order of the classes; neutral texts without company are left out.

        Neutral scenarios that no emotion here has would tell nothing about any.
        """
        shared = {t.scenario for t in texts if t.emotion != NEUTRAL}
        order = {scenario: k for k, scenario in enumerate(dict.fromkeys(t.scenario for t in texts))}
        kept = [t for t in texts if t.scenario in shared]
        return tuple(sorted(kept, key=lambda t: (order[t.scenario], self.names.index(t.emotion))))

    def foils(self) -> Dataset:
        """Texts that use a word of an emotion's lexicon without the emotion ("thanks to the new bypass").

        `emotion` is the one whose word is used, the span marks that word, each text is its own scenario.
        """
        return Dataset("foils", tuple(t for own in self.classes for t in own.foils))

    def intensity_series(self) -> Dataset:
        """Series in which one emotion grows step by step: a series is a scenario, its texts in rising order."""
        return Dataset("intensity", tuple(t for own in self.classes for t in own.intensity))

    def real_world(self) -> Dataset:
        """Texts in the manner of posts, reviews and e-mails; each its own scenario, all test, no spans."""
        texts = tuple(Text(row.text, row.emotion, row.id, "test") for row in self.real_world_rows())
        return Dataset("real_world", texts)

    def real_world_rows(self) -> tuple[RealWorldRow, ...]:
        """The rows behind `real_world`."""
        return tuple(row for row in _all_real_world() if row.emotion in self.names)

    def spoken(self, split: str) -> Dataset:
        """What someone might say in each class, as texts: the k-th of every class that has one beside the k-th neutral
        one."""
        of_class = {name: [c for c in self.continuations(split) if c.emotion == name] for name in self.names}
        n = len(of_class[NEUTRAL])
        texts = [
            Text(c.text, c.emotion, f"spoken-{k}", split) for own in of_class.values() for k, c in enumerate(own[:n])
        ]
        alone = {f"spoken-{k}" for k in range(max((len(v) for e, v in of_class.items() if e != NEUTRAL), default=0), n)}
        return Dataset("spoken", tuple(t for t in texts if t.scenario not in alone))

    def continuations(self, split: str | None = None) -> tuple[Continuation, ...]:
        """What someone might say in each class; the first 12 of each bundled class are for development."""
        wanted = None if split is None else check_split(split)
        return tuple(c for own in self.classes for c in own.utterances if wanted in (None, c.split))

    def word_sets(self) -> WordSets:
        """Single words of each class for each slot."""
        return WordSets(
            tuple(
                WordSet(own.name, slot, own.words[slot])
                for own in self.classes
                for slot in SLOTS
                if own.words.get(slot)
            )
        )

    def emotion_words(self, text: str, emotion: str | None = None) -> tuple[EmotionWord, ...]:
        """Words of the lexicons in `text` (of one emotion, or of all), in order of appearance."""
        chosen = self.classes if emotion is None else (self[emotion],)
        return emotion_words(text, [own.lexicon for own in chosen])

    def generic(
        self,
        kinds: Collection[str] | None = None,
        limit: int | None = None,
        seed: int = 0,
        *,
        without_emotion_words: bool = False,
    ) -> tuple[GenericText, ...]:
        """`generic` texts; see there. `without_emotion_words` leaves out texts with a word of these classes' lexicons
        (what was asked for is not always what was written: "neutral" texts thank and apologise too)."""
        chosen = generic(kinds)
        if without_emotion_words:
            chosen = tuple(text for text in chosen if not self.emotion_words(text.text))
        return _drawn(chosen, limit, seed)


def identity_of(own: EmotionClass) -> object:
    """What identifies a class, in terms of JSON."""
    texts = [
        [t.text, t.emotion, t.scenario, t.split, t.span]
        for kind in (own.explicit, own.implicit, own.foils, own.intensity)
        for t in kind
    ]
    utterances = [[c.id, c.text, c.masked, c.split] for c in own.utterances]
    words = {slot: list(found) for slot, found in own.words.items()}
    about = [own.name, words, own.request, own.lexicon.patterns, own.synonyms, own.valence]
    return [about, texts, utterances]


BANK_FILE: Final = "emotions.json"
"""Where a results folder keeps the classes that its numbers are about."""


def write_bank(folder: Path, bank: Bank) -> Path:
    """Keep the classes with all their texts in a results folder."""
    path = folder / BANK_FILE
    write_text(path, TypeAdapter(Bank).dump_json(bank, indent=1).decode() + "\n")
    return path


def kept_bank(folder: Path) -> Bank | None:
    """The classes that a results folder is about; None where it does not say.

    Raises:
        InputError: its file cannot be read.
    """
    path = folder / BANK_FILE
    if not path.is_file():
        return None
    try:
        return TypeAdapter(Bank).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise InputError(
            f"{path} cannot be read.", found=str(error).splitlines()[0], next_step="run extract or study again"
        ) from error


def bundled_emotions() -> tuple[str, ...]:
    """The emotions that come with the package, in the order of tables."""
    return _bank_file().order[1:]


def bank(emotions: Iterable[str | Path] | None = None) -> Bank:
    """Neutral and the emotions of a study.

    Args:
        emotions: names of bundled ones and paths of one's own: YAML, or a data set of texts and neutral twins; None
            for the bundled default.

    Raises:
        InputError: an unknown name, a file that cannot be used, an emotion given twice.
    """
    wanted = _bank_file().default if emotions is None else tuple(emotions)
    if not wanted:
        raise InputError("There are no emotions.", accepted=_accepted())
    classes = [_bundled(NEUTRAL), *(_class(given) for given in wanted)]
    twice = [name for name, n in Counter(own.name for own in classes).items() if n > 1]
    if twice:
        raise InputError("An emotion is given twice.", found=", ".join(twice))
    return Bank(tuple(classes))


def _class(given: str | Path) -> EmotionClass:
    if str(given) in bundled_emotions():
        return _bundled(str(given))
    path = Path(given)
    if path.suffix.lower() in OWN_SUFFIXES[2:]:
        from emotion_circuits.prompts._read import read_own_rows  # which reads data sets, and so knows the bank

        return read_own_rows(path.expanduser())
    if path.suffix.lower() not in OWN_SUFFIXES:
        raise InputError("This is no emotion.", found=repr(str(given)), accepted=_accepted())
    return read_own(path.expanduser())


def _accepted() -> str:
    return f"{', '.join(bundled_emotions())}, or a file of your own ({', '.join(OWN_SUFFIXES)})"


@cache
def _bank_file() -> _BankFile:
    path = _DATA / "bank.yaml"
    return parse(_BankFile, yaml.safe_load(read_text(path)), str(path))


@cache
def _bundled(name: str) -> EmotionClass:
    return read_bundled(_DATA / "classes" / name, _SPLITS)


def contexts(split: str | None = None) -> tuple[Context, ...]:
    """120 neutral beginnings, 60 of each slot; 12 of each are for development, the others for test."""
    return tuple(c for c in _all_contexts() if split is None or c.split == check_split(split))


@cache
def _all_contexts() -> tuple[Context, ...]:
    seen: Counter[str] = Counter()
    found = []
    for row in _rows("contexts.jsonl", _ContextRow):
        seen[row.slot] += 1
        own = "development" if seen[row.slot] in _DEVELOPMENT_CONTEXTS else "test"
        found.append(Context(row.id, row.text, row.slot, own))
    return tuple(found)


@cache
def _all_real_world() -> tuple[RealWorldRow, ...]:
    return tuple(_rows("real_world.jsonl", RealWorldRow))


@cache
def _all_generic() -> tuple[GenericText, ...]:
    return tuple(GenericText(row.kind, row.text) for row in _rows("generic.jsonl", _GenericRow))


def generic(kinds: Collection[str] | None = None, limit: int | None = None, seed: int = 0) -> tuple[GenericText, ...]:
    """Short texts of SmolLM2-135M-Instruct, for alignment maps, means and spreads.

    Args:
        kinds: only texts that were asked for as these kinds (`neutral`, `joy`, …); None for all.
        limit: so many of them, in an order drawn by `seed`: a smaller limit gives the beginning of a larger one.
            None gives all, in the order of the file.

    Raises:
        InputError: an unknown kind, or fewer texts than `limit`.
    """
    known = dict.fromkeys(text.kind for text in _all_generic())
    unknown = set(kinds or ()) - set(known)
    if unknown:
        raise InputError("unknown kind of generic text", found=", ".join(sorted(unknown)), accepted=", ".join(known))
    return _drawn(tuple(text for text in _all_generic() if kinds is None or text.kind in kinds), limit, seed)


def _drawn(texts: tuple[GenericText, ...], limit: int | None, seed: int) -> tuple[GenericText, ...]:
    if limit is None:
        return texts
    if not 0 < limit <= len(texts):
        raise InputError("cannot draw so many generic texts", found=limit, accepted=f"1 to {len(texts)}")
    # By hash, not by a generator, so that the draw cannot change with a version of Python or NumPy.
    ordered = sorted(texts, key=lambda text: hashlib.sha256(f"{seed}:{text.text}".encode()).digest())
    return tuple(ordered[:limit])


def generic_sample(n: int) -> tuple[GenericText, ...]:
    """The one mixed sample of `n` generic texts (all kinds) that norms and means are taken from."""
    return generic(limit=n)


def ordinary(n: int) -> Dataset:
    """The texts of `generic_sample` as a data set: beside their scores a score is usual or not."""
    return Dataset(
        "ordinary", tuple(Text(t.text, NEUTRAL, f"ordinary-{i}", "test") for i, t in enumerate(generic_sample(n)))
    )
