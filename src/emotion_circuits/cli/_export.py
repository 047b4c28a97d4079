"""The export command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from emotion_circuits.cli._inputs import (
    DirectionModel,
    Kind,
    Vectors,
    Where,
    check_emotions,
    check_writable,
    load_vectors,
)
from emotion_circuits.cli._options import STORE_OPTIONS, Json, Layers, StoreOptions, command, flag
from emotion_circuits.cli._output import Table, emit
from emotion_circuits.cli._paths import output_path
from emotion_circuits.errors import InputError

SUFFIX = ".gguf"


@command(
    example="export --model reference/gpt2 --emotion gratitude --layers 4 --dose .2 --output gratitude.gguf",
    writes="output",
)
def export(
    *,
    model: DirectionModel = None,
    vectors: Vectors = None,
    emotion: Annotated[str, flag(help="Whose direction.")],
    output: Annotated[
        Path | None, flag(help="File to write, .gguf; by default beside the model's directions in the results folder.")
    ] = None,
    dose: Annotated[
        float, flag(help="In each layer's spread of generic text, what strength 1 stands for; not 0.")
    ] = 0.1,
    layers: Layers = None,
    position: Where = None,
    kind: Kind = "specific",
    model_hint: Annotated[
        str | None, flag(help="llama.cpp's name of the architecture; by default that of the directions' model.")
    ] = None,
    store_options: StoreOptions = STORE_OPTIONS,
    json: Json = False,
) -> None:
    """Write an emotion's directions as a control vector of llama.cpp and repeng.

    The file holds dose · s · v̂ for every layer asked for: `llama-cli --control-vector FILE` then adds
    what steering with that dose at those layers adds, and at a text's first token too. Doses of several
    layers add up. Layer 0 is left out: llama.cpp has no slot for it. Needs no model.
    """
    from emotion_circuits.directions import export_gguf
    from emotion_circuits.models import ModelName

    directions = load_vectors(vectors, model, store_options, position)
    if model is not None and str(ModelName.parse(model)) != directions.source.model:
        raise InputError(
            "These directions belong to another model.", found=directions.source.model, accepted=str(model)
        )
    check_emotions(directions, [emotion])
    if output is None:
        name = f"{ModelName.parse(directions.source.model).slug}_{directions.position}_{emotion}{SUFFIX}"
        output = store_options.folder / "emotion_vectors" / name
    output = output_path(output, SUFFIX)
    check_writable(output)
    done = export_gguf(directions, emotion, output, dose=dose, kind=kind, layers=layers, model_hint=model_hint)
    rows = [(layer, length, float(directions.generic.unit[layer + 1])) for layer, length in done.lengths.items()]
    notes = [f"Left out: layer {layer}, for which llama.cpp has no slot." for layer in done.left_out]
    notes += [f"llama-cli -m MODEL.gguf --control-vector {output}", f"written: {output}"]
    title = f"{directions.source.model} ({done.model_hint}): {emotion} ({kind}), dose {dose:g} at strength 1"
    result = {"file": output, "model": directions.source.model, "model_hint": done.model_hint, "emotion": emotion,
              "kind": kind, "position": directions.position, "dose": dose, "lengths": done.lengths,
              "left_out": done.left_out, "unit": directions.generic.unit_name}  # fmt: skip
    emit(result, json, table=Table(("layer", "length", directions.generic.unit_name), rows, title=title, notes=notes))
