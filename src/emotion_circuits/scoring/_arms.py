"""Generated texts by arm and prompt: who is compared with whom, and how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.scoring._damage import repetition
from emotion_circuits.scoring._generated import CLEAN, RANDOM, Cell, GeneratedText, cells_of, is_random, twin_of
from emotion_circuits.statistics import grouped_bootstrap, sign_flip_test, substream

FloatArray = NDArray[np.float64]
Members = NDArray[np.intp]
NAN = float("nan")


class Mean(NamedTuple):
    """A mean over prompts with its 95 % interval; NaN what is not defined (one prompt has no interval)."""

    value: float = NAN
    low: float = NAN
    high: float = NAN


class Arms:
    """Texts of all cells, with what is known of each.

    Attributes:
        cells: cell → numbers of its texts.
        prompt: (texts,) number of each text's prompt.
        repeated, log_perplexity, judge_log_perplexity: (texts,), NaN where unknown.
    """

    def __init__(
        self,
        texts: Sequence[GeneratedText],
        perplexities: FloatArray | None,
        judge_perplexities: FloatArray | None,
        *,
        n_bootstrap: int,
        n_flips: int,
        seed: int,
    ):
        self.texts, self.cells = texts, cells_of(texts)
        self._n_bootstrap, self._n_flips, self._seed = n_bootstrap, n_flips, seed
        names = {prompt: i for i, prompt in enumerate(dict.fromkeys(t.prompt for t in texts))}
        self.prompt = np.array([names[t.prompt] for t in texts])
        self.n_prompts = len(names)
        self.repeated = np.array([repetition(t.text) for t in texts])
        unknown = np.full(len(texts), NAN)
        self.log_perplexity = unknown if perplexities is None else np.log(perplexities)
        self.judge_log_perplexity = unknown if judge_perplexities is None else np.log(judge_perplexities)

    def clean(self, cell: Cell) -> Members | None:
        """Clean texts that a cell is compared with; None for clean cells."""
        if cell.arm == CLEAN:
            return None
        own = [
            members
            for other, members in self.cells.items()
            if other.arm == CLEAN and (None in (other.emotion, cell.emotion) or other.emotion == cell.emotion)
        ]
        return np.concatenate(own) if own else None

    def random(self, cell: Cell) -> Members | None:
        """Texts of the arm's own random twin (`twin_of`), or else those under a random direction of the same dose and
        layer; for an arm that has neither, the only such texts of its emotion."""
        if cell.arm == CLEAN or is_random(cell.arm):
            return None
        twin = self.cells.get(cell._replace(arm=twin_of(cell.arm)))
        if twin is not None:
            return twin
        exact = self.cells.get(cell._replace(arm=RANDOM))
        if exact is not None or cell.dose is not None or cell.layer is not None:
            return exact
        same = [m for c, m in self.cells.items() if c.arm == RANDOM and c.emotion == cell.emotion]
        return same[0] if len(same) == 1 else None

    def by_prompt(self, values: FloatArray, members: Members | None) -> FloatArray:
        """(prompts,) mean of the members' values over each prompt's texts; NaN where there is none."""
        found = np.full(self.n_prompts, NAN)
        if members is not None:
            known = members[np.isfinite(values[members])]
            counts = np.bincount(self.prompt[known], minlength=self.n_prompts)
            sums = np.bincount(self.prompt[known], values[known], minlength=self.n_prompts)
            np.divide(sums, counts, out=found, where=counts > 0)
        return found

    def mean(self, by_prompt: FloatArray, stream: int = 1) -> Mean:
        """Mean over the prompts that have a value."""
        known = by_prompt[np.isfinite(by_prompt)]
        if len(known) < 2:
            return Mean(*known.tolist())
        boot = grouped_bootstrap(known, n_draws=self._n_bootstrap, seed=substream(self._seed, stream))
        return Mean(boot.value, boot.interval.low, boot.interval.high)

    def p(self, differences: FloatArray) -> float:
        """Two-sided, by sign flips over the prompts that have a difference."""
        known = differences[np.isfinite(differences)]
        if not len(known):
            return NAN
        seed = substream(self._seed, 2)
        return sign_flip_test(known, n_draws=self._n_flips, seed=seed, alternative="two-sided").p
