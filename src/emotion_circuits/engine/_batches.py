"""How texts become forward passes: packed rows, or rows of one text each.

Packing puts several short texts side by side in one row, under a block mask and positions that start again with each
text, so that little is spent on filling. It goes through the model's own forward pass, and is used where `verify` has
shown that the family takes such masks (see `engine.verify`). A mask takes the square of a row's length, so long texts
have rows of their own and none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel

DEFAULT_BATCH_TOKENS = 2048
ROW_TOKENS = 64
"""Long enough that rows fill well, short enough that attention over a row costs little beside the products."""
MOST_FILLING = 1 / 8
"""Of a long text's row, behind the text: long texts of about one length share a batch."""


@dataclass(frozen=True)
class Batch:
    """Texts laid out in rows for one forward pass.

    Attributes:
        texts: indices of the texts in the caller's list.
        ids: their token ids.
        row, start: where each text begins.
        shape: (rows, tokens) of the forward pass.
    """

    texts: tuple[int, ...]
    ids: tuple[tuple[int, ...], ...]
    row: tuple[int, ...]
    start: tuple[int, ...]
    shape: tuple[int, int]

    @cached_property
    def plain(self) -> bool:
        """Every row holds exactly one text that fills it."""
        return self.unmasked and all(len(ids) == self.shape[1] for ids in self.ids)

    @property
    def unmasked(self) -> bool:
        """Every row holds one text from its first token on, and filling behind it, which no token of it looks at: no
        mask and no positions need be given."""
        return len(self.texts) == self.shape[0] and not any(self.start)

    @cached_property
    def owner(self) -> NDArray[np.int64]:
        """(rows, tokens): which of the batch's texts a token belongs to, counted from 0; -1 for filling."""
        owner = np.full(self.shape, -1, dtype=np.int64)
        for i, (row, start, ids) in enumerate(zip(self.row, self.start, self.ids, strict=True)):
            owner[row, start : start + len(ids)] = i
        return owner

    @cached_property
    def position_ids(self) -> NDArray[np.int64]:
        """(rows, tokens): each token's place in its own text; 0 for filling."""
        positions = np.zeros(self.shape, dtype=np.int64)
        for row, start, ids in zip(self.row, self.start, self.ids, strict=True):
            positions[row, start : start + len(ids)] = np.arange(len(ids))
        return positions

    def input_ids(self) -> NDArray[np.int64]:
        """(rows, tokens) token ids; 0 for filling, which no text attends to."""
        tokens = np.zeros(self.shape, dtype=np.int64)
        for row, start, ids in zip(self.row, self.start, self.ids, strict=True):
            tokens[row, start : start + len(ids)] = ids
        return tokens

    def flat(self, i: int, position: int) -> int:
        """Where token `position` of the batch's i-th text lies when rows are laid end to end."""
        return self.row[i] * self.shape[1] + self.start[i] + position

    @property
    def footprint(self) -> int:
        """Tokens of a pass, as memory counts them."""
        return self.shape[0] * self.shape[1]

    def some(self, chosen: Sequence[int], texts: Sequence[int]) -> Batch:
        """Some of the batch's texts in the same pass, called by other numbers: for reading them from its states.

        Args:
            chosen: places in `texts`.
            texts: their new numbers.
        """
        kept = {name: tuple(getattr(self, name)[i] for i in chosen) for name in self._of_texts}
        return replace(self, texts=tuple(texts), **kept)

    _of_texts: ClassVar[tuple[str, ...]] = ("ids", "row", "start")

    def last(self) -> list[int]:
        """`flat` of each text's last token."""
        return [self.flat(i, len(ids) - 1) for i, ids in enumerate(self.ids)]

    def marked(self, flat: Sequence[int], device: torch.device) -> Tensor:
        """(rows, tokens, 1) bool: the tokens at some flat indices."""
        mask = torch.zeros(self.shape[0] * self.shape[1], dtype=torch.bool, device=device)
        mask[torch.as_tensor(flat, dtype=torch.long, device=device)] = True
        return mask.reshape(*self.shape, 1)

    def editable(self, device: torch.device) -> Tensor:
        """(rows, tokens, 1) bool: tokens that edits may touch, that is all but filling and every text's position 0.

        The first token of a text carries a norm of its own (137 times the others' in SmolLM2) and is left alone.
        """
        mask = (self.owner >= 0) & (self.position_ids > 0)
        return torch.from_numpy(mask).to(device).unsqueeze(-1)

    def allowed(self, device: torch.device) -> Tensor:
        """(rows, tokens, tokens) bool: which tokens each one attends to."""
        owner = torch.from_numpy(self.owner).to(device)
        causal = torch.ones(self.shape[1], self.shape[1], dtype=torch.bool, device=device).tril()
        # Filling may attend to filling before it, so no softmax is over nothing.
        return (owner.unsqueeze(2) == owner.unsqueeze(1)) & causal

    def inputs(self, lm: LoadedModel, copies: int = 1) -> dict[str, Any]:
        """Keyword arguments for the model's forward pass over this batch, repeated `copies` times along the rows."""
        tokens = torch.from_numpy(self.input_ids()).to(lm.device).repeat(copies, 1)
        if self.unmasked:
            return {"input_ids": tokens}
        positions = torch.from_numpy(self.position_ids).to(lm.device)
        return {
            "input_ids": tokens,
            "position_ids": positions.repeat(copies, 1),
            "attention_mask": attention_mask(lm, self.allowed(lm.device), positions, positions, copies),
        }

    def halves(self) -> tuple[Batch, Batch]:
        """The same texts in two batches of half the size, for when memory ran out."""
        middle = len(self.texts) // 2
        packed = not self.plain
        parts = []
        for chosen in (slice(None, middle), slice(middle, None)):
            [part] = lay_out(self.texts[chosen], self.ids[chosen], packed, batch_tokens=1 << 60)
            parts.append(part)
        return parts[0], parts[1]


def attention_mask(
    lm: LoadedModel, allowed: Tensor, queries: Tensor, keys: Tensor, copies: int
) -> Tensor | dict[str, Tensor]:
    """What is added to attention scores, (copies · rows, 1, tokens, keys): 0 where a token may look.

    Args:
        lm: the model, whose sliding windows count too; where its layers differ in them, one mask for each kind.
        allowed: (rows, tokens, keys) bool.
        queries, keys: (rows, tokens) and (rows, keys), places in their own texts.
        copies: how often the batch is repeated along the rows.
    """

    def one(window: int | None) -> Tensor:
        seen = allowed if window is None else allowed & (queries.unsqueeze(2) - keys.unsqueeze(1) < window)
        mask = torch.zeros(seen.shape, dtype=lm.dtype, device=lm.device)
        return mask.masked_fill_(~seen, torch.finfo(lm.dtype).min).unsqueeze(1).repeat(copies, 1, 1, 1)

    masks = {kind: one(window) for kind, window in lm.windows.items()}
    return masks if len(masks) > 1 else masks.popitem()[1]


def plan_batches(
    ids: Sequence[Sequence[int]], *, packed: bool, batch_tokens: int = DEFAULT_BATCH_TOKENS
) -> tuple[Batch, ...]:
    """Lay texts out in batches of at most `batch_tokens` tokens (a single longer text has a batch of its own).

    Args:
        ids: token ids of each text.
        packed: several texts to a row, long ones with filling behind them; otherwise one text a row, all rows of a
            batch of one length.
        batch_tokens: the size of a forward pass, and so the bound on memory.

    Raises:
        InputError: a text without tokens.
    """
    if not all(ids):
        raise InputError("A text has no tokens.", next_step="leave out empty texts")
    texts = tuple(range(len(ids)))
    return tuple(lay_out(texts, tuple(tuple(i) for i in ids), packed, batch_tokens))


def lay_out(texts: Sequence[int], ids: Sequence[tuple[int, ...]], packed: bool, batch_tokens: int) -> Iterable[Batch]:
    """As `plan_batches`, for texts with numbers of their own."""
    if packed:
        return _packed(texts, ids, batch_tokens)
    return _by_length(texts, ids, batch_tokens)


def _by_length(texts: Sequence[int], ids: Sequence[tuple[int, ...]], batch_tokens: int) -> Iterable[Batch]:
    groups: dict[int, list[int]] = defaultdict(list)
    for i, tokens in enumerate(ids):
        groups[len(tokens)].append(i)
    for length in sorted(groups):
        size = max(1, batch_tokens // length)
        members = groups[length]
        for first in range(0, len(members), size):
            chosen = members[first : first + size]
            yield Batch(
                texts=tuple(texts[i] for i in chosen),
                ids=tuple(ids[i] for i in chosen),
                row=tuple(range(len(chosen))),
                start=(0,) * len(chosen),
                shape=(len(chosen), length),
            )


def _packed(texts: Sequence[int], ids: Sequence[tuple[int, ...]], batch_tokens: int) -> Iterable[Batch]:
    capacity = min(ROW_TOKENS, batch_tokens)
    by_length = sorted(range(len(ids)), key=lambda i: (-len(ids[i]), i))
    group: list[list[int]] = []
    for i in (i for i in by_length if len(ids[i]) > capacity):
        longest = len(ids[group[0][0]]) if group else 0
        full = (len(group) + 1) * longest > batch_tokens
        if group and (full or len(ids[i]) < (1 - MOST_FILLING) * longest):
            yield rows_to_batch(texts, ids, group)
            group = []
        group.append([i])
    if group:
        yield rows_to_batch(texts, ids, group)
    short = [i for i in by_length if len(ids[i]) <= capacity]
    rows = [[short[k] for k in row] for row in tight_rows([ids[i] for i in short], capacity)]
    rows_per_batch = max(1, batch_tokens // capacity)
    for first in range(0, len(rows), rows_per_batch):
        yield rows_to_batch(texts, ids, rows[first : first + rows_per_batch])


def tight_rows(ids: Sequence[Sequence[int]], capacity: int) -> list[list[int]]:
    """Which texts share a row: first-fit decreasing, the longest first, each into the first row with room left."""
    rows: list[list[int]] = []
    room: list[int] = []
    for i in sorted(range(len(ids)), key=lambda i: (-len(ids[i]), i)):
        length = len(ids[i])
        home = next((r for r, free in enumerate(room) if free >= length), None)
        if home is None:
            rows.append([i])
            room.append(capacity - length)
        else:
            rows[home].append(i)
            room[home] -= length
    return rows


def rows_to_batch(texts: Sequence[int], ids: Sequence[tuple[int, ...]], rows: Sequence[Sequence[int]]) -> Batch:
    """The batch whose rows hold these texts side by side (indices of `texts` and `ids`)."""
    members, row_of, start_of = [], [], []
    longest = 0
    for r, row in enumerate(rows):
        filled = 0
        for i in row:
            members.append(i)
            row_of.append(r)
            start_of.append(filled)
            filled += len(ids[i])
        longest = max(longest, filled)
    return Batch(
        texts=tuple(texts[i] for i in members),
        ids=tuple(ids[i] for i in members),
        row=tuple(row_of),
        start=tuple(start_of),
        shape=(len(rows), longest),
    )
