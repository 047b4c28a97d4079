"""Does an emotion's direction cross languages? Directions of one language, judged on texts of another."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from emotion_circuits import prompts
from emotion_circuits._files import write_json, write_table
from emotion_circuits._plain import to_plain
from emotion_circuits.analyses._analysis import Measures, analysis, stage_name
from emotion_circuits.analyses._quality import separability_claim
from emotion_circuits.analyses._settings import AnalysisPlan, EffectsOfInterest, Finite, Settings, Several
from emotion_circuits.analyses._work import (
    CLAIM_POSITION,
    Workshop,
    activation_folder,
    recorded_texts,
    slug,
    twin_names,
)
from emotion_circuits.directions import (
    Activations,
    DirectionSet,
    UntrainedTwin,
    character_scores,
    detection_row,
    extract,
    fit_with_layers,
    load_generic,
    project,
)
from emotion_circuits.interventions import side_by_side
from emotion_circuits.models import LoadedModel, model_label
from emotion_circuits.prompts import Dataset, LanguageTexts
from emotion_circuits.scoring import bits_per_character
from emotion_circuits.statistics import Claim, Measure, measures_table, untested

FloatArray = NDArray[np.float64]
ACROSS = "AUROC on implicit texts of another language"
READ = "share of surprise that the order of characters takes away"
ENOUGH = 0.5
"""Of what it is for English: below, the model does not read the language."""
TEXTS_READ = 60
ONWARD, BACK = "rq2.language", "rq2.language_back"


def _there(codes: tuple[str, ...]) -> tuple[str, ...]:
    for code in codes:
        prompts.language_texts(code)
    return codes


class LanguagePlan(AnalysisPlan):
    """Which languages, and what is written in them."""

    of: Annotated[Several[str], AfterValidator(_there)] = ("ja",)
    """Languages with texts of their own: ja."""
    even_unread: bool = False
    """Judge a model that does not read the language too: as a control, whose claims should fail."""
    dose: Finite = 0.4
    """Of an English direction in texts that are written after prompts of the other language."""
    contexts: Annotated[int, Field(ge=1, le=40)] = 8
    """Prompts of the other language, for every emotion."""
    text_tokens: Annotated[int, Field(ge=1, le=1000)] = 30
    """Of each continuation."""


class _Side(NamedTuple):
    """Texts of one language in a model."""

    explicit: Activations
    implicit: Activations


@analysis(
    "language", question="RQ2", needs=("activations", "directions"), plan_key="language",
    reads=("effects", "untrained_seeds"), optional=True, command="language",
)  # fmt: skip
class JudgeAcrossLanguages:
    """Judge directions of one language on texts of another.

    Directions of explicit English texts on texts of another language that name no emotion, and the other way round,
    beside the embedding, shared characters and untrained twins. Texts of another language were written in it, not
    translated. A model that does not read a language, by what the order of characters tells it, is not judged on it.
    """

    Plan = LanguagePlan

    @staticmethod
    def decides(plan: LanguagePlan) -> dict[str, Any]:
        """The settings, and the texts."""
        texts = {code: [prompts.language_texts(code).explicit.hash, prompts.language_texts(code).implicit.hash]
                 for code in plan.of}  # fmt: skip
        return plan.model_dump(mode="json") | {"texts": hashlib.sha256(repr(texts).encode()).hexdigest()[:16]}

    @staticmethod
    def inputs(study: Settings, name: str) -> list[str]:
        """The model's own stages, and what its untrained twins recorded."""
        return [*(stage_name("activations", own) for own in (name, *twin_names(study, name))),
                stage_name("directions", name)]  # fmt: skip

    def run(self, work: Workshop, plan: LanguagePlan, name: str) -> Measures:
        rows: list[Measure] = []
        claims: list[Claim] = []
        written: dict[str, Any] = {}
        for code in plan.of:
            texts = prompts.language_texts(code).only(work.bank.names)
            shares = _shares(work.model(name), {"en": work.bank.implicit(), code: texts.implicit}, work.study.seed)
            rows += [_read_row(name, language, share) for language, share in shares.items()]
            if not plan.even_unread and not shares[code] >= ENOUGH * shares["en"]:
                why = (
                    f"the model does not read {code}: the order of characters takes {shares[code]:.2f} of its surprise "
                    f"away, and {shares['en']:.2f} in English"
                )
                work.tell(f"{name}: {why}")
                claims += [
                    untested(id, _label(name, code), e, ACROSS, why) for id in (ONWARD, BACK) for e in texts.emotions
                ]
                continue
            found_rows, found_claims = self._judged(work, name, texts)
            rows, claims = [*rows, *found_rows], [*claims, *found_claims]
            written[code] = self._written(work, plan, name, texts)
        table = work.folder / "emotion_vectors" / f"{slug(name)}_languages.parquet"
        write_table(table, measures_table(rows))
        texts_file = work.folder / "patching" / f"{slug(name)}_languages.json"
        write_json(texts_file, to_plain(written))
        evidence = (table.relative_to(work.folder).as_posix(),)
        return Measures(files=[table, texts_file], claims=[c.model_copy(update={"evidence": evidence}) for c in claims])

    def _judged(self, work: Workshop, name: str, texts: LanguageTexts) -> tuple[list[Measure], list[Claim]]:
        english, other = _english(work, name), _foreign(work, name, texts)
        directions = work.directions(name, CLAIM_POSITION)
        generic = load_generic(activation_folder(work, name))
        theirs = fit_with_layers(other.explicit, CLAIM_POSITION, generic, implicit=other.implicit)
        in_twins = [(_english(work, t), _foreign(work, t, texts)) for t in twin_names(work.study, name)]
        rows: list[Measure] = []
        claims: list[Claim] = []
        for id, made, made_from, judged, sides in (
            (ONWARD, directions, english, other, [(own, foreign.implicit) for own, foreign in in_twins]),
            (BACK, theirs, other, english, [(foreign, own.implicit) for own, foreign in in_twins]),
        ):
            on = judged.implicit.select(split="test")
            scored = [(UntrainedTwin(*side, CLAIM_POSITION), seen.select(split="test")) for side, seen in sides]
            for emotion in texts.emotions:
                floors = {
                    "embedding": [project(on, made, emotion, "specific", 0)],
                    "characters": [character_scores(made_from.explicit.data, on.data, emotion)],
                    "untrained": [twin.scores(seen, emotion) for twin, seen in scored],
                }
                claims.append(_claim(work, name, id, texts.language, emotion, made, on, floors))
                rows += [
                    detection_row(on, made, emotion, row, "specific", f"{ACROSS} ({id})", work.study.seed)
                    for row in range(made.n_layers + 1)
                ]
        return rows, claims

    def _written(self, work: Workshop, plan: LanguagePlan, name: str, texts: LanguageTexts) -> dict[str, Any]:
        """Continuations of prompts of the other language: clean, along an English direction, along a random one."""
        lm, directions = work.model(name), work.directions(name, CLAIM_POSITION)
        contexts = [context.text for context in texts.openings[: plan.contexts]]
        return {
            emotion: side_by_side(
                lm, directions, emotion, contexts, dose=plan.dose, max_tokens=plan.text_tokens, seed=work.study.seed
            )
            for emotion in texts.emotions
        }

    def words(self, rows: Sequence[Measure], language: str) -> str:
        """What the order of characters tells the model in each language."""
        said = {
            "en": "In {}, the order of characters takes {:.2f} of the model's surprise away.",
            "ja": "{} では、文字の並びがモデルの驚きの {:.2f} を取り除く。",
        }[language]
        return " ".join(said.format(row.kind, row.value) for row in rows if row.statistic == READ)


def _english(work: Workshop, name: str) -> _Side:
    explicit = work.activations(name)
    return _Side(explicit, recorded_texts(activation_folder(work, name) / "implicit", explicit))


def _foreign(work: Workshop, name: str, texts: LanguageTexts) -> _Side:
    lm = work.model(name)
    return _Side(*(extract(lm, data, positions=(CLAIM_POSITION,)) for data in (texts.explicit, texts.implicit)))


def _label(name: str, language: str) -> str:
    return f"{model_label(name)}, {language}"


def _claim(
    work: Workshop, name: str, id: str, language: str, emotion: str, made: DirectionSet, on: Activations,
    floors: Mapping[str, Sequence[FloatArray]],
) -> Claim:  # fmt: skip
    layer = made.chosen_layer[emotion]
    return separability_claim(
        project(on, made, emotion, "specific", layer + 1), on.data, emotion,
        {name: scores for name, scores in floors.items() if scores},
        effect=work.plan(EffectsOfInterest).separability, seed=work.study.seed, question="RQ2", id=id,
        statistic=ACROSS, unit="scenarios", model=_label(name, language), layer=layer, evidence=(),
    )  # fmt: skip


def _shares(lm: LoadedModel, texts: Mapping[str, Dataset], seed: int) -> dict[str, float]:
    """Language → how much of the model's surprise the order of characters takes away, over some neutral texts."""
    rng, found = np.random.default_rng(seed), {}
    for language, data in texts.items():
        some = [t.text for t in data.select(emotion=prompts.NEUTRAL)][:TEXTS_READ]
        mixed = ["".join(rng.permutation(list(text))) for text in some]
        found[language] = 1 - bits_per_character(lm, some) / bits_per_character(lm, mixed)
    return found


def _read_row(name: str, language: str, share: float) -> Measure:
    nan = float("nan")
    return Measure(name, "all", "", -1, language, READ, share, nan, nan, 0.0, nan, nan, 1.0, nan, TEXTS_READ)
