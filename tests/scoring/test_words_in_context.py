"""Words at slots, written text and its perplexity under every layout of tokenizer, beside plain transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emotion_circuits import prompts
from emotion_circuits.components import WordSetOutcome, matched_pairs
from emotion_circuits.engine import Written, final_states, generate, logits_of
from emotion_circuits.errors import InputError
from emotion_circuits.models import load
from emotion_circuits.prompts import WordSet, WordSets, bank
from emotion_circuits.scoring import continuation_perplexities, slot_task, slot_tokens

CLASSES = bank().names

PROMPTS = ("She opened the letter and said", "The parcel", "He is", "They met at the station, and he said, naïve:")
CONTEXTS = [c for slot in prompts.SLOTS for c in [c for c in prompts.contexts("development") if c.slot == slot][:3]]


def words_after(plain, context, slot):
    """class → the tokens of its words, by the rule in `slot_tokens`' docstring."""
    before, first = plain(context)["input_ids"], {}
    for emotion in CLASSES:
        for word in bank().word_sets().words(emotion, slot):
            joint = plain(context + (" " if slot == "adjective" else "") + word)["input_ids"]
            rest = joint[len(before) :]
            if joint[: len(before)] == before and (
                len(rest) == 1 or len(plain.convert_ids_to_tokens(rest[0]).strip("▁Ġ")) >= 3
            ):
                first.setdefault(emotion, set()).add(rest[0])
    return {
        e: tuple(sorted(t for t in own if sum(t in other for other in first.values()) == 1)) for e, own in first.items()
    }


def test_words_are_those_of_the_joint_text(styled, plain):
    task = slot_task(styled, CONTEXTS, bank().word_sets())
    for context, slot in zip(CONTEXTS, task.slots, strict=True):
        assert slot.tokens == words_after(plain, context.text, context.slot)
    assert len({id(slot) for slot in task.slots}) <= 4  # contexts with equal tokens share them


def test_log_odds_are_those_of_transformers_logits(styled, plain):
    task = slot_task(styled, CONTEXTS, bank().word_sets())
    found = np.full((len(CONTEXTS), len(CLASSES)), np.nan)
    for batch in task.batches:
        states = final_states(styled, batch).reshape(-1, styled.d_model)[batch.last()]
        with torch.no_grad():
            found[list(batch.texts)] = task.score(batch, logits_of(styled, states)).numpy()
    for k, context in enumerate(CONTEXTS):
        ids = torch.tensor([plain(context.text)["input_ids"]])
        with torch.no_grad():
            logits = styled.hf(ids).logits[0, -1].double()
        sums = torch.stack(
            [logits[list(own)].logsumexp(0) for own in words_after(plain, context.text, context.slot).values()]
        )
        odds = [
            float(sums[c] - sums[[o for o in range(len(CLASSES)) if o != c]].logsumexp(0)) for c in range(len(CLASSES))
        ]
        np.testing.assert_allclose(found[k], odds, atol=2e-4)


def test_text_is_what_the_model_wrote_and_is_judged_in_its_own_tokens(styled, plain):
    texts = generate(styled, styled.encode(PROMPTS), max_tokens=8)
    judged = continuation_perplexities(styled, PROMPTS, texts)
    for prompt, text, value in zip(PROMPTS, texts, judged, strict=True):
        ids = torch.tensor([plain(prompt)["input_ids"]])
        full = styled.hf.generate(ids, max_new_tokens=8, do_sample=False, pad_token_id=0)
        new = [t for t in full[0, ids.shape[1] :].tolist() if t not in (0, plain.eos_token_id)]
        before, joint = (plain.decode([*ids[0].tolist(), *x], skip_special_tokens=True) for x in ([], new))
        assert joint.startswith(before) and text == joint[len(before) :] and list(text.ids) == new
        if not text:  # ids beyond the tokenizer's, which a model with a padded vocabulary may write
            assert np.isnan(value)
            continue
        with torch.no_grad():
            log_p = styled.hf(torch.cat([ids, torch.tensor([new])], dim=1)).logits[0].log_softmax(-1)
        own = [float(log_p[ids.shape[1] - 1 + k, t]) for k, t in enumerate(new)]
        assert value == pytest.approx(np.exp(-np.mean(own)), rel=1e-4)


def test_text_without_tokens_is_judged_after_its_prompt(styled, plain):
    text = " thanked the old man"
    [value] = continuation_perplexities(styled, PROMPTS[:1], [text])
    [foreign] = continuation_perplexities(styled, PROMPTS[:1], [Written(text, [5, 6])])  # another tokenizer's tokens
    before, joint = (plain(PROMPTS[0] + x)["input_ids"] for x in ("", text))
    assert joint[: len(before)] == before
    with torch.no_grad():
        log_p = styled.hf(torch.tensor([joint])).logits[0].log_softmax(-1)
    own = [float(log_p[k - 1, joint[k]]) for k in range(len(before), len(joint))]
    assert value == foreign == pytest.approx(np.exp(-np.mean(own)), rel=1e-4)


def test_a_pair_s_words_go_on_both_its_prompts(styled, plain):
    pairs = matched_pairs(styled, bank().profile("baseline"), "gratitude", split="test")
    measured = WordSetOutcome(styled, pairs, bank().word_sets())
    [batch, *_] = measured.batches(styled)
    states = final_states(styled, batch.a).reshape(1, -1, styled.d_model)
    with torch.no_grad():
        found = measured.score(styled, batch.a, states)[0]
    for place, i in enumerate(batch.a.texts[:4]):
        pair = pairs.pairs[i]
        own, other = (words_after(plain, text, "opening") for text in (pair.text_a, pair.text_b))
        assert own == other
        with torch.no_grad():
            logits = styled.hf(torch.tensor([pair.ids_a])).logits[0, -1].double()
        rest = [t for c in CLASSES if c != "gratitude" for t in own[c]]
        odds = logits[list(own["gratitude"])].logsumexp(0) - logits[rest].logsumexp(0)
        assert float(found[place]) == pytest.approx(float(odds), abs=2e-4)


def test_words_that_merge_with_their_context_are_dropped(llama_with):
    """After `tha`, `nk` has no token of its own; a word counts for several contexts only if it does in all."""
    styled = load(str(llama_with("byte_level")))
    sets = WordSets(tuple(
        WordSet(c, "opening", words)
        for c, words in zip(CLASSES, (("The",), ("nk", "Thank"), ("How",), ("Sorry",)), strict=True)
    ))  # fmt: skip
    [merging] = slot_tokens(styled, sets, "opening", ["We tha"])
    assert merging.dropped == ("nk",) and merging.tokens["gratitude"] == styled.tokens_after(['"'], ["Thank"])[0][0][:1]
    only = WordSets(
        tuple(s if s.emotion != "gratitude" else WordSet("gratitude", "opening", ("nk",)) for s in sets.sets)
    )
    with pytest.raises(InputError, match=r"No word of gratitude.*\n.*We tha"):
        slot_tokens(styled, only, "opening", ["We tha"])
    with pytest.raises(InputError, match="No word of gratitude"):
        slot_tokens(styled, only, "opening", ['A "'], ["We tha"])
