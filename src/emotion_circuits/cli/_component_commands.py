"""`emotion-circuits heads` and `emotion-circuits units`: which components write and move an emotion."""

# Annotations are evaluated where they stand: those of a command name the kind of component that it is for.

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App

from emotion_circuits.cli._ablation_texts import TEXT_OPTIONS, TextOptions
from emotion_circuits.cli._components import RUN_OPTIONS, Output, Prompts, RunOptions
from emotion_circuits.cli._effects import run_effects
from emotion_circuits.cli._options import STORE_OPTIONS, Json, ModelFlag, StoreOptions, command, command_group, flag
from emotion_circuits.cli._screens import run_screen

OwnTexts = Annotated[
    tuple[Path, ...],
    flag(
        "--emotion-prompts-file", "--prompts-file", "--dataset",
        help="Your own texts; by default the bundled profile's.", show_default=False,
    ),
]  # fmt: skip
NeutralTexts = Annotated[
    tuple[Path, ...],
    flag("--neutral-prompts-file", help="The neutral texts of the same scenarios.", show_default=False),
]
Methods = Annotated[
    tuple[Literal["zero", "mean", "resample"], ...],
    flag("--methods", help="zero, mean (generic text), resample; all by default.", show_default=False),
]
Steps = Annotated[int, flag(help="Points of integrated gradients; 0 takes one gradient.", at_least=0)]


def component_commands(kind: Literal["head", "unit"], summary: str, spec: str, patched_besides: str = "") -> App:
    """The commands of one kind of component.

    Args:
        kind: which.
        summary: the group's line on the help page.
        spec: an example of how components are named.
        patched_besides: what `screen` always patches.
    """
    group = f"{kind}s"
    app = command_group(group, summary)
    Spec = Annotated[
        str, flag(name=f"--{kind}-spec", help=f'{group.title()} as layer:{kind}, counted from 0: "{spec}".')
    ]
    Exact = Annotated[int, flag(help=f"How many of the best are patched{patched_besides}.", at_least=0)]
    Random = Annotated[
        int, flag("--controls", help=f"Random sets of {group} of the same layers that give chance.", at_least=0)
    ]
    example = f'--model reference/gpt2 --{kind}-spec "{spec}" --emotion anger'

    @command(app, example=f"{group} screen --model reference/gpt2 --emotion anger", writes="output")
    def screen(
        *,
        model: ModelFlag,
        prompts_file: Prompts = (),
        exact: Exact = 20,
        steps: Steps = 0,
        output: Output = None,
        run: RunOptions = RUN_OPTIONS,
        store_options: StoreOptions = STORE_OPTIONS,
        json: Json = False,
    ) -> None:
        run_screen(kind, model, prompts_file, run, store_options, exact, steps, output, json)

    screen.__doc__ = f"""Estimate what every {kind} carries of an emotion, and measure the best.

    Prompts are pairs of one scenario, an emotion's and a neutral one, with equally many tokens.
    """

    @command(app, example=f"{group} ablate {example}", writes="output")
    def ablate(
        *,
        model: ModelFlag,
        spec: Spec,
        prompts_file: Prompts = (),
        method: Methods = (),
        random: Random = 20,
        output: Output = None,
        run: RunOptions = RUN_OPTIONS,
        text_options: TextOptions = TEXT_OPTIONS,
        store_options: StoreOptions = STORE_OPTIONS,
        json: Json = False,
    ) -> None:
        run_effects(kind, "ablate", spec, model, prompts_file, run, store_options, method, random, output, json,
                    text_options)  # fmt: skip

    ablate.__doc__ = f"""Take {group} out, all together, and measure what is lost.

    At least two methods should agree before {group} are said to matter.
    """

    @command(app, example=f"{group} patch {example}", writes="output")
    def patch(
        *,
        model: ModelFlag,
        spec: Spec,
        emotion_prompts: OwnTexts = (),
        neutral_prompts: NeutralTexts = (),
        random: Random = 20,
        output: Output = None,
        run: RunOptions = RUN_OPTIONS,
        store_options: StoreOptions = STORE_OPTIONS,
        json: Json = False,
    ) -> None:
        files = (*emotion_prompts, *neutral_prompts)
        run_effects(kind, "patch", spec, model, files, run, store_options, (), random, output, json)

    patch.__doc__ = f"Put the paired prompt's values into {group}, all together, in both directions."
    return app


heads = component_commands(
    "head", "Attention heads: screen them, ablate them, patch them.", "3:5,7:2", ", besides layers 0 and 1"
)
units = component_commands("unit", "MLP units (neurons): screen them, ablate them, patch them.", "3:5,7:200")
