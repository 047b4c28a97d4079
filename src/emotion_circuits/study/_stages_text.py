"""The stage that lets models write: test contexts continued in every arm, and what scorers find in the texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emotion_circuits import prompts
from emotion_circuits._files import read_table, write_table, write_text
from emotion_circuits.directions import load_directions
from emotion_circuits.interventions import Controls, text_arms
from emotion_circuits.scoring import evaluate_texts, make_scorer, stored_perplexities
from emotion_circuits.study._stages_record import directions_path
from emotion_circuits.study._stages_steer import controls_of, patching_path, read_choice
from emotion_circuits.study._workshop import Workshop

SCORERS = ("markers", "vader", "offline")


def write_and_score(work: Workshop, name: str) -> list[Path]:
    """Clean, steered, best random and prompted text on test contexts, and its scores and damage."""
    lm, plan = work.model(name), work.study.steering
    directions = load_directions(directions_path(work, name, plan.position))
    choice = read_choice(patching_path(work, name, "choice.json"))
    openings = [c.text for c in prompts.contexts("test") if c.slot == "opening"]
    source = controls_of(work, name, lm, directions)
    random = {emotion: best_random(work, name, source, choice.layer, emotion) for emotion in directions.emotions}
    n_texts = len(openings) * (1 + 3 * len(random))
    with work.progress(f"{name}: text", n_texts) as done:
        texts = text_arms(lm, directions, openings, choice, random, max_tokens=plan.text_tokens, on_rows=done)
    evaluation = evaluate_texts(
        texts, [make_scorer(s) for s in SCORERS], perplexities=stored_perplexities(texts), seed=work.study.seed
    )
    written, table = patching_path(work, name, "texts.jsonl"), patching_path(work, name, "text_scores.parquet")
    write_text(written, "".join(text.model_dump_json() + "\n" for text in texts))
    write_table(table, evaluation.table())
    return [written, table]


def best_random(work: Workshop, name: str, source: Controls, layer: int, emotion: str) -> np.ndarray:
    """The (d,) control direction with the largest slope for an emotion, of those its claim was tested against."""
    plan = work.study.steering
    found = read_table(patching_path(work, name, "controls.parquet"))
    slopes = found[(found["kind"] == "covariance") & (found["emotion"] == emotion)]["slope"].to_numpy()
    n = -(-plan.covariance_controls // 2)
    units = source.units("covariance", layer, n, emotion, work.study.seed)
    # The table holds the slopes of v for all controls, then those of −v.
    best = int(slopes.argmax())
    return np.asarray(units[best] if best < n else -units[best - n])
