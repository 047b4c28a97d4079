"""The earlier project's metrics, computed as it computed them, on models and on noise, beside what to use instead."""

from emotion_circuits._rooms import callable_room
from emotion_circuits.audit._metrics import K_VALUES
from emotion_circuits.audit._rows import AuditRow, AuditVerdict, Band, audit_table, verdict_of
from emotion_circuits.audit._run import N_NOISE, STAGES, AuditReport, OverlapOnNoise, Stage, audit, n_steps

__all__ = [
    "K_VALUES",
    "N_NOISE",
    "STAGES",
    "AuditReport",
    "AuditRow",
    "AuditVerdict",
    "Band",
    "OverlapOnNoise",
    "Stage",
    "audit",
    "audit_table",
    "n_steps",
    "verdict_of",
]

callable_room(__name__, "audit")
