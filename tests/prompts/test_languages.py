"""Texts of other languages: complete, natural to compare, and told apart by nothing but what they say."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_circuits.errors import InputError
from emotion_circuits.prompts import NEUTRAL, bank, language_texts, languages

CLASSES = bank().names


@pytest.mark.parametrize("code", languages())
def test_every_scenario_has_every_class(code):
    texts = language_texts(code)
    for data, n, development in ((texts.explicit, 70, 30), (texts.implicit, 80, 20)):
        assert data.is_matched and len(data.scenarios) == n and set(data.classes) == set(CLASSES)
        assert len(data.select(split="development").scenarios) == development
        assert len({t.text for t in data}) == len(data)
    assert texts.spoken.is_matched and len(texts.openings) == 40
    assert texts.emotions == bank().emotions
    assert texts.only((NEUTRAL, "anger")).explicit.classes == (NEUTRAL, "anger")
    words = [word for own in texts.words.values() for word in own]
    assert set(texts.words) == set(CLASSES) and len(set(words)) == len(words)


@pytest.mark.parametrize("code", languages())
def test_explicit_texts_differ_in_the_marked_word_and_implicit_ones_name_nothing(code):
    texts = language_texts(code)
    marked: dict[str, set[str]] = {name: set() for name in CLASSES}
    for scenario in texts.explicit.scenarios:
        own = [t for t in texts.explicit if t.scenario == scenario]
        assert all(t.span is not None for t in own)
        assert len({(t.text[: t.span[0]], t.text[t.span[1] :]) for t in own}) == 1, scenario
        for t in own:
            marked[t.emotion].add(t.marked_word)
    assert not any(t.span for t in texts.implicit)
    for name in texts.emotions:  # of two characters or more: a single one is part of many other words
        named = [w for w in marked[name] if len(w) > 1]
        assert not [t.text for t in texts.implicit if any(word in t.text for word in named)]


@pytest.mark.parametrize("code", languages())
def test_length_does_not_tell_the_class(code):
    for data in (language_texts(code).explicit, language_texts(code).implicit):
        lengths = {name: np.array([len(t.text) for t in data.select(emotion=name)]) for name in CLASSES}
        means = [own.mean() for own in lengths.values()]
        assert max(means) - min(means) < 0.1 * min(means)


def test_a_language_without_texts_is_refused():
    with pytest.raises(InputError, match="xx"):
        language_texts("xx")
