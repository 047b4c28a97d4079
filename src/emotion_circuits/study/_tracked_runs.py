"""What MLflow is to hold of a study: settings, numbers and tags of every run, from the files of a finished study."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emotion_circuits._files import read_table
from emotion_circuits._plain import to_plain
from emotion_circuits.models import ModelName
from emotion_circuits.prompts import kept_bank
from emotion_circuits.statistics import Claim
from emotion_circuits.study._claims import read_unjudged

if TYPE_CHECKING:
    import pandas as pd

Entries = Mapping[str, Mapping[str, Any]]
"""Stage → what the manifest says of it."""
OF_CLAIMS = ("value", "chance", "ceiling", "gain", "p", "p_adjusted", "n_unique", "layer")
OF_MEASURES = ("value", "chance", "ci_low", "ci_high", "n_unique")
AMONG = ("statistic", "emotion", "kind", "position")
ARROW = " → "


@dataclass(frozen=True)
class Run:
    """What is written of one run; times in milliseconds."""

    name: str
    start: int
    end: int
    settings: Mapping[str, str]
    numbers: Mapping[str, float]
    tags: Mapping[str, str]


def stages_of(claims: Sequence[Claim], entries: Entries) -> Entries:
    """Stages of the models that the claims are about, and of their untrained twins: a folder also keeps what earlier
    studies made of other models."""
    slugs = {ModelName.parse(name).slug for claim in claims for name in claim.model.split(ARROW)}

    def ours(stage: str) -> bool:
        target = stage.partition("/")[2].split("_to_")
        return all(slug in slugs or slug.partition("+")[0] in slugs for slug in target)

    return {stage: entry for stage, entry in entries.items() if ours(stage)}


def run_of_study(folder: Path, claims: Sequence[Claim], stages: Entries) -> Run:
    """The settings that all stages share and every analysis' own; every claim's value, chance level and verdict."""
    models = ", ".join(dict.fromkeys(claim.model for claim in claims if ARROW not in claim.model))
    bank = kept_bank(folder)
    each = {name: _settings(entry) for name, entry in stages.items()}
    first = next(iter(each.values()))
    shared = {key: value for key, value in first.items() if all(one.get(key) == value for one in each.values())}
    shared |= {"models": models, "emotions": ", ".join(bank.emotions if bank else ())}
    for name, one in each.items():
        analysis = name.partition("/")[0]
        shared |= {key.replace("plan", analysis, 1): one[key] for key in one if key.startswith("plan.")}
    counts = Counter(str(claim.verdict) for claim in claims)
    numbers = {clean("verdicts", verdict): float(count) for verdict, count in counts.items()}
    tags = {clean(claim.id, claim.emotion, claim.model): str(claim.verdict) for claim in claims}
    for claim in claims:
        found = {"value": claim.value, "chance": claim.chance}
        numbers |= {clean(key, claim.id, claim.emotion, claim.model): x for key, x in found.items() if x is not None}
    said = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    tags["mlflow.note.content"] = f"{len(claims)} claims: {said}. The report is among the artifacts."
    starts, ends = zip(*(_times(entry) for entry in stages.values()), strict=True)
    name = f"{folder.resolve().name}: {models}"
    return Run(name, min(starts), max(ends), shared, numbers, tags)


def run_of_stage(folder: Path, claims: Sequence[Claim], stage: str, entry: Mapping[str, Any]) -> Run:
    """Its settings, its claims as they were judged, and what its tables come to."""
    raised = {(claim.id, claim.model, claim.emotion) for claim in read_unjudged(folder, [stage])}
    own = [claim for claim in claims if (claim.id, claim.model, claim.emotion) in raised]
    layers = {claim.emotion: claim.layer for claim in own}
    numbers = {"seconds": float(entry["seconds"])}
    for path in entry["files"]:
        if path.endswith(".parquet"):
            numbers |= _of_table(read_table(folder / path), layers)
    analysis, _, target = stage.partition("/")
    tags = {"analysis": analysis, "target": target}
    for claim in own:
        numbers |= _of_claim(claim)
        tags |= {clean(claim.id, claim.emotion): str(claim.verdict), clean("why", claim.id, claim.emotion): claim.why}
    return Run(stage, *_times(entry), _settings(entry), numbers, tags)


def _of_claim(claim: Claim) -> dict[str, float]:
    """The value beside its chance level, its floors and what else was measured; what is undefined is left out.

    What a number is stands first in its name, since MLflow's pages cut the ends of long ones.
    """
    found = {name: getattr(claim, name) for name in OF_CLAIMS}
    found["ci_low"], found["ci_high"] = claim.ci95 or (None, None)
    found["gain_ci_low"], found["gain_ci_high"] = claim.gain_ci95 or (None, None)
    found |= {f"floor {name}": level for name, level in claim.floors.items()}
    return {clean(key, claim.id, claim.emotion): float(x) for key, x in found.items() if x is not None}


def _of_table(table: pd.DataFrame, layers: Mapping[str | None, int | None]) -> dict[str, float]:
    """What a table of measures comes to; another table comes to nothing.

    Rows that it has of one layer only, and of the direction that claims are about the row at the claim's layer, which
    was chosen on development texts: never the best of several. Floors are with the claims.
    """
    if not {*AMONG, *OF_MEASURES} <= set(table.columns):
        return {}
    layer, other = ("layer_b", ["model_a"]) if "layer_b" in table else ("layer", [])
    alone = table.groupby([*AMONG, *other], dropna=False)["value"].transform("size") == 1
    claimed = (table["kind"] == "specific") & (table["position"] == "mean")
    claimed &= table[layer] == table["emotion"].map(layers)
    floor = table["kind"].str.startswith("floor: ")
    numbers: dict[str, float] = {}
    for row in table[(alone | claimed) & ~floor].to_dict(orient="records"):
        position = None if row["position"] == "mean" else row["position"]
        name = (row["emotion"], row["statistic"], row["kind"], position, *(f"from {row[key]}" for key in other))
        numbers |= {clean(key, *name): float(row[key]) for key in OF_MEASURES if row[key] == row[key]}
    return numbers


def _settings(entry: Mapping[str, Any]) -> dict[str, str]:
    return _flat({**entry["parameters"], "versions": entry["versions"]})


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Nested settings under dotted names; what is no text as JSON."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{key}.")
        elif value != "":
            found[clean(f"{before}{key}")] = value if isinstance(value, str) else json.dumps(to_plain(value))
    return found


def _times(entry: Mapping[str, Any]) -> tuple[int, int]:
    end = datetime.fromisoformat(entry["finished"]).timestamp()
    return int((end - float(entry["seconds"])) * 1000), int(end * 1000)


def clean(*parts: str | None) -> str:
    """A name as stores accept it: letters, digits and a few signs, parts parted by slashes."""
    text = "/".join(part for part in parts if part).replace("→", "to").replace("–", "-")
    return " ".join(re.sub(r"[^\w.:/ -]", " ", text).split())
