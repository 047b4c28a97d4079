"""Teacher-forced continuations: against one text at a time, and which tokens count."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emotion_circuits import prompts
from emotion_circuits.engine import final_states, logits_of
from emotion_circuits.errors import InputError
from emotion_circuits.prompts import Context, Continuation
from emotion_circuits.scoring import continuation_task

OPENINGS = [c for c in prompts.contexts() if c.slot == "opening"]


def some(n=3):
    """A few of every class, with and without masked words."""
    found = prompts.bank().continuations("test")
    return [c for e in prompts.bank().names for c in [x for x in found if x.emotion == e][:n]]


def scores_of(lm, task, variants=1):
    """(variants, contexts, continuations) of the clean model."""
    found = np.full((variants, len(task.ids)), np.nan)
    for batch in task.batches:
        states = final_states(lm, batch).reshape(-1, lm.d_model)[task.read(batch)]
        with torch.no_grad():
            logits = logits_of(lm, states)[None].expand(variants, -1, -1)
        found[:, list(batch.texts)] = task.score(batch, logits).numpy()
    return found.reshape(variants, len(task.contexts), len(task.continuations))


def score_by_hand(lm, context, continuation):
    """One text alone through transformers; characters decide which tokens count."""
    text = context.text + continuation.text
    encoded = lm.encode([text])[0]
    with torch.no_grad():
        log_p = lm.hf(torch.tensor([encoded.ids])).logits[0].double().log_softmax(-1).numpy()
    hidden = {len(context.text) + k for a, b in continuation.masked for k in range(a, b)}
    values = []
    for k in range(1, len(encoded)):
        characters = set(range(*encoded.offsets[k]))
        if characters and min(characters) >= len(context.text) and not characters & hidden:
            values.append(log_p[k - 1, encoded.ids[k]])
    return np.mean(values)


@pytest.mark.parametrize("name", ["gpt2", "gpt-neox", "gpt-neo"])
def test_scores_equal_one_text_at_a_time(reference, name):
    lm = reference(name)
    contexts, continuations = [OPENINGS[0], OPENINGS[-1]], some(2)
    assert any(c.masked for c in continuations)
    task = continuation_task(lm, contexts, continuations)
    [found] = scores_of(lm, task)
    for i, context in enumerate(contexts):
        for j, continuation in enumerate(continuations):
            assert found[i, j] == pytest.approx(score_by_hand(lm, context, continuation), abs=2e-5)
    assert (found < 0).all()


def test_batches_and_variants_do_not_matter(reference):
    lm = reference("gpt2")
    contexts, continuations = OPENINGS[:3], some(2)
    small = scores_of(lm, continuation_task(lm, contexts, continuations, batch_tokens=1))
    large = scores_of(lm, continuation_task(lm, contexts, continuations, batch_tokens=4096), variants=3)
    np.testing.assert_allclose(large, np.repeat(small, 3, axis=0), atol=1e-5)
    order = [2, 0, 1]
    moved = scores_of(lm, continuation_task(lm, [contexts[i] for i in order], continuations[::-1]))
    np.testing.assert_allclose(moved, small[:, order][:, :, ::-1], atol=1e-5)


@pytest.mark.parametrize("name", ["gpt2", "gpt-neox"])
def test_what_counts_is_the_continuation_without_its_masked_words(reference, name):
    """Every token of the continuation is scored or masked; none of the context is."""
    lm = reference(name)
    contexts, continuations = OPENINGS[:2], prompts.bank().continuations()
    task = continuation_task(lm, contexts, continuations)
    encoded = lm.encode([a.text + b.text for a in contexts for b in continuations])
    for pair, tokens in enumerate(encoded):
        context, continuation = contexts[pair // len(continuations)], continuations[pair % len(continuations)]
        text = context.text + continuation.text
        kept = task.scored[pair]
        assert kept and all(tokens.offsets[k][0] >= len(context.text) for k in kept)
        read = "".join(text[slice(*tokens.offsets[k])] for k in kept)
        plain = continuation.text
        for a, b in sorted(continuation.masked, reverse=True):
            plain = plain[:a] + plain[b:]
        # A token may reach over the quotation mark before, or hold a masked word and the sign after it.
        missing = len(plain.replace(" ", "")) - len(read.replace(" ", ""))
        assert 0 <= missing <= 3 + 2 * len(continuation.masked), (plain, read)
        for a, b in continuation.masked:
            assert continuation.text[a:b] not in read.split(" ")
            start = len(context.text)
            assert not any(tokens.offsets[k][0] < start + b and tokens.offsets[k][1] > start + a for k in kept)


def test_masking_a_word_takes_its_tokens_out_of_the_mean_and_nothing_else(reference):
    lm = reference("gpt2")
    text = "I am so sorry about the broken gate."
    start = text.index("sorry")
    full = Continuation("full", "apology", text, (), "test")
    masked = Continuation("masked", "apology", text, ((start, start + 5),), "test")
    task = continuation_task(lm, OPENINGS[:1], [full, masked])
    [[a, b]] = scores_of(lm, task)[0]
    n, m = len(task.scored[0]), len(task.scored[1])
    assert set(task.scored[1]) < set(task.scored[0])
    encoded = lm.encode([OPENINGS[0].text + text])[0]
    with torch.no_grad():
        log_p = lm.hf(torch.tensor([encoded.ids])).logits[0].double().log_softmax(-1)
    gone = [float(log_p[k - 1, encoded.ids[k]]) for k in set(task.scored[0]) - set(task.scored[1])]
    assert n * a - m * b == pytest.approx(sum(gone), abs=1e-3)


def test_read_points_at_the_token_before(reference):
    lm = reference("gpt-neo")
    task = continuation_task(lm, OPENINGS[:2], some(1))
    for batch in task.batches:
        grid = batch.input_ids().reshape(-1)
        expected = [task.ids[pair][k - 1] for pair in batch.texts for k in task.scored[pair]]
        assert [int(grid[k]) for k in task.read(batch)] == expected


@pytest.mark.parametrize(
    ("contexts", "continuations", "said"),
    [
        ([], some(1), "no contexts or no continuations"),
        (OPENINGS[:1], [], "no contexts or no continuations"),
        ([Context("a", "The hall was", "adjective", "test")], some(1), "opening"),
        (OPENINGS[:1], [Continuation("only", "apology", "Sorry", ((0, 5),), "test")], "outside its masks"),
        (OPENINGS[:1], [Continuation("none", "apology", "", (), "test")], "outside its masks"),
    ],
)
def test_what_cannot_be_scored(reference, contexts, continuations, said):
    with pytest.raises(InputError, match=said):
        continuation_task(reference("gpt2"), contexts, continuations)
