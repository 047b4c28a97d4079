"""Run only what an edit can change: the blocks after it, from a recorded residual stream, many edits at a time.

Everything before the edit is the same for every dose and direction, so it is computed once (`PrefixReplay`) and each
variant costs the remaining blocks only. Logits are computed at the tokens that are read, not at all of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from emotion_circuits.engine._batches import DEFAULT_BATCH_TOKENS, Batch
from emotion_circuits.engine._edits import Edit, touches_of
from emotion_circuits.engine._pushes import Push
from emotion_circuits.engine._record import record_tokens
from emotion_circuits.engine._run import forward, hooks, logits_of, mlp_only_at, only_blocks
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
        only: flat token indices that variants may change, among those that edits may touch at all; None for these.
    """

    def __init__(
        self,
        lm: LoadedModel,
        batch: Batch,
        layer: int,
        states: Tensor | None = None,
        only: Sequence[int] | None = None,
    ):
        self.lm, self.batch, self.layer = lm, batch, layer
        point = Point("resid_post", layer)
        self.states = record_tokens(lm, batch, [point])[point] if states is None else states
        self.editable = batch.editable(lm.device)
        if only is not None:
            self.editable = self.editable & batch.marked(only, lm.device)

    def variants(
        self,
        push: Push | Tensor,
        read: Sequence[int],
        batch_tokens: int = DEFAULT_BATCH_TOKENS,
        later: Mapping[int, Push] | None = None,
    ) -> Iterator[tuple[slice, Tensor]]:
        """Final hidden states at some tokens for each variant.

        Args:
            push: a change per variant at `layer`, made to every editable token; or (variants, d) vectors to add.
            read: flat token indices of the batch (see `Batch.flat`).
            batch_tokens: how many tokens go through the blocks at once; at least one variant does.
            later: changes of the same variants at layers after this one, for a band of layers.

        Yields:
            which variants, and their normed states of shape (variants, len(read), d).
        """
        rows, tokens, _ = self.states.shape
        index = torch.as_tensor(read, device=self.lm.device)

        def run(chosen: slice) -> Tensor:
            part = changes.rows(chosen)
            edited = part.applied(self.states.expand(len(part), *self.states.shape), self.editable)
            above = {layer: one.rows(chosen) for layer, one in (later or {}).items()}
            final = self.run(edited.flatten(0, 1), copies=len(part), later=above, read=read)
            return final.reshape(len(part), rows * tokens, -1).index_select(1, index)

        changes = Push.add(push) if isinstance(push, Tensor) else push
        yield from in_chunks(run, len(changes), batch_tokens, rows * tokens)

    def run(
        self,
        states: Tensor,
        copies: int = 1,
        later: Mapping[int, Push] | None = None,
        read: Sequence[int] | None = None,
    ) -> Tensor:
        """The blocks after `layer` on given states of shape (copies * rows, tokens, d), then the final norm.

        Args:
            states: what stands for the block's output.
            copies: how often the batch is repeated along the rows.
            later: changes at later layers, one per copy.
            read: flat token indices of the batch, if no others will be looked at; see `run_from`.
        """
        editable = self.editable
        touches: dict[Point, Touch] = {Point("resid_post", self.layer): lambda _: states}
        touches |= {Point("resid_post", layer): pushing(push, editable) for layer, push in (later or {}).items()}
        last = self.lm.n_layers - 1
        spared = _spared(self.lm, self.batch, last, copies, read if self.layer < last else None)
        with torch.no_grad(), hooks(self.lm, touches), only_blocks(self.lm, start=self.layer + 1), spared:
            return forward(self.lm, **self.batch.inputs(self.lm, copies))


def _spared(
    lm: LoadedModel, batch: Batch, last: int, copies: int, tokens: Sequence[int] | None
) -> AbstractContextManager[None]:
    """The MLP of the last block that runs works at some flat indices of the batch, in every copy; None for all."""
    size = batch.shape[0] * batch.shape[1]
    if tokens is None or len(tokens) >= size:
        return nullcontext()
    each = torch.arange(copies, device=lm.device)[:, None] * size
    return mlp_only_at(lm, last, (each + torch.tensor(tokens, device=lm.device)).flatten())


def pushing(push: Push, editable: Tensor) -> Touch:
    """The hook of a change per copy of a batch, on rows that are copies times texts."""

    def touch(hidden: Tensor) -> Tensor:
        return push.applied(hidden.reshape(len(push), -1, *hidden.shape[1:]), editable).reshape(hidden.shape)

    return touch


def in_chunks(
    run: Callable[[slice], Tensor], n: int, batch_tokens: int, tokens_each: int
) -> Iterator[tuple[slice, Tensor]]:
    """Run `n` variants as many at a time as the budget of tokens allows, fewer where memory runs out.

    Yields:
        which variants, and what `run` gave for them.
    """
    at_once, first = max(1, batch_tokens // tokens_each), 0
    while first < n:
        chosen = slice(first, min(n, first + at_once))
        size = chosen.stop - first
        try:
            found = run(chosen)
        except torch.OutOfMemoryError as error:
            if size == 1:
                raise EmotionCircuitsError(
                    "Out of memory with a single variant.",
                    found=f"{tokens_each} tokens",
                    next_step="use fewer or shorter texts, --dtype bfloat16 or --device cpu",
                ) from error
            torch.cuda.empty_cache()
            at_once = size // 2
            continue
        yield chosen, found
        first = chosen.stop


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
    tokens: Sequence[int] | None = None,
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
        tokens: flat indices of the batch, if no others will be looked at: the last block's MLP is spared the rest,
            whose states are then of no use.

    Returns:
        (copies, rows · tokens, d).
    """
    seen: deque[Tensor] = deque(maxlen=1)
    repeated = states.repeat(copies, 1, 1)
    touches: dict[Point, Touch] = {Point("resid_pre", layer): lambda _: repeated}
    touches.update(touches_of(edits, batch.editable(lm.device).repeat(copies, 1, 1)))
    if read is not None:
        touches[read] = seen.append
    stop = None if read is None else read.layer + 1
    last = (lm.n_layers if stop is None else stop) - 1
    if any(edit.point == Point("mlp_act", last) for edit in edits):
        tokens = None  # hooks on the units expect all tokens
    spared = _spared(lm, batch, last, copies, tokens)
    with torch.no_grad(), hooks(lm, touches), only_blocks(lm, start=layer, stop=stop), spared:
        final = forward(lm, **batch.inputs(lm, copies))
    return (final if read is None else seen[0]).reshape(copies, -1, final.shape[-1])
