"""Record what a model computes, at chosen points and positions and no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emotion_circuits.engine._batches import DEFAULT_BATCH_TOKENS, Batch, plan_batches
from emotion_circuits.engine._run import forward, hooks, only_blocks
from emotion_circuits.engine._sites import Point, Touch, check_point, width
from emotion_circuits.errors import EmotionCircuitsError, InputError
from emotion_circuits.models import LoadedModel

Positions = Mapping[str, Sequence[Sequence[int]]]
"""Name of a position → for each text the token indices whose mean is taken (one index: that token itself)."""


@dataclass(frozen=True)
class Recording:
    """Activations of texts.

    Attributes:
        values: point → tensor of shape (positions, texts, width), float32 (or the run's dtype) on the CPU; NaN where a
            text has no such position.
        positions: names along the first axis.
        n_forward_tokens: tokens that went through the model.
    """

    values: Mapping[Point, Tensor]
    positions: tuple[str, ...]
    n_forward_tokens: int

    def at(self, position: str, point: Point) -> Tensor:
        """(texts, width) at one position and point."""
        return self.values[point][self.positions.index(position)]


def for_each_batch(batches: Sequence[Batch], run: Callable[[Batch], None]) -> None:
    """Call `run` for each batch; when an accelerator runs out of memory, halve the batch and go on."""
    todo = list(reversed(batches))
    while todo:
        batch = todo.pop()
        try:
            run(batch)
        except torch.OutOfMemoryError as error:
            if len(batch.texts) == 1:
                raise EmotionCircuitsError(
                    "Out of memory with a single text in the batch.",
                    found=f"{batch.shape[1]} tokens",
                    next_step="use --device cpu, --dtype bfloat16 or shorter texts",
                ) from error
            torch.cuda.empty_cache()
            todo.extend(reversed(batch.halves()))


def _layers_needed(points: Sequence[Point]) -> int:
    """How many blocks must run so that every point is seen."""
    if not points:
        raise InputError("No points were given to record.")
    return max((0 if site in ("embed", "resid_pre") else 1) + layer for site, layer in points)


def _check_positions(positions: Positions, ids: Sequence[Sequence[int]]) -> None:
    if not positions:
        raise InputError("No positions were given to record at.")
    for name, chosen in positions.items():
        if len(chosen) != len(ids):
            raise InputError(f"Position {name!r} is given for {len(chosen)} texts.", accepted=f"{len(ids)} texts")
        for text, (indices, tokens) in enumerate(zip(chosen, ids, strict=True)):
            if any(not 0 <= index < len(tokens) for index in indices):
                raise InputError(
                    f"Position {name!r} of text {text} lies outside its tokens.",
                    found=list(indices),
                    accepted=f"0 to {len(tokens) - 1}",
                )


def record(
    lm: LoadedModel,
    ids: Sequence[Sequence[int]],
    positions: Positions,
    points: Sequence[Point],
    *,
    packed: bool | None = None,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    on_batch: Callable[[int], None] | None = None,
) -> Recording:
    """Record points at positions for many texts.

    The LM head is not run, nor are blocks after the last one read; positions are gathered before anything leaves the
    device, so memory is bounded by a batch.

    Args:
        lm: the model.
        ids: token ids of each text.
        positions: which tokens of each text; several indices are averaged, none gives NaN.
        points: what to read.
        packed: several texts to a row; None leaves it to what was proven for this model.
        batch_tokens: size of a forward pass.
        on_batch: called with the number of texts done after each batch.

    Raises:
        InputError: no points or positions, a point the model lacks, a position outside its text, a text without tokens.
    """
    for point in points:
        check_point(lm, point)
    _check_positions(positions, ids)
    names = tuple(positions)
    values = {
        point: torch.full((len(names), len(ids), width(lm, point.site)), torch.nan, dtype=lm.dtype) for point in points
    }
    stop = _layers_needed(points)
    batches = plan_batches(ids, packed=lm.packing if packed is None else packed, batch_tokens=batch_tokens)
    done = 0

    def run(batch: Batch) -> None:
        nonlocal done
        index, counts = _gather_plan(batch, [positions[name] for name in names])
        index_d, counts_d = torch.from_numpy(index).to(lm.device), torch.from_numpy(counts).to(lm.device)
        gathered: dict[Point, Tensor] = {}

        def reader(point: Point) -> Touch:
            def read(hidden: Tensor) -> None:
                gathered[point] = _pool(hidden, index_d, counts_d)

            return read

        with torch.inference_mode(), hooks(lm, {p: reader(p) for p in points}), only_blocks(lm, stop=stop):
            forward(lm, **batch.inputs(lm))
        texts = torch.tensor(batch.texts)
        for point, pooled in gathered.items():
            values[point][:, texts] = pooled.view(len(names), len(batch.texts), -1).cpu()
        done += len(batch.texts)
        if on_batch:
            on_batch(done)

    for_each_batch(batches, run)
    return Recording(values=values, positions=names, n_forward_tokens=sum(b.shape[0] * b.shape[1] for b in batches))


def _gather_plan(batch: Batch, positions: Sequence[Sequence[Sequence[int]]]) -> tuple[np.ndarray, np.ndarray]:
    index: list[int] = []
    counts: list[int] = []
    for chosen in positions:
        for i, text in enumerate(batch.texts):
            index.extend(batch.flat(i, position) for position in chosen[text])
            counts.append(len(chosen[text]))
    return np.asarray(index, dtype=np.int64), np.asarray(counts, dtype=np.int64)


def _pool(hidden: Tensor, index: Tensor, counts: Tensor) -> Tensor:
    """Mean over each run of `counts` gathered tokens; a single token comes through bit for bit, none gives NaN."""
    tokens = hidden.reshape(-1, hidden.shape[-1]).index_select(0, index)
    if bool((counts == 1).all()):
        return tokens
    return torch.segment_reduce(tokens, "mean", lengths=counts, axis=0, unsafe=True)


def record_tokens(lm: LoadedModel, batch: Batch, points: Sequence[Point]) -> dict[Point, Tensor]:
    """Every token of one batch at some points, shape (rows, tokens, width), on the model's device."""
    for point in points:
        check_point(lm, point)
    seen: dict[Point, Tensor] = {}

    def reader(point: Point) -> Touch:
        def read(hidden: Tensor) -> None:
            seen[point] = hidden.clone()

        return read

    stop = _layers_needed(points)
    with torch.no_grad(), hooks(lm, {p: reader(p) for p in points}), only_blocks(lm, stop=stop):
        forward(lm, **batch.inputs(lm))
    return seen
