"""Do maps between models find a map that is known: to the same model with its stream turned and its words renumbered?

Maps are fitted on neutral texts, which no emotion word is in, and judged by what they do to emotions.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.geometry import (
    Aligner,
    AlignmentReport,
    BetweenClassSubspace,
    NullBand,
    Ridge,
    ScenarioTable,
    compare_subspaces,
    evaluate_alignment,
    rotation_null,
)
from emotion_circuits.selftest._bank import EMOTIONS
from emotion_circuits.selftest._bench import WHERE, Bench, Subject
from emotion_circuits.selftest._check import RARE, SelftestCheck, chance_cosine, check
from emotion_circuits.selftest._checks_directions import DETECTED, RECOVERED, around_chance, first_layer
from emotion_circuits.statistics import ALPHA, auroc

FloatArray = NDArray[np.float64]

N_DRAWS = round(1 / RARE) - 1
"""Of each null: the smallest p is then what a comparison with chance may come to on a healthy model."""
N_ROTATIONS = 100_000


def map_between(source: Subject, target: Subject, layer: int) -> Aligner:
    """Ridge on neutral texts, from a layer of one model to the same layer of another."""
    return Ridge().fit(*(subject.neutral.at(WHERE)[layer + 1] for subject in (source, target)))


def judged(source: Subject, target: Subject, layer: int, seed: int) -> AlignmentReport:
    """What the map does to the emotions of texts that it has not seen."""
    texts = source.explicit
    return evaluate_alignment(
        map_between(source, target, layer),
        texts.at(WHERE)[layer + 1],
        target.explicit.at(WHERE)[layer + 1],
        texts.labels,
        texts.scenarios,
        n_draws=N_DRAWS,
        n_bootstrap=2,
        seed=seed,
    )


def recovered_by_maps(bench: Bench) -> Iterator[SelftestCheck]:
    """Emotions of the planted model, mapped, are those of its rotated twin, at every layer that holds them."""
    subject, rotated = bench.subject, bench.rotated
    first = first_layer(subject, WHERE)
    mapped = []
    for layer in range(first, subject.lm.n_layers):
        aligner = map_between(subject, rotated, layer)
        for emotion in EMOTIONS:
            mapped.append(_cosine(aligner, subject.facts.directions[emotion], rotated.facts.directions[emotion]))
    yield check("rotated twin, lowest cosine of mapped with planted directions", min(mapped), RECOVERED, 1)
    lowest = min(mapped_aurocs(subject, rotated, first))
    yield check("rotated twin, lowest AUROC of mapped directions on implicit texts", lowest, DETECTED, 1)
    report = judged(subject, rotated, first, bench.seed)
    yield check("rotated twin, mapped directions nearest to their own", report.retrieval, 1, 1)
    yield check("rotated twin, own cosine, largest p over other maps", *_beyond(report.mean_own_nulls))


def overlap_after_maps(bench: Bench) -> Iterator[SelftestCheck]:
    """Emotion subspaces overlap after the map, and before it no more than chance."""
    layer = first_layer(bench.subject, WHERE)
    own, other = (_table(subject, layer) for subject in (bench.subject, bench.rotated))
    aligner = map_between(bench.subject, bench.rotated, layer)
    before, after = (
        compare_subspaces(
            table,
            other,
            BetweenClassSubspace(),
            label_draws="independent",
            n_permutations=N_DRAWS,
            n_bootstrap=2,
            n_splits=1,
            seed=bench.seed,
        )[0]
        for table in (own, own.mapped(aligner.transform))
    )
    yield check("rotated twin, overlap after the map, largest p of its nulls", *_beyond(after.nulls))
    # The turn leaves one direction, the all-ones one, where it is.
    chance = rotation_null(before.d - 1, before.k, before.k, N_ROTATIONS, bench.seed)
    high = float(np.quantile(chance, 1 - RARE))
    yield check("rotated twin, overlap before the map", before.value, 0, high)


def nothing_in_a_twin_without_plant(bench: Bench) -> Iterator[SelftestCheck]:
    """Without a plant mapped directions detect nothing, though a good map carries over any contrast of the same texts.

    Their own cosine is then high beside other maps. Only shuffled labels tell that it is no emotion.
    """
    layer = first_layer(bench.subject, WHERE)
    for name, source in (("no plant in either", bench.twin), ("a plant in the source only", bench.subject)):
        aurocs = mapped_aurocs(source, bench.rotated_twin, layer)
        yield check(f"{name}, AUROC of mapped directions", *around_chance(bench.rotated_twin, aurocs))
    report = judged(bench.twin, bench.rotated_twin, layer, bench.seed)
    least = chance_cosine(bench.twin.lm.d_model, 1)
    yield check("no plant in either, own cosine that the map gives any contrast", report.mean_own, least, 1)
    null = report.mean_own_label_null
    p = np.nan if null is None else null.p
    yield check("no plant in either, p of that cosine over shuffled labels", p, 2 / (N_DRAWS + 1), 1)


def mapped_aurocs(source: Subject, target: Subject, layer: int) -> list[float]:
    """AUROC of each emotion's direction, found in the source and mapped, on the target's texts in other words."""
    aligner = map_between(source, target, layer)
    test = target.implicit.select(split="test")
    found = source.directions()
    images = [aligner.transform_direction(found.direction(e, layer, "specific").unit) for e in EMOTIONS]
    scores = np.stack(images) @ test.at(WHERE)[layer + 1].T.astype(np.float64)
    return [float(auroc(row, test.labels == emotion)) for row, emotion in zip(scores, EMOTIONS, strict=True)]


def _table(subject: Subject, layer: int) -> ScenarioTable:
    texts = subject.explicit
    return ScenarioTable.from_texts(texts.at(WHERE)[layer + 1], texts.labels, texts.scenarios)


def _cosine(aligner: Aligner, direction: FloatArray, target: FloatArray) -> float:
    image = aligner.transform_direction(direction)
    return float(image @ target / np.linalg.norm(image) / np.linalg.norm(target))


def _beyond(nulls: tuple[NullBand, ...]) -> tuple[float, float, float]:
    """The largest p, and how large it may be: by Bonferroni over the nulls."""
    return max(null.p for null in nulls), 0.0, ALPHA / len(nulls)
