"""One row for every number about two models: like `Measure`, with a layer on both sides."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from emotion_circuits.models import ModelName, model_label

if TYPE_CHECKING:
    pass

ALL = "all"
"""Stands for the mean over emotions, or for what belongs to none of them."""


class PairMeasure(NamedTuple):
    """One measured number about model A (source) and model B (target).

    Attributes:
        model_a, model_b: names.
        emotion: which, or `all`.
        position: where texts were read.
        layer_a, layer_b: blocks from 0, -1 for `embed`.
        kind: what was compared, and which arm it is (trained, untrained, a null).
        statistic: its name.
        value, ci_low, ci_high: the number and its 95 % interval over scenarios.
        null: which broken link chance and band come from.
        chance: expectation under that null; null_low, null_high: its 2.5 % and 97.5 % points.
        ceiling: the largest value that could have been reached.
        p: against the null, not adjusted.
        n_unique: scenarios behind it.
    """

    model_a: str
    model_b: str
    emotion: str
    position: str
    layer_a: int
    layer_b: int
    kind: str
    statistic: str
    value: float
    ci_low: float = np.nan
    ci_high: float = np.nan
    null: str = ""
    chance: float = np.nan
    null_low: float = np.nan
    null_high: float = np.nan
    ceiling: float = np.nan
    p: float = np.nan
    n_unique: int = 0


class Route(NamedTuple):
    """From where to where a map leads: models, layers (-1 is `embed`), its method and what it was fitted on."""

    model_a: str
    model_b: str
    layer_a: int
    layer_b: int
    method: str
    fit_set: str

    @property
    def kind(self) -> str:
        """The map in words."""
        return f"{self.method} fitted on {self.fit_set} text"


def pair_name(a: str, b: str) -> str:
    """How claims name an ordered pair of models."""
    return f"{model_label(a)} → {model_label(b)}"


def pair_slug(a: str, b: str) -> str:
    """An ordered pair of models in file names."""
    return f"{ModelName.parse(a).slug}_to_{ModelName.parse(b).slug}"
