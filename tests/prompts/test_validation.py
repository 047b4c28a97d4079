"""Each defect is planted in the clean bank and found; the clean bank has none of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emotion_circuits import prompts
from emotion_circuits.errors import InputError
from emotion_circuits.prompts import Dataset, Text, ValidationReport, bank, validate
from emotion_circuits.prompts._duplicates import exact_duplicates, near_duplicates
from emotion_circuits.prompts._language import is_english
from emotion_circuits.prompts._nuisance import _permuted, nuisance_features, span_place

CLASSES = bank().names

BANK = prompts.bank().profile("baseline")


def planted(change: Callable[[list[Text]], None], base: Dataset = BANK) -> ValidationReport:
    texts = list(base)
    change(texts)
    return validate(Dataset("planted", tuple(texts)), n_permutations=0)


def kinds(findings: tuple[prompts.Finding, ...]) -> set[str]:
    return {finding.kind for finding in findings}


def put(index: int, **changes: object) -> Callable[[list[Text]], None]:
    def change(texts: list[Text]) -> None:
        texts[index] = replace(texts[index], **changes)

    return change


def test_the_clean_bank_has_no_findings():
    report = planted(lambda texts: None)
    assert report.ok and not report.problems and not report.warnings


GERMAN = "Ich habe das Buch gestern auf den Tisch gelegt und bin danach nach Hause gegangen."
JAPANESE = "昨日 借りた 本を 机の 上に 置いて から 家に 帰り ました。"
SPLIT = {"development": "test", "test": "development"}
DEFECTS = [
    ("duplicate", put(0, text=BANK.texts[40].text)),
    ("duplicate", put(0, text="  " + BANK.texts[40].text.upper())),
    ("near-duplicate", put(0, text=BANK.texts[40].text + "!!")),
    ("split-leakage", put(0, text=BANK.texts[-1].text)),
    ("split-leakage", put(0, split=SPLIT[BANK.texts[0].split])),
    ("count", lambda texts: texts.pop()),
    ("count", put(0, emotion="anger")),
    ("count", put(0, scenario="2")),
    ("empty", put(0, text=" ", span=None)),
    ("length", put(0, text="I was early.")),
    ("length", put(0, text="I was early and " * 7)),
    ("language", put(0, text=GERMAN)),
    ("language", put(0, text=JAPANESE)),
    ("span-missing", put(0, span=None)),
    ("span-outside", put(0, span=(5, 999))),
    ("span-outside", put(0, span=(5, 5))),
]


@pytest.mark.parametrize(("kind", "change"), DEFECTS)
def test_a_planted_problem_is_found(kind, change):
    report = planted(change)
    assert not report.ok
    assert kind in kinds(report.problems)


WARNINGS = [
    ("span-missing", lambda texts: texts.__setitem__(slice(None), [replace(t, span=None) for t in texts])),
    ("span-thirds", lambda texts: texts.__setitem__(slice(None), [replace(t, span=(0, 1)) for t in texts])),
    (
        "neutral-emotion-word",
        put(0, text="I was quite grateful and sorry to be there at noon with you.", span=(12, 20)),
    ),
    ("too-few", lambda texts: texts.__setitem__(slice(16, None), [])),
]


@pytest.mark.parametrize(("kind", "change"), WARNINGS)
def test_a_planted_weakness_is_a_warning(kind, change):
    report = planted(change)
    assert report.ok
    assert kind in kinds(report.warnings)


def frames(n: int, variant: Callable[[str, int], str]) -> Dataset:
    """`n` scenarios whose texts are alike but for what `variant(class, scenario)` puts in."""
    names = ("Ana", "Bo", "Chi", "Dag", "Eli", "Fay", "Gus", "Hal")
    return Dataset(
        "frames",
        tuple(
            Text(f"{names[i % 8]} waited {'so ' * (i % 5)}long at gate {i} for {variant(c, i)}", c, str(i), "test")
            for i in range(n)
            for c in CLASSES
        ),
    )


NUISANCES = {
    "final mark": lambda c, i: "the bus" + {"anger": "!"}.get(c, "."),
    "length": lambda c, i: "the bus" + {"apology": " in the cold rain"}.get(c, "") + ".",
    "person words": lambda c, i: {"gratitude": "you", "apology": "me"}.get(c, "him") + ".",
    "a question": lambda c, i: "the bus" + {"neutral": "?"}.get(c, ".") + " It came.",
}


@pytest.mark.parametrize("name", NUISANCES)
def test_planted_nuisance_is_found(name):
    texts = frames(14, NUISANCES[name])
    report = validate(texts, n_permutations=20, implicit_texts=texts)  # nothing to transfer to: half the time
    number = report.number("nuisance")
    assert "nuisance" in kinds(report.problems)
    assert number.value > 0.4
    assert number.p == pytest.approx(1 / 21)  # no permutation comes near


def test_nuisance_that_no_line_separates_is_found():
    """Two classes are of middling length, the other two shorter or longer."""

    def variant(emotion: str, scenario: int) -> str:
        middling = emotion in ("anger", "neutral")
        return "a very " * (8 if middling else 16 * (scenario % 2)) + "slow bus."

    assert validate(frames(40, variant), n_permutations=0).number("nuisance").value > 0.4


def test_texts_that_differ_in_nothing_are_at_chance_and_their_words_are_too():
    texts = frames(20, lambda c, i: "the bus.")
    report = validate(texts, n_permutations=9, implicit_texts=texts)
    for name in ("nuisance", "bag of words"):
        number = report.number(name)
        assert (number.value, number.chance, number.n) == (0.25, 0.25, 80)
        assert number.p == 1.0
    assert "nuisance" not in kinds(report.problems) | kinds(report.warnings)


def test_words_that_name_the_class_are_told_apart_and_transfer():
    words = dict(zip(CLASSES, ("tables", "thanks", "rages", "regrets"), strict=True))
    texts, other = (frames(n, lambda c, i: f"{words[c]}.") for n in (20, 12))
    report = validate(texts, n_permutations=20, implicit_texts=other)
    assert report.number("bag of words").value == 1.0
    crossed = report.number("bag of words, on implicit texts")
    assert (crossed.value, crossed.n) == (1.0, 48)
    assert "bag-of-words" in kinds(report.warnings)  # nothing is marked, so the texts claim not to name it


def test_numbers_come_with_chance_and_the_same_seed_gives_the_same():
    first, again = (validate(BANK, n_permutations=1, seed=1) for _ in range(2))
    assert first == again
    header, *rows = first.table()
    assert {len(row) for row in rows} == {len(header)}
    for measure in first.numbers:
        assert 0 < measure.chance < 1 and measure.n > 0
    for name in ("nuisance", "bag of words"):
        low, high = first.number(name).ci95
        assert low <= first.number(name).value <= high
    with pytest.raises(InputError):
        first.number("mood")


def test_what_cannot_be_validated():
    with pytest.raises(InputError):
        validate(Dataset("none", ()))
    with pytest.raises(InputError):
        validate(BANK, n_permutations=-1)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(0, 9))
def test_permuting_within_groups_keeps_every_group_s_labels(groups, seed):
    groups, labels = np.array(groups), np.arange(len(groups)) % 4
    shuffled = _permuted(labels, groups, True, np.random.default_rng(seed))
    for group in set(groups.tolist()):
        assert sorted(shuffled[groups == group]) == sorted(labels[groups == group])


def test_permuting_within_groups_reaches_every_order():
    rng, groups, labels = np.random.default_rng(0), np.repeat([1, 0], 3), np.tile([0, 1, 2], 2)
    seen = {tuple(_permuted(labels, groups, True, rng)[:3]) for _ in range(200)}
    assert len(seen) == 6


@given(st.lists(st.text("ab ", max_size=12), min_size=1, max_size=8))
def test_near_duplicates_agree_with_the_definition(texts):
    dataset = Dataset("x", tuple(Text(t, "neutral", str(i % 3), "test") for i, t in enumerate(texts)))
    normal = [" ".join(t.split()) for t in texts]
    grams = [{t[i : i + 5] for i in range(len(t) - 4)} for t in normal]
    expected = [
        (a, b)
        for a in range(len(texts))
        for b in range(a + 1, len(texts))
        if a % 3 != b % 3
        and normal[a] != normal[b]
        and grams[a] | grams[b]
        and len(grams[a] & grams[b]) / len(grams[a] | grams[b]) >= 0.8
    ]
    assert [(p.first, p.second) for p in near_duplicates(dataset)] == expected
    assert len(exact_duplicates(dataset)) == len(texts) - len(set(normal))


PLACES = [((0, 2), "early"), ((3, 5), "middle"), ((6, 8), "late"), ((3, 8), "late"), ((0, 8), "middle")]


@pytest.mark.parametrize(("span", "third"), PLACES)
def test_thirds_are_counted_in_words(span, third):
    assert span_place(Text("aa bb cc", "anger", "1", "test", span)).third == third


def test_nuisance_features_ignore_the_words_themselves():
    one, other = (Text(f"Tell {w} I am here, please!", "anger", "1", "test") for w in ("Ana", "Eve"))
    assert nuisance_features(one) == nuisance_features(other)


@pytest.mark.parametrize("text", [GERMAN, JAPANESE, "Я оставил книгу на столе и потом ушёл домой."])
def test_other_languages_are_seen(text):
    assert not is_english(text)


@pytest.mark.parametrize("text", ["Thanks!", "Coffee time ☕", "The café in Łódź was closed when I came by."])
def test_english_with_foreign_names_passes(text):
    assert is_english(text)
