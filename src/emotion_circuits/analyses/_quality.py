"""Where and how well directions tell emotions apart: the quality of every position over all layers, and RQ1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emotion_circuits._files import write_table
from emotion_circuits.analyses._analysis import Measures, analysis, stage_name
from emotion_circuits.analyses._external import QualityPlan, recorded_external, too_few
from emotion_circuits.analyses._settings import EffectsOfInterest, Settings
from emotion_circuits.analyses._work import (
    CLAIM_POSITION,
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
    DETECTOR,
    EXTERNAL,
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
    detection_row,
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
from emotion_circuits.statistics import Claim, Measure, measures_table, null_from, split_half_cosine, untested

FloatArray = NDArray[np.float64]
STABILITY = "split-half cosine of the specific direction"


class _Judged(NamedTuple):
    """Texts that directions are judged on, and what the floors say of them."""

    statistic: str
    texts: Activations
    floors: list[FloorScores]


@analysis("quality", question="RQ1", needs=("activations", "directions"), plan_key="quality", reads=("effects",))
class JudgeDirections:
    """Judge directions: where and how well they tell emotions apart.

    At every position over all layers, on explicit, implicit and real-world texts, and at `mean` on labelled texts of
    your own (--external), foils and intensity series, beside the embedding, a bag of words and untrained twins. Cosines
    between emotions stand beside those of shuffled labels.
    """

    Plan = QualityPlan

    @staticmethod
    def decides(plan: QualityPlan) -> dict[str, Any]:
        """The content of the user's file."""
        return plan.as_decided()

    @staticmethod
    def inputs(study: Settings, name: str) -> list[str]:
        """The model's own stages, and what its untrained twins, the floors, recorded."""
        recordings = ["activations"] if study.plan(QualityPlan).external is None else ["activations", "external_texts"]
        recorded = [stage_name(one, own) for one in recordings for own in (name, *twin_names(study, name))]
        return [*recorded, stage_name("directions", name)]

    def run(self, work: Workshop, plan: QualityPlan, name: str) -> Measures:
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
        judged, floor_table = _judged(work, plan, name, texts)
        quality += floor_table
        directions = work.directions(name, CLAIM_POSITION)
        foils, intensity = (recorded_texts(folder / kind, explicit) for kind in ("foils", "intensity"))
        quality += foil_rows(explicit, texts.implicit, foils, directions, work.study.seed)
        quality += intensity_rows(intensity, directions, explicit.data, seed=work.study.seed)
        external = judged.get(EXTERNAL)
        if external is not None:
            quality += _external_rows(external.texts, directions, work.study.seed)
        table = work.folder / "emotion_vectors" / f"{slug(name)}_quality.parquet"
        write_table(table, measures_table(quality))
        cosine_table = work.folder / "emotion_vectors" / f"{slug(name)}_cosines.parquet"
        write_table(cosine_table, measures_table(cosines))
        evidence = (table.relative_to(work.folder).as_posix(),)
        claims = []
        for emotion in directions.emotions:
            why = why_untested(work, emotion, IMPLICIT_TEXTS)
            claims.append(
                _separability(work, name, "rq1.separability", emotion, judged[IMPLICIT], directions, why, evidence)
            )
            claims.append(_stability(work, name, emotion, texts.explicit, directions, evidence))
            if external is not None:
                why = why_untested(work, emotion) or too_few(external.texts, emotion)
                claims.append(_separability(work, name, "rq1.external", emotion, external, directions, why, evidence))
        return Measures(files=[table, cosine_table], claims=claims)


def _judged(
    work: Workshop, plan: QualityPlan, name: str, texts: EvaluationTexts
) -> tuple[dict[str, _Judged], list[Measure]]:
    """What floors are judged on beside the directions, and the floors' rows."""
    sets = {IMPLICIT: texts.implicit.select(split="test"), REAL_WORLD: texts.real_world}
    if plan.external is not None:
        sets[EXTERNAL] = recorded_external(work, plan, name, texts.explicit)
    twins, judged, rows = _twins(work, plan, name), {}, []
    for place, (statistic, on) in enumerate(sets.items()):
        floors = floor_scores(texts.explicit.data, on.data, [(twin, own[place]) for twin, own in twins])
        if statistic == EXTERNAL:
            floors = [floor for floor in floors if too_few(on, floor.emotion) is None]
        judged[statistic] = _Judged(statistic, on, floors)
        rows += floor_rows(name, CLAIM_POSITION, statistic, on.data, floors, work.study.seed)
    return judged, rows


def _external_rows(texts: Activations, directions: DirectionSet, seed: int) -> list[Measure]:
    """AUROC on the user's texts over all layers, of emotions that have enough of them."""
    return [
        detection_row(texts, directions, emotion, row, kind, EXTERNAL, seed)
        for emotion in directions.emotions
        if too_few(texts, emotion) is None
        for row in range(directions.n_layers + 1)
        for kind in ("specific", "probe", DETECTOR)
        if kind in directions.vectors
    ]


def _twins(work: Workshop, plan: QualityPlan, name: str) -> list[tuple[UntrainedTwin, list[Activations]]]:
    """Each untrained twin, and its activations of the texts that floors are judged on."""
    found = []
    for twin in twin_names(work.study, name):
        folder = activation_folder(work, twin)
        explicit = work.activations(twin)
        implicit, real_world = (recorded_texts(folder / kind, explicit) for kind in ("implicit", "real_world"))
        untrained = UntrainedTwin(explicit, implicit, CLAIM_POSITION)
        external = recorded_external(work, plan, twin, explicit)
        found.append((untrained, [implicit.select(split="test"), real_world, external]))
    return found


def _separability(
    work: Workshop,
    name: str,
    claim: str,
    emotion: str,
    judged: _Judged,
    directions: DirectionSet,
    why: str | None,
    evidence: tuple[str, ...],
) -> Claim:
    """That a direction tells the emotion's texts from the others better than every floor; `why` says why not."""
    if why is not None:
        return untested(claim, model_label(name), emotion, judged.statistic, why)
    layer, seed, texts = directions.chosen_layer[emotion], work.study.seed, judged.texts
    scores, embedding = (project(texts, directions, emotion, "specific", row) for row in (layer + 1, 0))
    simpler: dict[str, list[FloatArray]] = {"embedding": [embedding]}
    for floor in judged.floors:
        if floor.emotion == emotion:
            simpler.setdefault(floor.name, []).append(floor.scores)
    return separability_claim(
        scores, texts.data, emotion, simpler, effect=work.plan(EffectsOfInterest).separability, seed=seed, id=claim,
        statistic=judged.statistic, unit="texts" if judged.statistic == EXTERNAL else "scenarios",
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
    question: str = "RQ1",
    **fields: Any,
) -> Claim:
    """That (n,) scores of texts tell the emotion's from the others better than each floor's scores do; `fields` are the
    claim's others."""
    found = judged_scores(scores, data, emotion, seed, n_bootstrap=n_draws, n_permutations=CLAIM_PERMUTATIONS)
    rivals = gain_over_floors(scores, data, emotion, floors, n_draws=n_draws, seed=seed)
    rivals.append(
        null_from(
            "permuted labels", found.chance, found.null_high, found.p, CLAIM_PERMUTATIONS, found.interval, found.null
        )
    )
    return Claim.beside(
        rivals, question=question, emotion=emotion, value=found.value, ci95=(found.interval.low, found.interval.high),
        ceiling=1.0, n_unique=found.n_groups, effect_of_interest=effect, **fields,
    )  # fmt: skip


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
        [
            null_from(
                "permuted labels",
                found.null_mean,
                found.null_high,
                found.p,
                CLAIM_PERMUTATIONS,
                found.interval,
                found.null,
            )
        ],
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
