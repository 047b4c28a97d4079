"""Models from the Hugging Face hub, kept in its own cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

from emotion_circuits.errors import EmotionCircuitsError, InputError
from emotion_circuits.models._checks import ADAPTER, adapter_beside
from emotion_circuits.models._names import PACKAGED_NAMES, REFERENCE_NAMES, ModelName, config_advice
from emotion_circuits.models._weights import INDEX, SINGLE, TOKENIZER_FILES, pickled_only, weight_files

CONNECT_SECONDS = 5.0

_CONFIGURATION = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    *TOKENIZER_FILES,
)
_WEIGHTS = (SINGLE, INDEX, "model-*-of-*.safetensors")


def hub_folder(name: ModelName, *, weights: bool = True) -> Path:
    """The snapshot of a hub model, from the cache if it is complete there, else downloaded.

    A cached snapshot is used without asking the hub for a newer one, so that a study measures one model throughout;
    `download` renews it. The folder's name is the commit.

    Args:
        weights: whether the weight files are needed.

    Raises:
        InputError: the hub cannot be reached, or does not have or give the model.
    """
    return cached_snapshot(name, weights=weights) or download(name, weights=weights)


def cached_snapshot(name: ModelName, *, weights: bool = True) -> Path | None:
    """The complete snapshot in the cache, if there is one."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(name.source, "config.json", revision=name.revision)
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    if not any((folder / file).is_file() for file in TOKENIZER_FILES):
        return None
    try:
        if weights:
            weight_files(folder)
    except InputError:
        return None
    return folder


def download(name: ModelName, *, weights: bool = True) -> Path:
    """Fetch a hub model's configuration, tokenizer and safetensors files, and nothing else.

    Raises:
        InputError: the hub cannot be reached, or does not have or give the model.
    """
    from huggingface_hub import HfApi, snapshot_download

    info = _ask(name, lambda: HfApi().model_info(name.source, revision=name.revision, timeout=CONNECT_SECONDS))
    files = [sibling.rfilename for sibling in info.siblings or ()]
    if "config.json" not in files:
        raise InputError(f"{name} is not a transformers model: it has no config.json.")
    if weights and ADAPTER in files:
        raise adapter_beside(name)
    if weights and SINGLE not in files and INDEX not in files:
        pickled = [file for file in files if file.endswith((".bin", ".pt", ".pth"))]
        raise pickled_only(str(name), pickled[0]) if pickled else InputError(f"{name} has no safetensors weights.")
    try:
        folder = snapshot_download(
            name.source,
            revision=name.revision,
            allow_patterns=[*_CONFIGURATION, *(_WEIGHTS if weights else ())],
            etag_timeout=CONNECT_SECONDS,
        )
    except Exception as error:  # the HTTP library's own exceptions have no common base that is public
        raise _explain(name, error) from error
    return Path(folder)


def _ask(name: ModelName, question: Callable[[], Any]) -> Any:
    """Ask the hub, and give up after a fixed time.

    The HTTP library's timeout covers neither a name server that does not answer nor several addresses tried in turn,
    so the question runs in a thread that can be left behind.
    """
    answers: list[Any] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            answers.append(question())
        except Exception as error:
            errors.append(error)

    thread = Thread(target=run, daemon=True, name="hub-question")
    thread.start()
    thread.join(CONNECT_SECONDS + 1)
    if answers:
        return answers[0]
    error = errors[0] if errors else TimeoutError(f"no answer in {CONNECT_SECONDS:.0f} s")
    raise _explain(name, error) from error


def _explain(name: ModelName, error: Exception) -> EmotionCircuitsError:
    from huggingface_hub import errors

    folder = Path(name.source)
    local = f"if you mean the folder, it has no config.json: {config_advice(folder)}" if folder.is_dir() else None
    if isinstance(error, errors.GatedRepoError):
        return InputError(
            f"{name.source} is gated.",
            next_step="accept its terms on its page, then set HF_TOKEN to a token of your account",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return InputError(
            f"{name.source} has no such revision.", found=name.revision, accepted="a branch, tag or commit"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return InputError(
            "The hub has no such model, or it is private.",
            found=name.source,
            next_step=local or "check the spelling; for a private model set HF_TOKEN",
        )
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
        return InputError(f"{name} could not be stored.", found=error, next_step="free disk space or set HF_HOME")
    status = getattr(getattr(error, "response", None), "status_code", None)
    reason = " ".join(str(error).split())[:160]
    return InputError(
        f"The model hub cannot be reached, and {name} is not in its cache."
        if status is None
        else f"The model hub answered with an error for {name}.",
        found=f"{type(error).__name__}: {reason}",
        next_step=local or f"check the connection, or use {REFERENCE_NAMES[0]}, {PACKAGED_NAMES[0]} or a local folder",
    )
