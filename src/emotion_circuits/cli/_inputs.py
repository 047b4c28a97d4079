"""What several commands read: texts, directions, and the model that the directions belong to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

from emotion_circuits.cli._errors import PROGRAM
from emotion_circuits.cli._options import ModelOptions, StoreOptions, flag
from emotion_circuits.cli._output import note
from emotion_circuits.cli._paths import input_path, is_special
from emotion_circuits.errors import InputError

if TYPE_CHECKING:
    from emotion_circuits.directions import DirectionSet
    from emotion_circuits.models import LoadedModel
    from emotion_circuits.prompts import Row

DEFAULT_POSITION = "mean"
TEXTS_AT_ONCE = 512
LONGEST_NAME = 220
"""Bytes of a file's name: 255 on most disks, and a temporary name is longer than the file's own."""

Vectors = Annotated[
    Path | None,
    flag("--vectors-file", help="Directions, as `vectors` writes them; by default those in the results folder."),
]
DirectionModel = Annotated[
    str | None, flag("--model1", help="Named as in `models list`; by default the model the directions came from.")
]
KindName = Literal["specific", "matched", "probe", "pca", "lda", "detector"]
BestKind = Annotated[
    Literal["best", "specific", "matched", "probe", "pca", "lda", "detector"],
    flag(
        help="Direction; `best` is the kind, with each emotion's layer, that told emotions best on development texts;"
        " `detector` a probe fitted on utterances too."
    ),
]
Kind = Annotated[
    KindName,
    flag(help="Direction: against the other emotions, against neutral, or a probe's; pca, lda, detector if fitted."),
]
Where = Annotated[
    str | None, flag(help="sentence-end, last-content, emotion-token or mean: where the directions were read.")
]


class Placed(Protocol):
    """A text that knows where it came from: a `prompts.Row` or `prompts.Text`."""

    @property
    def text(self) -> str: ...
    @property
    def where(self) -> str: ...


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
    if any(len(os.fsencode(part)) > LONGEST_NAME for part in path.parts):
        raise InputError(f"Cannot write {path}.", found="a name that is too long", accepted=f"{LONGEST_NAME} bytes")
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if is_special(path):
        return
    if path.is_dir():
        found = "this is a folder"
    elif not folder.is_dir():
        found = f"{folder} is not a folder"
    elif not os.access(folder, os.W_OK | os.X_OK):
        found = f"no permission to write in {folder}"
    else:
        return
    raise InputError(f"Cannot write {path}.", found=found, next_step="choose a folder you may write")


def text_rows(path: Path, *, blank: bool = False) -> list[Row]:
    """The texts of a file with the fields beside them, as `prompts.read_rows` reads them.

    Raises:
        InputError: naming the file and the line.
    """
    from emotion_circuits.prompts import read_rows

    return read_rows(input_path(path, ".jsonl"), blank=blank)


def check_lengths(lm: LoadedModel, texts: Sequence[Placed], *, room: int = 0, next_step: str | None = None) -> None:
    """Raise `InputError` naming the place of a text that does not fit into the model, or is nothing to it.

    Args:
        lm: the model.
        texts: what errors call each text, and the text.
        room: tokens that must be left for what is written after it.
        next_step: what to do, if shortening the text is not all.
    """
    most = lm.max_positions - room - int(lm.bos)
    for first in range(0, len(texts), TEXTS_AT_ONCE):
        some = texts[first : first + TEXTS_AT_ONCE]
        ids = lm.tokenizer([one.text for one in some], add_special_tokens=False, verbose=False)["input_ids"]
        for one, own in zip(some, ids, strict=True):
            where = one.where or repr(one.text[:40])
            if not own and not lm.bos:
                raise InputError(f"{where}: the text has no tokens.", found=repr(one.text[:40]))
            if len(own) > most:
                raise InputError(
                    f"{where}: the text is too long for {lm.name}.",
                    found=f"{len(own)} tokens",
                    accepted=f"at most {most}" + (f", with {room} to be written after it" if room else ""),
                    next_step=next_step or "split or shorten it",
                )
