"""Where and how well directions tell emotions apart: the quality of every position over all layers, and RQ1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emotion_circuits._files import write_table
from emotion_circuits.analyses._analysis import Measures, analysis, stage_name
from emotion_circuits.analyses._settings import AnalysisPlan, EffectsOfInterest, Settings
from emotion_circuits.analyses._work import (
    Workshop,
    activation_folder,
    recorded_texts,
    slug,
    twin_names,
    why_untested,
)
from emotion_circuits.directions import (
    CLAIM_BOOTSTRAP,
    CLAIM_PERMUTATIONS,
    CLAIM_SPLITS,
    IMPLICIT,
    POSITIONS,
    REAL_WORLD,
    Activations,
    DirectionSet,
    EvaluationTexts,
    FloorScores,
    UntrainedTwin,
    cleaned_values,
    cosine_rows,
    floor_rows,
    floor_scores,
    foil_rows,
    gain_over_floors,
    intensity_rows,
    judged_scores,
    project,
    quality_profile,
)
from emotion_circuits.errors import MeasurementError
from emotion_circuits.models import model_label
from emotion_circuits.prompts import IMPLICIT_TEXTS, Dataset
from emotion_circuits.statistics import Claim, measures_table, null_from, split_half_cosine, untested

FloatArray = NDArray[np.float64]
STABILITY = "split-half cosine of the specific direction"
CLAIM_POSITION = "mean"


@analysis("quality", question="RQ1", needs=("activations", "directions"), reads=("effects",))
class JudgeDirections:
    """Judge directions: where and how well they tell emotions apart.

    At every position over all layers, on explicit, implicit and real-world texts, with foils and intensity series,
    beside the embedding, a bag of words and untrained twins. Cosines between emotions stand beside those of shuffled
    labels.
    """

    @staticmethod
    def inputs(study: Settings, name: str) -> list[str]:
        """The model's own stages, and what its untrained twins, the floors, recorded."""
        twins = [stage_name("activations", twin) for twin in twin_names(study, name)]
        return [stage_name("activations", name), *twins, stage_name("directions", name)]

    def run(self, work: Workshop, plan: AnalysisPlan, name: str) -> Measures:
        folder = activation_folder(work, name)
        explicit = work.activations(name)
        implicit, real_world = (recorded_texts(folder / kind, explicit) for kind in ("implicit", "real_world"))
        texts = EvaluationTexts(explicit, implicit, real_world)
        quality, cosines = [], []
        with work.progress(f"{name}: quality of directions", len(POSITIONS)) as done:
            for i, position in enumerate(POSITIONS):
                there = texts._replace(explicit=explicit.with_position(position))
                if not len(there.explicit.data):
                    continue
                directions = work.directions(name, position)
                quality += quality_profile(there, directions, work.study.seed)
                cosines += cosine_rows(there.explicit, directions, work.study.seed)
                done(i + 1)
        floors = {}
        twins = _twins(work, name)
        for place, (statistic, judged_on) in enumerate(
            [(IMPLICIT, texts.implicit.select(split="test")), (REAL_WORLD, texts.real_world)]
        ):
            recorded = [(twin, sets[place]) for twin, sets in twins]
            floors[statistic] = floor_scores(texts.explicit.data, judged_on.data, recorded)
            quality += floor_rows(name, CLAIM_POSITION, statistic, judged_on.data, floors[statistic], work.study.seed)
        directions = work.directions(name, CLAIM_POSITION)
        foils, intensity = (recorded_texts(folder / kind, explicit) for kind in ("foils", "intensity"))
        quality += foil_rows(explicit, texts.implicit, foils, directions, work.study.seed)
        quality += intensity_rows(intensity, directions, explicit.data, seed=work.study.seed)
        table = work.folder / "emotion_vectors" / f"{slug(name)}_quality.parquet"
        write_table(table, measures_table(quality))
        cosine_table = work.folder / "emotion_vectors" / f"{slug(name)}_cosines.parquet"
        write_table(cosine_table, measures_table(cosines))
        evidence = (table.relative_to(work.folder).as_posix(),)
        claims = []
        for emotion in directions.emotions:
            of_emotion = [floor for floor in floors[IMPLICIT] if floor.emotion == emotion]
            claims.append(_separability(work, name, emotion, texts, directions, of_emotion, evidence))
            claims.append(_stability(work, name, emotion, texts.explicit, directions, evidence))
        return Measures(files=[table, cosine_table], claims=claims)


def _twins(work: Workshop, name: str) -> list[tuple[UntrainedTwin, list[Activations]]]:
    """Each untrained twin, and its activations of the texts that floors are judged on."""
    found = []
    for twin in twin_names(work.study, name):
        folder = activation_folder(work, twin)
        explicit = work.activations(twin)
        implicit, real_world = (recorded_texts(folder / kind, explicit) for kind in ("implicit", "real_world"))
        untrained = UntrainedTwin(explicit, implicit, CLAIM_POSITION)
        found.append((untrained, [implicit.select(split="test"), real_world]))
    return found


def _separability(
    work: Workshop,
    name: str,
    emotion: str,
    texts: EvaluationTexts,
    directions: DirectionSet,
    floors: Sequence[FloorScores],
    evidence: tuple[str, ...],
) -> Claim:
    if why := why_untested(work, emotion, IMPLICIT_TEXTS):
        return untested("rq1.separability", model_label(name), emotion, IMPLICIT, why)
    layer, seed = directions.chosen_layer[emotion], work.study.seed
    test = texts.implicit.select(split="test")
    scores, embedding = (project(test, directions, emotion, "specific", row) for row in (layer + 1, 0))
    simpler: dict[str, list[FloatArray]] = {"embedding": [embedding]}
    for floor in floors:
        simpler.setdefault(floor.name, []).append(floor.scores)
    return separability_claim(
        scores, test.data, emotion, simpler, effect=work.plan(EffectsOfInterest).separability, seed=seed,
        model=model_label(name), layer=layer, evidence=evidence,
    )  # fmt: skip


def separability_claim(
    scores: FloatArray,
    data: Dataset,
    emotion: str,
    floors: Mapping[str, Sequence[FloatArray]],
    *,
    effect: float,
    seed: int,
    n_draws: int = CLAIM_BOOTSTRAP,
    **fields: Any,
) -> Claim:
    """`rq1.separability` from (n,) scores of texts and those of each floor; `fields` are the claim's others."""
    found = judged_scores(scores, data, emotion, n_bootstrap=n_draws, n_permutations=CLAIM_PERMUTATIONS, seed=seed)
    rivals = gain_over_floors(scores, data, emotion, floors, n_draws=n_draws, seed=seed)
    rivals.append(
        null_from("permuted labels", found.chance, found.null_high, found.p, CLAIM_PERMUTATIONS, found.interval)
    )
    return Claim.beside(
        rivals,
        id="rq1.separability",
        question="RQ1",
        emotion=emotion,
        statistic=IMPLICIT,
        value=found.value,
        ci95=(found.interval.low, found.interval.high),
        ceiling=1.0,
        n_unique=found.n_groups,
        unit="scenarios",
        effect_of_interest=effect,
        **fields,
    )


def _stability(
    work: Workshop,
    name: str,
    emotion: str,
    explicit: Activations,
    directions: DirectionSet,
    evidence: tuple[str, ...],
) -> Claim:
    if why := why_untested(work, emotion):
        return untested("rq1.stability", model_label(name), emotion, STABILITY, why)
    layer = directions.chosen_layer[emotion]
    test = explicit.select(split="test")
    values = cleaned_values(test, directions.position, directions.generic, directions.cleaned)[layer + 1]
    try:
        found = split_half_cosine(
            values, test.labels, test.scenarios, emotion,
            n_splits=CLAIM_SPLITS, n_permutations=CLAIM_PERMUTATIONS, n_bootstrap=CLAIM_BOOTSTRAP, seed=work.study.seed,
        )  # fmt: skip
    except MeasurementError:
        why = "Nothing differs between the classes at this layer: the statistic is undefined"
        n = int((test.labels == emotion).sum())
        return untested("rq1.stability", model_label(name), emotion, STABILITY, why, n_unique=n, evidence=evidence[0])
    return Claim.beside(
        [null_from("permuted labels", found.null_mean, found.null_high, found.p, CLAIM_PERMUTATIONS, found.interval)],
        id="rq1.stability",
        question="RQ1",
        model=model_label(name),
        emotion=emotion,
        layer=layer,
        statistic=STABILITY,
        value=found.value,
        ci95=(found.interval.low, found.interval.high),
        ceiling=1.0,
        n_unique=found.n_groups,
        unit="scenarios",
        evidence=evidence,
        effect_of_interest=work.plan(EffectsOfInterest).stability,
    )
