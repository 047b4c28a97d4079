"""The emotion's values in neutral runs, layer by layer and place by place."""

from __future__ import annotations

from typing import Literal

from emotion_circuits._files import write_table
from emotion_circuits.analyses._analysis import Measures, analysis
from emotion_circuits.analyses._pairs import ALL_PAIRS, PAIRS_PROFILE, outcome_on
from emotion_circuits.analyses._settings import ALL_LAYERS, AnalysisPlan, Count, CountOrNone, Draws, Layer, Several
from emotion_circuits.analyses._work import Workshop, one_line, patching_path
from emotion_circuits.components import (
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
    layers: Several[Layer] | None = None
    """Blocks, counted from 0, instead of relative depths."""
    sites: Several[Literal["resid_post", "attn_out", "mlp_out"]] = ("resid_post", "attn_out", "mlp_out")
    """Residual stream, attention output, MLP output."""
    places: Several[Literal["before", "word", "after", "bridge", "last", "all"]] = ("word", "after", "last")
    """Tokens before the emotion's word, the word, those after it, the bridge's, the last one, all."""
    directions: Several[Literal["denoising", "noising"]] = ("denoising",)
    """The emotion's values into the neutral run, or the other way."""
    donors: CountOrNone = 1
    """Other scenarios' prompts that give chance."""
    pairs: Draws = 24
    """Pairs of prompts of each emotion, at most."""
    FULL = {  # noqa: RUF012
        "depths": ALL_LAYERS, "pairs": ALL_PAIRS, "places": ("before", "word", "after", "bridge", "last", "all"),
    }  # fmt: skip


@analysis("swap", question="RQ4", plan_key="interchange")
class SwapPairs:
    """Put the paired prompt's values into a run, by layer and place.

    Prompts are pairs of one scenario, an emotion's and a neutral one, with equally many tokens. The share of their
    difference that follows says where the emotion stands: denoising puts the emotion's values into the neutral run
    (1 is all, 0 nothing), noising the neutral ones into the emotion's (0 is all, 1 nothing). Donors say what the values
    of any other such prompt do. Nothing is chosen on the pairs, so that scenarios of both splits take part.
    """

    Plan = InterchangePlan

    def run(self, work: Workshop, plan: InterchangePlan, name: str) -> Measures:
        lm = work.model(name)
        texts = work.bank.profile(PAIRS_PROFILE)
        layers = plan.layers or relative_layers(lm.n_layers, plan.depths)
        rows: list[Measure] = []
        for emotion in work.bank.emotions:
            try:
                pairs = matched_pairs(lm, texts, emotion).at_most(plan.pairs)
                outcome = outcome_on(work, lm, pairs)
            except InputError as error:  # a tokenizer under which hardly any two texts are equally long
                work.tell(f"{name}: no interchange for {emotion}: {one_line(error)}")
                continue
            budget = work.study.batch_tokens
            patches = len(layers) * len(plan.sites) * len(plan.places) * len(plan.directions) * (1 + plan.donors)
            with work.counting(f"{name}: interchange, {emotion}", patches * len(outcome.batches(lm, budget))) as add:
                found = interchange(
                    lm, outcome, layers=layers, sites=plan.sites, places=plan.places, directions=plan.directions,
                    n_donors=plan.donors, batch_tokens=budget, on_runs=add,
                )  # fmt: skip
            rows += interchange_measures(found, seed=work.study.seed)
        path = patching_path(work, name, "swap.parquet")
        write_table(path, measures_table(rows))
        return Measures(files=[path])
