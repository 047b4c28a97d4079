"""What a results folder holds, read once and checked; whatever is missing becomes a sentence instead of a crash."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from emotion_circuits import _files
from emotion_circuits._files import read_json
from emotion_circuits.directions import GENERIC_FILE, POSITIONS, energy_words, load_directions, load_generic
from emotion_circuits.errors import InputError
from emotion_circuits.models import ModelName, model_label
from emotion_circuits.prompts import kept_bank
from emotion_circuits.report._style import Looks, looks_of
from emotion_circuits.statistics import Claim, Measure, read_claims

if TYPE_CHECKING:
    import pandas as pd

ARROW = " → "
CLAIM_POSITION = "mean"
"""Claims about separability and stability are made at this position."""
# Rendering must not change what it describes, and times differ between equal studies.
_OWN_STAGE = "report"
_TIMES_AND_PLACES = ("results", "seconds", "finished")


class Table(NamedTuple):
    """One kind of table of measures: its name, where it lies, and what is lost without it."""

    name: str
    path: str
    lost: str


_TABLES = (
    Table("quality", "emotion_vectors/{}_quality.parquet", "how good the directions are by layer"),
    Table("cosines", "emotion_vectors/{}_cosines.parquet", "cosines between emotions"),
    Table("sweep", "patching/{}_sweep.parquet", "the steering sweep on development contexts"),
    Table("swap", "patching/{}_swap.parquet", "where the emotion stands, by interchange"),
    Table("steering", "patching/{}_steering.parquet", "steering on test contexts"),
)
CONTROLS = "patching/{}_controls.parquet"
METHODS = "patching/{}_methods.parquet"
TEXTS = ("patching/{}_texts.jsonl", "patching/{}_text_scores.parquet")
OWN_SWEEPS = tuple(f"patching/{{}}_{position}_own_sweep.parquet" for position in POSITIONS)

RowType = TypeVar("RowType", bound=tuple[Any, ...])


def read_table(path: Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    """A table with models under the names that claims give them.

    Raises:
        InputError: it cannot be read, or lacks one of the columns.
    """
    frame = _files.read_table(path)
    absent = [c for c in columns if c not in frame.columns]
    if absent:
        raise InputError(
            f"{path} is not a table of this version.", found=f"no column {absent[0]}", accepted=", ".join(columns),
            next_step="make it again",
        )  # fmt: skip
    for column in frame.columns.intersection(["model", "model_a", "model_b"]):
        frame[column] = frame[column].map({name: model_label(name) for name in frame[column].unique()})
    return frame


def read_rows(path: Path, row: type[RowType], model: str | None = None) -> tuple[RowType, ...]:
    """A table's rows, of one model where it is named; none where there is no such file.

    Raises:
        InputError: as from `read_table`.
    """
    if not path.is_file():
        return ()
    fields: tuple[str, ...] = row._fields  # type: ignore[attr-defined]
    frame = read_table(path, fields)
    if model is not None:
        frame = frame[frame["model"] == model]
    return tuple(row(*values) for values in frame[list(fields)].itertuples(index=False, name=None))


@dataclass(frozen=True, eq=False)
class ModelResults:
    """One model's tables of measures, and where its other files lie.

    `chosen` is position → emotion → the layer chosen on development scenarios; `missing` has a sentence for every table
    that is not there.
    """

    folder: Path
    name: str
    slug: str
    measures: Mapping[str, tuple[Measure, ...]]
    chosen: Mapping[str, Mapping[str, int]]
    missing: tuple[str, ...]
    claims: tuple[Claim, ...]
    looks: Looks

    def file(self, path: str) -> Path:
        """One of its files; `path` holds {} for its slug."""
        return self.folder / path.format(self.slug)

    def energy(self) -> list[str]:
        """What its mean and one dimension hold of its states' squared length; nothing where recordings were deleted."""
        folder = self.folder / "activations" / self.slug
        return energy_words(load_generic(folder)) if (folder / GENERIC_FILE).is_file() else []

    def rows(
        self, table: str, statistic: str, *, emotion: str | None = None, position: str | None = None, kind: str = ""
    ) -> list[Measure]:
        """Rows of one statistic whose kind starts with `kind`, by layer."""
        found = [
            m
            for m in self.measures.get(table, ())
            if m.statistic == statistic
            and m.kind.startswith(kind)
            and emotion in (None, m.emotion)
            and position in (None, m.position)
            and math.isfinite(m.value)
        ]
        return sorted(found, key=lambda m: (m.layer, m.kind))

    def emotions(self, table: str) -> tuple[str, ...]:
        """Single emotions in a table, in the bank's order, then others by name."""
        found = {m.emotion for m in self.measures.get(table, ())} - {"all"}
        return self.looks.in_order(e for e in found if "–" not in e)

    def positions(self, table: str, statistic: str) -> tuple[str, ...]:
        """Positions with that statistic, the one that carries the claims first."""
        return by_position(m.position for m in self.measures.get(table, ()) if m.statistic == statistic)

    def claim(self, identifier: str, emotion: str) -> Claim | None:
        """The model's claim of that kind about an emotion."""
        return next((c for c in self.claims if c.id == identifier and c.emotion == emotion), None)


def by_position(found: Any) -> tuple[str, ...]:
    """Positions, the one that carries the claims first, then in the project's order, then others by name."""
    names, order = set(found), dict.fromkeys((CLAIM_POSITION, *POSITIONS))
    return tuple(p for p in order if p in names) + tuple(sorted(names - set(order)))


class StageRecord(NamedTuple):
    """What made some files: the stage, its key, its parameters and the packages' versions."""

    name: str
    key: str
    parameters: Mapping[str, Any]
    versions: Mapping[str, str]
    n_files: int


@dataclass(frozen=True, eq=False)
class Results:
    """A results folder: models with claims, all with tables where there are no claims; stages without times.

    `notes` are sentences about what is missing or left out.
    """

    folder: Path
    profile: str
    claims: tuple[Claim, ...]
    models: tuple[ModelResults, ...]
    stages: tuple[StageRecord, ...]
    notes: tuple[str, ...]
    looks: Looks

    @property
    def emotions(self) -> tuple[str, ...]:
        """Those that anything here is about."""
        in_tables = {e for model in self.models for table in model.measures for e in model.emotions(table)}
        return self.looks.in_order(in_tables | {c.emotion for c in self.claims if c.emotion} - {"all"})


def read_results(folder: Path) -> Results:
    """Read a results folder.

    Raises:
        InputError: no such folder, or a file that is there but cannot be read or has another schema.
    """
    if not folder.is_dir():
        raise InputError(f"No results folder {folder}.", next_step="run a study first, or name its folder")
    notes = []
    claims: tuple[Claim, ...] = ()
    if (folder / "claims.json").exists():
        claims = read_claims(folder / "claims.json")
    else:
        notes.append("There is no claims.json, so nothing here has a verdict: the study has not been judged.")
    on_disk = _models_with_tables(folder)
    names = list(dict.fromkeys(c.model for c in claims if ARROW not in c.model)) or list(on_disk)
    left_out = sorted(set(on_disk) - set(names))
    if left_out:
        notes.append(f"The folder also holds tables of models that these claims do not cover: {', '.join(left_out)}.")
    stages = _read_stages(folder)
    if not stages:
        notes.append("There is no manifest.json with stages, so what made these files is not recorded.")
    slugs = {name: on_disk.get(name) or _slug(name) for name in names}
    tables = {name: _read_measures(folder, name, slug) for name, slug in slugs.items()}
    single = {
        m.emotion for found, _ in tables.values() for rows in found.values() for m in rows if "–" not in m.emotion
    }
    looks = looks_of(kept_bank(folder), (single | {c.emotion for c in claims if c.emotion}) - {"all"})
    models = []
    for name, slug in slugs.items():
        measures, missing = tables[name]
        own = tuple(c for c in claims if c.model == name)
        chosen = _chosen_layers(folder, slug, own)
        models.append(ModelResults(folder, name, slug, measures, chosen, tuple(missing), own, looks))
    return Results(folder, folder.resolve().name, claims, tuple(models), stages, tuple(notes), looks)


def _slug(name: str) -> str:
    try:
        return ModelName.parse(name).slug
    except InputError:  # claims may name what is no model here; a name must still not lead out of the folder
        return "".join(c if c.isalnum() or c in "-_." else "_" for c in name).lstrip(".") or "model"


def _models_with_tables(folder: Path) -> dict[str, str]:
    """Model → slug, from the tables themselves: a slug does not tell the name of a local folder."""
    found = {}
    for pattern in (*OWN_SWEEPS, METHODS, *(table.path for table in _TABLES), CONTROLS):
        for path in sorted(folder.glob(pattern.format("*"))):
            if pattern.endswith("{}_sweep.parquet") and path.name.endswith("_own_sweep.parquet"):
                continue
            frame = read_table(path, ("model",))
            if len(frame):
                found[str(frame["model"].iloc[0])] = path.name.removesuffix(Path(pattern.format("")).name)
    return dict(sorted(found.items()))


def _read_measures(folder: Path, name: str, slug: str) -> tuple[dict[str, tuple[Measure, ...]], list[str]]:
    """A model's tables, and a sentence for every file that is not there."""
    measures, missing = {}, []
    for table in _TABLES:
        path = folder / table.path.format(slug)
        if path.is_file():
            measures[table.name] = read_rows(path, Measure, name)
        else:
            missing.append(f"There is no {table.path.format(slug)}, so {table.lost} cannot be shown.")
    if not (folder / CONTROLS.format(slug)).is_file():
        missing.append(f"There is no {CONTROLS.format(slug)}, so the control directions cannot be shown.")
    if not all((folder / path.format(slug)).is_file() for path in TEXTS):
        missing.append(f"There are no texts of {name}, so what it writes when steered cannot be shown.")
    return measures, missing


def _chosen_layers(folder: Path, slug: str, claims: Sequence[Claim]) -> dict[str, dict[str, int]]:
    chosen: dict[str, dict[str, int]] = {}
    for position in POSITIONS:
        path = folder / "emotion_vectors" / f"{slug}_{position}.safetensors"
        if path.is_file():
            chosen[position] = dict(load_directions(path).chosen_layer)
    claimed = {c.emotion: c.layer for c in claims if c.id == "rq1.separability"}
    at_position = chosen.setdefault(CLAIM_POSITION, {})
    at_position.update({e: layer for e, layer in claimed.items() if e is not None and layer is not None})
    return chosen


def _read_stages(folder: Path) -> tuple[StageRecord, ...]:
    path = folder / "manifest.json"
    if not path.exists():
        return ()
    try:
        stages = read_json(path)["stages"].items()
        return tuple(
            StageRecord(
                str(name),
                str(entry["key"]),
                {k: v for k, v in sorted(entry["parameters"].items()) if k not in _TIMES_AND_PLACES},
                dict(sorted(entry["versions"].items())),
                len(entry["files"]),
            )
            for name, entry in sorted(stages)
            if name != _OWN_STAGE
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a manifest of this version.", found=f"no {error}") from error
