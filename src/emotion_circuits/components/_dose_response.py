"""How texts follow the dose: a slope for every prompt, beside random directions, and whether each step goes up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.components._methods import ABLATE, ABLATED_AT, Way
from emotion_circuits.scoring import CLEAN, RANDOM, GeneratedText, TextScorer, is_random, twin_of
from emotion_circuits.statistics import grouped_bootstrap, sign_flip_test

if TYPE_CHECKING:
    pass


class DoseResponse(NamedTuple):
    """One method's response to its dose, clean text being dose 0.

    Attributes:
        emotion, way, method, scorer: see `MethodRow`.
        slope, ci_low, ci_high: of the score in the direction asked for, per unit of dose (of a circuit: of strength);
            least squares for each prompt, mean over prompts, 95 % interval over them.
        chance: the same slope of the random twin; NaN for twins themselves.
        p: two-sided, by sign flips over prompts of the slope beyond the twin's (for twins: of the slope).
        rising: share of steps from one dose to the next, from 0 on, at which the mean score moves as asked for.
        n_doses, n_prompts: behind it.
    """

    emotion: str
    way: str
    method: str
    scorer: str
    slope: float
    ci_low: float
    ci_high: float
    chance: float
    p: float
    rising: float
    n_doses: int
    n_prompts: int


def dose_responses(
    way: Way, texts: Sequence[GeneratedText], scorers: Sequence[TextScorer], *, seed: int = 0
) -> list[DoseResponse]:
    """Every method with a dose, for one emotion; a prompt takes part that has a scored text at every dose.

    Args:
        way, texts, scorers, seed: as for `compare_methods`.
    """
    emotion = next(t.emotion for t in texts if t.emotion is not None)
    found = []
    for scorer in scorers:
        scores = scorer.score([t.text for t in texts])[:, scorer.emotions.index(emotion)]
        scores = np.where([t.empty for t in texts], np.nan, scores)
        doses: dict[str, set[float]] = {}
        for t in texts:
            ablated = t.arm == ABLATE or (t.arm == RANDOM and t.dose == ABLATED_AT)  # these have no doses
            if t.arm != CLEAN and t.dose is not None and not ablated:
                doses.setdefault(t.arm, set()).add(t.dose)
        slopes = {arm: _slopes(texts, scores, arm, sorted(own, key=abs), way) for arm, own in doses.items()}
        for method, (per_prompt, means) in slopes.items():
            known = np.isfinite(per_prompt)
            if known.sum() < 2:
                continue
            beyond, chance = per_prompt, float("nan")
            twin = twin_of(method) if twin_of(method) in slopes else RANDOM
            if not is_random(method) and twin in slopes:
                by_chance = slopes[twin][0]
                beyond, chance = per_prompt - by_chance, float(np.nanmean(by_chance))
            boot = grouped_bootstrap(per_prompt[known], seed=seed)
            flips = sign_flip_test(beyond[np.isfinite(beyond)], seed=seed, alternative="two-sided")
            found.append(
                DoseResponse(
                    emotion, way, method, scorer.name, boot.value, boot.interval.low, boot.interval.high, chance,
                    flips.p, float((np.diff(means) > 0).mean()), len(means) - 1, int(known.sum()),
                )
            )  # fmt: skip
    return found


def _slopes(
    texts: Sequence[GeneratedText], scores: NDArray[np.float64], method: str, doses: Sequence[float], way: Way
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(prompts,) slopes, NaN where a dose has no scored text; (1 + doses,) mean scores, both in the way asked for."""
    prompts = list(dict.fromkeys(t.prompt for t in texts))
    steps = [0.0, *(abs(dose) for dose in doses)]
    values = np.full((len(prompts), len(steps)), np.nan)
    for place, dose in enumerate([None, *doses]):
        for i, prompt in enumerate(prompts):
            arm = CLEAN if dose is None else method
            own = [s for t, s in zip(texts, scores, strict=True) if (t.prompt, t.arm, t.dose) == (prompt, arm, dose)]
            own = [s for s in own if np.isfinite(s)]
            if own:
                values[i, place] = np.mean(own)
    values *= 1 if way == "raise" else -1
    centred = np.array(steps) - np.mean(steps)
    return values @ centred / (centred @ centred), values[np.isfinite(values).all(axis=1)].mean(axis=0)
