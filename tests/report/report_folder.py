"""A small results folder as a study writes it, of invented numbers."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from emotion_circuits.components import SWAP_SITES, kind_of, recovered
from emotion_circuits.directions import EXPLICIT_OVER_FOILS, FOIL_RATE, HIT_RATE, IMPLICIT_OVER_FOILS, INTENSITY
from emotion_circuits.interventions import CONTINUATIONS, PERPLEXITY, WORD_SET
from emotion_circuits.report._results import EMOTIONS
from emotion_circuits.scoring import GeneratedText, evaluate_texts, make_scorer, stored_perplexities
from emotion_circuits.statistics import Claim, Measure, judge, measures_table, write_claims

POSITIONS = ("mean", "sentence_end")
DOSES = (-0.2, 0.2)


def write_folder(folder: Path, models: dict[str, str], n_layers: int = 3) -> Path:
    """Write every table, claims and a manifest.

    Args:
        models: name → slug.
    """
    folder.mkdir(parents=True, exist_ok=True)
    claims = []
    for place, (model, slug) in enumerate(models.items()):
        rng = np.random.default_rng(place)
        _write(folder / "emotion_vectors" / f"{slug}_quality.parquet", _quality(model, n_layers, rng))
        _write(folder / "emotion_vectors" / f"{slug}_cosines.parquet", _cosines(model, n_layers, rng))
        _write(folder / "patching" / f"{slug}_sweep.parquet", _steering(model, range(n_layers), rng))
        _write(folder / "patching" / f"{slug}_steering.parquet", [*_steering(model, [1], rng), *_slopes(model)])
        _write(folder / "patching" / f"{slug}_swap.parquet", _swaps(model, range(n_layers), rng))
        controls = [
            {"model": model, "emotion": e, "layer": 1, "dose": 0.2, "kind": kind, "slope": float(slope)}
            for e in EMOTIONS
            for kind in ("covariance", "isotropic", "shuffled-label")
            for slope in rng.normal(size=40)
        ]
        pd.DataFrame(controls).to_parquet(folder / "patching" / f"{slug}_controls.parquet", index=False)
        _write_texts(folder / "patching", slug)
        claims += _claims(model, slug)
    write_claims(folder / "claims.json", judge(claims))
    write_manifest(folder, list(models.values()), seconds=1.0)
    return folder


def _write_texts(folder: Path, slug: str) -> None:
    """Two words after each of five prompts in every arm, and their scores."""
    arms = [("clean", None), *((arm, e) for e in EMOTIONS for arm in ("steered", "random", "prompted"))]
    texts = [
        GeneratedText(prompt=f"Prompt {k} <", text=f"{arm} {emotion} & more", arm=arm, emotion=emotion, dose=0.2,
                      layer=1, perplexity=8.0 + k)
        for arm, emotion in arms
        for k in range(5)
    ]  # fmt: skip
    (folder / f"{slug}_texts.jsonl").write_text("".join(t.model_dump_json() + "\n" for t in texts))
    found = evaluate_texts(
        texts, [make_scorer("markers")], perplexities=stored_perplexities(texts), n_bootstrap=20, n_flips=19
    )
    found.table().to_parquet(folder / f"{slug}_text_scores.parquet", index=False)


def write_manifest(folder: Path, slugs: list[str], seconds: float) -> None:
    """A manifest as the store writes it."""
    entry = {
        "key": "0123456789abcdef", "parameters": {"dtype": "float32", "revision": "abc123", "seed": 0},
        "files": {"a": "b"},
        "seconds": seconds, "finished": f"2031-01-01T00:00:{int(seconds):02d}+00:00", "versions": {"numpy": "2.0.0"},
    }  # fmt: skip
    stages = {f"activations/{slug}": entry for slug in slugs} | {"report": entry}
    (folder / "manifest.json").write_text(json.dumps({"schema": 1, "stages": stages}))


def _write(path: Path, rows: list[Measure]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    measures_table(rows).to_parquet(path, index=False)


def _row(model: str, emotion: str, position: str, layer: int, kind: str, statistic: str, value: float) -> Measure:
    return Measure(
        model, emotion, position, layer, kind, statistic, value, value - 0.1, value + 0.1, 0.5, 0.4, 0.6, 1.0, 0.01, 24
    )


def _quality(model: str, n_layers: int, rng: np.random.Generator) -> list[Measure]:
    rows = [
        _row(model, e, "mean", -1, f"floor: {floor}", "AUROC on real-world texts", value)
        for e in EMOTIONS
        for floor, value in (("bag of words", 0.73), ("untrained 0", 0.55), ("untrained 1", 0.66))
    ]
    for e in EMOTIONS:
        for statistic in (FOIL_RATE, HIT_RATE, EXPLICIT_OVER_FOILS, IMPLICIT_OVER_FOILS, INTENSITY):
            rows.append(_row(model, e, "mean", -1, "floor: bag of words", statistic, 0.31))
            rows += [
                _row(model, e, "mean", layer, "specific", statistic, float(rng.uniform(0.2, 0.9)))
                for layer in range(-1, n_layers)
            ]
        rows.append(_row(model, e, "mean", -1, "floor: number of words", INTENSITY, 0.11))
    for position in POSITIONS:
        for layer in range(-1, n_layers):
            accuracy = "nearest-centroid accuracy, held out by scenario"
            rows.append(_row(model, "all", position, layer, "centroid", accuracy, float(rng.uniform(0.3, 0.8))))
            for e in EMOTIONS:
                for statistic, kind in (
                    ("AUROC on implicit texts", "specific"),
                    ("AUROC on implicit texts", "probe"),
                    ("AUROC on implicit texts", "pca"),
                    ("AUROC on implicit texts", "lda"),
                    ("AUROC on real-world texts", "specific"),
                    ("split-half cosine", "specific"),
                ):
                    rows.append(_row(model, e, position, layer, kind, statistic, float(rng.uniform(0.5, 0.9))))
    return rows


def _cosines(model: str, n_layers: int, rng: np.random.Generator) -> list[Measure]:
    return [
        _row(model, f"{a}–{b}", p, layer, kind, "cosine between emotions", float(rng.uniform(-0.5, 0.5)))
        for p in POSITIONS
        for layer in range(-1, n_layers)
        for kind in ("matched", "specific")
        for a, b in combinations(sorted(EMOTIONS), 2)
    ]


def _steering(model: str, layers: range | list[int], rng: np.random.Generator) -> list[Measure]:
    rows = []
    for layer in layers:
        for e in EMOTIONS:
            for dose in DOSES:
                for statistic, clean in ((WORD_SET, 0.0), (CONTINUATIONS, 0.0), (PERPLEXITY, 1.0)):
                    value = clean + dose * float(rng.uniform(1, 3))
                    rows.append(
                        _row(model, e, "mean", layer, f"specific, dose {dose:g}", statistic, value)._replace(
                            chance=clean, null_low=np.nan, null_high=np.nan, ceiling=np.nan, p=np.nan
                        )
                    )
    return rows


def _swaps(model: str, layers: range, rng: np.random.Generator) -> list[Measure]:
    """Of two emotions; the third one's prompts do not differ, so that it has no shares."""
    return [
        _row(model, e, place, layer, kind_of("denoising", site), recovered("word-set log-odds"), value)._replace(
            chance=0.02, p=0.01 if value > 0.5 else 0.9
        )
        for e in EMOTIONS
        for site in SWAP_SITES
        for layer in layers
        for place in ("word", "last")
        for value in [float("nan") if e == "anger" else float(rng.uniform(-0.1, 1.0))]
    ]


def _slopes(model: str) -> list[Measure]:
    return [
        _row(model, e, "mean", 1, f"specific, against {kind} controls", "slope of own word-set log-odds", 4.0)._replace(
            chance=0.0, null_low=-2.0, null_high=2.0
        )
        for e in EMOTIONS
        for kind in ("covariance", "isotropic", "shuffled-label")
    ]


def _claims(model: str, slug: str) -> list[Claim]:
    claims = []
    for i, e in enumerate(EMOTIONS):
        common = {"model": model, "emotion": e, "layer": 1, "n_unique": 24, "ceiling": 1.0}
        claims.append(
            Claim(
                id="rq1.separability", question="RQ1", statistic="AUROC on implicit texts", value=0.81234,
                ci95=(0.72, 0.9), chance=0.5, floors={"bag_of_words": 0.58, "untrained": 0.61 + 0.2 * i},
                null="label permutation", p=0.001, evidence=(f"emotion_vectors/{slug}_quality.parquet",), **common,
            )
        )  # fmt: skip
        claims.append(
            Claim(
                id="rq3.steering", question="RQ3", statistic="slope", value=4.0, ci95=(3.0, 5.0), chance=0.0,
                floors={"isotropic_97.5_percent": 2.0}, null="isotropic directions", p=0.001,
                evidence=(f"patching/{slug}_steering.parquet",), side_conditions={"perplexity_ratio": 1.2}, **common,
            )
        )  # fmt: skip
    return claims
