"""What models write: test contexts continued in every arm, and what scorers find in the texts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emotion_circuits import prompts
from emotion_circuits._files import read_table, write_table, write_text
from emotion_circuits.analyses._analysis import Measures, analysis
from emotion_circuits.analyses._steering import controls_of
from emotion_circuits.analyses._sweep import SteeringPlan, openings, read_choice
from emotion_circuits.analyses._work import Workshop, patching_path
from emotion_circuits.interventions import Controls, balanced_contexts, both_signs, text_arms
from emotion_circuits.scoring import Setting, evaluate_texts, make_scorer, stored_perplexities

SCORERS = ("markers", "vader", "offline")


@analysis("text", question="RQ3", needs=("activations", "directions", "steering"), plan_key="steering")
class WriteAndScore:
    """Let the model write, clean, steered and asked to, and score the texts.

    Also along the control direction that raised the words most. Test contexts, with scores and damage of every text.
    """

    Plan = SteeringPlan

    def run(self, work: Workshop, plan: SteeringPlan, name: str) -> Measures:
        lm = work.model(name)
        directions = work.directions(name, plan.position)
        choice = read_choice(patching_path(work, name, "choice.json"))
        few = balanced_contexts(prompts.contexts("test"), plan.text_contexts)
        beginnings = [c.text for c in openings(few)]
        source = controls_of(work, name, lm, directions)
        random = best_random(work, name, source, choice.layer)
        n_texts = len(beginnings) * (1 + 3 * len(random))
        with work.progress(f"{name}: text", n_texts) as done:
            requests = {own.name: own.request for own in work.bank.classes if own.request}
            texts = text_arms(
                lm, directions, beginnings, choice, random, requests, max_tokens=plan.text_tokens, on_rows=done
            )
        evaluation = evaluate_texts(
            texts,
            [scorer for s in SCORERS if (scorer := make_scorer(s, Setting(work.bank))).emotions],
            perplexities=stored_perplexities(texts),
            seed=work.study.seed,
        )
        written, table = patching_path(work, name, "texts.jsonl"), patching_path(work, name, "text_scores.parquet")
        write_text(written, "".join(text.model_dump_json() + "\n" for text in texts))
        write_table(table, evaluation.table())
        return Measures(files=[written, table])


def best_random(work: Workshop, name: str, source: Controls, layer: int) -> dict[str, NDArray[np.float64]]:
    """Emotion → the (d,) control direction with the largest slope for it, of those its claim was tested against."""
    found = read_table(patching_path(work, name, "controls.parquet"))
    found = found[found["kind"] == "covariance"]
    n = -(-work.plan(SteeringPlan).covariance_controls // 2)
    units = source.units("covariance", layer, n, "", work.study.seed)
    both = both_signs(units)  # in the order of the table
    slopes = {str(emotion): own["slope"].to_numpy() for emotion, own in found.groupby("emotion", sort=False)}
    return {emotion: both[int(own.argmax())] for emotion, own in slopes.items()}
