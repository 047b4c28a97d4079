"""Judging maps by what they do to emotion directions: the parts that belong to one layer, made once for all."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from emotion_circuits.errors import InputError, MeasurementError

from ._draws import Draws, class_means
from ._inputs import FloatArray, ScenarioTable
from ._overlap import orthonormal
from ._reduction import Reduction
from ._rescaled import rescaled_cosines, rescaled_weights

ContrastKind = Literal["matched", "specific"]
Space = Literal["standardised", "original"]


class Design(NamedTuple):
    """What the emotion texts are, whatever the layer: classes to compare and how."""

    emotions: tuple[str, ...]
    neutral: str
    kind: ContrastKind
    space: Space

    @classmethod
    def of(cls, table: ScenarioTable, neutral: str, kind: ContrastKind, space: Space) -> Design:
        """Check the choices against a table."""
        emotions = table.emotions(neutral)
        if len(emotions) < 2:
            raise InputError("Judging a map needs two emotions.", found=", ".join(table.classes))
        if kind not in ("matched", "specific"):
            raise InputError(f"There is no contrast {kind!r}.", accepted="matched, specific")
        if space not in ("standardised", "original"):
            raise InputError(f"There are no cosines in {space!r} units.", accepted="standardised, original")
        return cls(emotions, neutral, kind, space)

    def matched(self, table: ScenarioTable, draws: Draws) -> FloatArray:
        """(B, E, d) matched directions under every draw."""
        if not len(draws.weights):
            return np.empty((0, len(self.emotions), table.width))
        means = class_means(table, draws)
        emotions = [table.class_index(name) for name in self.emotions]
        result: FloatArray = means[:, emotions] - means[:, [table.class_index(self.neutral)]]
        return result

    def mixed(self, matched: FloatArray) -> FloatArray:
        """(…, E, m) directions of the chosen kind from matched ones."""
        if self.kind == "matched":
            return matched
        result: FloatArray = matched - matched.mean(axis=-2, keepdims=True)
        return result


class SourceSide(NamedTuple):
    """A layer of the source model, in the scores of its reduction.

    contrasts: (G, E, m) matched contrasts per scenario. directions: (E, m) their means. shuffled: (B, E, m) the means
    with classes shuffled within scenarios.
    """

    contrasts: FloatArray
    directions: FloatArray
    shuffled: FloatArray

    @classmethod
    def of(cls, table: ScenarioTable, reduction: Reduction, design: Design, labels: Draws) -> SourceSide:
        """Take the table's contrasts into a reduction."""
        contrasts = reduction.direction_scores(table.contrasts(design.neutral))
        shuffled = reduction.direction_scores(design.matched(table, labels))
        return cls(contrasts, contrasts.mean(axis=0), shuffled)


class OwnDirections(NamedTuple):
    """The target's own directions in the frame, one set or a stack of them.

    vectors: (…, E, m). lengths: (…, E) of the whole directions, beyond the frame too. basis: (…, m, E) orthonormal
    basis of the span of the matched ones, as seen in the frame.
    """

    vectors: FloatArray
    lengths: FloatArray
    basis: FloatArray

    @classmethod
    def of(cls, matched: FloatArray, frame: FloatArray, design: Design) -> OwnDirections:
        """From matched directions (…, E, d) and the (d, m) frame."""
        whole = design.mixed(matched)
        lengths = np.linalg.norm(whole, axis=-1)
        if not (lengths > 0).all():
            raise MeasurementError("A direction of the target model is zero: its texts do not differ.")
        return cls(whole @ frame, np.asarray(lengths), frame.T @ orthonormal(np.swapaxes(matched, -1, -2)))

    def cosines(self, images: FloatArray, design: Design) -> FloatArray:
        """(…, E, E) cosines of mapped (rows) with own directions, for matched images (…, E, m) in the frame."""
        mapped = design.mixed(images)
        lengths = np.linalg.norm(mapped, axis=-1)
        if not (lengths > 0).all():
            raise MeasurementError("The map sends a direction to zero, so it has no cosine.")
        products = mapped @ np.swapaxes(self.vectors, -1, -2)
        result: FloatArray = products / (lengths[..., :, None] * self.lengths[..., None, :])
        return result

    def overlaps(self, images: FloatArray) -> FloatArray:
        """(…) overlap S of the span of matched images (…, E, m) with the span of the own ones."""
        frames = np.linalg.qr(np.swapaxes(images, -1, -2))[0]
        products = np.swapaxes(frames, -1, -2) @ self.basis
        result: FloatArray = np.square(products).sum(axis=(-1, -2)) / self.basis.shape[-1]
        return result


class TargetSide(NamedTuple):
    """A layer of the target model, in the space where cosines are taken.

    That space has one axis per dimension, in units of the training texts' deviation or as it is. Images of a map lie in
    a subspace of it, with an orthonormal frame in which they have m coordinates: scores times `factor`.

    factor: (m, m), or None for the identity. own: the directions. shuffled: stacks of B of them, with classes shuffled
    within scenarios. contrasts: (G, E, m) contrasts of the chosen kind per scenario, in the frame; whole: (G, E, d).
    """

    factor: FloatArray | None
    own: OwnDirections
    shuffled: OwnDirections
    contrasts: FloatArray
    whole: FloatArray

    @classmethod
    def of(
        cls,
        table: ScenarioTable,
        reduction: Reduction,
        training_scale: FloatArray,
        design: Design,
        labels: Draws,
    ) -> TargetSide:
        """Prepare the target's own directions.

        Raises:
            MeasurementError: emotions whose directions are zero or linearly dependent.
        """
        units = training_scale if design.space == "standardised" else np.ones_like(training_scale)
        frame, factor = _frame(reduction.components, reduction.scale / units)
        matched = reduction.checked(table.contrasts(design.neutral)) / units
        whole = design.mixed(matched)
        own = OwnDirections.of(matched.mean(axis=0), frame, design)
        shuffled = OwnDirections.of(design.matched(table, labels) / units, frame, design)
        return cls(factor, own, shuffled, whole @ frame, whole)

    def coordinates(self, scores: FloatArray) -> FloatArray:
        """(…, m) coordinates in the frame, of (…, m) scores."""
        return scores if self.factor is None else np.asarray(scores @ self.factor)


class Resampled(NamedTuple):
    """Means (B, E, m) under bootstrap draws of contrasts per scenario (G, E, m); those of the data come first."""

    means: npt.NDArray[np.float32]

    @classmethod
    def of(cls, contrasts: FloatArray, weights: FloatArray) -> Resampled:
        """Take a step towards (B, G) drawn weights."""
        shares = np.vstack([np.ones(weights.shape[1]), rescaled_weights(weights)]) / weights.shape[1]
        flat = contrasts.reshape(len(contrasts), -1).astype(np.float32)
        return cls((shares.astype(np.float32) @ flat).reshape(-1, *contrasts.shape[1:]))

    def lengths(self) -> FloatArray:
        """(1 + B, E)."""
        return np.asarray(np.linalg.norm(self.means, axis=-1), dtype=np.float64)

    def cosines(self, other: Resampled, lengths: FloatArray) -> FloatArray:
        """(B, E, E) bootstrap draws of cosines with another's means, whose lengths (1 + B, E) are given."""
        products = (self.means @ other.means.transpose(0, 2, 1)).astype(np.float64)
        scales = self.lengths()[:, :, None] * lengths[:, None, :]
        if not (scales > 0).all():
            raise MeasurementError("A direction is zero, so it has no cosine.")
        cosines = products / scales
        return rescaled_cosines(cosines[0], cosines[1:])


class BootstrappedTarget(NamedTuple):
    """Own directions under bootstrap draws, in the frame, and the (1 + B, E) whole lengths, beyond the frame too."""

    own: Resampled
    lengths: FloatArray

    @classmethod
    def of(cls, target: TargetSide, weights: FloatArray) -> BootstrappedTarget:
        """Resample scenarios by (B, G) weights."""
        return cls(Resampled.of(target.contrasts, weights), Resampled.of(target.whole, weights).lengths())


def bootstrapped_cosines(
    source: SourceSide,
    mapping: FloatArray,
    target: TargetSide,
    resampled: BootstrappedTarget,
    weights: FloatArray,
    design: Design,
) -> FloatArray:
    """(B, E, E) cosines under bootstrap draws over scenarios, the map held as it is."""
    images = Resampled.of(design.mixed(target.coordinates(source.contrasts @ mapping)), weights)
    return images.cosines(resampled.own, resampled.lengths)


def random_map_images(
    directions: FloatArray, spectrum: FloatArray, frames: tuple[FloatArray, FloatArray]
) -> FloatArray:
    """(B, E, m_B) images of directions (E, m_A) under maps with these singular values and random singular vectors.

    No map is made: E directions meet a random rotation as an orthonormal frame of E random rows, are stretched by the
    spectrum, and what remains of them is their (E, E) Gram matrix; the second rotation gives it random directions.

    Args:
        directions: (E, m_A).
        spectrum: (r,) singular values.
        frames: (B, E, m_A) and (B, E, m_B) random orthonormal rows, see `random_frames`.
    """
    triangle = np.linalg.qr(directions.T)[1].T  # directions = triangle · orthonormal rows
    stretched = (triangle @ frames[0][:, :, : len(spectrum)]) * spectrum
    # Rows of Q give the lengths and angles of the stretched directions without squaring them.
    shape = np.linalg.qr(stretched.transpose(0, 2, 1))[1].transpose(0, 2, 1)
    result: FloatArray = shape @ frames[1][:, : shape.shape[-1]]
    return result


def random_frames(rng: np.random.Generator, n_draws: int, n_rows: int, width: int) -> FloatArray:
    """(B, E, m) uniformly random orthonormal rows."""
    if n_rows > width:
        raise InputError("There are more directions than components.", found=f"{n_rows} and {width}")
    q, r = np.linalg.qr(rng.standard_normal((n_draws, width, n_rows)))
    # The signs of R's diagonal make the distribution uniform (Mezzadri 2007).
    signs = np.sign(np.diagonal(r, axis1=1, axis2=2))
    result: FloatArray = (q * signs[:, None, :]).transpose(0, 2, 1)
    return result


def specificity(cosines: npt.NDArray[np.floating]) -> FloatArray:
    """(…) mean of the diagonal minus mean off the diagonal of (…, E, E)."""
    size = cosines.shape[-1]
    diagonal = np.trace(cosines, axis1=-2, axis2=-1)
    result: FloatArray = diagonal / size - (cosines.sum(axis=(-1, -2)) - diagonal) / (size * (size - 1))
    return result


def retrieval(cosines: FloatArray) -> FloatArray:
    """(…) share of mapped directions (rows) whose nearest own direction is that of the same emotion."""
    hits = cosines.argmax(axis=-1) == np.arange(cosines.shape[-1])
    result: FloatArray = hits.mean(axis=-1)
    return result


def own_cosines(cosines: npt.NDArray[np.floating]) -> FloatArray:
    """(…, E) the diagonal of (…, E, E)."""
    return np.array(np.diagonal(cosines, axis1=-2, axis2=-1), dtype=np.float64)


def _frame(components: FloatArray | None, stretch: FloatArray) -> tuple[FloatArray, FloatArray | None]:
    """(d, m) orthonormal frame of the images' space and what scores are multiplied by to be coordinates in it."""
    if components is None:
        return np.eye(len(stretch)), np.diag(stretch)
    if np.allclose(stretch, 1.0, rtol=0, atol=1e-12):
        return components, None
    frame, triangle = np.linalg.qr(stretch[:, None] * components)
    return frame, triangle.T
