"""What `heads ablate --text` and `units ablate --text` add: texts without the components, their scores and damage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from emotion_circuits.cli._options import flag
from emotion_circuits.cli._output import note
from emotion_circuits.cli._progress import counting
from emotion_circuits.errors import InputError

if TYPE_CHECKING:
    from emotion_circuits.components import AblationTexts, Component, GenericValues, Method, PairSet, TextEffect
    from emotion_circuits.models import LoadedModel
    from emotion_circuits.prompts import Bank
    from emotion_circuits.scoring import TextScorer


@Parameter(name="*")
@dataclass(frozen=True)
class TextOptions:
    """What is written under ablation, and who scores it."""

    text: Annotated[bool, flag(help="Also write after the pairs' prompts, and score what is written.")] = False
    scorers: Annotated[
        tuple[str, ...],
        flag(help="Of --text: markers, offline, go-emotions, hf:NAME_OR_FOLDER, a registered one.", show_default=False),
    ] = ("offline", "markers")
    max_tokens: Annotated[int, flag(help="Of --text: tokens of a continuation.", at_least=1)] = 30
    temperature: Annotated[float, flag(help="Of --text: 0 for greedy, with one sample.", at_least=0)] = 0.8
    n_samples: Annotated[int, flag(help="Of --text: continuations of each prompt.", at_least=1)] = 2


TEXT_OPTIONS = TextOptions()


def judges_of(options: TextOptions, bank: Bank, emotions: Sequence[str], profile: Any, device: str) -> list[TextScorer]:
    """The scorers, loaded before the model runs.

    Raises:
        InputError: one that cannot be loaded, or that scores none of the emotions.
    """
    from emotion_circuits.scoring import Setting, make_scorer

    judges = [make_scorer(name, Setting(bank, profile, device)) for name in options.scorers] if options.text else []
    for judge in judges:
        if not set(emotions) & set(judge.emotions):
            raise InputError(
                f"{judge.name} does not score {', '.join(emotions)}.", found=", ".join(judge.emotions)
            )  # fmt: skip
        judge.score([])
    return judges


def written_without(
    lm: LoadedModel,
    pairs: PairSet,
    components: Sequence[Component],
    methods: Sequence[Method],
    generic: GenericValues | None,
    judges: Sequence[TextScorer],
    options: TextOptions,
    n_random: int,
    seed: int,
) -> tuple[list[AblationTexts], list[TextEffect]]:
    """Texts of one emotion after both kinds of prompts, and the rows that come of them."""
    from emotion_circuits.components import (
        TEXT_METHODS,
        TextSetting,
        ablation_texts,
        n_ablation_texts,
        text_effects,
    )

    usable = [method for method in TEXT_METHODS if method in methods]
    setting = TextSetting(
        options.max_tokens, options.temperature, options.n_samples if options.temperature else 1, seed
    )  # fmt: skip
    total = n_ablation_texts(lm, pairs, components, len(usable), n_random, setting.n_samples)
    with counting(f"Writing for {pairs.emotion}", total) as add:
        made = ablation_texts(
            lm, pairs, components, usable, generic, n_random=n_random, setting=setting, on_texts=add
        )  # fmt: skip
    able = [judge for judge in judges if pairs.emotion in judge.emotions]
    return made, [row for one in made for row in text_effects(one, able, seed=seed)]


def write_ablation_texts(output: Path, made: Sequence[AblationTexts], rows: Sequence[TextEffect]) -> list[Path]:
    """The texts (.jsonl) and their table, both beside the table of effects."""
    import json

    from emotion_circuits._files import write_table, write_text
    from emotion_circuits.components import TextEffect
    from emotion_circuits.statistics import rows_table

    lines = [
        {**t.model_dump(), "prompts": one.prompts, "components": one.components, "model": one.model}
        for one in made
        for t in one.texts
    ]
    texts = output.with_suffix(".jsonl")
    write_text(texts, "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines))
    table = output.with_name(f"{output.stem}_texts{output.suffix}")
    write_table(table, rows_table(TextEffect, rows))
    return [texts, table]


def check_methods(methods: Sequence[str]) -> None:
    """Say which kind of ablation no text is written under, and raise `InputError` if no other is left."""
    from emotion_circuits.components import TEXT_METHODS

    if not set(methods) & set(TEXT_METHODS):
        raise InputError("Text is written under ablation by zero or mean.", found=", ".join(methods))
    if set(methods) - set(TEXT_METHODS):
        note("no text under ablation by resample: its values are drawn for the places of a text that is there")
