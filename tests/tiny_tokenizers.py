"""Small tokenizers in the layouts that people's files have, as folders that `load` takes.

`STYLES` names them; `save_tokenizer` writes one over a model's folder. All have at most 4096 tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from emotion_circuits import prompts
from emotion_circuits.models import ModelName
from emotion_circuits.models._sources import reference_folder

VOCABULARY = 4096
SPECIAL = ("<unk>", "<s>", "</s>")


def _corpus() -> list[str]:
    sets, texts = prompts.bank().word_sets(), [t.text for t in prompts.bank().profile("baseline")]
    texts += [c.text for c in prompts.contexts()] + [c.text for c in prompts.bank().continuations()]
    for emotion in prompts.bank().names:
        texts += [f'He said, "{word} to you."' for word in sets.words(emotion, "opening")] * 6
        texts += [f"She is {word} now." for word in sets.words(emotion, "adjective")] * 6
    return texts


def _reference() -> dict[str, Any]:
    folder = reference_folder(ModelName.parse("reference/gpt2"))
    return dict(json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")))


def _bos_first(name: str, token: int) -> processors.TemplateProcessing:
    return processors.TemplateProcessing(
        single=f"{name} $A", pair=f"{name} $A {name} $B", special_tokens=[(name, token)]
    )


@cache
def _sentencepiece(prefix: bool) -> str:
    """Llama-2's layout (or Gemma's, without the prefix): BPE with byte fallback, a normaliser that shows spaces."""
    bpe = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.Punctuation("isolated")]
    )
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=[*SPECIAL, *fallback], show_progress=False)
    bpe.train_from_iterator(_corpus(), trainer)
    bpe.pre_tokenizer = None  # type: ignore[assignment]
    visible = normalizers.Replace(" ", "▁")
    bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), visible]) if prefix else visible
    undo = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    bpe.decoder = decoders.Sequence([*undo, decoders.Strip(" ", 1, 0)] if prefix else undo)
    bpe.post_processor = _bos_first("<s>", 1)
    layout = json.loads(bpe.to_str())
    layout["added_tokens"] = [t for t in layout["added_tokens"] if t["content"] in SPECIAL]
    return json.dumps(layout)


@cache
def _unigram() -> str:
    words = Tokenizer(models.Unigram())
    words.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    spaces = pre_tokenizers.Metaspace(prepend_scheme="always")
    words.pre_tokenizer = pre_tokenizers.Sequence([spaces, pre_tokenizers.Punctuation("isolated")])
    words.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=2500, special_tokens=list(SPECIAL), unk_token="<unk>", show_progress=False
    )
    words.train_from_iterator(_corpus(), trainer)
    words.pre_tokenizer = spaces
    return str(words.to_str())


def _added(content: str, token: int, **settings: bool) -> dict[str, Any]:
    usual = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    return {"id": token, "content": content, **usual, **settings}


def _byte_level(prefix_space: bool = False, bos: bool = False, added: bool = False) -> str:
    layout = _reference()
    layout["pre_tokenizer"]["add_prefix_space"] = prefix_space
    if bos:  # Llama-3's layout
        both = processors.Sequence([processors.ByteLevel(trim_offsets=False), _bos_first("<|endoftext|>", 0)])
        layout["post_processor"] = json.loads(both.__getstate__())
    if added:  # in place of the vocabulary's last words, so that no id is beyond a model's embedding
        vocabulary = layout["model"]["vocab"]
        last = sorted(vocabulary, key=vocabulary.get)[-3:]
        names = {"<|im_start|>": {"special": True}, "parcel": {"normalized": True}, "<sep>": {"lstrip": True}}
        layout["model"]["merges"] = [m for m in layout["model"]["merges"] if "".join(m) not in last]
        for old, (name, settings) in zip(last, names.items(), strict=True):
            layout["added_tokens"].append(_added(name, vocabulary.pop(old), **settings))
    return json.dumps(layout)


_PLAIN = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
_MARKED = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True, "legacy": False}
_FAST, _LLAMA, _GPT2 = (
    {"tokenizer_class": name} for name in ("PreTrainedTokenizerFast", "LlamaTokenizer", "GPT2Tokenizer")
)

_BUILDERS: dict[str, tuple[Callable[[], str], dict[str, Any]]] = {
    "byte_level": (_byte_level, _PLAIN | _FAST),
    "byte_level_prefix_space": (lambda: _byte_level(prefix_space=True), _PLAIN | _GPT2 | {"add_prefix_space": True}),
    "byte_level_bos": (lambda: _byte_level(bos=True), _PLAIN | _FAST),
    "added_tokens": (lambda: _byte_level(added=True), _PLAIN | _FAST),
    "sentencepiece": (lambda: _sentencepiece(True), _MARKED | _LLAMA),
    "sentencepiece_fast": (lambda: _sentencepiece(True), _MARKED | _FAST),
    "sentencepiece_no_prefix": (lambda: _sentencepiece(False), _MARKED | _FAST),
    "unigram": (_unigram, {**_PLAIN, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"} | _FAST),
}

STYLES: tuple[str, ...] = tuple(_BUILDERS)
"""`sentencepiece` is Llama-2's file read as `LlamaTokenizer`, which rebuilds it with Metaspace; `sentencepiece_fast` is
the same file as it stands, with the Prepend normaliser. The byte-level ones have the reference models' vocabulary."""


def save_tokenizer(style: str, folder: Path, **settings: Any) -> Path:
    """Write a tokenizer into a folder, in place of the one that is there.

    Args:
        style: one of `STYLES`.
        folder: of a model with at least 4096 embeddings.
        settings: entries of `tokenizer_config.json` that differ from the style's usual ones.
    """
    build, configuration = _BUILDERS[style]
    (folder / "tokenizer.json").write_text(build(), encoding="utf-8")
    usual = {"clean_up_tokenization_spaces": False, "model_max_length": 4096}
    (folder / "tokenizer_config.json").write_text(json.dumps({**usual, **configuration, **settings}))
    return folder
