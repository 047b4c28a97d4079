"""Steering of a model along directions mapped from every other, beside its own and shuffled maps."""

from __future__ import annotations

from emotion_circuits import prompts
from emotion_circuits._files import write_table
from emotion_circuits.analyses._analysis import Measures, analysis, stage_name
from emotion_circuits.analyses._maps import mapped_path
from emotion_circuits.analyses._settings import (
    AnalysisPlan,
    Settings,
)
from emotion_circuits.analyses._sweep import SteeringPlan, read_choice
from emotion_circuits.analyses._work import Workshop, compared, slug
from emotion_circuits.comparison import (
    FIT_POSITION,
    MappedDirections,
    PairMeasure,
    steer,
    steering_rows,
)
from emotion_circuits.interventions import balanced_contexts
from emotion_circuits.scoring import slot_task, where_told
from emotion_circuits.statistics import rows_table


@analysis("mapped_steering", command="", question="RQ5", scope="compared model")
class SteerMapped:
    """At the dose that the development sweep chose."""

    @staticmethod
    def inputs(study: Settings, target: str) -> list[str]:
        """Its own directions and dose, and the maps to it."""
        maps = [stage_name("maps", source, target) for source in compared(study) if source != target]
        return [stage_name("directions", target), stage_name("sweep", target), *maps]

    def run(self, work: Workshop, plan: AnalysisPlan, target: str) -> Measures:
        study = work.study
        lm = work.model(target)
        directions = work.directions(target, FIT_POSITION)
        few = balanced_contexts(prompts.contexts("test"), work.plan(SteeringPlan).text_contexts)
        slots, _ = where_told(lambda words: slot_task(lm, few, words), work.bank.word_sets())
        dose = read_choice(work.folder / "patching" / f"{slug(target)}_choice.json").dose
        rows = []
        for source in compared(study):
            if source == target or not mapped_path(work, source, target).is_file():
                continue
            mapped = MappedDirections.load(mapped_path(work, source, target))
            n_shuffled = len(mapped.shuffled)
            variants = (2 + n_shuffled) * len(mapped.emotions) * 2 * len(slots.batches)
            with work.counting(f"{source} → {target}: steering along mapped directions", variants) as add:
                found = steer(
                    lm, mapped, directions, dose, slots, n_shuffled=n_shuffled, seed=study.seed,
                    batch_tokens=study.batch_tokens, on_variants=add,
                )  # fmt: skip
            rows += steering_rows(mapped.route, found)
        path = work.folder / "cross_model" / f"{slug(target)}_mapped_steering.parquet"
        write_table(path, rows_table(PairMeasure, rows))
        return Measures(files=[path])
