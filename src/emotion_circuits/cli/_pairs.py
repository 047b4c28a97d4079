"""What commands about two models read: recorded activations, and for maps the fit texts and untrained twins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from emotion_circuits.cli._errors import PROGRAM
from emotion_circuits.cli._options import ModelOptions, StoreOptions, flag
from emotion_circuits.cli._output import note
from emotion_circuits.cli._progress import progress
from emotion_circuits.errors import InputError

if TYPE_CHECKING:
    from emotion_circuits.comparison import PairMeasure, Side
    from emotion_circuits.directions import Activations, Source
    from emotion_circuits.prompts import Bank, Dataset

AnyLayers = Annotated[
    tuple[int, ...] | None, flag(help="Blocks of both models, -1 for embed; all by default.", at_least=-1)
]
Fit = Annotated[str, flag(help="Texts to fit on: neutral, generic, or generic+target (no evidence, for comparison).")]
Twins = Annotated[int, flag(help="Untrained twins of each model to compare with.", at_least=1)]
Draws = Annotated[int, flag(help="Draws of each null.", at_least=99)]


HIDDEN = ("model_a", "model_b", "position")
"""Of rows about two models, what a title says."""


def write_pairs(target: Path, rows: list[PairMeasure]) -> None:
    """Write rows about two models, as JSON or parquet."""
    from emotion_circuits._files import write_json, write_table
    from emotion_circuits.comparison import PairMeasure
    from emotion_circuits.statistics import rows_table

    if target.suffix.lower() == ".json":
        write_json(target, {"measures": rows})
    else:
        write_table(target, rows_table(PairMeasure, rows))


def recorded(name: str, folder: Path | None, store: StoreOptions, root: Path | None = None) -> Activations:
    """A model's recorded activations.

    Args:
        name: the model.
        folder: where they lie; None for the results folder.
        store: the results folder.
        root: a folder that holds one folder per model, by full or short name, in place of the results folder.

    Raises:
        InputError: there are none.
    """
    from emotion_circuits.directions import load_activations
    from emotion_circuits.models import ModelName

    slug = ModelName.parse(name).slug
    if folder is None:
        folder = (root or store.folder / "activations") / slug
        short = None if root is None else root / name.rpartition("/")[2]
        if short is not None and not folder.is_dir() and short.is_dir():
            folder = short
    if not any(folder.glob("activations_*.safetensors")):
        raise InputError(
            f"There are no activations of {name} yet.",
            found=f"nothing in {folder}",
            next_step=f"{PROGRAM} extract --model {name}" + ("" if root is None else f" --output {folder}"),
        )
    return load_activations(folder)


def fit_data(
    bank: Bank, name: str, n: int = 1000, own: Path | None = None, judged: Activations | None = None
) -> Dataset:
    """The texts that maps are fitted on: bundled ones, or the user's own.

    Texts that the map is judged on cannot teach it: those are left out of the user's, and where they are all there is,
    the bundled neutral ones are taken.

    Raises:
        InputError: no such texts, a file that cannot be read, or fewer than ten texts left.
    """
    from emotion_circuits.cli._inputs import text_rows
    from emotion_circuits.comparison import fit_texts, own_fit_texts

    if own is None:
        return fit_texts(bank, name, n)
    given = [row.text for row in text_rows(own)]
    seen = set() if judged is None else {text.text for text in judged.data}
    fresh = [text for text in dict.fromkeys(given) if text not in seen]
    left_out = len(given) - len(fresh)
    if left_out:
        note(f"{left_out} of the {len(given)} texts of {own} are texts that the map is judged on and are left out")
    if not fresh:
        note(f"the map is fitted on {n} bundled neutral texts instead")
        return fit_texts(bank, name, n)
    return own_fit_texts(fresh)


def sides(
    explicit: list[Activations], fit: Dataset, n_twins: int, store: StoreOptions, options: ModelOptions
) -> list[tuple[Side, list[Side]]]:
    """Each model with its untrained twins, recording the texts that maps are fitted on where that was not done yet.

    Raises:
        InputError: a model that cannot be loaded.
    """
    from emotion_circuits.comparison import Side, record_side, twins_of
    from emotion_circuits.directions import save_activations
    from emotion_circuits.engine import load_verified
    from emotion_circuits.models import ModelName

    found = []
    for own in explicit:
        names = [own.source.model, *twins_of(own.source.model, range(n_twins))]
        loading = options.loading(own.source)
        made: list[Side] = []
        for name in names:
            folder = store.folder / "activations" / ModelName.parse(name).slug / fit.name
            same = own.source if name == names[0] else _as_now(own.source, name)
            fitted = _kept(folder, fit.hash, same)
            texts = own if name == names[0] else _kept(folder / "explicit", own.data.hash, same)
            if fitted is None or texts is None:
                lm = load_verified(name, **loading)
                with progress(f"{name}: texts to fit maps on", len(fit)) as done:
                    side = record_side(lm, own.data if texts is None else texts, fit, on_batch=done)
                save_activations(side.fit, folder)
                if texts is None:
                    save_activations(side.explicit, folder / "explicit")
            else:
                side = Side(fitted, texts)
            made.append(side)
        found.append((made[0], made[1:]))
    return found


def _as_now(source: Source, name: str) -> Source:
    """A twin's source, recorded now as its model's activations were; of a model that is gone, any revision."""
    from emotion_circuits.models import is_available, revision_of

    revision = revision_of(name) if is_available(name) else ""
    return source.model_copy(update={"model": name, "revision": revision})


def _kept(folder: Path, data_hash: str, source: Source) -> Activations | None:
    """Activations on exactly these texts, of this model as it is, or None."""
    from emotion_circuits.directions import load_activations

    if not any(folder.glob("activations_*.safetensors")):
        return None
    found = load_activations(folder)
    if found.data.hash != data_hash:
        note(f"{folder} holds other texts and is recorded again")
        return None
    if found.source.bos != source.bos or source.revision not in ("", found.source.revision):
        note(f"{folder} comes from another model or run and is recorded again")
        return None
    return found
