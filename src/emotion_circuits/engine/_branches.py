"""Texts that begin alike, such as a context under many continuations: what they share goes through the model once.

A trunk holds the tokens that the texts of a group share; each text's own tokens follow as a branch, attend to the trunk
and to themselves, and count their positions on from it. Unlike kept keys and values this also serves passes in which
the shared tokens are edited.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emotion_circuits.engine._batches import DEFAULT_BATCH_TOKENS, ROW_TOKENS, Batch, lay_out, plan_batches, tight_rows
from emotion_circuits.engine._tails import takes_packed_tails
from emotion_circuits.models import LoadedModel


@dataclass(frozen=True)
class BranchBatch(Batch):
    """Groups of texts, several to a row, each as a trunk and its branches.

    `ids` are whole texts, and `flat` says where any of their tokens lies; texts of a group name the same places for the
    tokens that they share.

    Attributes:
        trunk: where the trunk of each text's group begins in its row.
        shared: how many of each text's first tokens stand in the trunk; 0 where a group shares none.
        start: where each text's branch begins.
    """

    trunk: tuple[int, ...] = field(kw_only=True)
    shared: tuple[int, ...] = field(kw_only=True)
    _of_texts: ClassVar[tuple[str, ...]] = (*Batch._of_texts, "trunk", "shared")

    @cached_property
    def owner(self) -> NDArray[np.int64]:
        """(rows, tokens): the text whose branch a token is of; of a trunk its last text; -1 for filling."""
        return self._filled(-1, lambda i, _: i)

    @cached_property
    def position_ids(self) -> NDArray[np.int64]:
        """(rows, tokens): each token's place in its own text; 0 for filling."""
        return self._filled(0, lambda _, k: k)

    def input_ids(self) -> NDArray[np.int64]:
        """(rows, tokens) token ids; 0 for filling."""
        return self._tokens

    def flat(self, i: int, position: int) -> int:
        """Where token `position` of the batch's i-th text lies when rows are laid end to end."""
        shared = self.shared[i]
        place = self.trunk[i] + position if position < shared else self.start[i] + position - shared
        return self.row[i] * self.shape[1] + place

    def allowed(self, device: torch.device) -> Tensor:
        """(rows, tokens, tokens) bool: a branch sees its trunk and itself, a trunk itself."""
        group, branch = (torch.from_numpy(x).to(device) for x in (self._trunk_of, self._branch_of))
        causal = torch.ones(self.shape[1], self.shape[1], dtype=torch.bool, device=device).tril()
        same_group = group.unsqueeze(2) == group.unsqueeze(1)
        in_trunk_or_own = (branch.unsqueeze(1) == -1) | (branch.unsqueeze(2) == branch.unsqueeze(1))
        return same_group & in_trunk_or_own & causal

    # Kept, since every pass over variants of the batch asks for its tokens and its mask.
    @cached_property
    def _tokens(self) -> NDArray[np.int64]:
        return self._filled(0, lambda i, k: self.ids[i][k])

    @cached_property
    def _trunk_of(self) -> NDArray[np.int64]:
        return self._filled(-1, lambda i, _: self.trunk[i])

    @cached_property
    def _branch_of(self) -> NDArray[np.int64]:
        return self._filled(-1, lambda i, k: -1 if k < self.shared[i] else i)

    def _filled(self, filling: int, value: Callable[[int, int], int]) -> NDArray[np.int64]:
        values = np.full(self.shape[0] * self.shape[1], filling, dtype=np.int64)
        for i, ids in enumerate(self.ids):
            for k in range(len(ids)):
                values[self.flat(i, k)] = value(i, k)
        return values.reshape(self.shape)


LONGEST_ROW = 2 * ROW_TOKENS
"""Groups are parted that would make rows longer, down to texts with rows of their own: attention goes over rows."""


def plan_branches(
    lm: LoadedModel,
    ids: Sequence[Sequence[int]],
    groups: Sequence[int],
    most: Sequence[int],
    *,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
) -> tuple[Batch, ...]:
    """Lay texts out so that those of a group share a trunk; as `plan_batches` does for models that do not take it.

    Args:
        lm: the model.
        ids: token ids of each text.
        groups: for each text its group; only texts of a group share tokens.
        most: for each text how many of its first tokens may stand in a trunk.
        batch_tokens: size of a forward pass.
    """
    if not takes_packed_tails(lm):
        return plan_batches(ids, packed=lm.packing, batch_tokens=batch_tokens)
    places = min(LONGEST_ROW, batch_tokens)
    units = [unit for members in _members(groups) for unit in _parted(ids, members, most, places)]
    long = [i for unit in units if unit.length > places for i in unit.texts]
    units = [unit for unit in units if unit.length <= places]
    rows = _cheapest_rows(lm, [unit.length for unit in units], places)
    longest = max((sum(units[u].length for u in row) for row in rows), default=1)
    at_once = max(1, batch_tokens // longest)
    return (
        *lay_out(long, [tuple(ids[i]) for i in long], True, batch_tokens),
        *(_laid_out(ids, units, rows[k : k + at_once]) for k in range(0, len(rows), at_once)),
    )


class _Unit(NamedTuple):
    """Texts, how many first tokens they share, and how many places they take."""

    texts: tuple[int, ...]
    shared: int
    length: int


def _members(groups: Sequence[int]) -> list[list[int]]:
    members: dict[int, list[int]] = defaultdict(list)
    for text, group in enumerate(groups):
        members[group].append(text)
    return list(members.values())


def _parted(ids: Sequence[Sequence[int]], members: Sequence[int], most: Sequence[int], places: int) -> list[_Unit]:
    """A group in units that a row of so many places may hold, or of one text."""
    first = ids[members[0]]
    shared = min(min(most[i], len(ids[i]) - 1) for i in members)
    shared = next((k for k in range(shared) if any(ids[i][k] != first[k] for i in members)), shared)
    units: list[_Unit] = []
    for i in members:
        rest = len(ids[i]) - shared
        if units and units[-1].length + rest <= places:
            last = units[-1]
            units[-1] = _Unit((*last.texts, i), shared, last.length + rest)
        else:
            units.append(_Unit((i,), shared, shared + rest))
    return units


def _cheapest_rows(lm: LoadedModel, lengths: Sequence[int], most: int) -> list[list[int]]:
    """Which units share a row: rows of the length that leaves little filling, and little for attention to pass over."""
    if not lengths:
        return []
    stand_ins = [range(length) for length in lengths]  # only lengths count

    def cost(rows: list[list[int]]) -> int:
        tokens = max(sum(lengths[u] for u in row) for row in rows)
        return len(rows) * tokens * (2 * lm.d_model + tokens)

    return min((tight_rows(stand_ins, n) for n in range(max(lengths), most + 1)), key=cost)


def _laid_out(ids: Sequence[Sequence[int]], units: Sequence[_Unit], rows: Sequence[Sequence[int]]) -> BranchBatch:
    texts, row_of, start_of, trunk_of, shared_of = [], [], [], [], []
    longest = 0
    for r, row in enumerate(rows):
        filled = 0
        for unit in (units[u] for u in row):
            begin = filled
            filled += unit.shared
            for i in unit.texts:
                texts.append(i)
                row_of.append(r)
                start_of.append(filled)
                trunk_of.append(begin)
                shared_of.append(unit.shared)
                filled += len(ids[i]) - unit.shared
        longest = max(longest, filled)
    return BranchBatch(
        tuple(texts), tuple(tuple(ids[i]) for i in texts), tuple(row_of), tuple(start_of), (len(rows), longest),
        trunk=tuple(trunk_of), shared=tuple(shared_of),
    )  # fmt: skip
