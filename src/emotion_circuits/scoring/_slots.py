"""The primary outcome: which class's words a model would say next at a slot. No sampling, and it suits base models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from emotion_circuits.engine import Batch, plan_batches
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.prompts import Context, WordSets

MIN_CHARACTERS = 3


@dataclass(frozen=True)
class SlotTokens:
    """For one kind of slot, the token with which each class's words begin.

    Attributes:
        slot: `opening` (directly after a quotation mark) or `adjective` (after a space).
        tokens: class → token ids, disjoint between classes.
        dropped: words left out because their first token is shared with another class or too short to tell.
    """

    slot: str
    tokens: dict[str, tuple[int, ...]]
    dropped: tuple[str, ...]


def slot_tokens(lm: LoadedModel, word_sets: WordSets, slot: str) -> SlotTokens:
    """First tokens of the words of each class at a slot.

    A first token counts if it belongs to one class only and shows the whole word or at least three letters of it.

    Raises:
        InputError: a class keeps no word under this tokenizer.
    """
    lead = " " if slot == "adjective" else ""
    first: dict[str, dict[str, int]] = {}
    classes = word_sets.classes(slot)  # type: ignore[arg-type]
    for emotion in classes:
        words = word_sets.words(emotion, slot)  # type: ignore[arg-type]
        ids = [lm.tokenizer(lead + word, add_special_tokens=False)["input_ids"] for word in words]
        first[emotion] = {
            word: tokens[0]
            for word, tokens in zip(words, ids, strict=True)
            if len(tokens) == 1 or len(str(lm.tokenizer.decode([tokens[0]])).strip()) >= MIN_CHARACTERS
        }
    owners: dict[int, set[str]] = {}
    for emotion, found in first.items():
        for token in found.values():
            owners.setdefault(token, set()).add(emotion)
    kept = {
        emotion: tuple(sorted({t for t in found.values() if len(owners[t]) == 1})) for emotion, found in first.items()
    }
    dropped = tuple(
        word
        for emotion in classes
        for word in word_sets.words(emotion, slot)  # type: ignore[arg-type]
        if first[emotion].get(word) not in kept[emotion]
    )
    for emotion, tokens in kept.items():
        if not tokens:
            raise InputError(
                f"No word of {emotion} at the slot {slot!r} begins with a token of its own in {lm.name}.",
                next_step="use other word sets",
            )
    return SlotTokens(slot, kept, dropped)


def log_odds(logits: Tensor, slots: Sequence[SlotTokens], tokens: Sequence[int] | None = None) -> Tensor:
    """Log-odds of each class's words against all other classes' words.

    The softmax's denominator cancels, so only these words' logits matter.

    Args:
        logits: (..., contexts, vocabulary), or of some tokens only.
        slots: the slot of each context.
        tokens: which tokens the logits are of; None for the whole vocabulary.

    Returns:
        (..., contexts, classes), in nats, classes in the order of the slots' tokens.
    """
    column = None if tokens is None else {token: k for k, token in enumerate(tokens)}
    classes = tuple(slots[0].tokens)
    found = logits.new_empty((*logits.shape[:-1], len(classes)), dtype=torch.float32)
    # Contexts of one kind of slot go together: a call for each context and class costs more than the sums.
    for slot in {id(slot): slot for slot in slots}.values():
        own = torch.tensor([i for i, other in enumerate(slots) if other is slot], device=logits.device)
        here = logits.index_select(-2, own)
        wanted = [[t if column is None else column[t] for t in slot.tokens[c]] for c in classes]
        sums = torch.stack([here[..., columns].float().logsumexp(-1) for columns in wanted], dim=-1)
        others = torch.stack(
            [sums[..., [k for k in range(len(classes)) if k != c]].logsumexp(-1) for c in range(len(classes))], dim=-1
        )
        found = found.index_copy(-2, own, sums - others)
    return found


@dataclass(frozen=True, eq=False)
class SlotTask:
    """Contexts laid out for the model, each read at its last token, with the words that count there.

    `slots` and results are in the order of `contexts`; a batch's `texts` say which of them it holds.
    """

    contexts: tuple[Context, ...]
    batches: tuple[Batch, ...]
    slots: tuple[SlotTokens, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of scores, in order."""
        return tuple(self.slots[0].tokens)

    def column(self, emotion: str) -> int:
        """The place of an emotion in scores.

        Raises:
            InputError: it has no words.
        """
        return column_of(self.classes, emotion)

    @cached_property
    def tokens(self) -> tuple[int, ...]:
        """Every token that counts at any slot, sorted: log-odds need no other logits."""
        return tuple(sorted({t for slot in self.slots for own in slot.tokens.values() for t in own}))

    def score(self, batch: Batch, logits: Tensor) -> Tensor:
        """(..., texts of the batch, vocabulary or `tokens` only) → (..., texts of the batch, classes) log-odds."""
        tokens = self.tokens if logits.shape[-1] == len(self.tokens) else None
        return log_odds(logits, [self.slots[i] for i in batch.texts], tokens)

    def plain_batches(self) -> tuple[Batch, ...]:
        """The same contexts, one to a row and rows of one length, as keys and values of a prefix need them."""
        ids: list[tuple[int, ...]] = [()] * len(self.contexts)
        for batch in self.batches:
            for text, tokens in zip(batch.texts, batch.ids, strict=True):
                ids[text] = tokens
        return plan_batches(ids, packed=False)


def column_of(classes: Sequence[str], emotion: str) -> int:
    """The place of an emotion among the classes of word sets.

    Raises:
        InputError: it has no words.
    """
    if emotion not in classes:
        raise InputError(f"There are no words for {emotion}.", accepted=", ".join(classes))
    return list(classes).index(emotion)


def slot_task(lm: LoadedModel, contexts: Sequence[Context], word_sets: WordSets) -> SlotTask:
    """Lay contexts out for scoring.

    Raises:
        InputError: no contexts, or a class without words under this tokenizer.
    """
    if not contexts:
        raise InputError("No contexts to steer in.")
    kinds = {slot: slot_tokens(lm, word_sets, slot) for slot in sorted({c.slot for c in contexts})}
    ids = [e.ids for e in lm.encode([c.text for c in contexts])]
    return SlotTask(
        tuple(contexts), plan_batches(ids, packed=lm.packing), tuple(kinds[context.slot] for context in contexts)
    )
