"""Effect against damage of every method, beside random directions, and which of them nothing beats at both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emotion_circuits.components._methods import ABLATE, ABLATED_AT, Way
from emotion_circuits.scoring import (
    CLEAN,
    RANDOM,
    DamageRow,
    GeneratedText,
    ScoreRow,
    TextScorer,
    evaluate_texts,
    is_random,
    stored_perplexities,
    twin_of,
)

if TYPE_CHECKING:
    pass


class MethodRow(NamedTuple):
    """One method at one dose. NaN is what could not be measured.

    Attributes:
        model, emotion, way: `raise` in neutral prompts, `lower` in the emotion's.
        method, dose, layer: see `method_texts`; dose is NaN and layer −1 where there is none, and a circuit's strength.
        scorer: what scored the texts for the emotion.
        effect, ci_low, ci_high: change of the mean score from clean text in the direction asked for, paired by prompt.
        chance, chance_low, chance_high: the effect of the method's random twin, `random X` of a method X, or else of
            random directions at the same dose.
        p: two-sided, method against random, by sign flips over prompts; where there is no random twin (no donor, or the
            row is one itself), against clean.
        score, clean_score: mean scores themselves.
        ceiling: the largest effect that the scorer allows, given clean text.
        damage, damage_low, damage_high: perplexity under the clean model over that of clean text.
        repetition: mean share of repeated three-word sequences.
        regime: see `scoring.regime`.
        wrong_way: share of prompts that moved against what was asked for.
        on_front: no other method or dose has at least this effect with at most this damage, in either direction from
            1; collapsed and empty text is never on it, nor what has no effect.
        n_prompts, n_texts: behind the row.
    """

    model: str
    emotion: str
    way: str
    method: str
    dose: float
    layer: int
    scorer: str
    effect: float
    ci_low: float
    ci_high: float
    chance: float
    chance_low: float
    chance_high: float
    p: float
    score: float
    clean_score: float
    ceiling: float
    damage: float
    damage_low: float
    damage_high: float
    repetition: float
    regime: str
    wrong_way: float
    on_front: bool
    n_prompts: int
    n_texts: int


def compare_methods(
    model: str, way: Way, texts: Sequence[GeneratedText], scorers: Sequence[TextScorer], *, seed: int = 0
) -> list[MethodRow]:
    """Rows of all methods but clean text, for one emotion and way.

    Args:
        model: its name.
        way: what was asked for.
        texts: as `method_texts` gives them.
        scorers: with a column for the emotion; others are left out.
        seed: of intervals and tests.
    """
    found = evaluate_texts(texts, scorers, perplexities=stored_perplexities(texts), seed=seed)
    damage = {row[:4]: row for row in found.damage}
    rows: list[MethodRow] = []
    for scorer in scorers:
        own = [r for r in found.scores if r.scorer == scorer.name and r.arm != CLEAN and r.scored == r.emotion]
        random = {r[:4]: r for r in own if is_random(r.arm)}
        made = [_row(model, way, r, damage[r[:4]], _twin(r, random), scorer) for r in own]
        rows += [row._replace(on_front=_on_front(row, made)) for row in made]
    return rows


def _twin(r: ScoreRow, random: Mapping[tuple[Any, ...], ScoreRow]) -> ScoreRow | None:
    """The row that gives a row's chance level, which is the one that `evaluate_texts` compared it with."""
    if is_random(r.arm):
        return None
    own = random.get((twin_of(r.arm), *r[1:4]))
    return own if own is not None or r.dose is None else random.get((RANDOM, *r[1:4]))


def _row(model: str, way: Way, r: ScoreRow, damage: DamageRow, twin: ScoreRow | None, scorer: TextScorer) -> MethodRow:
    sign = 1.0 if way == "raise" else -1.0
    nan = float("nan")
    clean = r.value - r.difference
    wrong = r.wrong_way
    if way == "lower" and r.dose is None:
        wrong = nan  # such rows count a rise as what was asked for
    return MethodRow(
        model=model, emotion=r.emotion or "", way=way, method=r.arm, dose=nan if r.dose is None else r.dose,
        layer=-1 if r.layer is None else r.layer, scorer=r.scorer, effect=sign * r.difference,
        ci_low=min(sign * r.difference_low, sign * r.difference_high),
        ci_high=max(sign * r.difference_low, sign * r.difference_high),
        chance=nan if twin is None else sign * twin.difference,
        chance_low=nan if twin is None else min(sign * twin.difference_low, sign * twin.difference_high),
        chance_high=nan if twin is None else max(sign * twin.difference_low, sign * twin.difference_high),
        p=r.p if twin is None else r.p_random, score=r.value, clean_score=clean,
        ceiling=scorer.high - clean if way == "raise" else clean - scorer.low,
        damage=damage.perplexity_ratio, damage_low=damage.ratio_low, damage_high=damage.ratio_high,
        repetition=damage.repetition, regime=damage.regime, wrong_way=wrong, on_front=False,
        n_prompts=r.n_prompts, n_texts=r.n_texts,
    )  # fmt: skip


def _on_front(row: MethodRow, others: Sequence[MethodRow]) -> bool:
    if not _counts(row) or row.effect <= 0:
        return False
    return not any(
        _counts(other)
        and other.effect >= row.effect
        and _distance(other) <= _distance(row)
        and (other.effect > row.effect or _distance(other) < _distance(row))
        for other in others
    )


def _counts(row: MethodRow) -> bool:
    usable = row.regime not in ("collapsed", "empty") and not is_random(row.method)
    return usable and bool(np.isfinite(row.effect) and np.isfinite(row.damage))


def _distance(row: MethodRow) -> float:
    """Text that became easier to predict is damaged too: it repeats what is likely anyway."""
    return float(abs(np.log(row.damage)))


def title_of(row: MethodRow) -> str:
    """`add .2`, `ablate`, `swap`; a strength of −1 stays, only what is ablated has no dose."""
    plain = np.isnan(row.dose) or (row.dose == ABLATED_AT and row.method in (ABLATE, RANDOM))
    return row.method if plain else f"{row.method} {row.dose:g}"
