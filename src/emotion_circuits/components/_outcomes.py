"""What is measured of paired prompts: numbers that a model's run gives, and that gradients can flow through.

An outcome lays its texts out once and for both sides alike, so that token k of one run stands beside token k of the
other. Higher is more of the emotion.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from emotion_circuits.components._pairs import PairSet
from emotion_circuits.engine import (
    DEFAULT_BATCH_TOKENS,
    Batch,
    Point,
    TailBatch,
    check_point,
    logits_of,
    plan_batches,
    shared_tokens,
    tails,
    with_ids,
)
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.prompts import Context, Continuation, WordSets
from emotion_circuits.scoring import ContinuationTask, column_of, continuation_task, log_odds, slot_tokens

FloatArray = NDArray[np.float64]
Where = Literal["last", "span", "mean"]
"""The last token; the emotion's word and, in the neutral prompt, what stands there; all tokens but the first."""


class SideBySide(NamedTuple):
    """The same layout for both sides: `a` holds the emotion's texts, `b` the neutral ones."""

    a: Batch
    b: Batch


class Outcome(ABC):
    """A number per pair, as a weighted sum over texts.

    Attributes:
        name: what it is, for tables.
        pairs: whose texts.
        ids_a, ids_b: tokens of each side's texts.
        pair_of: (texts,) the pair that a text belongs to.
        weights: (texts,) of its score in the pair's number.
        read: whose states scores need; None for those after the final norm.
    """

    name: str
    pairs: PairSet
    ids_a: tuple[tuple[int, ...], ...]
    ids_b: tuple[tuple[int, ...], ...]
    pair_of: NDArray[np.int64]
    weights: FloatArray
    read: Point | None = None

    @abstractmethod
    def score(self, lm: LoadedModel, batch: Batch, states: Tensor) -> Tensor:
        """(copies, rows · tokens, d) states → (copies, texts of the batch), differentiable."""

    def reads(self, batch: Batch) -> list[int] | None:
        """Flat indices of the tokens whose states scores depend on; None for all."""
        return None

    def scores(self, lm: LoadedModel, batch: Batch, states: Tensor) -> Tensor:
        """As `score`, also for states of the texts' last tokens only."""
        if isinstance(batch, TailBatch):
            return self.score(lm, batch.whole, batch.in_whole(states))
        return self.score(lm, batch, states)

    def layers(self, lm: LoadedModel) -> range:
        """Layers that the outcome can depend on."""
        return range(lm.n_layers if self.read is None else self.read.layer + 1)

    def batches(self, lm: LoadedModel, batch_tokens: int = DEFAULT_BATCH_TOKENS) -> list[SideBySide]:
        """Both sides' texts laid out alike."""
        planned = plan_batches(self.ids_a, packed=lm.packing, batch_tokens=batch_tokens)
        return [self.both_sides(batch) for batch in planned]

    def both_sides(self, batch: Batch) -> SideBySide:
        """A batch of the emotion's texts, and the neutral ones in the same layout."""
        return SideBySide(batch, replace(batch, ids=tuple(self.ids_b[i] for i in batch.texts)))

    def exchanged(self) -> Outcome:
        """The same pairs the other way round: the neutral prompts in the emotion's place."""
        other = copy(self)
        other.ids_a, other.ids_b = self.ids_b, self.ids_a
        return other

    def from_first_difference(self, lm: LoadedModel, sides: SideBySide, copies: int) -> list[SideBySide]:
        """The same texts from the first token on at which the sides differ: nothing before it changes when values of
        one side are put into the other. What they share is run once, here.

        Args:
            lm: the model.
            sides: a batch of whole texts.
            copies: about how many variants will run.

        Returns:
            `sides` itself where texts differ from their first token on.
        """
        firsts = [shared_tokens(a, b) for a, b in zip(sides.a.ids, sides.b.ids, strict=True)]
        if min(firsts) < 1:
            return [sides]
        return [
            SideBySide(a, with_ids(a, [self.ids_b[i] for i in a.texts]))
            for a in tails(lm, sides.a, firsts, read=self.read, copies=copies)
        ]

    def per_pair(self, scores: ArrayLike) -> FloatArray:
        """(texts, …) scores → (pairs, …)."""
        values = np.asarray(scores, dtype=np.float64)
        weighted = values * self.weights.reshape(-1, *(1,) * (values.ndim - 1))
        result = np.zeros((len(self.pairs), *values.shape[1:]))
        np.add.at(result, self.pair_of, weighted)
        return result


class WordSetOutcome(Outcome):
    """Log-odds of the emotion's own words against all other classes' at the prompt's end, in nats (`scoring`)."""

    def __init__(self, lm: LoadedModel, pairs: PairSet, word_sets: WordSets):
        self.name = "word-set log-odds"
        self.pairs = pairs
        self.ids_a = tuple(p.ids_a for p in pairs.pairs)
        self.ids_b = tuple(p.ids_b for p in pairs.pairs)
        self.pair_of, self.weights = np.arange(len(pairs)), np.ones(len(pairs))
        prompts = ([p.text_a for p in pairs.pairs], [p.text_b for p in pairs.pairs])
        self._slots = slot_tokens(lm, word_sets, pairs.bridge.slot, *prompts)
        self._tokens = sorted({t for slot in self._slots for own in slot.tokens.values() for t in own})
        self._column = column_of(tuple(self._slots[0].tokens), pairs.emotion)

    def score(self, lm: LoadedModel, batch: Batch, states: Tensor) -> Tensor:
        logits = logits_of(lm, states[:, batch.last()], torch.tensor(self._tokens, device=states.device))
        return log_odds(logits, [self._slots[i] for i in batch.texts], self._tokens)[..., self._column]

    def reads(self, batch: Batch) -> list[int]:
        return batch.last()


class ProjectionOutcome(Outcome):
    """⟨h, v̂⟩ of the residual stream after a layer, in its own units.

    Args:
        lm: the model.
        pairs: whose prompts.
        unit: (d,) the direction v̂.
        layer: the block whose `resid_post` is read.
        where: which tokens' mean is taken.
        site: another point of that layer, such as `resid_mid`.
    """

    def __init__(
        self,
        lm: LoadedModel,
        pairs: PairSet,
        unit: ArrayLike,
        layer: int,
        where: Where = "last",
        site: Literal["resid_post", "resid_mid"] = "resid_post",
    ):
        self.name = f"projection at layer {layer}, {where}"
        self.pairs = pairs
        self.ids_a = tuple(p.ids_a for p in pairs.pairs)
        self.ids_b = tuple(p.ids_b for p in pairs.pairs)
        self.pair_of, self.weights = np.arange(len(pairs)), np.ones(len(pairs))
        self.read = Point(site, layer)
        check_point(lm, self.read)
        self._unit = torch.from_numpy(np.array(unit, dtype=np.float64))
        if self._unit.shape != (lm.d_model,):
            raise InputError("The direction is not of the model's width.", found=tuple(self._unit.shape))
        self._where: Where = where

    def score(self, lm: LoadedModel, batch: Batch, states: Tensor) -> Tensor:
        along = states @ self._unit.to(device=states.device, dtype=states.dtype)
        chosen = [tokens_read(batch, i, self.pairs.pairs[t].span, self._where) for i, t in enumerate(batch.texts)]
        return torch.stack([along[:, tokens].mean(dim=-1) for tokens in chosen], dim=-1)

    def reads(self, batch: Batch) -> list[int]:
        spans = ((i, self.pairs.pairs[t].span) for i, t in enumerate(batch.texts))
        return [k for i, span in spans for k in tokens_read(batch, i, span, self._where)]


def tokens_read(batch: Batch, i: int, span: Sequence[int], where: Where) -> list[int]:
    """Flat indices of the tokens of the batch's i-th text at a place."""
    length = len(batch.ids[i])
    positions = {"last": [length - 1], "span": list(span), "mean": list(range(1, length))}[where]
    return [batch.flat(i, k) for k in positions]


class ContinuationOutcome(Outcome):
    """Mean log probability per token of the emotion's continuations after the prompt minus that of neutral ones, in
    nats, teacher-forced and with emotion words masked (`scoring`)."""

    def __init__(self, lm: LoadedModel, pairs: PairSet, continuations: Sequence[Continuation]):
        own = [c for c in continuations if c.emotion == pairs.emotion]
        others = [c for c in continuations if c.emotion == pairs.reference]
        if not own or not others:
            raise InputError(f"There are no continuations of {pairs.emotion} or of {pairs.reference}.")
        if pairs.bridge.slot != "opening":
            raise InputError("Continuations follow a bridge of the slot 'opening' only.", found=pairs.bridge.slot)
        self.name = "continuations, own minus neutral, log p per token"
        self.pairs = pairs
        chosen = [*own, *others]
        sides = [
            continuation_task(
                lm, [Context(p.scenario, text, "opening", p.split) for p, text in side], chosen, DEFAULT_BATCH_TOKENS
            )
            for side in ([(p, p.text_a) for p in pairs.pairs], [(p, p.text_b) for p in pairs.pairs])
        ]
        self._tasks: tuple[ContinuationTask, ContinuationTask] = (sides[0], sides[1])
        self.ids_a, self.ids_b = sides[0].ids, sides[1].ids
        if any(len(x) != len(y) for x, y in zip(self.ids_a, self.ids_b, strict=True)):
            raise InputError("A continuation joins with the two prompts of a pair into different numbers of tokens.")
        if _scored(sides[0]) != _scored(sides[1]):
            raise InputError("A continuation joins with the two prompts of a pair into different tokens.")
        self.pair_of = np.repeat(np.arange(len(pairs)), len(chosen))
        signs = [1 / len(own)] * len(own) + [-1 / len(others)] * len(others)
        self.weights = np.tile(np.array(signs), len(pairs))

    def score(self, lm: LoadedModel, batch: Batch, states: Tensor) -> Tensor:
        task = self._tasks[0]  # the scored tokens are the same on both sides
        return task.score(batch, logits_of(lm, states[:, task.read(batch)]))

    def reads(self, batch: Batch) -> list[int]:
        return list(self._tasks[0].read(batch))


def _scored(task: ContinuationTask) -> list[list[tuple[int, int]]]:
    """Of every text, the places and ids of the tokens that count."""
    return [[(k, ids[k]) for k in places] for ids, places in zip(task.ids, task.scored, strict=True)]
