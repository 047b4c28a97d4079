"""Activations of the texts that maps between models are fitted on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from emotion_circuits.analyses._analysis import Measures, analysis
from emotion_circuits.analyses._settings import ALL_LAYERS, AnalysisPlan, Count, Draws, Seed, Several
from emotion_circuits.analyses._work import Workshop, activation_folder
from emotion_circuits.comparison import fit_texts, record_fit_texts, record_side, twins_of
from emotion_circuits.directions import save_activations
from emotion_circuits.geometry import aligner_codes, aligner_named


class SharingPlan(AnalysisPlan):
    """How models are compared, where a study has two or more trained ones."""

    method: str = "ridge"
    """How maps are fitted: ridge, procrustes, cca, least-squares, anchors, or a registered aligner's name."""
    fit: Literal["neutral", "generic", "generic+target"] = "neutral"
    """Texts that maps are fitted on."""
    n_fit: Annotated[int, Field(ge=100, le=1_000_000)] = 1000
    """How many of them."""
    depths: Count = 4
    """How many relative depths of each model are tried, besides `embed`."""
    untrained_seeds: Several[Seed] = (0, 1, 2)
    """Seeds of the untrained twins on either side."""
    draws: Annotated[int, Field(ge=99, le=1_000_000)] = 1000
    """Of every null."""
    steered_shuffles: Draws = 20
    """Shuffled maps whose directions are steered with; a band, not a test."""
    FULL = {"depths": ALL_LAYERS, "draws": 2000, "steered_shuffles": 199, "untrained_seeds": (0, 1, 2, 3, 4)}  # noqa: RUF012

    @field_validator("method")
    @classmethod
    def _there(cls, method: str) -> str:
        return aligner_named(method).name

    def registered(self) -> dict[str, str]:
        """The aligner's code, if it is a user's own."""
        return {f"aligner {name}": code for name, code in aligner_codes().items() if name == self.method}


@analysis("fit_texts", command="", question="RQ5", scope="compared model", plan_key="sharing")
class RecordFitTexts:
    """In a model, and of fit and emotion texts in its untrained twins."""

    Plan = SharingPlan

    @staticmethod
    def decides(plan: SharingPlan) -> dict[str, Any]:
        """The part of the plan that decides what is recorded."""
        return plan.model_dump(mode="json", include={"fit", "n_fit", "untrained_seeds"})

    def run(self, work: Workshop, plan: SharingPlan, name: str) -> Measures:
        batch_tokens = work.study.batch_tokens
        texts, data = fit_texts(work.bank, plan.fit, plan.n_fit), work.bank.profile(work.study.profile)
        lm = work.model(name)
        with work.progress(f"{name}: recording texts to fit maps on", plan.n_fit) as done:
            fit = record_fit_texts(lm, texts, batch_tokens=batch_tokens, on_batch=done)
        files = save_activations(fit, fit_folder(work, name))
        for twin in twins_of(name, plan.untrained_seeds):
            lm = work.model(twin)
            with work.progress(f"{twin}: recording texts to fit maps on", plan.n_fit) as done:
                side = record_side(lm, data, texts, batch_tokens=batch_tokens, on_batch=done)
            files += save_activations(side.fit, fit_folder(work, twin))
            files += save_activations(side.explicit, fit_folder(work, twin) / "explicit")
        return Measures(files=files)


def fit_folder(work: Workshop, name: str) -> Path:
    """Where a model's activations of these texts lie."""
    return activation_folder(work, name) / f"fit-{work.plan(SharingPlan).fit}"
