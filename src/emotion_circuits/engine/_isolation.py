"""A text whose states stop being finite (an overflow under an edit, say) keeps that from the texts beside it.

Attention gives tokens of other texts, later tokens and filling the weight 0, and 0 · NaN is NaN: one text would spoil
its whole row. So a pass in which anything stopped being finite runs once more, and there attention reads zeros in the
place of such tokens and gives NaN to exactly those tokens that are allowed to look at one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from emotion_circuits.engine._sites import Touch, hook_input
from emotion_circuits.models import LoadedModel


def all_finite(states: Tensor) -> bool:
    """Whether every value is finite, at the price of one sum."""
    return bool(torch.isfinite(states.detach().sum(dtype=torch.float32)))


def kept_layers(cache: DynamicCache | None) -> list[Any]:
    """What a cache holds before a pass, for `isolated`."""
    return [] if cache is None else [copy(layer) for layer in cache.layers]


@contextmanager
def isolated(
    lm: LoadedModel, mask: Tensor | dict[str, Tensor] | None, cache: DynamicCache | None, before: list[Any]
) -> Iterator[None]:
    """Let no token be changed by another that is not finite, unless it may attend to it.

    Args:
        lm: the model.
        mask: (rows, 1, tokens, keys) as attention scores get it, 0 where a token may look, or one for each kind of
            layer; None for a text to a row.
        cache: the cache that the pass was given, which the first try may have filled.
        before: what it held before that.
    """
    bad: dict[int, Tensor] = {}  # layer → (rows, keys) bool

    def hide(layer: int, earlier: Tensor | None) -> Touch:
        def touch(hidden: Tensor) -> Tensor:
            found = ~torch.isfinite(hidden).all(dim=-1)
            bad[layer] = found
            if earlier is not None:
                bad[layer] = torch.cat([earlier.repeat(len(found) // len(earlier), 1), found], dim=1)
            return hidden.masked_fill(found.unsqueeze(-1), 0.0)

        return touch

    def show(layer: int) -> Touch:
        def touch(z: Tensor) -> Tensor:
            if z.requires_grad:
                # Where a window ends, tokens are finite that lose their gradient later; 0 · NaN would spoil others'.
                cast(Any, z).register_hook(lambda g: g.masked_fill(~torch.isfinite(g).all(dim=-1, keepdim=True), 0.0))
            kind = lm.kind_of(layer)
            if mask is None:
                met, window = bad[layer].cumsum(dim=1), lm.windows[kind]
                lost = met > (0 if window is None else nn.functional.pad(met, (window, 0))[:, : met.shape[1]])
            else:
                own = mask[kind] if isinstance(mask, dict) else mask
                lost = ((own[:, 0] == 0) & bad[layer].unsqueeze(1)).any(dim=-1)
            return z.masked_fill(lost.unsqueeze(-1), torch.nan)

        return touch

    with ExitStack() as stack:
        if cache is not None:
            cache.layers = [_cleared(layer) for layer in before]
        for layer in range(lm.n_layers):
            earlier = _spoilt(before[layer]) if layer < len(before) else None
            stack.callback(hook_input(lm.attention(layer), hide(layer, earlier), first=True).remove)
            stack.callback(hook_input(lm.attention_out(layer), show(layer), first=True).remove)
        yield
    for layer, kept in enumerate(() if cache is None else cast(list[Any], cache.layers)):
        if layer in bad and kept.keys.shape[-2] == bad[layer].shape[1]:  # it grew: later passes must know
            kept.keys = kept.keys.masked_fill(bad[layer][:, None, :, None], torch.nan)


def _spoilt(layer: Any) -> Tensor | None:
    """(rows, keys) bool: which kept tokens are not finite; None if nothing is kept."""
    if not layer.get_seq_length():
        return None
    return ~torch.isfinite(layer.keys + layer.values).all(dim=-1).all(dim=1)


def _cleared(layer: Any) -> Any:
    """The layer with zeros in the place of such tokens."""
    spoilt = _spoilt(layer)
    if spoilt is None or not bool(spoilt.any()):
        return layer
    cleared = copy(layer)
    for name in ("keys", "values"):
        setattr(cleared, name, getattr(layer, name).masked_fill(spoilt[:, None, :, None], 0.0))
    return cleared
