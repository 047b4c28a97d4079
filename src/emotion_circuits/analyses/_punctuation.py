"""A positive control: is the emotion read from its word, or from the punctuation that sums the text up?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from emotion_circuits.analyses._analysis import Measures, analysis
from emotion_circuits.analyses._settings import AnalysisPlan, Layer, PositionName, Several
from emotion_circuits.analyses._work import Workshop
from emotion_circuits.errors import InputError
from emotion_circuits.interventions import punctuation_control
from emotion_circuits.statistics import Measure


class PunctuationPlan(AnalysisPlan):
    """Where a direction is ablated."""

    of: Several[str] | None = None
    """Emotions whose direction is ablated; by default the study's first."""
    position: PositionName = "mean"
    """Position whose directions are ablated."""
    kind: Literal["specific", "matched", "probe"] = "specific"
    """Which directions."""
    layer: Layer | None = None
    """First block that is ablated; by default the emotion's chosen layer."""
    only: bool = False
    """Ablate at that block only, not at those after it."""
    controls: Annotated[int, Field(ge=20, le=1_000_000)] = 20
    """Random directions, ablated at the same tokens, that give chance."""


@analysis(
    "punctuation", question="RQ3", needs=("directions",), plan_key="punctuation", optional=True, command="punctuation"
)
class AblateAtPunctuation:
    """Ablate a direction at a text's punctuation or word only, or everywhere.

    A positive control, after Tigges et al. 2023: a model should gather part of an emotion at its punctuation. The loss
    is of the difference that an emotion's text makes to the log-odds of its words after a neutral bridge, beside random
    directions ablated at the same tokens.
    """

    Plan = PunctuationPlan

    def run(self, work: Workshop, plan: PunctuationPlan, name: str) -> Measures:
        lm, directions = work.model(name), work.directions(name, plan.position)
        unknown = sorted({*(plan.of or ())} - {*directions.emotions})
        if unknown:
            raise InputError(
                "There is no direction of an emotion.", found=unknown[0], accepted=", ".join(directions.emotions)
            )
        data = work.bank.profile(work.study.profile).select(split="test")
        rows: list[Measure] = []
        first = next(emotion for emotion in work.bank.emotions if emotion in directions.emotions)
        for emotion in plan.of or (first,):
            with work.counting(f"{name}: ablating {emotion}", 1 + 4 * (1 + plan.controls)) as add:
                found = punctuation_control(
                    lm, directions, emotion, data=data, word_sets=work.bank.word_sets(), layer=plan.layer,
                    onwards=not plan.only, kind=plan.kind, n_controls=plan.controls, seed=work.study.seed,
                    batch_tokens=work.study.batch_tokens, on_variants=add,
                )  # fmt: skip
            work.tell(f"{name}: {emotion}: {found.verdict}")
            rows += found.rows
        return Measures(rows=rows)

    def words(self, rows: Sequence[Measure], language: str) -> str:
        """What is lost at punctuation, beside random directions."""
        said = {
            "en": "{}: ablated at punctuation, its direction costs {:.2f} of the gap (random directions {:.2f}).",
            "ja": "{}: 句読点でその方向を除くと差の {:.2f} が失われる(無作為な方向では {:.2f})。",
        }[language]
        lost = [row for row in rows if row.statistic.endswith("at punctuation") and row.value == row.value]
        return " ".join(said.format(row.emotion, row.value, row.chance) for row in lost)
