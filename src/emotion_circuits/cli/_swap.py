"""`emotion-circuits swap`: interchange patching between paired prompts, by layer and place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from emotion_circuits.cli._components import (
    PAIR_OPTIONS,
    Output,
    PairOptions,
    Prompts,
    directions_for,
    load,
    outcome_for,
    prepare,
)
from emotion_circuits.cli._options import (
    MODEL_OPTIONS,
    STORE_OPTIONS,
    BatchTokens,
    Json,
    Layers,
    ModelFlag,
    ModelOptions,
    Seed,
    StoreOptions,
    command,
    flag,
)
from emotion_circuits.cli._output import Table, emit
from emotion_circuits.cli._progress import counting

if TYPE_CHECKING:
    from emotion_circuits.components import Interchange
    from emotion_circuits.statistics import Measure

Site = Literal["resid_post", "attn_out", "mlp_out"]
Place = Literal["before", "word", "after", "bridge", "last", "all"]
Direction = Literal["denoising", "noising"]


@command(example="swap --model reference/gpt2 --emotion gratitude --direction denoising", writes="output")
def swap(
    *,
    model: ModelFlag,
    prompts_file: Prompts = (),
    layers: Layers = None,
    sites: Annotated[
        tuple[Site, ...],
        flag("--site", help="Residual stream, attention output, MLP output; all by default.", show_default=False),
    ] = (),
    places: Annotated[
        tuple[Place, ...],
        flag(
            "--place",
            help="Tokens before the emotion's word, the word, those after it, the bridge's, the last one, "
            "all; every place by default.",
            show_default=False,
        ),
    ] = (),
    direction: Annotated[
        tuple[Direction, ...],
        flag(
            "--directions",
            help="The emotion's values into the neutral run, or the other way; both by default.",
            show_default=False,
        ),
    ] = (),
    donors: Annotated[
        int, flag(help="Other scenarios' prompts of the patched run's own class that give chance.", at_least=0)
    ] = 1,
    output: Output = None,
    batch_tokens: BatchTokens = None,
    seed: Seed = 0,
    pair_options: PairOptions = PAIR_OPTIONS,
    model_options: ModelOptions = MODEL_OPTIONS,
    store_options: StoreOptions = STORE_OPTIONS,
    json: Json = False,
) -> None:
    """Put the paired prompt's values into a run, by layer and place.

    Prompts are pairs of one scenario, an emotion's and a neutral one, with equally many tokens. The
    share of their difference that follows says where the emotion stands: denoising puts the emotion's
    values into the neutral run (1 is all, 0 nothing), noising the neutral ones into the emotion's
    (0 is all, 1 nothing). Donors say what the values of any other such prompt do.
    """  # fmt: skip
    from emotion_circuits._files import write_json, write_table
    from emotion_circuits.components import DIRECTIONS, PLACES, SWAP_SITES, interchange, interchange_measures
    from emotion_circuits.directions import source_of
    from emotion_circuits.engine import DEFAULT_BATCH_TOKENS
    from emotion_circuits.models import ModelName
    from emotion_circuits.statistics import measures_table

    if output is None:
        output = store_options.folder / "patching" / f"{ModelName.parse(model).slug}_swap.parquet"
    texts, wanted, output = prepare("swap", model, prompts_file, pair_options, output, store_options)
    lm = load(model, model_options)
    directions = directions_for(lm, None, store_options, pair_options)
    budget = batch_tokens or DEFAULT_BATCH_TOKENS
    chosen = tuple(dict.fromkeys(layers)) if layers else tuple(range(lm.n_layers))
    named = (tuple(dict.fromkeys(sites)) or SWAP_SITES, tuple(dict.fromkeys(places)) or PLACES)
    ways = tuple(dict.fromkeys(direction)) or DIRECTIONS
    found: list[Interchange] = []
    rows: list[Measure] = []
    for emotion in wanted:
        measured = outcome_for(lm, store_options.bank, texts, emotion, pair_options, directions)
        patches = len(chosen) * len(named[0]) * len(named[1]) * len(ways) * (1 + donors)
        with counting(f"Patching for {emotion}", patches * len(measured.batches(lm, budget))) as add:
            found.append(
                interchange(
                    lm, measured, layers=chosen, sites=named[0], places=named[1], directions=ways, n_donors=donors,
                    batch_tokens=budget, on_runs=add,
                )
            )  # fmt: skip
        rows += interchange_measures(found[-1], seed=seed)
    if output.suffix.lower() == ".json":
        write_json(output, sorted(rows))
    else:
        write_table(output, measures_table(rows), source=source_of(lm).model_dump())
    result = {"model": str(lm.name), "file": output, "measures": sorted(rows)}
    emit(result, json, table=_table(found, rows, output))


def _table(found: Sequence[Interchange], rows: Sequence[Measure], output: Path) -> Table:
    from emotion_circuits.components import gap_is_clear, kind_of

    by_cell = {(m.emotion, m.kind, m.layer, m.position): m for m in rows}
    lines = []
    for one in found:
        for direction in one.swapped:
            for site in one.sites:
                for layer in one.layers:
                    key = (one.pairs.emotion, kind_of(direction, site), layer)
                    cells = [_cell(by_cell.get((*key, place))) for place in one.places]
                    lines.append((one.pairs.emotion, direction, site, str(layer), *cells))
    notes = [
        f"Share of the difference in {found[0].outcome} that follows; in brackets with another scenario's values.",
        "* p ≤ .05 beyond those, over a direction's whole map but `all` (max-T). Intervals and p: in the file.",
    ]
    for one in found:
        gap = float((one.m_a - one.m_b).mean())
        unclear = "" if gap_is_clear(one) else "; under two standard errors: shares are not tested"
        notes.append(f"{one.pairs.emotion}: difference {gap:+z.3f} over {len(one.pairs)} pairs{unclear}")
    return Table(("emotion", "direction", "site", "layer", *found[0].places), lines, notes=[*notes,
                 f"Written to {output}"])  # fmt: skip


def _cell(m: Measure | None) -> str | None:
    if m is None or m.value != m.value:
        return None
    star = "*" if m.p <= 0.05 else ""
    donor = "" if m.chance != m.chance else f" ({m.chance:z.2f})"
    return f"{m.value:z.2f}{star}{donor}"
