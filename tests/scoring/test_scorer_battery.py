"""Every scorer passes the same battery; then what is particular to each."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch
from tiny_classifier import change_config, save_classifier

from emotion_circuits import prompts
from emotion_circuits._own_files import run_file
from emotion_circuits.errors import InputError
from emotion_circuits.prompts import Dataset, Text, bank
from emotion_circuits.scoring import (
    SCORERS,
    HuggingFaceScorer,
    MarkerScorer,
    OfflineScorer,
    Setting,
    TextScorer,
    VaderScorer,
    cross_validate,
    forget_scorer,
    judge_scorer,
    make_scorer,
)

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
CLASSES = bank().names
EMOTIONS = bank().emotions

NEEDS_THE_HUB = ("go-emotions",)
TEXTS = (
    "Thank you, I am so grateful for the soup.",
    "The bus stops at nine.",
    "I am sorry. I am so sorry!",
    "",
    "How dare you, I am furious and you are a thief, and nobody on this long street would ever say otherwise of you.",
    "雨が降っている。",
    " \n",
    "?!",
)
BLANK = [i for i, text in enumerate(TEXTS) if not text.strip()]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    return save_classifier(tmp_path_factory.mktemp("classifier"))


BUNDLED = [n for n in SCORERS if n not in NEEDS_THE_HUB]


@pytest.fixture(scope="session", params=[*BUNDLED, "offline extended", "hf", "own"])
def scorer(request, tiny):
    """A new scorer joins by its entry in SCORERS; `own` is the docs' example of a user's own."""
    if request.param == "own":
        own = run_file(EXAMPLES / "my_scorer.py").names["Naming"](Setting(prompts.bank()))
        forget_scorer("naming")
        return own
    if request.param == "hf":
        return make_scorer(f"hf:{tiny}", Setting(prompts.bank(), device="cpu"))
    name, _, profile = request.param.partition(" ")
    return make_scorer(name, Setting(prompts.bank(), profile or "baseline"))


def test_a_scorer_says_what_it_is(scorer):
    assert isinstance(scorer, TextScorer)
    assert scorer.name and scorer.meaning and "\n" not in scorer.meaning
    assert len(set(scorer.emotions)) == len(scorer.emotions) > 0
    assert scorer.low <= scorer.chance <= scorer.high


def test_shape_range_and_blank_text(scorer):
    values = scorer.score(TEXTS)
    assert values.shape == (len(TEXTS), len(scorer.emotions)) and values.dtype == np.float64
    assert np.isnan(values[BLANK]).all()
    written = np.delete(values, BLANK, axis=0)
    assert (written >= scorer.low).all() and (written <= scorer.high).all()
    for texts in ((), ("",)):
        assert scorer.score(texts).shape == (len(texts), len(scorer.emotions))


def test_a_score_depends_on_its_text_alone_and_is_the_same_again(scorer):
    values = scorer.score(TEXTS)
    np.testing.assert_array_equal(values, scorer.score(TEXTS))
    order = np.random.default_rng(0).permutation(len(TEXTS))
    np.testing.assert_allclose(scorer.score([TEXTS[i] for i in order]), values[order], atol=1e-6)
    for i, text in enumerate(TEXTS):
        np.testing.assert_allclose(scorer.score([text])[0], values[i], atol=1e-6)


@pytest.mark.parametrize("name", ["joy", "", "VADER"])
def test_unknown_names(name):
    with pytest.raises(InputError, match="no such scorer"):
        make_scorer(name, Setting(prompts.bank()))


def test_a_new_scorer_joins_by_an_entry():
    assert isinstance(SCORERS, MappingProxyType)
    assert {type(make_scorer(name, Setting(prompts.bank()))) for name in SCORERS} == {
        MarkerScorer, VaderScorer, OfflineScorer, HuggingFaceScorer,
    }  # fmt: skip


# Markers


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Thanks!", ["gratitude"]),
        ("She made a nomad's postcard in Madrid, enthanked and unsorry.", []),
        ("the angrytown sorryish Rage-free", ["anger"]),
        ("no thanks", []),
        ("I'm not grateful", []),
        ("He isn't very sorry.", []),
        ("He isn’t sorry.", []),
        ("I have no real regrets, sorry.", ["apology"]),
        ("without any anger", []),
        ("Don't go. Sorry!", ["apology"]),
        ("I won't, thanks", ["gratitude"]),
        ("I couldn't be more grateful.", ["gratitude"]),
        ("I can't thank you enough.", ["gratitude"]),
        ("I can't thank you today, enough is enough.", []),
        ("I have never been so angry", ["anger"]),
        ("I am not so angry", []),
        ("not only sorry but ashamed", ["apology", "apology"]),
        ("MAD. mAd", ["anger", "anger"]),
        ("How often do you stop? Never, why?", []),
        ("They crossed the street and moved the cross.", []),
        ("Not that it matters to any of us, we are thankful", ["gratitude"]),
        ("Thank", ["gratitude"]),
    ],
)
def test_markers_are_whole_words_and_negation_counts(text, found):
    assert [emotion for emotion, _ in MarkerScorer(prompts.bank()).markers(text)] == found


def test_hits_are_whether_there_are_counts():
    counts, hits = (
        MarkerScorer(prompts.bank(), counts=c).score(["Sorry, sorry, thanks.", "Fine."]) for c in (True, False)
    )
    np.testing.assert_array_equal(counts, [[1, 0, 2], [0, 0, 0]])
    np.testing.assert_array_equal(hits, counts > 0)


def test_a_word_behind_not_is_never_counted():
    marked = [w for s in prompts.bank().word_sets() if s.emotion in EMOTIONS for w in s.words]
    for word in marked:
        assert not MarkerScorer(prompts.bank()).markers(f"it is not {word}")
    assert np.mean([bool(MarkerScorer(prompts.bank()).markers(f"it is {word}")) for word in marked]) > 0.7


def test_explicit_texts_have_markers_and_neutral_ones_have_none():
    texts = prompts.bank().profile("baseline")
    neutral = MarkerScorer(prompts.bank()).score([t.text for t in texts.select("neutral")])
    assert neutral.mean() < 0.02
    rows = {
        row.emotion: row
        for row in judge_scorer(MarkerScorer(prompts.bank()), texts, n_bootstrap=200, n_permutations=99)
    }
    assert all(rows[e].value > 0.9 and rows[e].ci_low > 0.85 and rows[e].p == 0.01 for e in EMOTIONS)


# VADER


def test_vader_knows_good_from_bad_and_is_judged_on_the_side_it_has():
    assert VaderScorer(prompts.bank()).score(["What a wonderful day!", "This is horrible."])[:, 0] @ [1, -1] > 1
    rows = judge_scorer(VaderScorer(prompts.bank()), prompts.bank().real_world(), n_bootstrap=200, n_permutations=99)
    assert [row.emotion for row in rows] == ["gratitude", "anger"]
    assert all(row.value > 0.75 for row in rows)


# Hugging Face classifiers


def test_probabilities_are_those_of_the_model(tiny):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    scorer = HuggingFaceScorer(prompts.bank(), str(tiny), device="cpu")
    assert scorer.emotions == CLASSES and scorer.unmapped == ("admiration",)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    model = AutoModelForSequenceClassification.from_pretrained(tiny).eval()
    text = "thank you , sorry the bus"
    with torch.no_grad():
        logits = model(**tokenizer(text, return_tensors="pt")).logits[0].double()
    expected = logits.sigmoid()[[4, 2, 1, 3]]  # neutral, gratitude, anger, remorse
    np.testing.assert_allclose(scorer.score([text])[0], expected, atol=1e-6)
    assert scorer.score(["the bus " * 500]).shape == (1, 4)


def test_labels_that_share_one_probability(tmp_path):
    folder = save_classifier(tmp_path, ("Angry", "GRATEFUL", "no_emotion"), multi_label=False)
    scorer = HuggingFaceScorer(prompts.bank(), str(folder), device="cpu")
    assert scorer.emotions == ("neutral", "gratitude", "anger") and scorer.chance == pytest.approx(1 / 3)
    np.testing.assert_allclose(scorer.score(["thank you"]).sum(axis=1), 1)


def refused(source, *said):
    with pytest.raises(InputError) as caught:
        HuggingFaceScorer(prompts.bank(), str(source)).score(["x"])
    assert len(str(caught.value).splitlines()) <= 4
    for words in said:
        assert words in str(caught.value)


def test_what_is_no_classifier(tmp_path, monkeypatch):
    refused(save_classifier(tmp_path / "a", ("LABEL_0", "LABEL_1")), "no label", "LABEL_0")
    refused(save_classifier(tmp_path / "b", classifier=False), "no sequence classifier", "BertForMaskedLM")
    refused(save_classifier(tmp_path / "c", safe=False), "pickled")
    refused(save_classifier(tmp_path / "d", ("anger",)), "no label")
    change_config(save_classifier(tmp_path / "e"), architectures=None)
    refused(tmp_path / "e", "no sequence classifier")
    headless = save_classifier(tmp_path / "f", classifier=False)
    change_config(headless, architectures=["BertForSequenceClassification"], id2label={0: "anger", 1: "neutral"})
    refused(headless, "lacks weights")
    (save_classifier(tmp_path / "g") / "model.safetensors").write_bytes(b"nothing")
    refused(tmp_path / "g", "cannot be loaded")
    (tmp_path / "h").mkdir()
    refused(tmp_path / "h", "no weights")
    refused(tmp_path / "nowhere", "no such folder")
    refused("reference/gpt2", "no classifier")
    refused("//", "folder")
    with pytest.raises(InputError, match="no such scorer"):
        make_scorer("hf:", Setting(prompts.bank()))


def test_without_the_hub_one_line_says_so(monkeypatch):
    from emotion_circuits.models import _hub

    def unreachable(*_args, **_options):
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unreachable)
    monkeypatch.setattr(_hub, "cached_snapshot", lambda *_args, **_options: None)
    refused("SamLowe/roberta-base-go_emotions", "hub cannot be reached", "no route")


# The offline classifier


@pytest.mark.parametrize(("profile", "has_explicit"), [("baseline", True), ("extended", False)])
def test_nothing_is_learnt_from_what_directions_are_made_of(profile, has_explicit):
    learnt = OfflineScorer(prompts.bank(), profile).training_texts()
    texts = {t.text for t in learnt}
    assert not texts & {t.text for t in prompts.bank().profile(profile)}
    assert not texts & {t.text for t in prompts.bank().real_world()}
    assert not any(c.text in text for text in texts for c in prompts.contexts())
    assert ("explicit" in {t.source for t in learnt}) == has_explicit
    by_scenario = {}
    for t in learnt:
        by_scenario.setdefault(t.scenario, set()).add(t.source)
    assert all(len(sources) == 1 for sources in by_scenario.values())
    with pytest.raises(InputError, match="unknown profile"):
        OfflineScorer(prompts.bank(), "all")


@pytest.fixture(scope="session")
def held_out():
    return cross_validate(OfflineScorer(prompts.bank()), n_bootstrap=500, n_permutations=199)


def test_held_out_scenarios_and_real_world_texts_are_told_far_above_chance(held_out):
    """The bounds are some way below what is documented: .76, .64, .87 and .77 of four classes."""
    accuracy = {r.texts.split()[0]: r for r in held_out if r.statistic == "accuracy"}
    assert set(accuracy) == {"explicit", "implicit", "continuations"}
    rows = judge_scorer(OfflineScorer(prompts.bank()), prompts.bank().real_world(), n_bootstrap=500, n_permutations=199)
    accuracy["real_world"] = rows[-1]
    for name, least in {"explicit": 0.7, "implicit": 0.58, "continuations": 0.82, "real_world": 0.7}.items():
        row = accuracy[name]
        assert row.value >= least and row.ci_low > row.null_high and row.p == 1 / 200
        assert row.chance == pytest.approx(0.25, abs=0.03) and row.majority <= 0.3
    assert all(r.ci_low > 0.5 for r in (*held_out, *rows) if r.statistic == "AUROC")


def test_foils_are_mostly_seen_through_when_held_out(held_out):
    [row] = [r for r in held_out if r.statistic == "false alarms"]
    markers = MarkerScorer(prompts.bank()).score([t.text for t in prompts.bank().foils()]).any(axis=1).mean()
    assert row.value < 0.35 < markers
    assert row.n_texts == 60


def test_scorers_of_noise_are_judged_at_chance():
    class Noise:
        name, emotions, meaning, low, high, chance = "noise", CLASSES, "nothing", 0.0, 1.0, 0.25

        def __init__(self, seed):
            self.seed = seed

        def score(self, texts):
            return np.random.default_rng(self.seed).random((len(texts), 4))

    rows = [
        row
        for seed in range(16)
        for row in judge_scorer(Noise(seed), prompts.bank().implicit(), n_bootstrap=200, n_permutations=99)
    ]
    assert [r.statistic for r in rows[:5]] == ["AUROC"] * 4 + ["accuracy"]
    assert np.mean([r.ci_low < r.chance < r.ci_high for r in rows]) > 0.85
    assert np.mean([r.p <= 0.05 for r in rows]) < 0.15


def test_accuracy_by_hand():
    class Fixed:
        name, emotions, meaning, low, high, chance = "fixed", ("neutral", "anger"), "", 0.0, 1.0, 0.5

        def score(self, texts):
            return np.array([[1.0, 0.0] if "n" in t else [0.0, 1.0] for t in texts])

    data = Dataset("six", tuple(
        Text(text, emotion, str(i), "test")
        for i, (text, emotion) in enumerate(
            [("n", "neutral"), ("n", "neutral"), ("n", "neutral"), ("n", "anger"), ("x", "anger"), ("x", "anger")]
        )
    ))  # fmt: skip
    [*_, accuracy] = judge_scorer(Fixed(), data, n_bootstrap=200, n_permutations=199)
    assert accuracy.value == pytest.approx(5 / 6) and accuracy.majority == 0.5
