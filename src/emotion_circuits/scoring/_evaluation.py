"""Generated text scored: every arm beside clean text, beside a random direction, and beside what it broke."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.errors import InputError
from emotion_circuits.scoring._damage import (
    distinct,
    fluency,
    harmonic_score,
    regime,
    repetition,
    words_of,
    wrong_way_share,
)
from emotion_circuits.scoring._generated import CLEAN, RANDOM, Cell, GeneratedText, cells_of
from emotion_circuits.scoring._judging import SIDES
from emotion_circuits.scoring._scorers import TextScorer
from emotion_circuits.statistics import grouped_bootstrap, sign_flip_test, substream

if TYPE_CHECKING:
    import pandas as pd

FloatArray = NDArray[np.float64]
NAN = float("nan")
FEW_PROMPTS = 20


class ScoreRow(NamedTuple):
    """One scorer's column over the texts of one cell. NaN is what could not be measured.

    Attributes:
        arm, emotion, dose, layer: which texts; `emotion` is what the arm was meant to bring about.
        scorer, scored: the scorer and its column.
        value, ci_low, ci_high: mean over prompts of each prompt's mean, 95 % interval over prompts.
        n_prompts, n_texts: with a score (empty texts have none).
        chance: mean of the random arm; without one, of the clean arm; without either, the scorer's own.
        chance_of: which of the three it is: `random`, `clean` or `scorer`.
        ceiling: the largest value that the scorer can give.
        difference, difference_low, difference_high, p: from clean text, paired by prompt; p by sign flips, two-sided.
        n_pairs: prompts in both.
        above_random, above_random_low, above_random_high, p_random: the same from the random arm.
        harmonic, harmonic_low, harmonic_high: mean of `harmonic_score` of the texts, in the arm's own emotion only.
        wrong_way: share of prompts that moved against what was asked for (`wrong_way_share`), own emotion only.
    """

    arm: str
    emotion: str | None
    dose: float | None
    layer: int | None
    scorer: str
    scored: str
    value: float
    ci_low: float
    ci_high: float
    n_prompts: int
    n_texts: int
    chance: float
    chance_of: str
    ceiling: float
    difference: float
    difference_low: float
    difference_high: float
    p: float
    n_pairs: int
    above_random: float
    above_random_low: float
    above_random_high: float
    p_random: float
    harmonic: float
    harmonic_low: float
    harmonic_high: float
    wrong_way: float


class DamageRow(NamedTuple):
    """What the texts of one cell are like, whatever they say.

    Attributes:
        arm, emotion, dose, layer: which texts.
        n_texts, n_unique, n_prompts, n_empty: counts; unique by their characters.
        words: mean number of words and punctuation marks.
        repetition: mean share of three-word sequences that occurred in the text before.
        distinct_1, distinct_2, distinct_3: over all texts of the cell.
        perplexity: under the clean model, geometric mean over texts; n_perplexity of them have one.
        perplexity_ratio, ratio_low, ratio_high: over clean text's, paired by prompt, with a 95 % interval.
        judge_perplexity, judge_ratio: the same under another model.
        regime: see `regime`.
    """

    arm: str
    emotion: str | None
    dose: float | None
    layer: int | None
    n_texts: int
    n_unique: int
    n_prompts: int
    n_empty: int
    words: float
    repetition: float
    distinct_1: float
    distinct_2: float
    distinct_3: float
    perplexity: float
    n_perplexity: int
    perplexity_ratio: float
    ratio_low: float
    ratio_high: float
    judge_perplexity: float
    judge_ratio: float
    regime: str


@dataclass(frozen=True)
class Evaluation:
    """Scores and damage of every cell, and what to know when reading them."""

    scores: tuple[ScoreRow, ...]
    damage: tuple[DamageRow, ...]
    notes: tuple[str, ...]

    def table(self) -> pd.DataFrame:
        """One row per score, with the damage of its cell beside it (its counts as `cell_…`)."""
        import pandas as pd

        scores = pd.DataFrame(self.scores, columns=list(ScoreRow._fields))
        cells = {tuple(row[:4]): row for row in self.damage}
        beside = [cells[tuple(row[:4])][4:] for row in self.scores]
        names = [f"cell_{f}" if f in ScoreRow._fields else f for f in DamageRow._fields[4:]]
        table = pd.concat([scores, pd.DataFrame(beside, columns=names)], axis=1)
        return table.astype({"emotion": "string", "dose": "float64", "layer": "Int64"})


def evaluate_texts(
    texts: Sequence[GeneratedText],
    scorers: Sequence[TextScorer],
    *,
    perplexities: FloatArray | None = None,
    judge_perplexities: FloatArray | None = None,
    n_bootstrap: int = 2000,
    n_flips: int = 9999,
    seed: int = 0,
    on_cells: Callable[[int], None] | None = None,
) -> Evaluation:
    """Score texts, arm by arm, with the prompt as the unit.

    Args:
        texts: of any arms; pairs are made by `prompt`. Clean text is compared with every arm, or with those of its
            own emotion if it names one.
        scorers: what scores them.
        perplexities: (texts,) under the clean model (`continuation_perplexities`, `stored_perplexities`), NaN where
            there is none; without them ratios, fluency and regimes are not known.
        judge_perplexities: (texts,) under another model.
        n_bootstrap, n_flips, seed: draws of intervals and tests, and their seed.
        on_cells: called with how many cells are done, the scoring itself being the first.

    Raises:
        InputError: no texts, no scorers, two of one name, perplexities of another number.
    """
    if not texts or not scorers:
        raise InputError("There is nothing to score.", found=f"{len(texts)} texts, {len(scorers)} scorers")
    names = [scorer.name for scorer in scorers]
    if len(set(names)) < len(names):
        raise InputError("A scorer is named twice.", found=", ".join(names))
    for given in (perplexities, judge_perplexities):
        if given is not None and given.shape != (len(texts),):
            raise InputError("Perplexities and texts differ in number.", found=given.shape, accepted=f"({len(texts)},)")
    book = _Book(texts, cells_of(texts), perplexities, judge_perplexities, n_bootstrap, n_flips, seed)
    scored = [scorer.score([t.text for t in texts]) for scorer in scorers]
    damage, rows = [], []
    if on_cells:
        on_cells(1)
    for number, cell in enumerate(book.cells, 2):
        damage.append(book.damage(cell))
        for scorer, values in zip(scorers, scored, strict=True):
            rows += [book.row(cell, scorer, k, values[:, k]) for k in range(len(scorer.emotions))]
        if on_cells:
            on_cells(number)
    return Evaluation(tuple(rows), tuple(damage), book.notes())


class _Mean(NamedTuple):
    value: float
    low: float
    high: float


class _Book:
    """The texts with everything that is known of them by prompt."""

    def __init__(
        self,
        texts: Sequence[GeneratedText],
        cells: dict[Cell, NDArray[np.intp]],
        perplexities: FloatArray | None,
        judge: FloatArray | None,
        n_bootstrap: int,
        n_flips: int,
        seed: int,
    ):
        self.texts, self.cells = texts, cells
        self.n_bootstrap, self.n_flips, self.seed = n_bootstrap, n_flips, seed
        names = {prompt: i for i, prompt in enumerate(dict.fromkeys(t.prompt for t in texts))}
        self.prompt = np.array([names[t.prompt] for t in texts])
        self.n_prompts = len(names)
        self.repeated = np.array([repetition(t.text) for t in texts])
        blank = np.full(len(texts), NAN)
        self.log_p = blank if perplexities is None else np.log(perplexities)
        self.judge_log_p = blank if judge is None else np.log(judge)

    def clean(self, cell: Cell) -> NDArray[np.intp] | None:
        """Clean texts that a cell is compared with; None for clean cells."""
        if cell.arm == CLEAN:
            return None
        own = [
            members
            for other, members in self.cells.items()
            if other.arm == CLEAN and (None in (other.emotion, cell.emotion) or other.emotion == cell.emotion)
        ]
        return np.concatenate(own) if own else None

    def random(self, cell: Cell) -> NDArray[np.intp] | None:
        """Texts under a random direction of the same dose and layer; for an arm without these, the only such texts of
        its emotion."""
        if cell.arm in (CLEAN, RANDOM):
            return None
        exact = self.cells.get(cell._replace(arm=RANDOM))
        if exact is not None or cell.dose is not None or cell.layer is not None:
            return exact
        same = [m for c, m in self.cells.items() if c.arm == RANDOM and c.emotion == cell.emotion]
        return same[0] if len(same) == 1 else None

    def by_prompt(self, values: FloatArray, members: NDArray[np.intp]) -> FloatArray:
        """(prompts,) mean of the members' values over each prompt's texts; NaN where there is none."""
        known = members[np.isfinite(values[members])]
        counts = np.bincount(self.prompt[known], minlength=self.n_prompts)
        sums = np.bincount(self.prompt[known], values[known], minlength=self.n_prompts)
        return np.divide(sums, counts, out=np.full(self.n_prompts, NAN), where=counts > 0)

    def mean(self, by_prompt: FloatArray, stream: int) -> _Mean:
        known = by_prompt[np.isfinite(by_prompt)]
        if len(known) < 2:  # one prompt has no interval
            return _Mean(float(known[0]) if len(known) else NAN, NAN, NAN)
        boot = grouped_bootstrap(known, n_draws=self.n_bootstrap, seed=substream(self.seed, stream))
        return _Mean(boot.value, boot.interval.low, boot.interval.high)

    def p(self, differences: FloatArray) -> float:
        known = differences[np.isfinite(differences)]
        if not len(known):
            return NAN
        return sign_flip_test(
            known, n_draws=self.n_flips, seed=substream(self.seed, 9), alternative="two-sided"
        ).p  # fmt: skip

    def row(self, cell: Cell, scorer: TextScorer, column: int, values: FloatArray) -> ScoreRow:
        members, clean, random = self.cells[cell], self.clean(cell), self.random(cell)
        scored = scorer.emotions[column]
        own = self.by_prompt(values, members)
        value = self.mean(own, 1)
        nothing = np.full(self.n_prompts, NAN)
        from_clean = nothing if clean is None else own - self.by_prompt(values, clean)
        from_random = nothing if random is None else own - self.by_prompt(values, random)
        difference, above = self.mean(from_clean, 2), self.mean(from_random, 3)
        chance, chance_of = scorer.chance, "scorer"
        for name, others in ((RANDOM, random), (CLEAN, clean)):
            level = NAN if others is None else self.mean(self.by_prompt(values, others), 4).value
            if np.isfinite(level):
                chance, chance_of = level, name
                break
        sign = _asked_sign(cell, scored)
        harmonic = _Mean(NAN, NAN, NAN)
        if scored == cell.emotion and sign == 1 and (scorer.low, scorer.high) == (0, 1) and clean is not None:
            fluent = fluency(
                np.exp(self.log_p), np.exp(self.by_prompt(self.log_p, clean)[self.prompt]),
                self.repeated, self.by_prompt(self.repeated, clean)[self.prompt],
            )  # fmt: skip
            harmonic = self.mean(self.by_prompt(harmonic_score(values, fluent), members), 5)
        return ScoreRow(
            *cell, scorer.name, scored, *value, int(np.isfinite(own).sum()), int(np.isfinite(values[members]).sum()),
            chance, chance_of, scorer.high, *difference, self.p(from_clean), int(np.isfinite(from_clean).sum()),
            *above, self.p(from_random), *harmonic, wrong_way_share(from_clean, sign) if sign else NAN,
        )  # fmt: skip

    def damage(self, cell: Cell) -> DamageRow:
        members, clean = self.cells[cell], self.clean(cell)
        texts = [self.texts[i].text for i in members]
        written = [t for t in texts if t.strip()]
        n_empty = len(texts) - len(written)
        repeated = self.mean(self.by_prompt(self.repeated, members), 6).value
        ratio, judge_ratio, usual = _Mean(NAN, NAN, NAN), NAN, NAN
        if cell.arm == CLEAN:  # the yardstick itself
            ratio, usual = _Mean(1.0 if np.isfinite(self.log_p[members]).any() else NAN, NAN, NAN), repeated
        elif clean is not None:
            usual = self.mean(self.by_prompt(self.repeated, clean), 6).value
            ratio, judge = (
                _Mean(*(float(np.exp(v)) for v in self.mean(self.by_prompt(logs, members) - self.by_prompt(logs, clean), 7)))
                for logs in (self.log_p, self.judge_log_p)
            )  # fmt: skip
            judge_ratio = judge.value
        known, judge_known = (logs[members][np.isfinite(logs[members])] for logs in (self.log_p, self.judge_log_p))
        return DamageRow(
            *cell, len(texts), len(set(texts)), len(set(self.prompt[members])), n_empty,
            float(np.mean([len(words_of(t)) for t in written])) if written else NAN, repeated,
            *(distinct(written, n) for n in (1, 2, 3)),
            float(np.exp(known.mean())) if len(known) else NAN, len(known), *ratio,
            float(np.exp(judge_known.mean())) if len(judge_known) else NAN, judge_ratio,
            regime(ratio.value, repeated, usual, n_empty / len(texts)),
        )  # fmt: skip

    def notes(self) -> tuple[str, ...]:
        arms = {cell.arm for cell in self.cells}
        found = []
        if CLEAN not in arms:
            found.append("There is no arm `clean`: differences, ratios and harmonic scores are missing.")
        if RANDOM in arms:
            found.append(
                "chance is the random arm's mean. It is one direction: its interval would be over prompts, not directions."
            )
        else:
            found.append("There is no arm `random`: chance is clean text's score, or else the scorer's own.")
        if not np.isfinite(self.log_p).any():
            found.append("No perplexities are known: give --model, or lines with `perplexity`.")
        if empty := sum(t.empty for t in self.texts):
            found.append(f"{empty} of {len(self.texts)} texts are empty: they have no score.")
        if self.n_prompts < FEW_PROMPTS:
            found.append(f"{self.n_prompts} prompts are few: intervals are wide and, under ten, too narrow.")
        found.append("p is two-sided, by sign flips over prompts, and not adjusted for the number of rows.")
        return tuple(found)


def _asked_sign(cell: Cell, scored: str) -> int:
    """1 where the arm should raise the column, −1 where it should lower it, 0 where nothing was asked for."""
    if cell.emotion is None or cell.arm == CLEAN or cell.dose == 0:
        return 0
    asked = 1 if cell.dose is None or cell.dose > 0 else -1
    return asked * (1 if scored == cell.emotion else SIDES.get((cell.emotion, scored), 0))
