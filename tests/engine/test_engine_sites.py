"""What is recorded is what the model computes: against the weights alone, and against transformers' own capture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from computed_by_hand import sites_by_hand

from emotion_circuits.engine import (
    SITES,
    Point,
    check_point,
    load_verified,
    matmul_precision,
    plan_batches,
    record,
    record_tokens,
)
from emotion_circuits.engine._sites import width
from emotion_circuits.errors import InputError
from emotion_circuits.models import families, forget_family, register_family
from tiny_models import TEXTS, WINDOW, Variant, ids_of, save_tiny

REFERENCES = ("gpt2", "gpt-neox", "gpt-neo")


def points_of(lm):
    """Every point the model has."""
    return [
        Point(site, layer)
        for layer in range(lm.n_layers)
        for site in SITES
        if (site != "embed" or layer == 0) and (site != "resid_mid" or not lm.parallel)
    ]


def assert_as_by_hand(lm, ids, seen):
    expected = sites_by_hand(lm, ids)
    assert set(seen) == {key for key in expected if key[0] in SITES}
    for point, values in seen.items():
        by_hand = expected[point]
        assert values.shape == by_hand.shape == (len(ids), width(lm, point.site))
        scale = np.abs(by_hand).max()
        assert np.abs(values.double().numpy() - by_hand).max() <= 1e-5 * scale, point


def test_every_site_is_what_the_weights_say(lm):
    [ids] = ids_of(lm, TEXTS[2:3])
    assert len(ids) > 2 * WINDOW  # longer than the window of local layers
    [batch] = plan_batches([ids], packed=False)
    seen = {point: values[0] for point, values in record_tokens(lm, batch, points_of(lm)).items()}
    assert_as_by_hand(lm, ids, seen)


def test_every_site_of_a_packed_row_is_what_the_weights_say(lm):
    """All texts in one row: each must come out as if it were alone."""
    all_ids = ids_of(lm)
    positions = {str(k): [[k] if k < len(ids) else [] for ids in all_ids] for k in range(max(map(len, all_ids)))}
    recording = record(lm, all_ids, positions, points_of(lm), packed=True)
    for text, ids in enumerate(all_ids):
        seen = {
            point: torch.stack([recording.at(str(k), point)[text] for k in range(len(ids))])
            for point in recording.values
        }
        assert_as_by_hand(lm, ids, seen)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("gemma3", {"num_key_value_heads": 1, "query_pre_attn_scalar": 24}),
        ("gemma2", {"attn_logit_softcapping": 0.5, "final_logit_softcapping": 3.0}),
    ],
)
def test_one_key_for_all_heads_and_capped_scores(name, settings, tmp_path):
    """transformers caps Gemma 2's scores; Gemma 3's configuration has the field, but its attention leaves it out."""
    gemma3 = next(family for family in families() if family.name == "gemma3")
    gemma2 = replace(gemma3, name="gemma2", model_types=("gemma2",), gguf=None, attention_implementation="eager")
    kind = {"gemma3": gemma3, "gemma2": register_family(gemma2)}[name].model_types[0]
    try:
        lm = load_verified(str(save_tiny(Variant(kind, kind, {"head_dim": 16, **settings}), tmp_path)), bos=False)
    finally:
        forget_family("gemma2")
    [ids] = ids_of(lm, TEXTS[2:3])
    [batch] = plan_batches([ids], packed=False)
    seen = {point: values[0] for point, values in record_tokens(lm, batch, points_of(lm)).items()}
    assert_as_by_hand(lm, ids, seen)
    logits = lm.hf(torch.tensor([ids])).logits[0].double().detach().numpy()
    assert logits == pytest.approx(sites_by_hand(lm, ids)["logits", 0], abs=1e-4)


@pytest.mark.parametrize("name", REFERENCES)
def test_trained_weights_too(reference, name):
    lm = reference(name)
    [ids] = ids_of(lm, ("She thanked him twice, and he was sorry that he had shouted at all.",))
    [batch] = plan_batches([ids], packed=False)
    seen = {point: values[0] for point, values in record_tokens(lm, batch, points_of(lm)).items()}
    assert_as_by_hand(lm, ids, seen)


@pytest.mark.parametrize("packed", [True, False])
def test_the_residual_stream_equals_transformers_own_hidden_states_bit_for_bit(lm, packed):
    """The same batch must give the same bits; the last hidden state is after the final norm, and is left out."""
    points = [Point("embed", 0), *(Point("resid_post", layer) for layer in range(lm.n_layers - 1))]
    for batch in plan_batches(ids_of(lm), packed=packed):
        with torch.no_grad(), matmul_precision(lm):  # the setting is part of the arithmetic
            theirs = lm.base(**batch.inputs(lm), output_hidden_states=True, use_cache=False).hidden_states
        ours = record_tokens(lm, batch, points)
        for k, point in enumerate(points):
            assert torch.equal(ours[point], theirs[k]), point
        before = record_tokens(lm, batch, [Point("resid_pre", layer) for layer in range(lm.n_layers)])
        assert all(torch.equal(before["resid_pre", layer], theirs[layer]) for layer in range(lm.n_layers))


@pytest.mark.parametrize(
    ("point", "said"),
    [
        (Point("resid_post", 3), "no layer 3"),
        (Point("resid_post", -1), "no layer -1"),
        (Point("embed", 1), "before block 0"),
        (Point("attention", 0), "Unknown site"),
    ],
)
def test_points_that_no_model_has(lm, point, said):
    with pytest.raises(InputError, match=said):
        check_point(lm, point)
    with pytest.raises(InputError, match=said):
        record(lm, [(1, 2)], {"last": [[1]]}, [point])


def test_a_parallel_block_has_no_middle(lm):
    if lm.parallel:
        with pytest.raises(InputError, match="no 'resid_mid'"):
            record(lm, [(1, 2)], {"last": [[1]]}, [Point("resid_mid", 0)])
    else:
        check_point(lm, Point("resid_mid", 0))
