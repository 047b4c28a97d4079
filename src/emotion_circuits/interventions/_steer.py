"""Steering: add doses of directions to the residual stream and read what the model would say.

All doses, emotions and controls of a layer are variants of one clean run; only the blocks after the layer run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emotion_circuits.engine import (
    DEFAULT_BATCH_TOKENS,
    Batch,
    CleanPrefix,
    Point,
    PrefixReplay,
    Pushes,
    SuffixReplay,
    logits_of,
    n_variants,
    record_tokens,
)
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.scoring import ContinuationTask, SlotTask

FloatArray = NDArray[np.float64]
Where = Literal["all", "last"]
"""Which tokens are changed: all of a text but its first, or the context's last one and what is said after it."""


def check_doses(doses: Sequence[float]) -> tuple[float, ...]:
    """The doses, if they can be used.

    Raises:
        InputError: none, or one that is not a finite number.
    """
    if not doses:
        raise InputError("No doses were given.", accepted="one or more numbers, such as -.2 .2")
    for dose in doses:
        if not np.isfinite(dose):
            raise InputError("A dose is not a finite number.", found=dose, accepted="numbers such as -.2 .2")
    return tuple(float(d) for d in doses)


def slot_outcomes(
    lm: LoadedModel,
    task: SlotTask,
    at: Sequence[Pushes],
    *,
    where: Where = "all",
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    on_variants: Callable[[int], None] | None = None,
) -> list[FloatArray]:
    """Word-set log-odds under every variant: per set of variants an array (variants, contexts, classes), in nats.

    Args:
        lm: the model.
        task: contexts and the words that count.
        at: sets of variants, each with its layers; only the blocks after a set's first layer run again.
        where: `last` changes a context's last token only; what is before it is then read from kept keys and values.
        batch_tokens: size of a forward pass.
        on_variants: called with the number of variants after each forward pass.
    """
    tokens = torch.tensor(task.tokens, device=lm.device)
    run = _Run(lm, tokens, batch_tokens, on_variants)
    batches = task.batches if where == "all" else task.plain_batches()
    return run.outcomes(
        batches, len(task.contexts), len(task.classes), at, Batch.last, task.score, last=where == "last"
    )


def continuation_outcomes(
    lm: LoadedModel,
    task: ContinuationTask,
    at: Sequence[Pushes],
    *,
    where: Where = "all",
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    on_variants: Callable[[int], None] | None = None,
) -> list[FloatArray]:
    """Mean log probability per scored token under every variant: per set (variants, contexts, continuations)."""

    def score(batch: Batch, logits: Tensor) -> Tensor:
        return task.score(batch, logits).unsqueeze(-1)

    run = _Run(lm, None, batch_tokens, on_variants)
    only = None if where == "all" else task.spoken
    found = run.outcomes(task.batches, len(task.ids), 1, at, task.read, score, only=only)
    return [array.reshape(len(array), len(task.contexts), len(task.continuations)) for array in found]


class _Run(NamedTuple):
    """How outcomes are computed: `tokens` are the only ones whose logits count, None for all."""

    lm: LoadedModel
    tokens: Tensor | None
    batch_tokens: int
    on_variants: Callable[[int], None] | None

    def outcomes(
        self,
        batches: Sequence[Batch],
        n_texts: int,
        n_values: int,
        at: Sequence[Pushes],
        read: Callable[[Batch], Sequence[int]],
        score: Callable[[Batch, Tensor], Tensor],
        *,
        last: bool = False,
        only: Callable[[Batch], Sequence[int]] | None = None,
    ) -> list[FloatArray]:
        """Per set of variants (variants, texts, values); with changes at each text's last token, or at `only` these."""
        results = [np.full((n_variants(pushes), n_texts, n_values), np.nan) for pushes in at]
        for batch in batches:
            firsts = [min(pushes) for pushes in at]
            points = {layer: Point("resid_post", layer) for layer in sorted(set(firsts))}
            clean = record_tokens(self.lm, batch, list(points.values()))
            wanted = read(batch)
            prefix = CleanPrefix(self.lm, batch, batch.shape[1] - 1) if last else None
            chosen = only(batch) if only else None
            for first, pushes, result in zip(firsts, at, results, strict=True):
                states = clean[points[first]]
                replay = (
                    PrefixReplay(self.lm, batch, first, states, chosen)
                    if prefix is None
                    else SuffixReplay(prefix, first, states)
                )
                later = {layer: push for layer, push in pushes.items() if layer != first}
                for rows, final in replay.variants(pushes[first], wanted, self.batch_tokens, later):
                    with torch.no_grad():
                        scored = score(batch, logits_of(self.lm, final, self.tokens))
                    result[rows, list(batch.texts)] = scored.double().cpu().numpy()
                    if self.on_variants:
                        self.on_variants(len(final))
        return results
