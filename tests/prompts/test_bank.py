"""What the bundled bank promises."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from emotion_circuits import prompts
from emotion_circuits.errors import InputError
from emotion_circuits.prompts import Dataset, Text, bank
from emotion_circuits.prompts._duplicates import exact_duplicates, near_duplicates
from emotion_circuits.prompts._nuisance import span_place

BANK = bank()
ALL = bank(prompts.bundled_emotions())
CLASSES, EMOTIONS = BANK.names, BANK.emotions
emotion_words = BANK.emotion_words

EXPLICIT = BANK.profile("extended")
IMPLICIT = BANK.implicit()
CARD = Path(__file__).parents[2] / "docs" / "data-card.md"


def test_sizes_and_splits():
    baseline = BANK.profile("baseline")
    assert (len(baseline), len(EXPLICIT), len(IMPLICIT)) == (280, 400, 640)
    assert baseline.texts == EXPLICIT.texts[:280]
    assert EXPLICIT.scenarios == tuple(str(i) for i in range(1, 101))
    development = {str(i) for i in (*range(1, 31), *range(71, 81))}
    assert set(EXPLICIT.select(split="development").scenarios) == development
    assert set(EXPLICIT.select(split="test").scenarios) == set(EXPLICIT.scenarios) - development
    assert IMPLICIT.select(split="development").scenarios == tuple(f"i{i}" for i in (*range(1, 17), *range(41, 65)))
    assert baseline.is_matched and EXPLICIT.is_matched and IMPLICIT.is_matched


def test_the_explicit_texts_are_free_of_defects_and_nuisance():
    report = prompts.validate(EXPLICIT, n_permutations=0)
    assert report.problems == () and report.warnings == ()
    assert report.number("nuisance").value <= 0.31


def test_spans_hold_the_emotion_word_and_nothing_else_names_it():
    for text in EXPLICIT:
        named = {(word.emotion, text.span[0] <= word.start < text.span[1]) for word in emotion_words(text.text)}
        assert named == (set() if text.emotion == "neutral" else {(text.emotion, True)}), text


def test_a_scenario_s_texts_differ_in_little_but_the_emotion():
    for scenario in EXPLICIT.scenarios:
        texts = [t for t in EXPLICIT if t.scenario == scenario]
        lengths = [len(t.text.split()) for t in texts]
        assert max(lengths) - min(lengths) <= 1
        assert len({t.text[-1] for t in texts}) == 1
        assert len({span_place(t).third for t in texts}) == 1


def test_other_words_for_the_marked_one_fit_as_well():
    for own in ALL.profile("extended"):
        assert len({v.marked_word.lower() for v in own.variants}) == len(own.also) + 1
        for other in own.variants[1:]:
            start, end = other.span
            assert (other.text[:start], other.text[end:]) == (own.text[: own.span[0]], own.text[own.span[1] :])
            assert other.marked_word[0].isupper() == own.marked_word[0].isupper() and " " not in other.marked_word
            named = {(word.emotion, start <= word.start < end) for word in ALL.emotion_words(other.text)}
            assert named == (set() if own.emotion == "neutral" else {(own.emotion, True)}), other
            article = other.text[:start].split()[-1].lower() if start else ""
            assert article not in ("a", "an") or (other.marked_word[0] in "aeiou") == (article == "an"), other


def test_implicit_texts_and_contexts_name_no_emotion():
    assert not [t for t in IMPLICIT if emotion_words(t.text)]
    assert not [c for c in prompts.contexts() if emotion_words(c.text)]


def test_contexts_and_their_splits():
    assert len(prompts.contexts()) == 120
    for split, per_slot in (("development", 12), ("test", 48)):
        assert Counter(c.slot for c in prompts.contexts(split)) == {"opening": per_slot, "adjective": per_slot}
    with pytest.raises(InputError):
        prompts.contexts("train")


def test_continuations_and_what_they_mask():
    for split, per_class in (("development", 32), ("test", 48)):
        assert Counter(c.emotion for c in BANK.continuations(split)) == dict.fromkeys(CLASSES, per_class)
    for c in BANK.continuations():
        assert c.text == c.text.strip()
        masked = {i for start, end in c.masked for i in range(start, end)}
        assert all(word.start in masked for word in emotion_words(c.text)), c
        assert c.emotion != "neutral" or not c.masked


def test_word_sets():
    sets = BANK.word_sets()
    words = Counter(word.lower() for s in sets for word in s.words if s.slot == "adjective")
    assert [(s.emotion, s.slot) for s in sets] == [(c, slot) for c in CLASSES for slot in prompts.SLOTS]
    assert max(words.values()) == 1  # a word of two classes would say nothing
    assert all(len(word.split()) == 1 for s in sets for word in s.words)


def test_real_world_texts_and_foils():
    assert len(BANK.real_world()) == 35
    assert set(BANK.real_world().classes) == set(CLASSES)
    assert {(t.emotion, t.split) for t in BANK.foils()} == {(e, s) for e in EMOTIONS for s in prompts.SPLITS}
    assert all(t.marked_word for t in BANK.foils())


def test_every_emotion_has_six_series_of_seven_steps():
    series = BANK.intensity_series()
    assert Counter(series.scenarios) == Counter(f"{e}-{k}" for e in EMOTIONS for k in range(1, 7))
    assert set(Counter(t.scenario for t in series).values()) == {7}
    assert all(t.scenario.startswith(t.emotion) for t in series)


def test_no_text_occurs_in_two_collections():
    other = [
        *IMPLICIT,
        *BANK.real_world(),
        *BANK.foils(),
        *(Text(x.text, "neutral", x.id, "test") for x in (*prompts.contexts(), *BANK.continuations())),
        # Within a series the steps are variants of one sentence.
        *BANK.intensity_series(),
    ]
    everything = Dataset("all", (*EXPLICIT, *(replace(t, split="test") for t in other)))
    assert exact_duplicates(everything) == near_duplicates(everything) == ()


def test_generic_draws_are_fixed_and_nested():
    assert len(prompts.generic()) == 7572
    sample = prompts.generic_sample(200)
    assert sample[:50] == prompts.generic_sample(50)
    assert len(set(sample)) == 200
    assert len({text.kind for text in sample}) > 5
    assert prompts.generic(limit=50, seed=1) != sample[:50]
    assert {t.kind for t in prompts.generic(["joy"], limit=20)} == {"joy"}
    assert not any(emotion_words(t.text) for t in BANK.generic(["neutral"], without_emotion_words=True))
    for wrong in ({"kinds": ["boredom"]}, {"limit": 0}, {"limit": 10**6}):
        with pytest.raises(InputError):
            prompts.generic(**wrong)


def test_an_unknown_profile():
    with pytest.raises(InputError, match="baseline"):
        BANK.profile("huge")


@pytest.mark.parametrize("dataset", [BANK.profile("baseline"), EXPLICIT, IMPLICIT], ids=lambda d: d.name)
def test_the_data_card_describes_these_very_texts(dataset):
    assert dataset.hash[:12] in CARD.read_text(encoding="utf-8")
