"""The best heads and units joined into circuits, beside random ones, and RQ4."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emotion_circuits import prompts
from emotion_circuits._files import write_json
from emotion_circuits.analyses._analysis import Measures, analysis, stage_name
from emotion_circuits.analyses._heads import ComponentsPlan
from emotion_circuits.analyses._pairs import outcome_on, pairs_of_emotions
from emotion_circuits.analyses._settings import EffectsOfInterest, Settings
from emotion_circuits.analyses._work import Workshop, joined_reasons, slug
from emotion_circuits.components import (
    CPR,
    SIZES,
    WITH_ALL_PAIRS,
    DrawnCurves,
    Outcome,
    circuit_edges,
    circuit_means,
    circuits_as_values,
    draw_until_clear,
    faithfulness,
    mean_of_draws,
    n_circuits,
    rankings_by,
)
from emotion_circuits.models import LoadedModel, model_label
from emotion_circuits.statistics import Claim, null_drawn, untested, weighted_bootstrap

FloatArray = NDArray[np.float64]
GENERIC_TEXTS = 128
FEWEST_DRAWS = 2
EDGE_STEPS = 3
"""Of the path that edges are averaged over: what arrives and what is attributed then differ by about a percent."""


@analysis("circuits", question="RQ4", plan_key="components", reads=("effects",), command="circuit")
class JoinCircuits:
    """Join heads and units into circuits, and measure what each carries alone.

    Components are ranked on pairs of development scenarios; those of test scenarios judge. A circuit is kept while
    every other head and unit has its mean value on generic text. Faithfulness is the share of the emotion's effect that
    is left: 1 is all. Chance are random circuits with as many heads and units in every layer. CPR is the area under the
    curve, CMD the distance from 1 along it. The circuit of the declared size is drawn too, with the direct effects of
    its best members on each other.
    """

    Plan = ComponentsPlan

    @staticmethod
    def inputs(study: Settings, name: str) -> list[str]:
        """Directions, where they rank."""
        by_directions = study.plan(ComponentsPlan).ranking == "direct effect"
        return [stage_name("directions", name)] if by_directions else []

    def run(self, work: Workshop, plan: ComponentsPlan, name: str) -> Measures:
        lm, seed, budget = work.model(name), work.study.seed, work.study.batch_tokens
        means = circuit_means(lm, [t.text for t in prompts.generic_sample(GENERIC_TEXTS)], batch_tokens=budget)
        directions = work.directions(name) if plan.ranking == "direct effect" else None
        path = work.folder / "circuits" / f"{slug(name)}.json"
        found: list[DrawnCurves] = []
        joined = []
        without: dict[str, str] = {}
        for parts in pairs_of_emotions(work, name, lm, "circuit", plan.pairs, without):
            ranking, judging = (outcome_on(work, lm, part) for part in parts)
            emotion = parts[0].emotion
            unit = None if directions is None else directions[emotion].unit
            rankings = rankings_by(lm, ranking, plan.ranking, unit=unit, seed=seed)
            few = outcome_on(work, lm, parts[1].at_most(plan.drawn_pairs))
            draws = affordable_draws(lm, judging, few, plan)
            most = n_circuits(len(SIZES), draws, plan.dropped, len(plan.random_sizes))
            with work.counting(f"{name}: circuits, {emotion}", most) as add:
                curves = faithfulness(
                    lm, judging, rankings, means, declared=plan.size, n_random=0, random_sizes=plan.random_sizes,
                    n_dropped=plan.dropped, batch_tokens=budget, on_circuits=add,
                )  # fmt: skip
                found.append(
                    draw_until_clear(
                        lm, judging, curves, means, few=few, most_draws=draws, exceeding=plan.exceeding, seed=seed,
                        batch_tokens=budget, on_circuits=add,
                    )
                )  # fmt: skip
            joined.append(circuit_edges(lm, judging, found[-1].found, steps=EDGE_STEPS))
        values = circuits_as_values(
            name, plan.ranking, plan.size, plan.draws, [one.found for one in found], joined, seed=seed
        )
        write_json(path, values)
        without = joined_reasons(work, without, prompts.WORDS)
        kept = [one for one in found if one.found.emotion not in without]
        claims = [
            circuit_claim(
                one, model_label(name), exceeding=plan.exceeding, effect=work.plan(EffectsOfInterest).circuit,
                evidence=path.relative_to(work.folder).as_posix(), seed=seed,
            )
            for one in kept
        ]  # fmt: skip
        claims += [untested("rq4.circuit", model_label(name), emotion, CPR, why) for emotion, why in without.items()]
        return Measures(files=[path], claims=claims)


def affordable_draws(lm: LoadedModel, outcome: Outcome, few: Outcome, plan: ComponentsPlan) -> int:
    """How many random circuits a test may take within the plan's budget, the first of them on all pairs and the others
    on few; by count, so that it is the same anywhere."""
    parameters = sum(p.numel() for block in lm.blocks for p in block.parameters())
    # Not `//`: without a limit these are not numbers.
    dear, cheap = (plan.budget / (_tokens(one) * parameters * len(plan.random_sizes)) for one in (outcome, few))
    n = dear if dear <= WITH_ALL_PAIRS else WITH_ALL_PAIRS + cheap * (1 - WITH_ALL_PAIRS / dear)
    return int(min(plan.draws, max(FEWEST_DRAWS, n)))


def _tokens(outcome: Outcome) -> int:
    return sum(len(ids) for side in (outcome.ids_a, outcome.ids_b) for ids in side)


def circuit_claim(drawn: DrawnCurves, model: str, *, exceeding: int, effect: float, evidence: str, seed: int) -> Claim:
    """`rq4.circuit` from a circuit's curves and its random ones; `exceeding` is where drawing stopped."""
    found, beyond, n = drawn.found, drawn.beyond, len(drawn.found.whole)
    statistic = f"{CPR} of heads and units ranked by {found.by}, {found.areas_from}"
    if beyond is None:
        why = "The whole model's difference between both prompts is not clear, so no circuit can carry it"
        return untested("rq4.circuit", model, found.emotion, statistic, why, n_unique=n, evidence=evidence)
    mean_curve = mean_of_draws(found.random)

    def gain(weights: FloatArray) -> FloatArray:
        # Areas are linear in the curve, so the mean of the random circuits' areas is the area of their mean curve.
        return found.area(found.weighted(found.kept, weights) - found.weighted(mean_curve, weights))

    own = weighted_bootstrap(lambda weights: found.area(found.weighted(found.kept, weights)), n, seed=seed)
    over = weighted_bootstrap(gain, n, seed=seed)
    areas = found.area(found.random_curves)
    null = null_drawn("random circuits", areas, beyond, exceeding, over.interval, paired=True)
    null = null._replace(level=own.value - over.value)  # on all pairs, where most draws ran the first ones only
    on = int(found.drawn_on.sum())
    return Claim.beside(
        [null],
        note=f"those after the first {WITH_ALL_PAIRS} on {on} of the pairs" if on < n else "",
        id="rq4.circuit",
        question="RQ4",
        model=model,
        emotion=found.emotion,
        layer=None,
        statistic=statistic,
        value=own.value,
        ci95=(own.interval.low, own.interval.high),
        ceiling=None,
        n_unique=n,
        unit="pairs",
        evidence=(evidence,),
        effect_of_interest=effect,
    )
