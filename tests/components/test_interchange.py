"""Interchange against plain hooks, one patch and one text at a time, in every family; order, layout and refusals, which
are the same code for all of them, in two."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
import torch
from patched_by_hand import block, log_odds

from emotion_circuits import prompts
from emotion_circuits.components import (
    PLACES,
    SWAP_SITES,
    ContinuationOutcome,
    WordSetOutcome,
    _interchange,
    gap_is_clear,
    interchange,
    interchange_measures,
    matched_pairs,
)
from emotion_circuits.engine import count_hooks
from emotion_circuits.errors import InputError


def module(lm, site, layer):
    attention = lm.family.attention_post_norm or lm.family.attention
    mlp = lm.family.mlp_post_norm or lm.family.mlp
    return {"resid_post": block(lm, layer), "attn_out": getattr(block(lm, layer), attention),
            "mlp_out": getattr(block(lm, layer), mlp)}[site]  # fmt: skip


def first(output):
    return output if isinstance(output, torch.Tensor) else output[0]


def hooked(lm, ids, site, layer, hook):
    handle = module(lm, site, layer).register_forward_hook(hook)
    try:
        with torch.no_grad():
            return lm.hf(torch.tensor([ids]), use_cache=False).logits[0]
    finally:
        handle.remove()


def output_of(lm, ids, site, layer):
    """(1, tokens, width) what a module gives."""
    seen = []
    hooked(lm, ids, site, layer, lambda _module, _inputs, output: seen.append(first(output).clone()))
    return seen[0]


def swapped_by_hand(lm, into, other, site, layer, tokens, emotion):
    """The outcome of one text with another's output of one module put in at some tokens."""

    def put(_module, _inputs, output):
        value = first(output).clone()
        value[:, list(tokens)] = other[:, list(tokens)]
        return value if isinstance(output, torch.Tensor) else (value, *output[1:])

    return float(log_odds(lm, hooked(lm, into, site, layer, put), emotion))


def test_places_are_all_tokens_but_the_first_once(case):
    for pair in case.pairs.pairs:
        places = pair.places()
        assert tuple(places) == PLACES
        single = sorted(k for name, tokens in places.items() if name != "all" for k in tokens)
        assert single == list(places["all"]) == list(range(1, len(pair.ids_a)))
        text = case.lm.tokenizer.decode([pair.ids_a[k] for k in (*places["bridge"], *places["last"])])
        assert text.strip() == case.pairs.bridge.text.strip()
        assert places["before"] == () or max(places["before"]) < min(places["word"])


def test_every_site_and_place_is_what_a_hook_gives(case):
    lm, pairs, outcome = case.of(2)
    counted, layers = [], (0, lm.n_layers - 1)
    other = cache(partial(output_of, lm))
    found = interchange(lm, outcome, layers=layers, batch_tokens=300, on_runs=counted.append)
    cells = len(SWAP_SITES) * len(layers) * len(PLACES)
    assert sum(counted) == cells * 2 * 2 * len(outcome.batches(lm, 300))
    for i, pair in enumerate(pairs.pairs):
        others = list(pairs.prompts_b.values())
        at = list(pairs.prompts_b).index(pair.scenario)
        alike = [ids for ids in (*others[at + 1 :], *others[:at]) if len(ids) == len(pair.ids_b)]
        for s, site in enumerate(SWAP_SITES):
            for k, layer in enumerate(layers):
                for p, (place, tokens) in enumerate(pair.places().items()):
                    own = [found.swapped[d].own[i, s, k, p] for d in ("denoising", "noising")]
                    if not tokens:
                        assert np.isnan(own).all()
                        continue
                    by_hand = [
                        swapped_by_hand(lm, into, other(source, site, layer), site, layer, tokens, "anger")
                        for into, source in ((pair.ids_b, pair.ids_a), (pair.ids_a, pair.ids_b))
                    ]
                    assert own == pytest.approx(by_hand, abs=5e-5), (site, layer, place)
                    donor = found.swapped["denoising"].donor[i, s, k, p]
                    if alike:
                        donated = other(alike[0], site, layer)
                        expected = swapped_by_hand(lm, pair.ids_b, donated, site, layer, tokens, "anger")
                        assert donor == pytest.approx(expected, abs=5e-5)
                    else:
                        assert np.isnan(donor)
    assert count_hooks(lm) == 0


def test_the_whole_stream_is_everything(case):
    lm, _, outcome = case
    found = interchange(lm, outcome, places=["all"], sites=["resid_post"], n_donors=0)
    for direction, clean in (("denoising", found.m_a), ("noising", found.m_b)):
        everything = found.swapped[direction].own[:, 0, :, 0]
        assert everything == pytest.approx(np.repeat(clean[:, None], lm.n_layers, 1), abs=5e-5)
        assert np.isnan(found.swapped[direction].donor).all()


@pytest.mark.parametrize("packing", [True, False])
def test_a_run_in_itself_changes_no_bit(contrast, monkeypatch, packing):
    lm, pairs = replace(contrast.lm, packing=packing), contrast.pairs
    same = replace(pairs, pairs=tuple(replace(p, text_b=p.text_a, ids_b=p.ids_a) for p in pairs.pairs))
    outcome = WordSetOutcome(lm, same, prompts.bank().word_sets())
    itself = interchange(lm, outcome, n_donors=0, batch_tokens=300)
    # The same runs with no token patched: products of another shape round in another way.
    monkeypatch.setattr(_interchange, "_marked", lambda lm, outcome, batch, place: batch.marked([], lm.device))
    nothing = interchange(lm, outcome, n_donors=0, batch_tokens=300)
    for direction in itself.swapped:
        np.testing.assert_array_equal(itself.swapped[direction].own, nothing.swapped[direction].own)
        assert np.nanmax(np.abs(itself.swapped[direction].own - itself.m_a[:, None, None, None])) < 2e-5


def test_neither_order_nor_layout_matters(contrast):
    lm, _, outcome = contrast
    layers = (0, lm.n_layers - 1)
    first = interchange(replace(lm, packing=True), outcome, layers=layers)
    second = interchange(
        replace(lm, packing=False), outcome, layers=layers[::-1], sites=SWAP_SITES[::-1], places=PLACES[::-1],
        directions=("noising", "denoising"), batch_tokens=64,
    )  # fmt: skip
    for direction in first.swapped:
        for a, b in zip(first.swapped[direction], second.swapped[direction], strict=True):
            np.testing.assert_allclose(a, b[:, ::-1, ::-1, ::-1], atol=5e-5)


def test_continuations_of_a_prompt_follow_its_places(case):
    lm, pairs, _ = case
    few = replace(pairs, pairs=pairs.pairs[:2])
    known = prompts.bank().continuations()
    outcome = ContinuationOutcome(lm, few, [next(c for c in known if c.emotion == e) for e in ("anger", "neutral")])
    found = interchange(lm, outcome, sites=["resid_post"], layers=[0])
    own = found.swapped["denoising"].own[:, 0, 0]
    assert own[:, PLACES.index("all")] == pytest.approx(found.m_a, abs=5e-5)
    assert np.nanmax(np.abs(own[:, PLACES.index("word")] - found.m_b)) > 1e-5


def test_rows_are_shares_with_their_donors(reference):
    lm = reference("gpt2")
    pairs = matched_pairs(lm, prompts.bank().profile("baseline"), "gratitude").at_most(16)
    outcome = WordSetOutcome(lm, pairs, prompts.bank().word_sets())
    found = interchange(lm, outcome, layers=[2, 6], sites=["resid_post"])
    assert gap_is_clear(found)
    rows = {(m.kind.split()[0], m.layer, m.position): m for m in interchange_measures(found, n_draws=200, n_flips=499)}
    gap = found.m_a - found.m_b
    for way, none, everything in (("denoising", 0, 1), ("noising", 1, 0)):
        word, last = (rows[way, layer, place] for layer, place in ((2, "word"), (6, "last")))
        by_hand = (found.swapped[way].own[:, 0, 0, PLACES.index("word")] - found.m_b).sum() / gap.sum()
        assert word.value == pytest.approx(by_hand)
        # A trained model holds the emotion at its word first, and at the last token later.
        for row in (word, last):
            assert abs(row.value - everything) < 0.4
            assert row.ci_low <= row.value <= row.ci_high and row.ceiling == everything
        assert rows[way, 6, "word"].value == pytest.approx(none, abs=0.15)
        assert rows[way, 2, "all"].value == pytest.approx(everything, abs=1e-4)
        assert np.isnan(rows[way, 2, "all"].p)
    # Another scenario's values do not bring gratitude in, and no word but a grateful one keeps it.
    assert rows["denoising", 2, "word"].p < 0.05 and rows["denoising", 2, "word"].chance < 0.2
    # Where both prompts say the same, there is nothing to have a share of.
    level = replace(found, m_a=found.m_b + np.resize([0.1, -0.1], len(gap)))
    assert not gap_is_clear(level)
    assert all(np.isnan(m.value) and m.n_unique for m in interchange_measures(level, n_draws=50, n_flips=99))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"places": ["nowhere"]}, "nowhere"),
        ({"places": []}, "place"),
        ({"directions": ["sideways"]}, "sideways"),
        ({"sites": ["z"]}, "'z'"),
        ({"sites": ["mlp_out", "mlp_out"]}, "twice"),
        ({"layers": [99]}, "no layer 99"),
        ({"layers": []}, "layers"),
        ({"n_donors": -1}, "-1"),
    ],
)
def test_what_interchange_refuses(contrast, asked, said):
    with pytest.raises(InputError, match=said):
        interchange(contrast.lm, contrast.outcome, **asked)
