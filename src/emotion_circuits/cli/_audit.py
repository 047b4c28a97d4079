"""The audit command."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

from emotion_circuits.cli._inputs import check_writable
from emotion_circuits.cli._options import STORE_OPTIONS, Json, Seed, StoreOptions, command, flag
from emotion_circuits.cli._output import Table, emit, range_cell
from emotion_circuits.cli._pairs import recorded
from emotion_circuits.cli._progress import progress

if TYPE_CHECKING:
    import pandas as pd

HEADS = ("metric", "earlier project", "your models", "noise", "95 % of noise", "chance", "ceiling", "verdict")


@command(example="audit --models reference/gpt2 reference/gpt-neox --layers 2 4", writes="results")
def audit(
    *,
    models: Annotated[
        tuple[str, ...] | None,
        flag("--model", help="Whose activations in the results folder; all trained models there by default."),
    ] = None,
    layers: Annotated[
        tuple[int, ...] | None,
        flag(help="Blocks, counted from 0; by default a quarter, half and three quarters of the depth.", at_least=0),
    ] = None,
    seed: Seed = 0,
    store_options: StoreOptions = STORE_OPTIONS,
    json: Json = False,
) -> None:
    """Compute the earlier project's numbers on your models, and on noise.

    Every metric that it reported, by its own formula, beside what independent noise of the same shape
    gives, chance, the most it can be, and what to use instead. A metric by which noise lies far
    above chance is an artefact, whatever models give. Needs activations, no model.
    """
    import emotion_circuits as ec
    from emotion_circuits._files import write_table
    from emotion_circuits.directions import load_activations
    from emotion_circuits.report import audit_picture, write_pictures

    folder = store_options.folder
    file = folder / "cross_model" / "audit.parquet"
    check_writable(file)
    places = (path.parent for path in folder.glob("activations/*/activations_neutral.safetensors"))
    trained = sorted(place for place in places if "init=random" not in place.name)
    named = [recorded(name, None, store_options) for name in dict.fromkeys(models or ())]
    found = ec.audit(named or [*map(load_activations, trained)], layers=layers, seed=seed, progress=progress)
    write_table(file, found)
    picture = audit_picture(found)
    figures = [] if picture is None else write_pictures([picture], folder / "plots")
    rows = found.astype(object).where(found.notna(), None).to_dict("records")
    instead = found.metric.isin(found.corrected_statistic)
    parts = {"The earlier project's metrics": found[~instead], "What to use instead": found[instead]}
    for title, part in [*parts.items()][: 1 if json else None]:
        lines = [_line(metric, of) for metric, of in part.groupby("metric", sort=False)]
        notes = [f"{m}: {note}." for m, note in dict.fromkeys(zip(part.metric, part.note, strict=True)) if note]
        emit({"rows": rows, "file": file, "figures": figures}, json, table=Table(HEADS, lines, title, notes))


def _line(metric: object, of: pd.DataFrame) -> tuple[object, ...]:
    row, counts = of.iloc[0], Counter(of.verdict)
    verdict = ", ".join(v if len(counts) == 1 else f"{v} ({n} of {len(of)})" for v, n in counts.items())
    spans: list[Any] = [(row.seed_low, row.seed_value, row.seed_high), of.on_models, (row.on_noise,),
                        (row.noise_low, row.noise_high), (row.chance,), (row.ceiling,)]  # fmt: skip
    return (metric, *(range_cell(*span) for span in spans), verdict)
