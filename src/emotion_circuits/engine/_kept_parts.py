"""Run some heads and units of a model only, everything else having given values: a pass costs what is kept.

A unit that has one value at every token adds the same vector to the stream at every token. So the MLP is computed for
the units that are kept, and what the others add comes as a constant; where no head of a layer is kept, its attention is
a constant too. The model's own code runs, on smaller matrices: nothing of it is written again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from emotion_circuits.engine._batches import Batch
from emotion_circuits.engine._edits import Edit, put
from emotion_circuits.engine._replay import run_from
from emotion_circuits.engine._run import forward, hooks, only_blocks, overridden
from emotion_circuits.engine._sites import Point, Touch
from emotion_circuits.models import LoadedModel


class _First(NamedTuple):
    """First tokens among those that a module sees: where, and which of all first tokens."""

    at: Tensor
    which: Tensor


class KeptParts:
    """Passes over one batch that keep some heads and units, from the first block on.

    A text's first token keeps what it computes in the whole model.

    Args:
        lm: the model.
        batch: the texts.
        values: (width,) what heads and units have at `z` and `mlp_act` of a layer where they are not kept.
        read, tokens: as for `run_from`.
    """

    def __init__(
        self,
        lm: LoadedModel,
        batch: Batch,
        values: Mapping[Point, Tensor],
        *,
        read: Point | None = None,
        tokens: Sequence[int] | None = None,
    ):
        self.lm, self.batch, self.read, self.tokens = lm, batch, read, tokens
        self._values = {point: value.to(lm.device, lm.dtype) for point, value in values.items()}
        layers = sorted({point.layer for point in values})
        self._inward = {layer: _inward(lm, layer) for layer in layers}
        self._plain: set[int] = set()
        first = ~batch.editable(lm.device).flatten()
        number = first.cumsum(0) - 1
        self._first = {len(first): _First(first.nonzero().squeeze(-1), number[first])}
        if tokens is not None:  # the last block's MLP may see these only
            seen = torch.as_tensor(tokens, device=lm.device)
            self._first.setdefault(len(seen), _First(first[seen].nonzero().squeeze(-1), number[seen][first[seen]]))
        self._start, self._added = self._clean(first, layers)

    def _clean(self, first: Tensor, layers: Sequence[int]) -> tuple[Tensor, dict[Point, Tensor]]:
        """What enters the first block, and what each layer adds to first tokens, in the whole model."""
        lm, entering = self.lm, Point("resid_pre", 0)
        seen: dict[Point, Tensor] = {}

        def keeper(point: Point) -> Touch:
            def keep(hidden: Tensor) -> None:
                seen[point] = hidden.clone() if point == entering else hidden.flatten(0, 1)[first]

            return keep

        def alone(layer: int) -> Any:
            def look(_: nn.Module, __: Any, output: Any) -> None:
                if isinstance(output, Tensor):
                    self._plain.add(layer)

            return look

        touches = {point: keeper(point) for point in (entering, *self._values)}
        with ExitStack() as stack:
            for layer in layers:
                stack.callback(lm.attention(layer).register_forward_hook(alone(layer)).remove)
            for context in (torch.no_grad(), hooks(lm, touches), only_blocks(lm, stop=layers[-1] + 1)):
                stack.enter_context(context)
            forward(lm, **self.batch.inputs(lm))
        with torch.no_grad():
            return seen.pop(entering), {point: self._out(point)(values) for point, values in seen.items()}

    def _out(self, point: Point) -> nn.Module:
        return self.lm.attention_out(point.layer) if point.site == "z" else self.lm.mlp_out(point.layer)

    def run(self, kept: Mapping[Point, Tensor]) -> Tensor:
        """States after the pass, (copies, rows · tokens, d); see `run_from`.

        Args:
            kept: (copies, width) bool at every point that has values.
        """
        copies = len(next(iter(kept.values())))
        edits: list[Edit] = []
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            for point, mask in kept.items():
                if point.site == "z" and not bool(mask.any()):
                    stack.enter_context(self._constant_attention(point, copies))
                elif point.site == "mlp_act" and self._inward[point.layer]:
                    stack.enter_context(self._fewer_units(point, mask))
                else:
                    edits.append(put(point, ~mask, self._values[point]))
            return run_from(
                self.lm, self.batch, 0, self._start, edits, copies=copies, read=self.read, tokens=self.tokens
            )

    def _constant_attention(self, point: Point, copies: int) -> Any:
        added = self._out(point)(self._values[point]).expand(*self.batch.shape, -1).clone()
        added.flatten(0, 1)[self._first[self.batch.footprint].at] = self._added[point]
        given = added.repeat(copies, 1, 1)
        output = given if point.layer in self._plain else (given, None)
        return overridden(self.lm.attention(point.layer), lambda *_, **__: output)

    @contextmanager
    def _fewer_units(self, point: Point, mask: Tensor) -> Iterator[None]:
        """The MLP on kept units: K of each copy, where a copy with fewer has others that add nothing."""
        copies, out = len(mask), self._out(point)
        index = mask.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
        index = index[:, : max(1, int(mask.sum(dim=1).max()))]
        written = _matrix(out).T  # (units, d)
        write = written[index] * mask.gather(1, index).unsqueeze(-1)
        rest = (torch.where(mask, 0, self._values[point]) @ written).unsqueeze(1)
        if (bias := getattr(out, "bias", None)) is not None:
            rest = rest + bias

        def outward(acts: Tensor) -> Tensor:
            added = torch.baddbmm(rest, acts.reshape(copies, -1, acts.shape[-1]), write)
            first = self._first[added.shape[1]]
            added[:, first.at] = self._added[point][first.which]
            return added.reshape(*acts.shape[:-1], -1)

        with ExitStack() as stack:
            for projection in self._inward[point.layer]:
                stack.enter_context(overridden(projection, _of_units(projection, index)))
            stack.enter_context(overridden(out, outward))
            yield


def _matrix(projection: nn.Module) -> Tensor:
    """(outputs, inputs) of a linear map."""
    weight = cast(Tensor, projection.weight)
    return weight if isinstance(projection, nn.Linear) else weight.T  # GPT-2's Conv1D holds it transposed


def _of_units(projection: nn.Module, index: Tensor) -> Callable[[Tensor], Tensor]:
    """The projection on some units only, (copies, K) of them; hidden states are those of one copy after the other."""
    weight, bias = _matrix(projection)[index], cast(Tensor | None, getattr(projection, "bias", None))

    def read(hidden: Tensor) -> Tensor:
        values = hidden.reshape(len(index), -1, hidden.shape[-1]) @ weight.transpose(1, 2)
        if bias is not None:
            values += bias[index].unsqueeze(1)
        return values.reshape(*hidden.shape[:-1], -1)

    return read


def _inward(lm: LoadedModel, layer: int) -> tuple[nn.Module, ...]:
    """The projections whose rows are a layer's units; none where the MLP holds anything else, or where units do not
    come out the same without the others (a softmax or a norm over them has no parameters)."""
    out = lm.mlp_out(layer)
    others = [
        m for m in lm.mlp(layer).modules() if m is not out and next(m.parameters(recurse=False), None) is not None
    ]
    usual = all(
        type(m).__name__ in ("Linear", "Conv1D") and len(_matrix(m)) == lm.d_mlp for m in others
    ) and type(out).__name__ in ("Linear", "Conv1D")  # fmt: skip
    return tuple(others) if usual and _come_apart(lm, layer, others) else ()


def _come_apart(lm: LoadedModel, layer: int, projections: Sequence[nn.Module]) -> bool:
    """Whether every other unit has the values alone that it has among all, on a few random inputs."""
    weight = cast(Tensor, lm.mlp_out(layer).weight)
    hidden = torch.randn(1, 4, lm.d_model, generator=torch.Generator().manual_seed(0)).to(weight)
    seen: list[Tensor] = []

    def keep(acts: Tensor) -> Tensor:
        seen.append(acts)
        return hidden

    half = torch.arange(0, lm.d_mlp, 2, device=weight.device).unsqueeze(0)
    with torch.no_grad(), ExitStack() as stack:
        stack.enter_context(overridden(lm.mlp_out(layer), keep))
        lm.mlp(layer)(hidden)
        for projection in projections:
            stack.enter_context(overridden(projection, _of_units(projection, half)))
        lm.mlp(layer)(hidden)
    whole, alone = seen
    return torch.allclose(whole[..., ::2], alone, rtol=1e-2, atol=1e-2 * float(whole.abs().max()))
