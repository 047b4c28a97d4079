"""What `heads ablate`, `heads patch` and `units ablate` do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from emotion_circuits.cli._components import (
    GENERIC_TEXTS,
    PairOptions,
    effects_on_screen,
    load,
    outcome_for,
    prepare,
)
from emotion_circuits.cli._options import ModelOptions, StoreOptions
from emotion_circuits.cli._output import emit, to_plain

if TYPE_CHECKING:
    from emotion_circuits.components import ComponentEffect, Method


def run_effects(
    kind: Literal["head", "unit"],
    what: Literal["ablate", "patch"],
    *,
    spec: str,
    model: str,
    emotion_files: Sequence[Path],
    neutral_files: Sequence[Path],
    pairs: PairOptions,
    methods: Sequence[Method],
    n_random: int,
    output: Path | None,
    batch_tokens: int | None,
    seed: int,
    model_options: ModelOptions,
    store_options: StoreOptions,
    json: bool,
) -> None:
    """Ablate or patch for every emotion, write the rows, print them."""
    from emotion_circuits import prompts
    from emotion_circuits._files import write_json, write_table
    from emotion_circuits.components import (
        METHODS,
        ablate,
        agreeing,
        check_components,
        effects_of,
        effects_table,
        generic_values,
        parse_spec,
        patch,
    )
    from emotion_circuits.engine import DEFAULT_BATCH_TOKENS

    components = parse_spec(spec, kind)
    files = (*emotion_files, *neutral_files)
    texts, wanted, output = prepare(f"{kind}_{what}", model, files, pairs, output, store_options)
    lm = load(model, model_options)
    check_components(lm, components)
    chosen = tuple(dict.fromkeys(methods)) or METHODS
    budget = batch_tokens or DEFAULT_BATCH_TOKENS
    generic = None
    if what == "ablate" and set(chosen) - {"zero"}:
        generic = generic_values(lm, [t.text for t in prompts.generic_sample(GENERIC_TEXTS)], components)
    effects: list[ComponentEffect] = []
    notes = ["Effects in nats, all heads or units together; by chance: random ones of the same layers.",
             "ceiling: the clean difference between both prompts."]  # fmt: skip
    for emotion in wanted:
        measured = outcome_for(lm, texts, emotion, pairs)
        own: list[ComponentEffect] = []
        if what == "patch":
            changes = patch(lm, measured, components, n_random=n_random, seed=seed, batch_tokens=budget)
            own += effects_of(lm, measured, changes, seed=seed)
        else:
            for method in chosen:
                changes = ablate(
                    lm, measured, components, method, generic, n_random=n_random, seed=seed, batch_tokens=budget
                )
                own += effects_of(lm, measured, changes, seed=seed)
            notes.append(f"{emotion}: {agreeing(own)} of {len(chosen)} methods find a loss of one sign with p ≤ .05.")
        effects += own
    if output.suffix == ".json":
        write_json(output, to_plain(effects))
    else:
        write_table(output, effects_table(effects))
    emit({"file": output, "effects": effects}, json, table=effects_on_screen(effects, (*notes, f"Written to {output}")))
