"""Draws over scenarios as arrays: what is counted how often, and which text plays which class.

An estimator gives one basis per draw, and the observed data are a draw like any other: bootstrap, label permutations,
split halves and the value itself run through the same code.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from emotion_circuits.errors import InputError
from emotion_circuits.statistics import permute_within_groups

from ._inputs import FloatArray, IntArray, ScenarioTable, Seed, batches, generator


class Draws(NamedTuple):
    """B draws over a table of G scenarios and C classes.

    `weights` (B, G): how often each scenario counts. `players` (B, G, C): which cell of the scenario plays each class;
    None where every class plays itself.
    """

    weights: FloatArray
    players: IntArray | None = None

    def parts(self, values_per_draw: int) -> Iterator[Draws]:
        """The draws in batches that bound memory."""
        for some in batches(len(self.weights), values_per_draw):
            yield Draws(self.weights[some], None if self.players is None else self.players[some])

    @property
    def same_weights(self) -> bool:
        """Whether all draws weigh the scenarios alike."""
        return bool((self.weights == self.weights[:1]).all())


def observed(table: ScenarioTable) -> Draws:
    """The data as they are: one draw."""
    return Draws(np.ones((1, table.n_scenarios)))


def label_permutations(table: ScenarioTable, n_draws: int, seed: Seed) -> Draws:
    """Classes shuffled within each scenario."""
    n_groups, n_classes = table.n_scenarios, table.n_classes
    classes = np.tile(np.arange(n_classes), n_groups)
    scenarios = np.repeat(np.arange(n_groups), n_classes)
    players = permute_within_groups(classes, scenarios, n_draws, seed)
    return Draws(np.ones((n_draws, n_groups)), players.reshape(n_draws, n_groups, n_classes))


def halves(table: ScenarioTable, n_splits: int, seed: Seed) -> tuple[Draws, Draws]:
    """Random halves of the scenarios, first and second."""
    n_groups = table.n_scenarios
    if n_splits < 1 or n_groups < 4:
        raise InputError("Splitting needs four scenarios and a split.", found=f"{n_groups} and {n_splits}")
    ranks = np.argsort(generator(seed).random((n_splits, n_groups)), axis=1)
    first = (ranks < n_groups // 2).astype(np.float64)
    return Draws(first), Draws(1.0 - first)


def class_means(table: ScenarioTable, draws: Draws) -> FloatArray:
    """(B, C, d) mean of every class under every draw, as one matrix product."""
    n_groups, n_classes, width = table.cells.shape
    totals = draws.weights.sum(axis=1)[:, None, None]
    if draws.players is None:
        sums = draws.weights @ table.cells.reshape(n_groups, -1)
        result: FloatArray = sums.reshape(-1, n_classes, width) / totals
        return result
    # coefficient[b, c, cell] is how often a cell of the table plays class c in draw b
    coefficients = np.zeros((len(draws.weights), n_classes, n_groups * n_classes))
    cells = np.arange(n_groups)[None, :, None] * n_classes + draws.players
    np.put_along_axis(
        coefficients,
        cells.transpose(0, 2, 1),
        np.broadcast_to(draws.weights[:, None, :], cells.transpose(0, 2, 1).shape),
        axis=2,
    )
    means: FloatArray = coefficients @ table.cells.reshape(-1, width) / totals
    return means


def played_cells(cells: FloatArray, draws: Draws) -> FloatArray:
    """(B, G, C, r) the cells (G, C, r) with every class played as in the draws; (1, G, C, r) without players."""
    if draws.players is None:
        return cells[None]
    played: FloatArray = cells[np.arange(len(cells))[None, :, None], draws.players]
    return played
