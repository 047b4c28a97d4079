from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import pytest

from emotion_circuits.errors import InputError
from emotion_circuits.prompts import Dataset, Text, WordSet, WordSets, bank

CLASSES = bank().names

FIELDS = [("text", "other words"), ("emotion", "anger"), ("scenario", "9"), ("split", "test"), ("span", (0, 1))]


def four(scenario: str, split: str = "development") -> list[Text]:
    return [Text(f"I was {c} on day {scenario}.", c, scenario, split, (6, 6 + len(c))) for c in CLASSES]


@pytest.fixture
def pair() -> Dataset:
    return Dataset("pair", (*four("1"), *four("2", "test")))


@pytest.mark.parametrize(("field", "value"), FIELDS)
def test_every_field_counts_in_the_hash(pair, field, value):
    changed = replace(pair.texts[0], **{field: value})
    assert Dataset("pair", (changed, *pair.texts[1:])).hash != pair.hash


def test_the_order_counts_in_the_hash_and_the_name_does_not(pair):
    assert Dataset("pair", pair.texts[::-1]).hash != pair.hash
    assert Dataset("another", pair.texts).hash == pair.hash


def test_where_one_text_ends_counts_in_the_hash():
    one, other = (
        Dataset("x", tuple(Text(t, "anger", "1", "test") for t in texts)) for texts in (("ab", "c"), ("a", "bc"))
    )
    assert one.hash != other.hash


def test_select_keeps_order_and_takes_only_what_was_asked_for(pair):
    assert [t.scenario for t in pair.select("anger")] == ["1", "2"]
    assert [t.emotion for t in pair.select(split="test")] == list(CLASSES)
    assert pair.select("anger", "test").texts == (pair.texts[6],)
    assert pair.select().texts == pair.texts
    for wrong in ({"emotion": "joy"}, {"split": "train"}):
        with pytest.raises(InputError):
            pair.select(**wrong)


def test_scenarios_classes_and_marked_words(pair):
    assert (len(pair), pair.scenarios, pair.classes) == (8, ("1", "2"), CLASSES)
    assert [t.marked_word for t in pair.select(split="test")] == list(CLASSES)
    assert replace(pair.texts[0], span=None).marked_word is None


def test_only_complete_scenarios_are_matched(pair):
    assert pair.is_matched
    pair.require_matched("the matched contrast")
    missing = Dataset("missing", pair.texts[:-1])
    doubled = Dataset("doubled", (*pair.texts[:-1], pair.texts[0]))
    for broken in (missing, doubled, pair.select("anger"), Dataset("none", ())):
        assert not broken.is_matched
        with pytest.raises(InputError, match="the matched contrast") as error:
            broken.require_matched("the matched contrast")
        assert len(str(error.value).splitlines()) <= 4


def test_values_are_frozen(pair):
    with pytest.raises(FrozenInstanceError):
        pair.name = "x"
    with pytest.raises(FrozenInstanceError):
        pair.texts[0].text = "x"


def test_word_sets_say_what_they_lack():
    sets = WordSets((WordSet("anger", "adjective", ("livid",)),))
    assert sets.words("anger", "adjective") == ("livid",)
    with pytest.raises(InputError):
        sets.words("anger", "opening")


def test_the_room_is_light():
    code = (
        "import sys, emotion_circuits.prompts as p; p.bank().profile('baseline'); "
        "assert not {'torch', 'sklearn', 'scipy', 'numpy', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
