"""The generate command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

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
    Json,
    ModelOptions,
    Seed,
    StoreOptions,
    command,
    flag,
    text_file,
)
from emotion_circuits.cli._output import Table, emit
from emotion_circuits.cli._paths import output_path
from emotion_circuits.cli._progress import progress
from emotion_circuits.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from emotion_circuits.interventions import SideBySide

DEFAULT_PROMPTS = 3


@Parameter(name="*")
@dataclass(frozen=True)
class GenerateOptions:
    """How prompts are continued."""

    dose: Annotated[
        float, flag(help="In spreads of generic text (its median distance from the layer's mean); negative takes away.")
    ] = 0.4
    layer: Annotated[
        int | None, flag(help="Block, or -1 for embed; by default the emotion's chosen layer.", at_least=-1)
    ] = None
    max_tokens: Annotated[int, flag(help="Tokens of a continuation.", at_least=1)] = 40
    temperature: Annotated[float, flag(help="0 for greedy.", at_least=0)] = 0.0
    n_samples: Annotated[
        int, flag(help="Continuations of each prompt; more than one needs a temperature.", at_least=1)
    ] = 1
    steer_prompt: Annotated[bool, flag(negative="--no-steer-prompt", help="Steer at the prompt's tokens.")] = True
    first_step: Annotated[int, flag(help="First generated token that is steered, counted from 1.", at_least=1)] = 1
    every: Annotated[int, flag(help="Steer every so many generated tokens from there on; 0 for none.", at_least=0)] = 1
    kind: Kind = "specific"
    seed: Seed = 0


GENERATE_OPTIONS = GenerateOptions()


@command(example="generate --model reference/gpt2 --emotion gratitude --dose .2")
def generate(
    *,
    model: DirectionModel = None,
    vectors: Vectors = None,
    emotion: Annotated[str, flag(help="Whose direction to add.")],
    prompt: Annotated[
        tuple[str, ...],
        flag("--prompts", help="Beginnings to continue; by default three bundled neutral ones.", show_default=False),
    ] = (),
    input: Annotated[
        Path | None,
        text_file("--prompts-file", help="Prompts instead: .jsonl, .csv (`text`), .json, .txt; - for standard input."),
    ] = None,
    n_prompts: Annotated[
        int, flag(help="How many of the 20 bundled beginnings, where no prompts are given.", at_least=1)
    ] = DEFAULT_PROMPTS,
    output: Annotated[
        Path | None, flag(help="Write .jsonl instead of printing, a line per text, as `evaluate` reads it.")
    ] = None,
    options: GenerateOptions = GENERATE_OPTIONS,
    position: Where = None,
    model_options: ModelOptions = MODEL_OPTIONS,
    store_options: StoreOptions = STORE_OPTIONS,
    json: Json = False,
) -> None:
    """Continue prompts clean, steered, and steered at random, side by side.

    The random direction is as long as the emotion's, and all three use the same random numbers: what
    the random column shows too is no effect of the emotion. Perplexities are those of the clean
    model; text that breaks down has a high one, or a very low one where it repeats itself. The
    first eight bundled beginnings are those that layers and doses are chosen on, the others are not.
    """
    from emotion_circuits import prompts
    from emotion_circuits._files import write_text
    from emotion_circuits.engine import Schedule
    from emotion_circuits.interventions import check_doses, side_by_side

    if prompt and input is not None:
        raise InputError("Give either --prompt or --input.", found="both")
    dose, kind, seed = options.dose, options.kind, options.seed
    check_doses([dose])
    rows = [] if input is None else text_rows(input)
    given = [*prompt, *(row.text for row in rows)]
    if any(not text.strip() for text in given):
        raise InputError("A prompt is empty.", next_step="leave it out")
    openings = [c.text for split in prompts.SPLITS for c in prompts.contexts(split) if c.slot == "opening"]
    if not given and n_prompts > len(openings):
        raise InputError("There are not so many bundled beginnings.", found=n_prompts, accepted=f"1 to {len(openings)}")
    if output is not None:
        output = output_path(output, ".jsonl")
        check_writable(output)
    directions = load_vectors(vectors, model, store_options, position)
    check_emotions(directions, [emotion])
    at = directions.layer_of(emotion, options.layer)
    lm = load_model_of(directions, model, model_options)
    check_lengths(lm, rows, room=options.max_tokens)
    texts = given or openings[:n_prompts]
    with progress("Writing", 3 * options.n_samples * len(texts)) as done:
        found = side_by_side(
            lm, directions, emotion, texts, dose=dose, layer=at, kind=kind, max_tokens=options.max_tokens,
            temperature=options.temperature, n_samples=options.n_samples, seed=seed,
            schedule=Schedule(options.steer_prompt, options.first_step, options.every), on_rows=done,
        )  # fmt: skip
    unit = directions.generic.unit_name
    if output is not None:
        how = {"model": str(lm.name), "bos": lm.bos, "kind": kind, "temperature": options.temperature, "seed": seed,
               "unit": unit}  # fmt: skip
        write_text(output, "".join(_lines(found, {"emotion": emotion, "dose": dose, "layer": at}, how)))
        emit({"file": output, "n": 3 * len(found), "emotion": emotion, "dose": dose, "layer": at}, json)
        return
    lines = []
    for number, one in enumerate(found, 1):
        lines.append((str(number), "prompt", "", one.prompt))
        for name, part in (("clean", one.clean), ("steered", one.steered), ("random", one.random)):
            shown = "–" if part.perplexity is None else f"{part.perplexity:.1f}"
            lines.append(("", name, shown, " ".join(part.text.split())))
    where = "embed" if at < 0 else f"layer {at}"
    title = f"{lm.name}: {emotion} ({kind}), dose {dose:g} at {where}"
    notes = (
        f"Perplexity under the clean model. random: one isotropic direction of the same size, seed {seed}.",
        f"The unit of the dose is the layer's {unit}.",
    )
    result = {"model": str(lm.name), "emotion": emotion, "dose": dose, "layer": at, "kind": kind, "seed": seed,
              "unit": unit, "texts": found}  # fmt: skip
    emit(result, json, table=Table(("", "", "perplexity", "text"), lines, title=title, notes=notes))


def _lines(found: Sequence[SideBySide], steering: Mapping[str, Any], how: Mapping[str, Any]) -> Iterator[str]:
    """A line per text; clean text was steered towards nothing."""
    import json

    for one in found:
        for arm, part in (("clean", one.clean), ("steered", one.steered), ("random", one.random)):
            line = {
                "prompt": one.prompt,
                "text": part.text,
                "arm": arm,
                **(dict.fromkeys(steering) if arm == "clean" else steering),
                "sample": one.sample,
                "perplexity": part.perplexity,
                **how,
            }
            yield json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"
