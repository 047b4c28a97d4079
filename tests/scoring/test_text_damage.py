"""Repetition, variety, fluency and regimes against values worked out by hand; perplexity against one text at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emotion_circuits.errors import InputError
from emotion_circuits.scoring import (
    continuation_perplexities,
    distinct,
    fluency,
    harmonic_score,
    regime,
    repetition,
    words_of,
    wrong_way_share,
)

UNIT = st.floats(0, 1)
WORD_TEXTS = st.lists(st.sampled_from(["a", "b", "c", "."]), max_size=30).map(" ".join)


@pytest.mark.parametrize(
    ("text", "n", "value"),
    [
        ("a b c d", 3, 0.0),
        ("a a a a", 1, 3 / 4),
        ("a a a a", 3, 1 / 2),  # aaa, aaa
        ("the cat sat, the cat ran", 2, 1 / 6),  # the-cat comes twice among six pairs
        ("Thank you. thank YOU.", 3, 1 / 4),  # "thank you ." twice among four
        ("don't don’t", 1, 0.0),
    ],
)
def test_repetition_by_hand(text, n, value):
    assert repetition(text, n) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "a b", "a b c", " \n"])
def test_what_is_too_short_to_repeat_has_no_repetition(text):
    assert math.isnan(repetition(text))


def test_distinct_by_hand():
    texts = ["a b a", "a b", ""]
    assert distinct(texts, 1) == pytest.approx(2 / 5)
    assert distinct(texts, 2) == pytest.approx(2 / 3)  # ab, ba, ab
    assert distinct(texts, 3) == 1.0
    assert math.isnan(distinct([""], 1)) and math.isnan(distinct([], 2))
    with pytest.raises(InputError, match="n-gram"):
        distinct(texts, 0)


@given(WORD_TEXTS, st.integers(1, 3))
def test_repetition_is_what_distinct_lacks(text, n):
    n_grams = len(words_of(text)) - n + 1
    if n_grams > 1:
        assert repetition(text, n) == pytest.approx(1 - distinct([text], n))
        assert 0 <= repetition(text, n) <= 1 - 1 / n_grams


@given(WORD_TEXTS)
def test_saying_a_text_again_repeats_more(text):
    if len(words_of(text)) > 3:
        assert repetition(f"{text} {text}") > repetition(text)


@given(UNIT, UNIT)
def test_the_harmonic_score_is_a_mean_that_the_smaller_pulls_down(a, b):
    score = float(harmonic_score(a, b))
    assert score == pytest.approx(float(harmonic_score(b, a)))
    assert min(a, b) - 1e-12 <= score <= (a + b) / 2 + 1e-12
    if min(a, b) == 0:
        assert score == 0.0
    else:
        assert score == pytest.approx(2 / (1 / a + 1 / b)) or min(a, b) < 1e-300


@given(UNIT, UNIT, UNIT)
def test_the_harmonic_score_rises_with_the_concept(a, more, b):
    low, high = sorted((a, more))
    assert harmonic_score(low, b) <= harmonic_score(high, b) + 1e-12


def test_harmonic_scores_go_element_by_element_and_keep_what_is_missing():
    found = harmonic_score([0.0, 1.0, np.nan, 1.0], [0.0, 0.5, 1.0, np.nan])
    np.testing.assert_allclose(found, [0, 2 / 3, np.nan, np.nan])
    for outside in (-0.1, 1.1, np.inf):
        with pytest.raises(InputError, match="0 to 1"):
            harmonic_score(outside, 0.5)


def test_fluency():
    np.testing.assert_allclose(fluency([10, 5, 20, np.nan], 10), [1, 1, 0.5, np.nan])
    np.testing.assert_allclose(fluency(10, 10, [0.3, 0.1, 0.9, np.nan], 0.1), [0.8, 1, 0.2, 1])


@given(st.floats(0.01, 1e6), st.floats(0.01, 1e6), UNIT, UNIT)
def test_fluency_is_a_share(own, clean, repeated, usual):
    assert 0 <= fluency(own, clean, repeated, usual) <= 1


@pytest.mark.parametrize(
    ("arguments", "label"),
    [
        ((1.0,), "clean-like"),
        ((1.09, 0.2, 0.1), "clean-like"),
        ((1.5, 0.1, 0.1), "steered"),
        ((0.7, 0.1, 0.1), "steered"),
        ((3.01, 0.0, 0.0), "collapsed"),
        ((float("inf"),), "collapsed"),
        ((0.3, 0.6, 0.1), "collapsed"),
        ((1.0, 0.6, 0.1), "collapsed"),
        ((0.9, 0.6, 0.5), "steered"),
        ((float("nan"), 0.1, 0.1), "unknown"),
        ((float("nan"), 0.8, 0.1), "collapsed"),
        ((float("nan"), 0.8), "collapsed"),
        ((1.0, 0.0, 0.0, 0.5), "empty"),
        ((1.0, 0.0, 0.0, 0.49), "clean-like"),
    ],
)
def test_regimes(arguments, label):
    assert regime(*arguments) == label


def test_the_share_moved_the_wrong_way():
    moved = [0.1, -0.2, 0.0, np.nan, 0.3]
    assert wrong_way_share(moved) == 1 / 4
    assert wrong_way_share(moved, -1) == 2 / 4
    assert math.isnan(wrong_way_share([np.nan]))


# Perplexity

PROMPTS = ("She opened the door and said:", "It rained.", "She opened the door and said:", "It rained.", "A")
TEXTS = (" Thank you for the soup.", "", " No.", " The bus came at nine and left again, late.", " Thank you.")


def by_hand(lm, prompt, text):
    """Each text alone through transformers; characters decide which tokens are its own."""
    [encoded] = lm.encode([prompt + text])
    with torch.no_grad():
        log_p = lm.hf(torch.tensor([encoded.ids])).logits[0].double().log_softmax(-1)
    own = [k for k, (a, _) in enumerate(encoded.offsets) if k > 0 and a >= len(prompt)]
    return math.exp(-np.mean([float(log_p[k - 1, encoded.ids[k]]) for k in own]))


def test_perplexities_equal_one_text_at_a_time(lm):
    """In every family, packed where the family allows it."""
    found = continuation_perplexities(lm, PROMPTS, TEXTS)
    for prompt, text, value in zip(PROMPTS, TEXTS, found, strict=True):
        if text:
            assert value == pytest.approx(by_hand(lm, prompt, text), rel=1e-4)
        else:
            assert math.isnan(value)


def test_neither_order_nor_batches_nor_repeats_matter(tiny_gpt2_lm):
    found = continuation_perplexities(tiny_gpt2_lm, PROMPTS, TEXTS)
    small = continuation_perplexities(tiny_gpt2_lm, PROMPTS, TEXTS, batch_tokens=1)
    np.testing.assert_allclose(small, found, rtol=1e-4)
    done = []
    twice = continuation_perplexities(tiny_gpt2_lm, PROMPTS[::-1] * 2, TEXTS[::-1] * 2, on_texts=done.append)
    np.testing.assert_allclose(twice, np.tile(found[::-1], 2), rtol=1e-4)
    assert done[-1] == 4  # repeats and the empty text are not run


def test_what_has_no_perplexity_is_nan_and_spoils_nothing(tiny_gpt2_lm):
    prompts = ["It rained.", "It rained.", "It rained."]
    found = continuation_perplexities(tiny_gpt2_lm, prompts, [" No.", " no" * 500, "\ufffd" * 400])
    assert np.isfinite(found[0]) and np.isnan(found[1:]).all()
    assert continuation_perplexities(tiny_gpt2_lm, [], []).shape == (0,)
    with pytest.raises(InputError, match="differ in number"):
        continuation_perplexities(tiny_gpt2_lm, ["a"], [])


def test_a_perplexity_that_overflows_is_nan(tiny_gpt2_lm, monkeypatch):
    from emotion_circuits.scoring import _perplexity

    run = _perplexity.logits_of
    monkeypatch.setattr(_perplexity, "logits_of", lambda lm, states: run(lm, states) * 1e6)
    assert np.isnan(continuation_perplexities(tiny_gpt2_lm, ["It rained."], [" No, thank you."])).all()
