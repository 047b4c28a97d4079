"""What several commands read: texts, directions, and the model that the directions belong to."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from emotion_circuits.cli._errors import PROGRAM
from emotion_circuits.cli._options import ModelOptions, StoreOptions, flag
from emotion_circuits.cli._output import note
from emotion_circuits.cli._paths import input_path
from emotion_circuits.errors import InputError

if TYPE_CHECKING:
    from emotion_circuits.directions import DirectionSet
    from emotion_circuits.models import LoadedModel

DEFAULT_POSITION = "mean"

Vectors = Annotated[
    Path | None,
    flag("--vectors-file", help="Directions, as `vectors` writes them; by default those in the results folder."),
]
DirectionModel = Annotated[
    str | None, flag("--model1", help="Named as in `models list`; by default the model the directions came from.")
]
KindName = Literal["specific", "matched", "probe", "pca", "lda"]
Kind = Annotated[
    KindName,
    flag(help="Direction: against the other emotions, against neutral, or a probe's; pca and lda if they were fitted."),
]
Where = Annotated[
    str | None, flag(help="sentence-end, last-content, emotion-token or mean: where the directions were read.")
]


def load_vectors(vectors: Path | None, model: str | None, store: StoreOptions, position: str | None) -> DirectionSet:
    """The directions of a file, or those of a model in the results folder.

    Raises:
        InputError: neither is named, there are none, the file holds others than asked for.
    """
    from emotion_circuits.directions import check_position, load_directions
    from emotion_circuits.models import ModelName

    if vectors is None:
        if model is None:
            raise InputError("Neither directions nor a model were named.", next_step="give --vectors or --model")
        wanted = check_position(position or DEFAULT_POSITION)
        path = store.folder / "emotion_vectors" / f"{ModelName.parse(model).slug}_{wanted}.safetensors"
        if not path.is_file():
            raise InputError(
                f"There are no directions of {model} yet.",
                found=f"no file {path}",
                next_step=f"{PROGRAM} vectors --model {model} --position {wanted.replace('_', '-')}, or give --vectors",
            )
        return load_directions(path)
    directions = load_directions(input_path(vectors, ".safetensors"))
    if position is not None and check_position(position) != directions.position:
        raise InputError(
            "These directions were read at another position.",
            found=f"{directions.position} in {vectors}",
            accepted=check_position(position),
            next_step="leave out --position, or give the directions of that position",
        )
    return directions


def load_model_of(directions: DirectionSet, model: str | None, options: ModelOptions) -> LoadedModel:
    """The model that directions belong to, run as it was when they were made.

    Raises:
        InputError: the model named is another one.
    """
    from emotion_circuits.engine import load_verified

    if options.dtype != directions.source.dtype:
        note(f"the directions were made in {directions.source.dtype}; the model runs in {options.dtype}")
    name = directions.source.model if model is None else model
    lm = load_verified(name, **options.loading(directions.source))
    directions.check_model(lm)
    return lm


def check_emotions(directions: DirectionSet, emotions: Sequence[str]) -> None:
    """Raise `InputError` for an emotion without a direction."""
    for emotion in emotions:
        if emotion not in directions.emotions:
            raise InputError(f"There is no direction for {emotion!r}.", accepted=", ".join(directions.emotions))


def check_writable(path: Path) -> None:
    """Raise `InputError` before the work starts if a file could not be written when it ends."""
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if path.is_dir():
        found = "this is a folder"
    elif not folder.is_dir():
        found = f"{folder} is not a folder"
    elif not os.access(folder, os.W_OK | os.X_OK):
        found = f"no permission to write in {folder}"
    else:
        return
    raise InputError(f"Cannot write {path}.", found=found, next_step="choose a folder you may write")


def read_records(path: Path, *, blank: bool = False) -> list[dict[str, Any]]:
    """The objects of a JSONL file, each with a field `text`, which must not be blank unless `blank` allows it.

    Raises:
        InputError: naming the file and the line.
    """
    records = []
    # Not splitlines, which would also cut at characters that JSON allows inside strings.
    for number, line in enumerate(_read(path).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            record = json.loads(line)
        except ValueError as error:
            raise InputError(f"{where} is not JSON.", found=error, accepted='{"text": "..."} on each line') from error
        if not isinstance(record, dict) or not isinstance(record.get("text"), str):
            raise InputError(f"{where} has no text.", found=line[:80], accepted='{"text": "..."} on each line')
        if not blank and not record["text"].strip():
            raise InputError(f"{where} has an empty text.", next_step="leave the line out")
        records.append(record)
    if not records:
        raise InputError(f"{path} holds no texts.", accepted='{"text": "..."} on each line')
    return records


def read_prompts(path: Path) -> list[str]:
    """Prompts from .json (`{"prompts": [...]}` or a list), .jsonl (field `text`) or .txt (one on each line).

    Raises:
        InputError: missing, malformed, or without prompts.
    """
    if path.suffix == ".jsonl":
        return [record["text"] for record in read_records(path)]
    text = _read(path)
    if path.suffix == ".txt":
        found: Any = text.split("\n")
    else:
        try:
            found = json.loads(text)
        except ValueError as error:
            raise InputError(f"{path} is not JSON.", found=error) from error
        found = found.get("prompts") if isinstance(found, dict) else found
    if not isinstance(found, list) or not all(isinstance(prompt, str) for prompt in found):
        raise InputError(f"{path} holds no list of prompts.", accepted='{"prompts": ["...", ...]} or ["...", ...]')
    kept = [prompt for prompt in found if prompt.strip()]
    if not kept:
        raise InputError(f"{path} holds no prompts.")
    return kept


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError("There is no such file.", found=path) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text.", found=error.reason, next_step="save it as UTF-8") from error
    except OSError as error:
        raise InputError(f"Cannot read {path}.", found=error.strerror) from error
