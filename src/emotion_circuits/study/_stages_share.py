"""Stages that compare models: texts to fit maps on, maps between every two models, and what arrives through them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from pathlib import Path

from emotion_circuits import prompts
from emotion_circuits._files import write_table
from emotion_circuits.comparison import (
    ALIGNMENT,
    FIT_POSITION,
    TRANSFER,
    MappedDirections,
    PairAlignment,
    Side,
    align_pair,
    alignment_claims,
    detect,
    detection_rows,
    fit_texts,
    map_path,
    n_steps,
    pair_name,
    pair_slug,
    pairs_table,
    record_fit_texts,
    record_side,
    shared_claim,
    steer,
    steering_rows,
    transfer_claims,
    twins_of,
    write_alignment,
)
from emotion_circuits.directions import Activations, load_activations, load_directions, save_activations
from emotion_circuits.interventions import relative_layers
from emotion_circuits.models import ModelName
from emotion_circuits.scoring import slot_task, where_told
from emotion_circuits.statistics import Claim, untested
from emotion_circuits.study._claim_files import write_unjudged
from emotion_circuits.study._config import Study
from emotion_circuits.study._stages_steer import read_choice
from emotion_circuits.study._workshop import Workshop, activation_folder, directions_path, slug


def alignable(study: Study) -> tuple[str, ...]:
    """The models that are compared: the trained ones, if there are two or more."""
    names = tuple(name for name in study.models if not ModelName.parse(name).is_untrained)
    return names if len(names) > 1 else ()


def pairs_of(study: Study) -> list[tuple[str, str]]:
    """Ordered pairs of the models that are compared."""
    return list(permutations(alignable(study), 2))


def record_for_maps(work: Workshop, name: str) -> list[Path]:
    """Activations of the fit texts in a model, and of fit and emotion texts in its untrained twins."""
    plan, batch_tokens = work.study.sharing, work.study.batch_tokens
    texts, data = fit_texts(work.bank, plan.fit, plan.n_fit), work.bank.profile(work.study.profile)
    lm = work.model(name)
    with work.progress(f"{name}: recording texts to fit maps on", plan.n_fit) as done:
        fit = record_fit_texts(lm, texts, batch_tokens=batch_tokens, on_batch=done)
    files = save_activations(fit, _fit_folder(work, name))
    for twin in twins_of(name, plan.untrained_seeds):
        lm = work.model(twin)
        with work.progress(f"{twin}: recording texts to fit maps on", plan.n_fit) as done:
            side = record_side(lm, data, texts, batch_tokens=batch_tokens, on_batch=done)
        files += save_activations(side.fit, _fit_folder(work, twin))
        files += save_activations(side.explicit, _fit_folder(work, twin) / "explicit")
    return files


def align_models(work: Workshop, a: str, b: str) -> list[Path]:
    """The map from A to B with its nulls and floors, what of it detects emotions in B, and the claims."""
    study = work.study
    plan = study.sharing
    missing = _untested(work, a, b)
    if any(claim.id == "rq2.shared" for claim in missing):
        return [write_unjudged(work.folder, f"maps_{pair_slug(a, b)}", missing)]
    with work.progress(f"{a} → {b}: maps and their nulls", n_steps(2 * len(plan.untrained_seeds))) as done:
        pair = aligned(work, a, b, done)
    folder = work.folder
    directions = load_directions(directions_path(work, b, FIT_POSITION))
    implicit = load_activations(activation_folder(work, b) / "implicit")
    mapped, detected = detect(pair, directions, implicit, n_draws=plan.draws, seed=study.seed)
    chosen, layers, map_file = write_alignment(pair, folder, detection_rows(pair, detected))
    directions_file = mapped.save(_mapped_path(work, a, b), plan.steered_shuffles)
    evidence = chosen.relative_to(folder).as_posix()
    effects = study.effects
    claims = [
        shared_claim(pair, effects.shared, evidence),
        *alignment_claims(pair, effects.alignment, evidence),
        *transfer_claims(pair, detected, effects.separability, evidence),
        *missing,
    ]
    return [layers, chosen, map_file, directions_file, write_unjudged(folder, f"maps_{pair_slug(a, b)}", claims)]


def steer_mapped(work: Workshop, target: str) -> list[Path]:
    """Steering of one model along directions mapped from every other, beside its own and shuffled maps."""
    study = work.study
    lm = work.model(target)
    directions = load_directions(directions_path(work, target, FIT_POSITION))
    slots, _ = where_told(lambda words: slot_task(lm, prompts.contexts("test"), words), work.bank.word_sets())
    dose = read_choice(work.folder / "patching" / f"{slug(target)}_choice.json").dose
    rows = []
    for source in alignable(study):
        if source == target or not _mapped_path(work, source, target).is_file():
            continue
        mapped = MappedDirections.load(_mapped_path(work, source, target))
        n_shuffled = len(mapped.shuffled)
        variants = (2 + n_shuffled) * len(mapped.emotions) * 2 * len(slots.batches)
        with work.counting(f"{source} → {target}: steering along mapped directions", variants) as add:
            found = steer(
                lm, mapped, directions, dose, slots, n_shuffled=n_shuffled, seed=study.seed,
                batch_tokens=study.batch_tokens, on_variants=add,
            )  # fmt: skip
        rows += steering_rows(mapped.route, found)
    path = work.folder / "cross_model" / f"{slug(target)}_mapped_steering.parquet"
    write_table(path, pairs_table(rows))
    return [path]


def aligned(work: Workshop, a: str, b: str, on_step: Callable[[int], None]) -> PairAlignment:
    """The map from A to B at the plan's layers, from recorded activations."""
    study = work.study
    plan = study.sharing
    one, two = _side(work, a, activation_folder(work, a)), _side(work, b, activation_folder(work, b))
    twins = [
        [_side(work, t, _fit_folder(work, t) / "explicit") for t in twins_of(name, plan.untrained_seeds)]
        for name in (a, b)
    ]
    rows = [(0, *(layer + 1 for layer in relative_layers(side.n_rows - 1, plan.depths))) for side in (one, two)]
    return align_pair(
        one, two, *twins, rows_a=rows[0], rows_b=rows[1], method=plan.method, n_draws=plan.draws, seed=study.seed,
        n_jobs=study.threads, on_step=on_step,
    )  # fmt: skip


def _side(work: Workshop, name: str, explicit: Path) -> Side:
    return Side(load_activations(_fit_folder(work, name)), _in_shared_scenarios(work, load_activations(explicit)))


def _in_shared_scenarios(work: Workshop, texts: Activations) -> Activations:
    """The emotions that stand in the same scenarios, which maps are judged by."""
    own = {t.scenario for t in texts.data if t.emotion in work.bank.emotions and _alone(work, t.emotion)}
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


def _fit_folder(work: Workshop, name: str) -> Path:
    return activation_folder(work, name) / f"fit-{work.study.sharing.fit}"


def _mapped_path(work: Workshop, a: str, b: str) -> Path:
    path = map_path(work.folder, a, b)
    return path.with_name(f"{path.stem}_directions.safetensors")
