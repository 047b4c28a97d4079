"""The tokenizer of a converted file: the ids that the file's own vocabulary, merges and flags give."""

from __future__ import annotations

import json
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import pytest
from gguf_files import VOCABULARY, byte_level, small_tokenizer, tiny_config, write_gguf
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, PreTrainedModel

from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel, load

CORPUS = [
    "Thank you so much for helping me with the report in 2024; I really appreciate it.",
    "She was furious: 'You've broken it again!' he'll say, and they're sorry  about  everything.",
    "def f(x):\n    return x ** 2\n\n\nprint(f(12345))\t# grüße, naïve café, 東京 🙂",
] * 3
TEXTS = [
    *CORPUS[:3],
    "x  2024 y   12",
    "  leading and trailing  ",
    "<s>hi</s> there",
    " ",
    "\n\n \n",
    "don't DON'T I'LL ½ ²³ ①",
    "ünïcödé ☃ \u00a0 end",
]
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@pytest.fixture(scope="module")
def tiny() -> PreTrainedModel:
    return AutoModelForCausalLM.from_config(tiny_config("llama"))


def trained_byte_level(before: list[Any], *, use_regex: bool, ignore_merges: bool = False) -> Tokenizer:
    """As the model's authors would make it: split, then byte-level BPE."""
    backend = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)
    backend.pre_tokenizer = pre_tokenizers.Sequence([*before, to_bytes])
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(CORPUS, trainer)
    return backend


def convert(file: Path, tiny: PreTrainedModel, keys: dict[str, Any]) -> LoadedModel:
    write_gguf(file, tiny, keys)
    return load(str(file), bos=False)


def same_ids(lm: LoadedModel, original: Tokenizer) -> None:
    for text in TEXTS:
        ids = original.encode(text, add_special_tokens=False).ids
        assert lm.tokenizer(text, add_special_tokens=False)["input_ids"] == ids, text
        assert lm.tokenizer.decode(ids) == original.decode(ids, skip_special_tokens=False)


@pytest.mark.parametrize(
    ("pre", "original"),
    [
        ("gpt-2", trained_byte_level([], use_regex=True)),
        (None, trained_byte_level([], use_regex=True)),
        ("smollm", trained_byte_level([pre_tokenizers.Digits(individual_digits=True)], use_regex=True)),
        (
            "llama-bpe",
            trained_byte_level(
                [pre_tokenizers.Split(Regex(LLAMA3_SPLIT), "isolated")], use_regex=False, ignore_merges=True
            ),
        ),
    ],
)
def test_byte_level_vocabularies(
    pre: str | None, original: Tokenizer, tiny: PreTrainedModel, tmp_path: Path, empty_caches: Path
) -> None:
    original.save(str(tmp_path / "tokenizer.json"))
    keys = byte_level(tmp_path / "tokenizer.json") | {"pre": pre}
    if pre == "llama-bpe":  # a token that no merge makes is found whole
        keys["tokens"].append("\u0120furious:")
        keys["token_type"].append(1)
        written = json.loads((tmp_path / "tokenizer.json").read_text())
        written["model"]["vocab"]["\u0120furious:"] = len(keys["tokens"]) - 1
        original = Tokenizer.from_str(json.dumps(written))
    lm = convert(tmp_path / "m.gguf", tiny, keys)
    same_ids(lm, original)
    assert (lm.tokenizer("hi")["input_ids"][0] == lm.bos_id) is (pre == "llama-bpe")  # Llama 3's files do not say


def sentencepiece(*, prefix: bool) -> Tokenizer:
    """The layout of Llama 2's tokenizer.json."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first" if prefix else "never")
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=pieces, show_progress=False, initial_alphabet=["▁"])
    backend.train_from_iterator(CORPUS[:2], trainer)
    written = json.loads(backend.to_str())
    written["added_tokens"] = written["added_tokens"][:3]
    written["pre_tokenizer"] = None
    backend = Tokenizer.from_str(json.dumps(written))
    prepend = [normalizers.Prepend("▁")] if prefix else []
    backend.normalizer = normalizers.Sequence([*prepend, normalizers.Replace(" ", "▁")])
    strip = [decoders.Strip(" ", 1, 0)] if prefix else []
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    return backend


def sentencepiece_keys(original: Tokenizer) -> dict[str, Any]:
    tokens = sorted(original.get_vocab(), key=original.get_vocab().__getitem__)
    kinds = [2, 3, 3] + [6] * 256 + [1] * (len(tokens) - 259)
    scores = [float(-i) for i in range(len(tokens))]
    ids = {"bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0}
    return {"model": "llama", "pre": "default", "tokens": tokens, "token_type": kinds, "scores": scores} | ids


@pytest.mark.parametrize("flag", [None, True, False])
def test_sentencepiece_vocabularies(
    flag: bool | None, tiny: PreTrainedModel, tmp_path: Path, empty_caches: Path
) -> None:
    original = sentencepiece(prefix=flag is not False)
    keys = sentencepiece_keys(original) | {"add_space_prefix": flag, "add_bos_token": flag}
    lm = convert(tmp_path / "m.gguf", tiny, keys)
    same_ids(lm, original)
    begun = [1] if flag is not False else []  # older files have no flag, and their texts begin with BOS
    plain = original.encode("hi", add_special_tokens=False).ids
    assert lm.tokenizer("hi")["input_ids"] == begun + plain


def test_merges_follow_the_scores(tiny: PreTrainedModel, tmp_path: Path, empty_caches: Path) -> None:
    original = sentencepiece(prefix=True)
    keys = sentencepiece_keys(original)
    lm = convert(tmp_path / "m.gguf", tiny, keys)
    scores = dict(zip(keys["tokens"], keys["scores"], strict=True))
    for text in CORPUS[:2]:
        pieces = list("▁" + text.replace(" ", "▁"))
        while True:  # SentencePiece's rule: join the neighbours whose token has the highest score
            joined = [(scores.get(a + b, -inf), -i) for i, (a, b) in enumerate(pairwise(pieces))]
            best, place = max(joined)
            if best == -inf:
                break
            pieces[-place : 2 - place] = ["".join(pieces[-place : 2 - place])]
        assert lm.tokenizer.tokenize(text) == pieces


def test_added_tokens_stay_whole(tiny: PreTrainedModel, tmp_path: Path, empty_caches: Path) -> None:
    keys = small_tokenizer()
    n = len(keys["tokens"])
    keys["tokens"][n - 3 :] = ["<|im start|>", "<｜begin▁of▁sentence｜>", "<think>"]
    keys["token_type"][n - 3 :] = [3, 3, 4]
    keys["merges"] = [m for m in keys["merges"] if m.replace(" ", "") in set(keys["tokens"])]
    lm = convert(tmp_path / "m.gguf", tiny, keys)
    assert lm.tokenizer("<|im start|><｜begin▁of▁sentence｜><think>")["input_ids"] == [n - 3, n - 2, n - 1]
    assert len(lm.tokenizer) == n


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model": "bert"}, "tokenizer.ggml.model = bert"),
        ({"pre": "deepseek-coder"}, "tokenizer.ggml.pre = deepseek-coder"),
        ({"add_space_prefix": True}, "tokenizer.ggml.add_space_prefix = True"),
        ({"remove_extra_whitespaces": True}, "tokenizer.ggml.remove_extra_whitespaces"),
        ({"add_sep_token": True}, "tokenizer.ggml.add_sep_token"),
        ({"something_new": 1}, "tokenizer.ggml.something_new"),
        ({"merges": None}, "tokenizer.ggml.merges is missing"),
        ({"bos_token_id": 5000}, "tokenizer.ggml.bos_token_id = 5000"),
        ({"bos_token_id": None, "add_bos_token": True}, "tokenizer.ggml.bos_token_id is missing"),
        ({"tokens": ["a"] * VOCABULARY}, "some token is there twice"),
        ({"tokens": [str(i) for i in range(VOCABULARY + 1)]}, f"tokenizer.ggml.tokens = {VOCABULARY + 1}"),
        ({"token_type": [9] * VOCABULARY}, "tokenizer.ggml.token_type = 9"),
        ({"token_type": [1] * 400}, "tokenizer.ggml.token_type: 400 values"),
    ],
)
def test_what_a_tokenizer_cannot_honour_is_named(
    changes: Any, named: str, tiny: PreTrainedModel, tmp_path: Path, empty_caches: Path
) -> None:
    with pytest.raises(InputError, match="cannot be converted exactly") as caught:
        convert(tmp_path / "m.gguf", tiny, small_tokenizer() | changes)
    assert named in str(caught.value)
    assert not empty_caches.exists()


@pytest.mark.parametrize("changes", [{"merges": ["a b c"]}, {"merges": ["a nothing-like-it"]}, {"bos_token_id": "x"}])
def test_a_tokenizer_that_makes_no_sense(
    changes: Any, tiny: PreTrainedModel, tmp_path: Path, empty_caches: Path
) -> None:
    with pytest.raises(InputError, match="cannot be read as a GGUF model"):
        convert(tmp_path / "m.gguf", tiny, small_tokenizer() | changes)
