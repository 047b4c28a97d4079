"""`emotion-circuits circuit`: which heads and units together carry an emotion, and how much of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from emotion_circuits.cli._components import (
    GENERIC_TEXTS,
    PAIR_OPTIONS,
    PairOptions,
    Prompts,
    directions_for,
    directions_if_any,
    load,
    outcome_on,
    pairs_for,
    prepare,
    unit_of,
)
from emotion_circuits.cli._options import (
    MODEL_OPTIONS,
    STORE_OPTIONS,
    BatchTokens,
    Json,
    ModelFlag,
    ModelOptions,
    Seed,
    StoreOptions,
    command,
    flag,
)
from emotion_circuits.cli._output import Table, emit, p_cell
from emotion_circuits.cli._progress import counting

if TYPE_CHECKING:
    from emotion_circuits.components import Edge, Edges, Faithfulness, Overlap, RankBy
    from emotion_circuits.statistics import Measure

RANKINGS: dict[str, RankBy] = {
    "attribution": "attribution",
    "path": "path attribution",
    "direct": "direct effect",
    "random": "random",
}


@command(example="circuit --model reference/gpt2 --emotion gratitude --controls 20", writes="output")
def circuit(
    *,
    model: ModelFlag,
    prompts_file: Prompts = (),
    ranking: Annotated[
        Literal["attribution", "path", "direct", "random"],
        flag(
            help="What ranks heads and units: attribution, its mean over the path between both prompts, what they "
            "write along the direction, or nothing."
        ),
    ] = "path",
    vectors: Annotated[
        Path | None, flag("--vectors-file", help="Directions, for --ranking direct and --outcome projection.")
    ] = None,
    size: Annotated[
        float, flag(help="Declared size, a share of all heads and units: .001 .002 .005 .01 .02 .05 .1 .2 .5 or 1.")
    ] = 0.05,
    controls: Annotated[int, flag(help="Random circuits at every size that give chance.", at_least=2)] = 100,
    output: Annotated[
        Path | None, flag(help="File to write, .json, beside it a plot; by default in the results folder.")
    ] = None,
    batch_tokens: BatchTokens = None,
    seed: Seed = 0,
    pair_options: PairOptions = PAIR_OPTIONS,
    model_options: ModelOptions = MODEL_OPTIONS,
    store_options: StoreOptions = STORE_OPTIONS,
    json: Json = False,
) -> None:
    """Join heads and units into circuits, and measure what each carries alone.

    Components are ranked on every second pair of prompts; the others judge. A circuit is kept while
    every other head and unit has its mean value on generic text. Faithfulness is the share of the
    emotion's effect that is left: 1 is all. Chance are random circuits with as many heads and units
    in every layer. CPR is the area under the curve, CMD the distance from 1 along it. The circuit of
    the declared size is drawn too, with the direct effects of its best members on each other.
    """  # fmt: skip
    from emotion_circuits import prompts
    from emotion_circuits._files import write_json
    from emotion_circuits.components import (
        SIZES,
        circuit_edges,
        circuit_means,
        circuits_as_values,
        halves,
        judged_circuit,
        n_circuits,
    )
    from emotion_circuits.engine import DEFAULT_BATCH_TOKENS
    from emotion_circuits.errors import InputError
    from emotion_circuits.models import ModelName
    from emotion_circuits.report import circuit_pictures, write_pictures

    if size not in SIZES:
        raise InputError("A circuit's declared size is one of the curve's.", found=size,
                         accepted=", ".join(f"{s:g}" for s in SIZES))  # fmt: skip
    if output is None:
        output = store_options.folder / "circuits" / f"{ModelName.parse(model).slug}_own.json"
    if output.suffix == ".parquet":
        raise InputError("This command does not write .parquet files.", found=output, accepted=".json")
    texts, wanted, output = prepare("circuit", model, prompts_file, pair_options, output, store_options)
    lm = load(model, model_options)
    directions = directions_for(lm, vectors, store_options, pair_options)
    if directions is None and ranking == "direct":
        directions = directions_if_any(lm, vectors, store_options)
    bank = store_options.bank
    means = circuit_means(lm, [t.text for t in prompts.generic_sample(GENERIC_TEXTS)])
    found: list[Faithfulness] = []
    joined: list[Edges] = []
    for emotion in wanted:
        pairs = pairs_for(lm, texts, emotion, pair_options)
        total = n_circuits(len(SIZES), controls, 20)
        with counting(f"Circuits of {emotion}", total) as add:
            found.append(
                judged_circuit(
                    lm, lambda some: outcome_on(lm, bank, some, pair_options, directions), pairs, RANKINGS[ranking],
                    means,
                    unit=unit_of(directions, emotion), declared=size, n_random=controls, seed=seed,
                    batch_tokens=batch_tokens or DEFAULT_BATCH_TOKENS, on_circuits=add,
                )
            )  # fmt: skip
        judged = outcome_on(lm, bank, halves(pairs)[1], pair_options, directions)
        joined.append(circuit_edges(lm, judged, found[-1]))
    result = circuits_as_values(str(lm.name), RANKINGS[ranking], size, controls, found, joined, seed=seed)
    write_json(output, result)
    plots = write_pictures(circuit_pictures(output, bank), output.parent, bank)
    notes = [*_edge_notes(result["edges"]), *(f"Written to {file}" for file in (output, *plots))]
    emit(
        {"file": output, "plots": plots, **result},
        json,
        table=_table(found, result["measures"], result["overlaps"], notes),
    )


def _table(
    found: Sequence[Faithfulness],
    rows: Sequence[Measure],
    shared: Mapping[str, Sequence[Overlap]],
    last: Sequence[str],
) -> Table:
    columns = ("emotion", "statistic", "size", "value", "95 % interval", "chance", "by chance, 95 %", "p", "n")
    lines = [
        (m.emotion, m.statistic, m.position, _number(m.value), _band(m.ci_low, m.ci_high), _number(m.chance),
         _band(m.null_low, m.null_high), p_cell(m.p), str(m.n_unique))
        for m in rows
    ]  # fmt: skip
    notes = ["size: share of all heads and of all units; p is one-sided, over the random circuits, not adjusted."]
    for one in found:
        best = [f"{c.kind} {c} {loss:+z.3f}" for c, loss in sorted(one.minimality(), key=lambda x: -abs(x[1]))[:5]]
        untested = "" if one.tested else "not tested: the whole model differs too little from the empty circuit; "
        notes.append(f"{one.emotion}: {untested}faithfulness lost without {', '.join(best)}")
    for names, overlaps in shared.items():
        said = [f"{o.kind}s {o.shared} of {o.n_a}, Jaccard {o.jaccard:.2f} (chance within layers "
                f"{o.chance_within_layers:.2f}, p {p_cell(o.p_within_layers)})" for o in overlaps]  # fmt: skip
        notes.append(f"{names}, members that both circuits of the declared size have: {'; '.join(said)}")
    return Table(columns, lines, notes=[*notes, *last])


def _edge_notes(edges: Mapping[str, Sequence[Edge]]) -> list[str]:
    """The strongest edges of each emotion in a line."""
    return [
        f"{emotion}, strongest direct effects: "
        + ", ".join(f"{e.source} → {e.target} {e.effect:+z.3f} (p {p_cell(e.p)})" for e in rows[:5])
        for emotion, rows in edges.items()
    ]


def _number(value: float) -> str | None:
    return None if value != value else f"{value:z.3f}"


def _band(low: float, high: float) -> str | None:
    return None if low != low else f"[{low:z.3f}, {high:z.3f}]"
