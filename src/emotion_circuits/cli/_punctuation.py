"""`emotion-circuits punctuation`: is the emotion read from its word or from the punctuation that sums the text up?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from emotion_circuits.cli._inputs import (
    DirectionModel,
    Kind,
    Vectors,
    Where,
    check_emotions,
    check_writable,
    load_model_of,
    load_vectors,
)
from emotion_circuits.cli._options import (
    MODEL_OPTIONS,
    STORE_OPTIONS,
    BatchTokens,
    Json,
    ModelOptions,
    Seed,
    StoreOptions,
    command,
    flag,
)
from emotion_circuits.cli._output import Table, emit
from emotion_circuits.cli._paths import output_path
from emotion_circuits.cli._progress import counting

if TYPE_CHECKING:
    from emotion_circuits.directions import DirectionSet
    from emotion_circuits.interventions import PunctuationControl


def first_of(order: tuple[str, ...], directions: DirectionSet) -> tuple[str, ...]:
    """The first emotion that has directions."""
    return next(((emotion,) for emotion in order if emotion in directions.emotions), directions.emotions[:1])


@command(example="punctuation --model reference/gpt2 --emotion gratitude", writes="output")
def punctuation(
    *,
    model: DirectionModel = None,
    vectors: Vectors = None,
    emotions: Annotated[
        tuple[str, ...],
        flag("--emotion", help="Whose direction is ablated; by default the first emotion's.", show_default=False),
    ] = (),
    layer: Annotated[
        int | None, flag(help="First block that is ablated; by default the emotion's chosen layer.", at_least=0)
    ] = None,
    only: Annotated[bool, flag(help="Ablate at that block only, not at those after it.")] = False,
    controls: Annotated[int, flag(help="Control directions that give chance.", at_least=20)] = 20,
    output: Annotated[Path | None, flag(help="Table to write, .parquet; by default in the results folder.")] = None,
    position: Where = None,
    kind: Kind = "specific",
    batch_tokens: BatchTokens = None,
    seed: Seed = 0,
    model_options: ModelOptions = MODEL_OPTIONS,
    store_options: StoreOptions = STORE_OPTIONS,
    json: Json = False,
) -> None:
    """Ablate a direction at a text's punctuation or word only, or everywhere.

    A positive control, after Tigges et al. 2023: a model should gather part of an emotion at its
    punctuation. The loss is of the difference that an emotion's text makes to the log-odds of its
    words after a neutral bridge, beside random directions ablated at the same tokens.
    """
    from emotion_circuits._files import write_table
    from emotion_circuits.directions import source_of
    from emotion_circuits.engine import DEFAULT_BATCH_TOKENS
    from emotion_circuits.interventions import punctuation_control
    from emotion_circuits.models import ModelName
    from emotion_circuits.statistics import measures_table

    directions = load_vectors(vectors, model, store_options, position)
    check_emotions(directions, emotions)
    chosen = tuple(dict.fromkeys(emotions)) or first_of(store_options.bank.emotions, directions)
    if output is None:
        name = f"{ModelName.parse(directions.source.model).slug}_punctuation.parquet"
        output = store_options.folder / "patching" / name
    output = output_path(output, ".parquet")
    check_writable(output)
    lm = load_model_of(directions, model, model_options)
    bank = store_options.bank
    data = bank.profile(store_options.profile).select(split="test")
    found: list[PunctuationControl] = []
    for emotion in chosen:
        with counting(f"Ablating {emotion}", 1 + 4 * (1 + controls)) as add:
            found.append(
                punctuation_control(
                    lm, directions, emotion, data=data, word_sets=bank.word_sets(), layer=layer, onwards=not only,
                    kind=kind, n_controls=controls, seed=seed, batch_tokens=batch_tokens or DEFAULT_BATCH_TOKENS,
                    on_variants=add,
                )
            )  # fmt: skip
    rows = [row for one in found for row in one.rows]
    write_table(output, measures_table(rows), source=source_of(lm).model_dump())
    lines = [
        (m.emotion, m.statistic, _number(m.value), _band(m.ci_low, m.ci_high), _number(m.chance),
         _band(m.null_low, m.null_high), _number(m.p, 3), str(m.n_unique))
        for m in rows
    ]  # fmt: skip
    notes = [f"{one.emotion}: {one.verdict}; ablated at layers {_span(one.layers)}" for one in found]
    notes += [f"{one.emotion}: tokens a text: " + ", ".join(f"{g} {n:.1f}" for g, n in one.tokens.items())
              for one in found]  # fmt: skip
    columns = ("emotion", "statistic", "value", "95 % interval", "chance", "by chance, 95 %", "p", "n")
    result = {"file": output, "verdicts": {one.emotion: one.verdict for one in found}, "measures": sorted(rows)}
    emit(result, json, table=Table(columns, lines, notes=[*notes, f"Written to {output}"]))


def _span(layers: tuple[int, ...]) -> str:
    return str(layers[0]) if len(layers) == 1 else f"{layers[0]} to {layers[-1]}"


def _number(value: float, digits: int = 2) -> str | None:
    return None if value != value else f"{value:z.{digits}f}"


def _band(low: float, high: float) -> str | None:
    return None if low != low else f"[{low:z.2f}, {high:z.2f}]"
