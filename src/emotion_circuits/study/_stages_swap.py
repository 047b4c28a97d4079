"""The stage that puts the emotion's values into neutral runs, layer by layer and place by place."""

from __future__ import annotations

from pathlib import Path

from emotion_circuits._files import write_table
from emotion_circuits.components import (
    SWAP_SITES,
    interchange,
    interchange_measures,
    matched_pairs,
)
from emotion_circuits.errors import InputError
from emotion_circuits.interventions import relative_layers
from emotion_circuits.statistics import Measure, measures_table
from emotion_circuits.study._stages_heads import outcome_on
from emotion_circuits.study._stages_steer import patching_path
from emotion_circuits.study._workshop import Workshop


def swap_pairs(work: Workshop, name: str) -> list[Path]:
    """Denoising of every emotion's pairs; nothing is chosen on them, so all scenarios take part."""
    lm, plan = work.model(name), work.study.interchange
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
    return [path]
