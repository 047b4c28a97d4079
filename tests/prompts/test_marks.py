from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emotion_circuits.prompts import mark, unmark

plain = st.text(st.characters(blacklist_characters="[]", blacklist_categories=("Cs",)), max_size=40)


@st.composite
def marked_texts(draw):
    """A marked text built piece by piece, with the words that its brackets enclose."""
    pieces, words = [draw(plain)], []
    for _ in range(draw(st.integers(0, 3))):
        words.append(draw(plain.filter(bool)))
        pieces += [f"[{words[-1]}]", draw(plain)]
    return "".join(pieces), words


@given(marked_texts())
def test_spans_index_the_marked_words_and_marking_restores_the_text(example):
    marked, words = example
    text, spans = unmark(marked)
    assert text == re.sub(r"[\[\]]", "", marked)
    assert [text[start:end] for start, end in spans] == words
    assert mark(text, spans) == marked


@pytest.mark.parametrize("bad", ["[a", "a]", "[a [b] c]", "[]", "[a]]", "]["])
def test_badly_paired_brackets_are_refused(bad):
    with pytest.raises(ValueError):
        unmark(bad)


@pytest.mark.parametrize("spans", [[(0, 0)], [(3, 2)], [(0, 2), (1, 3)], [(2, 99)], [(-1, 2)]])
def test_unusable_spans_are_refused(spans):
    with pytest.raises(ValueError):
        mark("abcd", spans)


def test_a_text_with_brackets_of_its_own_cannot_be_marked():
    with pytest.raises(ValueError):
        mark("a [b] c", [(0, 1)])
