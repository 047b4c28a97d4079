"""The vectors command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from emotion_circuits._row_tables import row_table
from emotion_circuits.cli._inputs import DEFAULT_POSITION, KindName, check_writable
from emotion_circuits.cli._options import STORE_OPTIONS, Json, Seed, StoreOptions, command, flag
from emotion_circuits.cli._output import emit, layer_name
from emotion_circuits.cli._paths import output_path
from emotion_circuits.errors import InputError

if TYPE_CHECKING:
    from emotion_circuits.directions import Activations, DirectionSet
    from emotion_circuits.statistics import Measure


Show = Literal["stability", "cleanings", "foils", "intensity"]
NOTES: dict[Show, str] = {
    "stability": "n counts scenarios; chance: labels permuted within them.",
    "cleanings": "Each at the layer that implicit development texts choose; n counts scenarios.",
    "foils": "Shares: of test texts over a threshold halfway between emotion and neutral of development texts.",
    "intensity": "Mean over series of the correlation of projection and step; chance: steps permuted within series.",
}


@command(example="vectors --activations-dir activations/gpt2 --output gpt2_vectors.safetensors", writes="output")
def vectors(
    *,
    activations_dir: Annotated[
        Path | None, flag("--activations", help="What `extract` wrote; by default the model's in the results folder.")
    ] = None,
    model: Annotated[str | None, flag("--model1", help="Whose activations in the results folder.")] = None,
    output: Annotated[Path | None, flag(help="File to write, .safetensors; by default in the results folder.")] = None,
    position: Annotated[
        str, flag(help="Where texts are read: sentence-end, last-content, emotion-token or mean.")
    ] = DEFAULT_POSITION,
    kinds: Annotated[
        tuple[KindName, ...],
        flag(
            "--kind",
            help="Which to fit beside `specific`; by default all, pca and lda at the position mean only.",
            show_default=False,
        ),
    ] = (),
    cleaning: Annotated[
        Literal["components", "standardised", "whitened", "none"],
        flag(help="What is done to activations before: generic text's top components are projected out, or rescaling."),
    ] = "components",
    share: Annotated[
        float | None, flag(help="Of generic text's variance, for `--cleaning components`: 0 to 0.7; 0.5 by default.")
    ] = None,
    show: Annotated[
        Show, flag(help="Which table: how stable directions are, every cleaning side by side, foils, or intensity.")
    ] = "stability",
    seed: Seed = 0,
    store_options: StoreOptions = STORE_OPTIONS,
    json: Json = False,
) -> None:
    """Find every emotion's directions, and how good they are.

    Per emotion and layer: the specific direction's norm (in spreads of the layer's generic text) and
    its split-half cosine, each beside what labels permuted within scenarios give; with `--show`, AUROC
    by cleaning, texts that hold an emotion's word without the emotion, or series in which an emotion
    grows. Needs no model.
    """
    from emotion_circuits.directions import (
        DEFAULT_SHARE,
        check_position,
        default_kinds,
        fit_with_layers,
        load_activations,
        load_generic,
        save_directions,
    )
    from emotion_circuits.models import ModelName

    activations_dir = activations_dir or _of_model(model, store_options)
    if share is not None and cleaning != "components":
        raise InputError("A share belongs to --cleaning components.", found=f"--cleaning {cleaning}")
    where = check_position(position)
    if output is not None:
        output = output_path(output, ".safetensors")
        check_writable(output)
    explicit = load_activations(activations_dir)
    if model is not None and str(ModelName.parse(model)) != explicit.source.model:
        raise InputError("These activations come from another model.", found=explicit.source.model, accepted=model)
    if output is None:
        name = f"{ModelName.parse(explicit.source.model).slug}_{where}.safetensors"
        output = store_options.folder / "emotion_vectors" / name
        check_writable(output)
    implicit = _beside(explicit, activations_dir, "implicit")
    fitted = fit_with_layers(
        explicit, where, load_generic(activations_dir), implicit=implicit,
        spoken=_beside(explicit, activations_dir, "spoken"), ordinary=_ordinary(activations_dir),
        kinds=tuple(dict.fromkeys(("specific", *(kinds or default_kinds(where))))), cleaning=cleaning,
        share=DEFAULT_SHARE if share is None else share,
    )  # fmt: skip
    rows = _measures(show, explicit, fitted, activations_dir, seed)
    save_directions(fitted, output)
    result = {"file": output, "model": fitted.source.model, "position": where, "kinds": tuple(fitted.vectors),
              "cleaned": fitted.cleaned, "chosen_layer": fitted.chosen_layer, "measures": rows}  # fmt: skip
    chosen = ", ".join(f"{emotion} {layer_name(layer)}" for emotion, layer in fitted.chosen_layer.items())
    layers = f"Layers chosen on development scenarios: {chosen or 'none, there are too few'}"
    notes = (NOTES[show], layers, f"Written to {output}")
    title = f"{fitted.source.model}, {where}, {show}"
    emit(result, json, table=row_table(rows, title=title, hide=("model", "position"), wide=True, notes=notes))


def _of_model(model: str | None, store: StoreOptions) -> Path:
    """Where `extract` writes a model's activations.

    Raises:
        InputError: no model is named.
    """
    from emotion_circuits.models import ModelName

    if model is None:
        raise InputError("Neither activations nor a model were named.", next_step="give --activations-dir")
    return store.folder / "activations" / ModelName.parse(model).slug


def _measures(show: Show, explicit: Activations, fitted: DirectionSet, folder: Path, seed: int) -> list[Measure]:
    from emotion_circuits.directions import cleaning_rows, foil_rows, intensity_rows, stability_rows

    if show == "stability":
        return stability_rows(explicit, fitted, seed=seed)
    if show == "cleanings":
        implicit = _beside(explicit, folder, "implicit")
        return cleaning_rows(explicit, implicit, fitted.position, fitted.generic, seed=seed)
    if show == "foils":
        implicit = _beside(explicit, folder, "implicit")
        return foil_rows(explicit, implicit, _beside(explicit, folder, "foils"), fitted, seed)
    return intensity_rows(_beside(explicit, folder, "intensity"), fitted, explicit.data, seed=seed)


def _ordinary(folder: Path) -> Activations | None:
    """Activations of generic texts, if `extract` has recorded them."""
    from emotion_circuits.directions import load_activations

    return load_activations(folder / "ordinary") if (folder / "ordinary").is_dir() else None


def _beside(explicit: Activations, folder: Path, name: str) -> Activations:
    """Activations of the bundled texts of the same classes that `extract` writes beside a data set's; of none where
    there are none.

    Raises:
        InputError: they are of another model or run.
    """
    from emotion_circuits.directions import load_activations
    from emotion_circuits.prompts import NEUTRAL

    if not (folder / name).is_dir():
        return explicit.none(name)
    found = load_activations(folder / name)
    if found.source != explicit.source:
        raise InputError(f"The {name} texts were recorded in another model or run.", found=folder)
    found = found.only([text.emotion in explicit.data.classes for text in found.data])
    return found if set(found.data.classes) - {NEUTRAL} else explicit.none(name)
