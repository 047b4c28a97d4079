"""Texts whose first tokens are run once: passes over the tokens behind, with the keys and values of those before.

Two prompts that share their first tokens share what the model computes there, and a patch from one into the other
changes nothing before their first difference. So those tokens are run once, and every variant runs the others only.
A `TailBatch` is a batch like any other for whatever runs a pass: recording, edits, replay, gradients.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from emotion_circuits.engine._batches import ROW_TOKENS, Batch, attention_mask, rows_to_batch, tight_rows
from emotion_circuits.engine._run import forward, hooks, only_blocks
from emotion_circuits.engine._sites import Point
from emotion_circuits.engine._suffix import SharedLayer, keys_and_values, shared_cache
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel

PASS_TOKENS = 64
"""About what a forward pass costs beyond its tokens, in tokens: groups are joined where that saves more."""


@dataclass(frozen=True)
class TailBatch(Batch):
    """The last tokens of texts, laid out in rows; what comes before them is kept from a clean run.

    Positions of edits and readings count in tokens of the rows here. `in_whole` puts states back where they stand in
    the whole texts.

    Attributes:
        before: the first tokens of the same texts, in the same rows.
        whole: the same texts with all their tokens.
        layers: keys and values of `before`.
        states: (rows · tokens of `before`, d) what a reader of whole texts gets for them.
    """

    before: Batch = field(kw_only=True)
    whole: Batch = field(kw_only=True)
    layers: tuple[SharedLayer, ...] = field(kw_only=True, repr=False, compare=False)
    states: Tensor = field(kw_only=True, repr=False, compare=False)

    @property
    def footprint(self) -> int:
        """Tokens that attention reads."""
        return self.shape[0] * (self.shape[1] + self.before.shape[1])

    def editable(self, device: torch.device) -> Tensor:
        """(rows, tokens, 1) bool: all but filling; every text's position 0 is among the tokens before."""
        return torch.from_numpy(self.owner >= 0).to(device).unsqueeze(-1)

    def inputs(self, lm: LoadedModel, copies: int = 1) -> dict[str, Any]:
        """As `Batch.inputs`, with the cache of the tokens before."""
        firsts = torch.tensor([*(len(ids) for ids in self.before.ids), 0], device=lm.device)
        owner = torch.from_numpy(self.owner).to(lm.device)
        positions = torch.from_numpy(self.position_ids).to(lm.device) + firsts[owner]
        found: dict[str, Any] = {
            "input_ids": torch.from_numpy(self.input_ids()).to(lm.device).repeat(copies, 1),
            "position_ids": positions.repeat(copies, 1),
            "past_key_values": shared_cache(self.layers),
            "use_cache": True,
        }
        if not (self.plain and self.before.plain):
            found["attention_mask"] = self._mask(lm, owner, positions, copies)
        return found

    def _mask(self, lm: LoadedModel, owner: Tensor, positions: Tensor, copies: int) -> Tensor | dict[str, Tensor]:
        """Over tokens before + tokens."""
        earlier = torch.from_numpy(self.before.owner).to(lm.device)
        seen = (owner.unsqueeze(2) == earlier.unsqueeze(1)) & (owner >= 0).unsqueeze(2)
        causal = torch.ones(self.shape[1], self.shape[1], dtype=torch.bool, device=lm.device).tril()
        # Filling may attend to filling before it, so no softmax is over nothing.
        own = (owner.unsqueeze(2) == owner.unsqueeze(1)) & causal
        keys = torch.cat([torch.from_numpy(self.before.position_ids).to(lm.device), positions], dim=1)
        return attention_mask(lm, torch.cat([seen, own], dim=2), positions, keys, copies)

    @cached_property
    def _places(self) -> tuple[Tensor, Tensor, Tensor]:
        """Flat indices: for each token of `whole` a row of `states` (0 for filling and tail tokens); then for each
        tail token where it stands here and in `whole`."""
        old = torch.zeros(self.whole.shape[0] * self.whole.shape[1], dtype=torch.long)
        here, there = [], []
        for i, (first, rest) in enumerate(zip(self.before.ids, self.ids, strict=True)):
            at, begin = self.whole.flat(i, 0), self.before.flat(i, 0)
            old[at : at + len(first)] = torch.arange(begin, begin + len(first))
            here += [self.flat(i, k) for k in range(len(rest))]
            there += [at + len(first) + k for k in range(len(rest))]
        return old, torch.tensor(here), torch.tensor(there)

    def of_whole(self, tokens: Sequence[int]) -> list[int]:
        """Which tokens here stand at some flat indices of `whole`; those before are left out."""
        _, here, there = self._places
        place = dict(zip(there.tolist(), here.tolist(), strict=True))
        return [place[token] for token in tokens if token in place]

    def of_run(self, batch: Batch, values: Tensor) -> Tensor:
        """(rows, tokens, width) here of values from a run of the same whole texts in any layout; 0 for filling.

        Args:
            batch: the layout of that run, which holds these texts and maybe others.
            values: (rows, tokens, width) of that run.
        """
        number = {text: i for i, text in enumerate(batch.texts)}
        here, there = [], []
        for i, (text, first) in enumerate(zip(self.texts, self.before.ids, strict=True)):
            for k in range(len(self.ids[i])):
                here.append(self.flat(i, k))
                there.append(batch.flat(number[text], len(first) + k))
        to, of = (torch.tensor(index, device=values.device) for index in (here, there))
        rows, tokens = self.shape
        found = values.new_zeros(rows * tokens, values.shape[-1])
        return found.index_copy(0, to, values.flatten(0, 1)[of]).reshape(rows, tokens, -1)

    def in_whole(self, states: Tensor) -> Tensor:
        """(copies, rows · tokens, d) → (copies, rows · tokens of `whole`, d), differentiable."""
        old, here, there = (index.to(states.device) for index in self._places)
        clean = self.states[old].expand(len(states), -1, -1)
        return clean.index_copy(1, there, states[:, here])


def shared_tokens(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens stand before the first difference of two texts of one length, and the last at most."""
    return next((k for k, (x, y) in enumerate(zip(a, b, strict=True)) if x != y), len(a) - 1)


def takes_packed_tails(lm: LoadedModel) -> bool:
    """Several texts' tails to a row need a model that goes by the mask alone. GPT-Neo's own (eager) attention measures
    its local windows by the keys' places in the row, which are not the tokens' distances there."""
    return lm.packing and lm.family.attention_implementation == "sdpa"


def tails(
    lm: LoadedModel, batch: Batch, firsts: Sequence[int], *, read: Point | None = None, copies: int = 1
) -> list[TailBatch]:
    """Run the tokens before `firsts` of each text, and lay out the others.

    Args:
        lm: the model.
        batch: the texts.
        firsts: per text of the batch the first token that differs between variants, from 1 on.
        read: whose states `in_whole` needs; None for those after the final norm. Blocks after it do not run.
        copies: about how many variants each will serve, to weigh small groups against many passes.

    Returns:
        one batch where texts may share a row (long ones have theirs), else one for texts of a length (and of about
        the same `firsts`).

    Raises:
        InputError: no token before, or none after.
    """
    for ids, first in zip(batch.ids, firsts, strict=True):
        if not 0 < first < len(ids):
            raise InputError("No token lies before the edit, or none after.", found=f"token {first} of {len(ids)}")
    if takes_packed_tails(lm):
        long = max(map(len, batch.ids)) > ROW_TOKENS
        rows = [[i] for i in range(len(firsts))] if long else _cheapest_rows(lm, batch.ids, firsts)
        return [_kept(lm, batch, firsts, rows, read)]
    return [
        _kept(lm, batch, [first] * len(batch.ids), [[i] for i in members], read)
        for first, members in _groups(batch, firsts, copies)
    ]


def _cheapest_rows(lm: LoadedModel, ids: Sequence[Sequence[int]], firsts: Sequence[int]) -> list[list[int]]:
    """Rows of tails, of the length that leaves little filling and little for attention to pass over in vain."""
    rest = [text[first:] for text, first in zip(ids, firsts, strict=True)]
    longest = max(map(len, rest))

    def cost(rows: list[list[int]]) -> int:
        tokens, before = (max(sum(of[i] for i in row) for row in rows) for of in ([len(r) for r in rest], firsts))
        # Attention costs a token 4 · d · keys operations beside 24 · d², at about a third of a product's speed.
        return len(rows) * tokens * (2 * lm.d_model + tokens + before)

    lengths = range(longest, max(longest, ROW_TOKENS) + 1)
    return min((tight_rows(rest, length) for length in lengths), key=cost)


def _groups(batch: Batch, firsts: Sequence[int], copies: int) -> list[tuple[int, list[int]]]:
    """(first, texts) of one length each; a later `first` joins the group before where a pass would cost more."""
    groups: list[tuple[int, list[int]]] = []
    keys = sorted({(len(ids), first) for ids, first in zip(batch.ids, firsts, strict=True)})
    last_length = None
    for length, first in keys:
        members = [i for i, ids in enumerate(batch.ids) if (len(ids), firsts[i]) == (length, first)]
        if length == last_length and (first - groups[-1][0]) * len(members) * copies <= PASS_TOKENS:
            groups[-1][1].extend(members)
        else:
            groups.append((first, members))
        last_length = length
    return groups


def _kept(
    lm: LoadedModel, batch: Batch, firsts: Sequence[int], rows: Sequence[Sequence[int]], read: Point | None
) -> TailBatch:
    whole = rows_to_batch(batch.texts, batch.ids, rows)
    before = rows_to_batch(batch.texts, [ids[:first] for ids, first in zip(batch.ids, firsts, strict=True)], rows)
    after = rows_to_batch(batch.texts, [ids[first:] for ids, first in zip(batch.ids, firsts, strict=True)], rows)
    cache = shared_cache(())
    seen: deque[Tensor] = deque(maxlen=1)
    touches = {} if read is None else {read: seen.append}
    stop = None if read is None else read.layer + 1
    with torch.no_grad(), hooks(lm, touches), only_blocks(lm, stop=stop):
        final = forward(lm, **before.inputs(lm), past_key_values=cache, use_cache=True)
    return TailBatch(
        *(after.texts, after.ids, after.row, after.start, after.shape),
        before=before,
        whole=whole,
        layers=tuple(SharedLayer(keys, values) for keys, values in keys_and_values(cache)),
        states=(final if read is None else seen[0]).flatten(0, 1),
    )


def with_ids(batch: TailBatch, ids: Sequence[Sequence[int]]) -> TailBatch:
    """The same layout for other texts that begin with the same tokens.

    Raises:
        InputError: they do not.
    """
    if any(tuple(new[: len(old)]) != tuple(old) for new, old in zip(ids, batch.before.ids, strict=True)):
        raise InputError("Texts that begin otherwise cannot use kept keys and values.")
    rest = tuple(tuple(new[len(old) :]) for new, old in zip(ids, batch.before.ids, strict=True))
    whole = replace(batch.whole, ids=tuple(tuple(new) for new in ids))
    return replace(batch, ids=rest, whole=whole)
