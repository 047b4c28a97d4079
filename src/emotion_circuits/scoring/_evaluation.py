"""Generated text scored: every arm beside clean text, beside a random direction, and beside what it broke."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from emotion_circuits.errors import InputError
from emotion_circuits.scoring._arms import NAN, Arms, FloatArray, Mean
from emotion_circuits.scoring._damage import (
    distinct,
    fluency,
    harmonic_score,
    regime,
    words_of,
    wrong_way_share,
)
from emotion_circuits.scoring._evaluation_rows import DamageRow, Evaluation, ScoreRow
from emotion_circuits.scoring._generated import CLEAN, RANDOM, Cell, GeneratedText, is_random
from emotion_circuits.scoring._scorers import TextScorer, sides_of

FEW_PROMPTS = 20


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
    arms = Arms(texts, perplexities, judge_perplexities, n_bootstrap=n_bootstrap, n_flips=n_flips, seed=seed)
    scored = [scorer.score([t.text for t in texts]) for scorer in scorers]
    damage, rows = [], []
    if on_cells:
        on_cells(1)
    for number, cell in enumerate(arms.cells, 2):
        damage.append(_damage_row(arms, cell))
        for scorer, values in zip(scorers, scored, strict=True):
            rows += [_score_row(arms, cell, scorer, k, values[:, k]) for k in range(len(scorer.emotions))]
        if on_cells:
            on_cells(number)
    return Evaluation(tuple(rows), tuple(damage), _notes(arms))


def _score_row(arms: Arms, cell: Cell, scorer: TextScorer, column: int, values: FloatArray) -> ScoreRow:
    members, clean, random = arms.cells[cell], arms.clean(cell), arms.random(cell)
    scored = scorer.emotions[column]
    own, of_clean, of_random = (arms.by_prompt(values, chosen) for chosen in (members, clean, random))
    value, difference, above = arms.mean(own), arms.mean(own - of_clean), arms.mean(own - of_random)
    chance, chance_of = scorer.chance, "scorer"
    for name, others in ((RANDOM, of_random), (CLEAN, of_clean)):
        if np.isfinite(others).any():
            chance, chance_of = float(np.nanmean(others)), name
            break
    sign = _asked_sign(cell, scored, sides_of(scorer))
    harmonic = Mean()
    if scored == cell.emotion and sign == 1 and (scorer.low, scorer.high) == (0, 1) and clean is not None:
        fluent = fluency(
            np.exp(arms.log_perplexity),
            np.exp(arms.by_prompt(arms.log_perplexity, clean)[arms.prompt]),
            arms.repeated,
            arms.by_prompt(arms.repeated, clean)[arms.prompt],
        )
        harmonic = arms.mean(arms.by_prompt(harmonic_score(values, fluent), members))
    return ScoreRow(
        *cell,
        scorer=scorer.name,
        scored=scored,
        value=value.value,
        ci_low=value.low,
        ci_high=value.high,
        n_prompts=int(np.isfinite(own).sum()),
        n_texts=int(np.isfinite(values[members]).sum()),
        chance=chance,
        chance_of=chance_of,
        ceiling=scorer.high,
        difference=difference.value,
        difference_low=difference.low,
        difference_high=difference.high,
        p=arms.p(own - of_clean),
        n_pairs=int(np.isfinite(own - of_clean).sum()),
        above_random=above.value,
        above_random_low=above.low,
        above_random_high=above.high,
        p_random=arms.p(own - of_random),
        harmonic=harmonic.value,
        harmonic_low=harmonic.low,
        harmonic_high=harmonic.high,
        wrong_way=wrong_way_share(own - of_clean, sign) if sign else NAN,
    )


def _damage_row(arms: Arms, cell: Cell) -> DamageRow:
    members, clean = arms.cells[cell], arms.clean(cell)
    texts = [arms.texts[i].text for i in members]
    written = [t for t in texts if t.strip()]
    repeated = arms.mean(arms.by_prompt(arms.repeated, members)).value
    usual = arms.mean(arms.by_prompt(arms.repeated, members if cell.arm == CLEAN else clean)).value
    geometric, ratios, known = [], [], []
    for logs in (arms.log_perplexity, arms.judge_log_perplexity):
        own = logs[members][np.isfinite(logs[members])]
        known.append(len(own))
        geometric.append(float(np.exp(own.mean())) if len(own) else NAN)
        if cell.arm == CLEAN:  # the yardstick itself
            ratios.append(Mean(1.0) if len(own) else Mean())
        else:
            ratio = arms.mean(arms.by_prompt(logs, members) - arms.by_prompt(logs, clean))
            ratios.append(Mean(*(float(np.exp(bound)) for bound in ratio)))
    return DamageRow(
        *cell,
        n_texts=len(texts),
        n_unique=len(set(texts)),
        n_prompts=len(set(arms.prompt[members])),
        n_empty=len(texts) - len(written),
        words=float(np.mean([len(words_of(t)) for t in written])) if written else NAN,
        repetition=repeated,
        distinct_1=distinct(written, 1),
        distinct_2=distinct(written, 2),
        distinct_3=distinct(written, 3),
        perplexity=geometric[0],
        n_perplexity=known[0],
        perplexity_ratio=ratios[0].value,
        ratio_low=ratios[0].low,
        ratio_high=ratios[0].high,
        judge_perplexity=geometric[1],
        judge_ratio=ratios[1].value,
        regime=regime(ratios[0].value, repeated, usual, 1 - len(written) / len(texts)),
    )


def _notes(arms: Arms) -> tuple[str, ...]:
    names = {cell.arm for cell in arms.cells}
    found = []
    if CLEAN not in names:
        found.append("There is no arm `clean`: differences, ratios and harmonic scores are missing.")
    if any(map(is_random, names)):
        found.append(
            "chance of steered text is the random arm's mean: one direction, so p random is over prompts only."
        )
    else:
        found.append("There is no arm `random`: chance is clean text's score, or else the scorer's own.")
    if not np.isfinite(arms.log_perplexity).any():
        found.append("No perplexities are known: give --model, or lines with `perplexity`.")
    counted = [arms.texts[i] for members in arms.cells.values() for i in members]
    if repeats := len(arms.texts) - len(counted):
        found.append(f"{repeats} texts repeat one of the same arm, prompt and sample, and count once.")
    if empty := sum(t.empty for t in counted):
        found.append(f"{empty} of {len(counted)} texts are empty: they have no score.")
    if arms.n_prompts < FEW_PROMPTS:
        found.append(f"{arms.n_prompts} prompts are few: intervals are wide and, under ten, too narrow.")
    found.append("p is two-sided, by sign flips over prompts, and not adjusted for the number of rows.")
    return tuple(found)


def _asked_sign(cell: Cell, scored: str, sides: Mapping[str, int]) -> int:
    """1 where the arm should raise the column, −1 where it should lower it, 0 where nothing was asked for."""
    if cell.emotion is None or cell.arm == CLEAN or cell.dose == 0:
        return 0
    asked = 1 if cell.dose is None or cell.dose > 0 else -1
    return asked * (1 if scored == cell.emotion else sides.get(cell.emotion, 0))
