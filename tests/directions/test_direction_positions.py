"""Where a text is read: by characters, whatever the tokenizer and the BOS, and never a stand-in."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emotion_circuits import models, prompts
from emotion_circuits.directions import POSITIONS, check_position, extract, token_positions
from emotion_circuits.errors import InputError
from emotion_circuits.models import Encoded
from emotion_circuits.prompts import Dataset, Text


@pytest.fixture(scope="module", params=[True, False], ids=["bos", "no bos"])
def lm(request):
    return models.load("reference/gpt-neox", bos=request.param)


def text_of(text, word=None, emotion="gratitude"):
    span = None if word is None else (text.index(word), text.index(word) + len(word))
    return Text(text, emotion, "s", "test", span)


def found_in(lm, text, **options):
    """position → the characters of the tokens that are read, BOS as an empty string."""
    [encoded] = lm.encode([text.text])
    found = token_positions([text], [encoded], **options)
    return {
        position: [text.text[slice(*encoded.offsets[k])] for k in indices[0]]
        for position, indices in found.indices.items()
    }


def test_a_sentence(lm):
    read = found_in(lm, text_of("I am so grateful to you, Anna.", "grateful"))
    assert read["sentence_end"] == ["."]
    assert read["last_content"][0] and "Anna".endswith(read["last_content"][0])
    assert "".join(read["emotion_token"]) == "grateful"
    joined = "".join(read["mean"])
    assert joined == "IamsogratefultoyouAnna"[0 if lm.bos else 1 :]


def test_a_span_at_the_start_of_the_text(lm):
    """Without BOS the marked word begins at position 0, and is read all the same."""
    text = text_of("Thanks for the soup.", "Thanks")
    assert "".join(found_in(lm, text)["emotion_token"]) == "Thanks"
    [encoded] = lm.encode([text.text])
    assert token_positions([text], [encoded]).indices["emotion_token"][0][0] == int(lm.bos)


@pytest.mark.parametrize("part", ["first", "last", "all"])
def test_parts_of_a_word_of_several_tokens(lm, part):
    text = text_of("He is unapologetically sorry.", "unapologetically")
    everything = found_in(lm, text)["emotion_token"]
    assert len(everything) > 2 and "".join(everything) == "unapologetically"
    expected = {"first": everything[:1], "last": everything[-1:], "all": everything}[part]
    assert found_in(lm, text, span_part=part)["emotion_token"] == expected


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("We won!!!", "won"),
        ('She said: "Thanks."', "Thanks"),
        ("I was late – again … (sorry)", "sorry"),
        ("It costs 5$", "$"),
        ("“Merci,” dit-elle…", "elle"),
        ("ありがとう。", "う"),
        ("本当に「ごめん」！", "ん"),
        ("Thank you 😀", "😀"),
        ("No end", "end"),
        ("Trailing space. ", "space"),
    ],
)
def test_punctuation_is_not_content_in_any_script(lm, text, last):
    read = found_in(lm, text_of(text))
    assert read["last_content"][0] and last.endswith(read["last_content"][0])
    assert text.strip().endswith(read["sentence_end"][0].strip())
    assert not any(all(unicodedata.category(c).startswith("P") for c in token) for token in read["mean"] if token)


def test_a_text_of_punctuation_has_no_content(lm):
    read = found_in(lm, text_of("… !?"))
    assert read["last_content"] == read["mean"] == read["emotion_token"] == []
    assert read["sentence_end"] == ["?"]


def test_parts_of_one_character_are_all_read(lm):
    """A character outside the vocabulary becomes several tokens, which share its place in the text."""
    text = text_of("Danke 🥹 sehr", "🥹")
    tokens = found_in(lm, text)["emotion_token"]
    assert len(tokens) > 1 and set(tokens) == {"🥹"}


WORDS = st.lists(
    st.sampled_from(["sorry", "the", "apologise", "Ärger", "ありがとう", "thankfulness", "x", "don't", "42", "😀"]),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=60)
@given(WORDS, st.data())
def test_emotion_tokens_cover_the_marked_characters_and_touch_no_others(lm, words, data):
    text = " ".join(words)
    start = data.draw(st.sampled_from([i for i, c in enumerate(text) if c != " "]))
    length = data.draw(st.integers(1, len(text) - start))
    end = start + length - (text[start + length - 1] == " ")
    [encoded] = lm.encode([text])
    found = token_positions([Text(text, "anger", "s", "test", (start, end))], [encoded]).indices["emotion_token"][0]
    covered = {c for k in found for c in range(*encoded.offsets[k])}
    assert {c for c in range(start, end) if text[c] != " "} <= covered
    wanted = set(range(start, end))
    for k in range(len(encoded)):
        touches = bool(wanted & set(range(*encoded.offsets[k])))
        assert (k in found) == touches, (k, encoded.offsets[k])
    assert found == sorted(found) and not (lm.bos and 0 in found)


def test_bos_moves_every_position_by_one():
    """Only `mean` differs further: without BOS the first word is position 0, which is left out."""
    with_bos, without = (models.load("reference/gpt2", bos=bos) for bos in (True, False))
    texts = prompts.bank().profile("baseline").texts[:80]
    a, b = (token_positions(texts, m.encode([t.text for t in texts])).indices for m in (with_bos, without))
    for position in ("sentence_end", "last_content", "emotion_token"):
        assert a[position] == [[k + 1 for k in one] for one in b[position]]
    assert [one[1:] for one in a["mean"]] == [[k + 1 for k in one] for one in b["mean"]]
    assert all(one[0] == 1 for one in a["mean"])


def test_the_bank_s_marked_words_are_all_found(lm):
    texts = prompts.bank().profile("extended").texts
    encoded = lm.encode([t.text for t in texts])
    found = token_positions(texts, encoded)
    assert set(found.match_rate.values()) == {1.0} and set(found.match_rate) == set(prompts.bank().names)
    for text, tokens, indices in zip(texts, encoded, found.indices["emotion_token"], strict=True):
        read = "".join(text.text[slice(*tokens.offsets[k])] for k in indices)
        assert text.marked_word.replace(" ", "") in read


def test_texts_without_a_mark_have_no_emotion_token_and_no_stand_in(lm):
    data = prompts.bank().implicit()
    found = token_positions(data.texts[:8], lm.encode([t.text for t in data.texts[:8]]))
    assert found.indices["emotion_token"] == [[]] * 8
    assert set(found.match_rate.values()) == {None}
    with pytest.raises(InputError, match="emotion_token"):
        extract(lm, Dataset("implicit", data.texts[:8]), positions=["emotion-token"]).at("emotion_token")


# Match rates, with tokens made up so that some marks are missed.

SEEN, MISSED = Encoded((5, 6), ((0, 3), (4, 7)), 0), Encoded((5, 6), ((0, 3), (0, 0)), 0)


def with_rate(n_seen, n_missed, emotion):
    texts = [Text("abc def", emotion, str(k), "test", (4, 7)) for k in range(n_seen + n_missed)]
    return texts, [SEEN] * n_seen + [MISSED] * n_missed


@pytest.mark.parametrize(("seen", "missed", "refused"), [(5, 0, False), (4, 1, False), (79, 21, True), (0, 3, True)])
def test_too_few_found_marks_of_any_class_are_refused(seen, missed, refused):
    good_texts, good = with_rate(20, 0, "neutral")
    texts, encoded = with_rate(seen, missed, "anger")
    if refused:
        with pytest.raises(InputError, match="anger") as caught:
            token_positions(good_texts + texts, good + encoded)
        assert f"{seen / (seen + missed):.0%}" in str(caught.value)
    else:
        found = token_positions(good_texts + texts, good + encoded)
        assert found.match_rate == {"neutral": 1.0, "anger": seen / (seen + missed)}


def test_unmarked_texts_do_not_count_towards_the_rate():
    texts, encoded = with_rate(4, 1, "anger")
    plain = [Text("abc def", "anger", "p", "test")] * 30
    found = token_positions(texts + plain, encoded + [SEEN] * 30)
    assert found.match_rate == {"anger": 0.8}
    assert found.indices["emotion_token"] == [[1]] * 4 + [[]] * 31


def test_both_spellings_of_a_position_are_one_and_others_are_refused():
    for position in POSITIONS:
        assert check_position(position) == check_position(position.replace("_", "-")) == position
    for wrong in ("end", "", "sentence end", "MEAN"):
        with pytest.raises(InputError, match="Unknown position") as caught:
            check_position(wrong)
        assert "sentence-end" in str(caught.value)


def test_what_is_extracted_is_the_stream_at_those_tokens(lm):
    """Against the hidden states of transformers, one text at a time."""
    import torch

    data = Dataset("some", prompts.bank().profile("baseline").texts[:12])
    found = extract(lm, data)
    assert set(found.values) == set(POSITIONS)
    encoded = lm.encode([t.text for t in data])
    places = token_positions(data.texts, encoded).indices
    for i, tokens in enumerate(encoded):
        with torch.no_grad():
            states = lm.base(torch.tensor([tokens.ids]), output_hidden_states=True).hidden_states[:-1]
        for position in POSITIONS:
            for row, state in enumerate(states):
                expected = state[0, places[position][i]].double().mean(dim=0).numpy()
                np.testing.assert_allclose(found.at(position)[row, i], expected, atol=2e-5 * np.abs(expected).max())
    assert found.at("mean").shape == (lm.n_layers + 1, 12, lm.d_model)
