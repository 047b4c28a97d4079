"""The causal test: the chosen layer and dose on test contexts, beside control directions, and RQ3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from emotion_circuits import prompts
from emotion_circuits._files import write_table
from emotion_circuits.analyses._analysis import Measures, analysis
from emotion_circuits.analyses._settings import (
    EffectsOfInterest,
)
from emotion_circuits.analyses._sweep import SteeringPlan, announce, openings, read_choice
from emotion_circuits.analyses._work import (
    Workshop,
    joined_reasons,
    patching_path,
)
from emotion_circuits.directions import DirectionSet, generic_tokens
from emotion_circuits.interventions import (
    ENOUGH_CONTROLS,
    WORD_SET,
    Choice,
    Controls,
    ControlSlopes,
    SweepResult,
    against_controls,
    balanced_contexts,
    control_slopes,
    few_continuations,
    share_in_span,
    sweep,
)
from emotion_circuits.models import LoadedModel, model_label
from emotion_circuits.scoring import SlotTask, continuation_task, slot_task, where_told
from emotion_circuits.statistics import (
    Bootstrap,
    Claim,
    Measure,
    Rival,
    SequentialResult,
    grouped_bootstrap,
    measures_table,
    null_drawn,
    untested,
)

SLOPE = "slope of own word-set log-odds"
SPAN_DRAWS = 200
"""Shuffled-label directions from which their share in the span of the emotions is known to a hundredth."""
DECLARED = ("covariance", "shuffled-label")
"""The kinds of controls that a claim has to beat; isotropic ones, which are easier, stand beside."""


@analysis(
    "steering", question="RQ3", needs=("activations", "directions", "sweep"), plan_key="steering", reads=("effects",)
)
class SteerTest:
    """Steer with each emotion's direction, beside control directions.

    At the layer and dose that a sweep of development contexts chose: the slope of the emotion's own words' log-odds on
    test contexts, and that of every kind of control.
    """

    Plan = SteeringPlan

    def run(self, work: Workshop, plan: SteeringPlan, name: str) -> Measures:
        lm, seed = work.model(name), work.study.seed
        directions = work.directions(name, plan.position)
        choice = read_choice(patching_path(work, name, "choice.json"))
        contexts = list(prompts.contexts("test"))
        few = balanced_contexts(contexts, plan.control_contexts)
        slots, untold = where_told(lambda words: slot_task(lm, contexts, words), work.bank.word_sets())
        read = openings(balanced_contexts(contexts, plan.text_contexts))
        continuations = continuation_task(lm, read, few_continuations(work.bank, "test", plan.continuations_per_class))
        table, slopes_table = (patching_path(work, name, f"{what}.parquet") for what in ("steering", "controls"))
        without = joined_reasons(work, untold, prompts.WORDS)
        claims = [untested("rq3.steering", model_label(name), e, WORD_SET, why) for e, why in without.items()]
        emotions = tuple(e for e in directions.emotions if e in slots.classes)
        if not emotions:
            write_table(table, measures_table([]))
            write_table(slopes_table, _controls_frame(name, (), choice, []))
            return Measures(files=[table, slopes_table], claims=claims)
        result = sweep(
            lm,
            directions,
            slots,
            continuations,
            layers=[choice.layer],
            doses=(-choice.dose, choice.dose),
            emotions=emotions,
            batch_tokens=work.study.batch_tokens,
        )
        own = result.own_log_odds()[0]
        slopes = {e: (own[i, 1] - own[i, 0]) / (2 * choice.dose) for i, e in enumerate(result.layout.emotions)}
        at = [contexts.index(context) for context in few]
        observed = {emotion: float(of_contexts[at].mean()) for emotion, of_contexts in slopes.items()}
        source = controls_of(work, name, lm, directions)
        controls = _controls(work, name, lm, source, slots.only(lm, few), choice, observed)
        share = share_in_span(
            source.units("shuffled-label", choice.layer, SPAN_DRAWS, "", seed), directions, choice.layer
        )
        note = (
            f"on {len(few)} of the contexts; {share:.2f} of shuffled-label directions lies in the span of the emotions"
        )
        rows = result.measures(seed)
        for i, (emotion, per_context) in enumerate(slopes.items()):
            boot = grouped_bootstrap(per_context, seed=seed)
            tests = [c.beyond(emotion, observed[emotion]) for c in controls]
            for c, test in zip(controls, tests, strict=True):
                rows.append(_slope_row(result, emotion, choice, per_context, boot, c, test.p))
            if emotion in without:
                continue
            declared = [pair for pair in zip(controls, tests, strict=True) if pair[0].kind in DECLARED]
            nulls = [control_null(c, test, emotion, boot) for c, test in declared]
            claims.append(_claim(work, name, emotion, choice, boot, nulls, len(per_context), note, table,
                                 float(result.perplexity_ratios()[0, i].max())))  # fmt: skip
        write_table(table, measures_table(rows))
        write_table(slopes_table, _controls_frame(name, result.layout.emotions, choice, controls))
        return Measures(files=[table, slopes_table], claims=claims)


def _controls(
    work: Workshop, name: str, lm: LoadedModel, source: Controls, slots: SlotTask, choice: Choice,
    observed: dict[str, float],
) -> list[ControlSlopes]:  # fmt: skip
    """Slopes of every kind of control that can be drawn."""
    plan, seed = work.plan(SteeringPlan), work.study.seed
    wanted = {
        "covariance": plan.covariance_controls,
        "isotropic": plan.isotropic_controls,
        "shuffled-label": plan.shuffled_controls,
    }
    # v and −v are two controls, from one pair of runs.
    units = {kind: source.units(kind, choice.layer, -(-n // 2), "", seed) for kind, n in wanted.items()}
    tokens = sum(b.shape[0] * b.shape[1] for b in slots.batches)
    depth = 1 - (choice.layer + 1) / lm.n_layers
    announce(work, name, "the control directions send", int(tokens * 2 * sum(map(len, units.values())) * depth))
    found = []
    for kind, vectors in units.items():
        with work.counting(f"{name}: {kind} controls", 2 * len(vectors) * len(slots.batches)) as add:
            found.append(
                control_slopes(
                    lm, source.directions, slots, choice, kind, vectors,
                    batch_tokens=work.study.batch_tokens, on_variants=add, parts=work.parts, observed=observed,
                )
            )  # fmt: skip
    return found


def controls_of(work: Workshop, name: str, lm: LoadedModel, directions: DirectionSet) -> Controls:
    """Where a model's control directions come from, with all that any kind needs."""
    texts = [t.text for t in prompts.generic_sample(work.study.generic_texts)]
    return Controls(
        directions,
        explicit=work.activations(name),
        tokens=lambda layer: generic_tokens(lm, texts, layer),
    )


def _slope_row(
    result: SweepResult, emotion: str, choice: Choice, slopes: np.ndarray, boot: Bootstrap, controls: ControlSlopes,
    p: float,
) -> Measure:  # fmt: skip
    _, mean, low, high = against_controls(boot.value, controls.for_emotion(emotion))
    return Measure(
        model=result.model,
        emotion=emotion,
        position=result.position,
        layer=choice.layer,
        kind=f"{result.kind}, against {controls.kind} controls",
        statistic=SLOPE,
        value=boot.value,
        ci_low=boot.interval.low,
        ci_high=boot.interval.high,
        chance=mean,
        null_low=low,
        null_high=high,
        ceiling=np.nan,
        p=p,
        n_unique=len(slopes),
    )


def _claim(
    work: Workshop, name: str, emotion: str, choice: Choice, boot: Bootstrap, nulls: list[Rival],
    n_contexts: int, note: str, evidence: Path, perplexity_ratio: float,
) -> Claim:  # fmt: skip
    return Claim.beside(
        nulls,
        id="rq3.steering",
        question="RQ3",
        model=model_label(name),
        emotion=emotion,
        layer=choice.layer,
        statistic=f"{WORD_SET} per unit of dose, from doses ±{choice.dose:g}",
        value=boot.value,
        ci95=(boot.interval.low, boot.interval.high),
        note=note,
        ceiling=None,
        n_unique=n_contexts,
        unit="contexts",
        evidence=(evidence.relative_to(work.folder).as_posix(),),
        effect_of_interest=work.plan(EffectsOfInterest).steering,
        side_conditions={"perplexity_ratio": perplexity_ratio},
    )


def control_null(controls: ControlSlopes, test: SequentialResult, emotion: str, boot: Bootstrap) -> Rival:
    """Controls of one kind as a null of the slope. They come as ±v: their mean slope is 0 in every context, so the
    gain's interval is the value's."""
    slopes = controls.for_emotion(emotion)
    return null_drawn(f"{controls.kind} directions", slopes, test, ENOUGH_CONTROLS, boot.interval)


def _controls_frame(name: str, emotions: tuple[str, ...], choice: Choice, controls: list[ControlSlopes]) -> Any:
    import pandas as pd

    if not emotions:
        return pd.DataFrame(columns=["model", "emotion", "layer", "dose", "kind", "slope"])
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "model": name,
                    "emotion": emotion,
                    "layer": choice.layer,
                    "dose": choice.dose,
                    "kind": c.kind,
                    "slope": c.for_emotion(emotion),
                }
            )
            for emotion in emotions
            for c in controls
        ],
        ignore_index=True,
    )
