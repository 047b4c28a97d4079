from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emotion_circuits.prompts import EMOTIONS, LEXICON, emotion_words

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
    assert LEXICON[emotion].search(letters + word) is None


def test_words_come_in_order_and_can_be_restricted():
    text = "Sorry, thanks, and I am furious."
    assert [w.emotion for w in emotion_words(text)] == ["apology", "gratitude", "anger"]
    assert [w.word for w in emotion_words(text, "anger")] == ["furious"]


def test_the_lexicon_covers_the_emotions_and_cannot_be_changed():
    assert tuple(LEXICON) == EMOTIONS
    with pytest.raises(TypeError):
        LEXICON["joy"] = LEXICON["anger"]
