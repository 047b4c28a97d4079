"""The score command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from emotion_circuits._plain import to_plain
from emotion_circuits.cli._inputs import (
    DirectionModel,
    Kind,
    Vectors,
    Where,
    check_writable,
    load_model_of,
    load_vectors,
    read_records,
)
from emotion_circuits.cli._options import MODEL_OPTIONS, STORE_OPTIONS, Json, ModelOptions, StoreOptions, command, flag
from emotion_circuits.cli._output import Table, emit
from emotion_circuits.cli._paths import input_path, output_path
from emotion_circuits.cli._progress import progress
from emotion_circuits.errors import InputError

TEXTS_AT_ONCE = 512


@command(example='score --model reference/gpt2 --text "Thank you so much for your help."')
def score(
    *,
    model: DirectionModel = None,
    vectors: Vectors = None,
    text: Annotated[tuple[str, ...], flag("--texts", help="One or more texts.", show_default=False)] = (),
    input: Annotated[Path | None, flag(help="Texts instead: a .jsonl file with a field `text` on each line.")] = None,
    output: Annotated[Path | None, flag(help="Write .jsonl instead of printing.")] = None,
    layer: Annotated[
        int | None, flag(help="Block, or -1 for embed; by default each emotion's chosen layer.", at_least=-1)
    ] = None,
    position: Where = None,
    kind: Kind = "specific",
    model_options: ModelOptions = MODEL_OPTIONS,
    store_options: StoreOptions = STORE_OPTIONS,
    json: Json = False,
) -> None:
    """Project texts on the emotions' directions.

    A score is the distance along the direction from the mean of generic text, in units of the layer's
    median residual norm: 0 is generic text, higher is more. The output has each line's own fields,
    then `scores` (emotion to number), `layer` (a number, or one per emotion where they differ) and
    `position`.
    """
    from emotion_circuits._files import write_text
    from emotion_circuits.scoring import score_texts

    if bool(text) == (input is not None):
        raise InputError("Give either --text or --input.", found="both" if text else "neither")
    if any(not t.strip() for t in text):
        raise InputError("A text is empty.", next_step="leave it out")
    if input is not None and input.suffix != ".jsonl":
        raise InputError("Texts are read from .jsonl files.", found=input, accepted='{"text": "..."} on each line')
    records = [{"text": t} for t in text] if input is None else read_records(input_path(input, ".jsonl"))
    if output is not None:
        output = output_path(output, ".jsonl")
        check_writable(output)
    directions = load_vectors(vectors, model, store_options, position)
    for emotion in directions.emotions:
        directions.layer_of(emotion, layer)  # refuses one that is not there, before the model is loaded
    lm = load_model_of(directions, model, model_options)
    scored: list[dict[str, Any]] = []
    with progress("Scoring", len(records)) as done:
        for first in range(0, len(records), TEXTS_AT_ONCE):
            chunk = records[first : first + TEXTS_AT_ONCE]
            found = score_texts(lm, directions, [record["text"] for record in chunk], layer=layer, kind=kind)
            for record, one in zip(chunk, found, strict=True):
                at = set(one.layers.values())
                shown = at.pop() if len(at) == 1 else one.layers
                scored.append({**record, "scores": one.scores, "layer": shown, "position": one.position})
            done(len(scored))
    if output is not None:
        write_text(output, "".join(_line(row) for row in scored))
        result = {"file": output, "n": len(scored), "layer": scored[0]["layer"], "position": scored[0]["position"]}
        emit(result, json)
        return
    emotions = directions.emotions
    rows = [(*(row["scores"][e] for e in emotions), row["text"]) for row in scored]
    at_layer = scored[0]["layer"]
    where = f"layer {at_layer}" if isinstance(at_layer, int) else ", ".join(f"{e} {k}" for e, k in at_layer.items())
    notes = (
        f"0 is the mean of {directions.generic.n_texts} generic texts; the unit is the layer's median residual norm.",
    )
    title = f"{lm.name}, {kind} directions at {scored[0]['position']}, {where}"
    emit(scored, json, table=Table((*emotions, "text"), rows, title=title, notes=notes))


def _line(row: dict[str, Any]) -> str:
    import json

    return json.dumps(to_plain(row), ensure_ascii=False, allow_nan=False) + "\n"
