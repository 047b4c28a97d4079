"""Every head and unit of a model screened, the best of them patched exactly."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from emotion_circuits._files import write_table, write_text
from emotion_circuits.analyses._analysis import Measures, analysis
from emotion_circuits.analyses._pairs import ALL_PAIRS, outcome_on, pairs_of_emotions
from emotion_circuits.analyses._settings import AnalysisPlan, Count, CountOrNone, Draws, Several
from emotion_circuits.analyses._work import Workshop, slug, twin_names
from emotion_circuits.components import (
    DECLARED_SIZE,
    SIZES,
    UNTRAINED,
    PairSet,
    Screen,
    attribute,
    both_screens,
    components_to_check,
    exact_effects,
    examples_of,
    write_depths,
)
from emotion_circuits.directions import source_of

POSITION = "mean"
"""Of the directions whose direct effects are shown."""


class ComponentsPlan(AnalysisPlan):
    """How heads and units are screened and joined into circuits."""

    pairs: Draws = 24
    """Pairs of prompts of each emotion that rank, and that judge, at most."""
    exact: CountOrNone = 8
    """Best heads that are patched, besides those of layers 0 and 1; of units half as many."""
    examples: Count = 3
    """Pairs of prompts that are shown under the best heads."""
    ranking: Literal["attribution", "path attribution", "direct effect", "random"] = "path attribution"
    """What circuits are made by: attribution, its mean over the path between both prompts, what heads and units write
    along the direction, or nothing."""
    size: float = DECLARED_SIZE
    """Declared size of circuits, a share of all heads and units: one of the curve's."""
    random_sizes: Several[float] = (0.05, 0.2, 0.5)
    """Sizes at which random circuits run; CPR is taken over these."""
    draws: Count = 199
    """Random circuits that a CPR is tested with, at most. Each costs a run of all pairs at every size: 199 are as few
    as Holm allows over nine claims."""
    drawn_pairs: Draws = 12
    """Pairs that random circuits run, the first twenty of them excepted, which run all."""
    budget: Annotated[float, Field(gt=0)] = 3e12
    """Parameters of all blocks × tokens that the random circuits of one emotion may cost: for a large model fewer than
    `draws` are drawn, but at least two."""
    exceeding: Count = 10
    """Random circuits with a larger CPR after which no more are drawn."""
    dropped: CountOrNone = 4
    """Best members that are left out one by one."""

    @field_validator("size")
    @classmethod
    def _one_of_the_curve(cls, size: float) -> float:
        if size not in SIZES:
            raise ValueError(f"one of {', '.join(f'{s:g}' for s in SIZES)}")
        return size

    @field_validator("random_sizes")
    @classmethod
    def _of_the_curve(cls, sizes: tuple[float, ...]) -> tuple[float, ...]:
        below_one = [size for size in SIZES if size < 1]  # at 1 every circuit is the whole model
        if not set(sizes) <= set(below_one):
            raise ValueError(f"sizes out of {', '.join(f'{size:g}' for size in below_one)}")
        return sizes

    FULL = {"pairs": ALL_PAIRS, "drawn_pairs": ALL_PAIRS, "draws": 999, "dropped": 20, "exact": 20, "budget": math.inf}  # noqa: RUF012


@analysis("heads", question="RQ4", command="", needs=("directions",), plan_key="components", reads=("untrained_seeds",))
class ScreenComponents:
    """Every head and unit, the best exactly; what the best heads look at; profiles over depth, on pairs of test
    scenarios."""

    Plan = ComponentsPlan

    def run(self, work: Workshop, plan: ComponentsPlan, name: str) -> Measures:
        lm, budget = work.model(name), work.study.batch_tokens
        directions = work.directions(name, POSITION)
        sets = [judging for _, judging in pairs_of_emotions(work, name, lm, "screen", plan.pairs)]
        if not sets:
            return Measures()
        screens: list[Screen] = []
        for pairs in sets:
            outcome = outcome_on(work, lm, pairs)
            both = both_screens(lm, outcome, steps=0, unit=directions[pairs.emotion].unit)
            kept = {
                one.kind: components_to_check(lm, one.rankings()["attribution"], one.kind, n_exact)
                for one, n_exact in ((both.heads, plan.exact), (both.units, plan.exact // 2))
            }
            chosen = [component for own in kept.values() for component in own]
            # Both kinds together: the runs that they start from are the same.
            passes = len(outcome.batches(lm, budget))
            with work.counting(f"{name}: heads and units for {pairs.emotion}", len(chosen) * passes) as add:
                exact = exact_effects(lm, outcome, chosen, batch_tokens=budget, on_patched=add) if chosen else None
            screens += [replace(one, exact=exact and exact.of(kept[one.kind])) for one in (both.heads, both.units)]
        folder, seed = work.folder / "heads", work.study.seed
        kinds = {"screen": "head", "units": "unit"}
        tables = {
            what: pd.concat([s.table(seed=seed) for s in screens if s.kind == kind], ignore_index=True)
            for what, kind in kinds.items()
        }
        examples = examples_of(lm, [s for s in screens if s.kind == "head"], tables["screen"], n_examples=plan.examples)
        files = write_depths(work.folder, screens, source_of(lm).model_dump(), work.bank.hash, seed=seed)
        for what, untrained in _untrained(work, name, sets).items():
            tables[what][UNTRAINED] = tables[what]["emotion"].map(untrained)
        for what, table in tables.items():
            files.append(folder / f"{what}_{slug(name)}.parquet")
            write_table(files[-1], table, source=source_of(lm).model_dump())
        files.append(folder / f"examples_{slug(name)}.json")
        write_text(files[-1], examples.model_dump_json(indent=1) + "\n")
        return Measures(files=files)


def _untrained(work: Workshop, name: str, sets: list[PairSet]) -> dict[str, dict[str, float]]:
    """Table → emotion → the largest |score| that any head, or unit, of an untrained twin has: the floor of scores."""
    largest: dict[str, dict[str, float]] = {"screen": {}, "units": {}}
    for twin in twin_names(work.study, name):
        lm = work.model(twin)
        for pairs in sets:
            found = attribute(lm, outcome_on(work, lm, pairs), ("head", "unit"))
            for what, own in (("screen", found.heads), ("units", found.units)):
                assert own is not None
                most = float(np.abs(own.mean(axis=0)).max())
                largest[what][pairs.emotion] = max(most, largest[what].get(pairs.emotion, 0.0))
    return {what: values for what, values in largest.items() if values}
