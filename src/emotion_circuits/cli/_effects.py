"""What `heads ablate`, `heads patch` and `units ablate` do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from emotion_circuits._row_tables import row_table
from emotion_circuits.cli._ablation_texts import (
    TEXT_OPTIONS,
    TextOptions,
    check_methods,
    judges_of,
    write_ablation_texts,
    written_without,
)
from emotion_circuits.cli._components import (
    GENERIC_TEXTS,
    RunOptions,
    directions_for,
    load,
    outcome_for,
    prepare,
    unit_in,
)
from emotion_circuits.cli._options import StoreOptions
from emotion_circuits.cli._output import emit

if TYPE_CHECKING:
    from emotion_circuits.components import AblationTexts, Method, TextEffect


ABOUT_TEXTS = (
    "effect: ablated minus clean, mean over prompts; p by sign flips over them. by chance: random components of the"
    " same layers, p over these sets.",
    "ceiling: the largest fall that the scorer allows. damage: perplexity over clean text's.",
)


def run_effects(
    kind: Literal["head", "unit"],
    what: Literal["ablate", "patch"],
    spec: str,
    model: str,
    files: Sequence[Path],
    run: RunOptions,
    store: StoreOptions,
    methods: Sequence[Method],
    n_random: int,
    output: Path | None,
    json: bool,
    text: TextOptions = TEXT_OPTIONS,
) -> None:
    """Ablate or patch for every emotion, write the rows, print them; with text where it was asked for."""
    from emotion_circuits import prompts
    from emotion_circuits._files import write_table
    from emotion_circuits.components import (
        METHODS,
        ComponentEffect,
        ablate,
        agreeing,
        check_components,
        effects_of,
        generic_values,
        parse_spec,
        patch,
    )
    from emotion_circuits.directions import source_of
    from emotion_circuits.engine import DEFAULT_BATCH_TOKENS
    from emotion_circuits.statistics import rows_table

    components = parse_spec(spec, kind)
    pairs, seed = run.pairs, run.seed
    texts, wanted, output = prepare(f"{kind}_{what}", model, files, pairs, output, store)
    chosen = tuple(dict.fromkeys(methods)) or METHODS
    judges = judges_of(text, store.bank, wanted, store.profile, run.model.device)
    if judges:
        check_methods(chosen)
    lm = load(model, run.model)
    check_components(lm, components)
    directions = directions_for(lm, run.vectors, store, pairs)
    budget = run.batch_tokens or DEFAULT_BATCH_TOKENS
    generic = None
    if what == "ablate" and set(chosen) - {"zero"}:
        generic = generic_values(lm, [t.text for t in prompts.generic_sample(GENERIC_TEXTS)], components)
    effects: list[ComponentEffect] = []
    made: list[AblationTexts] = []
    written: list[TextEffect] = []
    notes = ["by chance: random ones of the same layers. ceiling: the clean difference between both prompts."]
    for emotion in wanted:
        measured = outcome_for(lm, store.bank, texts, emotion, pairs, directions)
        settings: dict[str, Any] = {"n_random": n_random, "seed": seed, "batch_tokens": budget}
        if what == "patch":
            changes = [patch(lm, measured, components, **settings)]
        else:
            changes = [ablate(lm, measured, components, method, generic, **settings) for method in chosen]
        own = [row for change in changes for row in effects_of(lm, measured, change, seed=seed)]
        effects += own
        if what == "ablate":
            notes.append(f"{emotion}: {agreeing(own)} of {len(chosen)} methods find a loss of one sign with p ≤ .05.")
        if judges:
            found = written_without(
                lm, measured.pairs, components, chosen, generic, judges, text, n_random, seed
            )  # fmt: skip
            made += found[0]
            written += found[1]
    notes.insert(0, f"Effects on {measured.name} in {unit_in(measured)}, all together.")
    write_table(output, rows_table(ComponentEffect, effects), source=source_of(lm).model_dump())
    result: dict[str, Any] = {"file": output, "effects": effects}
    notes.append(f"Written to {output}")
    if judges:
        beside = write_ablation_texts(output, made, written)
        result |= {"texts": beside[0], "text_file": beside[1], "text_effects": written}
        notes.append("")
    emit(result, json, table=row_table(effects, hide=("model", "outcome"), notes=notes))
    if judges and not json:
        said = (*ABOUT_TEXTS, *(f"Written to {file}" for file in beside))
        emit(result, json, table=row_table(written, title="What is written without them", hide=("model",), notes=said))
