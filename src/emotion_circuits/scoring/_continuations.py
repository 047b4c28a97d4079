"""The second outcome: how likely the model finds a class's sentences, emotion words masked. No sampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from emotion_circuits.engine import Batch, plan_branches
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.prompts import Context, Continuation


@dataclass(frozen=True, eq=False)
class ContinuationTask:
    """Every context followed by every continuation, laid out for the model.

    Pairs are in the order context 0 × all continuations, context 1 × all …; `scored` holds, per pair, the tokens whose
    log probability counts: those of the continuation that touch no masked word; `first` the continuation's first token.
    """

    contexts: tuple[Context, ...]
    continuations: tuple[Continuation, ...]
    batches: tuple[Batch, ...]
    ids: tuple[tuple[int, ...], ...]
    scored: tuple[tuple[int, ...], ...]
    first: tuple[int, ...]

    def spoken(self, batch: Batch) -> list[int]:
        """Flat indices of each text's tokens from its context's last one on: those at which text would be generated."""
        return [
            batch.flat(i, k)
            for i, pair in enumerate(batch.texts)
            for k in range(max(1, self.first[pair] - 1), len(self.ids[pair]))
        ]

    def read(self, batch: Batch) -> list[int]:
        """Flat indices of the tokens before each scored one: where its log probability is predicted."""
        return [batch.flat(i, k - 1) for i, pair in enumerate(batch.texts) for k in self.scored[pair]]

    def score(self, batch: Batch, logits: Tensor) -> Tensor:
        """(variants, len(read), vocabulary) → (variants, pairs of the batch) mean log probability per scored token."""
        targets = torch.tensor(
            [self.ids[pair][k] for pair in batch.texts for k in self.scored[pair]], device=logits.device
        )
        chosen = logits.gather(-1, targets.expand(logits.shape[0], -1).unsqueeze(-1)).squeeze(-1).float()
        log_p = chosen - logits.float().logsumexp(-1)
        lengths = torch.tensor([len(self.scored[pair]) for pair in batch.texts], device=logits.device)
        owner = torch.repeat_interleave(torch.arange(len(lengths), device=logits.device), lengths)
        sums = torch.zeros(logits.shape[0], len(lengths), device=logits.device).index_add(1, owner, log_p)
        return sums / lengths


def continuation_task(
    lm: LoadedModel,
    contexts: Sequence[Context],
    continuations: Sequence[Continuation],
    batch_tokens: int = 1024,
) -> ContinuationTask:
    """Lay out contexts × continuations.

    Raises:
        InputError: no contexts or continuations, a context that no utterance can follow, a continuation of masked
            words only.
    """
    if not contexts or not continuations:
        raise InputError("There are no contexts or no continuations to score.")
    for context in contexts:
        if context.slot != "opening":
            raise InputError("Continuations follow contexts of the slot 'opening' only.", found=context.id)
    texts = [context.text + c.text for context in contexts for c in continuations]
    encoded = lm.encode(texts)
    scored, first = [], []
    for k, tokens in enumerate(encoded):
        context, continuation = contexts[k // len(continuations)], continuations[k % len(continuations)]
        start = len(context.text)
        masked = [(start + a, start + b) for a, b in continuation.masked]
        kept = tuple(
            i
            for i, (a, b) in enumerate(tokens.offsets)
            if a >= start and i > 0 and not any(a < end and b > begin for begin, end in masked)
        )
        if not kept:
            raise InputError("A continuation has no word outside its masks.", found=continuation.id)
        scored.append(kept)
        first.append(next(i for i, (_, b) in enumerate(tokens.offsets) if b > start))
    ids = [tokens.ids for tokens in encoded]
    # A context's last token may be edited for one continuation's sake, so every text has its own.
    batches = plan_branches(
        lm, ids, [k // len(continuations) for k in range(len(ids))], [max(0, k - 1) for k in first],
        batch_tokens=batch_tokens,
    )  # fmt: skip
    return ContinuationTask(
        tuple(contexts),
        tuple(continuations),
        batches,
        tuple(ids),
        tuple(scored),
        tuple(first),
    )
