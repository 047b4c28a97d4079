"""`emotion-circuits heads`: which attention heads write and move an emotion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from emotion_circuits.cli._ablation_texts import TEXT_OPTIONS, TextOptions
from emotion_circuits.cli._components import PAIR_OPTIONS, Output, PairOptions, ProjectOn, Prompts
from emotion_circuits.cli._effects import run_effects
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
    command_group,
    flag,
)
from emotion_circuits.cli._screens import run_screen

app = command_group("heads", "Attention heads: screen them, ablate them, patch them.")

HeadSpec = Annotated[str, flag(help='Heads as layer:head, counted from 0: "3:5,7:2".')]
Random = Annotated[
    int, flag("--controls", help="Random sets of heads of the same layers that give chance.", at_least=0)
]


@command(app, example="heads screen --model reference/gpt2 --emotion anger", writes="output")
def screen(
    *,
    model: ModelFlag,
    prompts_file: Prompts = (),
    vectors: Annotated[Path | None, flag("--vectors-file", help="Directions, for direct effects.")] = None,
    exact: Annotated[int, flag(help="How many of the best are patched, besides layers 0 and 1.", at_least=0)] = 20,
    steps: Annotated[int, flag(help="Points of integrated gradients; 0 takes one gradient.", at_least=0)] = 0,
    output: Output = None,
    batch_tokens: BatchTokens = None,
    seed: Seed = 0,
    pair_options: PairOptions = PAIR_OPTIONS,
    model_options: ModelOptions = MODEL_OPTIONS,
    store_options: StoreOptions = STORE_OPTIONS,
    json: Json = False,
) -> None:
    """Estimate what every head carries of an emotion, and measure the best.

    Prompts are pairs of one scenario, an emotion's and a neutral one, with equally many tokens.
    """
    run_screen(
        "head", model=model, files=prompts_file, vectors=vectors, pairs=pair_options, exact=exact,
        steps=steps, output=output, batch_tokens=batch_tokens, seed=seed,
        model_options=model_options, store_options=store_options, json=json,
    )  # fmt: skip


@command(app, example='heads ablate --model reference/gpt2 --head-spec "3:5,7:2" --emotion anger', writes="output")
def ablate(
    *,
    model: ModelFlag,
    head_spec: HeadSpec,
    prompts_file: Prompts = (),
    method: Annotated[
        tuple[Literal["zero", "mean", "resample"], ...],
        flag("--methods", help="zero, mean (generic text), resample; all by default.", show_default=False),
    ] = (),
    random: Random = 20,
    vectors: ProjectOn = None,
    output: Output = None,
    batch_tokens: BatchTokens = None,
    seed: Seed = 0,
    pair_options: PairOptions = PAIR_OPTIONS,
    text_options: TextOptions = TEXT_OPTIONS,
    model_options: ModelOptions = MODEL_OPTIONS,
    store_options: StoreOptions = STORE_OPTIONS,
    json: Json = False,
) -> None:
    """Take heads out, all together, and measure what is lost.

    At least two methods should agree before heads are said to matter.
    """
    run_effects(
        "head", "ablate", spec=head_spec, model=model, emotion_files=prompts_file, neutral_files=(), pairs=pair_options,
        vectors=vectors, text=text_options, methods=method, n_random=random, output=output,
        batch_tokens=batch_tokens, seed=seed, model_options=model_options, store_options=store_options, json=json,
    )  # fmt: skip


@command(app, example='heads patch --model reference/gpt2 --head-spec "3:5,7:2" --emotion anger', writes="output")
def patch(
    *,
    model: ModelFlag,
    head_spec: HeadSpec,
    emotion_prompts: Annotated[
        tuple[Path, ...],
        flag(
            "--emotion-prompts-file",
            "--prompts-file",
            "--dataset",
            help="Your own texts; by default the bundled profile's.",
            show_default=False,
        ),
    ] = (),
    neutral_prompts: Annotated[
        tuple[Path, ...],
        flag("--neutral-prompts-file", help="The neutral texts of the same scenarios.", show_default=False),
    ] = (),
    random: Random = 20,
    vectors: ProjectOn = None,
    output: Output = None,
    batch_tokens: BatchTokens = None,
    seed: Seed = 0,
    pair_options: PairOptions = PAIR_OPTIONS,
    model_options: ModelOptions = MODEL_OPTIONS,
    store_options: StoreOptions = STORE_OPTIONS,
    json: Json = False,
) -> None:
    """Put the paired prompt's values into heads, all together, in both directions."""
    run_effects(
        "head", "patch", spec=head_spec, model=model, emotion_files=emotion_prompts, neutral_files=neutral_prompts,
        pairs=pair_options, vectors=vectors, text=TEXT_OPTIONS, methods=(), n_random=random, output=output,
        batch_tokens=batch_tokens, seed=seed, model_options=model_options, store_options=store_options, json=json,
    )  # fmt: skip
