"""Does steering along an emotion do more than along any direction of the same size? Controls and their test."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emotion_circuits.directions import Activations, DirectionSet, cleaned_values, matched_texts
from emotion_circuits.engine import DEFAULT_BATCH_TOKENS
from emotion_circuits.interventions._steer import LayerDeltas, dosed, slot_outcomes
from emotion_circuits.interventions._sweep import Choice
from emotion_circuits.models import LoadedModel
from emotion_circuits.prompts import CLASSES
from emotion_circuits.scoring import SlotTask
from emotion_circuits.statistics import exceedance_p, permute_within_groups

FloatArray = NDArray[np.float64]


def isotropic_directions(n: int, d_model: int, *, centred: bool, seed: int) -> FloatArray:
    """(n, d) unit vectors, uniform on the sphere (without the all-ones component where the model cannot see it)."""
    drawn = np.random.default_rng(seed).standard_normal((n, d_model))
    if centred:
        drawn -= drawn.mean(axis=1, keepdims=True)
    unit: FloatArray = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def shuffled_label_directions(
    explicit: Activations, directions: DirectionSet, layer: int, n: int, *, seed: int
) -> FloatArray:
    """(n, d) unit vectors made as specific directions are, from labels permuted within scenarios.

    They point where texts of one scenario differ anyway, which is a harder control than any direction of the space.
    """
    values = cleaned_values(explicit, directions.position, directions.generic, directions.cleaned)[layer + 1]
    labels, scenarios = explicit.labels, explicit.scenarios
    matched_texts(labels, scenarios)  # refuses incomplete scenarios
    classes, codes = np.unique(labels, return_inverse=True)
    permuted = permute_within_groups(codes, scenarios, n, seed)
    # Specific direction of the first emotion under each draw: its class mean minus the mean over emotions.
    emotions = [i for i, c in enumerate(classes) if c != "neutral"]
    target = emotions[0]
    weights = (permuted == target).astype(np.float64) - np.isin(permuted, emotions) / len(emotions)
    drawn = weights @ values
    unit: FloatArray = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def slopes(log_odds: ArrayLike, dose: float) -> FloatArray:
    """(directions, 2 doses −d and +d, contexts, classes) → (directions, contexts, classes) nats per unit of dose."""
    values = np.asarray(log_odds, dtype=np.float64)
    result: FloatArray = (values[:, 1] - values[:, 0]) / (2 * dose)
    return result


class ControlSlopes(NamedTuple):
    """Slopes of control directions: kind, and (controls, contexts, classes) in nats per unit of dose."""

    kind: str
    slopes: FloatArray

    def for_emotion(self, emotion: str) -> FloatArray:
        """(controls,) mean slope of an emotion's own log-odds over contexts."""
        result: FloatArray = self.slopes[:, :, CLASSES.index(emotion)].mean(axis=1)
        return result


def control_slopes(
    lm: LoadedModel,
    directions: DirectionSet,
    slots: SlotTask,
    choice: Choice,
    kind: str,
    units: FloatArray,
    *,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    on_variants: Callable[[int], None] | None = None,
) -> ControlSlopes:
    """Steer along ± every control vector and give the slopes of both signs: v and −v are two controls.

    One pair of runs serves both, since the slope along −v is minus the slope along v. With the null symmetric under
    sign, as it is for isotropic directions (and nearly for label-permuted ones, which serve as a floor only),
    p = (b + 1)/(m + 1) over all 2n of them stays valid: the tested direction beats all of them with probability
    1/2 · 1/(n + 1) < 1/(2n + 1).

    Args:
        units: (n, d) unit vectors.
    """
    scale = float(directions.generic.norm[choice.layer + 1])
    deltas = dosed(units, scale, (-choice.dose, choice.dose))
    [odds] = slot_outcomes(
        lm, slots, [LayerDeltas(choice.layer, deltas)], batch_tokens=batch_tokens, on_variants=on_variants
    )
    found = slopes(odds.reshape(len(units), 2, *odds.shape[1:]), choice.dose)
    return ControlSlopes(kind, np.concatenate([found, -found]))


def against_controls(observed: float, controls: FloatArray) -> tuple[float, float, float, float]:
    """p, mean, 2.5 % and 97.5 % points of the control slopes."""
    # Pairs of both signs cancel exactly but for rounding, which must not reach a claim.
    low, high = np.quantile(controls, [0.025, 0.975])
    return exceedance_p(observed, controls), round(float(controls.mean()), 12) + 0.0, float(low), float(high)
