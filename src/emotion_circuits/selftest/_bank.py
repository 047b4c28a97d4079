"""The words and texts that planted models know: a small prompt bank in which only a plant can tell the classes apart.

A word that names a class occurs once in the whole bank, so texts of one class share nothing but their class: a bag of
words, the embedding layer and a model without a plant are at chance on texts that they were not fitted on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from emotion_circuits.prompts import NEUTRAL, Context, Continuation, Dataset, Text, WordSet, WordSets

CLASSES = (NEUTRAL, "cyan", "amber", "azure")
EMOTIONS = CLASSES[1:]
"""Made up: what is planted stands for no feeling."""
START, END, UNKNOWN = "<s>", "</s>", "<unk>"
FINAL_MARKS = (".", "!", "?")
QUOTE = '"'
N_FILLERS = 60
ANSWERS_PER_CLASS = 4
"""Words of each class that a model may say; they never stand in a text."""
TEXT_WORDS = (7, 9, 11)
EXPLICIT = {"development": 16, "test": 16}
IMPLICIT = {"development": 12, "test": 32}
"""Scenarios of each split."""
CONTEXTS = {"development": 8, "test": 12}
N_GENERIC = 64


def answer_words(emotion: str) -> tuple[str, ...]:
    """What a model says when it is of that class."""
    return tuple(f"say_{emotion}_{k}" for k in range(ANSWERS_PER_CLASS))


@dataclass(frozen=True)
class PlantedBank:
    """Everything a study needs, in words that planted models know.

    Attributes:
        cues: class → the words that name it, each used once: those of explicit texts first, then implicit ones.
        explicit: texts with marked spans.
        implicit: texts without spans whose cues occur in no explicit text.
        generic: texts of fillers only.
        contexts: neutral beginnings of both splits.
        continuations: for each class; a class's own two answers stand outside the masks.
        word_sets: the answers.
    """

    cues: dict[str, tuple[str, ...]]
    explicit: Dataset
    implicit: Dataset
    generic: tuple[str, ...]
    contexts: tuple[Context, ...]
    continuations: tuple[Continuation, ...]
    word_sets: WordSets

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """Word → token id."""
        words = [START, END, UNKNOWN, *FINAL_MARKS, QUOTE, *_fillers()]
        words += [word for emotion in CLASSES for word in (*answer_words(emotion), *self.cues[emotion])]
        return {word: i for i, word in enumerate(words)}

    def cue_contexts(self, emotion: str, split: str) -> list[Context]:
        """The neutral contexts of a split with a cue of the class put in the middle."""
        found = []
        for context, cue in zip((c for c in self.contexts if c.split == split), self.cues[emotion], strict=False):
            words = context.text.split()
            text = " ".join([*words[:2], cue, *words[2:]])
            found.append(Context(f"{context.id}-{emotion}", text, "opening", split))
        return found


def _fillers() -> tuple[str, ...]:
    return tuple(f"word_{k:02d}" for k in range(N_FILLERS))


def planted_bank(seed: int = 0) -> PlantedBank:
    """Draw a bank; the vocabulary is the same for every seed, the texts are not."""
    rng = np.random.default_rng([seed, 1])
    n_explicit, n_implicit = sum(EXPLICIT.values()), sum(IMPLICIT.values())
    cues = {emotion: tuple(f"{emotion}_{k:02d}" for k in range(n_explicit + n_implicit)) for emotion in CLASSES}
    explicit = _scenarios(rng, "explicit", EXPLICIT, {e: words[:n_explicit] for e, words in cues.items()}, marked=True)
    implicit = _scenarios(rng, "implicit", IMPLICIT, {e: words[n_explicit:] for e, words in cues.items()}, marked=False)
    contexts = tuple(
        Context(f"{split}-{k}", " ".join((*_some(rng, 5), QUOTE)), "opening", split)
        for split, n in CONTEXTS.items()
        for k in range(n)
    )
    return PlantedBank(
        cues,
        explicit,
        implicit,
        tuple(" ".join((*_some(rng, TEXT_WORDS[1]), ".")) for _ in range(N_GENERIC)),
        contexts,
        tuple(_continuations(rng)),
        WordSets(tuple(WordSet(e, "opening", answer_words(e)) for e in CLASSES)),
    )


def neutral_texts(n: int, seed: int) -> Dataset:
    """Texts of fillers only, no two alike, to fit maps between models on."""
    rng = np.random.default_rng([seed, 5])
    lines = [" ".join((*_some(rng, TEXT_WORDS[k % 3]), FINAL_MARKS[int(rng.integers(3))])) for k in range(n)]
    return Dataset(
        "neutral", tuple(Text(line, "neutral", f"neutral-{k}", "development") for k, line in enumerate(lines))
    )


def _some(rng: np.random.Generator, n: int) -> list[str]:
    return [str(word) for word in rng.choice(_fillers(), n, replace=False)]


def _scenarios(
    rng: np.random.Generator, name: str, splits: dict[str, int], cues: dict[str, tuple[str, ...]], *, marked: bool
) -> Dataset:
    """One text per class and scenario; within a scenario they differ in the cue only.

    Length, final mark and the cue's place (early, middle, late) change from scenario to scenario.
    """
    texts = []
    names = [split for split, n in splits.items() for _ in range(n)]
    for k, split in enumerate(names):
        fillers = _some(rng, TEXT_WORDS[k // 3 % 3] - 1)
        place = (1, len(fillers) // 2, len(fillers) - 1)[k % 3]
        mark = FINAL_MARKS[int(rng.integers(3))]
        before = " ".join(fillers[:place])
        for emotion in CLASSES:
            cue = cues[emotion][k]
            text = " ".join((before, cue, *fillers[place:], mark))
            span = (len(before) + 1, len(before) + 1 + len(cue)) if marked else None
            texts.append(Text(text, emotion, f"{name}-{k}", split, span))
    return Dataset(name, tuple(texts))


def _continuations(rng: np.random.Generator) -> list[Continuation]:
    found = []
    for split in CONTEXTS:
        for emotion in CLASSES:
            for k in range(2):
                own = rng.choice(answer_words(emotion), 2, replace=False)
                text = " ".join((*_some(rng, 2), own[0], *_some(rng, 2), own[1], "."))
                found.append(Continuation(f"{split}-{emotion}-{k}", emotion, text, (), split))
    return found
