"""Exact effects: put the paired prompt's values into one component at a time, and run what comes after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emotion_circuits.components._components import SITE_OF, Component, check_components
from emotion_circuits.components._outcomes import Outcome, SideBySide
from emotion_circuits.components._runs import edits_for, observe
from emotion_circuits.engine import DEFAULT_BATCH_TOKENS, Batch, Edit, Point, TailBatch, in_chunks, run_from
from emotion_circuits.models import LoadedModel

FloatArray = NDArray[np.float64]


class ExactEffects(NamedTuple):
    """Measured effects.

    Attributes:
        components: in the order of the columns.
        effects: (pairs, components) m(a) − m(a with the component's values of b).
        m_a, m_b: (pairs,) the outcome of both clean runs.
    """

    components: tuple[Component, ...]
    effects: FloatArray
    m_a: FloatArray
    m_b: FloatArray

    def of(self, components: Sequence[Component]) -> ExactEffects | None:
        """Those of some of the components; None for none."""
        at = [self.components.index(component) for component in components]
        return ExactEffects(tuple(components), self.effects[:, at], self.m_a, self.m_b) if at else None


def exact_effects(
    lm: LoadedModel,
    outcome: Outcome,
    components: Sequence[Component],
    *,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    on_patched: Callable[[int], None] | None = None,
) -> ExactEffects:
    """The effect of each component alone, by patching.

    Nothing before a component's layer runs again, nor do the tokens before a pair's first difference; many components
    of a layer go side by side, and logits are computed where the outcome reads them only.

    Args:
        lm: the model.
        outcome: what is measured.
        components: heads and units.
        batch_tokens: tokens in one forward pass.
        on_patched: called with how many components of a batch of texts were done.

    Raises:
        InputError: a component that the model lacks.
    """
    check_components(lm, components)
    reached = outcome.layers(lm)
    order = sorted((c for c in components if c.layer in reached), key=lambda c: (c.layer, c.kind, c.number))
    column = {component: i for i, component in enumerate(components)}
    changed = np.zeros((len(outcome.ids_a), len(components)))
    clean = np.zeros((2, len(outcome.ids_a)))
    values = [Point(SITE_OF[kind], layer) for kind, layer in sorted({(c.kind, c.layer) for c in order})]
    entering = [Point("resid_pre", layer) for layer in sorted({c.layer for c in order})]

    def run(sides: SideBySide, report: Callable[[int], None] | None) -> None:
        texts = list(sides.a.texts)
        a, b = observe(lm, outcome, sides.a, entering), observe(lm, outcome, sides.b, values)
        clean[0, texts], clean[1, texts] = a.scores.double().cpu().numpy(), b.scores.double().cpu().numpy()
        for layer, members in groupby(order, key=lambda c: c.layer):
            group = [(component,) for component in members]
            for first, scores in patched_scores(
                lm, outcome, sides, group, b.values, a.values[Point("resid_pre", layer)], batch_tokens
            ):
                for i, row in enumerate(scores.double().cpu().numpy()):
                    changed[texts, column[group[first + i][0]]] = clean[0, texts] - row
                if report:
                    report(len(scores))

    for batch in outcome.batches(lm, batch_tokens):
        *others, last = outcome.from_first_difference(lm, batch, copies=-(-len(order) // max(1, len(entering))))
        for part in others:
            run(part, None)
        # A component counts as done for a batch once all parts of the batch are.
        run(last, on_patched)
    return ExactEffects(
        tuple(components), outcome.per_pair(changed), outcome.per_pair(clean[0]), outcome.per_pair(clean[1])
    )


def patched_scores(
    lm: LoadedModel,
    outcome: Outcome,
    sides: SideBySide,
    sets: Sequence[Sequence[Component]],
    values: dict[Point, Tensor],
    entering: Tensor,
    batch_tokens: int,
) -> list[tuple[int, Tensor]]:
    """Scores of the texts of `sides.a` with each set's components replaced: (first set, (sets of a chunk, texts)).

    Args:
        sides: whole texts, or their tokens from the first difference on.
        sets: all begin in the same layer.
        values: point → what is put there, broadcastable to (sets, rows, tokens, width).
        entering: (rows, tokens, d) what enters the first layer of the sets.
    """

    def run(chosen: slice) -> Tensor:
        chunk = sets[chosen]
        layer, edits = edits_for(lm, chunk, values)
        return _run(lm, outcome, sides.a, layer, entering, edits, len(chunk))

    chunks = in_chunks(run, len(sets), batch_tokens, sides.a.footprint)
    return [(chosen.start, scores) for chosen, scores in chunks]


def _run(
    lm: LoadedModel, outcome: Outcome, batch: Batch, layer: int, entering: Tensor, edits: list[Edit], copies: int
) -> Tensor:
    whole = outcome.reads(batch.whole if isinstance(batch, TailBatch) else batch)
    tokens = batch.of_whole(whole) if isinstance(batch, TailBatch) and whole is not None else whole
    states = run_from(lm, batch, layer, entering, edits, copies=copies, read=outcome.read, tokens=tokens)
    with torch.no_grad():
        return outcome.scores(lm, batch, states)
