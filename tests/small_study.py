"""A small study of a tiny model in a folder: seconds, with every stage of the default study."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from emotion_circuits.models import ModelName
from emotion_circuits.study import ComponentsPlan, InterchangePlan, SteeringPlan, Study

N_LAYERS = 3
"""Of the study's own model. What a stage costs grows with them; three are a first, a middle and a last one."""

PLANS: dict[str, Any] = {
    "threads": 1,
    "generic_texts": 16,
    "steering": SteeringPlan(
        depths=2, doses=(-0.2, 0.2), development_contexts=4, continuations_per_class=1,
        covariance_controls=20, isotropic_controls=4, shuffled_controls=10, control_contexts=8, text_contexts=8,
        text_tokens=6,
    ),
    "interchange": InterchangePlan(depths=1, places=("word", "last"), pairs=8),
    "components": ComponentsPlan(
        pairs=8, exact=1, examples=1, ranking="attribution", random_sizes=(0.2,), draws=2, dropped=1
    ),
}  # fmt: skip


class Small(NamedTuple):
    """Two models, and studies that take seconds."""

    model: str
    other: str

    @property
    def slug(self) -> str:
        return ModelName.parse(self.model).slug

    @property
    def other_slug(self) -> str:
        return ModelName.parse(self.other).slug

    def study(self, results: Path, **changes: Any) -> Study:
        return Study(results=results, **{"models": (self.model,), **PLANS, **changes})
