"""Does the verdict rule support what was planted, and nothing in the twin?"""

from __future__ import annotations

from collections.abc import Iterator

from emotion_circuits.analyses import EffectsOfInterest
from emotion_circuits.directions import (
    UntrainedTwin,
    bag_of_words_scores,
    cleaned_values,
    detection,
    gain_over_floors,
    project,
)
from emotion_circuits.interventions import WORD_SET
from emotion_circuits.selftest._bank import EMOTIONS
from emotion_circuits.selftest._bench import WHERE, Bench, Subject
from emotion_circuits.selftest._check import SelftestCheck, check
from emotion_circuits.statistics import Claim, grouped_bootstrap, judge, null_from, null_of, split_half_cosine

N_DRAWS = 500
EFFECTS = EffectsOfInterest()


def claims(subject: Subject, untrained: Subject, *, n_controls: int, seed: int) -> tuple[Claim, ...]:
    """The claims of a study about directions and steering, judged: three for each emotion.

    Args:
        subject: the model they are about.
        untrained: gives the floor of a model without the plant.
        n_controls: isotropic control vectors ±v.
        seed: of every draw.
    """
    parts = [
        *(_separability(subject, untrained, emotion, seed) for emotion in EMOTIONS),
        *(_stability(subject, emotion, seed) for emotion in EMOTIONS),
        *_steering(subject, n_controls, seed),
    ]
    return judge(parts)


def _separability(subject: Subject, untrained: Subject, emotion: str, seed: int) -> Claim:
    found, layer = subject.directions(), subject.directions().chosen_layer[emotion]
    test = subject.implicit.select(split="test")
    auroc = detection(test, found, emotion, layer + 1, n_bootstrap=N_DRAWS, n_permutations=N_DRAWS, seed=seed)
    twin = UntrainedTwin(untrained.explicit, untrained.implicit, WHERE)
    scores, embedding = (project(test, found, emotion, "specific", row) for row in (layer + 1, 0))
    floors = {
        "bag_of_words": [bag_of_words_scores(subject.explicit.data, test.data, emotion)],
        "embedding": [embedding],
        "untrained": [twin.scores(untrained.implicit.select(split="test"), emotion)],
    }
    return Claim.beside(
        [
            null_from("permuted labels", auroc.chance, auroc.null_high, auroc.p, N_DRAWS, auroc.interval),
            *gain_over_floors(scores, test.data, emotion, floors, n_draws=N_DRAWS, seed=seed),
        ],
        id="rq1.separability", question="RQ1", model=str(subject.lm.name), emotion=emotion, layer=layer,
        statistic="AUROC on implicit texts", value=auroc.value, ci95=(auroc.interval.low, auroc.interval.high),
        ceiling=1.0, n_unique=auroc.n_groups, unit="scenarios", evidence=(), effect_of_interest=EFFECTS.separability,
    )  # fmt: skip


def _stability(subject: Subject, emotion: str, seed: int) -> Claim:
    found, layer = subject.directions(), subject.directions().chosen_layer[emotion]
    test = subject.explicit.select(split="test")
    half = split_half_cosine(
        cleaned_values(test, WHERE, found.generic, found.cleaned)[layer + 1], test.labels, test.scenarios, emotion,
        n_splits=50, n_permutations=N_DRAWS, n_bootstrap=N_DRAWS, seed=seed,
    )  # fmt: skip
    return Claim.beside(
        [null_from("permuted labels", half.null_mean, half.null_high, half.p, N_DRAWS, half.interval)],
        id="rq1.stability", question="RQ1", model=str(subject.lm.name), emotion=emotion, layer=layer,
        statistic="split-half cosine of the specific direction", value=half.value,
        ci95=(half.interval.low, half.interval.high), ceiling=1.0, n_unique=half.n_groups, unit="scenarios",
        evidence=(), effect_of_interest=EFFECTS.stability,
    )  # fmt: skip


def _steering(subject: Subject, n_controls: int, seed: int) -> Iterator[Claim]:
    choice, tested = subject.choice, subject.tested
    controls = subject.controls(choice, n_controls, seed)
    own, ratios = tested.own_log_odds()[0], tested.perplexity_ratios()[0]
    for i, emotion in enumerate(tested.layout.emotions):
        boot = grouped_bootstrap((own[i, 1] - own[i, 0]) / (2 * choice.dose), n_draws=N_DRAWS, seed=seed)
        yield Claim.beside(
            [null_of("isotropic directions", boot.value, controls.for_emotion(emotion), boot.interval)],
            id="rq3.steering", question="RQ3", model=str(subject.lm.name), emotion=emotion, layer=choice.layer,
            statistic=WORD_SET, value=boot.value, ci95=(boot.interval.low, boot.interval.high), ceiling=None,
            n_unique=len(own[i, 0]), unit="contexts", evidence=(), effect_of_interest=EFFECTS.steering,
            side_conditions={"perplexity_ratio": float(ratios[i].max())},
        )  # fmt: skip


def verdicts(bench: Bench) -> Iterator[SelftestCheck]:
    """All claims are supported for the plant, none for the twin."""
    n_controls = bench.drawn(100, 1000)
    for name, subject, share in (("planted model", bench.subject, 1), ("twin without a plant", bench.twin, 0)):
        judged = claims(subject, bench.twin, n_controls=n_controls, seed=bench.seed)
        supported = sum(claim.verdict == "supported" for claim in judged) / len(judged)
        yield check(f"{name}, share of claims that are supported", supported, share, share)
