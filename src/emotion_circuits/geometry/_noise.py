"""Pairs of models made of numbers, to see what a method finds where there is nothing to find."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emotion_circuits.errors import InputError

from ._inputs import FloatArray, ScenarioTable, Seed, generator

NAMES = ("neutral", "cyan", "amber", "azure")


@dataclass(frozen=True, eq=False)
class TwoModels:
    """Activations of two models on the same texts: generic ones to fit on, emotion texts to judge on.

    Attributes:
        fit_a, fit_b: (n, d_a) and (n, d_b). fit_labels: (n,) kind of each.
        emotion_a, emotion_b: (t, d_a) and (t, d_b), one text of each of four classes per scenario.
        labels, groups: (t,) class and scenario.
    """

    fit_a: FloatArray
    fit_b: FloatArray
    fit_labels: npt.NDArray[np.str_]
    emotion_a: FloatArray
    emotion_b: FloatArray
    labels: npt.NDArray[np.str_]
    groups: npt.NDArray[np.str_]

    @property
    def table_a(self) -> ScenarioTable:
        """The emotion texts of the first model, arranged."""
        return ScenarioTable.from_texts(self.emotion_a, self.labels, self.groups)

    @property
    def table_b(self) -> ScenarioTable:
        """The emotion texts of the second model, arranged."""
        return ScenarioTable.from_texts(self.emotion_b, self.labels, self.groups)


def independent_models(
    *, n_fit: int = 280, n_scenarios: int = 70, width_a: int = 192, width_b: int = 192, seed: Seed
) -> TwoModels:
    """Two models of independent standard Gaussian numbers: no emotions, nothing shared."""
    rng = generator(seed, 21)
    labels, groups = emotion_design(n_scenarios)
    sizes = ((n_fit, width_a), (n_fit, width_b), (len(labels), width_a), (len(labels), width_b))
    fit_a, fit_b, emotion_a, emotion_b = (rng.standard_normal(size) for size in sizes)
    return TwoModels(fit_a, fit_b, fit_kinds(n_fit), emotion_a, emotion_b, labels, groups)


def emotion_design(n_scenarios: int) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.str_]]:
    """(t,) labels and scenarios, every class once in each."""
    if n_scenarios < 2:
        raise InputError("There must be two scenarios.", found=n_scenarios)
    width = len(str(n_scenarios - 1))
    names = [f"scenario {number:0{width}d}" for number in range(n_scenarios)]
    return np.tile(np.array(NAMES), n_scenarios), np.repeat(np.array(names), len(NAMES))


def fit_kinds(n_texts: int) -> npt.NDArray[np.str_]:
    """(n,) kinds of training texts, two of them."""
    return np.array(["neutral", "other"])[np.arange(n_texts) % 2]
