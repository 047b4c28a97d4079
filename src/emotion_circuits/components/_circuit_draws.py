"""A circuit's whole curve beside random ones: CPR tested with as many draws as it takes, and no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from emotion_circuits.components._ablate import GenericValues
from emotion_circuits.components._circuits import circuit_gaps, joined_circuits, matched_circuits
from emotion_circuits.components._faithfulness import Faithfulness, FloatArray
from emotion_circuits.components._outcomes import Outcome
from emotion_circuits.engine import DEFAULT_BATCH_TOKENS
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.statistics import SequentialResult, sequential_p

DRAWN_AT_ONCE = 10
MOST_DRAWS = 999
WITH_ALL_PAIRS = 20
"""Draws that run all pairs: they are what a gain over random circuits is measured with, pair by pair."""
EXCEEDING = 10
"""Random circuits at least as good as the claimed one after which no more are drawn (Besag and Clifford 1991)."""


class DrawnCurves(NamedTuple):
    """A circuit's curves with the random ones that its test drew.

    Attributes:
        found: the curves; `random` holds the draws.
        beyond: p of CPR, one-sided, and how many draws it took; None where nothing was tested.
    """

    found: Faithfulness
    beyond: SequentialResult | None


def draw_until_clear(
    lm: LoadedModel,
    outcome: Outcome,
    found: Faithfulness,
    means: GenericValues,
    *,
    few: Outcome | None = None,
    most_draws: int = MOST_DRAWS,
    exceeding: int = EXCEEDING,
    seed: int = 0,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    on_circuits: Callable[[int], None] | None = None,
) -> DrawnCurves:
    """Test CPR against random circuits matched for layer and kind, nested in each draw, at the sizes of
    `found.areas_over`; stop as soon as it is plainly not significant (Besag and Clifford 1991).

    Args:
        lm, outcome, means: as `found` was made with.
        few: the outcome on the first of these pairs, which the circuit is tested on: how much random circuits differ
            from each other counts more than how many pairs each is measured on. All pairs by default, and where the
            whole model's difference is not clear on these. The first draws run all pairs in any case.
        found: curves; random circuits that it holds are replaced.
        most_draws: draws at most; p cannot fall below 1/(most_draws + 1).
        exceeding: draws with at least this CPR after which no more are made.
        seed: draw k has a seed of its own, so that batches change nothing.
        batch_tokens, on_circuits: as for `circuit_gaps`.

    Raises:
        InputError: another outcome than that of `found`, no draws.
    """
    found.check_outcome(outcome)
    if most_draws < 1 or exceeding < 1:
        raise InputError("So many circuits cannot be drawn.", found=f"{most_draws}, {exceeding}")
    none = replace(found, random=np.zeros((0, *found.kept.shape)))
    if not found.tested:
        return DrawnCurves(none, None)
    # With everything kept any circuit is the whole model: nothing to run.
    whole = [i for i in found.areas_over if found.sizes[i] == 1]
    at = [i for i in found.areas_over if i not in whole]
    claimed = found.circuits.rows(at)
    n_pairs = found.whole.size
    among = np.arange(n_pairs) < (n_pairs if few is None else len(few.pairs))
    if few is None or not replace(none, whole=found.whole[among], empty=found.empty[among]).tested:
        few, among = outcome, np.full(n_pairs, True)
    seen: list[FloatArray] = []

    def run(numbers: range, on: Outcome) -> None:
        if not numbers:
            return
        drawn = joined_circuits([matched_circuits(claimed, 1, (seed, 8, k)) for k in numbers])
        gaps = circuit_gaps(lm, on, drawn, means, batch_tokens=batch_tokens, on_circuits=on_circuits)
        curves = np.full((len(numbers), *found.kept.shape), np.nan)
        curves[:, at, : len(on.pairs)] = gaps.reshape(len(numbers), len(claimed), -1)
        curves[:, whole, : len(on.pairs)] = found.kept[whole, : len(on.pairs)]
        seen.append(curves)

    def draw(first: int, count: int) -> FloatArray:
        before, end = len(seen), first + count
        run(range(first, min(end, WITH_ALL_PAIRS)), outcome)
        run(range(max(first, WITH_ALL_PAIRS), end), few)
        return found.area(found.share(np.concatenate(seen[before:]), among))

    observed = float(found.area(found.share(found.kept, among)))
    beyond = sequential_p(observed, draw, most_draws, stop_after=exceeding, batch=DRAWN_AT_ONCE)
    return DrawnCurves(replace(found, random=np.concatenate(seen)[: beyond.n_drawn]), beyond)
