"""The same model in other coordinates: its residual stream turned, its words renumbered, its behaviour unchanged.

What maps between models must find is then known exactly: the turn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, stats

from emotion_circuits.selftest._bank import END, START, UNKNOWN
from emotion_circuits.selftest._blueprint import Blueprint, FloatArray, Layer

SPECIAL = (START, END, UNKNOWN)


@dataclass(frozen=True, eq=False)
class Coordinates:
    """A system of coordinates.

    Attributes:
        turn: (d, d) orthogonal; h becomes turn · h. It leaves the all-ones direction where it is, so that norms that
            subtract the mean commute with it as well as those that do not.
        number: (words,) word i becomes word number[i]; the special ones stay.
    """

    turn: FloatArray
    number: NDArray[np.intp]

    @classmethod
    def drawn(cls, d_model: int, n_words: int, seed: int) -> Coordinates:
        """Uniformly random ones."""
        rng = np.random.default_rng([seed, 4])
        ones = np.full((1, d_model), 1 / np.sqrt(d_model))
        rest = linalg.null_space(ones)
        turn = ones.T @ ones + rest @ stats.ortho_group.rvs(d_model - 1, random_state=rng) @ rest.T
        first = len(SPECIAL)
        return cls(turn, np.concatenate([np.arange(first), first + rng.permutation(n_words - first)]))

    def of_words(self, vocabulary: dict[str, int]) -> dict[str, int]:
        """Word → new token id."""
        return {word: int(self.number[i]) for word, i in vocabulary.items()}

    def of_model(self, blueprint: Blueprint) -> Blueprint:
        """What reads from the stream turns back first, what writes to it turns afterwards; facts turn too."""
        turn, old = self.turn, np.argsort(self.number)

        def turned(layer: Layer) -> Layer:
            return replace(
                layer,
                query=layer.query @ turn.T,
                key=layer.key @ turn.T,
                value=layer.value @ turn.T,
                out=turn @ layer.out,
                up=layer.up @ turn.T,
                down=turn @ layer.down,
            )

        directions = {emotion: turn @ vector for emotion, vector in blueprint.facts.directions.items()}
        return Blueprint(
            embedding=blueprint.embedding[old] @ turn.T,
            positions=blueprint.positions @ turn.T,
            layers=tuple(turned(layer) for layer in blueprint.layers),
            lm_head=blueprint.lm_head[old] @ turn.T,
            facts=replace(blueprint.facts, directions=directions),
        )
