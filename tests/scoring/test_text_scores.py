"""Scores of plain texts: value, sign, units, and directions that do not belong to the model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from emotion_circuits.directions import DirectionSet, GenericStatistics, check_position, source_of, token_positions
from emotion_circuits.errors import InputError
from emotion_circuits.prompts import Text, bank
from emotion_circuits.scoring import score_texts

EMOTIONS = bank().emotions

TEXTS = ("Thank you so much for the soup.", "Rain.", "Why would you do that to me?", "The bus left at nine o'clock.")


def states_of(lm, text, position="mean"):
    """(layers + 1, d): one text alone through transformers, the last layer before the final norm."""
    encoded = lm.encode([text])[0]
    seen = []
    handle = lm.final_norm.register_forward_pre_hook(lambda _m, a: seen.append(a[0]))
    with torch.no_grad():
        states = lm.base(torch.tensor([encoded.ids]), output_hidden_states=True).hidden_states[:-1]
    handle.remove()
    places = token_positions([Text(text, "neutral", "s", "test")], [encoded]).indices[check_position(position)][0]
    return np.stack([s[0, places].double().mean(dim=0).numpy() for s in (*states, seen[-1])])


def directions_of(lm, position="mean", chosen=None, seed=0):
    rng = np.random.default_rng(seed)
    rows = lm.n_layers + 1
    generic = GenericStatistics(
        rng.standard_normal((rows, lm.d_model)).astype(np.float32),
        np.arange(1, rows + 1, dtype=np.float32),
        (),
        (),
        9,
    )
    vectors = {
        kind: {e: rng.standard_normal((rows, lm.d_model)).astype(np.float32) for e in EMOTIONS}
        for kind in ("matched", "specific")
    }
    return DirectionSet(source_of(lm), position, "hash", vectors, generic, chosen or {}, 0.5)


@pytest.mark.parametrize("position", ["mean", "sentence_end", "last_content"])
@pytest.mark.parametrize("kind", ["specific", "matched"])
def test_scores_are_projections_above_generic_text_in_units_of_its_norm(reference, position, kind):
    lm = reference("gpt2")
    chosen = dict(zip(EMOTIONS, (0, 3, lm.n_layers - 1), strict=True))
    directions = directions_of(lm, position, chosen)
    for layer in (None, -1, 2):
        found = score_texts(lm, directions, TEXTS, layer=layer, kind=kind)
        for text, score in zip(TEXTS, found, strict=True):
            states = states_of(lm, text, position)
            assert score.position == position
            assert score.layers == (chosen if layer is None else dict.fromkeys(EMOTIONS, layer))
            for emotion in EMOTIONS:
                row = score.layers[emotion] + 1
                v = directions.vectors[kind][emotion][row].astype(float)
                h = states[row] - directions.generic.mean[row]
                expected = h @ v / np.linalg.norm(v) / directions.generic.unit[row]
                assert score.scores[emotion] == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_higher_is_more(reference):
    """A direction that points from one text to another scores the second higher, and its opposite lower."""
    lm = reference("gpt-neox")
    low, high = states_of(lm, TEXTS[3]), states_of(lm, TEXTS[0])
    directions = directions_of(lm)
    pointing = (high - low).astype(np.float32)
    directions = replace(directions, vectors={"specific": {"gratitude": pointing, "anger": -pointing}})
    for layer in range(lm.n_layers):
        a, b = score_texts(lm, directions, [TEXTS[3], TEXTS[0]], layer=layer)
        assert b.scores["gratitude"] > a.scores["gratitude"] and b.scores["anger"] < a.scores["anger"]
        difference = (b.scores["gratitude"] - a.scores["gratitude"]) * float(directions.generic.unit[layer + 1])
        assert difference == pytest.approx(np.linalg.norm(pointing[layer + 1]), rel=1e-3)


def test_length_of_a_direction_and_company_of_a_text_do_not_matter(reference):
    lm = reference("gpt2")
    directions = directions_of(lm)
    longer = {"specific": {e: 7 * v for e, v in directions.vectors["specific"].items()}}
    here = score_texts(lm, directions, TEXTS, layer=1)
    there = score_texts(lm, replace(directions, vectors=longer), TEXTS, layer=1)
    alone = [score_texts(lm, directions, [text], layer=1)[0] for text in TEXTS]
    for a, b, c in zip(here, there, alone, strict=True):
        for emotion in EMOTIONS:
            assert b.scores[emotion] == pytest.approx(a.scores[emotion], abs=1e-6)
            assert c.scores[emotion] == pytest.approx(a.scores[emotion], abs=1e-5)


def test_directions_of_something_else_are_refused(reference):
    lm, other = reference("gpt2"), reference("gpt2-twin")
    directions = directions_of(lm)
    with pytest.raises(InputError, match="another model"):
        score_texts(other, directions, TEXTS, layer=1)
    with pytest.raises(InputError, match="BOS"):
        score_texts(replace(lm, bos=False), directions, TEXTS, layer=1)


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({"position": "emotion_token"}, {"layer": 1}, "Plain texts have no emotion_token"),
        ({"position": "emotion-token"}, {"layer": 1}, "Plain texts have no emotion_token"),
        ({}, {"layer": 99}, "no layer 99"),
        ({}, {"layer": None}, "No layer was chosen"),
        ({}, {"layer": 1, "kind": "probe"}, "No directions of kind 'probe'"),
    ],
)
def test_what_cannot_be_scored(reference, changes, options, said):
    lm = reference("gpt2")
    with pytest.raises(InputError, match=said):
        score_texts(lm, replace(directions_of(lm), **changes), TEXTS, **options)


def test_empty_texts_and_no_texts(reference):
    lm = reference("gpt2")
    with pytest.raises(InputError, match="A text has no tokens"):
        score_texts(
            replace(lm, bos=False),
            replace(directions_of(lm), source=source_of(replace(lm, bos=False))),
            ["a b", ""],
            layer=1,
        )
    assert score_texts(lm, directions_of(lm), [], layer=1) == []


def test_a_text_of_punctuation_is_undefined_among_others_and_alone(reference):
    """The mean is over content tokens; in a file of many texts it must not matter where a chunk ends."""
    lm = reference("gpt2")
    directions = directions_of(lm)
    [_, among] = score_texts(lm, directions, [TEXTS[0], "... !"], layer=1)
    [alone] = score_texts(lm, directions, ["... !"], layer=1)
    assert set(among.scores) == set(alone.scores) == set(EMOTIONS)
    assert np.isnan(list(among.scores.values())).all() and np.isnan(list(alone.scores.values())).all()
    [read] = score_texts(lm, replace(directions, position="sentence_end"), ["... !"], layer=1)
    assert np.isfinite(list(read.scores.values())).all()
