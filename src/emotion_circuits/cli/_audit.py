"""The audit command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from emotion_circuits.cli._errors import PROGRAM
from emotion_circuits.cli._inputs import check_writable
from emotion_circuits.cli._options import STORE_OPTIONS, Json, Seed, StoreOptions, command, flag
from emotion_circuits.cli._output import Table, emit
from emotion_circuits.cli._progress import progress
from emotion_circuits.errors import InputError

if TYPE_CHECKING:
    from emotion_circuits.audit import AuditRow
    from emotion_circuits.directions import Activations


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
    from emotion_circuits._files import write_table
    from emotion_circuits.audit import audit as run
    from emotion_circuits.audit import audit_table, n_steps
    from emotion_circuits.report import audit_picture, write_pictures

    folder = store_options.folder
    file = folder / "cross_model" / "audit.parquet"
    check_writable(file)
    activations = _activations(folder / "activations", models)
    with progress("Audit", n_steps(len(activations))) as done:
        report = run(activations, layers=layers, seed=seed, on_step=done)
    write_table(file, audit_table(report.rows))
    figures = [] if report.overlap is None else write_pictures([audit_picture(report.overlap)], folder / "plots")
    result = {"rows": report.rows, "file": file, "figures": figures}
    emit(result, json, table=_metrics_table(report.rows))
    if not json:
        emit(result, json, table=_corrected_table(report.rows, (file, *figures)))


def _activations(folder: Path, models: Sequence[str] | None) -> list[Activations]:
    """The models' activations in the results folder, in the order named."""
    from emotion_circuits.directions import load_activations
    from emotion_circuits.models import ModelName

    if models is not None:
        found = []
        for model in dict.fromkeys(models):
            place = folder / ModelName.parse(model).slug
            if not any(place.glob("activations_*.safetensors")):
                raise InputError(
                    f"There are no activations of {model} yet.",
                    found=f"no file {place}/activations_<class>.safetensors",
                    next_step=f"{PROGRAM} extract --model {model}, or {PROGRAM} study",
                )
            found.append(load_activations(place))
        return found
    places = sorted(path.parent for path in folder.glob("*/activations_neutral.safetensors"))
    loaded = [load_activations(place) for place in places if "init=random" not in place.name]
    if not loaded:
        raise InputError(
            "There are no activations to audit yet.",
            found=f"nothing in {folder}",
            next_step=f"{PROGRAM} extract --model reference/gpt2, or {PROGRAM} study",
        )
    return loaded


def _metrics_table(rows: Sequence[AuditRow]) -> Table:
    """One line per metric; models and pairs as a range."""
    columns = ("metric", "earlier project", "your models", "noise", "95 % of noise", "chance", "ceiling", "verdict")
    lines, notes = [], []
    for metric in dict.fromkeys(row.metric for row in rows):
        of_metric = [row for row in rows if row.metric == metric]
        row = of_metric[0]
        lines.append(
            (
                metric, _seed(row), _range([r.on_models for r in of_metric]), _short(row.on_noise),
                _band(row.noise_low, row.noise_high), _short(row.chance), _short(row.ceiling), _verdicts(of_metric),
            )
        )  # fmt: skip
        for text in dict.fromkeys(r.note for r in of_metric if r.note):
            notes.append(f"{metric}: {text}.")
    shapes = sorted({(r.n, r.d) for r in rows if r.n and r.d})
    shape = ", ".join(f"{n} texts × {d} dimensions" for n, d in shapes)
    draws = " or ".join(str(n) for n in sorted({r.n_noise for r in rows if r.n_noise}, reverse=True))
    first = (
        f"Noise: {draws} draws of {shape} for each class and model. Your models: mean over layers and emotions, "
        "least to greatest of pairs or models."
    )
    return Table(columns, lines, title="The earlier project's metrics", notes=(first, *notes, ""))


def _corrected_table(rows: Sequence[AuditRow], files: Sequence[Path]) -> Table:
    """One line per statistic to use instead."""
    columns = ("statistic", "your models", "noise", "95 % of noise", "chance", "verdict")
    lines = []
    for statistic in dict.fromkeys(
        r.corrected_statistic for r in rows if r.corrected_statistic and r.corrected_verdict
    ):
        # Several metrics have one statistic to use instead: take it from the first.
        metric = next(r.metric for r in rows if r.corrected_statistic == statistic)
        of_metric = [r for r in rows if r.metric == metric]
        row = of_metric[0]
        lines.append(
            (
                statistic, _range([r.corrected for r in of_metric]), _short(row.corrected_noise),
                _band(row.corrected_noise_low, row.corrected_noise_high), _short(row.corrected_chance),
                _counted([r.corrected_verdict or "no data" for r in of_metric]),
            )
        )  # fmt: skip
    notes = (
        "Between models, above chance means that they share something, as untrained ones may; `align` compares with"
        " those.",
    )
    return Table(columns, lines, title="What to use instead", notes=(*notes, *(f"Written to {path}" for path in files)))


def _verdicts(rows: Sequence[AuditRow]) -> str:
    return _counted([row.verdict for row in rows])


def _counted(verdicts: Sequence[str]) -> str:
    counts = Counter(verdicts)
    return verdicts[0] if len(counts) == 1 else ", ".join(f"{v} ({n} of {len(verdicts)})" for v, n in counts.items())


def _seed(row: AuditRow) -> str:
    low, high = row.seed_low, row.seed_high
    if low is None or high is None or _short(low) == _short(high):
        return _short(row.seed_value)
    return f"{_short(low)} … {_short(high)}"


def _range(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    low, high = _short(min(known)), _short(max(known))
    return low if low == high else f"{low} … {high}"


def _band(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"[{_short(low)}, {_short(high)}]"


def _short(value: float | None) -> str:
    """Three significant digits, at most four decimals."""
    if value is None:
        return "–"
    decimals = 4 if abs(value) < 0.0995 else 3 if abs(value) < 0.9995 else 2 if abs(value) < 99.5 else 0
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text
