"""Word-set log-odds: against a full softmax, and which words' tokens count."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emotion_circuits import prompts
from emotion_circuits.engine import final_states, logits_of
from emotion_circuits.errors import InputError
from emotion_circuits.prompts import Context, WordSet, WordSets, bank
from emotion_circuits.scoring import SlotTokens, log_odds, slot_task, slot_tokens

CLASSES = bank().names


def odds_by_hand(logits, tokens):
    """(classes,) from probabilities over the whole vocabulary, in float64."""
    p = np.exp(logits - logits.max())
    p /= p.sum()
    of_class = np.array([sum(p[t] for t in tokens[c]) for c in CLASSES])
    return [np.log(of_class[k]) - np.log(of_class.sum() - of_class[k]) for k in range(len(CLASSES))]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1000), st.integers(1, 4), st.floats(0.1, 5))
def test_log_odds_equal_those_of_the_full_softmax(seed, n_contexts, scale):
    rng = np.random.default_rng(seed)
    slots = []
    for _ in range(n_contexts):
        ids = rng.permutation(40)[:12]
        ends = sorted(rng.choice(np.arange(1, 12), 3, replace=False))
        parts = np.split(ids, ends)
        slots.append(SlotTokens("opening", {c: tuple(map(int, p)) for c, p in zip(CLASSES, parts, strict=True)}, ()))
    logits = scale * rng.standard_normal((2, 3, n_contexts, 40))
    found = log_odds(torch.from_numpy(logits), slots).numpy()
    assert found.shape == (2, 3, n_contexts, 4)
    for index in np.ndindex(2, 3, n_contexts):
        by_hand = odds_by_hand(logits[index], slots[index[-1]].tokens)
        np.testing.assert_allclose(found[index], by_hand, rtol=1e-4, atol=1e-4)


def test_log_odds_see_no_other_word_and_no_constant():
    slot = SlotTokens("opening", {c: (2 * k, 2 * k + 1) for k, c in enumerate(CLASSES)}, ())
    logits = torch.randn(1, 20, generator=torch.Generator().manual_seed(0))
    other = logits.clone()
    other[:, 8:] += 100
    assert torch.equal(log_odds(logits, [slot]), log_odds(other, [slot]))
    torch.testing.assert_close(log_odds(logits + 7, [slot]), log_odds(logits, [slot]), atol=1e-5, rtol=0)
    louder = logits.clone()
    louder[:, :2] += 1
    assert float((log_odds(louder, [slot]) - log_odds(logits, [slot]))[0, 0]) == pytest.approx(1, abs=1e-5)


class FakeModel:
    """Contexts of one token, 1000; words as lists of pieces, of which a leading space belongs to the first."""

    name = "fake"

    def __init__(self, pieces):
        self.pieces = pieces
        names = sorted({(" " if lead else "") + p[0] for p in pieces.values() for lead in (0, 1)})
        self.ids = {name: k for k, name in enumerate(names)}

    def encode(self, texts):
        return [SimpleNamespace(ids=(1000,)) for _ in texts]

    def tokens_after(self, contexts, pieces):
        def tokens(text):
            first, *rest = self.pieces[text.strip()]
            lead = " " if text.startswith(" ") else ""
            return (self.ids[lead + first], *range(900, 900 + len(rest)))

        return [[tokens(piece) for piece in pieces] for _ in contexts]

    def text_after(self, context, new):
        [token] = new
        return {k: name for name, k in self.ids.items()}[token]


def tokens_of(words, slot="opening"):
    """Word sets written as class → {word: pieces}."""
    pieces = {w: p for found in words.values() for w, p in found.items()}
    lm = FakeModel(pieces)
    sets = tuple(WordSet(c, slot, tuple(found)) for c, found in words.items())  # type: ignore[arg-type]
    [found] = slot_tokens(lm, WordSets(sets), slot, ["The context"])  # type: ignore[arg-type]
    names = {k: name for name, k in lm.ids.items()}
    return {c: {names[t] for t in tokens} for c, tokens in found.tokens.items()}, set(found.dropped)


WORDS = {
    "neutral": {"Today": ["Today"]},
    "gratitude": {"Thanks": ["Thanks"], "Bless": ["Bl", "ess"]},
    "anger": {"Damn": ["Damn"], "Go": ["Go"]},
    "apology": {"Apologies": ["Apolog", "ies"]},
}


def test_whole_words_and_long_beginnings_count_and_short_ones_do_not():
    found, dropped = tokens_of(WORDS)
    assert found == {"neutral": {"Today"}, "gratitude": {"Thanks"}, "anger": {"Damn", "Go"}, "apology": {"Apolog"}}
    assert dropped == {"Bless"}


def test_a_first_token_of_two_classes_counts_for_neither():
    """Also where one class has it as a whole word and the other as a beginning."""
    shared = {**WORDS, "anger": {"Damn": ["Damn"], "Thankless": ["Thank", "less"]}}
    shared["gratitude"] = {"Thanks": ["Thanks"], "Thank": ["Thank"]}
    found, dropped = tokens_of(shared)
    assert found["gratitude"] == {"Thanks"} and found["anger"] == {"Damn"}
    assert dropped == {"Thank", "Thankless"}


def test_two_words_of_one_class_with_one_token_count_once():
    same = {**WORDS, "gratitude": {"Thank": ["Thank"], "Thankful": ["Thank", "ful"]}}
    found, dropped = tokens_of(same)
    assert found["gratitude"] == {"Thank"} and not dropped


def test_adjectives_are_looked_up_after_a_space():
    found, _ = tokens_of(WORDS, "adjective")
    assert found["gratitude"] == {" Thanks"}
    assert found["anger"] == {" Damn", " Go"}


def test_a_class_without_a_token_of_its_own_is_an_error():
    with pytest.raises(InputError, match="No word of apology at the slot 'opening'") as caught:
        tokens_of({**WORDS, "apology": {"Apologies": ["Ap", "olog", "ies"]}})
    assert "fake" in str(caught.value) and "The context" in str(caught.value)


@pytest.mark.parametrize("name", ["gpt2", "gpt-neox", "gpt-neo"])
def test_a_task_s_scores_equal_one_context_at_a_time(reference, name):
    """Both slots, contexts of different lengths, packed; against transformers' own logits and a full softmax."""
    lm = reference(name)
    contexts = [*prompts.contexts("development")[:3], *prompts.contexts("test")[-4:]]
    task = slot_task(lm, contexts, prompts.bank().word_sets())
    assert task.contexts == tuple(contexts) and {s.slot for s in task.slots} == set(prompts.SLOTS)
    found = np.full((len(contexts), len(CLASSES)), np.nan)
    for batch in task.batches:
        states = final_states(lm, batch).reshape(-1, lm.d_model)[batch.last()]
        with torch.no_grad():
            found[list(batch.texts)] = task.score(batch, logits_of(lm, states)).numpy()
    for k, context in enumerate(contexts):
        with torch.no_grad():
            logits = lm.hf(torch.tensor([lm.encode([context.text])[0].ids])).logits[0, -1].double().numpy()
        np.testing.assert_allclose(found[k], odds_by_hand(logits, task.slots[k].tokens), atol=2e-4)


def test_no_contexts_are_refused(reference):
    with pytest.raises(InputError, match="No contexts"):
        slot_task(reference("gpt2"), [], prompts.bank().word_sets())
    wrong = Context("x", "She said: ", "verb", "test")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no such word set"):
        slot_task(reference("gpt2"), [wrong], prompts.bank().word_sets())
