"""Emotions as data: banks of bundled emotions, and one's own from a file."""

from __future__ import annotations

import csv
import json

import pytest
import yaml

from emotion_circuits.errors import InputError
from emotion_circuits.prompts import NEUTRAL, SLOTS, bank, bundled_emotions, contexts, kept_bank, write_bank

ALL = bank(bundled_emotions())
PAIRS = [[f"I was [overjoyed] when parcel {k} came.", f"I was [upstairs] when parcel {k} came."] for k in range(20)]
OWN = {
    "name": "relief",
    "label": {"en": "relief", "ja": "安堵"},
    "words": {"opening": ["Phew"], "adjective": ["relieved"]},
    "pairs": PAIRS,
    "implicit": ["We sat down at last.", ["The fever had gone.", "The kettle had boiled."]],
    "utterances": ["I am so [relieved] that you rang."],
}


def test_every_bundled_emotion_has_all_that_analyses_need():
    for emotion in ALL.emotions:
        own = ALL[emotion]
        counts = own.counts
        assert (counts["explicit"], counts["implicit"], counts["utterances"], counts["words"]) == (100, 160, 80, 20)
        assert counts["foils"] == 20 and own.request and own.colour and own.marker and own.label_in("ja") != emotion
    assert len({ALL[e].colour for e in ALL.emotions}) == len({ALL[e].marker for e in ALL.emotions}) == len(ALL.emotions)


def test_scenarios_hold_every_class_once_in_any_bank():
    for emotions in (None, ["joy", "fear"], bundled_emotions()):
        own = bank(emotions)
        for texts, n in ((own.profile("extended"), 100), (own.implicit(), 160)):
            assert texts.is_matched and texts.classes == own.names and len(texts.scenarios) == n


def test_marked_words_and_nothing_else_name_an_emotion():
    for text in ALL.profile("extended"):
        named = {(word.emotion, text.span[0] <= word.start < text.span[1]) for word in ALL.emotion_words(text.text)}
        assert named == (set() if text.emotion == NEUTRAL else {(text.emotion, True)}), text
    assert not [c for c in contexts() if ALL.emotion_words(c.text)]
    for c in ALL.continuations():
        masked = {i for start, end in c.masked for i in range(start, end)}
        assert all(word.start in masked for word in ALL.emotion_words(c.text)), c
    naming = [(t.scenario, w.word) for t in ALL.implicit() for w in ALL.emotion_words(t.text)]
    assert naming == [("i23", "lonely")]  # written before sadness had a lexicon


def test_words_belong_to_one_class():
    words = [(slot, word.lower()) for own in ALL.classes for slot in SLOTS for word in own.words[slot]]
    assert len(words) == len(set(words))


def test_a_bank_is_its_content():
    assert bank().hash == bank(["gratitude", "anger", "apology"]).hash != bank(["gratitude", "joy"]).hash
    with pytest.raises(InputError, match="no such emotion"):
        bank()["joy"]
    for wrong, said in (([], "no emotions"), (["boredom"], "boredom"), (["joy", "joy"], "twice"), ([NEUTRAL], NEUTRAL)):
        with pytest.raises(InputError, match=said):
            bank(wrong)


def test_a_folder_keeps_its_bank(tmp_path):
    assert kept_bank(tmp_path) is None
    write_bank(tmp_path, bank(["joy", "fear"]))
    kept = kept_bank(tmp_path)
    assert kept == bank(["joy", "fear"]) and kept.hash == bank(["joy", "fear"]).hash
    (tmp_path / "emotions.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be read"):
        kept_bank(tmp_path)


def test_an_emotion_of_ones_own(tmp_path):
    path = tmp_path / "relief.yaml"
    path.write_text(yaml.safe_dump(OWN, allow_unicode=True), encoding="utf-8")
    own = bank([path])
    texts = own.profile("baseline")
    assert own.names == (NEUTRAL, "relief") and texts.is_matched and len(texts.scenarios) == 20
    assert [t.marked_word for t in texts][:2] == ["upstairs", "overjoyed"]
    assert {t.split for t in texts} == {"development", "test"}
    assert [(t.emotion, t.text) for t in own.implicit()] == [
        ("relief", "We sat down at last."),
        (NEUTRAL, "The kettle had boiled."),
        ("relief", "The fever had gone."),
    ]
    assert [w.word for w in own.emotion_words("Phew, he was RELIEVED")] == ["Phew", "RELIEVED"]
    assert own["relief"].label_in("ja") == "安堵" and own["relief"].label_in("de") == "relief"
    assert kept_bank(write_bank(tmp_path, own).parent) == own


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "neutral"}, "cannot be the name"),
        ({"name": "My Joy"}, "name"),
        ({"pairs": []}, "no pairs"),
        ({"pairs": [["one alone"]]}, "pairs"),
        ({"pairs": [["a [b", "c"]]}, "pair 1 is badly marked"),
        ({"pairs": [["[a] [b]", "c"]]}, "pair 1 has 2"),
        ({"implicit": ["[marked]"]}, "implicit text 1"),
        ({"words": {"opening": ["two words"]}}, "words"),
        ({"colour": "gold"}, "colour"),
        ({"emotion": "x"}, "emotion"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_place(tmp_path, change, said):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({**OWN, **change}, allow_unicode=True), encoding="utf-8")
    with pytest.raises(InputError, match=said):
        bank([path])


ROWS = [
    {"text": text, "emotion": emotion, "scenario": k}
    for k in range(20)
    for text, emotion in ((f"Phew, parcel {k} came.", "relief"), (f"Well, parcel {k} came.", "neutral"))
]


def written(path, rows):
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("name", ["mine.jsonl", "mine.ndjson", "mine.CSV", "mine.csv"])
def test_a_data_set_of_texts_and_neutral_twins_is_an_emotion(tmp_path, name):
    own = bank([written(tmp_path / name.lower(), ROWS)])
    texts = own.profile("baseline")
    assert own.names == (NEUTRAL, "relief") and texts.is_matched and len(texts.scenarios) == 20
    assert {t.text for t in texts} == {row["text"] for row in ROWS}
    assert {t.split for t in texts} == {"development", "test"}
    beside = bank(["gratitude", tmp_path / name.lower()])
    assert beside.emotions == ("gratitude", "relief") and not beside.profile("baseline").is_matched


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row for row in ROWS if row["emotion"] != "neutral"], "not about one emotion"),
        ([*ROWS, {"text": "No!", "emotion": "dread", "scenario": 3}], "not about one emotion"),
        (ROWS[:-1], "scenarios of mine are not complete"),
        ([{**row, "emotion": row["emotion"].replace("relief", "other")} for row in ROWS], "'other'"),
    ],
)
def test_other_data_sets_are_not(tmp_path, rows, said):
    with pytest.raises(InputError, match=said) as error:
        bank([written(tmp_path / "mine.jsonl", rows)])
    assert len(str(error.value).splitlines()) <= 4
