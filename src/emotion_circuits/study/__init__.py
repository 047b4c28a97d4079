"""A study: one configuration, stages with content hashes, a store that survives being killed."""

from emotion_circuits.analyses import (
    REFERENCE_MODELS,
    ComponentsPlan,
    EffectsOfInterest,
    InterchangePlan,
    MethodsPlan,
    Progress,
    QualityPlan,
    SharingPlan,
    SteeringPlan,
    Workshop,
)
from emotion_circuits.study._claims import read_unjudged
from emotion_circuits.study._config import Study, kept_settings, read_study, study_from_mapping
from emotion_circuits.study._plan import Stage, keys_of, plan_study
from emotion_circuits.study._run import StudyResult, run_study
from emotion_circuits.study._store import Store
from emotion_circuits.study._tracking import Tracked, can_track, record_study

__all__ = [
    "REFERENCE_MODELS",
    "ComponentsPlan",
    "EffectsOfInterest",
    "InterchangePlan",
    "MethodsPlan",
    "Progress",
    "QualityPlan",
    "SharingPlan",
    "Stage",
    "SteeringPlan",
    "Store",
    "Study",
    "StudyResult",
    "Tracked",
    "Workshop",
    "can_track",
    "kept_settings",
    "keys_of",
    "plan_study",
    "read_study",
    "read_unjudged",
    "record_study",
    "run_study",
    "study_from_mapping",
]
