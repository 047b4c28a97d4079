"""Stages of RQ4: every head and unit screened; the best of them joined into circuits, beside random ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from emotion_circuits import prompts
from emotion_circuits._files import write_json, write_table, write_text
from emotion_circuits.comparison import write_component_rows
from emotion_circuits.components import (
    CPR,
    DECLARED_SIZE,
    SIZES,
    UNTRAINED,
    DrawnCurves,
    Outcome,
    PairSet,
    Screen,
    WordSetOutcome,
    attribute,
    both_screens,
    circuit_edges,
    circuit_means,
    circuits_as_values,
    components_to_check,
    draw_until_clear,
    exact_effects,
    examples_of,
    faithfulness,
    halves,
    matched_pairs,
    n_circuits,
    rankings_by,
    read_depths,
    write_depths,
)
from emotion_circuits.directions import load_directions, source_of
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel, model_label
from emotion_circuits.scoring import where_told
from emotion_circuits.statistics import Claim, smallest_from_se, untested, weighted_bootstrap
from emotion_circuits.study._claim_files import write_unjudged
from emotion_circuits.study._config import ComponentsPlan
from emotion_circuits.study._stages_record import twin_names, why_untested
from emotion_circuits.study._workshop import Workshop, directions_path, slug

POSITION = "mean"
"""Of the directions whose direct effects are shown."""
GENERIC_TEXTS = 128
FEWEST_DRAWS = 2
EDGE_STEPS = 3
"""Of the path that edges are averaged over: what arrives and what is attributed then differ by about a percent."""


def outcome_on(work: Workshop, lm: LoadedModel, pairs: PairSet) -> WordSetOutcome:
    """What effects are read by: the words of the classes that this model's tokens tell apart.

    Raises:
        InputError: the pairs' emotion has no words, or none that is told from the others'.
    """
    why = prompts.lacking(work.bank, pairs.emotion).get(prompts.WORDS)
    if why is not None:
        raise InputError(why)
    return where_told(lambda words: WordSetOutcome(lm, pairs, words), work.bank.word_sets(), pairs.emotion)[0]


def pairs_of_emotions(
    work: Workshop, name: str, lm: LoadedModel, what: str, left_out: dict[str, str] | None = None
) -> Iterator[PairSet]:
    """The pairs of every emotion that has words, and enough pairs under this tokenizer; `left_out` takes the reasons of
    the others."""
    texts = work.bank.profile(work.study.profile)
    for emotion in work.bank.emotions:
        try:
            pairs = matched_pairs(lm, texts, emotion)
            for part in (pairs, *halves(pairs)):
                outcome_on(work, lm, part)
        except InputError as error:  # a tokenizer under which hardly any two texts are equally long
            if left_out is not None:
                left_out[emotion] = "; ".join(line.strip(" .") for line in str(error).splitlines()[:2])
            work.tell(f"{name}: no {what} of {emotion}: {error}")
            continue
        yield pairs


def screen_components(work: Workshop, name: str) -> list[Path]:
    """Every head and unit, the best exactly; what the best heads look at; profiles over depth. Nothing is chosen here,
    so all scenarios take part."""
    lm, plan, budget = work.model(name), work.study.components, work.study.batch_tokens
    directions = load_directions(directions_path(work, name, POSITION))
    sets = list(pairs_of_emotions(work, name, lm, "screen"))
    if not sets:
        return []
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
    return files


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


def compare_components(work: Workshop, a: str, b: str) -> list[Path]:
    """Two models' heads and units by relative depth; nothing where one of them has no screens."""
    try:
        sides = [read_depths(work.folder, name) for name in (a, b)]
    except InputError as error:
        work.tell(f"{a}, {b}: no profiles over depth to compare: {error}")
        return []
    return [write_component_rows(work.folder, *sides, seed=work.study.seed)]


def affordable_draws(lm: LoadedModel, outcome: Outcome, plan: ComponentsPlan) -> int:
    """How many random circuits a test may take within the plan's budget; by count, so that it is the same anywhere."""
    tokens = sum(len(ids) for side in (outcome.ids_a, outcome.ids_b) for ids in side)
    parameters = sum(p.numel() for block in lm.blocks for p in block.parameters())
    return int(min(plan.draws, max(FEWEST_DRAWS, plan.budget // (tokens * parameters * len(plan.random_sizes)))))


def join_circuits(work: Workshop, name: str) -> list[Path]:
    """Circuits ranked on one half of the pairs and judged on the other, and RQ4's claims."""
    lm, plan, seed, budget = work.model(name), work.study.components, work.study.seed, work.study.batch_tokens
    means = circuit_means(lm, [t.text for t in prompts.generic_sample(GENERIC_TEXTS)], batch_tokens=budget)
    path = work.folder / "circuits" / f"{slug(name)}.json"
    found: list[DrawnCurves] = []
    joined = []
    without: dict[str, str] = {}
    for pairs in pairs_of_emotions(work, name, lm, "circuit", without):
        ranking, judging = (outcome_on(work, lm, half) for half in halves(pairs))
        rankings = rankings_by(lm, ranking, plan.ranking)
        draws = affordable_draws(lm, judging, plan)
        most = n_circuits(len(SIZES), draws, plan.dropped, len(plan.random_sizes) + 1)
        with work.counting(f"{name}: circuits, {pairs.emotion}", most) as add:
            curves = faithfulness(
                lm, judging, rankings, means, declared=DECLARED_SIZE, n_random=0, random_sizes=plan.random_sizes,
                n_dropped=plan.dropped, batch_tokens=budget, on_circuits=add,
            )  # fmt: skip
            found.append(
                draw_until_clear(
                    lm, judging, curves, means, most_draws=draws, exceeding=plan.exceeding, seed=seed,
                    batch_tokens=budget, on_circuits=add,
                )
            )  # fmt: skip
        joined.append(circuit_edges(lm, judging, found[-1].found, steps=EDGE_STEPS))
    values = circuits_as_values(
        name, plan.ranking, DECLARED_SIZE, plan.draws, [one.found for one in found], joined, seed=seed
    )
    write_json(path, values)
    without |= {e: why for e in work.bank.emotions if (why := why_untested(work, e, prompts.WORDS))}
    kept = [one for one in found if one.found.emotion not in without]
    claims = [_claim(work, name, one, path.relative_to(work.folder)) for one in kept]
    claims += [untested("rq4.circuit", model_label(name), emotion, CPR, why) for emotion, why in without.items()]
    return [path, write_unjudged(work.folder, f"rq4_{slug(name)}", claims)]


def _claim(work: Workshop, name: str, drawn: DrawnCurves, evidence: Path) -> Claim:
    found, beyond, nan = drawn.found, drawn.beyond, float("nan")
    value = low = high = chance = upper = p = nan
    smallest = smallest_p = None
    drawn_circuits = "none of them, since the whole model's difference between both prompts is not clear"
    if beyond is not None:
        drawn_circuits = f"{beyond.n_drawn} of them"
        boot = weighted_bootstrap(
            lambda weights: found.area(found.weighted(found.kept, weights)), len(found.whole), seed=work.study.seed
        )
        null = found.area(found.random_curves)
        value, (low, high), p = boot.value, boot.interval[:2], beyond.p
        chance, upper = float(null.mean()), float(np.quantile(null, 0.975))
        smallest = smallest_from_se(boot.standard_error)
        if beyond.n_exceeding < work.study.components.exceeding:  # else more draws would change nothing
            smallest_p = 1 / (beyond.n_drawn + 1)
    return Claim(
        id="rq4.circuit",
        question="RQ4",
        model=model_label(name),
        emotion=found.emotion,
        layer=None,
        statistic=f"{CPR} of heads and units ranked by {found.by}, {found.areas_from}",
        value=value,
        ci95=(low, high),
        chance=chance,
        ceiling=None,
        floors={} if beyond is None else {"random_circuits_97.5_percent": upper},
        null=f"circuits drawn with as many heads and as many units in every layer, {drawn_circuits}",
        p=p,
        n_unique=len(found.whole),
        evidence=(evidence.as_posix(),),
        smallest_detectable=smallest,
        effect_of_interest=work.study.effects.circuit,
        smallest_p=smallest_p,
    )
