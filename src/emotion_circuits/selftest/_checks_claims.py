"""Does the verdict rule support what was planted, and nothing in the twin?"""

from __future__ import annotations

from collections.abc import Iterator

from emotion_circuits.directions import (
    bag_of_words_floor,
    cleaned_values,
    detection,
    untrained_floor,
)
from emotion_circuits.interventions import WORD_SET, against_controls
from emotion_circuits.selftest._bank import EMOTIONS
from emotion_circuits.selftest._bench import WHERE, Bench, Subject
from emotion_circuits.selftest._check import SelftestCheck, check
from emotion_circuits.statistics import Claim, grouped_bootstrap, judge, split_half_cosine

N_DRAWS = 500


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
    twin_test = untrained.implicit.select(split="test")
    _, of_untrained = untrained_floor(untrained.explicit, untrained.implicit, twin_test, WHERE, emotion)
    embedding = detection(test, found, emotion, 0, n_bootstrap=2, n_permutations=1)
    return Claim(
        id="rq1.separability", question="RQ1", model=str(subject.lm.name), emotion=emotion, layer=layer,
        statistic="AUROC on implicit texts", value=auroc.value, ci95=(auroc.interval.low, auroc.interval.high),
        chance=auroc.chance, ceiling=1.0,
        floors={
            "bag_of_words": bag_of_words_floor(subject.explicit.data, test.data, emotion).value,
            "embedding": embedding.value,
            "untrained": of_untrained.value,
        },
        null=f"label permutation within scenario, {N_DRAWS} draws", p=auroc.p, n_unique=auroc.n_groups, evidence=(),
    )  # fmt: skip


def _stability(subject: Subject, emotion: str, seed: int) -> Claim:
    found, layer = subject.directions(), subject.directions().chosen_layer[emotion]
    test = subject.explicit.select(split="test")
    half = split_half_cosine(
        cleaned_values(test, WHERE, found.generic, found.cleaned)[layer + 1], test.labels, test.scenarios, emotion,
        n_splits=50, n_permutations=N_DRAWS, n_bootstrap=N_DRAWS, seed=seed,
    )  # fmt: skip
    return Claim(
        id="rq1.stability", question="RQ1", model=str(subject.lm.name), emotion=emotion, layer=layer,
        statistic="split-half cosine of the specific direction", value=half.value,
        ci95=(half.interval.low, half.interval.high), chance=half.null_mean, ceiling=1.0, floors={},
        null=f"label permutation within scenario, {N_DRAWS} draws", p=half.p, n_unique=half.n_groups, evidence=(),
    )  # fmt: skip


def _steering(subject: Subject, n_controls: int, seed: int) -> Iterator[Claim]:
    choice, tested = subject.choice, subject.tested
    controls = subject.controls(choice, n_controls, seed)
    own, ratios = tested.own_log_odds()[0], tested.perplexity_ratios()[0]
    for i, emotion in enumerate(tested.layout.emotions):
        boot = grouped_bootstrap((own[i, 1] - own[i, 0]) / (2 * choice.dose), n_draws=N_DRAWS, seed=seed)
        p, mean, _, high = against_controls(boot.value, controls.for_emotion(emotion))
        yield Claim(
            id="rq3.steering", question="RQ3", model=str(subject.lm.name), emotion=emotion, layer=choice.layer,
            statistic=WORD_SET, value=boot.value, ci95=(boot.interval.low, boot.interval.high), chance=mean,
            ceiling=None, floors={"isotropic_97.5_percent": high},
            null=f"isotropic directions of the same size, {2 * n_controls} of them", p=p,
            n_unique=len(own[i, 0]), evidence=(), side_conditions={"perplexity_ratio": float(ratios[i].max())},
        )  # fmt: skip


def verdicts(bench: Bench) -> Iterator[SelftestCheck]:
    """All claims are supported for the plant, none for the twin."""
    n_controls = bench.drawn(100, 1000)
    for name, subject, share in (("planted model", bench.subject, 1), ("twin without a plant", bench.twin, 0)):
        judged = claims(subject, bench.twin, n_controls=n_controls, seed=bench.seed)
        supported = sum(claim.verdict == "supported" for claim in judged) / len(judged)
        yield check(f"{name}, share of claims that are supported", supported, share, share)
