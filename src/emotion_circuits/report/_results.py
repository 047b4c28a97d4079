"""What a results folder holds, read once and checked; whatever is missing becomes a sentence instead of a crash."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from emotion_circuits._files import read_json
from emotion_circuits.directions import POSITIONS, load_directions
from emotion_circuits.errors import InputError
from emotion_circuits.models import ModelName
from emotion_circuits.prompts import bundled_emotions
from emotion_circuits.report._circuit_file import CircuitFile
from emotion_circuits.report._circuit_section import circuits_of
from emotion_circuits.report._head_results import HeadResults, read_heads
from emotion_circuits.report._labels import read_table
from emotion_circuits.report._maps import ARROW, PairResults, read_pairs
from emotion_circuits.report._methods_section import METHODS_FILE, read_methods
from emotion_circuits.report._texts import WrittenTexts, read_texts
from emotion_circuits.statistics import Claim, Measure, read_claims

if TYPE_CHECKING:
    import pandas as pd

    from emotion_circuits.components import MethodRow

CLAIM_POSITION = "mean"
"""Claims about separability and stability are made at this position."""
# Rendering must not change what it describes, and times differ between equal studies.
_OWN_STAGE = "report"
_TIMES_AND_PLACES = ("results", "seconds", "finished")


def in_order(emotions: Iterable[str]) -> tuple[str, ...]:
    """Bundled emotions in their order, then others by name."""
    found, bundled = set(emotions), bundled_emotions()
    return tuple(e for e in bundled if e in found) + tuple(sorted(found - set(bundled)))


class Row(NamedTuple):
    """One measured number at a place on an x axis."""

    x: float
    measure: Measure


class Table(NamedTuple):
    """One kind of table: its attribute, where it lies, its columns, and what is lost without it."""

    name: str
    path: str
    columns: tuple[str, ...]
    lost: str


_TABLES = (
    Table("quality", "emotion_vectors/{}_quality.parquet", Measure._fields, "how good the directions are by layer"),
    Table("cosines", "emotion_vectors/{}_cosines.parquet", Measure._fields, "cosines between emotions"),
    Table("sweep", "patching/{}_sweep.parquet", Measure._fields, "the steering sweep on development contexts"),
    Table("swap", "patching/{}_swap.parquet", Measure._fields, "where the emotion stands, by interchange"),
    Table("steering", "patching/{}_steering.parquet", Measure._fields, "steering on test contexts"),
    Table(
        "controls",
        "patching/{}_controls.parquet",
        ("model", "emotion", "layer", "dose", "kind", "slope"),
        "the control directions",
    ),
)
# Nothing is said where these are missing: a study need not write them.
_OWN_SWEEPS = tuple(
    Table(position, f"patching/{{}}_{position}_own_sweep.parquet", Measure._fields, "") for position in POSITIONS
)
_OPTIONAL = (*_OWN_SWEEPS, Table("methods", METHODS_FILE, ("model",), ""))


@dataclass(frozen=True, eq=False)
class ModelResults:
    """One model's tables; None where there is none.

    Attributes:
        name, slug: the model, and its name in file names.
        measures: table → its rows.
        controls: one row per control direction.
        chosen: position → emotion → the layer chosen on development scenarios.
        missing: a sentence for every table that is not there.
        claims: about this model.
        written: what it wrote.
        own_sweeps: rows of the tables that the command `sweep` wrote, by position.
        methods: the ways of changing tone beside each other.
        heads: scores of its heads and units; None where none were screened.
        circuits: its circuits, where they were computed.
    """

    name: str
    slug: str
    measures: Mapping[str, tuple[Measure, ...]]
    controls: pd.DataFrame | None
    chosen: Mapping[str, Mapping[str, int]]
    missing: tuple[str, ...]
    claims: tuple[Claim, ...]
    written: WrittenTexts | None = None
    own_sweeps: tuple[Measure, ...] = ()
    methods: tuple[MethodRow, ...] = ()
    heads: HeadResults | None = None
    circuits: CircuitFile | None = None

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
        """Single emotions in a table: bundled ones in their order, then others by name."""
        found = {m.emotion for m in self.measures.get(table, ())} - {"all"}
        return in_order(e for e in found if "–" not in e)

    def positions(self, table: str, statistic: str) -> tuple[str, ...]:
        """Positions with that statistic, the one that carries the claims first."""
        found = {m.position for m in self.measures.get(table, ()) if m.statistic == statistic}
        order = (CLAIM_POSITION, *(p for p in POSITIONS if p != CLAIM_POSITION))
        return tuple(p for p in order if p in found) + tuple(sorted(found - set(order)))

    def claim(self, identifier: str, emotion: str) -> Claim | None:
        """The model's claim of that kind about an emotion."""
        return next((c for c in self.claims if c.id == identifier and c.emotion == emotion), None)


class StageRecord(NamedTuple):
    """What made some files: the stage, its key, its parameters and the packages' versions."""

    name: str
    key: str
    parameters: Mapping[str, Any]
    versions: Mapping[str, str]
    n_files: int


@dataclass(frozen=True, eq=False)
class Results:
    """A results folder.

    Attributes:
        profile: the folder's name.
        claims: all of them, in the file's order.
        models: those with claims; all with tables where there are no claims.
        pairs: maps between models.
        stages: from the manifest, without times.
        notes: sentences about what is missing or left out.
    """

    folder: Path
    profile: str
    claims: tuple[Claim, ...]
    models: tuple[ModelResults, ...]
    stages: tuple[StageRecord, ...]
    notes: tuple[str, ...] = field(default=())
    pairs: tuple[PairResults, ...] = field(default=())

    @property
    def emotions(self) -> tuple[str, ...]:
        """Those that anything here is about, bundled ones first."""
        in_tables = {e for model in self.models for table in model.measures for e in model.emotions(table)}
        return in_order(in_tables | {c.emotion for c in self.claims if c.emotion} - {"all"})


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
    models = tuple(_read_model(folder, n, on_disk.get(n) or _slug(n), claims) for n in names)
    pairs = read_pairs(folder, [c.model for c in claims])
    return Results(folder, folder.resolve().name, claims, models, stages, tuple(notes), pairs)


def _slug(name: str) -> str:
    try:
        return ModelName.parse(name).slug
    except InputError:  # claims may name what is no model here; a name must still not lead out of the folder
        return "".join(c if c.isalnum() or c in "-_." else "_" for c in name).lstrip(".") or "model"


def _models_with_tables(folder: Path) -> dict[str, str]:
    """Model → slug, from the tables themselves: a slug does not tell the name of a local folder."""
    found = {}
    for table in (*_OPTIONAL, *_TABLES):
        for path in sorted(folder.glob(table.path.format("*"))):
            if table.name == "sweep" and path.name.endswith("_own_sweep.parquet"):
                continue
            frame = _checked(path, table)
            if len(frame):
                found[str(frame["model"].iloc[0])] = path.name.removesuffix(Path(table.path.format("")).name)
    return dict(sorted(found.items()))


def _checked(path: Path, table: Table) -> pd.DataFrame:
    frame = read_table(path)
    absent = [c for c in table.columns if c not in frame.columns]
    if absent:
        raise InputError(
            f"{path} is not a table of this version.",
            found=f"no column {absent[0]}",
            accepted=", ".join(table.columns),
            next_step="run the study again",
        )
    return frame


def _read_model(folder: Path, name: str, slug: str, claims: Sequence[Claim]) -> ModelResults:
    measures: dict[str, tuple[Measure, ...]] = {}
    controls = None
    missing = []
    for table in _TABLES:
        relative = table.path.format(slug)
        if not (folder / relative).is_file():
            missing.append(f"There is no {relative}, so {table.lost} cannot be shown.")
            continue
        frame = _checked(folder / relative, table)
        frame = frame[frame["model"] == name]
        if table.name == "controls":
            controls = frame
        else:
            values = frame[list(Measure._fields)].itertuples(index=False, name=None)
            measures[table.name] = tuple(Measure._make(v) for v in values)
    own = tuple(c for c in claims if c.model == name)
    written = read_texts(folder, slug)
    if written is None:
        missing.append(f"There are no texts of {name}, so what it writes when steered cannot be shown.")
    chosen = _chosen_layers(folder, slug, own)
    return ModelResults(
        name, slug, measures, controls, chosen, tuple(missing), own, written,
        _own_sweeps(folder, name, slug), read_methods(folder, name, slug), read_heads(folder, slug),
        circuits_of(folder, slug),
    )  # fmt: skip


def _own_sweeps(folder: Path, name: str, slug: str) -> tuple[Measure, ...]:
    rows: list[Measure] = []
    for table in _OWN_SWEEPS:
        path = folder / table.path.format(slug)
        if path.is_file():
            frame = _checked(path, table)
            values = frame[frame["model"] == name][list(Measure._fields)].itertuples(index=False, name=None)
            rows += [Measure._make(v) for v in values]
    return tuple(rows)


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
