"""What `heads screen` and `units screen` do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from emotion_circuits.cli._components import (
    PairOptions,
    directions_for,
    directions_if_any,
    load,
    outcome_for,
    prepare,
    unit_in,
    unit_of,
)
from emotion_circuits.cli._options import ModelOptions, StoreOptions
from emotion_circuits.cli._output import Table, emit, p_cell
from emotion_circuits.cli._progress import counting

if TYPE_CHECKING:
    from emotion_circuits.components import Screen

SHOWN = 8


def run_screen(
    kind: Literal["head", "unit"],
    *,
    model: str,
    files: Sequence[Path],
    vectors: Path | None,
    pairs: PairOptions,
    exact: int,
    steps: int,
    output: Path | None,
    batch_tokens: int | None,
    seed: int,
    model_options: ModelOptions,
    store_options: StoreOptions,
    json: bool,
) -> None:
    """Screen all components for every emotion, write the table, print the best."""
    from emotion_circuits._files import write_json, write_table
    from emotion_circuits.components import screen
    from emotion_circuits.directions import source_of
    from emotion_circuits.engine import DEFAULT_BATCH_TOKENS

    name = "screen" if kind == "head" else "units"
    texts, wanted, output = prepare(name, model, files, pairs, output, store_options)
    lm = load(model, model_options)
    directions = directions_for(lm, vectors, store_options, pairs)
    if directions is None:
        directions = directions_if_any(lm, vectors, store_options)
    every = lm.n_layers * (lm.n_heads if kind == "head" else lm.d_mlp)
    found: list[Screen] = []
    for emotion in wanted:
        measured = outcome_for(lm, store_options.bank, texts, emotion, pairs, directions)
        single = pairs.outcome != "continuations"
        with counting(f"Patching for {emotion}", max(1, min(exact, every) * len(measured.batches(lm)))) as add:
            found.append(
                screen(
                    lm, measured, kind, exact="all" if exact >= every else exact, steps=steps,
                    unit=unit_of(directions, emotion) if single else None,
                    batch_tokens=batch_tokens or DEFAULT_BATCH_TOKENS, on_patched=add,
                )
            )  # fmt: skip
    import pandas as pd

    table = pd.concat([one.table(seed=seed) for one in found], ignore_index=True)
    if output.suffix.lower() == ".json":
        write_json(output, table)
    else:
        write_table(output, table, source=source_of(lm).model_dump())
    agreement = {
        one.pairs.emotion: one.agreement(seed=seed)
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
    emit(result, json, table=_table(found, table, agreement, kind, unit_in(measured), output))


def _best(table: Any, one: Screen) -> Any:
    own = table[table["emotion"] == one.pairs.emotion]
    return own.loc[own["score"].abs().sort_values(ascending=False, kind="stable").index[:SHOWN]]


def _table(found: Sequence[Screen], table: Any, agreement: dict[str, Any], kind: str, unit: str, output: Path) -> Table:
    columns = ("emotion", kind, "score", "95 % interval", "p max-T", "q", "exact", "95 % interval", "direct",
               *(("attention", "neutral") if kind == "head" else ()), "gap", "n")  # fmt: skip
    rows = []
    for one in found:
        for r in _best(table, one).to_dict(orient="records"):
            looks = [None if r[c] != r[c] else f"{r[c]:.3f}" for c in ("attention", "attention_neutral") if c in r]
            rows.append(
                (
                    one.pairs.emotion, f"{r['layer']}:{r[kind]}", f"{r['score']:+z.4f}",
                    _band(r["ci_low"], r["ci_high"]), p_cell(r["p"]), p_cell(r["q"]), _number(r["exact"]),
                    _band(r["exact_ci_low"], r["exact_ci_high"]), _number(r["direct"]), *looks,
                    f"{r['gap']:+z.3f}", str(r["n_pairs"]),
                )
            )  # fmt: skip
    notes = [
        f"score: estimated effect on {found[0].outcome}, in {unit}; exact: measured by patching; chance of both is 0.",
        "gap: what all components together carry. p is adjusted over the whole map, q is Benjamini and Hochberg's.",
    ]
    if kind == "head":
        notes.append("attention: share of what moves to the last token that comes from the word; neutral: in the pair.")
    notes += [
        f"{emotion}: Spearman of estimate and exact {a.spearman:.2f} "
        f"[{a.ci_low:.2f}, {a.ci_high:.2f}] over {a.n} {kind}s"
        for emotion, a in agreement.items()
    ]
    return Table(columns, rows, notes=(*notes, f"Written to {output}"))


def _number(value: float) -> str | None:
    return None if value != value else f"{value:+z.4f}"


def _band(low: float, high: float) -> str:
    return "–" if low != low else f"[{low:+z.4f}, {high:+z.4f}]"
