from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import pytest

from emotion_circuits import prompts
from emotion_circuits.components import PairSet, WordSetOutcome, matched_pairs
from emotion_circuits.models import LoadedModel

N_PAIRS = 4


class Case(NamedTuple):
    """A tiny model with a few pairs and the primary outcome."""

    lm: LoadedModel
    pairs: PairSet
    outcome: WordSetOutcome

    def of(self, n: int) -> Case:
        """With fewer pairs."""
        pairs = few(self.pairs, n)
        return Case(self.lm, pairs, WordSetOutcome(self.lm, pairs, prompts.bank().word_sets()))


def few(pairs: PairSet, n: int = N_PAIRS) -> PairSet:
    return replace(pairs, pairs=pairs.pairs[:n])


@pytest.fixture(scope="session")
def case_of() -> Callable[[LoadedModel], Case]:
    """Made once for each model: a parametrised fixture is made again in every file."""
    made: dict[str, Case] = {}

    def case(lm: LoadedModel) -> Case:
        name = str(lm.name)
        if name not in made:
            pairs = few(matched_pairs(lm, prompts.bank().profile("baseline"), "anger"))
            made[name] = Case(lm, pairs, WordSetOutcome(lm, pairs, prompts.bank().word_sets()))
        return made[name]

    return case


@pytest.fixture(scope="session")
def case(lm: LoadedModel, case_of: Callable[[LoadedModel], Case]) -> Case:
    """Every family in turn."""
    return case_of(lm)


@pytest.fixture(scope="session")
def contrast(contrasting: LoadedModel, case_of: Callable[[LoadedModel], Case]) -> Case:
    """Two families that differ the most, for what does not depend on the family."""
    return case_of(contrasting)
