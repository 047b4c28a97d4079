"""Texts: the bundled bank, users' own data sets, and whether they are fit for comparing emotions.

from emotion_circuits import prompts

texts = prompts.bank().profile("baseline")   # 70 scenarios × neutral and the default emotions
texts.select("gratitude", "test")            # a smaller Dataset
prompts.bank(["joy", "mine.yaml"])           # other emotions, one's own among them
prompts.validate(texts).table()              # every number beside its chance level
"""

from emotion_circuits.prompts._bank import (
    OWN_SUFFIXES,
    PROFILES,
    Bank,
    bank,
    bundled_emotions,
    contexts,
    generic,
    generic_sample,
    kept_bank,
    ordinary,
    write_bank,
)
from emotion_circuits.prompts._build import build
from emotion_circuits.prompts._classes import EmotionClass
from emotion_circuits.prompts._files import Row, read_rows
from emotion_circuits.prompts._labelled import GO_EMOTIONS, LabelledTexts, read_labelled
from emotion_circuits.prompts._languages import LanguageTexts, language_texts, languages
from emotion_circuits.prompts._lexicon import EmotionWord, Lexicon, emotion_words
from emotion_circuits.prompts._marks import Span, Unmarked, mark, unmark
from emotion_circuits.prompts._needs import ANALYSES, CLAIMS, DIRECTIONS, IMPLICIT_TEXTS, SHARED, WORDS, lacking
from emotion_circuits.prompts._read import read_dataset
from emotion_circuits.prompts._schema import (
    BRIDGE,
    NEUTRAL,
    SLOTS,
    SPLITS,
    Context,
    Continuation,
    Dataset,
    GenericText,
    Slot,
    Text,
    WordSet,
    WordSets,
    neutral_first,
)
from emotion_circuits.prompts._validate import Finding, Measure, ValidationReport, validate

__all__ = [
    "ANALYSES",
    "BRIDGE",
    "CLAIMS",
    "DIRECTIONS",
    "GO_EMOTIONS",
    "IMPLICIT_TEXTS",
    "NEUTRAL",
    "OWN_SUFFIXES",
    "PROFILES",
    "SHARED",
    "SLOTS",
    "SPLITS",
    "WORDS",
    "Bank",
    "Context",
    "Continuation",
    "Dataset",
    "EmotionClass",
    "EmotionWord",
    "Finding",
    "GenericText",
    "LabelledTexts",
    "LanguageTexts",
    "Lexicon",
    "Measure",
    "Row",
    "Slot",
    "Span",
    "Text",
    "Unmarked",
    "ValidationReport",
    "WordSet",
    "WordSets",
    "bank",
    "build",
    "bundled_emotions",
    "contexts",
    "emotion_words",
    "generic",
    "generic_sample",
    "kept_bank",
    "lacking",
    "language_texts",
    "languages",
    "mark",
    "neutral_first",
    "ordinary",
    "read_dataset",
    "read_labelled",
    "read_rows",
    "unmark",
    "validate",
    "write_bank",
]
