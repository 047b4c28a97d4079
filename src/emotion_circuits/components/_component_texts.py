"""What is written when heads and units are ablated: clean, without the named ones, without random ones of their layers.

The edits are those of `ablate`, made at every prompt token but the first and at every generated one. Texts follow the
emotion's own prompts and the neutral ones of the same pairs: a component that carries the emotion should matter after
the former and do no damage after either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from emotion_circuits.components._ablate import N_RANDOM, GenericValues, constant_values, points_of, random_sets
from emotion_circuits.components._components import Component, check_components, head_spec
from emotion_circuits.components._methods import ABLATED_AT
from emotion_circuits.components._pairs import PairSet
from emotion_circuits.components._runs import edits_for
from emotion_circuits.engine import ROWS_AT_ONCE, Point, generate_finite, row_seeds
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.scoring import (
    CLEAN,
    DamageRow,
    GeneratedText,
    ScoreRow,
    TextScorer,
    continuation_perplexities,
    evaluate_texts,
    stored_perplexities,
    twin_of,
)
from emotion_circuits.statistics import exceedance_p

if TYPE_CHECKING:
    pass

FloatArray = NDArray[np.float64]
TextMethod = Literal["zero", "mean"]
TEXT_METHODS: tuple[TextMethod, ...] = get_args(TextMethod)
"""Resampling is left out: its values are drawn for the places of a text that is already there."""
Prompts = Literal["emotion", "neutral"]
PROMPTS: tuple[Prompts, ...] = get_args(Prompts)
NAN = float("nan")


class TextSetting(NamedTuple):
    """How texts are made.

    Attributes:
        max_tokens: of a continuation.
        temperature: 0 for greedy.
        n_samples: continuations of each prompt; one where the temperature is 0.
        seed: of sampling and of random sets.
    """

    max_tokens: int = 30
    temperature: float = 0.8
    n_samples: int = 2
    seed: int = 0


@dataclass(frozen=True)
class AblationTexts:
    """Texts after one side's prompts.

    Attributes:
        model: its name.
        emotion: of the pairs.
        components: the named ones, as they are named on the command line.
        prompts: after which prompts.
        texts: arms `clean`, `ablated, zero` and so on, and `random ablated, zero`, whose set k holds the samples from
            k · n_samples on; ablated ones are listed under the dose `ABLATED_AT`.
        n_random, n_samples: random sets, and samples of a prompt.
    """

    model: str
    emotion: str
    components: str
    prompts: Prompts
    texts: tuple[GeneratedText, ...]
    n_random: int
    n_samples: int


class TextEffect(NamedTuple):
    """What ablating some components did to text. NaN is what could not be measured.

    Attributes:
        model, emotion, components, method, prompts: what was ablated, how, and after which prompts.
        scorer: what scored the texts for the emotion.
        effect, ci_low, ci_high: mean score, ablated minus clean, paired by prompt, 95 % over prompts.
        p: two-sided sign flips over prompts, ablated against clean.
        chance: mean effect of random components of the same layers; null_low, null_high: 2.5 % and 97.5 % points of
            the sets' effects.
        p_random: two-sided, over the random sets; never below 2 / (n_random + 1).
        clean_score: mean score of clean text.
        ceiling: the largest fall that the scorer allows, given clean text.
        damage, damage_low, damage_high: perplexity under the clean model over that of clean text.
        damage_random: the same of the random sets together.
        repetition: mean share of repeated three-word sequences.
        regime: see `scoring.regime`.
        n_prompts, n_texts: behind the effect.
        n_random: random sets; fewer than asked for where there are no more.
    """

    model: str
    emotion: str
    components: str
    method: str
    prompts: str
    scorer: str
    effect: float
    ci_low: float
    ci_high: float
    p: float
    chance: float
    null_low: float
    null_high: float
    p_random: float
    clean_score: float
    ceiling: float
    damage: float
    damage_low: float
    damage_high: float
    damage_random: float
    repetition: float
    regime: str
    n_prompts: int
    n_texts: int
    n_random: int


def arm_of(method: TextMethod) -> str:
    """`ablated, zero`."""
    return f"ablated, {method}"


def ablation_texts(
    lm: LoadedModel,
    pairs: PairSet,
    components: Sequence[Component],
    methods: Sequence[TextMethod] = TEXT_METHODS,
    generic: GenericValues | None = None,
    *,
    n_random: int = N_RANDOM,
    setting: TextSetting = TextSetting(),  # noqa: B008 (an immutable value)
    on_texts: Callable[[int], None] | None = None,
) -> list[AblationTexts]:
    """Continue the emotion's prompts, then the neutral ones, with the same random numbers in every arm.

    Args:
        lm: the model.
        pairs: whose prompts.
        components: heads and units, ablated together.
        methods: `zero` or `mean` (on generic text), or both.
        generic: needed by `mean`.
        n_random: random sets with as many components of each kind in each layer, as in `ablate`.
        setting: sampling.
        on_texts: called with how many more texts are done, of `n_ablation_texts`.

    Raises:
        InputError: a component that the model lacks or named twice, another method, generic values missing, samples
            without a temperature.
    """
    _check(lm, components, methods, generic, setting)
    named = tuple(sorted(components))
    sets: list[tuple[Component, ...]] = [named, *random_sets(lm, named, n_random, setting.seed)]
    found = []
    for side in PROMPTS:
        bare = [pair.text_a if side == "emotion" else pair.text_b for pair in pairs.pairs]
        rows = [text for text in bare for _ in range(setting.n_samples)]
        made = [(CLEAN, 0, text) for text in _written(lm, rows, [()], {}, setting, on_texts)]
        for method in methods:
            values = constant_values(lm, points_of(named), generic if method == "mean" else None)
            texts = _written(lm, rows, sets, values, setting, on_texts)
            for i, text in enumerate(texts):
                number = i // len(rows)
                made.append((arm_of(method) if number == 0 else twin_of(arm_of(method)), max(0, number - 1), text))
        prompts = [rows[i % len(rows)] for i in range(len(made))]
        known = continuation_perplexities(lm, prompts, [text or "" for *_, text in made])
        texts_of_side = tuple(
            GeneratedText(
                prompt=prompt, text=text or "", arm=arm, emotion=None if arm == CLEAN else pairs.emotion,
                dose=None if arm == CLEAN else ABLATED_AT, sample=number * setting.n_samples + i % setting.n_samples,
                perplexity=float(value) if np.isfinite(value) else None,
            )
            for i, ((arm, number, text), prompt, value) in enumerate(zip(made, prompts, known, strict=True))
        )  # fmt: skip
        found.append(
            AblationTexts(str(lm.name), pairs.emotion, head_spec(named), side, texts_of_side, len(sets) - 1,
                          setting.n_samples)
        )  # fmt: skip
    return found


def n_ablation_texts(
    lm: LoadedModel, pairs: PairSet, components: Sequence[Component], n_methods: int, n_random: int, n_samples: int
) -> int:
    """How many texts `ablation_texts` makes."""
    sets = 1 + len(random_sets(lm, components, n_random, 0))
    return len(PROMPTS) * len(pairs) * n_samples * (1 + n_methods * sets)


def text_effects(made: AblationTexts, scorers: Sequence[TextScorer], *, seed: int = 0) -> list[TextEffect]:
    """A row for each method and scorer.

    Args:
        made: texts after one side's prompts.
        scorers: with a column for the emotion.
        seed: of intervals and tests.
    """
    found = evaluate_texts(made.texts, scorers, perplexities=stored_perplexities(made.texts), seed=seed)
    damage = {row.arm: row for row in found.damage}
    rows = []
    for scorer in scorers:
        scores = scorer.score([t.text for t in made.texts])[:, scorer.emotions.index(made.emotion)]
        own = [r for r in found.scores if r.scorer == scorer.name and r.scored == made.emotion]
        for method in TEXT_METHODS:
            rows += [
                _row(made, method, scorer, r, damage, _effects_of_sets(made, method, scores))
                for r in own
                if r.arm == arm_of(method)
            ]
    return rows


def _row(
    made: AblationTexts,
    method: TextMethod,
    scorer: TextScorer,
    r: ScoreRow,
    damage: Mapping[str, DamageRow],
    random: FloatArray,
) -> TextEffect:
    own, twin = damage[r.arm], damage.get(twin_of(r.arm))
    known = random[np.isfinite(random)]
    low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (NAN, NAN)
    clean = r.value - r.difference
    return TextEffect(
        model=made.model, emotion=made.emotion, components=made.components, method=method, prompts=made.prompts,
        scorer=scorer.name, effect=r.difference, ci_low=r.difference_low, ci_high=r.difference_high, p=r.p,
        chance=float(known.mean()) if len(known) else NAN, null_low=float(low), null_high=float(high),
        p_random=exceedance_p(r.difference, known, "two-sided") if len(known) else NAN,
        clean_score=clean, ceiling=clean - scorer.low, damage=own.perplexity_ratio, damage_low=own.ratio_low,
        damage_high=own.ratio_high, damage_random=NAN if twin is None else twin.perplexity_ratio,
        repetition=own.repetition, regime=own.regime, n_prompts=r.n_pairs, n_texts=r.n_texts, n_random=made.n_random,
    )  # fmt: skip


def _effects_of_sets(made: AblationTexts, method: TextMethod, scores: FloatArray) -> FloatArray:
    """(n_random,) mean over prompts of each random set's score minus clean text's."""
    prompts = {prompt: i for i, prompt in enumerate(dict.fromkeys(t.prompt for t in made.texts))}
    sums, counts = np.zeros((2, 1 + made.n_random, len(prompts)))
    for t, score in zip(made.texts, scores, strict=True):
        is_clean = t.arm == CLEAN
        if (is_clean or t.arm == twin_of(arm_of(method))) and np.isfinite(score) and not t.empty:
            at = 0 if is_clean else 1 + (t.sample or 0) // made.n_samples
            sums[at, prompts[t.prompt]] += score
            counts[at, prompts[t.prompt]] += 1
    means = np.divide(sums, counts, out=np.full_like(sums, NAN), where=counts > 0)
    changes = means[1:] - means[0]
    known = np.isfinite(changes)
    totals = np.where(known, changes, 0).sum(axis=1)
    found: FloatArray = np.divide(
        totals, known.sum(axis=1), out=np.full(len(changes), NAN), where=known.any(axis=1)
    )  # fmt: skip
    return found


def _written(
    lm: LoadedModel,
    rows: Sequence[str],
    sets: Sequence[Sequence[Component]],
    values: Mapping[Point, Tensor],
    setting: TextSetting,
    on_texts: Callable[[int], None] | None,
) -> list[str | None]:
    """Every row without each set in turn, several sets side by side."""
    encoded = lm.encode(rows)
    seeds = row_seeds(setting.seed, len(rows))
    at_once = max(1, ROWS_AT_ONCE // len(rows))
    found: list[str | None] = []
    for start in range(0, len(sets), at_once):
        part = sets[start : start + at_once]
        edits = edits_for(lm, part, dict(values))[1] if values else []
        found += generate_finite(
            lm, [*encoded] * len(part), max_tokens=setting.max_tokens, edits=edits, temperature=setting.temperature,
            seeds=[*seeds] * len(part),
        )  # fmt: skip
        if on_texts:
            on_texts(len(part) * len(rows))
    return found


def _check(
    lm: LoadedModel,
    components: Sequence[Component],
    methods: Sequence[TextMethod],
    generic: GenericValues | None,
    setting: TextSetting,
) -> None:
    check_components(lm, components)
    unknown = [method for method in methods if method not in TEXT_METHODS]
    if unknown or not methods or len(set(methods)) < len(methods):
        raise InputError("Text is written under ablation by zero or mean.", found=", ".join(methods) or "no method",
                         accepted=", ".join(TEXT_METHODS))  # fmt: skip
    if "mean" in methods and (generic is None or set(points_of(components)) - set(generic.pool)):
        raise InputError("Ablation by mean needs generic values of these layers.", next_step="use generic_values")
    if setting.n_samples < 1 or (setting.n_samples > 1 and setting.temperature == 0):
        raise InputError("Without a temperature there is one sample of a prompt.", found=setting.n_samples)
