"""A small results folder as a study writes it, of invented numbers."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from emotion_circuits import prompts
from emotion_circuits.components import (
    SWAP_SITES,
    Agreement,
    ExampleHead,
    HeadExample,
    HeadExamples,
    Look,
    ModelExamples,
    SeenPrompt,
    kind_of,
    recovered,
    write_head_examples,
)
from emotion_circuits.directions import EXPLICIT_OVER_FOILS, FOIL_RATE, HIT_RATE, IMPLICIT_OVER_FOILS, INTENSITY
from emotion_circuits.interventions import CONTINUATIONS, PERPLEXITY, WORD_SET
from emotion_circuits.prompts import bank
from emotion_circuits.scoring import GeneratedText, Setting, evaluate_texts, make_scorer, stored_perplexities
from emotion_circuits.statistics import Claim, Measure, Rival, judge, measures_table, null_from, write_claims

EMOTIONS = bank().emotions

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
        write_heads(folder / "heads", model, slug, n_layers, rng)
        claims += _claims(model, slug)
    if len(models) == 2:
        claims += [c.model_copy(update=rq5(" → ".join(models))) for c in claims[:6:2]]
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
        texts,
        [make_scorer("markers", Setting(prompts.bank()))],
        perplexities=stored_perplexities(texts),
        n_bootstrap=20,
        n_flips=19,
    )
    found.table().to_parquet(folder / f"{slug}_text_scores.parquet", index=False)


def write_heads(folder: Path, model: str, slug: str, n_layers: int, rng: np.random.Generator, n_heads: int = 2) -> None:
    """Screens of heads and units, and what the best head of every emotion looks at in one pair."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, kind, count in (("screen", "head", n_heads), ("units", "unit", 5)):
        frames = []
        for e in EMOTIONS:
            places = [(layer, i) for layer in range(n_layers) for i in range(count)]
            score = rng.normal(0, 0.1, len(places))
            frame = pd.DataFrame(places, columns=["layer", kind]).assign(emotion=e, score=score)
            frame = frame.assign(ci_low=score - 0.05, ci_high=score + 0.05, p=np.where(score > 0.1, 0.01, 0.6), q=0.04)
            exact = np.where(frame["layer"] < 2, score * 1.1, np.nan)
            frame = frame.assign(exact=exact, exact_ci_low=exact - 0.05, exact_ci_high=exact + 0.05, direct=score / 2)
            looks = {"attention": 0.4, "attention_neutral": 0.2} if kind == "head" else {}
            about = {"outcome": "word-set log-odds", "gap": 0.5, "n_pairs": 9, "n_scenarios": 20}
            frames.append(frame.assign(**looks, **about))
        pd.concat(frames, ignore_index=True).to_parquet(folder / f"{name}_{slug}.parquet", index=False)
    emotions = []
    for e in EMOTIONS:
        tokens = {"emotion": ("<s>", "So", " <glad", "\n", "."), "neutral": ("<s>", "So", " wide", "\n", ".")}
        look = Look(weights=(0.5, 0.1, 0.3, 0.1, 0.0), shares=(0.1, 0.1, 0.62, 0.18, 0.0), layer_share=0.25)
        sides = {k: SeenPrompt(tokens=t, text="".join(t[1:]), looks=(look,)) for k, t in tokens.items()}
        head = ExampleHead(
            layer=1, head=1, score=0.3, p=0.01, attention=0.4, attention_ci_low=0.31, attention_ci_high=0.5
        )
        emotions.append(
            HeadExamples(
                emotion=e, reference="neutral", heads=(head,), n_pairs=9, n_scenarios=20, uniform=0.21,
                examples=(HeadExample(scenario="3", span=(2,), **sides),), agreement=Agreement(0.93, 0.81, 0.99, 4, 9),
            )
        )  # fmt: skip
    write_head_examples(folder / f"examples_{slug}.json", ModelExamples(model=model, emotions=tuple(emotions)))


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


def rq5(pair: str) -> dict[str, object]:
    """What makes a claim one about a map."""
    return {"id": "rq5.transfer", "question": "RQ5", "model": pair, "statistic": "AUROC, mapped"}


def _claims(model: str, slug: str) -> list[Claim]:
    claims = []
    for i, e in enumerate(EMOTIONS):
        common = {"model": model, "emotion": e, "layer": 1, "n_unique": 24, "ceiling": 1.0}
        claims.append(
            Claim.beside(
                [
                    null_from("permuted labels", 0.5, 0.62, 0.001, 999, (0.72, 0.9)),
                    Rival("bag_of_words", 0.58, (0.1, 0.3), 0.0004),
                    Rival("untrained", 0.61 + 0.2 * i, (-0.2, 0.09) if i else (0.02, 0.3), 0.3 if i else 0.001),
                ],
                id="rq1.separability", question="RQ1", statistic="AUROC on implicit texts", value=0.81234,
                ci95=(0.72, 0.9), effect_of_interest=0.1, unit="scenarios",
                evidence=(f"emotion_vectors/{slug}_quality.parquet",), **common,
            )
        )  # fmt: skip
        claims.append(
            Claim.beside(
                [null_from("isotropic directions", 0.0, 2.0, 0.001, 999, (3.0, 5.0))],
                id="rq3.steering", question="RQ3", statistic="slope", value=4.0, ci95=(3.0, 5.0),
                effect_of_interest=2.0, unit="contexts",
                evidence=(f"patching/{slug}_steering.parquet",), side_conditions={"perplexity_ratio": 1.2}, **common,
            )
        )  # fmt: skip
    return claims
