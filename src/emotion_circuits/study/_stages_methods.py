"""The stage that sets the ways of changing tone beside each other: it takes minutes, and runs only where asked for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from emotion_circuits import prompts
from emotion_circuits._files import write_table, write_text
from emotion_circuits.components import (
    WAYS,
    DoseResponse,
    MethodRow,
    PairSet,
    Setting,
    Way,
    compare_methods,
    dose_response_table,
    dose_responses,
    matched_pairs,
    method_texts,
    methods_table,
    n_texts,
)
from emotion_circuits.directions import POSITIONS, generic_tokens, load_directions
from emotion_circuits.errors import InputError
from emotion_circuits.interventions import Controls
from emotion_circuits.scoring import GeneratedText, make_scorer
from emotion_circuits.scoring import Setting as ScorerSetting
from emotion_circuits.study._config import Study
from emotion_circuits.study._stages_steer import patching_path, read_choice
from emotion_circuits.study._store import file_hash
from emotion_circuits.study._workshop import Workshop, directions_path, slug

SCORERS = ("offline", "markers")


def set_beside(work: Workshop, name: str) -> list[Path]:
    """Every method on test pairs, at the layer the development sweep chose, as the command `compare-methods` does."""
    plan = work.study.methods
    if plan is None:  # the stage is planned only where there is a plan
        raise InputError("This study has no plan for methods.")
    lm, study = work.model(name), work.study
    directions = load_directions(directions_path(work, name, study.steering.position))
    layer = read_choice(patching_path(work, name, "choice.json")).layer
    generic = [t.text for t in prompts.generic_sample(study.generic_texts)]
    source = Controls(directions, tokens=lambda at: generic_tokens(lm, generic, at))
    judges = [make_scorer(scorer, ScorerSetting(work.bank, study.profile, study.device)) for scorer in SCORERS]
    setting = Setting(
        layer, plan.doses, max_tokens=plan.text_tokens, temperature=plan.temperature, n_samples=plan.samples,
        seed=study.seed,
    )  # fmt: skip
    rows: list[MethodRow] = []
    responses: list[DoseResponse] = []
    lines: list[str] = []
    for emotion in directions.emotions:
        try:
            pairs = matched_pairs(lm, work.bank.profile(study.profile), emotion, split="test")
        except InputError as error:  # a tokenizer under which hardly any two texts are equally long
            work.tell(f"{name}: no comparison of methods for {emotion}: {error}")
            continue
        units = source.units("covariance", layer, plan.controls, emotion, study.seed)
        own = setting._replace(request=work.bank[emotion].request)
        for way in WAYS:
            texts = _written(work, name, pairs, way, own, source, units)
            rows += compare_methods(str(lm.name), way, texts, judges, seed=study.seed)
            responses += dose_responses(way, texts, judges, seed=study.seed)
            lines += [_line(text, way, str(lm.name)) for text in texts]
    table, doses, written = (
        patching_path(work, name, f"methods{end}") for end in (".parquet", "_doses.parquet", ".jsonl")
    )
    write_table(table, methods_table(rows))
    write_table(doses, dose_response_table(responses))
    write_text(written, "".join(lines))
    return [table, doses, written]


def tables_beside(study: Study) -> dict[str, str]:
    """What commands wrote into a study's folder and the report shows too: file → hash.

    A study's own files are left out: their stages' keys stand for them.
    """
    names = [slug(name) for name in study.models]
    wanted = [f"patching/{name}_{position}_own_sweep.parquet" for name in names for position in POSITIONS]
    wanted += [f"patching/{name}_methods.parquet" for name in names if study.methods is None]
    return {path: file_hash(study.folder / path) for path in wanted if (study.folder / path).is_file()}


def _written(
    work: Workshop, name: str, pairs: PairSet, way: Way, setting: Setting, source: Controls, units: np.ndarray
) -> list[GeneratedText]:
    """The texts of one emotion and way, kept as soon as they are there: they are what takes time."""

    def write() -> dict[str, np.ndarray]:
        total = n_texts(pairs, way, len(units), setting)
        with work.progress(f"{name}: methods, {pairs.emotion}, {way}", total) as done:
            texts = method_texts(
                work.model(name), source.directions, pairs, way, units, setting, on_rows=done
            )  # fmt: skip
        lines = "\n".join(text.model_dump_json() for text in texts)
        return {"texts": np.frombuffer(lines.encode(), dtype=np.uint8)}

    found = work.parts.kept(f"{pairs.emotion}-{way}", write) if work.parts is not None else write()
    lines = found["texts"].tobytes().decode().split("\n")
    return [GeneratedText.model_validate_json(line) for line in lines]


def _line(text: GeneratedText, way: Way, model: str) -> str:
    return json.dumps({**text.model_dump(), "way": way, "model": model}, ensure_ascii=False, allow_nan=False) + "\n"
