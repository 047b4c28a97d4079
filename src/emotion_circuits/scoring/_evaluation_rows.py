"""What evaluating generated text gives: rows of scores, rows of damage, and a table of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd


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
