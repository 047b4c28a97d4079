"""Are directions found, where they were planted and only there?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from emotion_circuits.directions import POSITIONS, bag_of_words_scores, detection, judged_scores
from emotion_circuits.scoring import score_texts
from emotion_circuits.selftest._bank import EMOTIONS
from emotion_circuits.selftest._bench import UNMARKED, WHERE, Bench, Subject
from emotion_circuits.selftest._check import SelftestCheck, chance_auroc, chance_cosine, check, furthest

RECOVERED = 0.93
# A regularised one-against-rest probe weighs the other emotions less than the specific contrast does.
RECOVERED_BY_PROBE = 0.6
DETECTED = 0.95


def first_layer(subject: Subject, position: str) -> int:
    """The first layer at whose `resid_post` a position holds the plant."""
    return subject.facts.layer if position in ("emotion_token", "mean") else subject.facts.head.layer


def plant_cosines(
    subject: Subject, position: str, layers: Sequence[int], kind: str = "specific", true: Subject | None = None
) -> list[float]:
    """Cosines of fitted directions with what was planted, over layers (−1 is `embed`) and emotions.

    Args:
        true: whose plant, if not the model's own.
    """
    facts = (true or subject).facts
    found = subject.directions(position)
    return [
        float(found.direction(emotion, layer, kind).unit @ target)
        for layer in layers
        for emotion in EMOTIONS
        for target in [facts.directions[emotion] if kind == "matched" else facts.specific(emotion)]
    ]


def recovered(bench: Bench) -> Iterator[SelftestCheck]:
    """Directions equal the planted ones from the right layer on, by every estimator."""
    subject, n_layers = bench.subject, bench.subject.lm.n_layers
    for kind, least in (("specific", RECOVERED), ("matched", RECOVERED), ("probe", RECOVERED_BY_PROBE)):
        values = plant_cosines(subject, WHERE, range(first_layer(subject, WHERE), n_layers), kind)
        yield check(f"{kind} directions, lowest cosine with the plant from its layer on", min(values), least, 1)
    values = plant_cosines(subject, "sentence_end", range(first_layer(subject, "sentence_end"), n_layers))
    yield check(
        "directions at the sentence's end, lowest cosine after the head that moves them", min(values), RECOVERED, 1
    )


def absent_before(bench: Bench) -> Iterator[SelftestCheck]:
    """Before the layer that writes them directions have nothing of the plant, nor detect anything."""
    subject = bench.subject
    rows = range(-1, subject.facts.layer)
    values = [v for p in ("mean", "emotion_token") for v in plant_cosines(subject, p, rows)]
    high = chance_cosine(subject.lm.d_model, len(values))
    yield check("largest |cosine| with the plant before its layer", max(map(abs, values)), 0, high)
    far = _implicit_aurocs(subject, WHERE, rows)
    yield check("AUROC on implicit texts before its layer", *around_chance(subject, far))
    far = _implicit_aurocs(subject, "sentence_end", range(subject.facts.head.layer))
    yield check("AUROC at the sentence's end before the head", *around_chance(subject, far))


def right_layer(bench: Bench) -> Iterator[SelftestCheck]:
    """Layers chosen on development scenarios are the first between two that have the plant, at every position: it stays
    from its layer on."""
    subject = bench.subject
    wrong = [
        layer - first_layer(subject, position) - 1
        for position in POSITIONS
        for layer in subject.directions(position).chosen_layer.values()
    ]
    yield check("layers chosen minus the first amid the plant, furthest of all positions", furthest(wrong, 0), 0, 0)


def detected(bench: Bench) -> Iterator[SelftestCheck]:
    """Directions from one set of words detect the classes of texts in other words; words themselves do not."""
    subject = bench.subject
    for kind in ("specific", "probe"):
        values = [
            _auroc(subject, position, emotion, subject.directions(position).chosen_layer[emotion], kind)
            for position in UNMARKED
            for emotion in EMOTIONS
        ]
        yield check(f"{kind} directions, lowest AUROC on implicit texts", min(values), DETECTED, 1)
    bank = subject.planted.bank
    test = bank.implicit.select(split="test")
    yield check(
        "AUROC of a bag of words on implicit texts",
        *around_chance(
            subject, [judged_scores(bag_of_words_scores(bank.explicit, test, e), test, e).value for e in EMOTIONS]
        ),
    )


def scored(bench: Bench) -> Iterator[SelftestCheck]:
    """A text's highest score is that of its class."""
    subject = bench.subject
    texts = [t for t in subject.planted.bank.implicit.select(split="test") if t.emotion in EMOTIONS]
    scores = [score.scores for score in score_texts(subject.lm, subject.directions(), [t.text for t in texts])]
    right = np.mean([max(s, key=s.__getitem__) == t.emotion for s, t in zip(scores, texts, strict=True)])
    yield check("share of emotional texts whose highest score is their class's", float(right), DETECTED, 1)


def nothing_in_the_twin(bench: Bench) -> Iterator[SelftestCheck]:
    """The same model without the plant has none of it."""
    twin = bench.twin
    rows = range(-1, twin.lm.n_layers)
    values = plant_cosines(twin, WHERE, rows, true=bench.subject)
    high = chance_cosine(twin.lm.d_model, len(values))
    yield check("twin without a plant, largest |cosine| with the plant", max(map(abs, values)), 0, high)
    chosen = twin.directions().chosen_layer
    aurocs = [_auroc(twin, WHERE, emotion, chosen[emotion]) for emotion in EMOTIONS]
    yield check("twin without a plant, AUROC on implicit texts", *around_chance(twin, aurocs))


def _auroc(subject: Subject, position: str, emotion: str, layer: int, kind: str = "specific") -> float:
    test = subject.implicit.select(split="test")
    found = subject.directions(position)
    return detection(test, found, emotion, layer + 1, kind=kind, n_bootstrap=2, n_permutations=1).value


def _implicit_aurocs(subject: Subject, position: str, layers: Sequence[int]) -> list[float]:
    return [_auroc(subject, position, emotion, layer) for layer in layers for emotion in EMOTIONS]


def around_chance(subject: Subject, aurocs: Sequence[float]) -> tuple[float, float, float]:
    """The AUROC furthest from .5, and how far it may be."""
    test = subject.planted.bank.implicit.select(split="test")
    n = len(test.scenarios)
    reach = chance_auroc(n, len(test) - n, len(aurocs))
    return furthest(aurocs, 0.5), 0.5 - reach, 0.5 + reach
