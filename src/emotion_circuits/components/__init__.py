"""Which attention heads and MLP units write and move an emotion: screening, exact effects, ablation, patching."""

from emotion_circuits.components._ablate import (
    METHODS,
    Changes,
    GenericValues,
    Method,
    ablate,
    generic_values,
    patch,
    random_sets,
)
from emotion_circuits.components._attribution import Attribution, attribute
from emotion_circuits.components._components import (
    Component,
    Kind,
    Ranking,
    check_components,
    head_spec,
    parse_head_spec,
    parse_spec,
)
from emotion_circuits.components._direct import Written, attention_to_span, direct_effects
from emotion_circuits.components._effects import ComponentEffect, agreeing, effects_of, effects_table
from emotion_circuits.components._exact import ExactEffects, exact_effects
from emotion_circuits.components._outcomes import (
    ContinuationOutcome,
    Outcome,
    ProjectionOutcome,
    WordSetOutcome,
)
from emotion_circuits.components._pairs import DEFAULT_BRIDGE, Bridge, Pair, PairSet, matched_pairs
from emotion_circuits.components._screen import Agreement, Screen, screen

__all__ = [
    "DEFAULT_BRIDGE",
    "METHODS",
    "Agreement",
    "Attribution",
    "Bridge",
    "Changes",
    "Component",
    "ComponentEffect",
    "ContinuationOutcome",
    "ExactEffects",
    "GenericValues",
    "Kind",
    "Method",
    "Outcome",
    "Pair",
    "PairSet",
    "ProjectionOutcome",
    "Ranking",
    "Screen",
    "WordSetOutcome",
    "Written",
    "ablate",
    "agreeing",
    "attention_to_span",
    "attribute",
    "check_components",
    "direct_effects",
    "effects_of",
    "effects_table",
    "exact_effects",
    "generic_values",
    "head_spec",
    "matched_pairs",
    "parse_head_spec",
    "parse_spec",
    "patch",
    "random_sets",
    "screen",
]
