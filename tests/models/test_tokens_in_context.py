"""Tokens of pieces after their contexts, text of tokens after their prompts, and BOS: every layout of tokenizer, beside
plain transformers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emotion_circuits.errors import InputError
from emotion_circuits.models import load
from tiny_tokenizers import save_tokenizer

CONTEXTS = ('She opened the letter and said: "', "He is", "日本 and the naïve café:")
PIECES = ("Thanks", " grateful", "日本", "é", " the parcel", "?!", "  x")
BOS = {"sentencepiece", "sentencepiece_fast", "sentencepiece_no_prefix", "byte_level_bos"}
"""Styles whose tokenizer puts a BOS token before a text by itself."""


def test_a_piece_s_tokens_are_those_of_the_joint_text(styled, plain):
    found = styled.tokens_after(CONTEXTS, PIECES)
    assert [len(row) for row in found] == [len(PIECES)] * len(CONTEXTS)
    for context, row in zip(CONTEXTS, found, strict=True):
        before = plain(context, add_special_tokens=False)["input_ids"]
        for piece, tokens in zip(PIECES, row, strict=True):
            joint = plain(context + piece, add_special_tokens=False)["input_ids"]
            assert tokens == (tuple(joint[len(before) :]) if joint[: len(before)] == before else ())
    assert any(any(row) for row in found)


def test_a_piece_that_merges_into_its_context_has_no_tokens(styled):
    """`tha` and `nk`: the joint text's tokens are not those of `tha` with others behind them."""
    [[merged, apart]] = styled.tokens_after(["We thank you and tha"], ["nk you", " day"])
    assert merged == () and apart


texts = st.text(alphabet=st.sampled_from("abTh 日é,.\"'\n ▁"), min_size=1, max_size=12)


@settings(max_examples=40)
@given(texts, st.lists(st.integers(0, 900), max_size=8))
def test_text_is_what_the_prompt_lacks_of_all_decoded(styled, plain, prompt, new):
    """Any tokens, whole characters or not; where the new ones change how the prompt reads, at least nothing is lost."""
    ids = plain(prompt, add_special_tokens=False)["input_ids"]
    before, joint = (plain.decode(x, skip_special_tokens=True) for x in (ids, [*ids, *new]))
    found = styled.text_after(ids, new)
    if joint.startswith(before):
        assert found == joint[len(before) :]
    assert joint.endswith(found)


def test_bytes_that_spoil_the_prompt_s_last_character_are_read_after_the_rest(llama_with):
    """Byte fallback decodes a run of bytes as one: a stray byte turns the three before it into marks too."""
    styled = load(str(llama_with("sentencepiece_fast")))
    byte = styled.tokenizer.convert_tokens_to_ids("<0x80>")
    [prompt] = styled.encode(["rain 日"])
    assert styled.text_after(prompt.ids, [byte]) == "\N{REPLACEMENT CHARACTER}"


def test_bos_is_put_where_the_tokenizer_puts_one(styled, plain, style):
    text = "She is grateful"
    assert styled.bos is (style in BOS)
    ids = styled.encode([text])[0].ids
    assert list(ids) == plain(text)["input_ids"]


def test_bos_can_be_said(llama_with):
    for style in ("byte_level", "sentencepiece"):
        on, off = (load(str(llama_with(style)), bos=bos).encode(["Rain."])[0] for bos in (True, False))
        assert on.bos_length == 1 and on.ids[1:] == off.ids


def test_offsets_name_the_characters_of_every_token(styled, plain):
    """Pieces side by side give the text back, whatever the tokenizer shows spaces as."""
    for text in (*CONTEXTS, "She said 'Thank you, 日本!' twice."):
        [encoded] = styled.encode([text])
        spans = encoded.offsets[encoded.bos_length :]
        covered = {k for a, b in spans for k in range(a, b)}
        assert {k for k, c in enumerate(text) if not c.isspace()} <= covered
        assert all(a <= b for a, b in spans) and list(spans) == sorted(spans)


def test_a_tokenizer_without_a_bos_is_no_obstacle_until_one_is_asked_for(llama_with, tmp_path):
    folder = Path(shutil.copytree(llama_with("byte_level"), tmp_path / "none"))
    save_tokenizer("byte_level", folder, bos_token=None, eos_token=None)
    assert load(str(folder)).bos is False
    with pytest.raises(InputError, match="no BOS or EOS"):
        load(str(folder), bos=True)
