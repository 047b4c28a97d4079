"""What `heads screen` and `units screen` do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from emotion_circuits._row_tables import row_table
from emotion_circuits.cli._components import (
    RunOptions,
    directions_for,
    directions_if_any,
    load,
    outcome_for,
    prepare,
    unit_in,
    unit_of,
)
from emotion_circuits.cli._options import StoreOptions
from emotion_circuits.cli._output import emit
from emotion_circuits.cli._progress import counting

if TYPE_CHECKING:
    from emotion_circuits.components import Screen

SHOWN = 8
HIDDEN = ("model", "layer", "p_single", "attribution")
"""What the component's name says, or only those need who read the file."""


def run_screen(
    kind: Literal["head", "unit"],
    model: str,
    files: Sequence[Path],
    run: RunOptions,
    store: StoreOptions,
    exact: int,
    steps: int,
    output: Path | None,
    json: bool,
) -> None:
    """Screen all components for every emotion, write the table, print the best."""
    from emotion_circuits._files import write_table
    from emotion_circuits.components import screen
    from emotion_circuits.directions import source_of
    from emotion_circuits.engine import DEFAULT_BATCH_TOKENS

    name = "screen" if kind == "head" else "units"
    pairs = run.pairs
    texts, wanted, output = prepare(name, model, files, pairs, output, store)
    lm = load(model, run.model)
    directions = directions_for(lm, run.vectors, store, pairs)
    if directions is None:
        directions = directions_if_any(lm, run.vectors, store)
    every = lm.n_layers * (lm.n_heads if kind == "head" else lm.d_mlp)
    found: list[Screen] = []
    for emotion in wanted:
        measured = outcome_for(lm, store.bank, texts, emotion, pairs, directions)
        single = pairs.outcome != "continuations"
        with counting(f"Patching for {emotion}", max(1, min(exact, every) * len(measured.batches(lm)))) as add:
            found.append(
                screen(
                    lm, measured, kind, exact="all" if exact >= every else exact, steps=steps,
                    unit=unit_of(directions, emotion) if single else None,
                    batch_tokens=run.batch_tokens or DEFAULT_BATCH_TOKENS, on_patched=add,
                )
            )  # fmt: skip
    import pandas as pd

    table = pd.concat([one.table(seed=run.seed) for one in found], ignore_index=True)
    write_table(output, table, source=source_of(lm).model_dump())
    agreement = {
        one.pairs.emotion: one.agreement(seed=run.seed)
        for one in found
        if one.exact is not None and len(one.exact.components) > 2
    }
    result = {
        "model": str(lm.name),
        "file": output,
        "pairs": {one.pairs.emotion: {"pairs": len(one.pairs), "scenarios": one.pairs.n_scenarios} for one in found},
        "spearman": agreement,
        "best": {one.pairs.emotion: _best(table, one).to_dict(orient="records") for one in found},
    }
    shown = [
        {("component" if n == kind else n): f"{row['layer']}:{row[kind]}" if n == kind else v for n, v in row.items()}
        for one in found
        for row in _best(table, one).to_dict(orient="records")
    ]
    notes = [
        f"score: estimated effect on {found[0].outcome}, in {unit_in(measured)}; exact: measured by patching; chance of"
        " both is 0.",
        "gap: what all components together carry. p is adjusted over the whole map, q is Benjamini and Hochberg's.",
        *(["attention: share of what moves to the last token that comes from the word; neutral: in the pair."]
          if kind == "head" else []),
        *(f"{emotion}: Spearman of estimate and exact {a.spearman:.2f} [{a.ci_low:.2f}, {a.ci_high:.2f}] over {a.n}"
          f" {kind}s" for emotion, a in agreement.items()),
        f"Written to {output}",
    ]  # fmt: skip
    emit(result, json, table=row_table(shown, hide=HIDDEN, heads={"p": "p max-T"}, notes=notes))


def _best(table: Any, one: Screen) -> Any:
    own = table[table["emotion"] == one.pairs.emotion]
    return own.loc[own["score"].abs().sort_values(ascending=False, kind="stable").index[:SHOWN]]
