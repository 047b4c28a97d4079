"""Does changing the stream change what the model says, and by as much as the plant foretells?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from emotion_circuits.engine import Edit, Point, ablate_direction, logits_at
from emotion_circuits.interventions import (
    Choice,
    against_controls,
    isotropic_directions,
    side_by_side,
    sweep,
)
from emotion_circuits.selftest._bank import CLASSES, EMOTIONS, answer_words
from emotion_circuits.selftest._bench import Bench, Subject
from emotion_circuits.selftest._blueprint import Facts
from emotion_circuits.selftest._check import SelftestCheck, check, furthest

AS_PREDICTED = (0.85, 1.15)
"""Accepted ratios of measured to predicted: the noise of the layers between changes the stream by some per cent."""
DOSES = (-0.4, -0.2, -0.1, 0.1, 0.2, 0.4)
SPEAKING_DOSE = 0.8
"""Large enough that a steered model says the class's answers, whatever the context."""
N_RANDOM = 8
SAID, NOT_SAID = 0.9, 0.1


def predicted_change(facts: Facts, emotion: str, vector: ArrayLike, stream: float) -> float:
    """Change of an emotion's word-set log-odds when `vector` is added to a final stream of length `stream`, in nats.

    In closed form: the final norm brings the stream to length √d, and the LM head reads each direction with the same
    gain. It holds where no planted part comes after the edit, and for a stream without the plant.
    """
    added = np.asarray(vector, dtype=np.float64)
    gain = facts.read_out * np.sqrt(len(added)) / np.hypot(stream, np.linalg.norm(added))
    logit = {"neutral": 0.0} | {e: float(gain * (added @ v)) for e, v in facts.directions.items()}
    others = [logit[c] for c in CLASSES if c != emotion]
    return float(logit[emotion] - np.log(np.mean(np.exp(others))))


def dose_response(bench: Bench) -> Iterator[SelftestCheck]:
    """Steering from the head's layer on moves the own log-odds as the plant predicts, up and down."""
    subject = bench.subject
    layers = range(subject.facts.head.layer, subject.lm.n_layers)
    directions = subject.directions()
    found = sweep(subject.lm, directions, subject.slots("test"), None, layers=layers, doses=DOSES)
    changes = found.own_log_odds().mean(axis=-1)
    stream = float(directions.generic.norm[-1])
    for name, wanted in (("positive", 1), ("negative", -1)):
        ratios = [
            changes[i, j, k]
            / predicted_change(
                subject.facts,
                emotion,
                dose * float(directions.generic.unit[layer + 1]) * subject.facts.specific(emotion),
                stream,
            )
            for i, layer in enumerate(layers)
            for j, emotion in enumerate(found.layout.emotions)
            for k, dose in enumerate(found.layout.doses)
            if np.sign(dose) == wanted
        ]
        yield check(f"steering at {name} doses, effect over prediction", furthest(ratios, 1), *AS_PREDICTED)


def chosen_cell(bench: Bench) -> Iterator[SelftestCheck]:
    """Layer and dose are chosen where the plant can act, without harm, and the text's likelihood follows."""
    subject, choice = bench.subject, bench.subject.choice
    yield check("layer chosen for steering", choice.layer, subject.facts.layer, subject.lm.n_layers - 1)
    yield check("perplexity ratio at the chosen dose", float(subject.tested.perplexity_ratios().max()), 0, 1.5)
    change = subject.tested.own_minus_neutral().mean(axis=-1)[0]
    yield check("own minus neutral continuations at the chosen dose, nats per token", change[:, 1].min(), 0.1, 10)
    yield check("the same at its negative", change[:, 0].max(), -10, 0)


def beyond_controls(bench: Bench) -> Iterator[SelftestCheck]:
    """Steering along an emotion does more for it than any isotropic direction of the same size."""
    subject, n = bench.subject, bench.drawn(100, 1000)
    found = [steering_p(subject, emotion, subject.choice, n, bench.seed) for emotion in EMOTIONS]
    least = min(result.slope for result in found)
    yield check("steering slope, lowest of the emotions, nats per unit of dose", least, 2, 100)
    most = max(result.p for result in found)
    yield check("steering slope, largest p over isotropic controls", most, 0, 1.5 / (2 * n + 1))


class SteeringTest(NamedTuple):
    """Mean slope of an emotion's own log-odds over contexts, in nats per unit of dose, and its p."""

    slope: float
    p: float


def steering_p(subject: Subject, emotion: str, choice: Choice, n_controls: int, seed: int) -> SteeringTest:
    """Steer along an emotion on test contexts, beside `n_controls` isotropic vectors ±v of the same size."""
    lm, directions, slots = subject.lm, subject.directions(), subject.slots("test")
    found = sweep(
        lm, directions, slots, None, layers=[choice.layer], doses=(-choice.dose, choice.dose), emotions=[emotion]
    )
    down, up = found.own_log_odds()[0, 0].mean(axis=-1)
    slope = float(up - down) / (2 * choice.dose)
    controls = subject.controls(choice, n_controls, seed).for_emotion(emotion)
    return SteeringTest(slope, against_controls(slope, controls)[0])


def ablation(bench: Bench) -> Iterator[SelftestCheck]:
    """A cue makes the model say its class's answers; without the direction it does not."""
    subject = bench.subject
    facts, point = subject.facts, Point("resid_post", subject.facts.head.layer)
    found, mean = subject.directions("sentence_end"), torch.from_numpy(subject.generic.mean[point.layer + 1])
    stream = float(subject.generic.norm[-1])
    random = isotropic_directions(N_RANDOM, subject.lm.d_model, centred=subject.lm.family.centred_norm, seed=bench.seed)

    def without(unit: NDArray[np.float64]) -> list[Edit]:
        return [ablate_direction(point, torch.from_numpy(unit), mean)]

    effect, removed, removed_by_random = [], [], []
    for emotion in EMOTIONS:
        clean = cue_effect(subject, emotion, [])
        effect.append(clean / predicted_change(facts, emotion, facts.length * facts.directions[emotion], stream))
        own = found.direction(emotion, point.layer, "matched").unit
        removed.append(1 - cue_effect(subject, emotion, without(own)) / clean)
        removed_by_random += [1 - cue_effect(subject, emotion, without(unit)) / clean for unit in random]
    yield check("a cue's effect on the answers, over prediction", furthest(effect, 1), *AS_PREDICTED)
    yield check("share of it that ablating the direction removes", furthest(removed, 1), 0.9, 1.1)
    yield check("share of it that ablating a random direction removes", furthest(removed_by_random, 0), -0.1, 0.1)


def cue_effect(subject: Subject, emotion: str, edits: Sequence[Edit]) -> float:
    """How much a cue in a context raises its class's log-odds over a neutral cue's, in nats, under edits of both."""
    return _own_log_odds(subject, emotion, emotion, edits) - _own_log_odds(subject, "neutral", emotion, edits)


def _own_log_odds(subject: Subject, cue: str, emotion: str, edits: Sequence[Edit]) -> float:
    task = subject.cue_slots(cue)
    scored = [task.score(batch, logits_at(subject.lm, batch, batch.last(), edits)) for batch in task.batches]
    return float(torch.cat(scored)[:, CLASSES.index(emotion)].mean())


def generated(bench: Bench) -> Iterator[SelftestCheck]:
    """Steered text holds the class's answers; clean text and text steered at random do not."""
    subject = bench.subject
    texts = [context.text for context in subject.slots("test").contexts]
    said: dict[str, list[bool]] = {"steered": [], "clean": [], "random": []}
    for emotion in EMOTIONS:
        rows = side_by_side(
            subject.lm, subject.directions(), emotion, texts,
            dose=SPEAKING_DOSE, layer=subject.facts.head.layer, max_tokens=2, seed=bench.seed,
        )  # fmt: skip
        own = set(answer_words(emotion))
        for arm, found in said.items():
            found += [bool(own & set(getattr(row, arm).text.split())) for row in rows]
    yield check("steered texts that hold the emotion's words", float(np.mean(said["steered"])), SAID, 1)
    yield check("clean texts that do", float(np.mean(said["clean"])), 0, NOT_SAID)
    yield check("texts steered along a random direction that do", float(np.mean(said["random"])), 0, NOT_SAID)
