"""Changing what a model computes and measuring what follows: steering with doses, and its controls."""

from emotion_circuits.interventions._bands import Bands, control_bands, with_bands
from emotion_circuits.interventions._controls import (
    ControlSlopes,
    against_controls,
    control_slopes,
    isotropic_directions,
    shuffled_label_directions,
    slopes,
)
from emotion_circuits.interventions._material import (
    SweepMaterial,
    balanced_contexts,
    contexts_of,
    few_continuations,
    seconds_for,
    sweep_material,
)
from emotion_circuits.interventions._side_by_side import Continued, SideBySide, side_by_side, steering_edit
from emotion_circuits.interventions._steer import (
    LayerDeltas,
    check_doses,
    continuation_outcomes,
    dosed,
    slot_outcomes,
)
from emotion_circuits.interventions._sweep import (
    CONTINUATIONS,
    PERPLEXITY,
    WORD_SET,
    Choice,
    Layout,
    SweepResult,
    choose_layer_and_dose,
    relative_layers,
    sweep,
    sweep_cost,
)

__all__ = [
    "CONTINUATIONS",
    "PERPLEXITY",
    "WORD_SET",
    "Bands",
    "Choice",
    "Continued",
    "ControlSlopes",
    "LayerDeltas",
    "Layout",
    "SideBySide",
    "SweepMaterial",
    "SweepResult",
    "against_controls",
    "balanced_contexts",
    "check_doses",
    "choose_layer_and_dose",
    "contexts_of",
    "continuation_outcomes",
    "control_bands",
    "control_slopes",
    "dosed",
    "few_continuations",
    "isotropic_directions",
    "relative_layers",
    "seconds_for",
    "shuffled_label_directions",
    "side_by_side",
    "slopes",
    "slot_outcomes",
    "steering_edit",
    "sweep",
    "sweep_cost",
    "sweep_material",
    "with_bands",
]
