"""The ways of changing tone beside each other: this takes minutes, and runs only where asked for."""

from __future__ import annotations

import json
from typing import Annotated

import numpy as np
from pydantic import Field, field_validator

from emotion_circuits import prompts
from emotion_circuits._files import write_table, write_text
from emotion_circuits.analyses._analysis import Measures, analysis
from emotion_circuits.analyses._pairs import outcome_on
from emotion_circuits.analyses._settings import AnalysisPlan, Count, Draws, Effect, Layer, Several, Share
from emotion_circuits.analyses._sweep import SteeringPlan, read_choice
from emotion_circuits.analyses._work import Workshop, one_line, patching_path
from emotion_circuits.components import (
    WAYS,
    DoseResponse,
    MethodRow,
    Modulation,
    PairSet,
    PushSize,
    Setting,
    Way,
    compare_methods,
    dose_responses,
    matched_pairs,
    method_texts,
    modulation,
    n_texts,
    push_sizes,
)
from emotion_circuits.directions import generic_tokens
from emotion_circuits.errors import InputError
from emotion_circuits.interventions import Controls
from emotion_circuits.models import LoadedModel
from emotion_circuits.scoring import GeneratedText, check_scorer, make_scorer, scorer_codes
from emotion_circuits.scoring import Setting as ScorerSetting
from emotion_circuits.statistics import rows_table


class MethodsPlan(AnalysisPlan):
    """How the ways of changing tone are set beside each other."""

    doses: Several[Share] = (0.2, 0.4, 0.8)
    """Added when raising, taken away when lowering; between 0 and 1."""
    pairs: Draws = 12
    """Pairs of prompts of each emotion, at most; as many more rank its circuit."""
    samples: Count = 3
    """Continuations of each prompt."""
    ways: Several[Way] = WAYS
    """Raising is tried in neutral prompts, lowering in the emotion's own."""
    layer: Layer | None = None
    """Where directions and interchange act; by default where the development sweep chose."""
    scorers: Several[str] = ("offline", "markers")
    """`markers`, `offline`, `go-emotions`, ``hf:NAME_OR_FOLDER``, or a registered scorer's name."""
    circuit: bool = True
    """Also modulate a circuit, ranked on development scenarios."""
    circuit_size: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Share of all heads and units that the circuit holds."""
    strengths: Several[Effect] = (2.0, 4.0, 8.0)
    """Multiples of what an emotion's prompt adds in the circuit."""
    controls: Count = 3
    """Random directions, and circuits, that give chance."""
    text_tokens: Count = 30
    """Of every continuation."""
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.8
    """0 for greedy text, of which there is one sample."""

    @field_validator("scorers")
    @classmethod
    def _there(cls, scorers: tuple[str, ...]) -> tuple[str, ...]:
        for name in scorers:
            check_scorer(name)
        return scorers

    def registered(self) -> dict[str, str]:
        """The code of scorers that are a user's own."""
        return {f"scorer {name}": code for name, code in scorer_codes().items() if name in self.scorers}


@analysis(
    "methods", question="RQ3", needs=("directions", "sweep"), plan_key="methods", reads=("steering",), optional=True,
    command="compare-methods",
)  # fmt: skip
class CompareMethods:
    """Set the ways of changing tone beside each other: effect against damage.

    Adding, clamping and ablating a direction, steering step by step, interchange, modulating a circuit, and simply
    asking, all on test pairs. Effect is the change of the texts' mean score from clean text; damage is their perplexity
    over clean text's, under the clean model. Random directions with the covariance of generic text, added or ablated in
    the same way, give chance; for interchange other scenarios' values, for circuits random ones of the same layers, for
    asking other requests. A method is on the front if none has more effect with no more damage.
    """

    Plan = MethodsPlan

    def run(self, work: Workshop, plan: MethodsPlan, name: str) -> Measures:
        lm, study = work.model(name), work.study
        directions = work.directions(name, work.plan(SteeringPlan).position)
        layer = plan.layer
        if layer is None:
            layer = read_choice(patching_path(work, name, "choice.json")).layer
        generic = [t.text for t in prompts.generic_sample(study.generic_texts)]
        source = Controls(directions, tokens=lambda at: generic_tokens(lm, generic, at))
        judges = [make_scorer(scorer, ScorerSetting(work.bank, study.profile, study.device)) for scorer in plan.scorers]
        setting = Setting(
            layer, plan.doses, max_tokens=plan.text_tokens, temperature=plan.temperature,
            n_samples=plan.samples if plan.temperature else 1, seed=study.seed,
        )  # fmt: skip
        rows: list[MethodRow] = []
        responses: list[DoseResponse] = []
        sizes: list[PushSize] = []
        lines: list[str] = []
        for emotion in directions.emotions:
            try:
                pairs = matched_pairs(lm, work.bank.profile(study.profile), emotion, split="test").at_most(plan.pairs)
            except InputError as error:  # a tokenizer under which hardly any two texts are equally long
                work.tell(f"{name}: no comparison of methods for {emotion}: {one_line(error)}")
                continue
            units = source.units("covariance", layer, plan.controls, emotion, study.seed)
            own = setting._replace(request=work.bank[emotion].request)
            able = [judge for judge in judges if emotion in judge.emotions]
            circuit = _circuit(work, lm, emotion, plan) if plan.circuit else None
            for way in plan.ways:
                texts = _written(work, name, pairs, way, own, source, units, circuit)
                rows += compare_methods(str(lm.name), way, texts, able, seed=study.seed)
                responses += dose_responses(way, texts, able, seed=study.seed)
                if circuit is not None:
                    sizes += push_sizes(lm, directions, pairs, way, own, circuit)
                lines += [_line(text, way, str(lm.name)) for text in texts]
        tables = {
            "": rows_table(MethodRow, rows),
            "_doses": rows_table(DoseResponse, responses),
            "_sizes": rows_table(PushSize, sizes),
        }
        files = [patching_path(work, name, f"methods{end}.parquet") for end in tables]
        for path, table in zip(files, tables.values(), strict=True):
            write_table(path, table)
        files.append(patching_path(work, name, "methods.jsonl"))
        write_text(files[-1], "".join(lines))
        return Measures(files=files)


def _circuit(work: Workshop, lm: LoadedModel, emotion: str, plan: MethodsPlan) -> Modulation | None:
    """The emotion's circuit, ranked on development scenarios; None, said, where there are too few pairs of them."""
    try:
        texts = work.bank.profile(work.study.profile)
        pairs = matched_pairs(lm, texts, emotion, split="development").at_most(plan.pairs)
        outcome = outcome_on(work, lm, pairs)
    except InputError as error:
        work.tell(f"{lm.name}: no circuit of {emotion} to modulate: {one_line(error)}")
        return None
    return modulation(
        lm, outcome, size=plan.circuit_size, strengths=plan.strengths, n_random=plan.controls, seed=work.study.seed
    )


def _written(
    work: Workshop,
    name: str,
    pairs: PairSet,
    way: Way,
    setting: Setting,
    source: Controls,
    units: np.ndarray,
    circuit: Modulation | None,
) -> list[GeneratedText]:
    """The texts of one emotion and way, kept as soon as they are there: they are what takes time."""

    def write() -> dict[str, np.ndarray]:
        total = n_texts(pairs, way, len(units), setting, circuit)
        with work.progress(f"{name}: methods, {pairs.emotion}, {way}", total) as done:
            texts = method_texts(
                work.model(name), source.directions, pairs, way, units, setting, circuit=circuit, on_rows=done
            )
        lines = "\n".join(text.model_dump_json() for text in texts)
        return {"texts": np.frombuffer(lines.encode(), dtype=np.uint8)}

    found = work.parts.kept(f"{pairs.emotion}-{way}", write) if work.parts is not None else write()
    lines = found["texts"].tobytes().decode().split("\n")
    return [GeneratedText.model_validate_json(line) for line in lines]


def _line(text: GeneratedText, way: Way, model: str) -> str:
    return json.dumps({**text.model_dump(), "way": way, "model": model}, ensure_ascii=False, allow_nan=False) + "\n"
