"""The align and transfer commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from emotion_circuits._row_tables import row_table
from emotion_circuits.cli._inputs import check_writable
from emotion_circuits.cli._options import (
    MODEL_OPTIONS,
    STORE_OPTIONS,
    Json,
    ModelFlag,
    ModelOptions,
    OtherModelFlag,
    Seed,
    StoreOptions,
    command,
    flag,
    text_file,
)
from emotion_circuits.cli._output import emit
from emotion_circuits.cli._pairs import AnyLayers, Draws, Fit, Twins, fit_data, recorded, sides
from emotion_circuits.cli._paths import output_path
from emotion_circuits.cli._progress import progress
from emotion_circuits.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emotion_circuits.comparison import PairAlignment, Side
    from emotion_circuits.directions import Activations

Method = Annotated[
    str,
    flag(help="How the map is fitted: ridge, procrustes, cca, least-squares, anchors, or a registered aligner's name."),
]
Components = Annotated[
    int | None, flag(help="Components that maps work in; by default a fifth of the fit texts at most.", at_least=1)
]


@command(example="align --model reference/gpt2 --model2 reference/gpt2-twin --layers 3 5", writes="results")
def align(
    *,
    model: ModelFlag,
    model2: OtherModelFlag,
    method: Method = "ridge",
    fit: Fit = "neutral",
    n_fit: Annotated[int, flag(help="Texts to fit on.", at_least=100)] = 1000,
    neutral_prompts_file: Annotated[
        Path | None,
        text_file(help="Texts of your own to fit on: .jsonl, .csv (`text`), .json or .txt; - for standard input."),
    ] = None,
    layers: AnyLayers = None,
    n_components: Components = None,
    untrained: Twins = 5,
    draws: Draws = 1000,
    model1_activations_dir: Annotated[Path | None, flag(help="What `extract` wrote for the first model.")] = None,
    model2_activations_dir: Annotated[Path | None, flag(help="What `extract` wrote for the second model.")] = None,
    output: Annotated[
        Path | None, flag("--results-file", help="The map, .safetensors; by default in the results folder.")
    ] = None,
    seed: Seed = 0,
    model_options: ModelOptions = MODEL_OPTIONS,
    store_options: StoreOptions = STORE_OPTIONS,
    json: Json = False,
) -> None:
    """Map one model onto another, and judge the map on emotion texts.

    The map is fitted on neutral text, its layers are chosen on development scenarios, and every
    value comes from test scenarios. The first thing to read is the gain: the cosine of mapped with
    own directions minus the best that untrained twins reach. Needs recorded activations of both
    models (`extract`); records the texts to fit on where that was not done yet.
    """
    from emotion_circuits.comparison import chosen_rows, layer_rows, map_path, write_alignment
    from emotion_circuits.geometry import aligner_named

    aligner_named(method)
    folder = store_options.folder
    target = map_path(folder, model, model2) if output is None else output_path(output, ".safetensors")
    check_writable(target)
    explicit = [
        recorded(model, model1_activations_dir, store_options),
        recorded(model2, model2_activations_dir, store_options),
    ]
    _check_layers(explicit, layers)
    texts = fit_data(store_options.bank, fit, n_fit, neutral_prompts_file, explicit[0])
    [(one, twins_a), (two, twins_b)] = sides(explicit, texts, untrained, store_options, model_options)
    pair = _aligned(one, two, twins_a, twins_b, method, layers, n_components, draws, seed)
    *tables, _ = write_alignment(pair, folder, map_file=target)
    result = {"file": target, "tables": tables, **pair.route._asdict(), "measures": chosen_rows(pair),
              "layers": layer_rows(pair)}  # fmt: skip
    found, at = pair.layers, pair.at
    nulls = {"shuffled pairs": found.null("shuffled"), "random map": found.null("random map"),
             "shuffled labels": found.label_null}  # fmt: skip
    highest = ", ".join(f"{name} {float(n.mean_own.high[at]):.3f}" for name, n in nulls.items() if n is not None)
    notes = (
        "gain: cosine of the mapped with the own direction, trained minus best untrained twin.",
        f"97.5 % points of the nulls of the mean cosine: {highest}.",
        f"Held-out R² on emotion texts {found.r2[at]:.2f} [{found.r2_low[at]:.2f}, {found.r2_high[at]:.2f}], chance 0;"
        f" nearest own direction right for {found.retrieval[at]:.0%} of {len(found.emotions)} (shuffled pairs"
        f" {found.null('shuffled').retrieval[at]:.0%}).",
        f"Layers chosen on development scenarios; the map is in {target}",
    )
    emit(result, json, table=row_table(result["measures"], notes=notes))


@command(example="transfer --models reference/gpt2 reference/gpt2-twin --layers 3 5", writes="results")
def transfer(
    *,
    models: Annotated[tuple[str, ...], flag("--model", help="Two models or more; every ordered pair is judged.")],
    method: Method = "ridge",
    fit: Fit = "neutral",
    n_fit: Annotated[int, flag(help="Texts to fit on.", at_least=100)] = 1000,
    layers: AnyLayers = None,
    n_components: Components = None,
    untrained: Twins = 5,
    draws: Draws = 1000,
    dose: Annotated[float, flag(help="Steering dose, in spreads of generic text.")] = 0.4,
    shuffled: Annotated[int, flag(help="Shuffled maps to steer with.", at_least=2)] = 20,
    seed: Seed = 0,
    model_options: ModelOptions = MODEL_OPTIONS,
    store_options: StoreOptions = STORE_OPTIONS,
    json: Json = False,
) -> None:
    """See whether one model's directions detect and steer in another.

    Detection is the AUROC on texts that never name the emotion; steering the slope of the emotion's
    word-set log-odds on neutral contexts. Each stands beside the model's own direction, as a share of
    it, and beside directions that came through maps of shuffled texts.
    """
    from emotion_circuits import prompts
    from emotion_circuits._files import write_table
    from emotion_circuits.analyses import SteeringPlan
    from emotion_circuits.comparison import PairMeasure, detect, detection_rows, pair_slug, steer, steering_rows
    from emotion_circuits.directions import fit_with_layers, load_activations, load_generic
    from emotion_circuits.engine import load_verified
    from emotion_circuits.geometry import aligner_named
    from emotion_circuits.interventions import balanced_contexts, check_doses
    from emotion_circuits.models import ModelName
    from emotion_circuits.scoring import slot_task
    from emotion_circuits.statistics import rows_table

    if len({ModelName.parse(name) for name in models}) < 2:
        raise InputError("Transfer needs two different models.", found=", ".join(models))
    aligner_named(method)
    check_doses([dose])
    if dose <= 0:
        raise InputError("The dose is used with both signs.", found=dose, accepted="a number above 0")
    explicit = [recorded(name, None, store_options) for name in models]
    _check_layers(explicit, layers)
    every = sides(explicit, fit_data(store_options.bank, fit, n_fit), untrained, store_options, model_options)
    rows: list[PairMeasure] = []
    pairs = []
    for j, target in enumerate(explicit):
        base = store_options.folder / "activations" / ModelName.parse(target.source.model).slug
        implicit = load_activations(base / "implicit")
        directions = fit_with_layers(target, "mean", load_generic(base), implicit=implicit, kinds=("specific",))
        lm = load_verified(target.source.model, **model_options.loading(target.source))
        few = balanced_contexts(prompts.contexts("test"), SteeringPlan().text_contexts)
        slots = slot_task(lm, few, store_options.bank.word_sets())
        two, twins_b = every[j]
        for i, (one, twins_a) in enumerate(every):
            if i == j:
                continue
            pair = _aligned(one, two, twins_a, twins_b, method, layers, n_components, draws, seed)
            mapped, detected = detect(pair, directions, implicit, n_draws=draws, seed=seed)
            steered = steer(lm, mapped, directions, dose, slots, n_shuffled=shuffled, seed=seed)
            own = [*detection_rows(pair, detected), *steering_rows(mapped.route, steered)]
            name = f"{pair_slug(one.name, two.name)}_transfer.parquet"
            write_table(store_options.folder / "cross_model" / name, rows_table(PairMeasure, own))
            rows += own
            pairs.append(pair.route._asdict())
    notes = (
        "AUROC on implicit test texts. share: of what the own direction does above chance.",
        f"slope: own word-set log-odds in nats per unit of dose, at ±{dose:g}; {shuffled} shuffled maps.",
    )
    emit({"pairs": pairs, "measures": rows}, json, table=row_table(rows, hide=["position"], notes=notes))


def _check_layers(explicit: Sequence[Activations], layers: tuple[int, ...] | None) -> None:
    """Refuse layers before anything is recorded."""
    from emotion_circuits.comparison import FIT_POSITION, checked_rows

    for acts in explicit:
        if layers is not None:
            checked_rows(acts.source.model, len(acts.at(FIT_POSITION)), [layer + 1 for layer in layers])


def _aligned(
    one: Side, two: Side, twins_a: list[Side], twins_b: list[Side], method: str, layers: tuple[int, ...] | None,
    n_components: int | None, draws: int, seed: int,
) -> PairAlignment:  # fmt: skip
    from emotion_circuits.comparison import align_pair, n_steps

    rows = None if layers is None else [layer + 1 for layer in layers]
    label = f"{one.name} → {two.name}: maps and their nulls"
    with progress(label, n_steps(len(twins_a) + len(twins_b))) as done:
        return align_pair(
            one, two, twins_a, twins_b, rows_a=rows, rows_b=rows, method=method, n_components=n_components,
            n_draws=draws, seed=seed, n_jobs=2, on_step=done,
        )  # fmt: skip
