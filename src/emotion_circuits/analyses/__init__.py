"""Every analysis in one file: it is a stage of studies with a key in the study file, a command, and its claims.

A user's own also has a section of the report::

    from emotion_circuits.analyses import AnalysisPlan, analysis

    @analysis("lengths", question="How long are the directions?", needs=("directions",))
    class Lengths:
        class Plan(AnalysisPlan):
            position: str = "mean"

        def run(self, work, plan, model): ...        # → Measures
"""

from emotion_circuits._progress import Progress
from emotion_circuits.analyses._analysis import LANGUAGES, Analysis, Measures, Scope, analysis, stage_name
from emotion_circuits.analyses._built_in import BUILT_IN
from emotion_circuits.analyses._circuits import circuit_claim
from emotion_circuits.analyses._external import QualityPlan
from emotion_circuits.analyses._fit_texts import SharingPlan
from emotion_circuits.analyses._heads import ComponentsPlan
from emotion_circuits.analyses._load import analyses_from, load_analyses
from emotion_circuits.analyses._methods import MethodsPlan
from emotion_circuits.analyses._quality import separability_claim
from emotion_circuits.analyses._settings import (
    REFERENCE_MODELS,
    AnalysisPlan,
    EffectsOfInterest,
    Paths,
    Settings,
)
from emotion_circuits.analyses._steering import control_null, controls_of
from emotion_circuits.analyses._swap import InterchangePlan
from emotion_circuits.analyses._sweep import SteeringPlan, read_choice
from emotion_circuits.analyses._work import Workshop, no_progress

__all__ = [
    "BUILT_IN",
    "LANGUAGES",
    "REFERENCE_MODELS",
    "Analysis",
    "AnalysisPlan",
    "ComponentsPlan",
    "EffectsOfInterest",
    "InterchangePlan",
    "Measures",
    "MethodsPlan",
    "Paths",
    "Progress",
    "QualityPlan",
    "Scope",
    "Settings",
    "SharingPlan",
    "SteeringPlan",
    "Workshop",
    "analyses_from",
    "analysis",
    "circuit_claim",
    "control_null",
    "controls_of",
    "load_analyses",
    "no_progress",
    "read_choice",
    "separability_claim",
    "stage_name",
]
