"""The tokenizer that a GGUF file describes.

Built here from the file's own keys: transformers' reader ignores some of them (`add_space_prefix`), does not know how
every `pre` splits text, and mixes in the files that lie beside the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from emotion_circuits.models._gguf_keys import refuse

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_SPACE = "\u2581"

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class _Kind(IntEnum):
    """Values of `tokenizer.ggml.token_type`."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class _Split:
    """How a byte-level vocabulary splits text before it merges (`tokenizer.ggml.pre`)."""

    pattern: str | None = None
    """None is GPT-2's own."""
    digits_alone: bool = False
    whole_first: bool = False
    """A piece that is a token is not merged up to (tiktoken's rule)."""
    add_bos: bool = False
    """Where the file does not say."""


_GPT2, _LLAMA_3 = _Split(), _Split(_LLAMA3, whole_first=True, add_bos=True)
_SPLITS = {
    None: _GPT2,  # written before the key was; GPT-2's split is what transformers takes
    "gpt-2": _GPT2,
    "smollm": _Split(digits_alone=True),
    "llama-bpe": _LLAMA_3,
    "llama3": _LLAMA_3,
    "llama-v3": _LLAMA_3,
    "falcon3": _LLAMA_3,
    "tekken": _Split(_TEKKEN, whole_first=True),
}
_MODELS = ("gpt2", "llama")
_SPECIAL = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
_USED = (
    "model",
    "pre",
    "tokens",
    "token_type",
    "merges",
    "scores",
    "add_bos_token",
    "add_eos_token",
    "add_space_prefix",
)
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "add_sep_token": (False,),
    "precompiled_charsmap": ([],),
    "remove_extra_whitespaces": (False,),
    "token_type_count": (0, 1),
}
_PREFIX = "tokenizer.ggml."


def gguf_tokenizer(file: Path, keys: Mapping[str, Any]) -> PreTrainedTokenizerFast:
    """The tokenizer that a GGUF file's keys describe; it begins texts with BOS where the file says so.

    Raises:
        InputError: a key has a value that cannot be honoured, or says nothing that is known here.
    """
    from transformers import PreTrainedTokenizerFast

    own = {key.removeprefix(_PREFIX): value for key, value in keys.items() if key.startswith(_PREFIX)}
    _check(file, own)
    tokens: list[str] = own["tokens"]
    kinds: list[int] = own.get("token_type") or [_Kind.NORMAL] * len(tokens)
    special = {name: own.get(f"{key}_token_id") for name, key in _SPECIAL.items()}
    if outside := [
        f"{_PREFIX}{_SPECIAL[name]}_token_id = {i}" for name, i in special.items() if (i or 0) >= len(tokens)
    ]:
        raise refuse(file, outside, f"ids below {len(tokens)}")
    named = {name: None if i is None else tokens[i] for name, i in special.items()}
    if own["model"] == "gpt2":
        split = _SPLITS[own.get("pre")]
        backend, add_bos = _byte_level(tokens, own["merges"], split), split.add_bos
    else:
        named["unk_token"] = named["unk_token"] or tokens[0]
        prefix = own.get("add_space_prefix", True)
        merges = own.get("merges") or _merges(tokens, kinds, own["scores"])
        backend = _sentencepiece(tokens, merges, str(named["unk_token"]), bytes_=_Kind.BYTE in kinds, prefix=prefix)
        add_bos = True
    backend.add_special_tokens(_added(tokens, kinds, (_Kind.UNKNOWN, _Kind.CONTROL), special=True))
    backend.add_tokens(_added(tokens, kinds, (_Kind.USER_DEFINED,), special=False))
    add_bos = own.get("add_bos_token", add_bos)
    add_eos = own.get("add_eos_token", False)
    for flag, name in ((add_bos, "bos"), (add_eos, "eos")):
        if flag and named[f"{name}_token"] is None:
            raise refuse(file, [f"{_PREFIX}{name}_token_id is missing, though texts are to have one"])
    make: Any = PreTrainedTokenizerFast
    tokenizer: PreTrainedTokenizerFast = make(
        tokenizer_object=backend,
        add_bos_token=add_bos,
        add_eos_token=add_eos,
        clean_up_tokenization_spaces=False,
        chat_template=keys.get("tokenizer.chat_template"),
        **named,
    )
    return tokenizer


def _check(file: Path, own: Mapping[str, Any]) -> None:
    if (model := own.get("model")) not in _MODELS:
        raise refuse(file, [f"{_PREFIX}model = {model}"], ", ".join(_MODELS))
    splits = _SPLITS if model == "gpt2" else {None: None, "default": None}
    if (pre := own.get("pre")) not in splits:
        raise refuse(file, [f"{_PREFIX}pre = {pre}"], ", ".join(known for known in splits if known))
    if model == "gpt2" and own.get("add_space_prefix"):
        raise refuse(file, [f"{_PREFIX}add_space_prefix = True: readers of byte-level vocabularies differ"], "False")
    strange = [
        f"{_PREFIX}{key}"
        for key, value in own.items()
        if key not in _USED and not key.endswith(("_token_id", "_token_ids")) and value not in _NEUTRAL.get(key, ())
    ]
    if strange:
        raise refuse(file, strange)
    needed = ("tokens", "merges") if model == "gpt2" or "merges" in own else ("tokens", "scores", "token_type")
    if missing := [f"{_PREFIX}{key} is missing" for key in needed if not own.get(key)]:
        raise refuse(file, missing)
    tokens = own["tokens"]
    if len(set(tokens)) != len(tokens):
        raise refuse(file, [f"{_PREFIX}tokens: some token is there twice"])
    for key in ("scores", "token_type"):
        if own.get(key) and len(own[key]) != len(tokens):
            raise refuse(file, [f"{_PREFIX}{key}: {len(own[key])} values"], f"{len(tokens)}, one a token")
    if unknown := set(own.get("token_type") or ()) - set(_Kind):
        raise refuse(file, [f"{_PREFIX}token_type = {min(unknown)}"], "1 to 6")


def _byte_level(tokens: Sequence[str], merges: Sequence[str], split: _Split) -> Tokenizer:
    backend = Tokenizer(
        models.BPE(
            vocab={token: i for i, token in enumerate(tokens)},
            merges=[_pair(merge) for merge in merges],
            ignore_merges=split.whole_first,
        )
    )
    first: list[Any] = [pre_tokenizers.Digits(individual_digits=True)] if split.digits_alone else []
    if split.pattern is not None:
        first.append(pre_tokenizers.Split(Regex(split.pattern), behavior="isolated"))
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split.pattern is None)
    backend.pre_tokenizer = pre_tokenizers.Sequence([*first, to_bytes])
    backend.decoder = decoders.ByteLevel()
    return backend


def _sentencepiece(
    tokens: Sequence[str], merges: Sequence[tuple[str, str] | str], unknown: str, *, bytes_: bool, prefix: bool
) -> Tokenizer:
    """As in Llama 2's own tokenizer.json: every stretch of text begins with a space where `prefix` says so."""
    backend = Tokenizer(
        models.BPE(
            vocab={token: i for i, token in enumerate(tokens)},
            merges=[_pair(merge) if isinstance(merge, str) else merge for merge in merges],
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=bytes_,
        )
    )
    spaces = normalizers.Replace(" ", _SPACE)
    backend.normalizer = normalizers.Sequence([*([normalizers.Prepend(_SPACE)] if prefix else []), spaces])
    text = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence([*text, *([decoders.Strip(content=" ", left=1)] if prefix else [])])
    return backend


def _merges(tokens: Sequence[str], kinds: Sequence[int], scores: Sequence[float]) -> list[tuple[str, str]]:
    """The pairs that give a token, in the order of the tokens' scores."""
    from transformers.tokenization_utils_base import generate_merges

    never = (_Kind.UNKNOWN, _Kind.CONTROL, _Kind.BYTE)
    skipped = {token for token, kind in zip(tokens, kinds, strict=True) if kind in never}
    vocabulary = {token: i for i, token in enumerate(tokens)}
    merges: list[tuple[str, str]] = generate_merges(vocabulary, dict(zip(tokens, scores, strict=True)), skipped)
    return merges


def _added(tokens: Sequence[str], kinds: Sequence[int], which: tuple[_Kind, ...], *, special: bool) -> list[AddedToken]:
    return [
        AddedToken(token, normalized=False, special=special)
        for token, kind in zip(tokens, kinds, strict=True)
        if kind in which and token
    ]


def _pair(merge: str) -> tuple[str, str]:
    left, right = merge.split(" ")
    return left, right
