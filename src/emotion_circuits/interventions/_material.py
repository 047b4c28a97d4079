"""What a sweep steers on: the bundled contexts and continuations, or the user's own prompts, and what it will cost."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import NamedTuple

from emotion_circuits import prompts
from emotion_circuits.engine import Point, record
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.prompts import Bank, Context, Continuation
from emotion_circuits.scoring import ContinuationTask, SlotTask, continuation_task, slot_task

N_CONTEXTS = 12
CONTINUATIONS_PER_CLASS = 2
MIN_PROMPTS = 2
# What an adjective follows in the bundled contexts; any other end of a prompt is taken for an opening.
BEFORE_ADJECTIVE = re.compile(r"\b(am|are|is|was|were|be|been|feel|feels|felt|feeling)$", re.IGNORECASE)


class SweepMaterial(NamedTuple):
    """Both outcomes' material: slots for word sets, and continuations."""

    slots: SlotTask
    continuations: ContinuationTask

    @property
    def batches(self) -> int:
        """Forward passes of one variant."""
        return len(self.slots.batches) + len(self.continuations.batches)


def balanced_contexts(contexts: Sequence[Context], n: int) -> list[Context]:
    """The first `n` contexts, in equal shares of each slot where there are enough."""
    by_slot = [[c for c in contexts if c.slot == slot] for slot in prompts.SLOTS]
    mixed = [c for row in zip(*by_slot, strict=False) for c in row]
    rest = [c for c in contexts if c not in mixed]
    return (mixed + rest)[:n]


def few_continuations(bank: Bank, split: str, per_class: int) -> list[Continuation]:
    """The first `per_class` continuations of each class."""
    found = bank.continuations(split)
    return [c for emotion in bank.names for c in [x for x in found if x.emotion == emotion][:per_class]]


def contexts_of(texts: Sequence[str]) -> list[Context]:
    """The user's own prompts as contexts: `adjective` after a form of "to be" or "to feel", otherwise `opening`.

    Nothing is added to a prompt; white space at its end, which a next word would bring itself, is dropped. At an
    opening that is no open quotation the words of the classes are those that could stand right after the last letter,
    without a space: the comparison between classes holds, but the words are less likely than in the bundled contexts.

    Raises:
        InputError: fewer than two different prompts.
    """
    stripped = list(dict.fromkeys(text.rstrip() for text in texts if text.strip()))
    if len(stripped) < MIN_PROMPTS:
        raise InputError(
            "An interval needs several prompts.", found=f"{len(stripped)} different", accepted=f"{MIN_PROMPTS} or more"
        )
    return [
        Context(f"own-{i}", text, "adjective" if BEFORE_ADJECTIVE.search(text) else "opening", "development")
        for i, text in enumerate(stripped, 1)
    ]


def sweep_material(lm: LoadedModel, bank: Bank, own_prompts: Sequence[str] | None = None) -> SweepMaterial:
    """Development contexts, or the user's own prompts, and the continuations that follow the bundled openings.

    Raises:
        InputError: too few prompts, or one that the model cannot take.
    """
    bundled = prompts.contexts("development")
    contexts = balanced_contexts(bundled, N_CONTEXTS) if own_prompts is None else contexts_of(own_prompts)
    openings = [c for c in bundled if c.slot == "opening"]
    return SweepMaterial(
        slot_task(lm, contexts, bank.word_sets()),
        continuation_task(lm, openings, few_continuations(bank, "development", CONTINUATIONS_PER_CLASS)),
    )


def seconds_for(lm: LoadedModel, tokens: int) -> float:
    """How long a model needs for that many tokens, from the faster of two timed runs over 512 of them."""
    ids = [tuple(range(1, 17))] * 32
    seconds = []
    for _ in range(2):  # the first run after loading also reads the weights from disk
        start = time.perf_counter()
        record(lm, ids, {"last": [[15]] * 32}, [Point("resid_post", lm.n_layers - 1)])
        seconds.append(time.perf_counter() - start)
    return tokens * min(seconds) / 512
