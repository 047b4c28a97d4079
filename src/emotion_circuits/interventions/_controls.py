"""Does steering along an emotion do more than along any direction of the same size? Controls and their test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from emotion_circuits._parts import Parts
from emotion_circuits.directions import Activations, DirectionSet, cleaned_values
from emotion_circuits.engine import DEFAULT_BATCH_TOKENS
from emotion_circuits.errors import InputError
from emotion_circuits.interventions._actions import line, pushes_along
from emotion_circuits.interventions._steer import slot_outcomes
from emotion_circuits.interventions._sweep import Choice
from emotion_circuits.models import LoadedModel
from emotion_circuits.scoring import SlotTask, column_of
from emotion_circuits.statistics import (
    EMBED_LAYER,
    Blocks,
    SequentialResult,
    exceedance_p,
    permute_within_groups,
    sequential_p,
)

FloatArray = NDArray[np.float64]


DRAWN = ("isotropic", "covariance", "shuffled-label")
"""Kinds of control directions of which any number can be drawn."""
FIXED = ("other-emotion", "sign-flipped", "embedding")
"""Kinds of which there are as many as there are."""
CONTROL_KINDS = (*DRAWN, *FIXED)
CONTROLS_AT_ONCE = 50
ENOUGH_CONTROLS = 20
"""Controls at least as good after which no more are drawn (Besag and Clifford 1991)."""


class Controls:
    """Directions that an emotion's own is compared with, all unit vectors; doses make them as long as the emotion's.

    * ``isotropic``: uniform on the sphere.
    * ``covariance``: with the covariance of generic text, cleaned as the emotion's directions are.
    * ``shuffled-label``: made as specific directions are, from labels permuted within scenarios.
    * ``other-emotion``: the other emotions' own directions.
    * ``sign-flipped``: the emotion's own direction turned round.
    * ``embedding``: the emotion's direction at `embed`, which knows its words and nothing else.

    Args:
        directions: of the model that is steered.
        kind: which of their kinds is compared.
        explicit: what the directions were made from; for ``shuffled-label``.
        tokens: layer → (tokens, d) residual stream on generic text, as `generic_tokens` gives it; for ``covariance``.
    """

    def __init__(
        self,
        directions: DirectionSet,
        kind: str = "specific",
        *,
        explicit: Activations | None = None,
        tokens: Callable[[int], FloatArray] | None = None,
    ):
        self.directions, self.kind, self.explicit = directions, kind, explicit
        # One layer's tokens serve every emotion that has controls of its own length there.
        self.tokens = tokens and lru_cache(maxsize=1)(tokens)

    def of_one_emotion(self, control: str) -> bool:
        """Whether another emotion has other controls of this kind."""
        return control in FIXED

    def count(self, control: str, n: int) -> int:
        """How many controls of a kind there are when `n` are asked for."""
        if control in DRAWN:
            return n
        return len(self.directions.emotions) - 1 if control == "other-emotion" else 1

    def units(self, control: str, layer: int, n: int, emotion: str, seed: int) -> FloatArray:
        """(n, d) control directions of a kind at a layer; as many as there are of a fixed kind.

        Raises:
            InputError: an unknown kind, or one whose material is missing.
        """
        directions = self.directions
        d_model = directions.generic.mean.shape[1]
        match control:
            case "isotropic":
                return isotropic_directions(n, d_model, centred=directions.source.centred_norm, seed=seed)
            case "covariance" if self.tokens is not None:
                return covariance_directions(self.tokens(layer), directions, layer, n, seed=seed)
            case "shuffled-label" if self.explicit is not None:
                return shuffled_label_directions(self.explicit, directions, layer, n, seed=seed)
            case "other-emotion":
                others = [e for e in directions.emotions if e != emotion]
                return np.stack([directions.direction(e, layer, self.kind).unit for e in others])
            case "sign-flipped":
                return -directions.direction(emotion, layer, self.kind).unit[None]
            case "embedding":
                return directions.direction(emotion, EMBED_LAYER, self.kind).unit[None]
            case "covariance" | "shuffled-label":
                need = "generic text" if control == "covariance" else "the texts the directions were made from"
                raise InputError(f"Controls of the kind {control!r} need activations on {need}.")
        raise InputError(f"There are no controls of the kind {control!r}.", accepted=", ".join(CONTROL_KINDS))


def isotropic_directions(n: int, d_model: int, *, centred: bool, seed: int) -> FloatArray:
    """(n, d) unit vectors, uniform on the sphere (without the all-ones component where the model cannot see it)."""
    drawn = np.random.default_rng(seed).standard_normal((n, d_model))
    return _unit(drawn, centred)


def covariance_directions(tokens: FloatArray, directions: DirectionSet, layer: int, n: int, *, seed: int) -> FloatArray:
    """(n, d) unit vectors along Gaussian draws with the covariance of generic text, cleaned as directions are.

    They point where the model's residual stream varies anyway, minus the components that were projected out of the
    emotion's directions too.

    Args:
        tokens: (tokens, d) residual stream after `layer` on generic text.
        directions: whose cleaning is applied; a rescaling is not.
        layer: block index.
        n: how many.
        seed: of the draws.
    """
    centred = tokens - tokens.mean(axis=0)
    drawn = np.random.default_rng(seed).standard_normal((n, len(centred))) @ centred
    if not isinstance(directions.cleaned, str):
        drawn = directions.generic.clean(drawn, layer + 1, directions.cleaned)
    return _unit(drawn, directions.source.centred_norm)


def _unit(drawn: FloatArray, centred: bool) -> FloatArray:
    if centred:
        drawn = drawn - drawn.mean(axis=1, keepdims=True)
    unit: FloatArray = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def shuffled_label_directions(
    explicit: Activations, directions: DirectionSet, layer: int, n: int, *, seed: int
) -> FloatArray:
    """(n, d) unit vectors made as specific directions are, from labels permuted within scenarios.

    They point where texts of one scenario differ anyway, which is a harder control than any direction of the space.
    """
    values = cleaned_values(explicit, directions.position, directions.generic, directions.cleaned)[layer + 1]
    blocks = Blocks.of(explicit.labels, explicit.scenarios)
    # Of the first emotion under each draw.
    weights = blocks.weights(
        blocks.emotions[0], "specific", permute_within_groups(blocks.codes, blocks.groups, n, seed)
    )
    drawn = weights @ values
    unit: FloatArray = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def share_in_span(units: FloatArray, directions: DirectionSet, layer: int) -> float:
    """How much of (n, d) unit vectors lies in the span of the emotions' specific directions at a layer: mean squared
    length of their projections. 1 is all, k/d what random vectors have."""
    # Specific directions of several emotions may depend on each other.
    own = np.stack([directions.direction(e, layer).unit for e in directions.emotions], axis=1)
    basis = linalg.orth(own, rcond=1e-5)
    return float(((units @ basis) ** 2).sum(axis=1).mean())


def slopes(log_odds: ArrayLike, dose: float) -> FloatArray:
    """(directions, 2 doses −d and +d, contexts, classes) → (directions, contexts, classes) nats per unit of dose."""
    values = np.asarray(log_odds, dtype=np.float64)
    result: FloatArray = (values[:, 1] - values[:, 0]) / (2 * dose)
    return result


def both_signs(values: FloatArray) -> FloatArray:
    """(2n, …) v, −v, w, −w, … of (n, …) vectors or their slopes."""
    result: FloatArray = np.stack([values, -values], axis=1).reshape(-1, *values.shape[1:])
    return result


class ControlSlopes(NamedTuple):
    """Slopes of control directions: kind, classes, and (controls, contexts, classes) in nats per unit of dose.

    Controls are v, −v, w, −w, … in the order they were drawn.
    """

    kind: str
    classes: tuple[str, ...]
    slopes: FloatArray

    def for_emotion(self, emotion: str) -> FloatArray:
        """(controls,) mean slope of an emotion's own log-odds over contexts."""
        result: FloatArray = self.slopes[:, :, column_of(self.classes, emotion)].mean(axis=1)
        return result

    def beyond(self, emotion: str, observed: float) -> SequentialResult:
        """p of an emotion's own mean slope on the same contexts, one-sided."""
        controls = self.for_emotion(emotion)
        return sequential_p(
            observed, lambda first, n: controls[first : first + n], len(controls), stop_after=ENOUGH_CONTROLS
        )


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
    parts: Parts | None = None,
    observed: Mapping[str, float] | None = None,
) -> ControlSlopes:
    """Steer along ± every control vector and give the slopes of both signs: v and −v are two controls.

    One pair of runs serves both, since the slope along −v is minus the slope along v. With the null symmetric under
    sign, as it is for isotropic directions (and nearly for label-permuted ones, which serve as a floor only),
    p = (b + 1)/(m + 1) over all 2n of them stays valid: the tested direction beats all of them with probability
    1/2 · 1/(n + 1) < 1/(2n + 1).

    Args:
        units: (n, d) unit vectors.
        parts: keeps every fifty vectors as soon as they are done.
        observed: emotion → its own mean slope on these contexts. Once `ENOUGH_CONTROLS` controls are as good for every
            emotion, no more are tried; None tries all.
    """

    def outcomes(some: FloatArray) -> dict[str, FloatArray]:
        lines = {choice.layer: line(directions, choice.layer, some)}
        pushes = pushes_along(lines, (-choice.dose, choice.dose))
        [odds] = slot_outcomes(lm, slots, [pushes], batch_tokens=batch_tokens, on_variants=on_variants)
        return {"slopes": slopes(odds.reshape(len(some), 2, *odds.shape[1:]), choice.dose)}

    made: list[FloatArray] = []
    for k, start in enumerate(range(0, len(units), CONTROLS_AT_ONCE)):
        some = partial(outcomes, units[start : start + CONTROLS_AT_ONCE])
        found = (some() if parts is None else parts.kept(f"{kind}-{k}", some))["slopes"]
        made.append(both_signs(found))
        if observed and all(
            sum((part[:, :, slots.column(e)].mean(axis=1) >= value).sum() for part in made) >= ENOUGH_CONTROLS
            for e, value in observed.items()
        ):
            break
    return ControlSlopes(kind, slots.classes, np.concatenate(made))


def against_controls(observed: float, controls: FloatArray) -> tuple[float, float, float, float]:
    """p, mean, 2.5 % and 97.5 % points of the control slopes."""
    # Pairs of both signs cancel exactly but for rounding, which must not reach a claim.
    low, high = np.quantile(controls, [0.025, 0.975])
    return exceedance_p(observed, controls), round(float(controls.mean()), 12) + 0.0, float(low), float(high)
