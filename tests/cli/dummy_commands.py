"""Commands that behave badly on purpose, or show what they were given."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from emotion_circuits.cli._options import (
    MODEL_OPTIONS,
    STORE_OPTIONS,
    BatchTokens,
    Json,
    Layers,
    ModelFlag,
    ModelOptions,
    OtherModelFlag,
    Seed,
    StoreOptions,
    command,
    flag,
)
from emotion_circuits.cli._output import emit
from emotion_circuits.cli._progress import keeping
from emotion_circuits.errors import InputError, MeasurementError


@command(example="attempt --layers 3 5 7 --alpha -2 -1 0.5")
def attempt(
    *,
    model: ModelFlag = "gpt2",
    other: OtherModelFlag = "",
    layers: Layers = None,
    alpha: tuple[float, ...] = (),
    data_dir: Annotated[Path, flag("--dataset", "--prompts-file")] = Path("data"),
    n_components: int = 10,
    batch_tokens: BatchTokens = None,
    seed: Seed = 0,
    model_options: ModelOptions = MODEL_OPTIONS,
    store_options: StoreOptions = STORE_OPTIONS,
    json: Json = False,
) -> None:
    """Print what was given.

    Args:
        alpha: Multiples.
    """
    emit({**locals(), "model_options": asdict(model_options), "store_options": asdict(store_options)}, json)


Ending = Literal["input", "failure", "interrupt", "interrupt-kept", "bug", "pipe", "memory", "os", "long", "seven"]


@command(example="fail bug")
def fail(how: Ending, /) -> int:
    """End in a given way."""
    if how == "input":
        raise InputError("No such layer.", found=99, accepted="0 to 7", next_step="choose another")
    if how == "failure":
        raise MeasurementError("The hook never fired.")
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "interrupt-kept":
        with keeping("Finished stages are in results/baseline."):
            raise KeyboardInterrupt
    if how == "bug":
        raise ValueError("first line\nsecond line")
    if how == "pipe":
        raise BrokenPipeError
    if how == "memory":
        raise MemoryError
    if how == "os":
        Path("no-such-folder/file").read_text()
    if how == "long":
        raise InputError("one\ntwo\nthree\nfour\nfive", next_step="six")
    print("seven", file=sys.stdout)
    return 7
