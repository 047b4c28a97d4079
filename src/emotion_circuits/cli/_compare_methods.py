"""`emotion-circuits compare-methods`: the ways of changing a model's tone beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from emotion_circuits.cli._components import GENERIC_TEXTS, Split, read_texts
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
)
from emotion_circuits.cli._output import Table, emit, note, p_cell, say
from emotion_circuits.cli._paths import output_path
from emotion_circuits.cli._progress import progress
from emotion_circuits.errors import InputError

if TYPE_CHECKING:
    from emotion_circuits.components import DoseResponse, MethodRow, Modulation, PairSet, PushSize, Way
    from emotion_circuits.models import LoadedModel
    from emotion_circuits.prompts import Bank, Dataset
    from emotion_circuits.scoring import GeneratedText

DOSES = (0.1, 0.2, 0.4)
STRENGTHS = (2.0, 4.0, 8.0)


@command(
    name="compare-methods",
    example="compare-methods --model reference/gpt2 --emotion gratitude --dose .1 .2",
    writes="output",
)
def compare_methods(
    *,
    model: DirectionModel = None,
    vectors: Vectors = None,
    prompts_file: Annotated[
        tuple[Path, ...],
        flag(
            "--dataset",
            help="Your own texts, paired by scenario; by default the bundled profile's.",
            show_default=False,
        ),
    ] = (),
    emotions: Annotated[
        tuple[str, ...], flag("--emotion", help="Which emotions; all by default.", show_default=False)
    ] = (),
    layer: Annotated[
        int | None,
        flag(help="Where directions and interchange act; by default each emotion's chosen layer.", at_least=0),
    ] = None,
    dose: Annotated[tuple[float, ...], flag("--doses", help="Between 0 and 1; taken away when lowering.")] = DOSES,
    ways: Annotated[
        tuple[Literal["raise", "lower"], ...],
        flag("--way", help="In neutral prompts, in the emotion's; both by default.", show_default=False),
    ] = (),
    split: Split = "test",
    controls: Annotated[int, flag(help="Random directions that give chance.", at_least=1)] = 3,
    scorers: Annotated[
        tuple[str, ...], flag(help="markers, offline, go-emotions, hf:NAME_OR_FOLDER.", show_default=False)
    ] = ("offline", "markers"),
    circuit: Annotated[
        bool, flag(negative="--no-circuit", help="Also modulate a circuit, ranked on the other split's scenarios.")
    ] = True,
    strength: Annotated[
        tuple[float, ...], flag("--strengths", help="Multiples of what an emotion's prompt adds in the circuit.")
    ] = STRENGTHS,
    circuit_size: Annotated[float, flag(help="Share of all heads and units that the circuit holds.")] = 0.05,
    max_tokens: Annotated[int, flag(help="Tokens of a continuation.", at_least=1)] = 30,
    temperature: Annotated[float, flag(help="0 for greedy, with one sample.", at_least=0)] = 0.8,
    n_samples: Annotated[int, flag(help="Continuations of each prompt.", at_least=1)] = 3,
    output: Annotated[
        Path | None,
        flag(help="Table to write, .parquet, beside it texts (.jsonl) and a plot; by default in the results folder."),
    ] = None,
    position: Where = None,
    kind: Kind = "specific",
    seed: Seed = 0,
    model_options: ModelOptions = MODEL_OPTIONS,
    store_options: StoreOptions = STORE_OPTIONS,
    json: Json = False,
) -> None:
    """Set the ways of changing tone beside each other: effect against damage.

    Adding, clamping and ablating a direction, steering step by step, interchange, modulating a circuit, and
    simply asking.

    Raising is tried in neutral prompts, lowering in the emotion's own. Effect is the change of the
    texts' mean score from clean text; damage is their perplexity over clean text's, under the clean
    model. Random directions with the covariance of generic text, added or ablated in the same way,
    give chance; for interchange other scenarios' values, for circuits random ones of the same layers,
    for asking other requests. A method is on the front if none has more effect with no more damage.
    """  # fmt: skip
    from emotion_circuits import prompts
    from emotion_circuits._files import write_table, write_text
    from emotion_circuits.components import (
        DEFAULT_BRIDGE,
        WAYS,
        Setting,
        check_method_doses,
        check_strengths,
        dose_response_table,
        dose_responses,
        matched_pairs,
        method_texts,
        methods_table,
        n_texts,
        push_sizes,
        push_sizes_table,
    )
    from emotion_circuits.components import compare_methods as compare
    from emotion_circuits.directions import generic_tokens, source_of
    from emotion_circuits.interventions import Controls
    from emotion_circuits.models import ModelName
    from emotion_circuits.report import methods_pictures, write_pictures
    from emotion_circuits.scoring import Setting as ScorerSetting
    from emotion_circuits.scoring import make_scorer

    check_method_doses(tuple(dict.fromkeys(dose)))
    if circuit:
        check_strengths(strength)
        if not 0 < circuit_size <= 1:
            raise InputError("A circuit's size is a share of all heads and units.", found=circuit_size,
                             accepted="above 0, at most 1")  # fmt: skip
    bank = store_options.bank
    judges = [make_scorer(name, ScorerSetting(bank, store_options.profile, model_options.device)) for name in scorers]
    texts = read_texts(store_options, prompts_file)
    directions = load_vectors(vectors, model, store_options, position)
    check_emotions(directions, emotions)
    chosen = tuple(dict.fromkeys(emotions)) or directions.emotions
    for judge in judges:
        if not set(chosen) & set(judge.emotions):
            raise InputError(f"{judge.name} does not score {', '.join(chosen)}.", found=", ".join(judge.emotions))
        judge.score([])  # a classifier that cannot be loaded should not be found out after the model has run
    layers = {emotion: directions.layer_of(emotion, layer) for emotion in chosen}
    if output is None:
        name = f"{ModelName.parse(directions.source.model).slug}_methods.parquet"
        output = store_options.folder / "patching" / name
    output = output_path(output, ".parquet")
    check_writable(output)
    lm = load_model_of(directions, model, model_options)
    check_lengths(lm, texts.texts)
    pairs: dict[str, PairSet] = {
        e: matched_pairs(lm, texts, e, bridge=DEFAULT_BRIDGE, split=None if split == "all" else split) for e in chosen
    }
    generic = [t.text for t in prompts.generic_sample(GENERIC_TEXTS)]
    source = Controls(directions, kind, tokens=lambda at: generic_tokens(lm, generic, at))
    tried = tuple(dict.fromkeys(ways)) or WAYS
    settings = {
        e: Setting(layers[e], tuple(dict.fromkeys(dose)), kind, max_tokens, temperature,
                   n_samples if temperature else 1, seed, bank[e].request)
        for e in chosen
    }  # fmt: skip
    circuits: dict[str, Modulation | None] = {
        e: _circuit(lm, bank, texts, e, split, circuit_size, strength, controls, seed) if circuit else None
        for e in chosen
    }
    total = sum(n_texts(pairs[e], way, controls, settings[e], circuits[e]) for e in chosen for way in tried)
    sizes: list[PushSize] = []
    rows: list[MethodRow] = []
    responses: list[DoseResponse] = []
    written: list[tuple[Way, GeneratedText]] = []
    with progress("Writing", total) as show:
        before = 0
        for emotion in chosen:
            units = source.units("covariance", layers[emotion], controls, emotion, seed)
            say(f"{emotion}: {len(pairs[emotion])} pairs of equally many tokens, layer {layers[emotion]}")
            for way in tried:

                def add(n: int, show: Any = show) -> None:
                    show(before + n)  # noqa: B023

                setting = settings[emotion]
                own = circuits[emotion]
                made = method_texts(lm, directions, pairs[emotion], way, units, setting, circuit=own, on_rows=add)
                if own is not None:
                    sizes += push_sizes(lm, directions, pairs[emotion], way, setting, own)
                before += len(made)
                able = [judge for judge in judges if emotion in judge.emotions]
                rows += compare(str(lm.name), way, made, able, seed=seed)
                responses += dose_responses(way, made, able, seed=seed)
                written += [(way, text) for text in made]
    run_as = source_of(lm).model_dump()
    write_table(output, methods_table(rows), source=run_as)
    by_dose = output.with_name(f"{output.stem}_doses.parquet")
    write_table(by_dose, dose_response_table(responses), source=run_as)
    files = [output, by_dose]
    if sizes:
        files.append(output.with_name(f"{output.stem}_sizes.parquet"))
        write_table(files[-1], push_sizes_table(sizes), source=run_as)
    beside = output.with_suffix(".jsonl")
    write_text(beside, "".join(_line(way, text, str(lm.name)) for way, text in written))
    shown = [row for row in rows if row.scorer == judges[0].name]
    title = f"{lm.name}: effect on the {judges[0].name} score against damage"
    plots = write_pictures(methods_pictures(shown, output.stem, title), output.parent)
    result = {"file": output, "texts": beside, "plots": plots, "methods": rows, "doses": responses, "sizes": sizes}
    if json:
        emit(result, json)
        return
    for table in _tables(rows, responses, sizes, (*files, beside, *plots)):
        emit(result, json, table=table)


def _circuit(
    lm: LoadedModel,
    bank: Bank,
    texts: Dataset,
    emotion: str,
    split: str,
    size: float,
    strengths: Sequence[float],
    controls: int,
    seed: int,
) -> Modulation | None:
    """The emotion's circuit, ranked on scenarios that are not judged; None, said on stderr, where there are none."""
    from emotion_circuits.components import WordSetOutcome, matched_pairs, modulation

    if split == "all":
        note(f"{emotion}: no circuit, since with --split all no scenarios are left to rank it on")
        return None
    other = "development" if split == "test" else "test"
    try:
        pairs = matched_pairs(lm, texts, emotion, split=other)
    except InputError:
        note(f"{emotion}: no circuit, since there are too few {other} pairs to rank it on")
        return None
    say(f"{emotion}: circuit ranked on {len(pairs)} {other} pairs")
    return modulation(
        lm, WordSetOutcome(lm, pairs, bank.word_sets()), size=size, strengths=tuple(dict.fromkeys(strengths)),
        n_random=controls, seed=seed,
    )  # fmt: skip


def _line(way: Way, text: GeneratedText, model: str) -> str:
    import json

    return json.dumps({**text.model_dump(), "way": way, "model": model}, ensure_ascii=False, allow_nan=False) + "\n"


def _tables(
    rows: Sequence[MethodRow], responses: Sequence[DoseResponse], sizes: Sequence[PushSize], files: Sequence[Path]
) -> list[Table]:
    from emotion_circuits.components import title_of

    columns = ("emotion", "", "method", "scorer", "effect", "95 % interval", "chance", "95 % interval", "p", "ceiling",
               "perplexity ×", "95 % interval", "regime", "front", "n")  # fmt: skip
    lines = [
        (
            r.emotion, r.way, title_of(r), r.scorer, f"{r.effect:+z.2f}", _band(r.ci_low, r.ci_high),
            None if r.chance != r.chance else f"{r.chance:+z.2f}", _band(r.chance_low, r.chance_high),
            p_cell(r.p), f"{r.ceiling:.2f}",
            None if r.damage != r.damage else f"{r.damage:.2f}", _band(r.damage_low, r.damage_high, sign=False),
            r.regime, "•" if r.on_front else "", f"{r.n_prompts}, {r.n_texts}",
        )
        for r in rows
    ]  # fmt: skip
    notes = [
        "effect: change of the score in the direction asked for. chance, p: a method's random twin (random directions, "
        "circuits, requests, other scenarios' values); where there is none p is against clean text. Two-sided, not "
        "adjusted.",
        "front: nothing has more effect with no more damage. n: prompts and texts.",
        "",
    ]
    names = (
        "emotion",
        "",
        "method",
        "scorer",
        "slope",
        "95 % interval",
        "chance",
        "p",
        "steps that rise",
        "doses",
        "n",
    )
    slopes = [
        (
            r.emotion, r.way, r.method, r.scorer, f"{r.slope:+z.2f}", _band(r.ci_low, r.ci_high),
            None if r.chance != r.chance else f"{r.chance:+z.2f}", p_cell(r.p), f"{r.rising:.0%}", str(r.n_doses),
            str(r.n_prompts),
        )
        for r in responses
    ]  # fmt: skip
    title = "Response to the dose: change of the score as asked for, per unit of dose (of a circuit: of strength)"
    found = [Table(columns, lines, notes=notes), Table(names, slopes, title=title, notes=["" for _ in sizes[:1]])]
    if sizes:
        found.append(_sizes_on_screen(sizes))
    written = [*found[-1].notes, *(f"Written to {file}" for file in files)]
    return [*found[:-1], replace(found[-1], notes=written)]


def _sizes_on_screen(sizes: Sequence[PushSize]) -> Table:
    columns = ("emotion", "", "method", "size", "middle half", "after the last layer", "tokens")
    lines = [
        (
            r.emotion, r.way, f"{r.method} {r.dose:g}", f"{r.size:.3f}", f"[{r.size_low:.3f}, {r.size_high:.3f}]",
            f"{r.size_last:.3f}", str(r.n_tokens),
        )
        for r in sizes
    ]  # fmt: skip
    title = f"How far the stream is moved, in units of dose: median over the prompts' tokens, layer {sizes[0].layer}"
    if len({r.layer for r in sizes}) > 1:
        title = "How far the stream is moved, in units of dose: median over the prompts' tokens, where directions act"
    return Table(columns, lines, title=title)


def _band(low: float, high: float, *, sign: bool = True) -> str | None:
    if low != low:
        return None
    return f"[{low:+z.2f}, {high:+z.2f}]" if sign else f"[{low:.2f}, {high:.2f}]"
