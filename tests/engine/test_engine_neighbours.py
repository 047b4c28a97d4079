"""A text's numbers are its own: whatever stands beside it, and though the states of that are not finite."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emotion_circuits import prompts
from emotion_circuits.engine import (
    SITES,
    Point,
    attention_of,
    for_each_batch,
    generate_finite,
    generate_variants,
    gradients,
    load_verified,
    plan_batches,
    plan_branches,
    record,
    record_tokens,
    run_from,
    tails,
)
from emotion_circuits.engine._edits import add
from emotion_circuits.engine._pushes import added
from emotion_circuits.interventions import continuation_outcomes, slot_outcomes
from emotion_circuits.prompts import Context
from emotion_circuits.scoring import continuation_perplexities, continuation_task, slot_task
from tiny_models import VARIANTS

BAD = " because"
WORDS = (" the", " letter", " came", " back", " and", " she", " said", " nothing", " on", ".")
NEAR = 1e-5

words = st.lists(st.sampled_from(WORDS), min_size=2, max_size=12)
clean = words.map("".join)
spoilt = st.tuples(words, words).map(lambda parts: "".join(parts[0]) + BAD + "".join(parts[1]))
long = st.integers(129, 150).map(lambda n: " said" * n)
neighbours = st.lists(st.one_of(clean, spoilt, spoilt, long), min_size=1, max_size=4)
few = settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)


@pytest.fixture(scope="module", params=[v for v in VARIANTS if v.name == v.model_type], ids=lambda v: v.name)
def spoiling(request, tiny_folder):
    """A model of every family that is not finite after one token; its own, since it is changed here."""
    lm = load_verified(str(tiny_folder(request.param)), bos=False)
    [bad] = lm.tokenizer(BAD)["input_ids"]
    # The head's weights, which are the embedding's where they are tied, stay finite: else no text had logits.
    lm.embedding.register_forward_hook(
        lambda _, given, found: found.masked_fill((given[0] == bad).unsqueeze(-1), torch.inf)
    )
    return lm


def same(beside, alone, spoilt_one):
    beside, alone = (np.asarray(x, dtype=np.float64) for x in (beside, alone))
    assert (np.isfinite(beside) == np.isfinite(alone)).all()
    if not spoilt_one:
        assert np.isfinite(alone).all()
    known = np.isfinite(alone)
    if known.any():
        assert np.abs(beside[known] - alone[known]).max() <= NEAR * max(np.abs(alone[known]).max(), 1.0)


def each(texts, run):
    """`run` gives a value for each text: those of all together equal each text's alone."""
    together = run(texts)
    for text, beside in zip(texts, together, strict=True):
        [alone] = run([text])
        same(beside, alone, BAD in text)
    return together


def ids_of(lm, texts):
    return [e.ids for e in lm.encode(texts)]


def points_of(lm):
    return [
        Point(site, layer)
        for layer in range(lm.n_layers)
        for site in SITES
        if not (site == "embed" and layer) and not (site == "resid_mid" and lm.parallel)
    ]


@few
@given(neighbours)
def test_recording_at_every_site(spoiling, texts):
    lm, points = spoiling, points_of(spoiling)

    def run(texts):
        ids = ids_of(lm, texts)
        places = {
            "first": [[0]] * len(ids),
            "mean": [[*range(len(t))] for t in ids],
            "last": [[len(t) - 1] for t in ids],
        }
        found = record(lm, ids, places, points)
        return [
            np.stack([found.values[p][k, i, :32].numpy() for p in points for k in range(3)]) for i in range(len(ids))
        ]

    for text, values in zip(texts, each(texts, run), strict=True):
        if BAD in text:
            assert not np.isfinite(values[-1]).any() and np.isfinite(values[-3]).all()  # its first token is before that


@few
@given(neighbours)
def test_perplexity_and_generation(spoiling, texts):
    lm = spoiling
    each(texts, lambda texts: continuation_perplexities(lm, ["She"] * len(texts), texts))
    beginnings = [text[-400:] for text in texts]
    push = added(1, torch.randn(2, lm.d_model, generator=torch.Generator().manual_seed(0)))

    def greedy(texts):
        return generate_finite(lm, lm.encode(texts), max_tokens=3)

    def sampled(texts):
        return generate_finite(lm, lm.encode(texts), max_tokens=3, temperature=0.7, seeds=[5] * len(texts))

    def steered(texts):
        return list(zip(*generate_variants(lm, lm.encode(texts), push, max_tokens=3), strict=True))

    for run in (greedy, sampled, steered):
        together = run(beginnings)
        assert together == [run([text])[0] for text in beginnings]
        assert [text is None or text == (None, None) for text in together] == [BAD in text for text in beginnings]


@few
@given(st.lists(st.one_of(clean, spoilt), min_size=2, max_size=4))
def test_slots_and_continuations_under_changes(spoiling, texts):
    lm = spoiling
    push = [added(0, torch.randn(3, lm.d_model, generator=torch.Generator().manual_seed(0)) * 0.3)]
    said = [c for c in prompts.bank().continuations() if c.emotion == "anger"][:2]

    def contexts(texts):
        return [Context(str(i), f'{text} He said, "', "opening", "test") for i, text in enumerate(texts)]

    def slots(texts, where):
        task = slot_task(lm, contexts(texts), prompts.bank().word_sets())
        return slot_outcomes(lm, task, push, where=where)[0].transpose(1, 0, 2)

    def continuations(texts):
        return continuation_outcomes(lm, continuation_task(lm, contexts(texts), said), push)[0].transpose(1, 0, 2)

    each(texts, lambda texts: slots(texts, "all"))
    each(texts, lambda texts: slots(texts, "last"))
    each(texts, continuations)


@few
@given(neighbours)
def test_gradients_and_attention(spoiling, texts):
    lm = spoiling
    points = [p for p in points_of(lm) if p.site != "resid_pre" or p.layer]

    def run(texts):
        found = [None] * len(texts)
        looked = [None] * len(texts)

        def of(batch):
            last = batch.last()
            one = gradients(lm, batch, points, lambda states: states.flatten(0, 1)[last].square().sum())
            attention = attention_of(lm, batch)[-1].weights
            for i, text in enumerate(batch.texts):
                own = [batch.flat(i, k) for k in range(len(batch.ids[i]))]
                found[text] = np.concatenate([one.gradients[p].flatten(0, 1)[own].numpy() for p in points], axis=-1)
                first = batch.start[i]
                looked[text] = attention[batch.row[i], :, first : first + len(own), first : first + len(own)].numpy()

        for_each_batch(plan_batches(ids_of(lm, texts), packed=lm.packing), of)
        return found, looked

    (beside, looked), alone = run(texts), [run([text]) for text in texts]
    for i, text in enumerate(texts):
        same(looked[i], alone[i][1][0], BAD in text)
        if BAD not in text:
            same(beside[i], alone[i][0][0], False)


@few
@given(st.lists(st.one_of(clean, spoilt), min_size=2, max_size=4), st.booleans())
def test_kept_prefixes_and_branches(spoiling, texts, branched):
    """Two versions of every text share what they begin with; a change is made in what they do not share."""
    lm = spoiling
    edit = add(Point("z", 1), torch.linspace(-1, 1, lm.n_heads * lm.d_head))

    def run(texts):
        ids = [tuple(own) + end for own in ids_of(lm, texts) for end in ((7, 8, 9), (10, 11))]
        if branched:
            groups = [k // 2 for k in range(len(ids))]
            passes = plan_branches(lm, ids, groups, [len(text) - 2 for text in ids])
        else:
            planned = plan_batches(ids, packed=lm.packing)
            passes = [tail for batch in planned for tail in tails(lm, batch, [len(t) - 3 for t in batch.ids])]
        found = [None] * len(ids)
        for batch in passes:
            entering = record_tokens(lm, batch, [Point("resid_pre", 0)])[Point("resid_pre", 0)]
            states = run_from(lm, batch, 0, entering, [edit])[0]
            for text, at in zip(batch.texts, batch.last(), strict=True):
                found[text] = states[at].numpy()
        return [np.stack(found[2 * k : 2 * k + 2]) for k in range(len(texts))]

    each(texts, run)
