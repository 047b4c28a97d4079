"""Texts: the bundled bank, users' own data sets, and whether they are fit for comparing emotions.

from emotion_circuits import prompts

texts = prompts.profile("baseline")          # 70 scenarios × 4 classes
texts.select("gratitude", "test")            # a smaller Dataset
prompts.validate(texts).table()              # every number beside its chance level
"""

from emotion_circuits.prompts._bank import (
    PROFILES,
    bank_hash,
    contexts,
    continuations,
    foils,
    generic,
    generic_sample,
    implicit,
    intensity,
    intensity_series,
    profile,
    real_world,
    word_sets,
)
from emotion_circuits.prompts._build import build
from emotion_circuits.prompts._files import Row, read_rows
from emotion_circuits.prompts._lexicon import LEXICON, EmotionWord, emotion_words
from emotion_circuits.prompts._marks import Span, Unmarked, mark, unmark
from emotion_circuits.prompts._read import read_dataset
from emotion_circuits.prompts._schema import (
    BRIDGE,
    CLASSES,
    EMOTIONS,
    SLOTS,
    SPLITS,
    Context,
    Continuation,
    Dataset,
    GenericText,
    IntensityText,
    Slot,
    Text,
    WordSet,
    WordSets,
)
from emotion_circuits.prompts._validate import Finding, Measure, ValidationReport, validate

__all__ = [
    "BRIDGE",
    "CLASSES",
    "EMOTIONS",
    "LEXICON",
    "PROFILES",
    "SLOTS",
    "SPLITS",
    "Context",
    "Continuation",
    "Dataset",
    "EmotionWord",
    "Finding",
    "GenericText",
    "IntensityText",
    "Measure",
    "Row",
    "Slot",
    "Span",
    "Text",
    "Unmarked",
    "ValidationReport",
    "WordSet",
    "WordSets",
    "bank_hash",
    "build",
    "contexts",
    "continuations",
    "emotion_words",
    "foils",
    "generic",
    "generic_sample",
    "implicit",
    "intensity",
    "intensity_series",
    "mark",
    "profile",
    "read_dataset",
    "read_rows",
    "real_world",
    "unmark",
    "validate",
    "word_sets",
]
