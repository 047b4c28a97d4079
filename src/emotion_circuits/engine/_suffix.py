"""Variants that differ from one token on: what comes before is read from the clean run's keys and values.

An edit at a text's last token cannot reach the tokens before it. Their keys and values are computed once and shared by
all variants, each of which then costs one token (or a few) in the blocks after the edit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from emotion_circuits.engine._batches import DEFAULT_BATCH_TOKENS, Batch
from emotion_circuits.engine._pushes import Push
from emotion_circuits.engine._replay import in_chunks, pushing
from emotion_circuits.engine._run import forward, hooks, only_blocks
from emotion_circuits.engine._sites import Point, Touch
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel


def keys_and_values(cache: DynamicCache) -> list[tuple[Tensor, Tensor]]:
    """Per layer of a filled cache, (rows, heads, tokens, d_head) each."""
    return [(cast(Any, layer).keys, cast(Any, layer).values) for layer in cache.layers]


class SharedLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values of a prefix that are put before whatever a forward pass brings, and never grow.

    Rows of the pass are copies of the prefix's rows, copies outermost.
    """

    def __init__(self, keys: Tensor, values: Tensor):
        super().__init__()  # type: ignore[no-untyped-call]
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """The prefix's keys and values before the given ones, (rows, heads, tokens, d_head) each."""
        copies = key_states.shape[0] // cast(Tensor, self.keys).shape[0]
        before = (cast(Tensor, part).repeat(copies, 1, 1, 1) for part in (self.keys, self.values))
        keys, values = (torch.cat(pair, dim=-2) for pair in zip(before, (key_states, value_states), strict=True))
        return keys, values


def shared_cache(layers: Sequence[SharedLayer]) -> DynamicCache:
    """A cache for one pass that begins with these layers."""
    cache = DynamicCache()
    cache.layers = list(layers)
    return cache


class CleanPrefix:
    """The tokens of a batch before `first`, run once.

    Args:
        lm: the model.
        batch: texts of one length, one to a row.
        first: the first token that variants may change; at least 1.

    Raises:
        InputError: packed rows, or no token before or after `first`.
    """

    def __init__(self, lm: LoadedModel, batch: Batch, first: int):
        tokens = batch.shape[1]
        if not batch.plain:
            raise InputError("Keys and values of a prefix can be kept for rows of one text each.", found="packed rows")
        if not 0 < first < tokens:
            raise InputError("No token lies before the edit, or none after.", found=f"token {first} of {tokens}")
        self.lm, self.batch, self.first = lm, batch, first
        self.ids = batch.inputs(lm)["input_ids"]
        cache = DynamicCache()
        with torch.no_grad():
            forward(lm, self.ids[:, :first], past_key_values=cache, use_cache=True)
        self._layers = [SharedLayer(keys, values) for keys, values in keys_and_values(cache)]

    def cache(self) -> DynamicCache:
        """A cache that holds the prefix for any number of copies of the batch."""
        return shared_cache(self._layers)


class SuffixReplay:
    """Variants of one batch that differ from layer `layer` and from a token on.

    Args:
        prefix: the tokens before that one.
        layer: variants write to this block's `resid_post`.
        states: the clean `resid_post` of that layer at all tokens, (rows, tokens, d).
    """

    def __init__(self, prefix: CleanPrefix, layer: int, states: Tensor):
        self.prefix, self.layer = prefix, layer
        self.states = states[:, prefix.first :]

    def variants(
        self,
        push: Push,
        read: Sequence[int],
        batch_tokens: int = DEFAULT_BATCH_TOKENS,
        later: Mapping[int, Push] | None = None,
    ) -> Iterator[tuple[slice, Tensor]]:
        """As `PrefixReplay.variants`; `read` may only name tokens from the first changed one on."""
        lm, first = self.prefix.lm, self.prefix.first
        rows, tokens = self.prefix.batch.shape
        places = torch.tensor([_after(index, tokens, first) for index in read], device=lm.device)
        editable = torch.ones(1, 1, 1, dtype=torch.bool, device=lm.device)
        start = Point("resid_post", self.layer)

        def run(chosen: slice) -> Tensor:
            part = push.rows(chosen)
            states = part.applied(self.states.expand(len(part), *self.states.shape), editable).flatten(0, 1)
            touches: dict[Point, Touch] = {start: lambda _: states}
            touches |= {
                Point("resid_post", layer): pushing(one.rows(chosen), editable) for layer, one in (later or {}).items()
            }
            ids = self.prefix.ids[:, first:].repeat(len(part), 1)
            where = torch.arange(first, tokens, device=lm.device).expand(len(ids), -1)
            with torch.no_grad(), hooks(lm, touches), only_blocks(lm, start=self.layer + 1):
                final = forward(
                    lm, ids, position_ids=where, past_key_values=self.prefix.cache(), use_cache=True
                )  # fmt: skip
            return final.reshape(len(part), rows * (tokens - first), -1).index_select(1, places)

        # Attention reads the whole text for every row, so that a row is as heavy on memory as all its tokens are.
        yield from in_chunks(run, len(push), 4 * batch_tokens, rows * tokens)


def _after(index: int, tokens: int, first: int) -> int:
    """Where a flat index of whole rows lies when only the tokens from `first` on are left."""
    row, token = divmod(index, tokens)
    if token < first:
        raise InputError("A token before the edit cannot change.", found=f"token {token}", accepted=f"from {first} on")
    return row * (tokens - first) + token - first
