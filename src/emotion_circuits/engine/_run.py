"""One forward pass: with hooks that are counted and always removed, over the blocks that are needed and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from emotion_circuits.engine._isolation import all_finite, isolated, kept_layers
from emotion_circuits.engine._precision import matmul_precision
from emotion_circuits.engine._sites import Point, Touch, attach
from emotion_circuits.errors import MeasurementError
from emotion_circuits.models import LoadedModel

_counts: ContextVar[tuple[dict[Point, int], ...]] = ContextVar("counts", default=())
"""How often each hook of the enclosing `hooks` fired."""


@contextmanager
def hooks(lm: LoadedModel, touches: Mapping[Point, Touch], firings: int = 1) -> Iterator[None]:
    """Attach hooks for the duration of the block and check on leaving that each fired as often as asked.

    A hook that never fires would leave every later number silently wrong, so it is an error here. A pass in which
    states stop being finite runs twice and counts once (see `forward`): hooks that keep what they see keep the last.

    Args:
        lm: the model.
        touches: what to call at which point.
        firings: how many forward passes run inside the block.

    Raises:
        MeasurementError: a hook fired more or less often than `firings` (not raised on top of another exception).
    """
    fired = dict.fromkeys(touches, 0)

    def counted(point: Point, touch: Touch) -> Touch:
        def call(hidden: Tensor) -> Tensor | None:
            fired[point] += 1
            return touch(hidden)

        return call

    with ExitStack() as stack:
        stack.callback(_counts.reset, _counts.set((*_counts.get(), fired)))
        for point, touch in touches.items():
            stack.callback(attach(lm, point, counted(point, touch)).remove)
        yield
    for point, count in fired.items():
        if count != firings:
            raise MeasurementError(
                f"The hook at {point.site} of layer {point.layer} fired {count} times instead of {firings}.",
                next_step=f"its code differs from the family {lm.family.name}; run `models verify {lm.name}`",
            )


@contextmanager
def only_blocks(lm: LoadedModel, start: int = 0, stop: int | None = None) -> Iterator[None]:
    """Let blocks outside start <= layer < stop pass their input through untouched.

    The model's own forward pass still runs (embeddings, masks, positions, final norm), so nothing is re-implemented.
    """
    stop = lm.n_layers if stop is None else stop
    as_tuple = lm.family.block_output == "tuple"

    def passed(hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        return (hidden_states,) if as_tuple else hidden_states

    skipped = [block for layer, block in enumerate(lm.blocks) if not start <= layer < stop]
    with ExitStack() as stack:
        for block in skipped:
            stack.enter_context(overridden(block, passed))
        yield


@contextmanager
def overridden(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Let a module compute something else for the duration of the block."""
    # Libraries that spread a model over devices put a forward of their own there, as an enclosing block does.
    before = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before


@contextmanager
def mlp_only_at(lm: LoadedModel, layer: int, tokens: Tensor) -> Iterator[None]:
    """Let the MLP of a block see some tokens only, and give zero for the others: for a last block of which nothing
    else is read. An MLP goes token by token, so what it gives for these is the same.

    Args:
        lm: the model.
        layer: the block.
        tokens: flat indices over the rows of the pass.
    """
    mlp = lm.mlp(layer)
    before = mlp.forward

    def some(hidden: Tensor) -> Tensor:
        flat = hidden.flatten(0, 1)
        given: Tensor = before(flat[tokens].unsqueeze(0))[0]
        return torch.zeros_like(flat).index_copy(0, tokens, given).reshape(hidden.shape)

    with overridden(mlp, some):
        yield


def forward(lm: LoadedModel, input_ids: Tensor, **model_inputs: Any) -> Tensor:
    """The base model's last hidden state (after the final norm), without the LM head; shape (rows, tokens, d).

    Where states stop being finite, the texts beside them in a row and the tokens before them keep theirs (see
    `engine._isolation`). Rows that were padded on the left hold one text each and are left as they are.
    """
    model_inputs.setdefault("use_cache", False)
    mask, cache = model_inputs.get("attention_mask"), model_inputs.get("past_key_values")
    shared = cache is None if mask is None else isinstance(mask, dict) or mask.ndim == 4
    # What a second try starts from. Not kept for generation, which comes here once a token.
    fired, kept = ([dict(counts) for counts in _counts.get()], kept_layers(cache)) if shared else ([], [])
    with matmul_precision(lm):
        hidden: Tensor = lm.base(input_ids=input_ids, **model_inputs)[0]
        if shared and not all_finite(hidden):
            for counts, before in zip(_counts.get(), fired, strict=True):
                counts.update(before)
            with isolated(lm, mask, cache, kept):
                hidden = lm.base(input_ids=input_ids, **model_inputs)[0]
        return hidden


def logits_of(lm: LoadedModel, normed: Tensor, tokens: Tensor | None = None) -> Tensor:
    """The LM head on hidden states that passed the final norm, with the model's soft cap if it has one.

    Args:
        lm: the model.
        normed: (..., d).
        tokens: the only tokens whose logits are wanted, which spares the product with the rest of the vocabulary.

    Returns:
        (..., vocabulary), or (..., len(tokens)) in their order.
    """
    with matmul_precision(lm):
        if tokens is None:
            logits: Tensor = lm.lm_head(normed)
        else:
            weight, bias = cast(Tensor, lm.lm_head.weight), getattr(lm.lm_head, "bias", None)
            logits = linear(normed, weight[tokens], None if bias is None else bias[tokens])
        return logits if lm.softcap is None else (logits / lm.softcap).tanh() * lm.softcap


def count_hooks(lm: LoadedModel) -> int:
    """How many of our hooks and overridden forwards the model carries now: 0 outside a run.

    transformers keeps hooks of its own on a model once `output_hidden_states` was used; they only read.
    """
    ours = sum(
        getattr(hook, "__module__", "").startswith("emotion_circuits")
        for module in lm.hf.modules()
        for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    )
    return int(ours) + sum("forward" in vars(module) for block in lm.blocks for module in block.modules())
