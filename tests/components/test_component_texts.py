"""Text under ablation: loops in plain torch, a planted model that loses its word, chance from random sets."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from patched_by_hand import beyond_the_first, greedy

from emotion_circuits import prompts
from emotion_circuits.components import (
    AblationTexts,
    Component,
    TextEffect,
    TextSetting,
    ablation_texts,
    generic_values,
    matched_pairs,
    n_ablation_texts,
    random_sets,
    text_effects,
)
from emotion_circuits.components._components import SITE_OF
from emotion_circuits.components._runs import edits_for
from emotion_circuits.engine import Point, Schedule, count_hooks, generate, prompt_values, row_seeds
from emotion_circuits.errors import InputError
from emotion_circuits.scoring import GeneratedText, Setting, make_scorer
from emotion_circuits.selftest import Bench, bench
from emotion_circuits.selftest._checks_components import outcome_of
from emotion_circuits.statistics import rows_table

GENERIC = tuple(text.text for text in prompts.generic_sample(12))
NAMED = (Component("head", 0, 3), Component("head", 2, 1), Component("unit", 1, 5), Component("unit", 1, 7))
GREEDY = TextSetting(max_tokens=4, temperature=0.0, n_samples=1)


@pytest.fixture
def two(contrast):
    return contrast.lm, replace(contrast.pairs, pairs=contrast.pairs.pairs[:2])


def of(made, arm):
    return [t.text for t in made.texts if t.arm == arm]


def test_greedy_text_is_a_loop_of_hooks_without_a_cache(two):
    """The model's own key-value cache and left padding on our side, whole passes over one text on the other."""
    lm, pairs = two
    generic = generic_values(lm, GENERIC, NAMED)
    sides = ablation_texts(lm, pairs, NAMED, ("zero", "mean"), generic, n_random=2, setting=GREEDY)
    sets = [NAMED, *random_sets(lm, sorted(NAMED), 2, 0)]
    changed = 0
    for side, name in zip(sides, ("ids_a", "ids_b"), strict=True):
        ids = [getattr(pair, name) for pair in pairs.pairs]
        clean = [greedy(lm, one, {}, 4) for one in ids]
        assert of(side, "clean") == clean
        for method in ("zero", "mean"):
            expected = []
            for components in sets:
                acts = {}
                for kind, layer in {(c.kind, c.layer) for c in components}:
                    size = lm.d_head if kind == "head" else 1
                    own = [c.number for c in components if (c.kind, c.layer) == (kind, layer)]
                    values = generic.mean(Point(SITE_OF[kind], layer))

                    def act(value, own=own, size=size, values=values, zero=method == "zero"):
                        for n in own:
                            part = slice(n * size, (n + 1) * size)
                            value[..., part] = 0 if zero else values[part]

                    acts[SITE_OF[kind], layer] = act
                expected.append([greedy(lm, one, beyond_the_first(lm, acts), 4) for one in ids])
            assert of(side, f"ablated, {method}") == expected[0]
            assert of(side, f"random ablated, {method}") == [*expected[1], *expected[2]]
            changed += sum(a != b for a, b in zip(expected[0], clean, strict=True))
    assert changed, "ablation left every text as it was"
    assert count_hooks(lm) == 0


def test_values_replaced_by_their_own_change_nothing(two):
    lm, pairs = two
    encoded = lm.encode([pair.text_a for pair in pairs.pairs])
    clean = generate(lm, encoded, max_tokens=4)
    for kind in ("head", "unit"):
        for layer in range(lm.n_layers):
            point = Point(SITE_OF[kind], layer)
            own = {point: prompt_values(lm, encoded, point)}
            _, edits = edits_for(lm, [[Component(kind, layer, n) for n in range(4)]], own)
            assert generate(lm, encoded, max_tokens=4, edits=edits, schedule=Schedule(every=0)) == clean


def test_prompts_samples_and_random_numbers(tiny_gpt2_lm):
    lm = tiny_gpt2_lm
    pairs = matched_pairs(lm, prompts.bank().profile("baseline"), "anger")
    pairs = replace(pairs, pairs=pairs.pairs[:3])
    setting = TextSetting(max_tokens=4, n_samples=2, seed=7)
    done: list[int] = []
    made = ablation_texts(lm, pairs, NAMED, ("zero",), n_random=3, setting=setting, on_texts=done.append)
    total = sum(len(one.texts) for one in made)
    assert total == sum(done) == n_ablation_texts(lm, pairs, NAMED, 1, 3, 2) == 2 * 3 * 2 * (1 + 1 + 3)
    assert [one.prompts for one in made] == ["emotion", "neutral"]
    for one, side in zip(made, ("text_a", "text_b"), strict=True):
        rows = [getattr(p, side) for p in pairs.pairs for _ in range(2)]
        assert of(one, "clean") == generate(lm, lm.encode(rows), max_tokens=4, temperature=0.8, seeds=row_seeds(7, 6))
        assert one.n_random == 3 and one.components == "0:3,2:1,1:5,1:7"
        counts = Counter((t.arm, t.prompt, t.sample) for t in one.texts)
        assert set(counts.values()) == {1}
        assert {t.sample for t in one.texts if t.arm == "random ablated, zero"} == set(range(6))
        assert all(t.perplexity and t.perplexity > 0 for t in one.texts if not t.empty)
    again = ablation_texts(lm, pairs, NAMED[::-1], ("zero",), n_random=3, setting=setting)
    assert again == made


@pytest.fixture(scope="module")
def healthy() -> Bench:
    return bench("gpt2")


def answers(texts, emotion, subject):
    """Share of texts that hold one of the emotion's answers."""
    own = set(subject.planted.bank.word_sets.words(emotion, "opening"))
    return np.mean([bool(own & set(text.split())) for text in texts])


def test_a_planted_model_loses_its_word_without_the_head_that_moves_it(healthy):
    for subject, present in ((healthy.subject, True), (healthy.twin, False)):
        pairs = outcome_of(subject, "cyan").pairs
        head = Component("head", *healthy.subject.facts.head)
        generic = generic_values(subject.lm, subject.planted.bank.generic, [head])
        emotional, neutral = ablation_texts(
            subject.lm, pairs, [head], ("zero", "mean"), generic, n_random=2,
            setting=TextSetting(max_tokens=1, temperature=0.0, n_samples=1),
        )  # fmt: skip
        assert answers(of(emotional, "clean"), "cyan", subject) == (1 if present else 0)
        assert answers(of(neutral, "clean"), "cyan", subject) == 0
        for method in ("zero", "mean"):
            assert answers(of(emotional, f"ablated, {method}"), "cyan", subject) == 0
            without_others = answers(of(emotional, f"random ablated, {method}"), "cyan", subject)
            assert without_others == (1 if present else 0)


def invented(shares):
    """Ten prompts; arm, number of the set → share of grateful texts."""
    texts = []
    for (arm, number), share in shares.items():
        for k in range(10):
            words = "Thank you so much, dear friend" if k < 10 * share else f"The road number {k} was long"
            named = arm != "clean"
            texts.append(
                GeneratedText(
                    prompt=f"p{k}", text=words, arm=arm, emotion="gratitude" if named else None,
                    dose=-1.0 if named else None, sample=number, perplexity=11.0 if named else 10.0,
                )
            )  # fmt: skip
    sets = len([1 for arm, _ in shares if arm.startswith("random")])
    return AblationTexts("m", "gratitude", "1:2", "emotion", tuple(texts), sets, 1)


def test_effects_stand_beside_those_of_random_sets():
    random = [0.9, 0.8, 0.7, 0.9, 0.8, 0.8, 0.9]
    shares = {("clean", 0): 0.8, ("ablated, zero", 0): 0.2}
    shares |= {("random ablated, zero", k): share for k, share in enumerate(random)}
    [row] = text_effects(invented(shares), [make_scorer("markers", Setting(prompts.bank()))])
    assert row.effect == pytest.approx(-0.6) and row.clean_score == pytest.approx(0.8) == row.ceiling
    assert row.ci_low <= row.effect <= row.ci_high < 0
    assert row.chance == pytest.approx(np.mean(random) - 0.8) and row.null_low <= row.chance <= row.null_high
    assert row.p_random == pytest.approx(2 / 8) and row.n_random == 7 and row.p < 0.05
    assert row.damage == pytest.approx(1.1) == row.damage_random and row.n_prompts == 10
    assert (row.method, row.prompts, row.components) == ("zero", "emotion", "1:2")
    assert tuple(rows_table(TextEffect, [row]).columns) == TextEffect._fields
    [alone] = text_effects(
        invented({k: v for k, v in shares.items() if k[0][0] != "r"}), [make_scorer("markers", Setting(prompts.bank()))]
    )
    assert np.isnan(alone.chance) and np.isnan(alone.p_random) and alone.effect == row.effect


def test_what_is_refused(two):
    lm, pairs = two
    for change, said in (
        ({"methods": ("resample",)}, "zero or mean"),
        ({"methods": ()}, "zero or mean"),
        ({"methods": ("mean",)}, "generic"),
        ({"components": (NAMED[0], NAMED[0])}, "twice"),
        ({"components": ()}, "No heads"),
        ({"setting": TextSetting(temperature=0.0, n_samples=2)}, "one sample"),
    ):
        given = {"components": NAMED, "methods": ("zero",), "setting": GREEDY, **change}
        with pytest.raises(InputError, match=said):
            ablation_texts(lm, pairs, **given)
