"""Circuits modulated, and the random twin of every method: loops in plain torch, planted models, invented texts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from patched_by_hand import ACT, Z, beyond_the_first, greedy, projections, run

from emotion_circuits import prompts
from emotion_circuits.components import (
    STRENGTHS,
    Circuits,
    Modulation,
    PushSize,
    Setting,
    WordSetOutcome,
    compare_methods,
    dose_responses,
    matched_pairs,
    method_texts,
    modulation,
    n_texts,
    push_sizes,
    title_of,
)
from emotion_circuits.engine import Point, count_hooks, generate
from emotion_circuits.errors import InputError
from emotion_circuits.interventions import OTHER_REQUESTS
from emotion_circuits.scoring import GeneratedText, evaluate_texts, make_scorer
from emotion_circuits.scoring import Setting as ScorerSetting
from emotion_circuits.selftest import bench
from emotion_circuits.selftest._checks_components import outcome_of
from emotion_circuits.statistics import rows_table
from tiny_models import direction_set

LAYER, EMOTION = 1, "anger"
GREEDY = Setting(LAYER, (0.3,), max_tokens=4, temperature=0.0, n_samples=1)


def of(texts, arm, dose=None):
    return [t.text for t in texts if t.arm == arm and t.dose == dose]


def one_direction(lm):
    return np.eye(lm.d_model)[:1]


def test_shifts_are_the_pairs_mean_difference_at_the_last_token(case):
    lm, pairs, outcome = case
    found = modulation(lm, outcome, by="random", size=0.5, n_random=1)
    assert found.scenarios == pairs.scenarios and found.strengths == STRENGTHS
    for site, where in (("z", Z), ("mlp_act", ACT)):
        for layer, module in enumerate(projections(lm, where)):
            with torch.no_grad():
                sides = [[run(lm, ids)[1][module][0, -1] for ids in (p.ids_a, p.ids_b)] for p in pairs.pairs]
            expected = torch.stack([a - b for a, b in sides]).mean(dim=0)
            torch.testing.assert_close(found.shifts[Point(site, layer)].float(), expected, rtol=1e-4, atol=1e-5)


def test_modulated_text_is_a_loop_of_hooks_without_a_cache(contrast):
    lm, pairs, outcome = contrast
    pairs = replace(pairs, pairs=pairs.pairs[:2])
    circuit = modulation(lm, outcome, by="random", size=0.5, strengths=(2.0, 20.0), n_random=1)
    directions = direction_set(lm)
    changed = 0
    for way, side, sign in (("raise", "ids_b", 1), ("lower", "ids_a", -1)):
        texts = method_texts(lm, directions, pairs, way, one_direction(lm), GREEDY, circuit=circuit)
        for number, arm in enumerate(("circuit", "random circuit")):
            members = circuit.circuits.members(number)
            for strength in circuit.strengths:
                acts = {}
                for point, shift in circuit.shifts.items():
                    kind, size = ("head", lm.d_head) if point.site == "z" else ("unit", 1)
                    own, ranked = (
                        [c.number for c in chosen if (c.kind, c.layer) == (kind, point.layer)]
                        for chosen in (members, circuit.circuits.members(0))
                    )

                    parts = shift.reshape(-1, size)
                    moved = float(parts[own].norm())  # a window of attention may hide the pair's difference
                    length = float(parts[ranked].norm()) / moved if moved else 1.0
                    assert number or length == 1
                    step = (sign * strength * length * shift).float()

                    def act(value, own=own, size=size, step=step):
                        for n in own:
                            part = slice(n * size, (n + 1) * size)
                            value[..., part] += step[part]

                    acts[point.site, point.layer] = act
                change = beyond_the_first(lm, acts)
                expected = [greedy(lm, getattr(pair, side), change, 4) for pair in pairs.pairs]
                assert of(texts, arm, sign * strength) == expected, (way, arm, strength)
                changed += expected != of(texts, "clean")
    assert changed and count_hooks(lm) == 0


def test_a_strength_of_nothing_keeps_every_word_and_a_huge_one_is_marked_as_lost(tiny_gpt2_lm):
    lm = tiny_gpt2_lm
    pairs = matched_pairs(lm, prompts.bank().profile("baseline"), EMOTION)
    pairs = replace(pairs, pairs=pairs.pairs[:3])
    whole = Circuits(np.ones((1, lm.n_layers, lm.n_heads), bool), np.ones((1, lm.n_layers, lm.d_mlp), bool))
    own = modulation(lm, WordSetOutcome(lm, pairs, prompts.bank().word_sets()), by="random", n_random=0)
    circuit = Modulation(EMOTION, pairs.scenarios, whole, own.shifts, (0.0, 1e38))
    texts = method_texts(lm, direction_set(lm), pairs, "raise", one_direction(lm), GREEDY, circuit=circuit)
    assert of(texts, "circuit", 0.0) == of(texts, "clean")
    lost = [t for t in texts if t.dose == 1e38]
    assert len(lost) == 3 and all(t.text == "" and t.perplexity is None for t in lost)
    assert len(texts) == n_texts(pairs, "raise", 1, GREEDY, circuit)


def test_random_circuits_match_the_circuit_by_layer_and_kind(case):
    lm, _, outcome = case
    circuits = modulation(lm, outcome, size=0.3, n_random=5).circuits
    assert len(circuits) == 6 and circuits.heads.any() and circuits.units.any()
    for members in (circuits.heads, circuits.units):
        counts = members.sum(axis=2)
        assert (counts == counts[0]).all()


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox"])
def test_the_planted_circuit_brings_its_word_about_and_takes_it_away(family):
    """Ranked on development scenarios; the twin without a plant says nothing, whatever is moved."""
    made = bench(family)
    for subject, present in ((made.subject, 1.0), (made.twin, 0.0)):
        bank = subject.planted.bank
        judged = outcome_of(subject, "amber").pairs
        ranking = matched_pairs(subject.lm, bank.explicit, "amber", bridge=judged.bridge, split="development")
        circuit = modulation(subject.lm, WordSetOutcome(subject.lm, ranking, bank.word_sets), by="attribution",
                             strengths=(1.0,), n_random=3)  # fmt: skip
        planted = subject.facts.head
        assert circuit.circuits.heads[0, planted.layer, planted.head] == bool(present) or not present
        assert not set(circuit.scenarios) & set(judged.scenarios)
        setting = Setting(subject.facts.layer, (0.1,), max_tokens=1, temperature=0.0, n_samples=1)
        own = set(bank.word_sets.words("amber", "opening"))

        def said(texts, arm, dose=None, own=own):
            return np.mean([bool(own & set(text.split())) for text in of(texts, arm, dose)])

        directions, one = subject.directions(), one_direction(subject.lm)
        raised, lowered = (
            method_texts(subject.lm, directions, judged, way, one, setting, circuit=circuit)
            for way in ("raise", "lower")
        )
        assert said(raised, "clean") == 0 and said(lowered, "clean") == present
        assert said(raised, "circuit", 1.0) == present and said(lowered, "circuit", -1.0) == 0
        spared = circuit.circuits.heads[1:, planted.layer, planted.head]
        if present and not spared.any():
            assert said(raised, "random circuit", 1.0) == 0 and said(lowered, "random circuit", -1.0) == 1


def test_random_swaps_bring_another_scenario_of_the_same_class(tiny_gpt2_lm):
    """At the last layer a swapped prompt goes on with the donor's own next word."""
    lm = tiny_gpt2_lm
    pairs = matched_pairs(lm, prompts.bank().profile("baseline"), EMOTION)
    pairs = replace(pairs, pairs=pairs.pairs[:4])
    setting = GREEDY._replace(layer=lm.n_layers - 1, max_tokens=1)
    directions = direction_set(lm)
    two = np.eye(lm.d_model)[:2]
    plain, emotional = (
        [one.text for t in prompts.bank().profile("baseline").select(c) for one in t.variants]
        for c in ("neutral", EMOTION)
    )
    for way, side, bare in (("raise", 1, plain), ("lower", 0, emotional)):
        texts = method_texts(lm, directions, pairs, way, two, setting)
        assert len(texts) == n_texts(pairs, way, 2, setting)
        drawn = 0
        for pair in pairs.pairs:
            own_ids = pair.ids_b if side else pair.ids_a
            donors = pairs.donors(pair, side)[:2]
            known = {lm.encode([text + pairs.bridge.text])[0].ids: text for text in bare}
            assert all(len(d) == len(own_ids) and d != own_ids and d in known for d in donors)
            expected = [generate(lm, lm.encode([known[d] + pairs.bridge.text]), max_tokens=1)[0] for d in donors]
            own_text = pair.text_b if side else pair.text_a
            for arm in ("random swap", "random swap, last token"):
                assert [t.text for t in texts if t.arm == arm and t.prompt == own_text] == expected
            drawn += len(donors)
        assert drawn, "no pair had a donor"


def test_other_requests_have_the_form_and_length_of_the_emotions_and_none_of_their_words(tiny_gpt2_lm, reference):
    lm = reference("gpt2")
    lengths = [len(lm.encode([r])[0]) for r in (prompts.bank()[e].request for e in prompts.bank().emotions)]
    for other in OTHER_REQUESTS:
        assert other.startswith("This is a story in which people speak ") and other.endswith(".")
        assert not prompts.bank().emotion_words(other)
        assert min(lengths) - 2 <= len(lm.encode([other])[0]) <= max(lengths) + 2
    lm = tiny_gpt2_lm
    pairs = matched_pairs(lm, prompts.bank().profile("baseline"), EMOTION)
    pairs = replace(pairs, pairs=pairs.pairs[:2])
    asking = GREEDY._replace(request=prompts.bank()[EMOTION].request)
    texts = method_texts(lm, direction_set(lm), pairs, "raise", one_direction(lm), asking)
    asked = [f"{request} {p.text_b}" for request in OTHER_REQUESTS for p in pairs.pairs]
    assert of(texts, "random prompted") == generate(lm, lm.encode(asked), max_tokens=4)


def test_a_dose_and_a_strength_in_one_unit(tiny_gpt2_lm):
    lm = tiny_gpt2_lm
    pairs = matched_pairs(lm, prompts.bank().profile("baseline"), EMOTION)
    pairs = replace(pairs, pairs=pairs.pairs[:3])
    outcome = WordSetOutcome(lm, pairs, prompts.bank().word_sets())
    circuit = modulation(lm, outcome, size=0.3, strengths=(1e-3, 2e-3), n_random=2)
    rows = push_sizes(lm, direction_set(lm), pairs, "raise", GREEDY._replace(doses=(0.1, 0.3)), circuit)
    added = [r for r in rows if r.method == "add"]
    assert [r.size for r in added] == pytest.approx([0.1, 0.3], rel=1e-4), "an added direction has its dose"
    small = [r.size for r in rows if r.method == "circuit"]
    assert small[1] == pytest.approx(2 * small[0], rel=0.02) and small[0] > 0, "linear where it is small"
    n = sum(len(p.ids_b) - 1 for p in pairs.pairs)
    assert {(r.method, r.n_tokens) for r in rows} == {("add", n), ("circuit", n), ("random circuit", 2 * n)}
    assert all(r.size_low <= r.size <= r.size_high for r in rows)
    assert len(rows_table(PushSize, rows)) == len(rows) == 2 + 4
    last = push_sizes(lm, direction_set(lm), pairs, "lower", GREEDY._replace(layer=lm.n_layers - 1), circuit)
    assert last[0].size == pytest.approx(0.3, rel=1e-4) == last[0].size_last and last[0].dose == -0.3


@pytest.mark.parametrize("strengths", [(), (0.0,), (-1.0,), (1.0, 1.0), (float("nan"),), (float("inf"),)])
def test_what_no_circuit_is_modulated_by(case, strengths):
    with pytest.raises(InputError, match="strengths above 0"):
        modulation(case.lm, case.outcome, strengths=strengths)
    with pytest.raises(InputError, match="no members"):
        modulation(case.lm, case.outcome, by="random", size=0.0)


def invented(arms):
    """(arm, dose, layer) → share of grateful texts, of ten prompts."""
    texts = []
    for (arm, dose, layer), share in arms.items():
        for k in range(10):
            words = "Thank you so much, dear friend" if k < 10 * share else f"The road number {k} was long"
            texts.append(
                GeneratedText(prompt=f"p{k}", text=words, arm=arm, emotion=None if arm == "clean" else "gratitude",
                              dose=dose, layer=layer, sample=0, perplexity=10.0)
            )  # fmt: skip
    return texts


def test_every_method_stands_beside_its_own_twin():
    texts = invented(
        {
            ("clean", None, None): 0.1,
            ("add", 0.2, 3): 0.5,
            ("random", 0.2, 3): 0.2,
            ("swap", None, 3): 0.6,
            ("random swap", None, 3): 0.3,
            ("prompted", None, None): 0.7,
            ("random prompted", None, None): 0.4,
            ("circuit", 1.0, None): 0.8,
            ("circuit", 2.0, None): 0.9,
            ("random circuit", 1.0, None): 0.5,
            ("random circuit", 2.0, None): 0.6,
            ("swap, last token", None, 3): 0.5,
        }
    )
    markers = make_scorer("markers", ScorerSetting(prompts.bank()))
    rows = {title_of(r): r for r in compare_methods("m", "raise", texts, [markers])}
    chances = {"add 0.2": 0.1, "swap": 0.2, "prompted": 0.3, "circuit 1": 0.4, "circuit 2": 0.5}
    for name, chance in chances.items():
        row = rows[name]
        assert row.chance == pytest.approx(chance) and row.chance_low <= chance <= row.chance_high
        beyond = {r.arm: r for r in evaluate_texts(texts, [markers]).scores if r.scored == "gratitude"}
        if row.method != "circuit":
            assert row.p == beyond[row.method].p_random
    assert np.isnan(rows["swap, last token"].chance)
    twins = [r for r in rows.values() if r.method.startswith("random")]
    assert len(twins) == 5 and not any(r.on_front for r in twins) and all(np.isnan(r.chance) for r in twins)
    slopes = {r.method: r for r in dose_responses("raise", texts, [markers])}
    # Least squares through (0, .1), (1, .8), (2, .9) and (0, .1), (1, .5), (2, .6).
    assert slopes["circuit"].slope == pytest.approx(0.4) and slopes["circuit"].chance == pytest.approx(0.25)
    assert slopes["add"].slope == pytest.approx(2.0) and slopes["add"].chance == pytest.approx(0.5)
    assert slopes["circuit"].n_doses == 2 and slopes["add"].n_doses == 1
    down = [t.model_copy(update={"dose": -t.dose if t.dose else None}) for t in texts]
    lowered = {title_of(r): r for r in compare_methods("m", "lower", down, [markers])}
    assert lowered["circuit -1"].effect == pytest.approx(-0.7) and lowered["circuit -1"].chance == pytest.approx(-0.4)
