from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch

from emotion_circuits import prompts
from emotion_circuits.components import PairSet, WordSetOutcome, matched_pairs
from emotion_circuits.models import LoadedModel

N_PAIRS = 4


@pytest.fixture(scope="session", autouse=True)
def one_core() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Case(NamedTuple):
    """A tiny model with a few pairs and the primary outcome."""

    lm: LoadedModel
    pairs: PairSet
    outcome: WordSetOutcome


def few(pairs: PairSet, n: int = N_PAIRS) -> PairSet:
    return replace(pairs, pairs=pairs.pairs[:n])


CASES: dict[str, Case] = {}
"""By model: a parametrised fixture is made again in every file."""


@pytest.fixture(scope="session")
def case(lm: LoadedModel) -> Case:
    """Every family in turn."""
    name = str(lm.name)
    if name not in CASES:
        pairs = few(matched_pairs(lm, prompts.bank().profile("baseline"), "anger"))
        CASES[name] = Case(lm, pairs, WordSetOutcome(lm, pairs, prompts.bank().word_sets()))
    return CASES[name]
