"""What heads attend to: attention weights and values, which fast attention kernels never show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from emotion_circuits.engine._batches import Batch
from emotion_circuits.engine._run import forward
from emotion_circuits.errors import MeasurementError
from emotion_circuits.models import LoadedModel


class Attention(NamedTuple):
    """One layer's attention over a batch.

    Attributes:
        weights: (rows, heads, queries, keys); each query's sum to 1.
        values: (rows, heads, keys, d_head); under grouped-query attention several heads share theirs.
    """

    weights: Tensor
    values: Tensor


@contextmanager
def _eager(lm: LoadedModel) -> Iterator[None]:
    """Other implementations compute the same heads without ever holding the weights."""
    before = lm.config._attn_implementation
    lm.hf.set_attn_implementation("eager")
    try:
        yield
    finally:
        lm.hf.set_attn_implementation(before)


def split_values(lm: LoadedModel, projected: Tensor) -> Tensor:
    """The output of the projection that computes values → (rows, heads, tokens, d_head)."""
    rows, tokens, _ = projected.shape
    match lm.family.value_layout:
        case "thirds":
            values = projected.chunk(3, dim=-1)[2].reshape(rows, tokens, -1, lm.d_head)
        case "by_head":
            values = projected.reshape(rows, tokens, -1, 3, lm.d_head)[..., 2, :]
        case "alone":
            values = projected.reshape(rows, tokens, -1, lm.d_head)
    # Neighbouring heads share keys and values.
    return values.repeat_interleave(lm.n_heads // values.shape[2], dim=2).transpose(1, 2)


def attention_of(lm: LoadedModel, batch: Batch) -> list[Attention]:
    """Attention weights and values of every layer, from one forward pass.

    Weights times values are the heads' outputs `z`; that is checked, so weights of another layout cannot pass.

    Raises:
        MeasurementError: the model shows no weights, or others than it used.
    """
    weights: dict[int, Tensor] = {}
    projected: dict[int, Tensor] = {}
    outputs: dict[int, Tensor] = {}

    def see(layer: int, stack: ExitStack) -> None:
        def keep_weights(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, tuple) and isinstance(output[1], Tensor):
                weights[layer] = output[1]

        def keep_projected(_: nn.Module, __: Any, output: Tensor) -> None:
            projected[layer] = output

        def keep_output(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            outputs[layer] = args[0]

        stack.callback(lm.attention(layer).register_forward_hook(keep_weights).remove)
        stack.callback(lm.values(layer).register_forward_hook(keep_projected).remove)
        stack.callback(lm.attention_out(layer).register_forward_pre_hook(keep_output).remove)

    with _eager(lm), torch.no_grad(), ExitStack() as stack:
        for layer in range(lm.n_layers):
            see(layer, stack)
        forward(lm, **batch.inputs(lm))
    found = []
    for layer in range(lm.n_layers):
        if layer not in weights:
            raise MeasurementError(f"{lm.name} shows no attention weights in layer {layer}.")
        lost = ~torch.isfinite(outputs[layer]).all(dim=-1)
        outputs[layer] = outputs[layer].masked_fill(lost.unsqueeze(-1), 0.0)
        one = Attention(weights[layer], split_values(lm, projected[layer]))
        z = (one.weights @ one.values).transpose(1, 2).flatten(2).masked_fill(lost.unsqueeze(-1), 0.0)
        if not torch.allclose(z, outputs[layer], rtol=1e-3, atol=1e-3 * float(outputs[layer].abs().max())):
            raise MeasurementError(f"Attention weights times values are not what the heads of layer {layer} give.")
        found.append(one._replace(weights=one.weights.masked_fill(lost[:, None, :, None], torch.nan)))
    return found
