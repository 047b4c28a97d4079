"""Steering: add doses of directions to the residual stream and read what the model would say.

All doses, emotions and controls of a layer are variants of one clean run; only the blocks after the layer run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from emotion_circuits.engine import DEFAULT_BATCH_TOKENS, Batch, Point, PrefixReplay, logits_of, record_tokens
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.scoring import ContinuationTask, SlotTask

FloatArray = NDArray[np.float64]


class LayerDeltas(NamedTuple):
    """What is added at a layer: `deltas` (variants, d), in the residual stream's own units."""

    layer: int
    deltas: Tensor


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


def dosed(unit: ArrayLike, scale: float, doses: Sequence[float]) -> Tensor:
    """dose · scale · v̂ for directions (n, d) or (d,) and each dose; (n · doses, d), doses fastest."""
    units = np.atleast_2d(np.asarray(unit, dtype=np.float64))
    steps = np.asarray(check_doses(doses)) * scale
    return torch.from_numpy((units[:, None, :] * steps[None, :, None]).reshape(-1, units.shape[1]))


def slot_outcomes(
    lm: LoadedModel,
    task: SlotTask,
    at: Sequence[LayerDeltas],
    *,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    on_variants: Callable[[int], None] | None = None,
) -> list[FloatArray]:
    """Word-set log-odds under every variant: per layer an array (variants, contexts, classes), in nats."""

    def read(batch: Batch) -> Sequence[int]:
        return batch.last()

    return _outcomes(lm, task.batches, len(task.contexts), 4, at, read, task.score, batch_tokens, on_variants)


def continuation_outcomes(
    lm: LoadedModel,
    task: ContinuationTask,
    at: Sequence[LayerDeltas],
    *,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    on_variants: Callable[[int], None] | None = None,
) -> list[FloatArray]:
    """Mean log probability per scored token under every variant: per layer (variants, contexts, continuations)."""
    n_pairs = len(task.ids)
    found = _outcomes(
        lm,
        task.batches,
        n_pairs,
        1,
        at,
        task.read,
        lambda batch, logits: task.score(batch, logits).unsqueeze(-1),
        batch_tokens,
        on_variants,
    )
    return [array.reshape(len(array), len(task.contexts), len(task.continuations)) for array in found]


def _outcomes(
    lm: LoadedModel,
    batches: Sequence[Batch],
    n_texts: int,
    n_values: int,
    at: Sequence[LayerDeltas],
    read: Callable[[Batch], Sequence[int]],
    score: Callable[[Batch, Tensor], Tensor],
    batch_tokens: int,
    on_variants: Callable[[int], None] | None,
) -> list[FloatArray]:
    results = [np.full((len(part.deltas), n_texts, n_values), np.nan) for part in at]
    for batch in batches:
        points = [Point("resid_post", layer) for layer in sorted({part.layer for part in at})]
        clean = record_tokens(lm, batch, points)
        tokens = read(batch)
        for part, result in zip(at, results, strict=True):
            replay = PrefixReplay(lm, batch, part.layer, clean[Point("resid_post", part.layer)])
            for chosen, states in replay.variants(part.deltas, tokens, batch_tokens):
                with torch.no_grad():
                    scored = score(batch, logits_of(lm, states))
                result[chosen, list(batch.texts)] = scored.double().cpu().numpy()
                if on_variants:
                    on_variants(len(states))
    return results
