"""Is the planted circuit faithful alone, is it found by ranking, and is nothing claimed where nothing was planted?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from emotion_circuits.components import (
    CPR,
    Circuits,
    Faithfulness,
    PairSet,
    WordSetOutcome,
    circuit_gaps,
    circuit_means,
    faithfulness,
    judged_circuit,
    rankings_by,
)
from emotion_circuits.selftest._bench import Bench, Subject
from emotion_circuits.selftest._check import SelftestCheck, check, furthest
from emotion_circuits.selftest._checks_components import SHARE, emotions_of, outcome_of
from emotion_circuits.statistics import ALPHA

N_RANDOM = 39
SIZES = (0.05, 0.2, 0.5, 1.0)
NOTHING = (-0.1, 0.1)


def planted_circuits(subject: Subject) -> Circuits:
    """The moving head and all units that write; the units alone; the head alone; nothing; everything."""
    lm, facts = subject.lm, subject.facts
    heads, units = np.zeros((5, lm.n_layers, lm.n_heads), bool), np.zeros((5, lm.n_layers, lm.d_mlp), bool)
    heads[[0, 2], facts.head.layer, facts.head.head] = True
    units[np.ix_([0, 1], [facts.layer], sorted({n for own in facts.units.values() for n in own}))] = True
    heads[4], units[4] = True, True
    return Circuits(heads, units)


def planted_circuit_is_faithful(bench: Bench) -> Iterator[SelftestCheck]:
    """Head and units together carry everything, either of them nothing; the best-ranked circuits beat random ones."""
    subject = bench.subject
    means = circuit_means(subject.lm, subject.planted.bank.generic)
    together: list[float] = []
    apart: list[float] = []
    p_values: list[float] = []
    for emotion in emotions_of(bench):
        outcome = outcome_of(subject, emotion)
        gaps = circuit_gaps(subject.lm, outcome, planted_circuits(subject), means).mean(axis=1)
        f = (gaps - gaps[3]) / (gaps[4] - gaps[3])
        together.append(float(f[0]))
        apart += f[1:3].tolist()
        # Every cue has a unit of its own, so that here what ranks must be what judges: other texts have other units.
        rankings = rankings_by(subject.lm, outcome, "attribution")
        ranked = faithfulness(
            subject.lm, outcome, rankings, means, sizes=SIZES, n_random=N_RANDOM, n_dropped=0, seed=bench.seed
        )
        p_values.append(_p(ranked))
    yield check("faithfulness of the planted head and units alone", furthest(together, 1), *SHARE)
    yield check("faithfulness of only the head or only the units", furthest(apart, 0), *NOTHING)
    yield check("largest p of the ranked circuits' CPR", max(p_values), 0, 1.5 / (N_RANDOM + 1))
    twin = [_p(held_out(bench.twin, emotion, bench.seed)) for emotion in emotions_of(bench)]
    yield check("smallest p of held-out circuits in the twin without a plant", min(twin), ALPHA, 1)


def held_out(subject: Subject, emotion: str, seed: int) -> Faithfulness:
    """Circuits ranked on one half of an emotion's pairs and judged on the other, as the command does."""
    means = circuit_means(subject.lm, subject.planted.bank.generic)

    def outcome(pairs: PairSet) -> WordSetOutcome:
        return WordSetOutcome(subject.lm, pairs, subject.planted.bank.word_sets)

    pairs = outcome_of(subject, emotion).pairs
    return judged_circuit(
        subject.lm, outcome, pairs, "attribution", means, sizes=SIZES, n_random=N_RANDOM, n_dropped=0, seed=seed
    )  # fmt: skip


def _p(found: Faithfulness) -> float:
    """p of CPR; 1 where nothing can be tested."""
    return next(m.p for m in found.measures(n_draws=100) if m.statistic == CPR) if found.tested else 1.0
