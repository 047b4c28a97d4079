"""The vectors command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from emotion_circuits.cli._inputs import DEFAULT_POSITION, check_writable
from emotion_circuits.cli._options import STORE_OPTIONS, Json, Seed, StoreOptions, command, flag
from emotion_circuits.cli._output import Table, emit
from emotion_circuits.cli._paths import output_path
from emotion_circuits.errors import InputError

if TYPE_CHECKING:
    from emotion_circuits.directions import DirectionSet
    from emotion_circuits.statistics import Measure


@command(example="vectors --activations-dir activations/gpt2 --output gpt2_vectors.safetensors")
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
        tuple[Literal["specific", "matched", "probe"], ...],
        flag("--kind", help="Which to fit beside `specific`, which is always fitted.", show_default=False),
    ] = ("specific", "matched", "probe"),
    seed: Seed = 0,
    store_options: StoreOptions = STORE_OPTIONS,
    json: Json = False,
) -> None:
    """Find every emotion's directions, and how stable they are.

    Per emotion and layer: the specific direction's norm (over the layer's median residual norm) and
    its split-half cosine, each beside what labels permuted within scenarios give. The layer marked *
    was chosen on development scenarios. Needs no model.
    """
    from emotion_circuits.directions import (
        check_position,
        fit_with_layers,
        load_activations,
        load_generic,
        save_directions,
        stability_rows,
    )
    from emotion_circuits.models import ModelName

    if activations_dir is None:
        if model is None:
            raise InputError("Neither activations nor a model were named.", next_step="give --activations-dir")
        activations_dir = store_options.folder / "activations" / ModelName.parse(model).slug
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
    implicit = load_activations(activations_dir / "implicit") if (activations_dir / "implicit").is_dir() else None
    if implicit is not None and implicit.source != explicit.source:
        raise InputError("The implicit texts were recorded in another model or run.", found=activations_dir)
    fitted = fit_with_layers(
        explicit, where, load_generic(activations_dir), implicit=implicit,
        kinds=tuple(dict.fromkeys(("specific", *kinds))),
    )  # fmt: skip
    rows = stability_rows(explicit, fitted, seed=seed)
    save_directions(fitted, output)
    result = {"file": output, "model": fitted.source.model, "position": where, "kinds": tuple(fitted.vectors),
              "chosen_layer": fitted.chosen_layer, "measures": rows}  # fmt: skip
    emit(result, json, table=_table(fitted, rows, output))


def _table(fitted: DirectionSet, rows: list[Measure], output: Path) -> Table:
    from emotion_circuits.directions import RELATIVE_NORM, SPLIT_HALF

    by_key = {(row.emotion, row.layer, row.statistic): row for row in rows}
    columns = ("emotion", "layer", "", "norm", "norm by chance", "p norm", "split-half", "95 % interval", "chance",
               "by chance, 95 %", "ceiling", "p", "n")  # fmt: skip
    lines = []
    for emotion in fitted.emotions:
        for layer in range(-1, fitted.n_layers):
            norm, half = by_key[emotion, layer, RELATIVE_NORM], by_key[emotion, layer, SPLIT_HALF]
            chosen = "*" if fitted.chosen_layer.get(emotion) == layer else ""
            lines.append(
                (
                    emotion, "embed" if layer < 0 else str(layer), chosen,
                    f"{norm.value:.3f}", f"{norm.chance:.3f}", _p(norm.p),
                    _two(half.value), _band(half.ci_low, half.ci_high), _two(half.chance),
                    _band(half.null_low, half.null_high), _two(half.ceiling), _p(half.p), half.n_unique,
                )
            )  # fmt: skip
    unchosen = "" if fitted.chosen_layer else "; no layer chosen: too few development scenarios"
    notes = (
        f"* chosen on development scenarios{unchosen}. n counts scenarios; chance: labels permuted within them.",
        f"Written to {output}",
    )
    title = f"{fitted.source.model}, {fitted.position}, specific directions"
    return Table(columns, lines, title=title, notes=notes)


def _two(value: float) -> str:
    return "–" if value != value else f"{value:z.2f}"


def _p(value: float) -> str:
    return "–" if value != value else f"{value:.3f}"


def _band(low: float, high: float) -> str:
    return "–" if low != low else f"[{low:z.2f}, {high:z.2f}]"
