"""What heads and units write into the residual stream, each by itself: linear in their values, also through a norm.

Where a norm stands between an out-projection and the stream, its scale is frozen at the value it has in the run, as is
usual for the final norm: u = Σ W x becomes s(u) · g ⊙ u, so component c writes s(u) · (g ⊙ W_c x_c), and what all of
them write adds up to what the block adds, in each run.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn

from emotion_circuits.models import LoadedModel

WriteSite = Literal["z", "mlp_act"]


def _parts(lm: LoadedModel, site: WriteSite, layer: int) -> tuple[nn.Module, nn.Module | None]:
    if site == "z":
        return lm.attention_out(layer), lm.attention_post_norm(layer)
    return lm.mlp_out(layer), lm.mlp_post_norm(layer)


def _gain(lm: LoadedModel, projection: nn.Module, norm: nn.Module) -> Tensor:
    """(d,) what a norm multiplies its normalised input by, however it holds that; of entries so large that the norm's
    own small constant does not count."""
    return cast(Tensor, norm(cast(Tensor, projection.weight).new_full((1, lm.d_model), 1e3)))[0]


def write_weight(lm: LoadedModel, site: WriteSite, layer: int) -> Tensor:
    """(d, inputs): from a layer's values at `z` or `mlp_act` to the stream, bar the scale of `write_scale`.

    It is the out-projection's matrix, whatever class that is, times the gain of the norm behind it.
    """
    projection, norm = _parts(lm, site, layer)
    weight = cast(Tensor, projection.weight)
    weight = weight if isinstance(projection, nn.Linear) else weight.T  # GPT-2's Conv1D holds it transposed
    with torch.no_grad():
        return weight if norm is None else _gain(lm, projection, norm)[:, None] * weight


def write_scale(lm: LoadedModel, site: WriteSite, layer: int, values: Tensor) -> Tensor:
    """(…, 1): the scale of the norm behind the out-projection where a layer's values are these; 1 without a norm.

    Args:
        values: (…, inputs), all of the layer's.
    """
    projection, norm = _parts(lm, site, layer)
    if norm is None:
        return values.new_ones(*values.shape[:-1], 1)
    with torch.no_grad():
        projected = projection(values)
        unscaled = (_gain(lm, projection, norm) * projected).float()
        along = (norm(projected).float() * unscaled).sum(dim=-1, keepdim=True)
        scale: Tensor = along / unscaled.square().sum(dim=-1, keepdim=True).clamp_min(1e-30)
        return scale.to(values.dtype)


def written(lm: LoadedModel, site: WriteSite, layer: int, values: Tensor) -> tuple[Tensor, Tensor]:
    """(…, d) what a layer adds to the stream at these values: by its own modules, and as the sum of what its components
    write with the biases', which must be the same."""
    projection, norm = _parts(lm, site, layer)
    projected = cast(Tensor, projection(values))
    if norm is None:
        return projected, projected
    return norm(projected), write_scale(lm, site, layer, values) * _gain(lm, projection, norm) * projected
