"""Generation: transformers' own greedy text, rows that do not depend on each other, edits at every step."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from emotion_circuits.engine import (
    Point,
    ablate_direction,
    add,
    count_hooks,
    final_states,
    generate,
    logits_of,
    matmul_precision,
    plan_batches,
    row_seeds,
)
from emotion_circuits.engine._generate import PROMPT_TOKENS, length_groups
from emotion_circuits.errors import InputError, MeasurementError
from tiny_models import TEXTS

REFERENCES = ("gpt2", "gpt-neox", "gpt-neo")
PROMPTS = ("The old man", "A", TEXTS[2], "She said that she")


def kept(lm, tokens):
    """What a continuation becomes as text: up to the end-of-text token, which is not part of it."""
    end = lm.tokenizer.eos_token_id
    return lm.tokenizer.decode(tokens[: tokens.index(end)] if end in tokens else tokens, skip_special_tokens=True)


def transformers_own(lm, prompt, n):
    """One prompt at a time, without padding."""
    ids = torch.tensor([lm.encode([prompt])[0].ids])
    with torch.no_grad(), matmul_precision(lm):
        out = lm.hf.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=n, do_sample=False, pad_token_id=0, num_beams=1
        )
    return kept(lm, out[0, ids.shape[1] :].tolist())


def uncached(lm, prompt, n, edits=()):
    """A loop over whole forward passes, without the key-value cache."""
    ids = list(lm.encode([prompt])[0].ids)
    start = len(ids)
    for _ in range(n):
        [batch] = plan_batches([tuple(ids)], packed=False)
        with torch.no_grad():
            logits = logits_of(lm, final_states(lm, batch, edits)[0, -1])
        ids.append(int(logits.argmax()))
        if ids[-1] == lm.tokenizer.eos_token_id:
            break
    return kept(lm, ids[start:])


def test_greedy_text_of_prompts_of_all_lengths_is_transformers_own(lm):
    """Left padding must not be seen, nor shift positions."""
    texts = generate(lm, lm.encode(PROMPTS), max_tokens=12)
    assert texts == [transformers_own(lm, prompt, 12) for prompt in PROMPTS]
    assert all(texts)


@pytest.mark.parametrize("name", REFERENCES)
def test_trained_models_write_sentences_and_end_them_as_transformers_does(reference, name):
    lm = reference(name)
    texts = generate(lm, lm.encode(PROMPTS), max_tokens=16)
    assert texts == [transformers_own(lm, prompt, 16) for prompt in PROMPTS]
    # A finished sentence may be answered with the end of the text; an unfinished one may not.
    assert all(text.strip() for text, prompt in zip(texts, PROMPTS, strict=True) if prompt[-1] != ".")
    assert not any("<|" in text for text in texts)


def edits_of(lm):
    v = torch.randn(lm.d_model, generator=torch.Generator().manual_seed(5))
    unit = v / v.norm()
    return [
        add(Point("resid_post", 0), 2 * v),
        ablate_direction(Point("resid_post", 2), unit, torch.zeros_like(v)),
        add(Point("z", 1), torch.linspace(-1, 1, lm.n_heads * lm.d_head)),
    ]


def test_edits_apply_at_the_prompt_and_at_every_step(lm):
    for edits in ([edit] for edit in edits_of(lm)):
        texts = generate(lm, lm.encode(PROMPTS), max_tokens=6, edits=edits)
        assert texts == [uncached(lm, prompt, 6, edits) for prompt in PROMPTS]
    assert generate(lm, lm.encode(PROMPTS), max_tokens=6, edits=edits_of(lm)) == [
        uncached(lm, prompt, 6, edits_of(lm)) for prompt in PROMPTS
    ]
    assert count_hooks(lm) == 0


def test_an_edit_changes_what_is_written(lm):
    clean = generate(lm, lm.encode(PROMPTS), max_tokens=10)
    assert generate(lm, lm.encode(PROMPTS), max_tokens=10, edits=edits_of(lm)[:1]) != clean
    zero = add(Point("resid_post", 0), torch.zeros(lm.d_model))
    assert generate(lm, lm.encode(PROMPTS), max_tokens=10, edits=[zero]) == clean


def test_a_sampled_row_depends_on_its_seed_only(lm):
    """Not on its neighbours, their number or their length."""
    options = {"max_tokens": 10, "temperature": 0.9}
    seeds = [7, 8, 9, 7]
    together = generate(lm, lm.encode(PROMPTS), seeds=seeds, **options)
    for prompt, seed, text in zip(PROMPTS, seeds, together, strict=True):
        assert generate(lm, lm.encode([prompt]), seeds=[seed], **options) == [text]
    order = [2, 0, 3, 1]
    shuffled = generate(lm, lm.encode([PROMPTS[i] for i in order]), seeds=[seeds[i] for i in order], **options)
    assert shuffled == [together[i] for i in order]
    same = generate(lm, lm.encode([PROMPTS[0]] * 3), seeds=[1, 1, 2], **options)
    assert same[0] == same[1] != same[2]
    default = generate(lm, lm.encode(PROMPTS[:2]), **options)
    assert default == generate(lm, lm.encode(PROMPTS[:2]), seeds=[0, 1], **options)


def test_rows_of_other_seeds_have_other_streams():
    """Two runs of neighbouring seeds must not bring the same samples, or joining their files counts texts twice."""
    firsts = sorted(row_seeds(seed, 1)[0] for seed in range(1000))
    assert min(b - a for a, b in pairwise([*firsts, 2**32])) > 1_000_000
    rows = [seed for run in range(4) for seed in row_seeds(run, 5)]
    drawn = [torch.rand(4, generator=torch.Generator().manual_seed(seed)).tolist() for seed in rows]
    assert len({tuple(row) for row in drawn}) == len(rows)
    assert row_seeds(0, 3) == [0, 1, 2]
    assert all(0 <= seed < 2**32 for seed in row_seeds(2**32 - 1, 3))
    with pytest.raises(InputError, match="seed"):
        row_seeds(2**32, 1)


@pytest.mark.parametrize("temperature", [1e-40, 1e-300])
def test_a_tiny_temperature_is_greedy(tiny_gpt2_lm, temperature):
    lm = tiny_gpt2_lm
    options = {"max_tokens": 5, "seeds": range(len(PROMPTS))}
    assert generate(lm, lm.encode(PROMPTS), temperature=temperature, **options) == generate(
        lm, lm.encode(PROMPTS), **options
    )


def test_sampling_draws_from_the_model_s_distribution(tiny_gpt2_lm):
    """First tokens of many seeds against the softmax, at two temperatures and among the likeliest few."""
    lm = tiny_gpt2_lm
    prompt = lm.encode(["The door"])
    [batch] = plan_batches([prompt[0].ids], packed=False)
    logits = logits_of(lm, final_states(lm, batch)[0, -1]).double()
    n = 200
    for temperature, top_k in ((1.0, 5), (0.5, None)):
        options = {"max_tokens": 1, "temperature": temperature, "top_k": top_k, "seeds": range(n)}
        texts = generate(lm, prompt * n, **options)
        allowed = logits.topk(top_k or len(logits)).indices
        scaled = (logits[allowed] / temperature).softmax(-1)
        share = {lm.tokenizer.decode([i]): float(p) for i, p in zip(allowed[:5], scaled[:5], strict=True)}
        if top_k:
            assert set(texts) <= {lm.tokenizer.decode([i]) for i in allowed}
        for token, p in share.items():
            found = np.mean([text == token for text in texts])
            assert abs(found - p) < 4 * np.sqrt(p * (1 - p) / n) + 1e-9


def test_a_row_that_has_ended_stays_ended_while_others_go_on(reference):
    """Greedy text of the reference model ends; a long neighbour must not make it longer."""
    lm = reference("gpt2")
    both = generate(lm, lm.encode(["He was sorry", "The old man"]), max_tokens=60)
    assert both == [generate(lm, lm.encode([p]), max_tokens=60)[0] for p in ("He was sorry", "The old man")]
    lengths = [len(lm.encode([text])[0]) for text in both]
    assert min(lengths) < 59


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_tokens": 0}, "No new tokens"),
        ({"max_tokens": -3}, "No new tokens"),
        ({"max_tokens": 160}, "do not fit"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": 1.0, "top_k": 0}, "top_k"),
        ({"temperature": 1.0, "seeds": [1]}, "seeds"),
        ({"seeds": [1, 2, 3]}, "seeds"),
    ],
)
def test_settings_that_cannot_be(tiny_gpt2_lm, options, said):
    with pytest.raises(InputError, match=said):
        generate(tiny_gpt2_lm, tiny_gpt2_lm.encode(["A", "The old man"]), **options)
    assert count_hooks(tiny_gpt2_lm) == 0


def test_an_edit_that_overflows_is_an_error_and_not_a_text(tiny_gpt2_lm):
    lm = tiny_gpt2_lm
    for value in (torch.inf, torch.nan):
        edit = add(Point("resid_post", 1), torch.full((lm.d_model,), value))
        with pytest.raises(MeasurementError, match="finite"):
            generate(lm, lm.encode(["The old man"]), edits=[edit])
    assert count_hooks(lm) == 0


def test_no_prompts_give_no_texts(tiny_gpt2_lm):
    assert generate(tiny_gpt2_lm, []) == []


def test_a_long_prompt_lengthens_no_short_one(tiny_gpt2_lm):
    lm = tiny_gpt2_lm
    texts = ["Rain.", "door " * 150, *["A door."] * 64, "She read the letter twice."]
    encoded = lm.encode(texts)
    groups = length_groups(encoded, 32)
    assert sorted(i for group in groups for i in group) == list(range(len(texts)))
    for group in groups:
        longest = max(len(encoded[i]) for i in group)
        assert len(group) <= 32 and len(group) * longest <= PROMPT_TOKENS
        assert longest <= max(128, 2 * min(len(encoded[i]) for i in group))
    together = generate(lm, encoded, max_tokens=2, rows_at_once=32)
    assert together == [generate(lm, [one], max_tokens=2)[0] for one in encoded[:3]] + together[3:]


def test_prompts_whose_logits_are_not_finite_are_named(tiny_gpt2_lm):
    lm = tiny_gpt2_lm
    huge = add(Point("resid_post", 1), torch.stack([torch.zeros(lm.d_model), torch.full((lm.d_model,), torch.inf)]))
    with pytest.raises(MeasurementError, match="prompt 1"):
        generate(lm, lm.encode(["Rain falls.", "A door."]), max_tokens=2, edits=[huge])
