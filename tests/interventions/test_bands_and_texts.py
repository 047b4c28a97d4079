"""Control bands of a sweep, material, and texts side by side."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emotion_circuits import interventions as iv
from emotion_circuits import prompts
from emotion_circuits.directions import DirectionSet, GenericStatistics, source_of
from emotion_circuits.engine import load_verified
from emotion_circuits.errors import InputError
from emotion_circuits.interventions._bands import Bands
from emotion_circuits.scoring import slot_task

EMOTIONS = prompts.bank().emotions


@pytest.fixture(scope="module")
def lm():
    return load_verified("reference/gpt2")


@pytest.fixture(scope="module")
def slots(lm):
    return slot_task(lm, iv.balanced_contexts(prompts.contexts("development"), 4), prompts.bank().word_sets())


def direction_set(lm, vectors):
    """emotion → (d,) the same at every layer, with residual norms 1, 2, 3 …"""
    rows = lm.n_layers + 1
    generic = GenericStatistics(
        np.zeros((rows, lm.d_model), np.float32), np.arange(1, rows + 1, dtype=np.float32), (), (), 8
    )
    stacked = {e: np.tile(v, (rows, 1)).astype(np.float32) for e, v in vectors.items()}
    return DirectionSet(
        source_of(lm), "mean", "hash", {"specific": stacked}, generic, dict.fromkeys(vectors, lm.n_layers - 1), 0.0
    )


@pytest.mark.parametrize("alpha", [False, True])
def test_a_control_does_what_a_sweep_along_it_does(lm, slots, alpha):
    """The null and the value come from the same code path."""
    rng = np.random.default_rng(3)
    own = direction_set(lm, {e: (k + 1) * rng.standard_normal(lm.d_model) for k, e in enumerate(EMOTIONS)})
    layout = iv.Layout((5, 7), (-0.5, 0.5), EMOTIONS)
    bands = iv.control_bands(lm, iv.Controls(own), slots, layout, 3, alpha=alpha, seed=1)
    assert bands.changes.shape == (2, 3, 2, 3)
    units = iv.isotropic_directions(3, lm.d_model, centred=own.source.centred_norm, seed=1)
    for k, unit in enumerate(units):
        lengths = {e: own.direction(e, 0).norm if alpha else 1.0 for e in EMOTIONS}
        as_set = direction_set(lm, {e: unit * lengths[e] for e in EMOTIONS})
        result = iv.sweep(lm, as_set, slots, None, layers=(5, 7), doses=(-0.5, 0.5), emotions=EMOTIONS, alpha=alpha)
        np.testing.assert_allclose(bands.changes[..., k], result.own_log_odds().mean(axis=-1), atol=2e-5)


TENTHS = st.integers(-50, 50).map(lambda k: k / 10)


@given(st.lists(TENTHS, min_size=3, max_size=30), TENTHS, st.sampled_from([-0.2, 0.2]))
def test_p_counts_the_controls_that_reach_the_value_on_its_side(controls, value, dose):
    layout = iv.Layout((0,), (dose,), ("anger",))
    result = iv.SweepResult("m", "mean", "specific", layout, np.zeros(0), np.zeros(0), (), ())
    row = result._measure("anger", 0, dose, iv.WORD_SET, value, (value, value), 0.0, np.zeros(4))
    other = row._replace(statistic=iv.PERPLEXITY)
    [found, same] = iv.with_bands(result, Bands("isotropic", np.array(controls).reshape(1, 1, 1, -1)), [row, other])
    reached = sum(c >= value - 1e-9 if dose > 0 else c <= value + 1e-9 for c in controls)
    assert found.p == pytest.approx((reached + 1) / (len(controls) + 1))
    assert found.chance == pytest.approx(np.mean(controls), abs=1e-12)
    assert found.null_low <= found.null_high
    assert same is other


@pytest.mark.parametrize(("value", "controls"), [(np.nan, [0.0, 1.0]), (1.0, [0.0, np.nan]), (np.nan, [np.nan] * 2)])
def test_what_overflows_has_no_p(value, controls):
    layout = iv.Layout((0,), (0.2,), ("anger",))
    result = iv.SweepResult("m", "mean", "specific", layout, np.zeros(0), np.zeros(0), (), ())
    row = result._measure("anger", 0, 0.2, iv.WORD_SET, value, (value, value), 0.0, np.zeros(4))
    [found] = iv.with_bands(result, Bands("isotropic", np.array(controls).reshape(1, 1, 1, -1)), [row])
    assert np.isnan(found.p)
    assert np.isfinite([found.chance, found.null_low, found.null_high]).all() == np.isfinite(controls).all()


@pytest.mark.parametrize(
    ("text", "slot"),
    [
        ("She was", "adjective"),
        ("They FELT \n", "adjective"),
        ('He said: "I am', "adjective"),
        ('He said: "', "opening"),
        ("It rained.", "opening"),
        ("The swami", "opening"),
        ("Obese", "opening"),
    ],
)
def test_own_prompts_become_contexts_by_how_they_end(text, slot):
    [context, _] = iv.contexts_of([text, text, " ", "other"])
    assert (context.text, context.slot) == (text.rstrip(), slot)


def test_one_prompt_is_too_few():
    with pytest.raises(InputError, match="several"):
        iv.contexts_of(["The train was", "The train was "])


def test_the_bundled_material_has_both_slots_and_no_test_context(lm):
    material = iv.sweep_material(lm, prompts.bank())
    used = [*material.slots.contexts, *material.continuations.contexts]
    assert {c.split for c in used} == {"development"}
    assert {c.slot for c in material.slots.contexts} == set(prompts.SLOTS)
    assert {c.emotion for c in material.continuations.continuations} == set(prompts.bank().names)
    assert material.batches == len(material.slots.batches) + len(material.continuations.batches)
    own = iv.sweep_material(lm, prompts.bank(), ["The train was", "The hall was", "It rained."])
    assert [c.text for c in own.slots.contexts] == ["The train was", "The hall was", "It rained."]


@pytest.fixture(scope="module")
def anger(lm):
    return direction_set(lm, {"anger": np.random.default_rng(0).standard_normal(lm.d_model)})


def test_perplexity_is_that_of_the_clean_model(lm, anger):
    prompt = "She opened the letter and said:"
    [row] = iv.side_by_side(lm, anger, "anger", [prompt], dose=0.3, layer=3, max_tokens=6)
    for part in (row.clean, row.steered, row.random):
        ids = lm.encode([prompt + part.text])[0].ids
        start = len(lm.encode([prompt])[0].ids)
        with torch.inference_mode():
            log_p = lm.hf(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        values = [float(log_p[k - 1, ids[k]]) for k in range(start, len(ids))]
        assert part.perplexity == pytest.approx(np.exp(-np.mean(values)), rel=1e-4)


def test_samples_of_neighbouring_seeds_are_not_the_same_texts(lm, anger):
    def clean(seed):
        options = {"dose": 0, "max_tokens": 6, "temperature": 1.5, "n_samples": 3, "seed": seed}
        return {row.clean.text for row in iv.side_by_side(lm, anger, "anger", ["She saw the"], **options)}

    assert not clean(1) & clean(2)


@pytest.mark.parametrize("layer", [-1, 0, 7])
def test_the_steered_text_is_that_of_the_edited_forward_pass(lm, anger, layer):
    """An independent greedy loop: one token after the other, with a plain PyTorch hook."""
    prompt, dose, n = "He closed the door and", 0.8, 5
    [row] = iv.side_by_side(lm, anger, "anger", [prompt], dose=dose, layer=layer, max_tokens=n)
    vector = torch.from_numpy(dose * (layer + 2) * anger.direction("anger", layer).unit).float()

    def add(module, args, output):
        tensor = output[0] if isinstance(output, tuple) else output
        tensor[:, 1:] += vector

    module = lm.hf.transformer.drop if layer < 0 else lm.blocks[layer]
    handle = module.register_forward_hook(add)
    ids = list(lm.encode([prompt])[0].ids)
    start = len(ids)
    try:
        with torch.inference_mode():
            for _ in range(n):
                ids.append(int(lm.hf(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
                if ids[-1] == lm.tokenizer.eos_token_id:
                    break
    finally:
        handle.remove()
    assert row.steered.text == lm.tokenizer.decode(ids[start:], skip_special_tokens=True)


def test_rows_are_the_same_however_many_there_are(lm, anger):
    options = {"dose": 0.2, "max_tokens": 4, "temperature": 1.0, "seed": 5}
    together = iv.side_by_side(lm, anger, "anger", ["One day", "The old man walked to the"], n_samples=2, **options)
    alone = iv.side_by_side(lm, anger, "anger", ["One day"], n_samples=2, **options)
    assert [(r.prompt, r.sample) for r in together[:2]] == [("One day", 0), ("One day", 1)]
    assert [r.steered.text for r in together[:2]] == [r.steered.text for r in alone]


def test_what_cannot_be_written(lm, anger):
    for arguments, said in (
        ({"prompts": [], "dose": 0.1}, "no prompts"),
        ({"prompts": ["a b"], "dose": np.nan}, "finite"),
        ({"prompts": ["a b"], "dose": 0.1, "n_samples": 2}, "temperature"),
        ({"prompts": ["a b"], "dose": 0.1, "layer": 8}, "no layer 8"),
    ):
        with pytest.raises(InputError, match=said):
            iv.side_by_side(lm, anger, "anger", **arguments)
