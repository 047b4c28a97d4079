"""What loading promises, and one clear message for everything that can go wrong."""

from __future__ import annotations

import json
from collections import namedtuple
from pathlib import Path

import psutil
import pytest
import torch

from emotion_circuits.errors import InputError
from emotion_circuits.models import REFERENCE_NAMES, catalogue, get, load
from emotion_circuits.models._quiet import quiet_transformers


def problem(name: str, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        load(name, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert caught.value.exit_status == 2
    assert len(message.splitlines()) <= 4
    return message


@pytest.mark.parametrize("name", REFERENCE_NAMES)
def test_reference_models_predict_text(name: str) -> None:
    lm = load(name)
    assert lm.bos
    (encoded,) = lm.encode(["Thank you so much for helping me with the report. I really appreciate it."])
    ids = torch.tensor([encoded.ids])
    with torch.no_grad():
        loss = lm.hf(ids, labels=ids).loss.item()
        untrained = load(f"{name}?init=random").hf(ids, labels=ids).loss.item()
    assert loss < 4 < 7 < untrained  # chance is ln 4096 = 8.3


@pytest.mark.parametrize(
    ("family", "expected"), [("gpt2", True), ("gpt_neox", False), ("gpt_neo", False), ("llama", False)]
)
def test_bos_auto(family: str, expected: bool, tiny_folders: dict[str, Path]) -> None:
    assert load(str(tiny_folders[family])).bos is expected
    assert load(str(tiny_folders[family]), bos=not expected).bos is not expected


def test_bos_needs_a_token(tiny_gpt2: Path) -> None:
    (tiny_gpt2 / "tokenizer_config.json").write_text('{"tokenizer_class": "TokenizersBackend"}')
    assert "no BOS or EOS" in problem(str(tiny_gpt2), bos=True)
    assert load(str(tiny_gpt2)).bos is False


def test_revision_follows_the_weights(tiny_gpt2: Path) -> None:
    before = load(str(tiny_gpt2)).revision
    assert load(str(tiny_gpt2)).revision == before
    weights = bytearray((tiny_gpt2 / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tiny_gpt2 / "model.safetensors").write_bytes(weights)
    assert load(str(tiny_gpt2)).revision != before


def test_sharded_weights(tiny_gpt2: Path) -> None:
    whole = load(str(tiny_gpt2))
    (tiny_gpt2 / "model.safetensors").unlink()
    whole.hf.save_pretrained(tiny_gpt2, max_shard_size="300KB")
    shards = sorted(tiny_gpt2.glob("model-*.safetensors"))
    assert len(shards) > 1
    again = load(str(tiny_gpt2))
    assert torch.equal(again.hf.lm_head.weight, whole.hf.lm_head.weight)
    shards[-1].unlink()
    assert shards[-1].name in problem(str(tiny_gpt2))


def test_loading_leaves_global_settings_alone(tiny_gpt2: Path) -> None:
    from transformers.utils import logging

    logging.enable_progress_bar()
    before = (logging.get_verbosity(), True, torch.get_default_dtype())
    load(str(tiny_gpt2), dtype="bfloat16")
    with pytest.raises(ZeroDivisionError), quiet_transformers():
        assert not logging.is_progress_bar_enabled()
        raise ZeroDivisionError
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled(), torch.get_default_dtype()) == before


def test_loading_prints_nothing(tiny_gpt2: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(str(tiny_gpt2))
    assert capfd.readouterr() == ("", "")


def test_truncated_weights(tiny_gpt2: Path) -> None:
    weights = tiny_gpt2 / "model.safetensors"
    for length in (weights.stat().st_size // 2, 100, 0):
        weights.write_bytes(weights.read_bytes()[:length])
        assert "model.safetensors is damaged or incomplete" in problem(str(tiny_gpt2))


def test_pickled_weights_are_refused(tiny_gpt2: Path) -> None:
    (tiny_gpt2 / "model.safetensors").unlink()
    assert "no weights" in problem(str(tiny_gpt2))
    (tiny_gpt2 / "pytorch_model.bin").write_bytes(b"")
    assert "pickled" in problem(str(tiny_gpt2))


def test_weights_of_another_shape(tiny_gpt2: Path) -> None:
    change_config(tiny_gpt2, n_layer=4)
    assert "do not cover" in problem(str(tiny_gpt2))
    change_config(tiny_gpt2, n_layer=3, n_positions=65)
    assert "weights" in problem(str(tiny_gpt2))


def test_bad_configurations(tiny_gpt2: Path) -> None:
    change_config(tiny_gpt2, model_type="mamba")
    assert "not supported" in problem(str(tiny_gpt2))
    change_config(tiny_gpt2, model_type="gpt2", n_embd="wide")
    assert "config.json cannot be used" in problem(str(tiny_gpt2))
    (tiny_gpt2 / "config.json").write_text("[")
    assert "config.json cannot be used" in problem(str(tiny_gpt2))
    (tiny_gpt2 / "config.json").write_text("[]")
    assert "config.json cannot be used" in problem(str(tiny_gpt2))
    (tiny_gpt2 / "config.json").unlink()
    assert "no config.json" in problem(str(tiny_gpt2))
    assert "no such folder" in problem(str(tiny_gpt2 / "none"))


def change_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def test_bad_tokenizers(tiny_gpt2: Path) -> None:
    (tiny_gpt2 / "tokenizer.json").write_text("{")
    assert "tokenizer cannot be read" in problem(str(tiny_gpt2))
    (tiny_gpt2 / "tokenizer.json").unlink()
    assert "no tokenizer" in problem(str(tiny_gpt2))


def test_too_little_memory(tiny_gpt2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = sum(parameter.numel() for parameter in load(str(tiny_gpt2)).hf.parameters())
    memory = namedtuple("memory", "available")
    for query in ("", "?init=random"):
        monkeypatch.setattr(psutil, "virtual_memory", lambda: memory(parameters * 4))
        assert "too little memory" in problem(str(tiny_gpt2) + query)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: memory(parameters * 5))
        load(str(tiny_gpt2) + query)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory(parameters * 3))
    load(str(tiny_gpt2), dtype="bfloat16")


def test_bad_options(tiny_gpt2: Path) -> None:
    assert "dtype" in problem(str(tiny_gpt2), dtype="float8")
    assert "device" in problem(str(tiny_gpt2), device="warp:0")
    if not torch.cuda.is_available():
        assert "device" in problem(str(tiny_gpt2), device="cuda")


def test_a_hub_out_of_reach(empty_caches: Path) -> None:
    message = problem("gpt2")
    assert "hub cannot be reached" in message and "reference/gpt2" in message


def test_a_hub_that_never_answers(empty_caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from threading import Event

    from huggingface_hub import HfApi

    from emotion_circuits.models import _hub

    asked, stop, answered = Event(), Event(), Event()

    def wait(*_args: object, **_options: object) -> None:
        asked.set()
        stop.wait(30)
        answered.set()

    monkeypatch.setattr(_hub, "CONNECT_SECONDS", -0.5)  # half a second in all
    monkeypatch.setattr(HfApi, "model_info", wait)
    assert "hub cannot be reached" in problem("gpt2")
    assert asked.is_set() and not answered.is_set()
    stop.set()


def hub_answer(monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
    from huggingface_hub import HfApi

    def model_info(*_args: object, **_options: object) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(HfApi, "model_info", model_info)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("GatedRepoError", "is gated"),
        ("RepositoryNotFoundError", "no such model"),
        ("RevisionNotFoundError", "no such revision"),
    ],
)
def test_what_the_hub_may_answer(error: str, words: str, empty_caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import errors

    kind = getattr(errors, error)
    hub_answer(monkeypatch, kind.__new__(kind))
    assert words in problem("some/model@v1")


def test_a_repository_without_safetensors(empty_caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    files = ["config.json", "tokenizer.json", "pytorch_model.bin"]
    hub_answer(monkeypatch, SimpleNamespace(siblings=[SimpleNamespace(rfilename=file) for file in files]))
    assert "pickled" in problem("some/model")


def test_a_cached_snapshot_needs_no_hub(
    empty_caches: Path, tiny_gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "hub" / "models--some--model"
    commit = "0123456789" * 4
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots").mkdir()
    snapshot = tiny_gpt2.rename(repository / "snapshots" / commit)
    assert load("some/model").revision == commit
    (snapshot / "model.safetensors").unlink()  # an interrupted download is not taken for a model
    assert "hub cannot be reached" in problem("some/model")
    assert load("some/model?init=random").revision.startswith("init-random-seed-0-")


def test_catalogue(empty_caches: Path) -> None:
    rows = {row.name: row for row in catalogue()}
    assert set(REFERENCE_NAMES) < set(rows)
    for name in REFERENCE_NAMES:
        lm, row = load(name), rows[name]
        assert (row.family, row.layers, row.width) == (lm.family.name, lm.n_layers, lm.d_model)
        assert row.parameters == lm.hf.num_parameters()
        assert row.available and row.how == "bundled"
    assert not rows["gpt2"].available and not rows["smollm2-135m"].available
    assert "models get smollm2-135m" in problem("smollm2-135m")
    assert get("reference/gpt2").is_dir()


def test_threads(tiny_gpt2: Path) -> None:
    load(str(tiny_gpt2))
    assert torch.get_num_threads() == 1  # as every test begins
    load(str(tiny_gpt2), threads=2)
    assert torch.get_num_threads() == 2
