"""What `compare --by components` does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from emotion_circuits._row_tables import row_table
from emotion_circuits.cli._components import PairOptions, chosen_emotions, directions_if_any, load, outcome_for, unit_of
from emotion_circuits.cli._options import ModelOptions, StoreOptions
from emotion_circuits.cli._output import emit, note
from emotion_circuits.cli._pairs import HIDDEN, write_pairs
from emotion_circuits.cli._progress import counting

if TYPE_CHECKING:
    from emotion_circuits.comparison import PairMeasure
    from emotion_circuits.components import DepthProfiles, Screen
    from emotion_circuits.directions import DirectionSet
    from emotion_circuits.models import LoadedModel

HEADS_SHOWN = 3
LEAST_ORDERS = 9999
"""They cost a second, and fewer let p of peaked profiles wander."""
WRITES = "heads write"


class Compared(NamedTuple):
    """Rows about two models, and what the best heads of each do."""

    rows: list[PairMeasure]
    heads: list[dict[str, Any]]


def compare_components(
    model_a: str, model_b: str, model_options: ModelOptions, store: StoreOptions, draws: int, seed: int
) -> Compared:
    """Profiles over relative depth of both models, from the results folder or made now, and set side by side."""
    from emotion_circuits._files import read_table
    from emotion_circuits.comparison import component_rows
    from emotion_circuits.models import ModelName

    a, b = (_profiles(name, model_options, store, seed) for name in (model_a, model_b))
    heads: list[dict[str, Any]] = []
    for name in dict.fromkeys((model_a, model_b)):
        path = store.folder / "heads" / f"functions_{ModelName.parse(name).slug}.parquet"
        if path.is_file():
            heads += [{str(k): v for k, v in row.items()} for row in read_table(path).to_dict(orient="records")]
    return Compared(component_rows(a, b, n_draws=max(draws, LEAST_ORDERS), seed=seed), heads)


def show_components(found: Compared, target: Path, json: bool, title: str) -> None:
    """Write the rows, print them and the best heads."""
    from emotion_circuits.comparison import adjusted

    write_pairs(target, found.rows)
    q = adjusted(found.rows)
    rows = [{**row._asdict(), "q": q_value} for row, q_value in zip(found.rows, q, strict=True)]
    notes = [
        "layer: with the largest share, in both models. q: Benjamini and Hochberg over emotions and functions.",
        "n counts scenarios with a pair in both models. Descriptive: no claim rests on it.",
        *_best_heads(found.heads),
        f"Written to {target}",
    ]
    table = row_table(rows, title=title, hide=HIDDEN, heads={"kind": "function"}, notes=notes)
    emit({"file": target, "measures": found.rows, "heads": found.heads}, json, table=table)


def _best_heads(heads: list[dict[str, Any]]) -> list[str]:
    lines = []
    for model, emotion in dict.fromkeys((h["model"], h["emotion"]) for h in heads):
        own = [h for h in heads if (h["model"], h["emotion"]) == (model, emotion)][:HEADS_SHOWN]
        said = "; ".join(f"{h['layer']}:{h['head']} (depth {h['depth']:.2f}) {h['does']}" for h in own)
        lines.append(f"{model}, {emotion}: {said}")
    return lines


def _profiles(name: str, options: ModelOptions, store: StoreOptions, seed: int) -> DepthProfiles:
    from emotion_circuits.components import depth_path, depths_are_of, read_depths, write_depths
    from emotion_circuits.directions import source_of
    from emotion_circuits.models import is_available, revision_of

    path = depth_path(store.folder, name)
    kept = read_depths(store.folder, name) if path.is_file() else None
    if (
        kept is not None
        and is_available(name)
        and not depths_are_of(store.folder, name, revision_of(name), store.bank.hash)
    ):
        note(f"the profiles of {name} come from another model or other texts and are made again")
        kept = None
    if kept is not None and options.bos not in ("auto", _bos_of(path)):
        note(f"the profiles of {name} were made with another BOS setting and are made again")
        kept = None
    if kept is not None and (WRITES in kept.functions or not _vectors(store, name).is_file()):
        return kept
    if kept is not None:
        note(f"there are directions of {name} now: its profiles are made again with what is written along them")
    lm = load(name, options)
    screens = _screens(lm, directions_if_any(lm, None, store), store)
    write_depths(store.folder, screens, source_of(lm).model_dump(), store.bank.hash, seed=seed)
    return read_depths(store.folder, name)


def _bos_of(path: Path) -> str | None:
    """The BOS setting that a table was made with, if it says so."""
    from emotion_circuits._files import read_table

    known: bool | None = read_table(path).attrs.get("source", {}).get("bos")
    return None if known is None else "on" if known else "off"


def _vectors(store: StoreOptions, name: str) -> Path:
    from emotion_circuits.cli._inputs import DEFAULT_POSITION
    from emotion_circuits.models import ModelName

    return store.folder / "emotion_vectors" / f"{ModelName.parse(name).slug}_{DEFAULT_POSITION}.safetensors"


def _screens(lm: LoadedModel, directions: DirectionSet | None, store: StoreOptions) -> list[Screen]:
    """Heads and units of every emotion, averaged over the path; nothing is patched."""
    from emotion_circuits.components import both_screens

    texts = store.bank.profile(store.profile)
    emotions = chosen_emotions(texts, ())
    found: list[Screen] = []
    with counting(f"Screening {lm.name}", len(emotions)) as add:
        for emotion in emotions:
            outcome = outcome_for(lm, store.bank, texts, emotion, PairOptions())
            found += both_screens(lm, outcome, unit=unit_of(directions, emotion))
            add(1)
    return found
