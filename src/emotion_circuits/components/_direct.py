"""What heads and units write along a direction, and where heads look: statistics of a clean run, without an edit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from emotion_circuits.components._components import SITE_OF, Kind, per_layer
from emotion_circuits.components._outcomes import Outcome, Where, tokens_read
from emotion_circuits.engine import (
    DEFAULT_BATCH_TOKENS,
    Batch,
    Point,
    attention_of,
    record_tokens,
    write_scale,
    write_weight,
)
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel

FloatArray = NDArray[np.float64]


class Written(NamedTuple):
    """(pairs, layers, components) of the emotion's prompts and of the neutral ones."""

    a: FloatArray
    b: FloatArray

    @property
    def difference(self) -> FloatArray:
        """Emotion minus neutral."""
        return self.a - self.b


def direct_effects(
    lm: LoadedModel,
    outcome: Outcome,
    kind: Kind,
    unit: ArrayLike,
    where: Where,
    *,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
) -> Written:
    """What every component itself writes along a direction: ⟨W_O z_h, v̂⟩ of a head, a_n (W_outᵀ v̂)_n of a unit (Wang et
    al. 2025), in the residual stream's units. Biases of the projections belong to no component.

    Args:
        lm: the model.
        outcome: whose pairs; one text for each pair.
        kind: `head` or `unit`.
        unit: (d,) the direction v̂.
        where: which tokens' mean is taken.

    Raises:
        InputError: a direction of another width.
    """
    v = torch.from_numpy(np.array(unit, dtype=np.float64)).to(device=lm.device, dtype=lm.dtype)
    if v.shape != (lm.d_model,):
        raise InputError("The direction is not of the model's width.", found=tuple(v.shape))
    points = [Point(SITE_OF[kind], layer) for layer in range(lm.n_layers)]
    reads = [write_weight(lm, SITE_OF[kind], layer).T @ v for layer in range(lm.n_layers)]
    sides = np.zeros((2, len(outcome.pairs), lm.n_layers, per_layer(lm, kind)))
    for batches in outcome.batches(lm, batch_tokens):
        for side, batch in enumerate(batches):
            seen = record_tokens(lm, batch, points)
            for i, pair in enumerate(batch.texts):
                index = torch.tensor(tokens_read(batch, i, outcome.pairs.pairs[pair].span, where), device=lm.device)
                for layer, point in enumerate(points):
                    values = seen[point].reshape(-1, len(reads[layer])).index_select(0, index)
                    values = values * write_scale(lm, SITE_OF[kind], layer, values)
                    along = (values * reads[layer]).mean(dim=0).reshape(per_layer(lm, kind), -1).sum(dim=-1)
                    sides[side, pair, layer] = along.double().cpu().numpy()
    return Written(sides[0], sides[1])


class Moved(NamedTuple):
    """What one layer's heads take to a text's last token from each of its tokens.

    Attributes:
        weights: (heads, tokens) attention of the last token; each head's sum to 1.
        amounts: (heads, tokens) attention · ‖W_O v_k‖ (value-weighted attention, Kobayashi et al. 2020).
    """

    weights: Tensor
    amounts: Tensor

    def share(self, tokens: Sequence[int]) -> Tensor:
        """(heads,) the share of all that is moved that comes from some tokens."""
        return self.amounts[:, list(tokens)].sum(dim=-1) / self._whole()

    def shares(self) -> Tensor:
        """(heads, tokens) the share of each token; a head's sum to 1 unless it moves nothing at all."""
        return self.amounts / self._whole()[:, None]

    def _whole(self) -> Tensor:
        return self.amounts.sum(dim=-1).clamp_min(torch.finfo(self.amounts.dtype).tiny)


def output_grams(lm: LoadedModel) -> list[Tensor]:
    """(heads, d_head, d_head) W_Oᵀ W_O of every head, for each layer: vᵀ (W_Oᵀ W_O) v = ‖W_O v‖². The scale of a norm
    behind W_O, being one token's, is in no share of what that token is brought."""
    grams = []
    for layer in range(lm.n_layers):
        weight = write_weight(lm, "z", layer).reshape(lm.d_model, lm.n_heads, lm.d_head)
        grams.append(torch.einsum("dhi,dhj->hij", weight, weight))
    return grams


def moved_to_last(lm: LoadedModel, batch: Batch, grams: Sequence[Tensor]) -> Iterator[tuple[int, list[Moved]]]:
    """For each layer, what its heads take to the last token of each text of a batch, from one forward pass."""
    for layer, attention in enumerate(attention_of(lm, batch)):
        squared = torch.einsum("rhki,hij,rhkj->rhk", attention.values, grams[layer], attention.values)
        lengths = squared.clamp_min(0).sqrt()
        found = []
        for row, start, ids in zip(batch.row, batch.start, batch.ids, strict=True):
            end = start + len(ids)
            weights = attention.weights[row, :, end - 1, start:end]
            found.append(Moved(weights, weights * lengths[row, :, start:end]))
        yield layer, found


def attention_to_span(lm: LoadedModel, outcome: Outcome, *, batch_tokens: int = DEFAULT_BATCH_TOKENS) -> Written:
    """Share of what a head moves to the last token that comes from the emotion's word, or from what stands there in the
    neutral prompt: Σ over the word's tokens of attention · ‖W_O v_k‖, over the same sum of all tokens (`Moved`). A head
    that looks at all tokens alike gives the word's share of the tokens.
    """
    sides = np.zeros((2, len(outcome.pairs), lm.n_layers, lm.n_heads))
    grams = output_grams(lm)
    for batches in outcome.batches(lm, batch_tokens):
        for side, batch in enumerate(batches):
            for layer, found in moved_to_last(lm, batch, grams):
                for pair, moved in zip(batch.texts, found, strict=True):
                    share = moved.share(outcome.pairs.pairs[pair].span)
                    sides[side, pair, layer] = share.double().cpu().numpy()
    return Written(sides[0], sides[1])
