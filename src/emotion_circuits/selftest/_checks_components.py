"""Are the planted head and units found by every statistic that should find them, and nothing in a model without?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.components import (
    METHODS,
    Bridge,
    Component,
    Kind,
    Ranking,
    Screen,
    WordSetOutcome,
    ablate,
    generic_values,
    matched_pairs,
    patch,
    screen,
)
from emotion_circuits.selftest._bank import EMOTIONS, EXPLICIT, QUOTE
from emotion_circuits.selftest._bench import Bench, Subject
from emotion_circuits.selftest._check import SelftestCheck, check, false_positive_family, furthest
from emotion_circuits.selftest._families import BUILDERS
from emotion_circuits.selftest._planted import plant
from emotion_circuits.statistics import ALPHA, auroc

BRIDGE = Bridge(f" word_00 {QUOTE}")
PATH_STEPS = 2
SPLIT = "test"
SHARE = (0.9, 1.1)
"""Of the gap between a cue and a neutral word, that the one head must carry: nothing else reaches the last token."""
N_DRAWS = 999


def emotions_of(bench: Bench) -> tuple[str, ...]:
    """In a quick run one emotion for each family, so that together they are all of them."""
    return EMOTIONS if bench.full else (EMOTIONS[list(BUILDERS).index(bench.name) % len(EMOTIONS)],)


def outcome_of(subject: Subject, emotion: str) -> WordSetOutcome:
    """Log-odds of the emotion's answers after test texts and the neutral ones of the same scenarios."""
    bank = subject.planted.bank
    pairs = matched_pairs(subject.lm, bank.explicit, emotion, bridge=BRIDGE, split=SPLIT)
    return WordSetOutcome(subject.lm, pairs, bank.word_sets)


def screened(subject: Subject, emotion: str, kind: Kind) -> Screen:
    """All statistics of all heads, or of all units with the best of them measured exactly."""
    n_planted = EXPLICIT[SPLIT]
    return screen(
        subject.lm, outcome_of(subject, emotion), kind, exact="all" if kind == "head" else n_planted,
        steps=PATH_STEPS, unit=subject.facts.specific(emotion),
    )  # fmt: skip


def separation(ranking: Ranking, planted: set[Component]) -> float:
    """AUROC of |score|, planted against all other components."""
    is_planted = np.array([c in planted for c in ranking.components])
    return float(auroc(np.abs(ranking.scores), is_planted))


def heads_found(bench: Bench) -> Iterator[SelftestCheck]:
    """Every ranking puts the planted head first, its exact effect is the whole gap, and no p could be lower."""
    subject = bench.subject
    planted = Component("head", *subject.facts.head)
    lowest: dict[str, float] = {}
    shares, p_values, others = [], [], []
    for emotion in emotions_of(bench):
        found = screened(subject, emotion, "head")
        for by, ranking in found.rankings().items():
            lowest[by] = min(lowest.get(by, 1.0), separation(ranking, {planted}))
        gap = float((found.m_a - found.m_b).mean())
        effects = found.exact.effects.mean(axis=0) / gap if found.exact else np.full(1, np.nan)
        at = found.exact.components.index(planted) if found.exact else 0
        shares.append(float(effects[at]))
        others += np.delete(effects, at).tolist()
        tested = found.test(n_draws=N_DRAWS, seed=bench.seed).p_max_t
        p_values.append(float(tested.reshape(found.estimate.shape[1:])[planted.layer, planted.number]))
    for by, value in lowest.items():
        yield check(f"planted head ranked by {by}, AUROC", value, 1, 1)
    yield check("share of the gap that it carries, by patching", furthest(shares, 1), *SHARE)
    yield check("share of the gap that any other head carries", furthest(others, 0), -0.1, 0.1)
    yield check("largest p of the planted head over the map", max(p_values), 0, 1.5 / (N_DRAWS + 1))


def units_found(bench: Bench) -> Iterator[SelftestCheck]:
    """The units of the cues that occur stand before all other units."""
    subject = bench.subject
    lowest: dict[str, float] = {}
    for emotion in emotions_of(bench):
        # The cues of explicit texts come first, and of these the development texts'.
        read = subject.facts.units[emotion][EXPLICIT["development"] : sum(EXPLICIT.values())]
        planted = {Component("unit", subject.facts.layer, n) for n in read}
        found = screened(subject, emotion, "unit")
        for by, ranking in found.rankings().items():
            if by == "exact":
                share = float(np.mean([c in planted for c in ranking.components]))
                lowest[by] = min(lowest.get(by, 1.0), share)
            else:
                lowest[by] = min(lowest.get(by, 1.0), separation(ranking, planted))
    measured = lowest.pop("exact")
    for by, value in lowest.items():
        yield check(f"planted units ranked by {by}, AUROC", value, 1, 1)
    yield check("units measured exactly that are planted, share", measured, 1, 1)


def removed(bench: Bench) -> Iterator[SelftestCheck]:
    """Ablating or patching the planted head takes the effect away; other heads of its layer do nothing."""
    subject = bench.subject
    lm, head = subject.lm, Component("head", *subject.facts.head)
    generic = generic_values(lm, subject.planted.bank.generic, [head])
    left: list[float] = []
    random: list[float] = []
    restored: list[float] = []
    for emotion in emotions_of(bench):
        outcome = outcome_of(subject, emotion)
        found = [ablate(lm, outcome, [head], method, generic) for method in METHODS]
        patched = patch(lm, outcome, [head])
        gap = float((patched.m_a - patched.m_b).mean())
        for one in found:
            gaps = (one.a - one.b).mean(axis=1) / gap
            left.append(float(gaps[0]))
            random += gaps[1:].tolist()
        restored.append(float((patched.b[0] - patched.m_b).mean()) / gap)
    yield check("share of the gap left without the planted head", furthest(left, 0), -0.1, 0.1)
    yield check("share of the gap left without another head", furthest(random, 1), 0.9, 1.1)
    yield check("share of the gap that the head restores in neutral prompts", furthest(restored, 1), *SHARE)


def false_positives_of_screens(bench: Bench) -> Iterator[SelftestCheck]:
    """In twins of several seeds, how often any head or any unit of the map has p ≤ .05.

    A full run takes one emotion of each twin: all are set against the same neutral texts, so that their p-values are
    not independent.
    """
    spec = bench.twin.planted.spec
    found: dict[Kind, list[float]] = {"head": [], "unit": []}
    for seed in range(bench.drawn(2, 201)):
        planted = bench.twin.planted if seed == 0 else plant(replace(spec, present=False), seed=bench.seed + seed)
        twin = Subject(planted)
        for emotion in [EMOTIONS[seed % len(EMOTIONS)]] if bench.full else EMOTIONS:
            for kind, p_values in found.items():
                p_values.append(_smallest_p(twin, emotion, kind, (bench.seed, seed)))
    yield from false_positive_family(
        {f"maps of {kind}s without a plant, rate of any p ≤ {ALPHA}": p for kind, p in found.items()}
    )


def _smallest_p(subject: Subject, emotion: str, kind: Kind, seed: tuple[int, int]) -> float:
    outcome = outcome_of(subject, emotion)
    found = screen(subject.lm, outcome, kind, exact=0, attention=False)
    p: NDArray[np.float64] = found.test(n_draws=199, seed=seed[0] * 1000 + seed[1]).p_max_t
    return float(p.min())
