"""What training adds: the cosine of mapped with own directions in trained models minus the best of untrained ones.

Mean-pooled word identity leaks through any network, so an untrained pair aligns too. The claim is what stands above it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emotion_circuits.errors import InputError
from emotion_circuits.statistics import Gain, Interval, paired_gain, weighted_bootstrap

from ._aligner import Aligner
from ._alignment_results import LayerAlignment
from ._inputs import FloatArray, ScenarioTable, Seed, require_same_design
from ._judging import ContrastKind, Design, Resampled, Space, own_cosines


@dataclass(frozen=True, eq=False)
class MappedContrasts:
    """What a map makes of every scenario's contrasts, beside the target's own.

    Attributes:
        emotions: names of the E emotions.
        scenarios: names of the G scenarios.
        mapped, own: (G, E, d) in the target's space.
    """

    emotions: tuple[str, ...]
    scenarios: tuple[str, ...]
    mapped: FloatArray
    own: FloatArray

    def cosines(self, weights: FloatArray) -> FloatArray:
        """(B, E) cosine of mapped with own directions, when scenarios count `weights` (B, G) times."""
        mapped, own = Resampled.of(self.mapped, weights), Resampled.of(self.own, weights)
        return own_cosines(mapped.cosines(own, own.lengths()))


@dataclass(frozen=True)
class GainResult:
    """Trained minus best other cosine.

    Attributes:
        emotion: the emotion, or None for the mean over them.
        gain: the difference, paired over scenarios; in every draw it is the best other arm *of that draw* that is
            subtracted.
        trained, interval: the trained cosine and its interval over scenarios (BCa).
        others: the other arms' cosines.
        n_scenarios: count.
    """

    emotion: str | None
    gain: Gain
    trained: float
    interval: Interval
    others: tuple[float, ...]
    n_scenarios: int

    @property
    def best_other(self) -> float:
        """The highest of the other arms' cosines."""
        return max(self.others)


@dataclass(frozen=True, eq=False)
class LayerGain:
    """The same differences for every pair of layers: (La, Lb, E) arrays and, for the mean over emotions, (La, Lb)."""

    own: FloatArray
    own_low: FloatArray
    own_high: FloatArray
    mean_own: FloatArray
    mean_own_low: FloatArray
    mean_own_high: FloatArray
    p: FloatArray


def mapped_contrasts(
    aligner: Aligner,
    emotion_a: npt.ArrayLike,
    emotion_b: npt.ArrayLike,
    labels: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    neutral: str = "neutral",
    kind: ContrastKind = "specific",
    space: Space = "standardised",
) -> MappedContrasts:
    """Map every scenario's contrasts, for `cosine_gain`. Arguments and errors as in `evaluate_alignment`."""
    table_a = ScenarioTable.from_texts(aligner.source_.checked(emotion_a), labels, groups)
    table_b = ScenarioTable.from_texts(aligner.target_.checked(emotion_b), labels, groups)
    require_same_design(table_a, table_b)
    design = Design.of(table_a, neutral, kind, space)
    units = aligner.target_scale_ if space == "standardised" else 1.0
    mapped = aligner.transform_direction(table_a.contrasts(neutral, kind)) / units
    return MappedContrasts(design.emotions, table_a.scenarios, mapped, table_b.contrasts(neutral, kind) / units)


def cosine_gain(
    trained: MappedContrasts,
    others: Sequence[MappedContrasts],
    *,
    emotion: str | None = None,
    n_draws: int = 2000,
    seed: Seed,
    level: float = 0.95,
) -> GainResult:
    """What the trained cosine gains over the best other one, paired over scenarios (see `paired_gain`).

    Args:
        trained: the map between trained models.
        others: maps with an untrained model on one side or both, or between embeddings, fitted and judged on the same
            texts; they may have layers and seeds of their own.
        emotion: one emotion, or None for the mean over them.
        n_draws, seed, level: draws, their seed, nominal coverage.

    Raises:
        InputError: no other arm, another design, or an unknown emotion.
    """
    if not others:
        raise InputError("There is no untrained arm to compare with.", accepted="one or more")
    for arm in others:
        if (arm.emotions, arm.scenarios) != (trained.emotions, trained.scenarios):
            raise InputError("Trained and untrained arms differ in scenarios or emotions.")
    if emotion is not None and emotion not in trained.emotions:
        raise InputError(f"There are no {emotion!r} directions.", accepted=", ".join(trained.emotions))

    def chosen(arm: MappedContrasts, weights: FloatArray) -> FloatArray:
        cosines = arm.cosines(weights)
        return np.asarray(cosines.mean(axis=1) if emotion is None else cosines[:, arm.emotions.index(emotion)])

    def difference(weights: FloatArray) -> FloatArray:
        best = np.max([chosen(arm, weights) for arm in others], axis=0)
        return np.asarray(chosen(trained, weights) - best)

    n, whole = len(trained.scenarios), np.ones((1, len(trained.scenarios)))
    own = weighted_bootstrap(lambda weights: chosen(trained, weights), n, n_draws=n_draws, seed=seed, level=level)
    return GainResult(
        emotion=emotion,
        gain=paired_gain(difference, n, n_draws=n_draws, seed=seed, level=level),
        trained=own.value,
        interval=own.interval,
        others=tuple(float(chosen(arm, whole)[0]) for arm in others),
        n_scenarios=n,
    )


def layer_gain(trained: LayerAlignment, untrained: Sequence[LayerAlignment]) -> LayerGain:
    """Trained minus best untrained cosine for every pair of layers, draw by draw of the stored bootstrap (percentile).

    Raises:
        InputError: no untrained arm, or one with other layers, emotions or draws.
    """
    if not untrained:
        raise InputError("There is no untrained arm to compare with.", accepted="one or more")
    for arm in untrained:
        if arm.bootstrap.shape != trained.bootstrap.shape or arm.emotions != trained.emotions:
            raise InputError(
                "Trained and untrained arms differ in layers, emotions or draws.",
                found=f"{trained.bootstrap.shape} and {arm.bootstrap.shape}",
            )
    draws = trained.bootstrap - np.max([arm.bootstrap for arm in untrained], axis=0)
    mean_draws = trained.bootstrap.mean(axis=-1) - np.max([arm.bootstrap.mean(axis=-1) for arm in untrained], axis=0)
    tails = [(1 - trained.level) / 2, (1 + trained.level) / 2]
    low, high = np.quantile(draws, tails, axis=0).astype(np.float64)
    mean_low, mean_high = np.quantile(mean_draws, tails, axis=0).astype(np.float64)
    return LayerGain(
        own=trained.own - np.max([arm.own for arm in untrained], axis=0),
        own_low=low,
        own_high=high,
        mean_own=trained.mean_own - np.max([arm.mean_own for arm in untrained], axis=0),
        mean_own_low=mean_low,
        mean_own_high=mean_high,
        p=((mean_draws <= 0).sum(axis=0) + 1) / (len(mean_draws) + 1),
    )
