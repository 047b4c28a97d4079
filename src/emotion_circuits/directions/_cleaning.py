"""What is taken out of activations before directions are fitted, and what that makes of a fitted direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.directions._activations import Activations
from emotion_circuits.directions._generic import GenericStatistics
from emotion_circuits.errors import InputError

DEFAULT_SHARE = 0.5
Rescaling = Literal["standardised", "whitened"]
Cleaning = float | Rescaling
"""A share of generic text's variance whose top components are projected out (0 for none), or a rescaling."""
CleaningName = Literal["components", "standardised", "whitened", "none"]
RESCALINGS: Final[tuple[Rescaling, ...]] = ("standardised", "whitened")
CLEANINGS: Final[tuple[Cleaning, ...]] = (0.0, 0.3, 0.5, 0.7, *RESCALINGS)
"""What `cleaning_rows` compares."""

FloatArray = NDArray[np.float64]


class CleanedLayer(NamedTuple):
    """One layer, cleaned.

    Attributes:
        values: (texts, d), on which directions are fitted.
        back: from directions (…, d) found there to those that the activations as they are can be projected on.
    """

    values: FloatArray
    back: Callable[[FloatArray], FloatArray]


def cleaning_named(name: CleaningName, share: float = DEFAULT_SHARE) -> Cleaning:
    """The cleaning of that name; `share` counts for `components` only.

    Raises:
        InputError: no such cleaning.
    """
    if name == "components":
        return share
    if name == "none":
        return 0.0
    if name not in RESCALINGS:
        raise InputError(f"Unknown cleaning {name!r}.", accepted=", ".join(("components", *RESCALINGS, "none")))
    return name


def cleaning_words(cleaning: Cleaning) -> str:
    """`standardised`, or `components .3` after the share."""
    if isinstance(cleaning, str):
        return cleaning
    return f"components {cleaning:.2g}".replace("0.", ".") if cleaning else "none"


def clean_layers(
    activations: Activations, position: str, generic: GenericStatistics, cleaning: Cleaning = DEFAULT_SHARE
) -> list[CleanedLayer]:
    """All layers, `embed` first, without what says little about a text's emotion (see `cleaned_values`).

    Raises:
        InputError: a share that cannot be removed; for a rescaling, fewer than two neutral texts.
        MeasurementError: for a rescaling, neutral texts that are not finite.
    """
    values = activations.at(position).astype(np.float64)
    share = 0.0 if isinstance(cleaning, str) else cleaning
    cleaned = np.stack([generic.clean(layer, row, share) for row, layer in enumerate(values)])
    centred = activations.source.centred_norm
    if centred:
        cleaned = cleaned - cleaned.mean(axis=-1, keepdims=True)
    if not isinstance(cleaning, str):
        return [CleanedLayer(layer, _unchanged) for layer in cleaned]
    neutral = activations.labels == "neutral"
    rescalings = [_rescaling(layer[neutral], cleaning, centred) for layer in cleaned]
    return [CleanedLayer(rescale(layer), rescale) for layer, rescale in zip(cleaned, rescalings, strict=True)]


def cleaned_values(
    activations: Activations, position: str, generic: GenericStatistics, cleaning: Cleaning = DEFAULT_SHARE
) -> FloatArray:
    """(layers + 1, texts, d) without what says little about a text's emotion: a contrast of them is the direction.

    Either generic text's top principal components, up to a share of its variance, are projected out (Sofroniew et al.
    2026). Or dimensions are rescaled, h → W² h: with W diagonal, one over the standard deviation of the neutral texts
    (`standardised`), or W = Σ^(−1/2) with Σ their shrunk covariance (`whitened`). W once is the cleaning, and once more
    takes a direction back to where activations as they are can be projected on it; both have a scale that leaves the
    neutral texts' mean variance as it is, so that lengths stay in the stream's units. In models whose norms subtract
    the mean the all-ones direction, which they cannot see, is projected out as well.
    """
    layers = clean_layers(activations, position, generic, cleaning)
    return np.stack([layer.back(layer.values) for layer in layers])


def _unchanged(values: FloatArray) -> FloatArray:
    return values


def _rescaling(neutral: FloatArray, name: Rescaling, centred: bool) -> Callable[[FloatArray], FloatArray]:
    """A symmetric map of (…, d), learnt from (n, d) neutral texts. Dimensions in which they do not vary become 0."""
    # Here and not above: most who read directions never rescale, and scikit-learn takes its time to load.
    from emotion_circuits._cleaning import PerDimensionScaler, ShrunkWhitening, require_finite, varying

    require_finite(neutral, "The neutral activations")
    if len(neutral) < 2:
        raise InputError("Rescaling is learnt from neutral texts.", found=len(neutral), accepted="2 or more")
    moving = varying(neutral)
    if not moving.any():
        return np.zeros_like
    learnt = (PerDimensionScaler() if name == "standardised" else ShrunkWhitening()).fit(neutral[:, moving])
    size = float(np.sqrt(neutral[:, moving].var(axis=0).mean()))

    def rescale(values: FloatArray) -> FloatArray:
        result = np.zeros_like(values)
        result[..., moving] = size * learnt.transform_direction(values[..., moving])
        return result - result.mean(axis=-1, keepdims=True) if centred else result

    return rescale
