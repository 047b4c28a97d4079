"""Texts at the edges: a model that writes what it is told to, the longest and shortest texts, special tokens, seeds."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from check_loaded_model import Plain, check_sites
from transformers import AutoTokenizer
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

import emotion_circuits as ec
from emotion_circuits.errors import InputError
from emotion_circuits.scoring import continuation_perplexities
from tiny_models import SIZES, VARIANTS, Variant, fits, save_tiny, tiny_config
from tiny_tokenizers import STYLES, save_tokenizer

LONGEST = SIZES["max_position_embeddings"]


def named(value: Any) -> str:
    return value.name if isinstance(value, Variant) else str(value)


FITTING = {style: [v for v in VARIANTS if fits(v, style)] for style in STYLES}
EDGES = [(FITTING[style][k % len(FITTING[style])], style) for k, style in enumerate(STYLES)]
"""Every style, and every architecture at least once."""


def scripted(style: str, folder: Path, prompt: str, said: str) -> tuple[Path, list[int], int]:
    """A GPT-2 that depends on nothing but the position, and writes `said` after `prompt`; its tokens, and how many of
    them are the prompt's."""
    folder.mkdir(parents=True)
    tokenizer = AutoTokenizer.from_pretrained(save_tokenizer(style, folder))
    head, ids = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, prompt + said))
    assert ids[: len(head)] == head
    end = tokenizer.eos_token_id
    config = tiny_config(
        "gpt2", hidden_size=128, tie_word_embeddings=False, bos_token_id=tokenizer.bos_token_id, eos_token_id=end
    )
    hf = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for name, parameter in hf.named_parameters():
        parameter.data.fill_(float(name.endswith("ln_f.weight")))
    places = torch.randn(LONGEST, hf.config.n_embd, generator=torch.Generator().manual_seed(0))
    hf.transformer.wpe.weight.data = places
    for place, token in enumerate([*ids[1:], end]):
        hf.lm_head.weight.data[token] += hf.transformer.ln_f(places[place])
    hf.save_pretrained(folder)
    return folder, ids, len(head)


SAID = (" Thank you, my friend. 日本 😀 and  two spaces\n\nand 1. a line, 's n't .", "Thanks a lot! 😀", "s")


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("style", STYLES)
def test_what_was_generated_is_what_the_model_wrote(style: str, said: str, tmp_path: Path) -> None:
    prompt = 'She read it. "' if said[0].isupper() else "She read the letter"
    try:
        folder, ids, start = scripted(style, tmp_path / "model", prompt, said)
    except AssertionError:
        pytest.skip("this tokenizer joins the text to its prompt")
    lm = ec.load(str(folder), bos=False)
    plain = Plain(folder, "float32", bos=False)
    expected, full, _ = plain.continued(prompt, len(ids) - start)
    assert full == ids
    if plain.keeps(prompt + said):
        assert expected == said
    assert lm.generate(prompt, max_tokens=len(ids) - start + 3) == expected
    assert lm.generate([prompt, "Rain.", prompt], max_tokens=len(ids) - start + 3)[::2] == [expected] * 2
    if plain.keeps(prompt + said):
        log_p = plain.log_p(ids)
        by_hand = np.exp(-np.mean([log_p[k - 1, ids[k]] for k in range(start, len(ids))]))
        np.testing.assert_allclose(continuation_perplexities(lm, [prompt], [expected]), by_hand, rtol=1e-5)


@pytest.mark.parametrize("style", STYLES)
def test_a_generation_that_ends_within_a_character(style: str, tmp_path: Path) -> None:
    """Also where the last bytes before it belong to the prompt."""
    prompt, said = "She wrote 日", "本 😀"
    folder, ids, start = scripted(style, tmp_path / "model", prompt, said)
    lm, plain = ec.load(str(folder), bos=False), Plain(folder, "float32", bos=False)
    for n in range(1, len(ids) - start + 1):
        assert lm.generate(prompt, max_tokens=n) == plain.after(ids[:start], ids[: start + n])


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Variant, str], tuple[ec.LanguageModel, Plain]]:
    @cache
    def load(name: str, style: str) -> tuple[ec.LanguageModel, Plain]:
        [variant] = [v for v in VARIANTS if v.name == name]
        folder = save_tiny(variant, tmp_path_factory.mktemp("edges"), style=style)
        return ec.load(str(folder), bos=False), Plain(folder, "float32", bos=False)

    return lambda variant, style: load(variant.name, style)


def exactly(plain: Plain, n: int) -> str:
    """A text of so many tokens."""
    text = "Rain"
    while len(plain.ids(text)) < n:
        text += " a" if len(plain.ids(text)) % 7 else " parcel"
    while len(plain.ids(text)) > n:
        text = text[:-1]
    assert len(plain.ids(text)) == n
    return text


@pytest.mark.parametrize(("variant", "style"), EDGES, ids=named)
def test_texts_as_long_as_the_model_takes(variant: Variant, style: str, loaded) -> None:  # type: ignore[no-untyped-def]
    lm, plain = loaded(variant, style)
    longest, shorter = exactly(plain, LONGEST), exactly(plain, LONGEST - 5)
    check_sites(lm, plain, 2e-5, (longest, "Rain.", shorter, longest))
    with pytest.raises(InputError, match="too long"):
        ec.record(lm, ["Rain.", longest + " a a"])
    text, _, _ = plain.continued(shorter, 5)
    assert lm.generate([shorter, "Rain."], max_tokens=5)[0] == lm.generate(shorter, max_tokens=5) == text
    with pytest.raises(InputError, match="do not fit"):
        lm.generate(["Rain.", shorter], max_tokens=6)
    prompt, rest = longest[: len(longest) // 2], longest[len(longest) // 2 :]
    ids, own = plain.ids(longest), plain.own(prompt, rest)
    log_p = plain.log_p(ids)
    expected = np.exp(-np.mean([log_p[k - 1, ids[k]] for k in own]))
    found = continuation_perplexities(lm, [prompt, "Rain", prompt], [rest, " fell.", rest + " a a"])
    np.testing.assert_allclose(found[0], expected, rtol=1e-4)
    assert np.isfinite(found[1]) and np.isnan(found[2])


ONLY_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<s>", "</s><s>", "<sep>", "parcel", "a", "😀", "\n")


@pytest.mark.parametrize(("variant", "style"), EDGES, ids=named)
def test_short_texts_and_special_tokens_alone(variant: Variant, style: str, loaded) -> None:  # type: ignore[no-untyped-def]
    lm, plain = loaded(variant, style)
    check_sites(lm, plain, 2e-5, ONLY_SPECIAL)
    for text in ONLY_SPECIAL[::2]:
        expected, _, _ = plain.continued(text, 3)
        assert lm.generate(text, max_tokens=3) == lm.generate(["Rain fell.", text], max_tokens=3)[1] == expected


@pytest.mark.parametrize(("variant", "style"), EDGES, ids=named)
def test_sampling_is_the_same_alone_and_beside_others(variant: Variant, style: str, loaded) -> None:  # type: ignore[no-untyped-def]
    """And what a stream of its own draws from the model's probabilities."""
    lm, plain = loaded(variant, style)
    prompts = ["Rain.", "She opened the letter and said:", "Thanks", "We met at the old clock in the square and"]
    together = lm.generate(prompts, max_tokens=5, temperature=0.8, seed=40)
    for row, prompt in enumerate(prompts):
        assert lm.generate(prompt, max_tokens=5, temperature=0.8, seed=40 + row) == together[row]
        stream, ids = torch.Generator().manual_seed(40 + row), plain.ids(prompt)
        start = len(ids)
        while len(ids) < start + 5 and ids[-1] != plain.tokenizer.eos_token_id:
            p = torch.from_numpy(plain.log_p(ids)[-1]).div(0.8).softmax(-1).float()
            ids.append(int(torch.multinomial(p, 1, generator=stream)))
        assert plain.after(ids[:start], ids) == together[row]
