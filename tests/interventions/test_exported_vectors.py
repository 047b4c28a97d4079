"""A control vector file added block by block, as llama.cpp and repeng add it, is our own steering."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emotion_circuits.directions import export_gguf, load_gguf_control_vector
from emotion_circuits.engine import final_states, plan_batches
from emotion_circuits.interventions import steering_edit
from tiny_models import TEXTS, direction_set, ids_of

DOSE = 0.4


def by_hand(lm, ids, vectors, first_token):
    """One text's hidden states after the final norm, with each vector added to its block's output by a plain hook."""

    def adder(vector):
        def add(_module, _inputs, output):
            tensor = output[0] if isinstance(output, tuple) else output
            tensor[:, first_token:] += torch.from_numpy(vector)

        return add

    handles = [lm.blocks[layer].register_forward_hook(adder(vector)) for layer, vector in vectors.items()]
    try:
        with torch.no_grad():
            return lm.base(torch.tensor([ids]), use_cache=False)[0][0].numpy()
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("layers", [None, [1], [0, 2]])
def test_a_file_added_block_by_block_is_our_steering(lm, tmp_path, layers):
    directions = direction_set(lm)
    path = tmp_path / "v.gguf"
    export_gguf(directions, "gratitude", path, dose=DOSE, layers=layers)
    vectors = load_gguf_control_vector(path).directions
    band = [layer for layer in layers or range(lm.n_layers) if layer > 0]
    assert list(vectors) == band
    edits = [
        steering_edit(layer, DOSE * directions.generic.unit[layer + 1] * directions.direction("gratitude", layer).unit)
        for layer in band
    ]
    for ids in ids_of(lm):
        [batch] = plan_batches([ids], packed=False)
        steered = final_states(lm, batch, edits)[0].numpy()
        clean = final_states(lm, batch)[0].numpy()
        np.testing.assert_allclose(by_hand(lm, ids, vectors, 1), steered, atol=2e-4)
        if len(ids) > 1:
            assert np.abs(steered - clean).max() > 0.05


def test_the_first_token_is_the_one_difference(lm, tmp_path):
    """llama.cpp adds there too. What the first token of a text alone becomes, we never change."""
    path = tmp_path / "v.gguf"
    directions = direction_set(lm)
    export_gguf(directions, "anger", path, dose=DOSE, layers=[lm.n_layers - 1])
    vectors = load_gguf_control_vector(path).directions
    ids = ids_of(lm, TEXTS[:1])[0]
    everywhere, ours = by_hand(lm, ids, vectors, 0), by_hand(lm, ids, vectors, 1)
    np.testing.assert_allclose(everywhere[1:], ours[1:], atol=1e-5)
    assert np.abs(everywhere[0] - ours[0]).max() > 0.05
