"""What only some results folders hold, of invented numbers: circuits, methods, depths, maps, sweeps of one's own."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from emotion_circuits import comparison as cmp
from emotion_circuits._files import write_table
from emotion_circuits._plain import to_plain
from emotion_circuits.components import (
    CMD,
    COMPLETENESS,
    CPR,
    EMBED,
    FAITHFULNESS,
    FUNCTIONS,
    NOTHING,
    OUTPUT,
    DepthProfiles,
    Edge,
    EdgeTarget,
    HeadFunction,
    MethodRow,
    ScenarioProfile,
    depth_measures,
    head_functions_table,
)
from emotion_circuits.interventions import CONTINUATIONS, PERPLEXITY, WORD_SET, Layout
from emotion_circuits.prompts import bank
from emotion_circuits.statistics import Measure, measures_table, rows_table

EMOTIONS = bank().emotions
NAN = float("nan")


def write_extras(folder: Path, models: dict[str, str]) -> None:
    """Every optional file of two models; `models` is name → slug."""
    (a, slug_a), (b, slug_b) = models.items()
    write_circuits(folder, a, slug_a)
    write_methods(folder, METHODS, slug_b)
    measured = depth_profiles(a, 4, 0), depth_profiles(b, 2, 1)
    for each, slug in zip(measured, models.values(), strict=True):
        rows = depth_measures(each, n_draws=20, n_flips=39)
        write_table(folder / "heads" / f"depths_{slug}.parquet", measures_table(rows))
        heads = [head_function(each.model, 1, "reads the <word>"), head_function(each.model, 2, NOTHING)]
        write_table(folder / "heads" / f"functions_{slug}.parquet", head_functions_table(heads))
    rows = cmp.component_rows(*measured, n_draws=39, n_bootstrap=20)
    write_table(folder / "cross_model" / "a_and_b_components.parquet", rows_table(cmp.PairMeasure, rows))
    write_maps(folder, a, b)
    for position in ("mean", "sentence_end"):
        own = [m._replace(model=b) for m in sweep_rows((0, 1), (0.1,), positions=(position,))]
        write_table(folder / "patching" / f"{slug_b}_{position}_own_sweep.parquet", measures_table(own))


def edge(source: str, target: str, effect: float, p: float = 0.01, half: float = 0.5) -> Edge:
    low, high = sorted((effect * (1 - half), effect * (1 + half)))
    return Edge(source, target, effect, low, high, p, 0.1, 12)


def step_of(name: str) -> tuple[int, bool]:
    kind, _, number = name.partition(" ")
    return int(number.split(":")[0]), kind == "unit"


def some_edges(n_layers: int, seed: int = 0) -> list[Edge]:
    """Nine heads and eleven units spread over the layers, each fed by the embeddings, some by each other."""
    rng = np.random.default_rng(seed)
    heads = [f"head {layer}:{i}" for i, layer in enumerate(sorted(rng.integers(0, n_layers, 9)))]
    units = [f"unit {layer}:{1000 + i}" for i, layer in enumerate(sorted(rng.integers(0, n_layers, 11)))]
    ordered = sorted((*heads, *units), key=step_of)
    found = [edge(EMBED, OUTPUT, 0.2)]
    for name in ordered:
        found += [edge(EMBED, name, rng.normal() * 0.1), edge(name, OUTPUT, rng.normal() * 0.1, p=0.3)]
    found += [
        edge(a, b, rng.normal() * 0.1, p=float(rng.uniform(0, 0.1)))
        for a, b in itertools.combinations(ordered, 2)
        if step_of(a) != step_of(b)
    ]
    return found


def write_circuits(folder: Path, model: str, slug: str, edges: dict[str, list[Edge]] | None = None) -> Path:
    measures = [
        Measure(model, e, position, -1, "path attribution", statistic, value, value - 0.1, value + 0.1, 0.1, 0.0, 0.2,
                1.0, 0.01, 12)
        for e in ("gratitude", "apology")
        for statistic, position, value in (
            (FAITHFULNESS, "0.01", 0.31), (FAITHFULNESS, "0.05", 0.4142), (FAITHFULNESS, "1", 1.0),
            (CPR, "all sizes", 0.77), (CMD, "all sizes", 0.25), (COMPLETENESS, "0.05", 0.93),
        )
    ]  # fmt: skip
    measures += [m._replace(emotion="anger", value=NAN, ci_low=NAN, ci_high=NAN) for m in measures[:6]]
    found = edges or {"gratitude": some_edges(8), "apology": [edge("head 0:1", OUTPUT, 0.1, p=0.9, half=1.5)]}
    content = {
        "model": model, "ranking": "path attribution", "size": 0.05, "controls": 20, "measures": measures,
        "circuits": {
            e: {"tested": e != "anger", "heads": ["0:1", "5:3"], "units": ["7:1000"], "loss_without": {}}
            for e in ("gratitude", "anger", "apology")
        },
        "overlaps": {}, "edges": found,
        "edge_targets": {e: [EdgeTarget(OUTPUT, 0.52, 0.4, 0.6, 0.5, 0.1, 12)] for e in found},
    }  # fmt: skip
    path = folder / "circuits" / f"{slug}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(to_plain(content)))
    return path


def method_row(method: str, effect: float, damage: float, **changes: object) -> MethodRow:
    usual = dict.fromkeys(MethodRow._fields, NAN) | {
        "model": "org/model", "emotion": "anger", "way": "raise", "method": method, "dose": 0.2, "layer": 3,
        "scorer": "offline", "effect": effect, "ci_low": effect - 0.05, "ci_high": effect + 0.05, "chance": 0.012,
        "chance_low": -0.021, "chance_high": 0.034, "p": 0.004, "clean_score": 0.1, "ceiling": 0.9, "damage": damage,
        "damage_low": damage - 0.1, "damage_high": damage + 0.1, "regime": "steered", "on_front": False,
        "n_prompts": 15, "n_texts": 45,
    }  # fmt: skip
    return MethodRow(**(usual | changes))  # type: ignore[arg-type]


METHODS = [
    method_row("add", 0.231, 1.17, on_front=True),
    method_row("clamp", 0.18, 1.3),
    method_row("prompted", 0.05, 1.02, dose=NAN, layer=-1, chance=NAN, chance_low=NAN, chance_high=NAN, p=0.04),
    method_row("random", 0.012, 1.1, p=0.7),
    method_row("add", 0.11, 4.0, way="lower", dose=-0.2, regime="collapsed"),
    method_row("add", 0.3, 1.17, scorer="markers"),
]


def write_methods(folder: Path, rows: Sequence[MethodRow], slug: str) -> Path:
    path = folder / "patching" / f"{slug}_methods.parquet"
    rows_table(MethodRow, rows).to_parquet(path, index=False)
    return path


@cache
def depth_profiles(model: str, peak: int, seed: int, layers: int = 6) -> DepthProfiles:
    """Profiles with one peak over noise."""
    rng = np.random.default_rng(seed)
    scenarios = tuple(map(str, range(12)))
    of = {
        (e, f.name): ScenarioProfile(scenarios, np.eye(layers)[peak] + 0.1 * rng.standard_normal((12, layers)))
        for e in EMOTIONS
        for f in FUNCTIONS
    }
    return DepthProfiles(model, layers, of)


def head_function(model: str, number: int, does: str) -> HeadFunction:
    row = dict.fromkeys(HeadFunction._fields, 0.2) | dict.fromkeys(("writes", "p_writes"), NAN)
    row |= {"model": model, "emotion": "anger", "layer": 4, "head": number, "does": does, "n_unique": 12}
    return HeadFunction(**row)  # type: ignore[arg-type]


def write_maps(folder: Path, a: str, b: str) -> None:
    """A map from A to B whose chosen layers are 1 and 2."""

    def row(statistic: str, value: float, arm: str = "trained", emotion: str = "all", at: tuple[int, int] = (1, 2),
            null: str = "shuffled labels") -> cmp.PairMeasure:  # fmt: skip
        return cmp.PairMeasure(a, b, emotion, "mean", *at, f"ridge: {arm}", statistic, value, value - 0.1, value + 0.1,
                               null, 0.0, -0.2, 0.345, 1.0, 0.02, 24)  # fmt: skip

    places = list(itertools.product(range(3), range(3)))
    layers = [row(cmp.DEVELOPMENT_COSINE, 0.1 * i + 0.2 * j, arm, at=(i, j)) for arm in ("trained", "best untrained")
              for i, j in places]  # fmt: skip
    layers += [row(cmp.OWN_COSINE, 0.1 * (i + j), at=(i, j)) for i, j in places]
    layers.append(row(cmp.R2, 0.567))
    found = {cmp.GAIN: 0.123, cmp.DETECTION: 0.812, cmp.NATIVE_DETECTION: 0.9, cmp.DETECTION_SHARE: 0.78}
    chosen = [row(statistic, value, emotion=e) for e in EMOTIONS for statistic, value in found.items()]
    chosen += [row(cmp.DETECTION, 0.61, "best untrained", e) for e in EMOTIONS]
    folder.joinpath("cross_model").mkdir(exist_ok=True)
    for name, rows in (("layers", layers), ("alignment", chosen)):
        write_table(folder / "cross_model" / f"a_to_b_{name}.parquet", rows_table(cmp.PairMeasure, rows))


def sweep_rows(
    layers: Sequence[int], doses: Sequence[float], *, unit: str = "dose", emotions: Sequence[str] = EMOTIONS,
    positions: Sequence[str] = ("mean",), controls: bool = True, ratio: float = 1.1, **layout: Any,
) -> list[Measure]:  # fmt: skip
    """A sweep's rows whose words change by dose · (layer + 1)."""
    shape = Layout(tuple(layers), tuple(doses), tuple(emotions), **layout)
    rows = []
    for emotion, position, layer, dose in itertools.product(emotions, positions, layers, doses):
        cell = ("org/model", emotion, position, layer, shape.words("specific", unit, dose))
        value = dose * (layer + 1)
        null = (0.03, -0.2, 0.2, NAN, 0.01 if abs(value) > 0.5 else 0.6)
        words = null if controls else (0.0, NAN, NAN, NAN, NAN)
        rows.append(Measure(*cell, WORD_SET, value, value - 0.1, value + 0.1, *words, 12))
        rows.append(Measure(*cell, CONTINUATIONS, value / 10, NAN, NAN, 0.0, NAN, NAN, NAN, NAN, 8))
        rows.append(Measure(*cell, PERPLEXITY, ratio, NAN, NAN, 1.0, NAN, NAN, NAN, NAN, 8))
    return rows
