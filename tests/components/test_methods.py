"""Ways of changing a model's tone, against plain generation; and effect against damage on invented texts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from emotion_circuits import prompts
from emotion_circuits.components import (
    WAYS,
    MethodRow,
    Setting,
    compare_methods,
    dose_responses,
    matched_pairs,
    method_texts,
    n_texts,
    title_of,
)
from emotion_circuits.engine import Point, Schedule, ablate_direction, add, count_hooks, generate, row_seeds
from emotion_circuits.errors import InputError
from emotion_circuits.scoring import GeneratedText, make_scorer
from emotion_circuits.scoring import Setting as ScorerSetting
from emotion_circuits.statistics import rows_table
from tiny_models import direction_set

LAYER, EMOTION = 1, "apology"
GREEDY = Setting(LAYER, (0.2, 0.5), max_tokens=5, temperature=0.0, n_samples=1)


@pytest.fixture(scope="module")
def made(tiny_gpt2_lm):
    lm = tiny_gpt2_lm
    pairs = matched_pairs(lm, prompts.bank().profile("baseline"), EMOTION)
    pairs = replace(pairs, pairs=pairs.pairs[:3])
    return lm, pairs, direction_set(lm)


def units(lm, n=2):
    drawn = np.random.default_rng(1).standard_normal((n, lm.d_model))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def of(texts, arm, dose=None):
    return [t.text for t in texts if t.arm == arm and t.dose == dose]


def test_every_method_is_what_generating_by_hand_gives(made):
    lm, pairs, directions = made
    neutral, emotional = (lm.encode([getattr(p, side) for p in pairs.pairs]) for side in ("text_b", "text_a"))
    raised, lowered = (method_texts(lm, directions, pairs, way, units(lm), GREEDY) for way in WAYS)
    assert of(raised, "clean") == generate(lm, neutral, max_tokens=5)
    assert of(lowered, "clean") == generate(lm, emotional, max_tokens=5)
    point = Point("resid_post", LAYER)
    own = directions.direction(EMOTION, LAYER).unit.astype(np.float64)
    for dose in GREEDY.doses:
        length = dose * float(directions.generic.unit[LAYER + 1])
        edit = [add(point, torch.from_numpy(length * own))]
        for arm, schedule in (
            ("add", None),
            ("add, prompt only", Schedule(every=0)),
            ("iterative", Schedule(prompt=False)),
        ):
            expected = generate(lm, neutral, max_tokens=5, edits=edit, schedule=schedule)
            assert of(raised, arm, dose) == expected, (arm, dose)
        taken = generate(lm, emotional, max_tokens=5, edits=[add(point, torch.from_numpy(-length * own))])
        assert of(lowered, "add", -dose) == taken
        by_chance = [add(point, torch.from_numpy(length * unit)) for unit in units(lm)]
        expected = [text for e in by_chance for text in generate(lm, neutral, max_tokens=5, edits=[e])]
        assert of(raised, "random", dose) == expected
    mean = torch.from_numpy(directions.generic.mean[LAYER + 1])
    removed = generate(lm, emotional, max_tokens=5, edits=[ablate_direction(point, torch.from_numpy(own), mean)])
    assert of(lowered, "ablate", -1.0) == removed
    assert count_hooks(lm) == 0


def test_interchange_at_the_last_layer_gives_the_other_prompt_s_next_word(made):
    lm, pairs, directions = made
    setting = GREEDY._replace(layer=lm.n_layers - 1, max_tokens=1)
    raised, lowered = (method_texts(lm, directions, pairs, way, units(lm), setting) for way in WAYS)
    for arm in ("swap", "swap, last token"):
        assert of(raised, arm) == of(lowered, "clean") and of(lowered, arm) == of(raised, "clean")
    same = replace(pairs, pairs=tuple(replace(p, text_b=p.text_a, ids_b=p.ids_a) for p in pairs.pairs))
    alone = method_texts(lm, directions, same, "raise", units(lm), GREEDY)
    assert of(alone, "swap") == of(alone, "swap, last token") == of(alone, "clean")


def test_samples_share_random_numbers_and_all_texts_are_counted(made):
    lm, pairs, directions = made
    request = prompts.bank()[EMOTION].request
    setting = Setting(LAYER, (0.3,), max_tokens=4, n_samples=2, seed=5, request=request)
    for way in WAYS:
        done = []
        texts = method_texts(lm, directions, pairs, way, units(lm), setting, on_rows=done.append)
        assert len(texts) == done[-1] == n_texts(pairs, way, 2, setting)
        per_arm = Counter((t.arm, t.dose, t.prompt) for t in texts)
        found = {arm: {n for (a, *_), n in per_arm.items() if a == arm} for arm, *_ in per_arm}
        expected = {arm: {2} for arm in found} | {"random": {4}}  # two random directions
        assert found == {
            **expected,
            **({"random prompted": {6}} if way == "raise" else {}),
            **{arm: n for arm, n in found.items() if arm.startswith("random swap") and n <= {2, 4}},
        }
        keys = [(t.arm, t.dose, t.prompt, t.sample) for t in texts]
        assert len(set(keys)) == len(keys)
        assert all(t.perplexity and t.perplexity > 0 for t in texts if not t.empty)
        rows = [p.text_b if way == "raise" else p.text_a for p in pairs.pairs for _ in range(2)]
        expected = generate(lm, lm.encode(rows), max_tokens=4, temperature=0.8, seeds=row_seeds(5, 6))
        assert of(texts, "clean") == expected
        assert method_texts(lm, directions, pairs, way, units(lm), setting) == texts


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"doses": (0.5, 1.0)}, "between 0 and 1"),
        ({"doses": (-0.5,)}, "between 0 and 1"),
        ({"doses": ()}, "No doses"),
        ({"temperature": 0.0, "n_samples": 2}, "one sample"),
        ({"layer": 99}, "99"),
    ],
)
def test_what_is_refused(made, change, said):
    lm, pairs, directions = made
    with pytest.raises(InputError, match=said):
        method_texts(lm, directions, pairs, "raise", units(lm), GREEDY._replace(**change))


def invented(way, arms):
    """arm → share of grateful texts and perplexity, of ten prompts."""
    texts = []
    for (arm, dose), (share, perplexity) in arms.items():
        for k in range(10):
            words = "Thank you so much, dear friend" if k < 10 * share else f"The road number {k} was long"
            texts.append(
                GeneratedText(prompt=f"p{k}", text=words, arm=arm, emotion=None if arm == "clean" else "gratitude",
                              dose=dose, layer=None if arm == "clean" else 3, sample=0, perplexity=perplexity)
            )  # fmt: skip
    rows = compare_methods("m", way, texts, [make_scorer("markers", ScorerSetting(prompts.bank()))])
    return {r.method + ("" if np.isnan(r.dose) else f" {r.dose:g}"): r for r in rows}


def test_effect_chance_and_front():
    rows = invented(
        "raise",
        {
            ("clean", None): (0.1, 10.0),
            ("add", 0.2): (0.5, 11.0),
            ("add", 0.4): (0.9, 20.0),
            ("clamp", 0.2): (0.5, 14.0),  # no better than add, with more damage
            ("iterative", 0.4): (0.9, 40.0),  # collapsed
            ("swap", None): (0.1, 10.0),  # no effect
            ("random", 0.2): (0.3, 11.0),
            ("random", 0.4): (0.1, 50.0),
        },
    )
    assert {name for name, r in rows.items() if r.on_front} == {"add 0.2", "add 0.4"}
    add = rows["add 0.2"]
    assert add.effect == pytest.approx(0.4) and add.clean_score == pytest.approx(0.1)
    assert add.chance == pytest.approx(0.2) and add.ceiling == pytest.approx(0.9)
    assert add.damage == pytest.approx(1.1) and add.ci_low <= add.effect <= add.ci_high
    assert rows["iterative 0.4"].regime == "collapsed" and np.isnan(rows["swap"].chance)
    assert rows["add 0.4"].p < rows["add 0.2"].p <= 1
    assert title_of(add) == "add 0.2" and title_of(rows["swap"]) == "swap"
    assert tuple(rows_table(MethodRow, list(rows.values())).columns) == MethodRow._fields


def test_lowering_counts_a_fall_as_effect():
    rows = invented(
        "lower",
        {
            ("clean", None): (0.8, 10.0),
            ("add", -0.2): (0.3, 10.5),
            ("ablate", -1.0): (0.6, 10.1),
            ("swap", None): (0.9, 10.0),
            ("random", -0.2): (0.9, 10.5),
            ("random", -1.0): (0.8, 10.1),
        },
    )
    assert rows["add -0.2"].effect == pytest.approx(0.5) and rows["add -0.2"].chance == pytest.approx(-0.1)
    assert rows["add -0.2"].wrong_way == 0 and rows["swap"].effect == pytest.approx(-0.1)
    assert rows["add -0.2"].ceiling == pytest.approx(0.8)
    assert {name for name, r in rows.items() if r.on_front} == {"add -0.2", "ablate -1"}
    assert title_of(rows["ablate -1"]) == "ablate"


def test_slopes_follow_the_dose_and_stand_beside_chance():
    by_dose = {("clean", None): 0.0, ("add", 0.2): 0.4, ("add", 0.4): 0.8, ("random", 0.2): 0.2, ("random", 0.4): 0.1}
    texts = []
    for (arm, dose), share in by_dose.items():
        for k in range(10):
            words = "Thank you so much" if k < 10 * share else f"The road number {k} was long"
            texts.append(GeneratedText(prompt=f"p{k}", text=words, arm=arm, dose=dose,
                                       emotion=None if arm == "clean" else "gratitude"))  # fmt: skip
    markers = make_scorer("markers", ScorerSetting(prompts.bank()))
    add, random = dose_responses("raise", texts, [markers])
    assert (add.method, random.method) == ("add", "random")
    assert add.slope == pytest.approx(2.0) and add.rising == 1.0 and add.n_doses == 2 and add.n_prompts == 10
    # Least squares through (0, 0), (.2, .2), (.4, .1).
    assert random.slope == pytest.approx(0.25) == add.chance and random.rising == 0.5
    assert add.ci_low <= 2.0 <= add.ci_high and np.isnan(random.chance) and add.p < 0.05
    down = [t.model_copy(update={"dose": -t.dose if t.dose else None}) for t in texts]
    fallen = dose_responses("lower", down, [markers])
    assert [r.slope for r in fallen] == pytest.approx([-2.0, -0.25]) and fallen[0].rising == 0
