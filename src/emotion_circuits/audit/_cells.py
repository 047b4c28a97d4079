"""What metrics are computed on: two models' texts of one emotion, or one model's texts of all classes.

A cell holds plain arrays, so that noise goes through the same code as the models do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from emotion_circuits.directions import Activations
from emotion_circuits.errors import InputError, MeasurementError

from . import _formulas as seed

FloatArray = seed.FloatArray
NEUTRAL = "neutral"
POSITION = "sentence_end"
#: Dimension of the subspaces that the earlier project mapped and turned.
MAP_K = 10
#: The largest subspaces that it took.
MOST_K = 20
# Singular values below this share of the largest are rounding of 32-bit activations.
RANK = 1e-6


@dataclass(frozen=True, eq=False)
class PairCell:
    """One emotion at one layer of two models.

    Attributes:
        neutral_a, neutral_b, emotion_a, emotion_b: (n, d_a) and (n, d_b); row i is scenario i everywhere.
        half: (n,) which scenarios are in the first half, for numbers on texts that a map was not fitted on.
    """

    neutral_a: FloatArray
    neutral_b: FloatArray
    emotion_a: FloatArray
    emotion_b: FloatArray
    half: npt.NDArray[np.bool_]

    @property
    def n(self) -> int:
        return len(self.half)

    @cached_property
    def bases(self) -> tuple[FloatArray, FloatArray]:
        """(d, k) principal components of the emotion's texts in A and in B, the most there are."""
        most = min(MOST_K, self.n - 1, self.emotion_a.shape[1] - 1, self.emotion_b.shape[1] - 1)
        return seed.class_basis(self.emotion_a, most), seed.class_basis(self.emotion_b, most)

    def bases_of(self, k: int) -> tuple[FloatArray, FloatArray]:
        """The first k of them."""
        a, b = self.bases
        return a[:, :k], b[:, :k]

    @cached_property
    def mapped_basis(self) -> npt.NDArray[Any]:
        """A's basis of `MAP_K` under the earlier project's map, in its precision."""
        return seed.mapped_columns(self.bases_of(MAP_K)[0], seed.normal_equation_map(self.neutral_a, self.neutral_b))

    @cached_property
    def turned(self) -> seed.TurnedBasis:
        """A's basis of `MAP_K` after Procrustes."""
        return seed.turn_onto(*self.bases_of(MAP_K))

    def halves(self) -> list[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
        """Scenarios to fit on and scenarios to judge on, both ways."""
        return [(self.half, ~self.half), (~self.half, self.half)]


@dataclass(frozen=True, eq=False)
class ClassCell:
    """One layer of one model.

    Attributes:
        classes: class → (n, d) texts.
    """

    classes: dict[str, FloatArray]


@dataclass(frozen=True, eq=False)
class LayersCell:
    """Emotion vectors of all layers of some models.

    Attributes:
        vectors: per model (layers, E, d).
        sizes: per model (layers,) median residual norm.
    """

    vectors: tuple[FloatArray, ...]
    sizes: tuple[FloatArray, ...]

    def in_doses(self) -> tuple[FloatArray, ...]:
        """The vectors in units of their layer's residual norm."""
        return tuple(v / s[:, None, None] for v, s in zip(self.vectors, self.sizes, strict=True))


class AuditedModel:
    """One model's activations at the end of sentences, arranged by class and scenario.

    Args:
        activations: the four classes of a profile.

    Raises:
        InputError: the position was not recorded, there are no neutral texts, or scenarios are not complete.
        MeasurementError: NaN.
    """

    def __init__(self, activations: Activations):
        self.name = activations.source.model
        self.n_layers = activations.n_layers
        values = activations.at(POSITION)
        self.width = int(values.shape[2])
        if not np.isfinite(values).all():
            raise MeasurementError(f"The activations of {self.name} hold NaN or infinity.")
        activations.data.require_matched("The audit")
        if NEUTRAL not in activations.data.classes or len(activations.data.classes) < 3:
            raise InputError(
                "The audit needs neutral texts and two emotions.", found=", ".join(activations.data.classes)
            )
        self.scenarios = tuple(sorted(activations.data.scenarios))
        place = {(t.emotion, t.scenario): i for i, t in enumerate(activations.data)}
        self.texts = tuple(sorted(t.text for t in activations.data))
        self.match_rate = activations.match_rate
        self._values = values
        self._rows = {c: [place[c, s] for s in self.scenarios] for c in sorted(activations.data.classes)}
        self._generic = activations.generic

    @property
    def emotions(self) -> tuple[str, ...]:
        """Every class but neutral."""
        return tuple(name for name in self._rows if name != NEUTRAL)

    def texts_of(self, name: str, layer: int) -> FloatArray:
        """(n, d) activations of a class, in order of scenario; layer -1 is what enters block 0."""
        return np.asarray(self._values[layer + 1, self._rows[name]], dtype=np.float64)

    def require_rank(self, layers: Sequence[int]) -> None:
        """Raise `MeasurementError` where the texts of a class do not span the subspaces that are taken of them."""
        for layer in layers:
            for name in self._rows:
                texts = self.texts_of(name, layer)
                needed = min(MOST_K, len(texts) - 1, self.width - 1)
                rank = int(np.linalg.matrix_rank(texts - texts.mean(axis=0), rtol=RANK))
                if rank < needed:
                    raise MeasurementError(
                        f"The {name} texts of {self.name} span fewer than {needed} dimensions at layer {layer}.",
                        found=f"rank {rank}" if rank else "the same activations for all of them",
                        next_step="another layer",
                    )

    def class_cell(self, layer: int) -> ClassCell:
        """All classes at a layer."""
        return ClassCell({name: self.texts_of(name, layer) for name in self._rows})

    def vectors(self) -> FloatArray:
        """(layers, E, d) the earlier project's emotion vectors of every block."""
        cells = [self.class_cell(layer) for layer in range(self.n_layers)]
        return np.stack([seed.difference_vectors(cell.classes, NEUTRAL) for cell in cells])

    def sizes(self) -> FloatArray:
        """(layers,) median residual norm: of generic text, or of these texts where none was recorded."""
        if self._generic is not None:
            return np.asarray(self._generic.norm[1:], dtype=np.float64)
        return np.asarray(np.median(np.linalg.norm(self._values[1:], axis=2), axis=1), dtype=np.float64)

    def spreads(self) -> FloatArray:
        """(layers,) root mean variance per dimension between texts."""
        variances = self._values[1:].astype(np.float64).var(axis=1)
        return np.asarray(np.sqrt(variances.mean(axis=1)))


def pair_cells(a: AuditedModel, b: AuditedModel, layers: Sequence[tuple[int, int]]) -> list[PairCell]:
    """Every emotion at every pair of layers."""
    for model, own in ((a, [i for i, _ in layers]), (b, [j for _, j in layers])):
        model.require_rank(own)
    half = np.arange(len(a.scenarios)) % 2 == 0
    return [
        PairCell(a.texts_of(NEUTRAL, i), b.texts_of(NEUTRAL, j), a.texts_of(emotion, i), b.texts_of(emotion, j), half)
        for i, j in layers
        for emotion in a.emotions
    ]


def noise_pair(n: int, width: int, number: int, width_b: int | None = None) -> PairCell:
    """Two models of independent standard Gaussian numbers; `number` is the seed, `width_b` the second width."""
    rng = np.random.default_rng(number)
    widths = (width, width if width_b is None else width_b) * 2
    neutral_a, neutral_b, emotion_a, emotion_b = (rng.standard_normal((n, d)) for d in widths)
    return PairCell(neutral_a, neutral_b, emotion_a, emotion_b, np.arange(n) % 2 == 0)


def noise_classes(n: int, width: int, emotions: Sequence[str], number: int) -> ClassCell:
    """One model of independent standard Gaussian numbers."""
    rng = np.random.default_rng([number, 1])
    return ClassCell({name: rng.standard_normal((n, width)) for name in (NEUTRAL, *emotions)})


def noise_layers(models: Sequence[AuditedModel], number: int) -> LayersCell:
    """Layers as spread out, and as large, as the models' own, but without emotions.

    Means of n independent texts are drawn as such: Gaussian, with an n-th of the variance.
    """
    rng = np.random.default_rng([number, 2])
    vectors, sizes = [], []
    for model in models:
        spread = model.spreads()
        means = rng.standard_normal((model.n_layers, len(model.emotions) + 1, model.width)) / np.sqrt(
            len(model.scenarios)
        )
        vectors.append((means[:, 1:] - means[:, :1]) * spread[:, None, None])
        sizes.append(model.sizes())
    return LayersCell(tuple(vectors), tuple(sizes))


def layers_cell(models: Sequence[AuditedModel]) -> LayersCell:
    """The models' own vectors."""
    return LayersCell(tuple(m.vectors() for m in models), tuple(m.sizes() for m in models))


def chosen_layers(models: Sequence[AuditedModel], layers: Sequence[int] | None) -> dict[str, tuple[int, ...]]:
    """Model → layers: those asked for, or the blocks at a quarter, half and three quarters of its depth.

    Raises:
        InputError: a model lacks a layer.
    """
    chosen = {}
    for model in models:
        if layers is None:
            chosen[model.name] = tuple(dict.fromkeys(int(model.n_layers * share) for share in (0.25, 0.5, 0.75)))
            continue
        wrong = [layer for layer in layers if not 0 <= layer < model.n_layers]
        if wrong:
            raise InputError(
                f"{model.name} has no layer {wrong[0]}.",
                found=", ".join(map(str, layers)),
                accepted=f"0 to {model.n_layers - 1}",
            )
        chosen[model.name] = tuple(dict.fromkeys(layers))
    return chosen


def paired_layers(a: AuditedModel, b: AuditedModel, chosen: dict[str, tuple[int, ...]]) -> list[tuple[int, int]]:
    """Layers to compare: the same numbers where they were asked for, else the same share of the depth.

    Models so shallow that two shares fall on one block have fewer; the deeper one's extra layers are left out.
    """
    return list(zip(chosen[a.name], chosen[b.name], strict=False))


def require_same_texts(models: Sequence[AuditedModel]) -> None:
    """Raise `InputError` unless all models were recorded on the same texts, and each model once."""
    for first, second in combinations(models, 2):
        if first.name == second.name:
            raise InputError("A model was named twice.", found=first.name)
        if first.texts != second.texts:
            raise InputError(
                "The models were recorded on different texts.",
                found=f"{first.name}, {second.name}: {len(set(first.texts) ^ set(second.texts))} texts in only one",
                next_step="run `emotion-circuits extract` for both on the same data set",
            )
