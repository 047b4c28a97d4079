"""Run only what an edit can change: the blocks after it, from a recorded residual stream, many edits at a time.

Everything before the edit is the same for every dose and direction, so it is computed once (`PrefixReplay`) and each
variant costs the remaining blocks only. Logits are computed at the tokens that are read, not at all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from emotion_circuits.engine._batches import DEFAULT_BATCH_TOKENS, Batch
from emotion_circuits.engine._edits import Edit, touches_of
from emotion_circuits.engine._record import record_tokens
from emotion_circuits.engine._run import forward, hooks, logits_of, only_blocks
from emotion_circuits.engine._sites import Point, Touch
from emotion_circuits.errors import EmotionCircuitsError
from emotion_circuits.models import LoadedModel


def final_states(lm: LoadedModel, batch: Batch, edits: Sequence[Edit] = ()) -> Tensor:
    """The full forward pass under edits: hidden states after the final norm, (rows, tokens, d)."""
    editable = batch.editable(lm.device)
    with torch.no_grad(), hooks(lm, touches_of(edits, editable)):
        return forward(lm, **batch.inputs(lm))


class PrefixReplay:
    """Variants of one batch that differ from layer `layer` on.

    Args:
        lm: the model.
        batch: the texts.
        layer: variants write to this block's `resid_post`; only the blocks after it run again.
        states: the clean `resid_post` of that layer, (rows, tokens, d), if it was recorded already.
    """

    def __init__(self, lm: LoadedModel, batch: Batch, layer: int, states: Tensor | None = None):
        self.lm, self.batch, self.layer = lm, batch, layer
        point = Point("resid_post", layer)
        self.states = record_tokens(lm, batch, [point])[point] if states is None else states
        self.editable = batch.editable(lm.device)

    def variants(
        self, deltas: Tensor, read: Sequence[int], batch_tokens: int = DEFAULT_BATCH_TOKENS
    ) -> Iterator[tuple[slice, Tensor]]:
        """Final hidden states at some tokens for each variant h ← h + delta.

        Args:
            deltas: (variants, d), added to every editable token.
            read: flat token indices of the batch (see `Batch.flat`).
            batch_tokens: how many tokens go through the blocks at once; at least one variant does.

        Yields:
            which variants, and their normed states of shape (variants, len(read), d).
        """
        rows, tokens, width = self.states.shape
        at_once = max(1, batch_tokens // (rows * tokens))
        index = torch.as_tensor(read, device=self.lm.device)
        first = 0
        while first < len(deltas):
            chunk = deltas[first : first + at_once].to(device=self.lm.device, dtype=self.states.dtype)
            try:
                edited = torch.where(self.editable, self.states + chunk[:, None, None, :], self.states)
                final = self.run(edited.reshape(-1, tokens, width), copies=len(chunk))
            except torch.OutOfMemoryError as error:
                if len(chunk) == 1:
                    raise EmotionCircuitsError(
                        "Out of memory with a single variant.",
                        found=f"{rows * tokens} tokens",
                        next_step="use fewer or shorter texts, --dtype bfloat16 or --device cpu",
                    ) from error
                torch.cuda.empty_cache()
                at_once = len(chunk) // 2
                continue
            read_out = final.reshape(len(chunk), rows * tokens, width).index_select(1, index)
            yield slice(first, first + len(chunk)), read_out
            first += len(chunk)

    def run(self, states: Tensor, copies: int = 1) -> Tensor:
        """The blocks after `layer` on given states of shape (copies * rows, tokens, d), then the final norm."""
        start = Point("resid_post", self.layer)
        with (
            torch.no_grad(),
            hooks(self.lm, {start: lambda _: states}),
            only_blocks(self.lm, start=self.layer + 1),
        ):
            return forward(self.lm, **self.batch.inputs(self.lm, copies))


def logits_at(lm: LoadedModel, batch: Batch, read: Sequence[int], edits: Sequence[Edit] = ()) -> Tensor:
    """Logits at flat token indices of a batch under edits, (len(read), vocabulary), by the full forward pass."""
    final = final_states(lm, batch, edits)
    index = torch.as_tensor(read, device=lm.device)
    return logits_of(lm, final.reshape(-1, final.shape[-1]).index_select(0, index))


def run_from(
    lm: LoadedModel,
    batch: Batch,
    layer: int,
    states: Tensor,
    edits: Sequence[Edit] = (),
    *,
    copies: int = 1,
    read: Point | None = None,
) -> Tensor:
    """The blocks from `layer` on, under edits inside them, from what enters that block.

    Args:
        lm: the model.
        batch: the texts.
        layer: the first block that runs.
        states: what enters it, (rows, tokens, d); the same for all copies.
        edits: at sites of this block or later ones, on tensors of copies · rows rows, copy by copy.
        copies: how many variants go through the model side by side.
        read: what to return, such as `resid_post` of a layer; blocks after it do not run. None: the states after the
            final norm.

    Returns:
        (copies, rows · tokens, d).
    """
    seen: list[Tensor] = []
    repeated = states.repeat(copies, 1, 1)
    touches: dict[Point, Touch] = {Point("resid_pre", layer): lambda _: repeated}
    touches.update(touches_of(edits, batch.editable(lm.device).repeat(copies, 1, 1)))
    if read is not None:
        touches[read] = seen.append
    stop = None if read is None else read.layer + 1
    with torch.no_grad(), hooks(lm, touches), only_blocks(lm, start=layer, stop=stop):
        final = forward(lm, **batch.inputs(lm, copies))
    return (final if read is None else seen[0]).reshape(copies, -1, final.shape[-1])
