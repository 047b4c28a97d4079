"""What heads look at, token by token: against transformers' own weights, head by head, in every family."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from patched_by_hand import Z, gain, projections, run
from test_ablation import slices

from emotion_circuits import prompts
from emotion_circuits.components import (
    Component,
    WordSetOutcome,
    attention_to_span,
    examples_of,
    head_examples,
    matched_pairs,
    read_head_examples,
    screen,
    write_head_examples,
)
from emotion_circuits.engine import count_hooks
from emotion_circuits.errors import InputError
from tiny_models import WINDOW


def all_heads(lm):
    return [Component("head", layer, h) for layer in range(lm.n_layers) for h in range(lm.n_heads)]


def own_weights(lm, ids):
    """Per layer (heads, tokens) attention of the last token, as transformers returns it."""
    hf = copy.deepcopy(lm.hf)
    hf.set_attn_implementation("eager")
    with torch.no_grad():
        found = hf(torch.tensor([ids]), output_attentions=True, use_cache=False).attentions
    return [layer[0, :, -1].numpy() for layer in found]


def test_weights_are_the_model_s_own(case):
    """All heads, so also those that share keys and values, and those of GPT-Neo's local layers."""
    lm, pairs, outcome = case
    heads = all_heads(lm)[::-1]
    before = lm.config._attn_implementation
    found = head_examples(lm, outcome, heads, 2)
    assert lm.config._attn_implementation == before and count_hooks(lm) == 0
    assert len(found.examples) == 2 and found.n_pairs == len(pairs)
    for pair, example in zip(pairs.pairs, found.examples, strict=False):
        for prompt, ids in ((example.emotion, pair.ids_a), (example.neutral, pair.ids_b)):
            expected = own_weights(lm, ids)
            for head, look in zip(heads, prompt.looks, strict=True):
                assert look.weights == pytest.approx(expected[head.layer][head.number], abs=2e-5), head
                assert sum(look.weights) == pytest.approx(1, abs=1e-4)
                assert sum(look.shares) == pytest.approx(1, abs=1e-4)
    looks = {look.weights for look in found.examples[0].emotion.looks}
    assert len(looks) == len(heads), "every head looks its own way, also where keys and values are shared"


def test_local_layers_do_not_see_past_their_window(case):
    """In tests/tiny_models.py layer 1 of GPT-Neo is local, and windows are as short."""
    lm, _, outcome = case
    local = {1} if lm.family.name == "gpt_neo" else set()
    local |= {layer for layer in range(lm.n_layers) if lm.windows[lm.kind_of(layer)]}
    found = head_examples(lm, outcome, all_heads(lm), 1).examples[0].emotion
    for head, look in zip(all_heads(lm), found.looks, strict=True):
        assert (max(look.shares[:-WINDOW]) == 0) == (head.layer in local), head


def test_shares_are_of_what_is_moved(case):
    """Value by value through the out-projection itself; values solved from z = A v, as no hook on them is shared."""
    lm, pairs, outcome = case
    pair = pairs.pairs[0]
    heads = all_heads(lm)[::3]
    looks = head_examples(lm, outcome, heads, 1).examples[0].emotion.looks
    lm = replace(lm, hf=copy.deepcopy(lm.hf).double(), dtype=torch.float64)
    lm.hf.set_attn_implementation("eager")
    neo_values: list[torch.Tensor] = []
    if lm.family.name == "gpt_neo":  # its scores are not scaled, so its weights are too uneven to solve for values
        for block in lm.hf.transformer.h:
            block.attn.attention.v_proj.register_forward_hook(lambda m, i, out: neo_values.append(out[0]))
    with torch.no_grad():
        weights = lm.hf(torch.tensor([pair.ids_a]), output_attentions=True, use_cache=False).attentions
        seen = run(lm, pair.ids_a)[1]
    for head, look in zip(heads, looks, strict=True):
        module = projections(lm, Z)[head.layer]
        [(_, part)] = slices(lm, [head])
        a = weights[head.layer][0, head.number]
        alone = torch.zeros(len(pair.ids_a), lm.n_heads * lm.d_head, dtype=torch.float64)
        if neo_values:
            alone[:, part] = neo_values[head.layer][:, part]
        else:
            alone[:, part] = torch.linalg.solve_triangular(a, seen[module][0, :, part], upper=False)
        with torch.no_grad():
            written = module(alone) - module(torch.zeros_like(alone))
            moved = a[-1] * (written * gain(lm, Z, head.layer)).norm(dim=1)
        assert look.shares == pytest.approx((moved / moved.sum()).numpy(), abs=2e-3), head


def test_words_and_chance_are_those_of_the_screen(case):
    lm, pairs, outcome = case
    heads = all_heads(lm)
    found, screened = head_examples(lm, outcome, heads), attention_to_span(lm, outcome)
    for i, example in enumerate(found.examples):
        assert example.uniform == pytest.approx(len(pairs.pairs[i].span) / len(pairs.pairs[i].ids_a))
        for prompt, side in ((example.emotion, screened.a), (example.neutral, screened.b)):
            for head, look in zip(heads, prompt.looks, strict=True):
                assert example.word_share(look) == pytest.approx(side[i, head.layer, head.number], abs=2e-5)
                assert look.layer_share == pytest.approx(side[i, head.layer].mean(), abs=2e-5)
    assert found.uniform == pytest.approx(np.mean([len(p.span) / len(p.ids_a) for p in pairs.pairs]))


def test_tokens_join_to_the_text_and_the_word_is_marked(case):
    lm, pairs, outcome = case
    found = head_examples(lm, outcome, all_heads(lm)[:1])
    assert [e.scenario for e in found.examples] == [p.scenario for p in pairs.pairs[:3]], "the first in order"
    texts = {t.text + pairs.bridge.text: t for t in prompts.bank().profile("baseline")}
    for example in found.examples:
        for prompt in (example.emotion, example.neutral):
            assert "".join(prompt.tokens) == prompt.text
        said = "".join(example.emotion.tokens[k] for k in example.span)
        assert texts[example.emotion.text].marked_word in said
        assert any(token.startswith(" ") for token in example.emotion.tokens)


def test_a_first_token_and_characters_of_several_tokens(tiny_gpt2_lm):
    """BOS stands before the text; the pieces of one character are its first token's."""
    data = prompts.Dataset(
        "own",
        tuple(
            prompts.Text(f"Today 🙂 it was {word} – naïve", emotion, str(k), "test")
            for k in range(2)
            for emotion, word in (("anger", "bad"), ("neutral", "big"))
        ),
    )
    lm = tiny_gpt2_lm
    pairs = matched_pairs(lm, data, "anger")
    found = head_examples(lm, WordSetOutcome(lm, pairs, prompts.bank().word_sets()), all_heads(lm)[:1])
    prompt = found.examples[0].emotion
    assert len(prompt.tokens) == len(pairs.pairs[0].ids_a) > len(prompt.text.split())
    assert prompt.tokens[0] == lm.tokenizer.decode([lm.bos_id]) and "".join(prompt.tokens[1:]) == prompt.text
    assert "" in prompt.tokens and "�" not in "".join(prompt.tokens)


def test_the_best_heads_of_every_emotion_with_their_scores(case, tmp_path):
    lm, _, outcome = case
    screened = screen(lm, outcome, exact=3, unit=np.eye(lm.d_model)[0])
    table = screened.table(n_draws=99)
    found = examples_of(lm, [screened], table, n_heads=2, n_examples=1)
    [own] = found.emotions
    order = table["score"].abs().sort_values(ascending=False).index[:2]
    assert [(h.layer, h.head) for h in own.heads] == [tuple(table.loc[i, ["layer", "head"]]) for i in order]
    for head, i in zip(own.heads, order, strict=True):
        row = table.loc[i]
        assert (head.score, head.p) == (row["score"], row["p"])
        assert head.exact == (None if np.isnan(row["exact"]) else row["exact"])
        assert (head.attention, head.attention_neutral) == (row["attention"], row["attention_neutral"])
        assert head.direct_ci_low <= head.direct == row["direct"] <= head.direct_ci_high
        assert head.attention_ci_low <= head.attention <= head.attention_ci_high
        assert head.layer_attention == pytest.approx(table[table["layer"] == head.layer]["attention"].mean())
    assert own.agreement == screened.agreement()
    path = tmp_path / "heads" / "examples_x.json"
    write_head_examples(path, found)
    assert read_head_examples(path) == found
    plain = examples_of(lm, [outcome], table.assign(exact=np.nan), n_heads=1)
    assert plain.emotions[0].agreement is None and plain.emotions[0].heads[0].exact is None
    assert plain.emotions[0].heads[0].attention_ci_low is None


def test_what_is_refused(case, tmp_path):
    lm, _, outcome = case
    heads = all_heads(lm)[:1]
    with pytest.raises(InputError, match="has no head"):
        head_examples(lm, outcome, [Component("head", 9, 0)])
    with pytest.raises(InputError, match="Only heads"):
        head_examples(lm, outcome, [Component("unit", 0, 0)])
    with pytest.raises(InputError, match="cannot be shown"):
        head_examples(lm, outcome, heads, 0)
    with pytest.raises(InputError, match="tokenizer"):
        head_examples(replace(lm, bos=True), outcome, heads)
    with pytest.raises(InputError, match="no scores of heads"):
        examples_of(lm, [outcome], pd.DataFrame({"emotion": ["apology"], "head": [0]}))
    with pytest.raises(InputError, match="No such file"):
        read_head_examples(tmp_path / "none.json")
    found = examples_of(lm, [outcome], screen(lm, outcome, exact=0).table(n_draws=9), n_heads=1)
    path = tmp_path / "examples.json"
    write_head_examples(path, found)
    for broken in ("{", "{}", path.read_text().replace('"span":[', '"span":[999,')):
        path.write_text(broken)
        with pytest.raises(InputError, match="does not hold examples"):
            read_head_examples(path)
