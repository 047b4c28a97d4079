"""Stages that record and fit: activations, directions, their quality and the claims of RQ1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emotion_circuits import prompts
from emotion_circuits._files import write_table
from emotion_circuits.directions import (
    CLAIM_BOOTSTRAP,
    CLAIM_PERMUTATIONS,
    CLAIM_SPLITS,
    IMPLICIT,
    POSITIONS,
    REAL_WORLD,
    Activations,
    DirectionSet,
    EvaluationTexts,
    cleaned_values,
    cosine_rows,
    detection,
    extract,
    fit_with_layers,
    floor_rows,
    foil_rows,
    generic_statistics,
    intensity_rows,
    load_activations,
    load_directions,
    load_generic,
    quality_profile,
    save_activations,
    save_directions,
    save_generic,
)
from emotion_circuits.errors import MeasurementError
from emotion_circuits.models import ModelName, model_label
from emotion_circuits.prompts import IMPLICIT_TEXTS
from emotion_circuits.statistics import (
    Claim,
    Measure,
    measures_table,
    smallest_auroc,
    smallest_from_se,
    split_half_cosine,
    untested,
)
from emotion_circuits.study._claim_files import write_unjudged
from emotion_circuits.study._config import Study
from emotion_circuits.study._workshop import Workshop, activation_folder, directions_path, slug

STABILITY = "split-half cosine of the specific direction"
CLAIM_POSITION = "mean"
TWIN_POSITIONS = ("mean",)
PROBE_POSITIONS = ("mean",)
"""Where foils and intensity series are read."""


def record_model(work: Workshop, name: str) -> list[Path]:
    """Activations of the profile, the implicit and the real-world texts, foils and intensity series, and what generic
    text is like."""
    lm = work.model(name)
    folder = activation_folder(work, name)
    sets = (
        (folder, work.bank.profile(work.study.profile), POSITIONS),
        (folder / "implicit", work.bank.implicit(), POSITIONS),
        (folder / "real_world", work.bank.real_world(), POSITIONS),
        (folder / "foils", work.bank.foils(), PROBE_POSITIONS),
        (folder / "intensity", work.bank.intensity_series(), PROBE_POSITIONS),
    )
    files: list[Path] = []
    for target, data, positions in sets:
        if not len(data):
            continue
        with work.progress(f"{name}: recording {data.name}", len(data)) as done:
            found = extract(lm, data, positions=positions, batch_tokens=work.study.batch_tokens, on_batch=done)
        files += save_activations(found, target)
    generic = generic_statistics(lm, [t.text for t in prompts.generic_sample(work.study.generic_texts)])
    return [*files, save_generic(generic, folder)]


def record_twin(work: Workshop, name: str) -> list[Path]:
    """Activations of an untrained twin, for the floors."""
    lm = work.model(name)
    folder = activation_folder(work, name)
    files = save_activations(extract(lm, work.bank.profile(work.study.profile), positions=TWIN_POSITIONS), folder)
    for where, data in (("implicit", work.bank.implicit()), ("real_world", work.bank.real_world())):
        if not len(data):
            continue
        files += save_activations(extract(lm, data, positions=TWIN_POSITIONS), folder / where)
    return files


def fit_model(work: Workshop, name: str) -> list[Path]:
    """Directions at every position, with the layers chosen on development scenarios."""
    folder = activation_folder(work, name)
    explicit = load_activations(folder)
    implicit = _texts(folder / "implicit", explicit)
    generic = load_generic(folder)
    files = []
    for position in POSITIONS:
        there = explicit.with_position(position)
        if not len(there.data):
            work.tell(f"{name}: no directions at {position}, which no text has")
            continue
        files.append(directions_path(work, name, position))
        save_directions(fit_with_layers(there, position, generic, implicit=implicit), files[-1])
    return files


def _texts(folder: Path, explicit: Activations) -> Activations:
    """Activations of a kind of texts; of none where no class of the study has any."""
    recorded = any(folder.glob("activations_*.safetensors"))
    return load_activations(folder) if recorded else explicit.none(folder.name)


def judge_directions(work: Workshop, name: str) -> list[Path]:
    """Quality of every position over all layers, foils and intensity, cosines between emotions, the claims of RQ1."""
    folder = activation_folder(work, name)
    explicit = load_activations(folder)
    texts = EvaluationTexts(explicit, _texts(folder / "implicit", explicit), _texts(folder / "real_world", explicit))
    quality, cosines = [], []
    with work.progress(f"{name}: quality of directions", len(POSITIONS)) as done:
        for i, position in enumerate(POSITIONS):
            there = texts._replace(explicit=explicit.with_position(position))
            if not len(there.explicit.data):
                continue
            directions = load_directions(directions_path(work, name, position))
            quality += quality_profile(there, directions, work.study.seed)
            cosines += cosine_rows(there.explicit, directions, work.study.seed)
            done(i + 1)
    judged_on = [(IMPLICIT, texts.implicit.select(split="test")), (REAL_WORLD, texts.real_world)]
    floors = floor_rows(name, CLAIM_POSITION, texts.explicit.data, judged_on, _twins(work, name), work.study.seed)
    quality += floors
    directions = load_directions(directions_path(work, name, CLAIM_POSITION))
    foils, intensity = (_texts(folder / kind, explicit) for kind in ("foils", "intensity"))
    quality += foil_rows(explicit, texts.implicit, foils, directions, work.study.seed)
    quality += intensity_rows(intensity, directions, explicit.data, seed=work.study.seed)
    table = work.folder / "emotion_vectors" / f"{slug(name)}_quality.parquet"
    write_table(table, measures_table(quality))
    cosine_table = work.folder / "emotion_vectors" / f"{slug(name)}_cosines.parquet"
    write_table(cosine_table, measures_table(cosines))
    evidence = (table.relative_to(work.folder).as_posix(),)
    claims = []
    for emotion in directions.emotions:
        claims.append(_separability(work, name, emotion, texts, directions, floors, evidence))
        claims.append(_stability(work, name, emotion, texts.explicit, directions, evidence))
    return [table, cosine_table, write_unjudged(work.folder, f"rq1_{slug(name)}", claims)]


def why_untested(work: Workshop, emotion: str, *needs: str) -> str | None:
    """What an emotion lacks for a claim (see `prompts.lacking`), in words; None where it lacks nothing."""
    short = prompts.lacking(work.bank, emotion)
    return "; ".join(short[need] for need in (prompts.CLAIMS, *needs) if need in short) or None


def twin_names(study: Study, name: str) -> list[str]:
    """The untrained twins of a model; an untrained model is its own floor and has none."""
    parsed = ModelName.parse(name)
    return [] if parsed.is_untrained else [str(parsed.untrained(seed)) for seed in study.untrained_seeds]


def _twins(work: Workshop, name: str) -> list[tuple[Activations, Activations, list[Activations]]]:
    """Each untrained twin's explicit and implicit activations, and those of the texts that floors are judged on."""
    found = []
    for twin in twin_names(work.study, name):
        folder = activation_folder(work, twin)
        explicit = load_activations(folder)
        implicit = _texts(folder / "implicit", explicit)
        found.append((explicit, implicit, [implicit.select(split="test"), _texts(folder / "real_world", explicit)]))
    return found


def _separability(
    work: Workshop,
    name: str,
    emotion: str,
    texts: EvaluationTexts,
    directions: DirectionSet,
    floors: Sequence[Measure],
    evidence: tuple[str, ...],
) -> Claim:
    if why := why_untested(work, emotion, IMPLICIT_TEXTS):
        return untested("rq1.separability", model_label(name), emotion, IMPLICIT, why)
    layer = directions.chosen_layer[emotion]
    test = texts.implicit.select(split="test")
    found = detection(
        test, directions, emotion, layer + 1,
        n_bootstrap=CLAIM_BOOTSTRAP, n_permutations=CLAIM_PERMUTATIONS, seed=work.study.seed,
    )  # fmt: skip
    embedding = detection(test, directions, emotion, 0, n_bootstrap=10, n_permutations=10, seed=work.study.seed)
    own_floors = {"embedding": embedding.value}
    for floor in (f for f in floors if f.statistic == IMPLICIT and f.emotion == emotion):
        label = "bag_of_words" if "bag of words" in floor.kind else "untrained"
        # The best of several untrained twins is the floor.
        own_floors[label] = max(floor.value, own_floors.get(label, 0.0))
    return Claim(
        id="rq1.separability",
        question="RQ1",
        model=model_label(name),
        emotion=emotion,
        layer=layer,
        statistic=IMPLICIT,
        value=found.value,
        ci95=(found.interval.low, found.interval.high),
        chance=found.chance,
        ceiling=1.0,
        floors=own_floors,
        null=f"label permutation within scenario, {CLAIM_PERMUTATIONS} draws",
        p=found.p,
        n_unique=found.n_groups,
        evidence=evidence,
        smallest_detectable=smallest_auroc(found.n_positive, found.n_texts - found.n_positive),
        effect_of_interest=work.study.effects.separability,
    )


def _stability(
    work: Workshop,
    name: str,
    emotion: str,
    explicit: Activations,
    directions: DirectionSet,
    evidence: tuple[str, ...],
) -> Claim:
    if why := why_untested(work, emotion):
        return untested("rq1.stability", model_label(name), emotion, STABILITY, why)
    layer = directions.chosen_layer[emotion]
    test = explicit.select(split="test")
    common = {
        "id": "rq1.stability",
        "question": "RQ1",
        "model": model_label(name),
        "emotion": emotion,
        "layer": layer,
        "statistic": STABILITY,
        "ceiling": 1.0,
        "floors": {},
        "null": f"label permutation within scenario, {CLAIM_PERMUTATIONS} draws",
        "evidence": evidence,
        "effect_of_interest": work.study.effects.stability,
    }
    values = cleaned_values(test, directions.position, directions.generic, directions.cleaned)[layer + 1]
    try:
        found = split_half_cosine(
            values,
            test.labels,
            test.scenarios,
            emotion,
            n_splits=CLAIM_SPLITS,
            n_permutations=CLAIM_PERMUTATIONS,
            n_bootstrap=CLAIM_BOOTSTRAP,
            seed=work.study.seed,
        )
    except MeasurementError:  # nothing differs between the classes: the statistic is undefined
        undefined = {
            "value": None,
            "ci95": None,
            "chance": None,
            "p": None,
            "n_unique": int((test.labels == emotion).sum()),
        }
        return Claim.model_validate(common | undefined)
    return Claim.model_validate(
        common
        | {
            "value": found.value,
            "ci95": (found.interval.low, found.interval.high),
            "chance": found.null_mean,
            "floors": {"label_permutation_97.5_percent": found.null_high},
            "p": found.p,
            "n_unique": found.n_groups,
            "smallest_detectable": smallest_from_se(found.standard_error),
        }
    )
