"""The compare, subspace and k-sweep commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from emotion_circuits._row_tables import row_table
from emotion_circuits.cli._compare_components import compare_components, show_components
from emotion_circuits.cli._inputs import DEFAULT_POSITION, check_writable
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
)
from emotion_circuits.cli._output import emit, note
from emotion_circuits.cli._pairs import HIDDEN, AnyLayers, Draws, Fit, fit_data, recorded, sides, write_pairs
from emotion_circuits.cli._paths import output_path
from emotion_circuits.errors import InputError

if TYPE_CHECKING:
    from emotion_circuits.comparison import PairMeasure

PositionFlag = Annotated[str, flag(help="Where texts are read: sentence-end, last-content, emotion-token or mean.")]
KindFlag = Annotated[
    Literal["between-class", "lda", "paired", "within-class"],
    flag(help="What spans the subspace: class means (k ≤ 3), Fisher's directions (k ≤ 3), paired differences, or one"
         " class's own texts."),
]  # fmt: skip
EmotionFlag = Annotated[str | None, flag(help="One emotion, for paired and within-class; all pooled by default.")]
ActivationsRoot = Annotated[Path | None, flag("--activations", help="Folder with one folder of activations per model.")]


@command(example="subspace --model reference/gpt2 --n-components 3", writes="output")
def subspace(
    *,
    model: Annotated[str | None, flag("--model1", help="Whose activations in the results folder.")] = None,
    activations_dir: Annotated[Path | None, flag("--activations", help="What `extract` wrote.")] = None,
    output: Annotated[Path | None, flag(help="Bases to write, .safetensors; by default in the results folder.")] = None,
    n_components: Annotated[int, flag(help="Dimensions k.", at_least=1)] = 3,
    kind: KindFlag = "between-class",
    emotion: EmotionFlag = None,
    position: PositionFlag = DEFAULT_POSITION,
    layers: AnyLayers = None,
    seed: Seed = 0,
    store_options: StoreOptions = STORE_OPTIONS,
    json: Json = False,
) -> None:
    """Find the subspace of the emotions, and how stable it is.

    S* is 0 for unrelated subspaces and 1 for equal ones. The split-half value is the ceiling of any
    overlap with another model: more cannot be shared than is stable. Where k exceeds what class means
    can span (3), the paired differences are taken instead.
    """
    from emotion_circuits.comparison import save_subspaces, subspace_rows
    from emotion_circuits.directions import check_position, load_activations
    from emotion_circuits.models import ModelName

    where = check_position(position)
    if activations_dir is not None:
        acts = load_activations(activations_dir)
    elif model is not None:
        acts = recorded(model, None, store_options)
    else:
        raise InputError("Neither activations nor a model were named.", next_step="give --activations-dir or --model")
    chosen = _kind_for(kind, n_components)
    slug = ModelName.parse(acts.source.model).slug
    default = store_options.folder / "emotion_subspaces" / f"{slug}_{where}_{chosen}.safetensors"
    target = default if output is None else output_path(output, ".safetensors")
    check_writable(target)
    rows = subspace_rows(acts, where, chosen, [n_components], emotion=emotion, layers=layers, seed=seed)
    save_subspaces(acts, where, chosen, n_components, target, emotions=(emotion,))
    title = f"{acts.source.model}, {where}, {chosen}, k = {n_components}" + (f", {emotion}" if emotion else "")
    result = {"file": target, "model": acts.source.model, "position": where, "kind": chosen, "k": n_components,
              "measures": rows}  # fmt: skip
    notes = (f"n counts scenarios. Written to {target}",)
    emit(result, json, table=row_table(rows, title=title, hide=("model", "position", "kind"), notes=notes))


@command(
    example="k-sweep --model reference/gpt2 --model2 reference/gpt-neo --k-values 2 5 --layers 3", writes="results"
)
def k_sweep(
    *,
    model: ModelFlag,
    model2: OtherModelFlag,
    k_values: Annotated[tuple[int, ...], flag("--k", help="Dimensions.")] = (2, 5, 10, 20),
    kind: KindFlag = "paired",
    emotion: EmotionFlag = None,
    layers: AnyLayers = None,
    position: PositionFlag = DEFAULT_POSITION,
    aligned: Annotated[bool, flag(help="Map the first model into the second before comparing.")] = False,
    fit: Fit = "neutral",
    activations_dir: ActivationsRoot = None,
    output: Annotated[Path | None, flag(help="Table to write, .parquet or .json.")] = None,
    seed: Seed = 0,
    model_options: ModelOptions = MODEL_OPTIONS,
    store_options: StoreOptions = STORE_OPTIONS,
    json: Json = False,
) -> None:
    """Show how far two models' subspaces overlap, by dimension k.

    Without --aligned, coordinates of two models are compared that have nothing to do with each other,
    as earlier work did: expect chance, whatever k.
    """
    from emotion_circuits.comparison import overlap_rows
    from emotion_circuits.directions import check_position

    where = check_position(position)
    target = _table_path(output, store_options.folder / "cross_model" / f"{_slugs(model, model2)}_k_sweep.parquet")
    a, b = (recorded(name, None, store_options, activations_dir) for name in (model, model2))
    pair = None
    if aligned:
        if where != "mean":
            raise InputError("Maps are fitted at position mean.", found=where, next_step="leave out --position")
        [(one, _), (two, _)] = sides([a, b], fit_data(store_options.bank, fit), 0, store_options, model_options)
        pair = (one, two)
    rows = overlap_rows(a, b, where, kind, k_values, emotion=emotion, layers=layers, aligned=pair, seed=seed)
    _finish(rows, target, json, f"{model} and {model2}, {where}")


@command(example="compare --by cka --model reference/gpt2 --model2 reference/gpt-neo --layers 3", writes="results")
def compare(
    *,
    model: ModelFlag,
    model2: OtherModelFlag,
    by: Annotated[
        Literal["vectors", "token-vectors", "subspaces", "cka", "rsa", "neighbours", "components"],
        flag(
            help="vectors, token-vectors and subspaces compare raw coordinates; cka, rsa and neighbours how texts"
            " relate, whatever the coordinates; components what heads and units do at which relative depth."
        ),
    ] = "cka",
    layers: AnyLayers = None,
    position: Annotated[str | None, flag(help="By default mean; token-vectors are read at emotion-token.")] = None,
    draws: Draws = 1000,
    activations_dir: ActivationsRoot = None,
    output: Annotated[Path | None, flag(help="Table to write, .parquet or .json.")] = None,
    seed: Seed = 0,
    model_options: ModelOptions = MODEL_OPTIONS,
    store_options: StoreOptions = STORE_OPTIONS,
    json: Json = False,
) -> None:
    """Compare two models on the same texts, layer by layer.

    Where coordinates do not matter (cka, rsa, neighbours) every layer is compared with every layer. By components,
    profiles over relative depth of what heads and units do are compared; they are screened where that was not done.

    For what is shared under other coordinates see `align`; raw coordinates of two models have no common
    meaning, and the values show it beside their chance.
    """
    from emotion_circuits.comparison import direction_rows, overlap_rows, space_rows
    from emotion_circuits.directions import check_position

    if by == "components":
        if layers is not None or position is not None or activations_dir is not None:
            raise InputError("Components are compared over all layers, at places of their own, without activations.",
                             next_step="leave out --layers, --position and --activations")  # fmt: skip
        default = store_options.folder / "cross_model" / f"{_slugs(model, model2)}_components.parquet"
        target = _table_path(output, default)
        found = compare_components(model, model2, model_options, store_options, draws, seed)
        show_components(found, target, json, f"{model} and {model2}, by components")
        return
    where = check_position(position or ("emotion-token" if by == "token-vectors" else DEFAULT_POSITION))
    name = f"{_slugs(model, model2)}_{by.replace('-', '_')}.parquet"
    target = _table_path(output, store_options.folder / "cross_model" / name)
    a, b = (recorded(each, None, store_options, activations_dir) for each in (model, model2))
    rows: list[PairMeasure]
    if by in ("vectors", "token-vectors"):
        rows = direction_rows(a, b, where, layers=layers, n_draws=draws, seed=seed)
    elif by == "subspaces":
        rows = overlap_rows(a, b, where, "between-class", [3], layers=layers, n_permutations=draws, seed=seed)
    else:
        rows = space_rows(a, b, where, by, layers=layers, n_draws=draws, seed=seed)  # type: ignore[arg-type]
    _finish(rows, target, json, f"{model} and {model2}, {where}, by {by}")


def _finish(rows: list[PairMeasure], target: Path, json: bool, title: str) -> None:
    write_pairs(target, rows)
    table = row_table(rows, title=title, hide=HIDDEN, notes=(f"n counts scenarios. Written to {target}",))
    emit({"file": target, "measures": rows}, json, table=table)


def _kind_for(kind: str, k: int) -> str:
    """Class means and Fisher's directions span three dimensions at most; more are paired differences."""
    if kind in ("between-class", "lda") and k > 3:
        note(f"{kind} subspaces have at most 3 dimensions; k = {k} takes the paired differences")
        return "paired"
    return kind


def _table_path(output: Path | None, default: Path) -> Path:
    path = default if output is None else output_path(output, ".parquet", ".json")
    check_writable(path)
    return path


def _slugs(a: str, b: str) -> str:
    from emotion_circuits.models import ModelName

    return f"{ModelName.parse(a).slug}_and_{ModelName.parse(b).slug}"
