"""What analyses need of an emotion, and what of it an emotion lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from emotion_circuits.prompts._bank import Bank
from emotion_circuits.prompts._classes import MIN_PAIRS, MIN_PAIRS_FOR_CLAIMS, EmotionClass
from emotion_circuits.prompts._schema import NEUTRAL, SLOTS

DIRECTIONS: Final = "directions and their quality"
CLAIMS: Final = "claims"
IMPLICIT_TEXTS: Final = "detection on implicit texts"
WORDS: Final = "steering, interchange, heads and circuits by their effect on words"
SHARED: Final = "comparison with other emotions in the same scenarios, and maps between models"
REAL_WORLD: Final = "detection on real-world texts"
MARKED: Final = "the position emotion_token"
UTTERANCES: Final = "likelihood of utterances"
REQUEST: Final = "text that a request asks for"
FOILS: Final = "foils"
INTENSITY: Final = "intensity"
COUNTING: Final = "counting its words in generated text"
ANALYSES: Final = (
    DIRECTIONS, CLAIMS, IMPLICIT_TEXTS, WORDS, SHARED, REAL_WORLD, MARKED, UTTERANCES, REQUEST, FOILS, INTENSITY,
    COUNTING,
)  # fmt: skip
"""What an emotion can be enough for."""


def lacking(bank: Bank, emotion: str) -> Mapping[str, str]:
    """Analysis → what the emotion lacks for it ("joy has no implicit texts"); nothing for those it is enough for.

    What depends on a model's tokenizer, as circuits' pairs of equally many tokens, shows when a study runs.
    """
    own = bank[emotion]
    pairs, found = own.counts["explicit"], {}
    if pairs < MIN_PAIRS:
        found[DIRECTIONS] = f"{emotion} has {pairs} pairs, and this needs {MIN_PAIRS}"
    if pairs < MIN_PAIRS_FOR_CLAIMS:
        found[CLAIMS] = f"{emotion} has {pairs} pairs, and claims need {MIN_PAIRS_FOR_CLAIMS}"
    implicit = Counter(t.split for t in own.implicit if t.emotion == emotion)
    if min(implicit["development"], implicit["test"]) < 2:
        few = f"only {implicit.total()} implicit texts" if implicit else "no implicit texts"
        found[IMPLICIT_TEXTS] = f"{emotion} has {few}"
    without = [slot for slot in SLOTS if not own.words.get(slot)]
    if without:
        found[WORDS] = f"{emotion} has no words for the slot {' and '.join(without)}"
    if not _shares_scenarios(bank, emotion):
        alone = len(bank.emotions) == 1
        found[SHARED] = f"{emotion} is the only emotion" if alone else f"{emotion} has scenarios of its own"
    if all(row.emotion != emotion for row in bank.real_world_rows()):
        found[REAL_WORLD] = f"{emotion} has no real-world texts"
    return found | _lacking_besides(own)


def _shares_scenarios(bank: Bank, emotion: str) -> bool:
    """Whether it stands in the scenarios that most emotions have."""
    sets = {own.name: frozenset(t.scenario for t in own.explicit) for own in bank.classes if own.name != NEUTRAL}
    alike = Counter(sets.values())
    return len(sets) > 1 and alike[sets[emotion]] == max(alike.values()) > 1


def _lacking_besides(own: EmotionClass) -> dict[str, str]:
    """Of what only descriptive tables need."""
    series = Counter(t.scenario for t in own.intensity)
    needs = {
        MARKED: (all(t.span for t in own.explicit), "pairs without [marked] words"),
        UTTERANCES: (bool(own.utterances), "no utterances"),
        REQUEST: (own.request is not None, "no request"),
        FOILS: (len(own.foils) > 1, "no foils"),
        INTENSITY: (len(series) > 1 and len(set(series.values())) == 1, "no two series of one length"),
        COUNTING: (bool(own.lexicon.patterns or own.words), "no words and no lexicon"),
    }
    return {analysis: f"{own.name} has {what}" for analysis, (enough, what) in needs.items() if not enough}
