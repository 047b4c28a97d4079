"""The emotion's values in neutral runs, layer by layer and place by place."""

from __future__ import annotations

from typing import Literal

from emotion_circuits._files import write_table
from emotion_circuits.analyses._analysis import Measures, analysis
from emotion_circuits.analyses._pairs import outcome_on
from emotion_circuits.analyses._settings import ALL_LAYERS, AnalysisPlan, Count, Several
from emotion_circuits.analyses._work import Workshop, patching_path
from emotion_circuits.components import (
    SWAP_SITES,
    interchange,
    interchange_measures,
    matched_pairs,
)
from emotion_circuits.errors import InputError
from emotion_circuits.interventions import relative_layers
from emotion_circuits.statistics import Measure, measures_table


class InterchangePlan(AnalysisPlan):
    """How the emotion's values are put into neutral runs."""

    depths: Count = 5
    """How many relative depths are visited."""
    places: Several[Literal["before", "word", "after", "bridge", "last", "all"]] = ("word", "after", "last")
    donors: Count = 1
    """Other scenarios' prompts that give chance."""
    FULL = {  # noqa: RUF012
        "depths": ALL_LAYERS, "places": ("before", "word", "after", "bridge", "last", "all"),
    }  # fmt: skip


@analysis("swap", question="RQ4", plan_key="interchange")
class SwapPairs:
    """Denoising of every emotion's pairs; nothing is chosen on them, so all scenarios take part."""

    Plan = InterchangePlan

    def run(self, work: Workshop, plan: InterchangePlan, name: str) -> Measures:
        lm = work.model(name)
        texts = work.bank.profile(work.study.profile)
        layers = relative_layers(lm.n_layers, plan.depths)
        rows: list[Measure] = []
        for emotion in work.bank.emotions:
            try:
                pairs = matched_pairs(lm, texts, emotion)
                outcome = outcome_on(work, lm, pairs)
            except InputError as error:  # a tokenizer under which hardly any two texts are equally long
                work.tell(f"{name}: no interchange for {emotion}: {error}")
                continue
            budget = work.study.batch_tokens
            patches = len(layers) * len(SWAP_SITES) * len(plan.places) * (1 + plan.donors)
            with work.counting(f"{name}: interchange, {emotion}", patches * len(outcome.batches(lm, budget))) as add:
                found = interchange(
                    lm, outcome, layers=layers, places=plan.places, directions=["denoising"], n_donors=plan.donors,
                    batch_tokens=budget, on_runs=add,
                )  # fmt: skip
            rows += interchange_measures(found, seed=work.study.seed)
        path = patching_path(work, name, "swap.parquet")
        write_table(path, measures_table(rows))
        return Measures(files=[path])
