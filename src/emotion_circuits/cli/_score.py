"""The score command."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from emotion_circuits._plain import to_plain
from emotion_circuits.cli._inputs import (
    TEXTS_AT_ONCE,
    DirectionModel,
    Kind,
    Vectors,
    Where,
    check_lengths,
    check_writable,
    load_model_of,
    load_vectors,
    text_rows,
)
from emotion_circuits.cli._options import (
    MODEL_OPTIONS,
    STORE_OPTIONS,
    Json,
    ModelOptions,
    StoreOptions,
    command,
    flag,
    text_file,
)
from emotion_circuits.cli._output import Table, emit, note
from emotion_circuits.cli._paths import output_path
from emotion_circuits.cli._progress import progress
from emotion_circuits.errors import InputError

if TYPE_CHECKING:
    from emotion_circuits.prompts import Row
    from emotion_circuits.scoring import Score

FIELDS, TRUNCATED = ("scores", "layer", "position"), "truncated"


@command(example='score --model reference/gpt2 --text "Thank you so much for your help."')
def score(
    *,
    model: DirectionModel = None,
    vectors: Vectors = None,
    text: Annotated[tuple[str, ...], flag("--texts", help="One or more texts.", show_default=False)] = (),
    input: Annotated[
        Path | None,
        text_file(help="Texts instead: .jsonl, .csv, .tsv (`text`), .json or .txt; - for standard input."),
    ] = None,
    output: Annotated[Path | None, flag(help="Write .jsonl (or .ndjson) instead of printing.")] = None,
    prefix: Annotated[str, flag(help="Put before the names of the fields that are added.", show_default=False)] = "",
    truncate: Annotated[
        bool, flag(help="Of a text that is too long, score the first tokens; adds the field `truncated`.")
    ] = False,
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
    median residual norm: 0 is generic text, higher is more. The output has each line's own fields as
    they were, then `scores` (emotion to number), `layer` (a number, or one per emotion where they
    differ) and `position`.
    """
    from emotion_circuits._files import write_text
    from emotion_circuits.models import first_tokens
    from emotion_circuits.prompts import Row
    from emotion_circuits.scoring import score_texts

    if bool(text) == (input is not None):
        raise InputError("Give either --text or --input.", found="both" if text else "neither")
    if any(not t.strip() for t in text):
        raise InputError("A text is empty.", next_step="leave it out")
    rows = [Row(f"--text {i}", {"text": t}) for i, t in enumerate(text, 1)] if input is None else text_rows(input)
    names = [prefix + name for name in (*FIELDS, *([TRUNCATED] if truncate else []))]
    _refuse_clashes(rows, names, prefix)
    if output is not None:
        output = output_path(output, ".jsonl", ".ndjson")
        check_writable(output)
    directions = load_vectors(vectors, model, store_options, position)
    for emotion in directions.emotions:
        directions.layer_of(emotion, layer)  # refuses one that is not there, before the model is loaded
    lm = load_model_of(directions, model, model_options)
    read = [row._replace(value={"text": first_tokens(lm, row.text)}) for row in rows] if truncate else rows
    check_lengths(lm, read, next_step="shorten it, or --truncate to score its first tokens")
    scored: list[Score] = []
    with progress("Scoring", len(rows)) as done:
        for first in range(0, len(rows), TEXTS_AT_ONCE):
            texts = [row.text for row in read[first : first + TEXTS_AT_ONCE]]
            scored += score_texts(lm, directions, texts, layer=layer, kind=kind)
            done(len(scored))
    for row, one in zip(rows, scored, strict=True):
        if not all(map(math.isfinite, one.scores.values())):
            note(f"{row.where}: no score; the text lacks the position, or the model's numbers for it are not finite")
    layers = set(scored[0].layers.values())
    at_layer, position = layers.pop() if len(layers) == 1 else scored[0].layers, scored[0].position
    added = [
        dict(zip(names, (one.scores, at_layer, position, part.text != row.text), strict=False))
        for row, part, one in zip(rows, read, scored, strict=True)
    ]
    if output is not None:
        write_text(output, "".join(map(_line, rows, added)))
        emit({"file": output, "n": len(rows), "layer": at_layer, "position": position}, json)
        return
    emotions = directions.emotions
    lines = [(*(one.scores[e] for e in emotions), row.text) for one, row in zip(scored, rows, strict=True)]
    where = f"layer {at_layer}" if isinstance(at_layer, int) else ", ".join(f"{e} {k}" for e, k in at_layer.items())
    notes = (
        f"0 is the mean of {directions.generic.n_texts} generic texts; the unit is the layer's median residual norm.",
    )
    title = f"{lm.name}, {kind} directions at {position}, {where}"
    result = [{**row.value, **own} for row, own in zip(rows, added, strict=True)]
    emit(result, json, table=Table((*emotions, "text"), lines, title=title, notes=notes))


def _refuse_clashes(rows: Sequence[Row], names: Sequence[str], prefix: str) -> None:
    """No field of a user's is ever written over."""
    for row in rows:
        for name in names:
            if name in row.value:
                raise InputError(
                    f"{row.where}: the line has a field {name!r} already, which `score` adds.",
                    next_step=f"give --prefix, such as --prefix {prefix}ec_, which is put before {', '.join(names)}",
                )


def _line(row: Row, added: dict[str, Any]) -> str:
    """The line as it was written, with our fields at its end."""
    import json

    ours = json.dumps(to_plain(added), ensure_ascii=False, allow_nan=False)
    own = row.line or json.dumps(row.value, ensure_ascii=False, allow_nan=False)
    return f"{own[:-1].rstrip()}, {ours[1:]}\n"
