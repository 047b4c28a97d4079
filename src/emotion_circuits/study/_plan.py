"""Which stages a study has, what each depends on, and what decides whether it must run again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from emotion_circuits.analyses import NEEDS
from emotion_circuits.comparison import pair_slug
from emotion_circuits.errors import InputError
from emotion_circuits.models import resolve_device, revision_of
from emotion_circuits.statistics import judge, write_claims
from emotion_circuits.study._claim_files import read_unjudged
from emotion_circuits.study._config import Study
from emotion_circuits.study._stages_heads import compare_components, join_circuits, screen_components
from emotion_circuits.study._stages_methods import set_beside, tables_beside
from emotion_circuits.study._stages_own import run_analysis
from emotion_circuits.study._stages_record import fit_model, judge_directions, record_model, record_twin, twin_names
from emotion_circuits.study._stages_share import (
    align_models,
    alignable,
    pairs_of,
    record_for_maps,
    steer_mapped,
)
from emotion_circuits.study._stages_steer import steer_test, sweep_development
from emotion_circuits.study._stages_swap import swap_pairs
from emotion_circuits.study._stages_text import write_and_score
from emotion_circuits.study._store import stage_key
from emotion_circuits.study._workshop import Workshop, slug

KINDS = {*NEEDS, "components", "methods", "fit_texts", "maps", "mapped_steering", "claims", "report"}
"""What stages' names begin with."""


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
    stages: list[Stage] = []
    common = {
        "dtype": study.dtype,
        "device": resolve_device(study.device).type,
        "bos": study.bos,
        "threads": study.threads,
        "batch_tokens": study.batch_tokens,
        "seed": study.seed,
        "profile": study.profile,
        "float32_products": study.float32_products,
        "texts": study.bank.hash,
    }
    for name in study.models:
        recorded = _recording(study, name, common, stages)
        fit = Stage(f"directions/{slug(name)}", common, (recorded[0],), lambda w, m=name: fit_model(w, m))  # type: ignore[misc]
        effects = study.effects.model_dump()
        quality = Stage(
            f"quality/{slug(name)}", common | {"effects": effects}, (*recorded, fit.name),
            lambda w, m=name: judge_directions(w, m),  # type: ignore[misc]
        )  # fmt: skip
        plan = study.steering.model_dump(mode="json")
        sweep = Stage(
            f"sweep/{slug(name)}", common | {"steering": plan}, (fit.name,),
            lambda w, m=name: sweep_development(w, m),  # type: ignore[misc]
        )  # fmt: skip
        steer = Stage(
            f"steering/{slug(name)}", common | {"steering": plan, "effects": effects},
            (recorded[0], fit.name, sweep.name), lambda w, m=name: steer_test(w, m),  # type: ignore[misc]
        )  # fmt: skip
        text = Stage(
            f"text/{slug(name)}", common | {"steering": plan},
            (recorded[0], fit.name, steer.name),
            lambda w, m=name: write_and_score(w, m),  # type: ignore[misc]
        )  # fmt: skip
        swap = Stage(
            f"swap/{slug(name)}",
            common
            | {"interchange": study.interchange.model_dump(mode="json"), "revision": revision_of(name)},
            (), lambda w, m=name: swap_pairs(w, m),  # type: ignore[misc]
        )  # fmt: skip
        of_pairs = common | {
            "components": study.components.model_dump(mode="json"), "revision": revision_of(name),
        }  # fmt: skip
        heads = Stage(
            f"heads/{slug(name)}", of_pairs | {"untrained": twin_names(study, name)}, (fit.name,),
            lambda w, m=name: screen_components(w, m),  # type: ignore[misc]
        )  # fmt: skip
        circuits = Stage(
            f"circuits/{slug(name)}", of_pairs | {"effects": effects}, (),
            lambda w, m=name: join_circuits(w, m),  # type: ignore[misc]
        )  # fmt: skip
        stages += [fit, quality, sweep, steer, text, swap, heads, circuits]
        if study.methods is not None:
            methods = study.methods.model_dump(mode="json") | {"position": study.steering.position}
            stages.append(
                Stage(
                    f"methods/{slug(name)}", common | {"methods": methods},
                    (fit.name, sweep.name), lambda w, m=name: set_beside(w, m),  # type: ignore[misc]
                )
            )  # fmt: skip
        stages += _own(study, name, common)
    stages += _sharing(study, common)
    stages.append(Stage("claims", {}, tuple(claim_files(study)), judge_all, partial=True))
    inputs = tuple(s.name for s in stages)
    stages.append(Stage("report", {"beside": tables_beside(study)}, inputs, write_report, partial=True))
    return tuple(stages)


def _recording(study: Study, name: str, parameters: dict[str, Any], stages: list[Stage]) -> list[str]:
    """Add the recording stages of a model and its twins; return their names, the model's own first."""
    own = Stage(
        f"activations/{slug(name)}",
        parameters | {"generic_texts": study.generic_texts, "revision": revision_of(name)},
        (),
        lambda w, m=name: record_model(w, m),  # type: ignore[misc]
    )
    twins = [
        Stage(
            f"activations/{slug(twin)}", parameters | {"revision": revision_of(twin)}, (),
            lambda w, m=twin: record_twin(w, m),  # type: ignore[misc]
        )
        for twin in twin_names(study, name)
    ]  # fmt: skip
    stages += [own, *twins]
    return [own.name, *(twin.name for twin in twins)]


def _own(study: Study, name: str, parameters: dict[str, Any]) -> list[Stage]:
    """A stage for each analysis from outside the package.

    Raises:
        InputError: an analysis with the name of another kind of stage.
    """
    taken = [own.name for own, _ in study.own_analyses if own.name in KINDS]
    if taken:
        raise InputError("An analysis has the name of a stage.", found=taken[0], next_step="give it another name")
    return [
        Stage(
            f"{own.name}/{slug(name)}",
            parameters | {"plan": plan.model_dump(mode="json"), "code": own.code, "revision": revision_of(name)},
            tuple(f"{need}/{slug(name)}" for need in own.needs),
            lambda w, m=name, own=own, plan=plan: run_analysis(w, own, plan, m),  # type: ignore[misc]
        )
        for own, plan in study.own_analyses
    ]


def _sharing(study: Study, parameters: dict[str, Any]) -> list[Stage]:
    """The stages that compare models; none in a study of one."""
    plan = study.sharing.model_dump(mode="json")
    names = alignable(study)
    stages = [
        Stage(
            f"fit_texts/{slug(name)}",
            parameters
            | {"revision": revision_of(name), "fit": [plan["fit"], plan["n_fit"], plan["untrained_seeds"]]},
            (), lambda w, m=name: record_for_maps(w, m),  # type: ignore[misc]
        )
        for name in names
    ]  # fmt: skip
    effects = study.effects.model_dump()
    for a, b in pairs_of(study):
        inputs = [f"{kind}/{slug(name)}" for name in (a, b) for kind in ("fit_texts", "activations", "directions")]
        stages.append(
            Stage(
                f"maps/{pair_slug(a, b)}", parameters | {"sharing": plan, "effects": effects}, tuple(inputs),
                lambda w, a=a, b=b: align_models(w, a, b),  # type: ignore[misc]
            )
        )  # fmt: skip
    for a, b in combinations(names, 2):
        stages.append(
            Stage(
                f"components/{pair_slug(a, b)}", {"seed": study.seed}, (f"heads/{slug(a)}", f"heads/{slug(b)}"),
                lambda w, a=a, b=b: compare_components(w, a, b),  # type: ignore[misc]
            )
        )  # fmt: skip
    for name in names:
        maps = [f"maps/{pair_slug(a, b)}" for a, b in pairs_of(study) if b == name]
        stages.append(
            Stage(
                f"mapped_steering/{slug(name)}", parameters,
                (f"directions/{slug(name)}", f"sweep/{slug(name)}", *maps),
                lambda w, m=name: steer_mapped(w, m),  # type: ignore[misc]
            )
        )  # fmt: skip
    return stages


def claim_files(study: Study) -> dict[str, str]:
    """Stage that makes claims → the name of its file of them."""
    of_models = {"quality": "rq1", "steering": "rq3", "circuits": "rq4"}
    names = {f"{kind}/{slug(m)}": f"{rq}_{slug(m)}" for m in study.models for kind, rq in of_models.items()}
    names |= {f"{a.name}/{slug(m)}": f"{a.name}_{slug(m)}" for m in study.models for a, _ in study.own_analyses}
    return names | {f"maps/{pair_slug(a, b)}": f"maps_{pair_slug(a, b)}" for a, b in pairs_of(study)}


def judge_all(work: Workshop) -> list[Path]:
    """All models' claims, judged together, in claims.json."""
    names = [file for stage, file in claim_files(work.study).items() if stage not in work.missing]
    path = work.folder / "claims.json"
    write_claims(path, judge(read_unjudged(work.folder, names)))
    return [path]


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
