"""What decides a model's numbers, as one hash."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from emotion_circuits.models._gguf import _SOURCE as CONVERTED_FROM
from emotion_circuits.models._names import ModelName
from emotion_circuits.models._sources import find
from emotion_circuits.models._weights import INDEX, content_hash, weight_files

_PATTERNS = ("*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt", "adapter*.safetensors")
"""Files beside the weights that transformers may read: configuration, tokenizer, generation settings, adapters."""
_LEFT_OUT = {INDEX, CONVERTED_FROM}
_SIGNED = ("config.json", "generation_config.json", "tokenizer_config.json")
_SIGNATURES = ("_name_or_path", "_model_name_or_path", "name_or_path", "transformers_version")
"""Keys of those files that say where they came from and who wrote them, and decide nothing."""


def revision_of(name: str | ModelName) -> str:
    """A model's identity, which `load` gives too: part of the key of every stored result. Loads nothing.

    For a hub model the commit, which names the content of every file. For others 16 hex digits of a hash over every
    file that decides a number: weights (for a converted `.gguf` file that file), configuration, tokenizer, generation
    settings, adapters. For an untrained twin its seed and 16 digits of the same without weights.

    Raises:
        InputError: the model cannot be found.
    """
    name = ModelName.parse(name)
    found = find(name)
    identity = found.commit or _content(found.path, found.gguf_sha256, weights=not name.is_untrained)
    return f"init-random-seed-{name.seed}-{identity[:16]}" if name.is_untrained else identity


def _content(folder: Path, gguf_sha256: str | None, *, weights: bool) -> str:
    names = {path.name for pattern in _PATTERNS for path in folder.glob(pattern)} - _LEFT_OUT
    parts = [[name, _without_signature(folder / name)] for name in sorted(names)]
    if weights:
        parts.append(["weights", *([gguf_sha256] if gguf_sha256 else map(content_hash, weight_files(folder)))])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _without_signature(path: Path) -> str:
    if path.name in _SIGNED:
        with suppress(ValueError, AttributeError):  # a damaged file counts as it is; loading will say what is wrong
            written = json.loads(path.read_text("utf-8"))
            for key in _SIGNATURES:
                written.pop(key, None)
            return json.dumps(written, sort_keys=True)
    return content_hash(path)
