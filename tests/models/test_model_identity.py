"""A model's identity changes with every file that decides a number, and with nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emotion_circuits.models import _weights, load, revision_of

Edit = Callable[[Path], None]


def changed(file: str, **values: object) -> Edit:
    def edit(folder: Path) -> None:
        path = folder / file
        written = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(json.dumps(written | values))

    return edit


def written(file: str, content: str) -> Edit:
    def edit(folder: Path) -> None:
        (folder / file).write_text(content)

    return edit


DECIDE: dict[str, Edit] = {
    "an epsilon": changed("config.json", layer_norm_epsilon=1e-3),
    "rope": changed("config.json", rope_theta=5e5),
    "a token": changed("tokenizer_config.json", bos_token="<|bos|>"),
    "when to stop": changed("generation_config.json", eos_token_id=7),
    "special tokens": changed("special_tokens_map.json", bos_token="<s>"),
    "added tokens": changed("added_tokens.json", **{"<s>": 4095}),
    "merges": written("merges.txt", "a b"),
    "sentencepiece": written("tokenizer.model", "x"),
    "an adapter": changed("adapter_config.json", r=8),
    "an adapter's weights": written("adapter_model.safetensors", "x"),
}
DECIDE_NOT: dict[str, Edit] = {
    "who wrote it": changed("config.json", _name_or_path="/elsewhere", transformers_version="4.0.0"),
    "who wrote the settings": changed("generation_config.json", transformers_version="4.0.0"),
    "words about it": written("README.md", "# A model"),
}


@pytest.mark.parametrize("what", [*DECIDE, *DECIDE_NOT])
def test_identity_follows_what_decides(what: str, tiny_gpt2: Path) -> None:
    names = (str(tiny_gpt2), f"{tiny_gpt2}?init=random")
    before = [revision_of(name) for name in names]
    (DECIDE | DECIDE_NOT)[what](tiny_gpt2)
    after = [revision_of(name) for name in names]
    assert [a != b for a, b in zip(before, after, strict=True)] == [what in DECIDE] * 2


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 200_000))
def test_any_character_of_the_tokenizer_counts(at: int, tiny_gpt2: Path) -> None:
    path = tiny_gpt2 / "tokenizer.json"
    whole = path.read_bytes()
    before = revision_of(str(tiny_gpt2))
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    os.utime(path, ns=(at, at))  # as if later: the file system's clock may not have ticked
    assert revision_of(str(tiny_gpt2)) != before
    path.write_bytes(whole)


def test_loading_gives_the_same_identity_and_reads_weights_once(
    tiny_gpt2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Path] = []
    whole = _weights._sha256.__wrapped__

    def counting(file: Path, size: int, mtime_ns: int) -> str:
        reads.append(file)
        return str(whole(file, size, mtime_ns))

    monkeypatch.setattr(_weights, "_sha256", lru_cache(counting))
    assert load(str(tiny_gpt2)).revision == revision_of(str(tiny_gpt2)) == revision_of(f"{tiny_gpt2}/")
    assert reads.count(tiny_gpt2 / "model.safetensors") == 1
