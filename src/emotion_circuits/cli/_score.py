"""The score command."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from emotion_circuits._plain import to_plain
from emotion_circuits.cli._inputs import (
    TEXTS_AT_ONCE,
    BestKind,
    DirectionModel,
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
from emotion_circuits.cli._tokens import token_rows, token_table
from emotion_circuits.errors import InputError

if TYPE_CHECKING:
    from emotion_circuits.directions import DirectionSet
    from emotion_circuits.models import LoadedModel
    from emotion_circuits.prompts import Row
    from emotion_circuits.scoring import Score

FIELDS, TRUNCATED = ("scores", "percentile", "layer", "position"), "truncated"
Value = TypeVar("Value")
MOST_NEUTRAL = 95
"""Per cent of generic texts under the line that is printed with scores."""


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
        int | None,
        flag(help="Block, or -1 for embed; by default each emotion's own. With it `best` is `specific`.", at_least=-1),
    ] = None,
    tokens: Annotated[
        bool, flag(help="Show texts token by token, beside what tokens of generic texts score; at `best`.")
    ] = False,
    position: Where = None,
    kind: BestKind = "best",
    model_options: ModelOptions = MODEL_OPTIONS,
    store_options: StoreOptions = STORE_OPTIONS,
    json: Json = False,
) -> None:
    """Project texts on the emotions' directions.

    A score is the distance along the direction from the mean of generic text, in spreads (the median
    distance of generic text from that mean): 0 is generic text, higher is more. Beside it stands its
    percentile: per cent of generic texts that score lower. The output has each line's own fields as they
    were, then `scores` and `percentile` (emotion to number), `layer` (a number, or one per emotion where
    they differ) and `position`.
    """
    from emotion_circuits._files import write_text
    from emotion_circuits.models import first_tokens
    from emotion_circuits.prompts import Row
    from emotion_circuits.scoring import score_texts

    _check_flags(text, input, tokens, output, prefix, kind)
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
    if tokens:
        _show_tokens(lm, directions, [row.text for row in read], layer, store_options, json)
        return
    scored: list[Score] = []
    with progress("Scoring", len(rows)) as done:
        for first in range(0, len(rows), TEXTS_AT_ONCE):
            texts = [row.text for row in read[first : first + TEXTS_AT_ONCE]]
            scored += score_texts(lm, directions, texts, layer=layer, kind=kind)
            done(len(scored))
    for row, one in zip(rows, scored, strict=True):
        if not all(map(math.isfinite, one.scores.values())):
            note(f"{row.where}: no score; the text lacks the position, or the model's numbers for it are not finite")
    kinds, at_layer, position = one_for_all(scored[0].kinds), one_for_all(scored[0].layers), scored[0].position
    added = [
        dict(
            zip(
                names,
                (one.scores, one.percentiles, at_layer, position, part.text != row.text),
                strict=False,
            )
        )
        for row, part, one in zip(rows, read, scored, strict=True)
    ]
    if output is not None:
        write_text(output, "".join(map(_line, rows, added)))
        emit({"file": output, "n": len(rows), "kind": kinds, "layer": at_layer, "position": position}, json)
        return
    result = [{**row.value, **own} for row, own in zip(rows, added, strict=True)]
    emit(result, json, table=_table(directions, scored, [row.text for row in rows]))


def _check_flags(
    text: tuple[str, ...], input: Path | None, tokens: bool, output: Path | None, prefix: str, kind: str
) -> None:
    """Refuse what does not go together, and texts without words."""
    if bool(text) == (input is not None):
        raise InputError("Give either --text or --input.", found="both" if text else "neither")
    if tokens and (output is not None or prefix or kind != "best"):
        raise InputError(
            "--tokens shows texts at each emotion's best direction, and writes no file.",
            found="--output" if output is not None else "--prefix" if prefix else f"--kind {kind}",
            next_step="leave it out; --json prints tokens for a program",
        )
    if any(not t.strip() for t in text):
        raise InputError("A text is empty.", next_step="leave it out")


def _show_tokens(
    lm: LoadedModel, directions: DirectionSet, texts: Sequence[str], layer: int | None, store: StoreOptions, json: bool
) -> None:
    """Every text as a table of its tokens; all in one list as JSON."""
    from emotion_circuits.app import Workbench, read_text

    bench = Workbench(lm, directions, store.bank, "the results")
    read = [[read_text(bench, directions, text, emotion, layer) for emotion in directions.emotions] for text in texts]
    if json:
        emit([{"text": text, "tokens": token_rows(of)} for text, of in zip(texts, read, strict=True)], json)
        return
    for readings in read:
        emit(None, json, table=token_table(readings))


def one_for_all(of_emotions: Mapping[str, Value]) -> Value | Mapping[str, Value]:
    """What all emotions have alike; a mapping where they differ."""
    values = list(of_emotions.values())
    return values[0] if len(set(values)) == 1 else of_emotions


def _table(directions: DirectionSet, scored: Sequence[Score], texts: Sequence[str]) -> Table:
    """A column of scores for each emotion, each with its percentile, and what most generic texts score."""
    first = scored[0]
    used = {e: (first.kinds[e], first.layers[e]) for e in directions.emotions}
    below = {e: directions.ordinary_score(e, *along, MOST_NEUTRAL / 100) for e, along in used.items()}
    heads = [head for e in used for head in ((e, "percentile") if below[e] is not None else (e,))]
    lines = []
    for one, text in zip(scored, texts, strict=True):
        ranks = {e: f"{value:.0f}" if math.isfinite(value) else "–" for e, value in one.percentiles.items()}
        cells = [cell for e in used for cell in ((one.scores[e], ranks[e]) if e in ranks else (one.scores[e],))]
        lines.append((*cells, text))
    notes = [
        f"0 is the mean of {directions.generic.n_texts} generic texts; the unit is the layer's "
        f"{directions.generic.unit_name}."
    ]
    if usual := ", ".join(f"{e} {value:.3f}" for e, value in below.items() if value is not None):
        notes.append(f"{MOST_NEUTRAL} % of generic texts score below: {usual}. percentile: of a text among them.")
    along = ", ".join(f"{e} by {kind} at layer {layer}" for e, (kind, layer) in used.items())
    return Table((*heads, "text"), lines, f"{directions.source.model}, {first.position}: {along}", notes)


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
