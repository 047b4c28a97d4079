"""Outcomes that need no sampling: word-set log-odds, teacher-forced continuations, projections."""

from emotion_circuits.scoring._continuations import ContinuationTask, continuation_task
from emotion_circuits.scoring._project import Score, score_texts
from emotion_circuits.scoring._slots import SlotTask, SlotTokens, log_odds, slot_task, slot_tokens

__all__ = [
    "ContinuationTask",
    "Score",
    "SlotTask",
    "SlotTokens",
    "continuation_task",
    "log_odds",
    "score_texts",
    "slot_task",
    "slot_tokens",
]
