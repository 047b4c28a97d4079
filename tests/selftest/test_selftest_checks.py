"""Checks pass on a healthy model, and every one of them fails on some model that is spoilt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from emotion_circuits import engine
from emotion_circuits.components import WordSetOutcome
from emotion_circuits.engine import Check, Point, Verification
from emotion_circuits.interventions import Choice
from emotion_circuits.selftest import CHECKS, Bench, Head, PlantSpec, Subject, _bank, plant, planted_bank
from emotion_circuits.selftest import _checks_causal as causal
from emotion_circuits.selftest import _checks_circuits as circuits
from emotion_circuits.selftest import _checks_claims as claims
from emotion_circuits.selftest import _checks_components as components
from emotion_circuits.selftest import _checks_directions as directions
from emotion_circuits.selftest import _checks_edges as joins
from emotion_circuits.selftest import _checks_engine as exact
from emotion_circuits.selftest import _checks_interchange as swaps
from emotion_circuits.selftest import _checks_rotated as rotated
from emotion_circuits.selftest._bench import WHERE
from emotion_circuits.selftest._run import checked

EMOTIONS = tuple(planted_bank().cues)[1:]

PASSED: set[str] = set()
FAILED: set[str] = set()
"""Names of checks that the healthy model passed, and that some spoilt model failed; the last test compares them."""

N_PAIRS = 6

Spoil = Callable[[pytest.MonkeyPatch], Bench]


@pytest.mark.parametrize("method", CHECKS, ids=lambda m: m.__name__)
def test_a_healthy_model_passes(healthy, method):
    found = list(method(healthy))
    assert found
    for one in found:
        assert one.ok, one
        assert one.low <= one.high
        PASSED.add(one.name)


def spoilt(**changes: object) -> Bench:
    """A model to spoil. It stands for its own twin, which most methods do not look at."""
    subject = Subject(plant(replace(PlantSpec(), **changes)))
    return Bench(subject, subject)


def no_plant(patch: pytest.MonkeyPatch) -> Bench:
    return spoilt(present=False)


def plant_in_the_twin(patch: pytest.MonkeyPatch) -> Bench:
    return spoilt()


def planted_at(layer: int) -> Spoil:
    def spoil(patch: pytest.MonkeyPatch) -> Bench:
        """The facts are those of another layer."""
        model = plant(PlantSpec(layer=layer, head=Head(layer + 1, 1)))
        facts = replace(model.facts, layer=2, head=Head(3, 1))
        subject = Subject(replace(model, facts=facts))
        return Bench(subject, subject)

    return spoil


def signs_flipped(patch: pytest.MonkeyPatch) -> Bench:
    model = plant()
    facts = replace(model.facts, directions={e: -v for e, v in model.facts.directions.items()})
    subject = Subject(replace(model, facts=facts))
    return Bench(subject, subject)


def read_out_flipped(patch: pytest.MonkeyPatch) -> Bench:
    """The model says the less of a class's words, the more of its direction there is."""
    bench = spoilt()
    weight = bench.subject.lm.lm_head.weight
    for vector in bench.subject.facts.directions.values():
        v = torch.from_numpy(vector).float()
        weight -= 2 * (weight @ v)[:, None] * v
    return bench


def directions_do_nothing(patch: pytest.MonkeyPatch) -> Bench:
    """The head does not read them: steering and ablation move nothing."""
    bench = spoilt()
    bench.subject.lm.lm_head.weight *= 0.01
    return bench


def words_leak(patch: pytest.MonkeyPatch) -> Bench:
    model = plant()
    subject = Subject(replace(model, bank=replace(model.bank, implicit=model.bank.explicit)))
    return Bench(subject, subject)


def chosen(choice: Choice) -> Spoil:
    def spoil(patch: pytest.MonkeyPatch) -> Bench:
        bench = spoilt()
        bench.subject.choice = choice
        return bench

    return spoil


def randomness_is_the_plant(patch: pytest.MonkeyPatch) -> Bench:
    """ "Random" directions are the planted ones, and every word counts as an answer."""
    bench = spoilt()
    vectors = [bench.subject.facts.specific(e) for e in EMOTIONS]

    def drawn(n: int, *args: object, **kwargs: object) -> np.ndarray:
        return np.stack([vectors[i % 3] for i in range(n)])

    patch.setattr(causal, "isotropic_directions", drawn)
    patch.setattr("emotion_circuits.selftest._bench.isotropic_directions", drawn)
    patch.setattr(causal, "answer_words", lambda emotion: tuple(bench.subject.planted.bank.vocabulary))
    return bench


def another_turn(patch: pytest.MonkeyPatch) -> Bench:
    """The facts of the rotated twin are those of other coordinates."""
    bench = spoilt()
    bench.rotated = Subject(replace(bench.rotated.planted, facts=bench.subject.facts))
    return bench


def not_rotated(patch: pytest.MonkeyPatch) -> Bench:
    bench = spoilt()
    bench.rotated = bench.subject
    return bench


def texts_do_not_correspond(patch: pytest.MonkeyPatch) -> Bench:
    """Maps are fitted on the texts of one model and other texts of the other."""
    bench = spoilt()
    for subject in (bench.rotated, bench.rotated_twin):
        texts = subject.neutral
        order = np.random.default_rng(0).permutation(len(texts.data))
        subject.neutral = replace(texts, values={WHERE: texts.values[WHERE][:, order]})
    return bench


def labels_shuffled_apart(patch: pytest.MonkeyPatch) -> Bench:
    """The null of labels plays other shuffles in the target than in the source."""
    from emotion_circuits.geometry import _layer_judging as judging
    from emotion_circuits.geometry._draws import Draws

    class Apart(judging.TargetSide):
        @classmethod
        def of(cls, *args: object) -> judging.TargetSide:
            *given, labels = args
            return super().of(*given, Draws(labels.weights, labels.players[::-1]))

    patch.setattr(judging, "TargetSide", Apart)
    return spoilt(present=False)


def a_sloppy_replay(patch: pytest.MonkeyPatch) -> Bench:
    """Replays add what nobody asked for."""
    original = engine.PrefixReplay.run
    patch.setattr(
        engine.PrefixReplay,
        "run",
        lambda self, states, *args, **options: original(self, states * 1.001, *args, **options),
    )
    return spoilt()


def edits_do_nothing(patch: pytest.MonkeyPatch) -> Bench:
    def nothing(point: Point, *_: object) -> engine.Edit:
        return engine.Edit(point, lambda hidden, editable: hidden)

    patch.setattr(exact, "add", nothing)
    patch.setattr(exact, "Edit", nothing)
    return spoilt()


def texts_see_each_other(patch: pytest.MonkeyPatch) -> Bench:
    """Packed rows lose their mask."""
    patch.setattr(engine.Batch, "unmasked", True)
    return spoilt(family="gpt_neox")  # GPT-2 has no positions for a whole row


def a_hook_stays(patch: pytest.MonkeyPatch) -> Bench:
    from emotion_circuits.engine._sites import attach

    bench = spoilt()
    calls = []

    def grows(hidden: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return hidden * (1 + 0.01 * len(calls))

    attach(bench.subject.lm, Point("resid_post", 5), grows)
    return bench


def a_sloppy_interchange(patch: pytest.MonkeyPatch) -> Bench:
    """Patches change what they should leave, and donors are prompts of the other class."""
    from emotion_circuits.components import _interchange

    def sloppy(point: Point, mask: torch.Tensor, differences: list[torch.Tensor]) -> engine.Edit:
        moved = torch.cat(list(differences))
        return engine.Edit(point, lambda hidden, editable: hidden * 1.01 + moved.reshape(hidden.shape))

    patch.setattr(_interchange, "_put", sloppy)
    return spoilt()


def donors_of_the_other_class(patch: pytest.MonkeyPatch) -> Bench:
    original = swaps.outcome_of

    def mixed(subject: Subject, emotion: str) -> WordSetOutcome:
        pairs = original(subject, emotion).pairs
        pairs = replace(pairs, prompts_b=pairs.prompts_a)
        return WordSetOutcome(subject.lm, pairs, subject.planted.bank.word_sets)

    patch.setattr(swaps, "outcome_of", mixed)
    return spoilt()


def circuits_judged_where_they_were_ranked(patch: pytest.MonkeyPatch) -> Bench:
    """The halves are one, and the twin holds a plant."""
    from emotion_circuits.components import _circuit_study

    patch.setattr(_circuit_study, "ranking_and_judging", lambda pairs: (pairs, pairs))
    return spoilt()


def a_proof_fails(patch: pytest.MonkeyPatch) -> Bench:
    patch.setattr(exact, "verify", lambda lm: Verification("planted", (Check("residual stream adds up", 1.0, 0.5),)))
    return spoilt()


SABOTAGES: list[tuple[Spoil, list[tuple[Callable[..., object], int]]]] = [
    # What is spoilt, and for each method how many of its checks must fail at least.
    (
        no_plant,
        [
            (directions.recovered, 4),
            (directions.right_layer, 1),
            (directions.detected, 2),
            (directions.scored, 1),
            (causal.dose_response, 2),
            (causal.beyond_controls, 1),
            (causal.ablation, 2),
            (causal.generated, 1),
            (components.heads_found, 7),
            (components.units_found, 4),
            (components.removed, 3),
            (swaps.interchange_follows_the_plant, 2),
            (circuits.planted_circuit_is_faithful, 2),
            (joins.edges_follow_the_plant, 5),
            (claims.verdicts, 1),
        ],
    ),
    (
        plant_in_the_twin,
        [
            (directions.nothing_in_the_twin, 2),
            (claims.verdicts, 1),
            (rotated.nothing_in_a_twin_without_plant, 2),
        ],
    ),
    (planted_at(1), [(directions.absent_before, 3), (directions.right_layer, 1)]),
    (planted_at(3), [(directions.recovered, 4), (directions.right_layer, 1)]),
    (signs_flipped, [(directions.recovered, 4)]),
    (
        read_out_flipped,
        [
            (causal.dose_response, 2),
            (causal.chosen_cell, 2),
            (causal.beyond_controls, 2),
            (causal.ablation, 1),
            (causal.generated, 1),
        ],
    ),
    (directions_do_nothing, [(causal.dose_response, 2), (causal.ablation, 1)]),
    (words_leak, [(directions.detected, 1)]),
    (chosen(Choice(0, 0.1)), [(causal.chosen_cell, 2)]),
    (chosen(Choice(5, 40.0)), [(causal.chosen_cell, 1)]),
    (randomness_is_the_plant, [(causal.ablation, 1), (causal.generated, 2), (causal.beyond_controls, 1)]),
    (a_sloppy_replay, [(exact.edits_are_exact, 2)]),
    (edits_do_nothing, [(exact.edits_are_exact, 2), (exact.hooks_are_removed, 1)]),
    (texts_see_each_other, [(exact.rows_are_independent, 1)]),
    (a_sloppy_interchange, [(swaps.interchange_follows_the_plant, 3)]),
    (donors_of_the_other_class, [(swaps.interchange_follows_the_plant, 1)]),
    (circuits_judged_where_they_were_ranked, [(circuits.planted_circuit_is_faithful, 1)]),
    (a_hook_stays, [(exact.hooks_are_removed, 2)]),
    (a_proof_fails, [(exact.proofs_hold, 1)]),
    (another_turn, [(rotated.recovered_by_maps, 1)]),
    (labels_shuffled_apart, [(rotated.nothing_in_a_twin_without_plant, 1)]),
    (not_rotated, [(rotated.overlap_after_maps, 1)]),
    (
        texts_do_not_correspond,
        [(rotated.recovered_by_maps, 4), (rotated.overlap_after_maps, 1), (rotated.nothing_in_a_twin_without_plant, 1)],
    ),
]


def of_few_pairs(subject: Subject, emotion: str) -> WordSetOutcome:
    pairs = components.outcome_of(subject, emotion).pairs
    return WordSetOutcome(subject.lm, replace(pairs, pairs=pairs.pairs[:N_PAIRS]), subject.planted.bank.word_sets)


@pytest.mark.parametrize(
    ("spoil", "expected"), SABOTAGES, ids=[f"{i}-{spoil.__name__}" for i, (spoil, _) in enumerate(SABOTAGES)]
)
def test_sabotage_is_seen(monkeypatch, spoil, expected):
    """With fewer texts, doses, draws and pairs than checks take, and where passes are many with one emotion: what is
    wrong is seen all the same."""
    if spoil is not no_plant:  # what noise passes is a matter of how much there is of it
        monkeypatch.setattr(_bank, "EXPLICIT", {"development": 8, "test": 8})
        monkeypatch.setattr(_bank, "IMPLICIT", {"development": 6, "test": 16})
    monkeypatch.setattr("emotion_circuits.selftest._bench.CANDIDATE_DOSES", (-0.2, 0.2))
    monkeypatch.setattr(Bench, "drawn", lambda self, few, many: 40)
    for room in (swaps, joins):
        monkeypatch.setattr(room, "outcome_of", of_few_pairs)
    for room in (swaps, joins, circuits):
        monkeypatch.setattr(room, "emotions_of", lambda bench: EMOTIONS[:1])
    bench = spoil(monkeypatch)
    for method, at_least in expected:
        failed = [one for one in checked(method, bench) if not one.ok]
        assert len(failed) >= at_least, (method.__name__, [one.name for one in failed])
        FAILED.update(one.name for one in failed)


def test_every_check_can_fail():
    """Runs last: there is no check that passes whatever was done to the model."""
    assert PASSED, "the tests above did not run"
    assert PASSED <= FAILED, sorted(PASSED - FAILED)
