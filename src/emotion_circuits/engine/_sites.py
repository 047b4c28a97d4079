"""Where in a transformer something can be read or written, and how a hook reaches it.

A *point* is a site in a layer. Layers count blocks from 0; ``("embed", 0)`` is what enters block 0. Every site is
reached at a module's input or output, so nothing of the model's forward pass is written again here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel

Site = Literal["embed", "resid_pre", "resid_mid", "attn_out", "mlp_out", "mlp_act", "z", "resid_post"]
"""``z`` is every head's output before the out-projection, heads side by side; ``mlp_act`` the MLP's hidden units."""

SITES: tuple[Site, ...] = get_args(Site)

Touch = Callable[[Tensor], Tensor | None]
"""Sees the tensor at a point, shape (rows, tokens, width), and may return one to put in its place."""


class Point(NamedTuple):
    """A site in a layer."""

    site: Site
    layer: int


def check_point(lm: LoadedModel, point: Point) -> None:
    """Raise `InputError` unless the model has this point."""
    if point.site not in SITES:
        raise InputError(f"Unknown site {point.site!r}.", accepted=", ".join(SITES))
    if not 0 <= point.layer < lm.n_layers:
        raise InputError(f"{lm.name} has no layer {point.layer}.", accepted=f"layers 0 to {lm.n_layers - 1}")
    if point.site == "embed" and point.layer != 0:
        raise InputError("The site 'embed' stands before block 0 only.", found=f"layer {point.layer}")
    if point.site == "resid_mid" and lm.parallel:
        raise InputError(
            f"{lm.name} has no 'resid_mid': its attention and MLP read the same input.",
            accepted="resid_pre, attn_out, mlp_out, resid_post",
        )


def width(lm: LoadedModel, site: Site) -> int:
    """The number of values a token has at a site."""
    if site == "z":
        return lm.n_heads * lm.d_head
    if site == "mlp_act":
        return lm.d_mlp
    return lm.d_model


def hook_input(module: nn.Module, touch: Touch, first: bool = False) -> RemovableHandle:
    """Call `touch` with the hidden states that a module is given; `first` before hooks that are there already."""

    def pre_hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            new = touch(args[0])
            return None if new is None else ((new, *args[1:]), kwargs)
        new = touch(kwargs["hidden_states"])
        return None if new is None else (args, {**kwargs, "hidden_states": new})

    return module.register_forward_pre_hook(pre_hook, prepend=first, with_kwargs=True)


def _hook_output(module: nn.Module, touch: Touch) -> RemovableHandle:
    def hook(_: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
        # Attention modules return (output, weights) and one family's blocks a tuple too; the others a plain tensor.
        if isinstance(output, torch.Tensor):
            return touch(output)
        new = touch(output[0])
        return None if new is None else (new, *output[1:])

    return module.register_forward_hook(hook)


def _hook_shared_input(module: nn.Module, touch: Touch) -> RemovableHandle:
    # The block adds this very tensor to the MLP's output afterwards: one put in its place would reach the MLP only.
    def pre_hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden = args[0] if args else kwargs["hidden_states"]
        new = touch(hidden)
        if new is not None:
            hidden.copy_(new)

    return module.register_forward_pre_hook(pre_hook, with_kwargs=True)


def attach(lm: LoadedModel, point: Point, touch: Touch) -> RemovableHandle:
    """Call `touch` with the tensor at a point in every forward pass, until the handle is removed."""
    check_point(lm, point)
    site, layer = point
    match site:
        case "embed" | "resid_pre":
            return hook_input(lm.blocks[layer], touch)
        case "resid_post":
            return _hook_output(lm.blocks[layer], touch)
        case "resid_mid":
            return _hook_shared_input(lm.mid_norm(layer), touch)
        case "attn_out":
            return _hook_output(lm.attention_post_norm(layer) or lm.attention(layer), touch)
        case "mlp_out":
            return _hook_output(lm.mlp_post_norm(layer) or lm.mlp(layer), touch)
        case "mlp_act":
            return hook_input(lm.mlp_out(layer), touch)
        case "z":
            return hook_input(lm.attention_out(layer), touch)
