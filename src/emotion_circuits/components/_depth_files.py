"""A model's profiles over depth in a results folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emotion_circuits._files import read_table, write_table
from emotion_circuits._parts import key_of
from emotion_circuits.components._depths import DepthProfiles, depth_measures, depth_profiles
from emotion_circuits.components._head_functions import head_functions, head_functions_table
from emotion_circuits.components._screen import Screen
from emotion_circuits.models import ModelName
from emotion_circuits.statistics import measures_table

_KEY = "emotion_circuits_key"


def depth_path(folder: Path, model: str) -> Path:
    """Where a model's profiles of every scenario lie."""
    return folder / "heads" / f"depth_values_{ModelName.parse(model).slug}.parquet"


def read_depths(folder: Path, model: str) -> DepthProfiles:
    """What `write_depths` has kept.

    Raises:
        InputError: there is nothing, or another table.
    """
    return DepthProfiles.of_table(read_table(depth_path(folder, model)))


def depths_are_of(folder: Path, model: str, revision: str, texts: str) -> bool:
    """Whether what `write_depths` has kept is of this revision of the model and of these texts (`Bank.hash`)."""
    path = depth_path(folder, model)
    return path.is_file() and read_table(path).attrs.get(_KEY) == key_of([revision, texts])


def write_depths(
    folder: Path, screens: Sequence[Screen], source: Mapping[str, Any], texts: str, *, seed: int = 0
) -> list[Path]:
    """Write a model's profiles over depth from its screens of heads and units.

    Args:
        folder: `results/<profile>`.
        screens: of one model, heads and units, one for each emotion, on bundled texts.
        seed: of everything random.
        source: which model, and how it was run.
        texts: `Bank.hash` of the texts.

    Returns:
        `heads/depth_values_<slug>.parquet` (every scenario), `heads/depths_<slug>.parquet` (measures by layer) and
        `heads/functions_<slug>.parquet` (what the best heads do).
    """
    profiles = depth_profiles(screens)
    slug = ModelName.parse(profiles.model).slug
    files = [
        depth_path(folder, profiles.model),
        *(folder / "heads" / f"{n}_{slug}.parquet" for n in ("depths", "functions")),
    ]
    table = profiles.table()
    table.attrs[_KEY] = key_of([source["revision"], texts])
    write_table(files[0], table, source=source)
    write_table(files[1], measures_table(depth_measures(profiles, seed=seed)), source=source)
    best = [row for s in screens if s.kind == "head" for row in head_functions(s, seed=seed)]
    write_table(files[2], head_functions_table(best), source=source)
    return files
