"""The ways of changing tone beside each other: this takes minutes, and runs only where asked for."""

from __future__ import annotations

import json

import numpy as np

from emotion_circuits import prompts
from emotion_circuits._files import write_table, write_text
from emotion_circuits.analyses._analysis import Measures, analysis
from emotion_circuits.analyses._settings import AnalysisPlan, Count, Effect, Several, Share
from emotion_circuits.analyses._sweep import SteeringPlan, read_choice
from emotion_circuits.analyses._work import Workshop, directions_path, patching_path
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
from emotion_circuits.directions import generic_tokens, load_directions
from emotion_circuits.errors import InputError
from emotion_circuits.interventions import Controls
from emotion_circuits.scoring import GeneratedText, make_scorer
from emotion_circuits.scoring import Setting as ScorerSetting

SCORERS = ("offline", "markers")


class MethodsPlan(AnalysisPlan):
    """How the ways of changing tone are set beside each other."""

    doses: Several[Share] = (0.1, 0.2, 0.4)
    """Added when raising, taken away when lowering; between 0 and 1."""
    samples: Count = 3
    """Continuations of each prompt."""
    controls: Count = 3
    """Random directions that give chance."""
    text_tokens: Count = 30
    """Of every continuation."""
    temperature: Effect = 0.8


@analysis(
    "methods", question="RQ3", needs=("directions", "sweep"), plan_key="methods", reads=("steering",), optional=True
)
class CompareMethods:
    """Every method on test pairs, at the layer that the development sweep chose."""

    Plan = MethodsPlan

    def run(self, work: Workshop, plan: MethodsPlan, name: str) -> Measures:
        lm, study = work.model(name), work.study
        directions = load_directions(directions_path(work, name, work.plan(SteeringPlan).position))
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
        return Measures(files=[table, doses, written])


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
