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
from emotion_circuits.components._dose_response import DoseResponse, dose_response_table, dose_responses
from emotion_circuits.components._effects import ComponentEffect, agreeing, effects_of, effects_table
from emotion_circuits.components._exact import ExactEffects, exact_effects
from emotion_circuits.components._interchange import (
    DIRECTIONS,
    PLACES,
    SWAP_SITES,
    Direction,
    Interchange,
    Swapped,
    interchange,
)
from emotion_circuits.components._interchange_rows import gap_is_clear, interchange_measures, kind_of, recovered
from emotion_circuits.components._method_rows import MethodRow, compare_methods, methods_table, title_of
from emotion_circuits.components._methods import ABLATE, ABLATED_AT, WAYS, Setting, Way, method_texts, n_texts
from emotion_circuits.components._outcomes import (
    ContinuationOutcome,
    Outcome,
    ProjectionOutcome,
    WordSetOutcome,
)
from emotion_circuits.components._pairs import DEFAULT_BRIDGE, Bridge, Pair, PairSet, matched_pairs
from emotion_circuits.components._screen import Agreement, Screen, screen

__all__ = [
    "ABLATE",
    "ABLATED_AT",
    "DEFAULT_BRIDGE",
    "DIRECTIONS",
    "METHODS",
    "PLACES",
    "SWAP_SITES",
    "WAYS",
    "Agreement",
    "Attribution",
    "Bridge",
    "Changes",
    "Component",
    "ComponentEffect",
    "ContinuationOutcome",
    "Direction",
    "DoseResponse",
    "ExactEffects",
    "GenericValues",
    "Interchange",
    "Kind",
    "Method",
    "MethodRow",
    "Outcome",
    "Pair",
    "PairSet",
    "ProjectionOutcome",
    "Ranking",
    "Screen",
    "Setting",
    "Swapped",
    "Way",
    "WordSetOutcome",
    "Written",
    "ablate",
    "agreeing",
    "attention_to_span",
    "attribute",
    "check_components",
    "compare_methods",
    "direct_effects",
    "dose_response_table",
    "dose_responses",
    "effects_of",
    "effects_table",
    "exact_effects",
    "gap_is_clear",
    "generic_values",
    "head_spec",
    "interchange",
    "interchange_measures",
    "kind_of",
    "matched_pairs",
    "method_texts",
    "methods_table",
    "n_texts",
    "parse_head_spec",
    "parse_spec",
    "patch",
    "random_sets",
    "recovered",
    "screen",
    "title_of",
]
