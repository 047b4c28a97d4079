"""Maps between every two models, what of them detects emotions, RQ2 and RQ5."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from emotion_circuits import prompts
from emotion_circuits.analyses._analysis import Measures, analysis
from emotion_circuits.analyses._fit_texts import SharingPlan, fit_folder
from emotion_circuits.analyses._settings import EffectsOfInterest
from emotion_circuits.analyses._work import Workshop, activation_folder
from emotion_circuits.comparison import (
    ALIGNMENT,
    FIT_POSITION,
    TRANSFER,
    PairAlignment,
    Side,
    align_pair,
    alignment_claims,
    detect,
    detection_rows,
    map_path,
    n_steps,
    pair_name,
    shared_claim,
    transfer_claims,
    twins_of,
    write_alignment,
)
from emotion_circuits.directions import Activations, load_activations
from emotion_circuits.interventions import relative_layers
from emotion_circuits.statistics import Claim, untested


@analysis(
    "maps", command="", question="RQ2, RQ5", needs=("fit_texts", "activations", "directions"), scope="ordered pair",
    plan_key="sharing", reads=("effects",),
)  # fmt: skip
class AlignModels:
    """The map from A to B with its nulls and floors, and what of it detects emotions in B."""

    Plan = SharingPlan

    def run(self, work: Workshop, plan: SharingPlan, a: str, b: str) -> Measures:
        study = work.study
        missing = _untested(work, a, b)
        if any(claim.id == "rq2.shared" for claim in missing):
            return Measures(claims=missing)
        with work.progress(f"{a} → {b}: maps and their nulls", n_steps(2 * len(plan.untrained_seeds))) as done:
            pair = aligned(work, a, b, done)
        folder = work.folder
        directions = work.directions(b, FIT_POSITION)
        implicit = load_activations(activation_folder(work, b) / "implicit")
        mapped, detected = detect(pair, directions, implicit, n_draws=plan.draws, seed=study.seed)
        chosen, layers, map_file = write_alignment(pair, folder, detection_rows(pair, detected))
        directions_file = mapped.save(mapped_path(work, a, b), plan.steered_shuffles)
        evidence = chosen.relative_to(folder).as_posix()
        effects = work.plan(EffectsOfInterest)
        claims = [
            shared_claim(pair, effects.shared, evidence),
            *alignment_claims(pair, effects.alignment, evidence),
            *transfer_claims(pair, detected, effects.transfer, evidence),
            *missing,
        ]
        return Measures(files=[layers, chosen, map_file, directions_file], claims=claims)


def aligned(work: Workshop, a: str, b: str, on_step: Callable[[int], None]) -> PairAlignment:
    """The map from A to B at the plan's layers, from recorded activations."""
    study = work.study
    plan = work.plan(SharingPlan)
    one, two = _side(work, a, activation_folder(work, a)), _side(work, b, activation_folder(work, b))
    twins = [
        [_side(work, t, fit_folder(work, t) / "explicit") for t in twins_of(name, plan.untrained_seeds)]
        for name in (a, b)
    ]
    rows = [(0, *(layer + 1 for layer in relative_layers(side.n_rows - 1, plan.depths))) for side in (one, two)]
    return align_pair(
        one, two, *twins, rows_a=rows[0], rows_b=rows[1], method=plan.method, n_draws=plan.draws, seed=study.seed,
        n_jobs=study.threads, on_step=on_step,
    )  # fmt: skip


def _side(work: Workshop, name: str, explicit: Path) -> Side:
    return Side(load_activations(fit_folder(work, name)), _in_shared_scenarios(work, load_activations(explicit)))


def _in_shared_scenarios(work: Workshop, texts: Activations) -> Activations:
    """The emotions that stand in the same scenarios, which maps are judged by."""
    alone = {emotion for emotion in work.bank.emotions if _alone(work, emotion)}
    own = {t.scenario for t in texts.data if t.emotion in alone}
    return texts.only([t.scenario not in own for t in texts.data])


def _alone(work: Workshop, emotion: str) -> str | None:
    """Why an emotion takes no part in maps; None if it does."""
    return prompts.lacking(work.bank, emotion).get(prompts.SHARED)


def _untested(work: Workshop, a: str, b: str) -> list[Claim]:
    """Claims about emotions that take no part in maps, and about the models where there are no maps."""
    model = pair_name(a, b)
    alone = {emotion: why for emotion in work.bank.emotions if (why := _alone(work, emotion))}
    claims = [
        untested(id, model, emotion, statistic, why)
        for emotion, why in alone.items()
        for id, statistic in (("rq5.alignment", ALIGNMENT), ("rq5.transfer", TRANSFER))
    ]
    if len(alone) == len(work.bank.emotions):
        why = "no two emotions stand in the same scenarios"
        claims.append(untested("rq2.shared", model, None, "aligned overlap S* of the emotions' subspaces", why))
    return claims


def mapped_path(work: Workshop, a: str, b: str) -> Path:
    """Where the directions mapped from A to B lie."""
    path = map_path(work.folder, a, b)
    return path.with_name(f"{path.stem}_directions.safetensors")
