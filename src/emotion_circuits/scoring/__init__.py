"""Scores of text: outcomes that need no sampling (word-set log-odds, teacher-forced continuations, projections), and
what can be said of text that a model wrote (scorers, damage, arms beside each other)."""

from emotion_circuits.scoring._continuations import ContinuationTask, continuation_task
from emotion_circuits.scoring._damage import (
    distinct,
    fluency,
    harmonic_score,
    regime,
    repetition,
    words_of,
    wrong_way_share,
)
from emotion_circuits.scoring._evaluation import evaluate_texts
from emotion_circuits.scoring._evaluation_rows import DamageRow, Evaluation, ScoreRow
from emotion_circuits.scoring._generated import (
    CLEAN,
    RANDOM,
    Cell,
    GeneratedText,
    cells_of,
    is_random,
    parse_generated,
    stored_perplexities,
    twin_of,
)
from emotion_circuits.scoring._hf_classifier import HuggingFaceScorer
from emotion_circuits.scoring._judging import ScorerQuality, cross_validate, judge_scorer
from emotion_circuits.scoring._markers import MarkerScorer
from emotion_circuits.scoring._offline import OfflineScorer
from emotion_circuits.scoring._perplexity import bits_per_character, continuation_perplexities
from emotion_circuits.scoring._project import BEST, Score, score_texts
from emotion_circuits.scoring._scorers import (
    OFFLINE_SCORERS,
    SCORERS,
    Setting,
    TextScorer,
    check_scorer,
    forget_scorer,
    make_scorer,
    register_scorer,
    scorer_codes,
    scorers,
)
from emotion_circuits.scoring._slots import (
    SlotTask,
    SlotTokens,
    column_of,
    log_odds,
    slot_task,
    slot_tokens,
    where_told,
)
from emotion_circuits.scoring._vader import VaderScorer

__all__ = [
    "BEST",
    "CLEAN",
    "OFFLINE_SCORERS",
    "RANDOM",
    "SCORERS",
    "Cell",
    "ContinuationTask",
    "DamageRow",
    "Evaluation",
    "GeneratedText",
    "HuggingFaceScorer",
    "MarkerScorer",
    "OfflineScorer",
    "Score",
    "ScoreRow",
    "ScorerQuality",
    "Setting",
    "SlotTask",
    "SlotTokens",
    "TextScorer",
    "VaderScorer",
    "bits_per_character",
    "cells_of",
    "check_scorer",
    "column_of",
    "continuation_perplexities",
    "continuation_task",
    "cross_validate",
    "distinct",
    "evaluate_texts",
    "fluency",
    "forget_scorer",
    "harmonic_score",
    "is_random",
    "judge_scorer",
    "log_odds",
    "make_scorer",
    "parse_generated",
    "regime",
    "register_scorer",
    "repetition",
    "score_texts",
    "scorer_codes",
    "scorers",
    "slot_task",
    "slot_tokens",
    "stored_perplexities",
    "twin_of",
    "where_told",
    "words_of",
    "wrong_way_share",
]
