"""The sweep command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from emotion_circuits._row_tables import row_table
from emotion_circuits.cli._inputs import (
    DirectionModel,
    Kind,
    Vectors,
    Where,
    check_emotions,
    check_lengths,
    check_writable,
    load_model_of,
    load_vectors,
    text_rows,
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
    text_file,
)
from emotion_circuits.cli._output import emit, say
from emotion_circuits.cli._paths import output_path
from emotion_circuits.cli._progress import counting
from emotion_circuits.errors import InputError

if TYPE_CHECKING:
    from emotion_circuits.directions import Activations, DirectionSet
    from emotion_circuits.interventions import Layout, SweepResult
    from emotion_circuits.models import LoadedModel
    from emotion_circuits.prompts import Bank
    from emotion_circuits.statistics import Measure

DOSES = (-0.4, -0.2, -0.1, 0.1, 0.2, 0.4)


@Parameter(name="*")
@dataclass(frozen=True)
class SweepOptions:
    """What is changed where, and what it is compared with."""

    layers: Annotated[
        tuple[int, ...] | None, flag("--layer", help="Blocks, counted from 0; by default five depths.", at_least=0)
    ] = None
    dose: Annotated[
        tuple[float, ...],
        flag("--doses", help="In spreads of generic text; ±.1 .2 .4 by default.", show_default=False),
    ] = ()
    alpha: Annotated[
        tuple[float, ...],
        flag(
            "--alphas", help="Multiples of the raw difference vector instead; 0 is the clean run.", show_default=False
        ),
    ] = ()
    emotions: Annotated[
        tuple[str, ...], flag("--emotion", help="Whose directions; all by default.", show_default=False)
    ] = ()
    action: Annotated[
        Literal["add", "ablate", "clamp"],
        flag(help="Add doses, take a share of the component away, or clamp it to a dose."),
    ] = "add"
    band: Annotated[int, flag(help="Consecutive layers changed together, from each of --layers on.", at_least=1)] = 1
    at: Annotated[
        Literal["all", "last"],
        flag(help="Change all tokens but the first, or a prompt's last one and what follows."),
    ] = "all"
    controls: Annotated[
        int, flag(help="Control directions of the same size that give chance; 0 for none.", at_least=0)
    ] = 20
    control: Annotated[
        Literal["isotropic", "covariance", "shuffled-label", "other-emotion", "sign-flipped", "embedding"],
        flag(help="Their kind; of the last three there are as many as there are."),
    ] = "isotropic"
    kind: Kind = "specific"
    batch_tokens: BatchTokens = None
    seed: Seed = 0


SWEEP_OPTIONS = SweepOptions()


@command(example="sweep --model reference/gpt2 --layers 3 5 7 --dose -.2 .2 --output sweep.parquet", writes="output")
def sweep(
    *,
    model: DirectionModel = None,
    vectors: Vectors = None,
    prompts_file: Annotated[
        Path | None,
        text_file("--prompts", help="Your own prompts: .jsonl, .csv (`text`), .json or .txt; - for standard input."),
    ] = None,
    options: SweepOptions = SWEEP_OPTIONS,
    output: Annotated[
        Path | None,
        flag(help="Table to write, .parquet, beside it a heat map; by default in the results folder."),
    ] = None,
    position: Where = None,
    model_options: ModelOptions = MODEL_OPTIONS,
    store_options: StoreOptions = STORE_OPTIONS,
    json: Json = False,
) -> None:
    """Steer at every layer and dose, and measure what the model would say next.

    Three outcomes, none of them sampled: the log-odds of the emotion's own words against the other
    classes' as the next word of each prompt; the log probability of its continuations minus neutral
    ones; and the perplexity of neutral continuations over the clean model's (the damage). The last
    two use the bundled contexts always.

    Finished layers are kept until the table is written: a sweep that was stopped goes on from there.

    Of your own prompts, one that ends in a form of "to be" or "to feel" is followed by adjectives.
    Any other is followed by the first words of an utterance as they stand after an open quotation
    mark, with nothing added: after prompts that end otherwise those words are unlikely, and only
    their comparison means something.
    """
    from emotion_circuits._files import write_table
    from emotion_circuits.directions import source_of
    from emotion_circuits.interventions import Layout, bands_of, relative_layers
    from emotion_circuits.models import ModelName
    from emotion_circuits.report import looks_of, sweep_pictures, write_pictures
    from emotion_circuits.statistics import measures_table

    steps = _steps(options)
    own = None if prompts_file is None else text_rows(prompts_file)
    if output is not None:
        output = output_path(output, ".parquet")
        check_writable(output)
    directions = load_vectors(vectors, model, store_options, position)
    check_emotions(directions, options.emotions)
    chosen = tuple(dict.fromkeys(options.layers or relative_layers(directions.n_layers)))
    bands_of(chosen, options.band, directions.n_layers)  # refuses layers before the model is loaded
    shuffled = options.controls and options.control == "shuffled-label"
    explicit = _made_from(directions, store_options) if shuffled else None
    if output is None:
        name = f"{ModelName.parse(directions.source.model).slug}_{directions.position}_own_sweep.parquet"
        output = store_options.folder / "patching" / name
        check_writable(output)
    lm = load_model_of(directions, model, model_options)
    check_lengths(lm, own or [])
    emotions = tuple(dict.fromkeys(options.emotions)) or directions.emotions
    layout = Layout(chosen, steps, emotions, options.action, options.band, options.at)
    texts = None if own is None else [row.text for row in own]
    with _steered(lm, directions, layout, options, explicit, store_options.bank, texts, output) as (result, rows):
        write_table(output, measures_table(rows), source=source_of(lm).model_dump())
    unit = result.unit
    title = f"{lm.name}: change of own words by layer and {unit}, directions at {directions.position}"
    plots = write_pictures(sweep_pictures(rows, output.stem, title, store_options.bank), output.parent,
                           looks_of(store_options.bank))  # fmt: skip
    cells = list(product(enumerate(emotions), enumerate(chosen), enumerate(steps)))
    collapsed = result.collapsed()
    broken = [{"emotion": e, "layer": n, "dose": d} for (j, e), (i, n), (k, d) in cells if collapsed[i, j, k]]
    made = {"file": output, "plots": plots, "unit": unit, "collapsed": broken, "measures": sorted(rows)}
    few = f"{len(broken)} of {len(cells)} cells collapsed: numbers overflow, no effect is stated. Try smaller doses."
    notes = (
        *([few] if broken else []),
        "Changes from the clean run, in nats; chance of continuations is 0, of the perplexity ratio 1.",
        *([] if unit in ("alpha", "ablated") else [f"The unit is the layer's {directions.generic.unit_name}."]),
        "n counts contexts. p is not adjusted for the number of cells.",
        *(f"Written to {file}" for file in [output, *plots]),
    )
    emit(made, json, table=row_table(rows, title=title, heads={"kind": f"direction, {unit}"}, wide=True, notes=notes))


def _steps(options: SweepOptions) -> tuple[float, ...]:
    """The doses or alphas asked for, without the clean run.

    Raises:
        InputError: none is left, or they are not what the action takes.
    """
    from emotion_circuits.interventions import check_action, check_doses

    if options.dose and options.alpha:
        raise InputError("Give either --dose or --alpha.", found="both")
    if options.alpha and options.action != "add":
        raise InputError("--alpha is for adding.", found=f"--action {options.action}", next_step="give --dose")
    usual = (1.0,) if options.action == "ablate" else DOSES
    steps = tuple(dict.fromkeys(d for d in check_doses(options.dose or options.alpha or usual) if d != 0))
    if not steps:
        raise InputError("Only 0 was given, which is the clean run.", accepted="at least one other number")
    check_action(options.action, steps)
    return steps


@contextmanager
def _steered(
    lm: LoadedModel, directions: DirectionSet, layout: Layout, options: SweepOptions, explicit: Activations | None,
    bank: Bank, prompts: list[str] | None, output: Path,
) -> Iterator[tuple[SweepResult, list[Measure]]]:  # fmt: skip
    """What was measured, beside control directions; what is kept for a next run goes once the block has written it."""
    import torch

    from emotion_circuits._lock import owned
    from emotion_circuits._parts import Parts
    from emotion_circuits.directions import generic_tokens, source_of
    from emotion_circuits.engine import DEFAULT_BATCH_TOKENS
    from emotion_circuits.interventions import (
        Controls,
        control_bands,
        seconds_for,
        sweep,
        sweep_cost,
        sweep_material,
        with_bands,
    )
    from emotion_circuits.prompts import generic_sample

    slots, continuations = sweep_material(lm, bank, prompts)
    texts = [t.text for t in generic_sample(directions.generic.n_texts)]
    source = Controls(
        directions, options.kind, explicit=explicit, tokens=lambda layer: generic_tokens(lm, texts, layer)
    )  # fmt: skip
    # Emotions share their controls where they can.
    alpha, control = bool(options.alpha), options.control
    sets = len(layout.emotions) if alpha or source.of_one_emotion(control) else 1
    n_controls = sets * source.count(control, options.controls) if options.controls else 0
    tokens = sweep_cost(lm, slots, continuations, layout)
    if n_controls:
        tokens += sweep_cost(lm, slots, None, layout._replace(emotions=("control",) * n_controls))
    sizes = f"{len(layout.layers)} layers × {len(layout.doses)} doses × {len(layout.emotions)} emotions"
    cost = f"{tokens:,} tokens through the model, about {seconds_for(lm, tokens):.0f} s"
    say(f"{lm.name}: {sizes}, {n_controls} controls: {cost}")
    budget = options.batch_tokens or DEFAULT_BATCH_TOKENS
    contexts = [c.text for c in slots.contexts]
    parts = Parts(
        output.with_name(f".{output.stem}.parts"),
        [source_of(lm).model_dump(), lm.device.type, torch.get_num_threads(), bank.hash, directions.hash, options.kind,
         layout, alpha, control, options.controls, options.seed, budget, contexts],
    )  # fmt: skip
    batches = len(slots.batches if layout.where == "all" else slots.plain_batches())
    forwards = batches + len(continuations.batches)
    runs = len(layout.layers) * (len(layout.doses) + 1) * (len(layout.emotions) * forwards + n_controls * batches)
    with owned(parts.folder), counting("Sweep", runs) as add:
        result = sweep(
            lm, directions, slots, continuations, layers=layout.layers, doses=layout.doses, emotions=layout.emotions,
            kind=options.kind, alpha=alpha, action=layout.action, band=layout.band, where=layout.where,
            batch_tokens=budget, on_variants=add, parts=parts,
        )  # fmt: skip
        rows = result.measures(options.seed)
        if options.controls:
            found = control_bands(
                lm, source, slots, layout, options.controls, control=control, alpha=alpha, seed=options.seed,
                batch_tokens=budget, on_variants=add, parts=parts,
            )  # fmt: skip
            rows = with_bands(result, found, rows)
        yield result, rows
        parts.clear()


def _made_from(directions: DirectionSet, store: StoreOptions) -> Activations:
    """The recorded activations that directions were made from."""
    from emotion_circuits.directions import load_activations
    from emotion_circuits.models import ModelName

    explicit = load_activations(store.folder / "activations" / ModelName.parse(directions.source.model).slug)
    if (explicit.source, explicit.data.hash) != (directions.source, directions.data_hash):
        raise InputError("The activations in the results folder are not those the directions were made from.")
    return explicit
