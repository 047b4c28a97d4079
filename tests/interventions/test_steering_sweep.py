"""The sweep equals a slow loop of whole forward passes, in the units it says, and refuses what it cannot do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from steered_by_hand import continuation_mean, word_odds

from emotion_circuits import prompts
from emotion_circuits.engine import added
from emotion_circuits.errors import InputError
from emotion_circuits.interventions import (
    CONTINUATIONS,
    PERPLEXITY,
    WORD_SET,
    Layout,
    Line,
    check_doses,
    continuation_outcomes,
    pushes_along,
    relative_layers,
    slot_outcomes,
    sweep,
    sweep_cost,
)
from emotion_circuits.prompts import bank
from emotion_circuits.report import sweep_pictures
from emotion_circuits.scoring import continuation_task, slot_task
from tiny_models import direction_set

CLASSES = bank().names
EMOTIONS = bank().emotions

CONTEXTS = tuple(
    c for slot in prompts.SLOTS for c in [x for x in prompts.contexts("development") if x.slot == slot][:2]
)
OPENINGS = tuple(c for c in CONTEXTS if c.slot == "opening")
SAID = tuple(next(c for c in prompts.bank().continuations("development") if c.emotion == e) for e in CLASSES)
DOSES, LAYERS = (-0.4, 0.7), (1, 5)


@pytest.fixture(scope="module", params=["gpt2", "gpt-neox", "gpt-neo"])
def lm(request, reference):
    return reference(request.param)


@pytest.fixture(scope="module")
def material(lm):
    return slot_task(lm, CONTEXTS, prompts.bank().word_sets()), continuation_task(lm, OPENINGS, SAID)


@pytest.fixture(scope="module")
def small(reference):
    """One model and its material, where all models take the same path."""
    model = reference("gpt2")
    return model, slot_task(model, CONTEXTS, prompts.bank().word_sets()), continuation_task(model, OPENINGS, SAID)


@pytest.mark.parametrize("alpha", [False, True])
def test_a_sweep_equals_a_slow_loop(lm, material, alpha):
    """Layer, dose, emotion and context one at a time; doses are in the layer's unit, or raw vectors for alpha."""
    slots, said = material
    directions = direction_set(lm)
    emotions = ("apology", "gratitude")
    found = sweep(lm, directions, slots, said, layers=LAYERS, doses=DOSES, emotions=emotions, alpha=alpha)
    assert found.layout == Layout(LAYERS, DOSES, emotions)
    assert found.log_odds.shape == (2, 2, 2, 4, 4) and found.continuations.shape == (2, 2, 2, 2, 4)
    clean = [word_odds(lm, c, s, 0, None) for c, s in zip(CONTEXTS, slots.slots, strict=True)]
    clean_said = [[continuation_mean(lm, c, s, 0, None) for s in SAID] for c in OPENINGS]
    for (i, layer), (j, emotion), (k, dose) in [
        (a, b, c) for a in enumerate(LAYERS) for b in enumerate(emotions) for c in enumerate(DOSES)
    ]:
        raw = directions.vectors["specific"][emotion][layer + 1].astype(float)
        size = np.linalg.norm(raw) if alpha else directions.generic.unit[layer + 1]
        vector = dose * size * raw / np.linalg.norm(raw)
        if (i, j) in ((0, 1), (1, 0)):  # a slow loop: two cells of each model are enough
            for n, (context, slot) in enumerate(zip(CONTEXTS, slots.slots, strict=True)):
                change = word_odds(lm, context, slot, layer, vector) - clean[n]
                np.testing.assert_allclose(found.log_odds[i, j, k, n], change, atol=3e-4)
            for n, context in enumerate(OPENINGS):
                change = [continuation_mean(lm, context, s, layer, vector) for s in SAID]
                np.testing.assert_allclose(found.continuations[i, j, k, n], np.array(change) - clean_said[n], atol=3e-4)


@pytest.mark.parametrize(("action", "unit"), [("add", "dose in norms"), ("clamp", "clamped in norms to")])
def test_rows_of_directions_from_before_name_their_unit(small, action, unit):
    """Else .4 of a norm and .4 of a spread were one dose in tables and pictures."""
    lm, slots, said = small
    new = direction_set(lm)
    old = replace(new, generic=replace(new.generic, spread=None))
    for directions, expected in ((old, unit), (new, unit.replace(" in norms", ""))):
        found = sweep(lm, directions, slots, said, layers=(1,), doses=(0.4,), emotions=("anger",), action=action)
        assert found.unit == expected
        rows = found.measures()
        assert {row.kind for row in rows} == {f"specific, {expected} 0.4"}
        [picture] = sweep_pictures(rows, "own", "title", bank())
        said_of = "in spreads of generic text" if directions is new else "in median norms of generic text"
        assert said_of in str(picture)
        table = found.table()  # as a notebook shows it
        assert len(table.rows) == 1 and table.columns.count("chance") == 3
        assert "&lt;" not in found._repr_html_() and f"{expected} 0.4" in found._repr_html_()


def test_directions_show_their_layers_and_what_generic_texts_score(small):
    lm, *_ = small
    found = direction_set(lm)
    ordinary = {"specific": {e: np.tile(np.linspace(0, 1, 101), (lm.n_layers + 1, 1)) for e in found.emotions}}
    chosen = replace(found.with_layers(dict.fromkeys(found.emotions, 1)), ordinary=ordinary)
    assert [row[:1] for row in found.table().rows] == [(e,) for e in found.emotions]  # nothing was chosen yet
    assert chosen.table().rows[0] == (found.emotions[0], "1", "0.95")
    assert "read best by: specific at 1" in chosen.table().notes[0]
    assert str(lm.name) in chosen[found.emotions[0]]._repr_html_()


def test_batches_and_the_order_of_doses_layers_and_emotions_do_not_matter(small):
    lm, slots, said = small
    directions = direction_set(lm)
    here = sweep(lm, directions, slots, said, layers=(1, 5), doses=(-0.4, 0.0, 0.7))
    there = sweep(
        lm, directions, slots, said, layers=(5, 1), doses=(0.7, -0.4), emotions=EMOTIONS[::-1], batch_tokens=1
    )
    assert here.layout.emotions == directions.emotions
    order = [there.layout.emotions.index(e) for e in here.layout.emotions]
    np.testing.assert_allclose(there.log_odds[::-1][:, order][:, :, ::-1], here.log_odds, atol=5e-5)
    np.testing.assert_allclose(there.continuations[::-1][:, order][:, :, ::-1], here.continuations, atol=5e-5)


def test_alpha_is_a_dose_of_the_vector_s_own_length(small):
    lm, slots, _ = small
    directions = direction_set(lm)
    [emotion, layer] = ["anger", 3]
    length = directions.direction(emotion, layer).norm
    scale = float(directions.generic.unit[layer + 1])
    by_alpha = sweep(lm, directions, slots, None, layers=[layer], doses=[0.5], emotions=[emotion], alpha=True)
    by_dose = sweep(lm, directions, slots, None, layers=[layer], doses=[0.5 * length / scale], emotions=[emotion])
    np.testing.assert_allclose(by_alpha.log_odds, by_dose.log_odds, atol=2e-5)
    longer = {"specific": {e: 2 * v for e, v in directions.vectors["specific"].items()}}
    twice = replace(directions, vectors=longer)
    same = sweep(lm, twice, slots, None, layers=[layer], doses=[0.5], emotions=[emotion])
    np.testing.assert_allclose(
        same.log_odds,
        sweep(lm, directions, slots, None, layers=[layer], doses=[0.5], emotions=[emotion]).log_odds,
        atol=2e-5,
    )
    half = sweep(lm, twice, slots, None, layers=[layer], doses=[0.25], emotions=[emotion], alpha=True)
    np.testing.assert_allclose(half.log_odds, by_alpha.log_odds, atol=2e-5)


def test_measures_hold_every_cell_beside_its_chance(small):
    lm, slots, said = small
    found = sweep(lm, direction_set(lm), slots, said, layers=LAYERS, doses=DOSES)
    rows = {(r.statistic, r.layer, r.emotion, r.kind): r for r in found.measures()}
    assert len(rows) == 3 * 2 * 3 * 2
    neutral = [c.emotion == "neutral" for c in SAID]
    for (i, layer), (j, emotion), (k, dose) in [
        (a, b, c) for a in enumerate(LAYERS) for b in enumerate(found.layout.emotions) for c in enumerate(DOSES)
    ]:
        own = found.log_odds[i, j, k, :, CLASSES.index(emotion)].mean()
        mine = [c.emotion == emotion for c in SAID]
        likelihood = found.continuations[i, j, k]
        expected = {
            WORD_SET: (own, 0.0, 4),
            CONTINUATIONS: (likelihood[:, mine].mean() - likelihood[:, neutral].mean(), 0.0, 2),
            PERPLEXITY: (np.exp(-likelihood[:, neutral].mean()), 1.0, 2),
        }
        for statistic, (value, chance, n) in expected.items():
            [row] = [
                r for key, r in rows.items() if key[:3] == (statistic, layer, emotion) and f"dose {dose:g}" in r.kind
            ]
            assert row.value == pytest.approx(value) and row.chance == chance and row.n_unique == n
            assert row.ci_low <= row.value <= row.ci_high and np.isfinite([row.ci_low, row.ci_high]).all()


def test_without_continuations_there_are_no_rows_about_them(small):
    lm, slots, _ = small
    found = sweep(lm, direction_set(lm), slots, None, layers=[2], doses=[0.3])
    assert np.isnan(found.perplexity_ratios()).all()
    assert {r.statistic for r in found.measures()} == {WORD_SET}
    assert all(np.isfinite(r.value) for r in found.measures())


def test_a_dose_that_overflows_is_a_marked_cell_and_spoils_no_other(small):
    lm, slots, said = small
    found = sweep(lm, direction_set(lm), slots, said, layers=[2], doses=[0.3, 1e30])
    alone = sweep(lm, direction_set(lm), slots, said, layers=[2], doses=[0.3])
    assert found.collapsed().tolist() == [[[False, True]] * 3]
    rows = found.measures()
    broken = [r for r in rows if r.kind.endswith("dose 1e+30")]
    assert len(broken) == 9 and np.isnan([(r.value, r.ci_low, r.ci_high, r.p) for r in broken]).all()
    np.testing.assert_allclose(
        [(r.value, r.ci_low, r.ci_high) for r in rows if r not in broken],
        [(r.value, r.ci_low, r.ci_high) for r in alone.measures()],
        atol=1e-4,
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"doses": []}, "No doses"),
        ({"doses": [0]}, "Only dose 0"),
        ({"doses": [0.0, -0.0]}, "Only dose 0"),
        ({"doses": [0.1, float("nan")]}, "not a finite number"),
        ({"doses": [float("inf")]}, "not a finite number"),
        ({"layers": []}, "No layers"),
        ({"layers": [8]}, "no layer 8"),
        ({"layers": [-1]}, "no layer -1"),
        ({"emotions": ["joy"]}, "joy"),
        ({"kind": "median"}, "median"),
    ],
)
def test_what_cannot_be_swept(small, changes, said):
    lm, slots, _ = small
    options = {"layers": [1], "doses": [0.1], **changes}
    with pytest.raises(InputError, match=said):
        sweep(lm, direction_set(lm), slots, None, **options)


def test_directions_of_another_model_are_refused(small, reference):
    lm, slots, _ = small
    with pytest.raises(InputError, match="another model"):
        sweep(lm, direction_set(reference("gpt2-twin")), slots, None, layers=[1], doses=[0.1])


def test_outcomes_fill_every_cell_and_count_every_variant(small):
    lm, slots, said = small
    deltas = [added(1, torch.randn(5, lm.d_model)), added(6, torch.zeros(2, lm.d_model))]
    counted = []
    for task, outcomes, shape in ((slots, slot_outcomes, (4, 4)), (said, continuation_outcomes, (2, 4))):
        counted.clear()
        found = outcomes(lm, task, deltas, on_variants=counted.append)
        assert [a.shape for a in found] == [(5, *shape), (2, *shape)]
        assert all(np.isfinite(a).all() for a in found)
        assert sum(counted) == 7 * len(task.batches)
        np.testing.assert_allclose(found[1][0], found[1][1], atol=1e-5)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=5), st.integers(1, 4), st.floats(0.1, 50))
def test_doses_run_fastest(doses, n, scale):
    units = np.random.default_rng(n).standard_normal((n, 6))
    found = pushes_along({2: Line(units, scale, np.zeros(6))}, doses)[2]
    assert len(found) == n * len(doses)
    for i in range(n):
        for k, dose in enumerate(doses):
            np.testing.assert_allclose(found.vector[i * len(doses) + k], dose * scale * units[i], atol=1e-12)


def test_doses_are_checked_and_kept_in_order():
    assert check_doses([1, -0.5, 0]) == (1.0, -0.5, 0.0)
    for wrong in ([], [np.nan], [0.1, np.inf], [-np.inf]):
        with pytest.raises(InputError):
            check_doses(wrong)


@given(st.integers(1, 100), st.integers(1, 12))
def test_relative_layers_are_inside_the_model_and_even(n_layers, n):
    found = relative_layers(n_layers, n)
    assert list(found) == sorted({k * n_layers // (n + 1) for k in range(1, n + 1)})
    assert found[0] >= 0 and found[-1] < n_layers


def test_the_cost_is_what_a_sweep_sends_through_blocks(small):
    """Tokens × blocks, counted by hooks on the blocks' attention, over the number of blocks."""
    lm, slots, said = small
    layout = Layout((1, 5), (-0.4, 0.4, 0.7), EMOTIONS)
    sent = []
    handles = [
        lm.attention(k).register_forward_pre_hook(
            lambda _m, a, kw: sent.append((a[0] if a else kw["hidden_states"]).shape[:2].numel()), with_kwargs=True
        )
        for k in range(lm.n_layers)
    ]
    sweep(lm, direction_set(lm), slots, said, layers=layout.layers, doses=layout.doses)
    for handle in handles:
        handle.remove()
    assert sweep_cost(lm, slots, said, layout) == pytest.approx(sum(sent) / lm.n_layers, rel=0.1)
