"""The primary outcome: which class's words a model would say next at a slot. No sampling, and it suits base models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from emotion_circuits.engine import Batch, plan_batches
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.prompts import NEUTRAL, Context, WordSets

MIN_CHARACTERS = 3
Made = TypeVar("Made")


class NoOwnToken(InputError):
    """None of a class's words begins with a token that tells it from the other classes.

    Attributes:
        emotion: the class.
    """

    emotion = ""

    def of(self, emotion: str) -> NoOwnToken:
        """The same error, about a class."""
        self.emotion = emotion
        return self


def where_told(make: Callable[[WordSets], Made], word_sets: WordSets, *needed: str) -> tuple[Made, dict[str, str]]:
    """What `make` makes of as many classes as a model's tokens tell apart, and why the others are left out.

    Raises:
        InputError: neutral words, or those of a class that is needed, are not told from the others.
    """
    left_out: dict[str, str] = {}
    while True:
        try:
            return make(word_sets), left_out
        except NoOwnToken as error:
            if error.emotion in (NEUTRAL, *needed):
                raise
            left_out[error.emotion] = error.problem.rstrip(".")
            word_sets = WordSets(tuple(own for own in word_sets if own.emotion != error.emotion))


@dataclass(frozen=True)
class SlotTokens:
    """After one context, the token with which each class's words go on.

    Attributes:
        slot: `opening` (directly after a quotation mark) or `adjective` (after a space).
        tokens: class → token ids, disjoint between classes.
        dropped: words left out because their first token is shared with another class or too short to tell, or because
            they share a token with the context.
    """

    slot: str
    tokens: dict[str, tuple[int, ...]]
    dropped: tuple[str, ...]


def slot_tokens(lm: LoadedModel, word_sets: WordSets, slot: str, *contexts: Sequence[str]) -> tuple[SlotTokens, ...]:
    """The tokens with which the words of each class go on contexts that end in a slot.

    A first token counts if it belongs to one class only and shows the whole word or at least three letters of it.

    Args:
        lm: the model.
        word_sets: the words.
        slot: what kind the contexts end in.
        contexts: texts; of several sequences, those at one place are read together, and a word counts only if it goes
            on all of them with the same token.

    Returns:
        one for each place; contexts that words go on alike share one object.

    Raises:
        InputError: a class keeps no word after a context.
    """
    lead = " " if slot == "adjective" else ""
    words = [(own.emotion, word) for own in word_sets if own.slot == slot for word in own.words]
    if not words:
        raise InputError("no such word set", found=slot, accepted=", ".join(dict.fromkeys(s.slot for s in word_sets)))
    sides = [lm.tokens_after(texts, [lead + word for _, word in words]) for texts in contexts]
    letters: dict[int, int] = {}
    known: dict[tuple[int | None, ...], SlotTokens] = {}
    found = []
    for texts, *joined in zip(zip(*contexts, strict=True), *sides, strict=True):
        first: list[int | None] = []
        for tokens, *others in zip(*joined, strict=True):
            alike = tokens and all(other[:1] == tokens[:1] for other in others)
            if alike and len(tokens) > 1 and tokens[0] not in letters:
                [context] = lm.encode(texts[:1])
                letters[tokens[0]] = len(lm.text_after(context.ids, tokens[:1]).strip())
            told = alike and (len(tokens) == 1 or letters[tokens[0]] >= MIN_CHARACTERS)
            first.append(tokens[0] if told else None)
        key = tuple(first)
        if key not in known:
            known[key] = _own_tokens(lm, slot, words, key, texts[0])
        found.append(known[key])
    return tuple(found)


def _own_tokens(
    lm: LoadedModel, slot: str, words: Sequence[tuple[str, str]], first: Sequence[int | None], context: str
) -> SlotTokens:
    """What is left when tokens of several classes are taken out; `first` is each word's token, None if it has none."""
    owners: dict[int, set[str]] = {}
    for (emotion, _), token in zip(words, first, strict=True):
        if token is not None:
            owners.setdefault(token, set()).add(emotion)
    kept = {
        own: tuple(sorted(token for token, classes in owners.items() if classes == {own}))
        for own in dict.fromkeys(emotion for emotion, _ in words)
    }
    for emotion, tokens in kept.items():
        if not tokens:
            raise NoOwnToken(
                f"No word of {emotion} at the slot {slot!r} begins with a token of its own in {lm.name}.",
                found=f"the context {context!r}",
                next_step="use other word sets or other contexts",
            ).of(emotion)
    dropped = tuple(w for (c, w), token in zip(words, first, strict=True) if token is None or token not in kept[c])
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

    @cached_property
    def ids(self) -> tuple[tuple[int, ...], ...]:
        """The tokens of each context."""
        found = {i: ids for batch in self.batches for i, ids in zip(batch.texts, batch.ids, strict=True)}
        return tuple(found[i] for i in range(len(self.contexts)))

    def plain_batches(self) -> tuple[Batch, ...]:
        """The same contexts, one to a row and rows of one length, as keys and values of a prefix need them."""
        return plan_batches(self.ids, packed=False)

    def only(self, lm: LoadedModel, contexts: Sequence[Context]) -> SlotTask:
        """Some of the contexts, in the order given, read by the same words."""
        at = [self.contexts.index(context) for context in contexts]
        batches = plan_batches([self.ids[i] for i in at], packed=lm.packing)
        return SlotTask(tuple(contexts), batches, tuple(self.slots[i] for i in at))


def column_of(classes: Sequence[str], emotion: str) -> int:
    """The place of an emotion among the classes of word sets.

    Raises:
        InputError: it has no words.
    """
    if emotion not in classes:
        raise InputError(f"There are no words for {emotion}.", accepted=", ".join(classes))
    return list(classes).index(emotion)


def slot_task(lm: LoadedModel, contexts: Sequence[Context], word_sets: WordSets) -> SlotTask:
    """Lay contexts out for scoring, for the classes that have words for every slot of theirs.

    Raises:
        InputError: no contexts, or a class without words after one of them.
    """
    if not contexts:
        raise InputError("No contexts to steer in.")
    slots: dict[int, SlotTokens] = {}
    wanted = sorted({c.slot for c in contexts})
    everywhere = set(word_sets.classes(wanted[0])).intersection(*(word_sets.classes(slot) for slot in wanted))
    word_sets = WordSets(tuple(own for own in word_sets if own.emotion in everywhere))
    for slot in wanted:
        own = [i for i, context in enumerate(contexts) if context.slot == slot]
        found = slot_tokens(lm, word_sets, slot, [contexts[i].text for i in own])
        slots |= dict(zip(own, found, strict=True))
    ids = [e.ids for e in lm.encode([c.text for c in contexts])]
    return SlotTask(
        tuple(contexts), plan_batches(ids, packed=lm.packing), tuple(slots[i] for i in range(len(contexts)))
    )
