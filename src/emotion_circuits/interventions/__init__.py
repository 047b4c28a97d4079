"""Changing what a model computes and measuring what follows: steering with doses, and its controls."""

from emotion_circuits.interventions._controls import (
    ControlSlopes,
    against_controls,
    control_slopes,
    isotropic_directions,
    shuffled_label_directions,
    slopes,
)
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
    "Choice",
    "ControlSlopes",
    "LayerDeltas",
    "Layout",
    "SweepResult",
    "against_controls",
    "check_doses",
    "choose_layer_and_dose",
    "continuation_outcomes",
    "control_slopes",
    "dosed",
    "isotropic_directions",
    "relative_layers",
    "shuffled_label_directions",
    "slopes",
    "slot_outcomes",
    "sweep",
    "sweep_cost",
]
