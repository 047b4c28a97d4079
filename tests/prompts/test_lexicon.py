from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emotion_circuits.errors import InputError
from emotion_circuits.prompts import Lexicon, bank

BANK = bank()
emotion_words = BANK.emotion_words

WORDS = {
    "gratitude": [
        "thanks",
        "thankfully",
        "grateful",
        "gratitude",
        "appreciated",
        "appreciative",
        "indebted",
        "obliged",
    ],
    "anger": ["angry", "anger", "furious", "fury", "livid", "outrage", "raging", "irate", "mad", "madder", "crossly"],
    "apology": [
        "sorry",
        "apologies",
        "apologised",
        "regretted",
        "remorseful",
        "ashamed",
        "guilt",
        "contrite",
        "pardon",
    ],
}
CASES = [(emotion, word) for emotion, words in WORDS.items() for word in words]
INSIDE_OTHERS = [
    "made",
    "danger",
    "dangers",
    "ungrateful",
    "garage",
    "average",
    "perfume",
    "crossed",
    "across",
    "nomad",
]


@pytest.mark.parametrize(("emotion", "word"), CASES)
def test_words_are_found_whatever_their_case_and_surroundings(emotion, word):
    for text in (word, word.upper(), f"“{word.capitalize()}!” he said", f"x, {word}."):
        (found,) = emotion_words(text)
        assert found.emotion == emotion
        assert text[found.start : found.end] == found.word
        assert found.word.lower() == word


@pytest.mark.parametrize("word", INSIDE_OTHERS)
def test_a_word_inside_another_is_not_found(word):
    assert emotion_words(word) == ()


@given(st.sampled_from(CASES), st.text("abcxyz", min_size=1, max_size=4))
def test_letters_in_front_always_hide_a_word(case, letters):
    emotion, word = case
    assert BANK[emotion].lexicon.words(letters + word) == []


def test_words_come_in_order_and_can_be_restricted():
    text = "Sorry, thanks, and I am furious."
    assert [w.emotion for w in emotion_words(text)] == ["apology", "gratitude", "anger"]
    assert [w.word for w in emotion_words(text, "anger")] == ["furious"]


def test_every_emotion_has_a_lexicon_and_neutral_has_none():
    assert all(BANK[emotion].lexicon.patterns for emotion in BANK.emotions)
    assert not BANK["neutral"].lexicon.patterns


def test_words_without_a_lexicon_are_taken_as_they_are_and_bad_expressions_are_refused():
    assert [w.word for w in Lexicon("x", ("a.b",), are_words=True).words("a.b axb")] == ["a.b"]
    with pytest.raises(InputError, match="lexicon of x"):
        Lexicon("x", ("(",)).words("text")
