"""Blocks: scenarios, each with neutral text and the emotions it has. Contrasts are sums of texts with weights.

Bundled scenarios have every emotion; those of a user's own emotion have that one alone. Blocks with the same classes
are of one kind. Resampling, halves and folds draw within kinds, so that no class ever runs out; labels are permuted
within blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from emotion_circuits.errors import InputError

from ._permutation import group_codes

ContrastKind = Literal["matched", "specific"]
IntArray = npt.NDArray[np.intp]
FloatArray = npt.NDArray[np.float64]


class Pairs(NamedTuple):
    """Texts of an emotion and the neutral ones beside them, by number, blocks in sorted order."""

    texts: IntArray
    twins: IntArray


@dataclass(frozen=True, eq=False)
class Blocks:
    """A design. Make one with `Blocks.of`.

    Attributes:
        emotions: sorted.
        codes: (n,) class of each text: the emotion's place, or `len(emotions)` for neutral.
        groups: (n,) block of each text, in sorted order of names.
        member: (E, G) whether a block has an emotion.
    """

    emotions: tuple[str, ...]
    codes: IntArray
    groups: IntArray
    member: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, labels: npt.ArrayLike, groups: npt.ArrayLike, neutral: str = "neutral") -> Blocks:
        """The design of texts with (n,) labels and (n,) scenarios.

        Raises:
            InputError: no emotion, a scenario without neutral text, with nothing else, or with a class twice.
        """
        names = np.asarray(labels)
        emotions = tuple(str(name) for name in np.unique(names) if name != neutral)
        blocks = group_codes(groups, len(names))
        codes = np.searchsorted(np.array(emotions), names) if emotions else np.zeros(len(names), dtype=np.intp)
        codes = np.where(names == neutral, len(emotions), codes)
        counts = np.zeros((len(emotions) + 1, int(blocks.max(initial=-1)) + 1), dtype=np.intp)
        np.add.at(counts, (codes, blocks), 1)
        if not emotions or (counts > 1).any() or not (counts[-1] == 1).all() or not counts[:-1].any(axis=0).all():
            listed = ", ".join(f"{n} {name}" for name, n in zip((*emotions, neutral), counts.sum(axis=1), strict=True))
            raise InputError(
                "Each scenario needs neutral text and that of an emotion, each class exactly once.",
                found=f"{listed} in {counts.shape[1]} scenarios",
            )
        return cls(emotions, codes.astype(np.intp), blocks, counts[:-1] > 0)

    @property
    def n_groups(self) -> int:
        """Blocks."""
        return int(self.member.shape[1])

    @cached_property
    def kinds(self) -> IntArray:
        """(G,) which set of classes a block has, numbered in order of first appearance."""
        _, first, kinds = np.unique(self.member, axis=1, return_index=True, return_inverse=True)
        return np.argsort(np.argsort(first))[kinds.ravel()]

    def has(self, emotion: str) -> npt.NDArray[np.bool_]:
        """(G,) whether a block has an emotion."""
        if emotion not in self.emotions:
            raise InputError("No such contrast.", found=emotion, accepted=", ".join(self.emotions))
        result: npt.NDArray[np.bool_] = self.member[self.emotions.index(emotion)]
        return result

    def first_alike(self, emotion: str) -> str:
        """The first emotion that the same blocks have."""
        return next(e for e in self.emotions if np.array_equal(self.has(e), self.has(emotion)))

    def pairs(self, emotion: str) -> Pairs:
        """An emotion's texts and their neutral twins."""
        within = self.has(emotion)[self.groups]
        sides = []
        for code in (self.emotions.index(emotion), len(self.emotions)):
            found = np.flatnonzero(within & (self.codes == code))
            sides.append(found[np.argsort(self.groups[found])])
        return Pairs(*sides)

    def weights(self, emotion: str, kind: str = "specific", codes: IntArray | None = None) -> FloatArray:
        """What each text counts for in an emotion's contrast: the direction is the sum of weights times activations.

        The matched contrast is the mean over the blocks that have the emotion of its text minus the neutral one; the
        specific one is that minus the mean of all emotions' matched contrasts, and with one emotion the matched one.

        Args:
            emotion: whose contrast.
            kind: `matched` or `specific`.
            codes: (…, n) other classes of the texts, permuted within blocks; None for their own.

        Returns:
            (…, n).
        """
        if kind not in ("matched", "specific"):
            raise InputError("No such contrast.", found=kind, accepted="matched, specific")
        self.has(emotion)
        share = (np.arange(len(self.emotions)) == self.emotions.index(emotion)).astype(np.float64)
        if kind == "specific" and len(share) > 1:
            share -= 1 / len(share)
        share /= self.member.sum(axis=1)
        neutral = -share @ self.member
        # Where a block has every emotion neutral text cancels, and what is left of it is rounding.
        neutral[np.abs(neutral) < 1e-12 * np.abs(share).max()] = 0.0
        table = np.vstack([np.repeat(share[:, None], self.n_groups, axis=1), neutral])
        result: FloatArray = table[self.codes if codes is None else codes, self.groups]
        return result

    def halves(self, n_splits: int, seed: int | Sequence[int]) -> FloatArray:
        """(n_splits, G) ones for the blocks of the first half, zeros for the rest; the first half is never larger."""
        if n_splits < 1:
            raise InputError("There must be a split.", found=n_splits)
        keys = np.random.default_rng(seed).random((n_splits, self.n_groups))
        halves = np.zeros_like(keys)
        done = 0
        for kind in range(int(self.kinds.max()) + 1):
            own = np.flatnonzero(self.kinds == kind)
            # Of kinds with an odd number every second has the larger part in the first half.
            first = (done + len(own)) // 2 - done // 2
            halves[:, own] = np.argsort(keys[:, own], axis=1) < first
            done += len(own)
        return halves

    def folds(self, n_folds: int, seed: int) -> IntArray:
        """(G,) fold of each block, those of a kind dealt out evenly."""
        order = np.random.default_rng(seed).permutation(self.n_groups)
        folds = np.empty(self.n_groups, dtype=np.intp)
        for kind in range(int(self.kinds.max()) + 1):
            own = self.kinds == kind
            folds[own] = np.argsort(np.argsort(order[own])) % n_folds
        return folds

    def draws(self, n_draws: int, rng: np.random.Generator) -> FloatArray:
        """(n_draws, G) how often each block is drawn, with replacement within kinds."""
        found = np.empty((n_draws, self.n_groups))
        for kind in range(int(self.kinds.max()) + 1):
            own = np.flatnonzero(self.kinds == kind)
            found[:, own] = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), size=n_draws)
        return found
