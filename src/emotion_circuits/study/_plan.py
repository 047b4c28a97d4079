"""Which stages a study has, what each depends on, and what decides whether it must run again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from emotion_circuits._files import write_table
from emotion_circuits.analyses import LANGUAGES, Analysis, AnalysisPlan, Workshop
from emotion_circuits.directions import POSITIONS
from emotion_circuits.geometry import aligner_codes
from emotion_circuits.models import ModelName, family_code, resolve_device, revision_of
from emotion_circuits.scoring import scorer_codes
from emotion_circuits.statistics import judge, measures_table, write_claims
from emotion_circuits.study._claims import read_unjudged, write_unjudged
from emotion_circuits.study._config import Study
from emotion_circuits.study._store import file_hash, stage_key

COMMON = ("dtype", "bos", "threads", "batch_tokens", "seed", "profile", "float32_products")
"""Settings that decide the result of every analysis."""


@dataclass(frozen=True)
class Stage:
    """One step of a study.

    Attributes:
        name: unique; what the manifest lists it under.
        parameters: JSON values that decide its result, besides its inputs.
        inputs: names of the stages it reads.
        run: does the work and returns the files it wrote.
        partial: it runs with what there is of its inputs, where one of them could not.
    """

    name: str
    parameters: dict[str, Any]
    inputs: tuple[str, ...]
    run: Callable[[Workshop], list[Path]]
    partial: bool = False


def plan_study(study: Study) -> tuple[Stage, ...]:
    """The stages of a study, inputs before what reads them.

    Raises:
        InputError: a model that cannot be found.
    """
    common = study.model_dump(mode="json", include={*COMMON})
    common |= {"device": resolve_device(study.device).type, "texts": study.bank.hash}
    stages = [_stage(study, *step, common) for step in steps_of(study)]
    names = tuple(stage.name for stage in stages)
    stages.append(Stage("claims", {}, names, lambda work: judge_all(work, names), partial=True))
    tables = {"beside": tables_beside(study)}
    return (*stages, Stage("report", tables, (*names, "claims"), write_report, partial=True))


def steps_of(study: Study) -> list[tuple[Analysis, AnalysisPlan, tuple[str, ...]]]:
    """Every analysis and what it runs for. Those of single models go model by model, so that each is loaded once."""
    steps = [(one, plan, target) for one, plan in study.planned for target in one.targets(study)]
    single, shared = ([s for s in steps if (s[0].scope == "model") == of_one] for of_one in (True, False))
    place = {target: i for i, target in enumerate(dict.fromkeys(target for _, _, target in single))}
    return sorted(single, key=lambda step: place[step[2]]) + shared


def _stage(study: Study, one: Analysis, plan: AnalysisPlan, target: tuple[str, ...], common: dict[str, Any]) -> Stage:
    parameters = common | study.model_dump(mode="json", include={*one.reads})
    parameters |= {"plan": one.decides(plan), "code": one.code, "revisions": [revision_of(name) for name in target]}
    if any(families := [family_code(name) for name in target]):
        parameters["families"] = families
    if one.code and any(registered := [aligner_codes(), scorer_codes()]):  # it may use any of them
        parameters["registered"] = registered
    inputs = tuple(one.inputs(study, *target))
    return Stage(one.stage(*target), parameters, inputs, partial(run_analysis, one, plan, target))


def run_analysis(one: Analysis, plan: AnalysisPlan, target: tuple[str, ...], work: Workshop) -> list[Path]:
    """Measure a model or a pair, and write its claims, its rows and what the report needs to tell of these."""
    from emotion_circuits.report import Told, write_told

    found = one.run(work, plan, *target)
    files, stage = [*found.files], one.stage(*target)
    if found.rows is not None:
        stem = stage.replace("/", "_")
        table, told = (work.folder / "analyses" / f"{stem}{suffix}" for suffix in (".parquet", ".json"))
        write_table(table, measures_table(found.rows))
        words = {language: one.words(found.rows, language) for language in LANGUAGES}
        write_told(told, Told(one.name, one.heading, target[0], words, tuple(one.figures(found.rows))))
        files += [table, told]
    if found.claims:
        files.append(write_unjudged(work.folder, stage, found.claims))
    return files


def judge_all(work: Workshop, stages: Sequence[str]) -> list[Path]:
    """The claims of all stages that ran, judged together, in claims.json."""
    path = work.folder / "claims.json"
    write_claims(path, judge(read_unjudged(work.folder, [stage for stage in stages if stage not in work.missing])))
    return [path]


def tables_beside(study: Study) -> dict[str, str]:
    """What commands wrote into a study's folder and the report shows too: file → hash.

    A study's own files are left out: their stages' keys stand for them.
    """
    names = [ModelName.parse(name).slug for name in study.models]
    wanted = [f"patching/{name}_{position}_own_sweep.parquet" for name in names for position in POSITIONS]
    if not any(one.name == "methods" for one, _ in study.planned):
        wanted += [f"patching/{name}_methods.parquet" for name in names]
    return {path: file_hash(study.folder / path) for path in wanted if (study.folder / path).is_file()}


def write_report(work: Workshop) -> list[Path]:
    """Figures and the HTML report."""
    from emotion_circuits import report

    return report.write_report(work.folder, work.study.threads)


def needed_for(stages: Sequence[Stage], kinds: Collection[str]) -> tuple[Stage, ...]:
    """The stages of these kinds and all that they need, in order."""
    wanted = {stage.name for stage in stages if stage.name.partition("/")[0] in kinds}
    for stage in reversed(stages):
        if stage.name in wanted:
            wanted |= {*stage.inputs}
    return tuple(stage for stage in stages if stage.name in wanted)


def keys_of(stages: Sequence[Stage]) -> dict[str, str]:
    """The key of every stage, which follows from its parameters and its inputs' keys."""
    keys: dict[str, str] = {}
    for stage in stages:
        keys[stage.name] = stage_key(stage.name, stage.parameters, [keys[name] for name in stage.inputs])
    return keys
