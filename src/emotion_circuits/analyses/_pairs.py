"""Pairs of prompts and what is read from them, for analyses of components."""

from __future__ import annotations

from collections.abc import Iterator

from emotion_circuits import prompts
from emotion_circuits.analyses._work import Workshop, one_line
from emotion_circuits.components import (
    PairSet,
    WordSetOutcome,
    matched_pairs,
    ranking_and_judging,
)
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.scoring import where_told

ALL_PAIRS = 1000
"""More than there are."""
PAIRS_PROFILE = "extended"
"""Whatever the profile of directions: pairs are of equal length in tokens, so that not every scenario has one."""


def outcome_on(work: Workshop, lm: LoadedModel, pairs: PairSet) -> WordSetOutcome:
    """What effects are read by: the words of the classes that this model's tokens tell apart.

    Raises:
        InputError: the pairs' emotion has no words, or none that is told from the others'.
    """
    why = prompts.lacking(work.bank, pairs.emotion).get(prompts.WORDS)
    if why is not None:
        raise InputError(why)
    return where_told(lambda words: WordSetOutcome(lm, pairs, words), work.bank.word_sets(), pairs.emotion)[0]


def pairs_of_emotions(
    work: Workshop, name: str, lm: LoadedModel, what: str, most: int, left_out: dict[str, str] | None = None
) -> Iterator[tuple[PairSet, PairSet]]:
    """Pairs that rank and pairs that judge, at most so many of each, of every emotion that has words, and enough pairs
    under this tokenizer; `left_out` takes the reasons of the others."""
    texts = work.bank.profile(PAIRS_PROFILE)
    for emotion in work.bank.emotions:
        try:
            ranking, judging = (part.at_most(most) for part in ranking_and_judging(matched_pairs(lm, texts, emotion)))
            for part in (ranking, judging):
                outcome_on(work, lm, part)
        except InputError as error:  # a tokenizer under which hardly any two texts are equally long
            if left_out is not None:
                left_out[emotion] = one_line(error)
            work.tell(f"{name}: no {what} of {emotion}: {one_line(error)}")
            continue
        yield ranking, judging
