"""Judging maps by what they do to emotion directions: the parts that belong to one layer, made once for all."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from emotion_circuits.errors import InputError, MeasurementError

from ._inputs import FloatArray, ScenarioTable
from ._overlap import orthonormal
from ._reduction import Reduction

ContrastKind = Literal["matched", "specific"]
Space = Literal["standardised", "original"]
SingleArray = npt.NDArray[np.float32]


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

    def mixed(self, matched: FloatArray) -> FloatArray:
        """(…, E, m) directions of the chosen kind from matched ones."""
        if self.kind == "matched":
            return matched
        result: FloatArray = matched - matched.mean(axis=-2, keepdims=True)
        return result


class SourceSide(NamedTuple):
    """A layer of the source model, in the scores of its reduction.

    contrasts: (G, E, m) matched contrasts per scenario. directions: (E, m) their means.
    """

    contrasts: FloatArray
    directions: FloatArray

    @classmethod
    def of(cls, table: ScenarioTable, reduction: Reduction, design: Design) -> SourceSide:
        """Take the table's contrasts into a reduction."""
        contrasts = reduction.direction_scores(table.contrasts(design.neutral))
        return cls(contrasts, contrasts.mean(axis=0))


class TargetSide(NamedTuple):
    """A layer of the target model: its own directions in the space where cosines are taken.

    That space has one axis per dimension, in units of the training texts' deviation or as it is. Images of a map lie in
    a subspace of it, with an orthonormal frame in which they have m coordinates: scores times `factor`.

    factor: (m, m) or None for the identity. own: (E, m) own directions in the frame. lengths: (E,) their whole length,
    beyond the frame too. basis: (m, E) orthonormal basis of the own subspace (matched contrasts), in the frame.
    contrasts: (G, E, m) own contrasts of the chosen kind per scenario, in the frame; whole: (G, E, d).
    """

    factor: FloatArray | None
    own: FloatArray
    lengths: FloatArray
    basis: FloatArray
    contrasts: FloatArray
    whole: FloatArray

    @classmethod
    def of(cls, table: ScenarioTable, reduction: Reduction, training_scale: FloatArray, design: Design) -> TargetSide:
        """Prepare the target's own directions.

        Raises:
            MeasurementError: emotions whose directions are zero or linearly dependent.
        """
        units = training_scale if design.space == "standardised" else np.ones_like(training_scale)
        stretch = reduction.scale / units
        frame, factor = _frame(reduction.components, stretch)
        matched = reduction.checked(table.contrasts(design.neutral)) / units
        whole = design.mixed(matched)
        means = whole.mean(axis=0)
        lengths = np.linalg.norm(means, axis=-1)
        if not (lengths > 0).all():
            raise MeasurementError("A direction of the target model is zero: its texts do not differ.")
        basis = orthonormal(matched.mean(axis=0).T)
        return cls(factor, means @ frame, lengths, frame.T @ basis, whole @ frame, whole)

    def coordinates(self, scores: FloatArray) -> FloatArray:
        """(…, m) coordinates in the frame, of (…, m) scores."""
        return scores if self.factor is None else np.asarray(scores @ self.factor)

    def cosines(self, images: FloatArray, design: Design) -> FloatArray:
        """(…, E, E) cosines of mapped (rows) with own directions, for matched images (…, E, m) in coordinates."""
        mapped = design.mixed(images)
        lengths = np.linalg.norm(mapped, axis=-1)
        if not (lengths > 0).all():
            raise MeasurementError("The map sends a direction to zero, so it has no cosine.")
        result: FloatArray = (mapped @ self.own.T) / (lengths[..., None] * self.lengths)
        return result

    def overlaps(self, images: FloatArray) -> FloatArray:
        """(…) overlap S of the span of matched images (…, E, m) with the span of the own ones."""
        frames = np.linalg.qr(np.swapaxes(images, -1, -2))[0]
        products = np.swapaxes(frames, -1, -2) @ self.basis
        result: FloatArray = np.square(products).sum(axis=(-1, -2)) / self.basis.shape[1]
        return result


class Resampled(NamedTuple):
    """Contrasts per scenario (G, E, m) with their means under bootstrap draws (B, E, m). Single precision."""

    contrasts: SingleArray
    means: SingleArray

    @classmethod
    def of(cls, contrasts: FloatArray, weights: FloatArray) -> Resampled:
        """Resample scenarios by (B, G) weights."""
        cells = contrasts.astype(np.float32)
        shares = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        means = (shares @ cells.reshape(len(cells), -1)).reshape(-1, *cells.shape[1:])
        return cls(cells, means)

    def products(self, other: Resampled, weights: FloatArray) -> FloatArray:
        """(B, E, E) inner products of the means of one with those of another, under the same draws.

        A scenario drawn twice is no new evidence: taken as it is, it would double the noise of a mean, and every cosine
        would come out lower than the one it is the bootstrap of. So a copy's product with its twin counts as the mean
        product of different scenarios, as it does in split halves. Draws without copies are exact.
        """
        n = len(self.contrasts)
        raw = (self.means @ other.means.transpose(0, 2, 1)).astype(np.float64)
        twins = np.einsum("gem,gfm->gef", self.contrasts, other.contrasts, optimize=True).astype(np.float64)
        whole = np.einsum("gem,hfm->ef", self.contrasts, other.contrasts, optimize=True).astype(np.float64)
        between = (whole - twins.sum(axis=0)) / (n * (n - 1))
        copies = weights * (weights - 1) / np.square(weights.sum(axis=1, keepdims=True))
        excess = np.tensordot(copies, twins - between, axes=1)
        result: FloatArray = raw - excess
        return result


class BootstrappedTarget(NamedTuple):
    """Own directions under bootstrap draws, in the frame, and the (B, E) squares of their whole lengths."""

    own: Resampled
    squares: FloatArray

    @classmethod
    def of(cls, target: TargetSide, weights: FloatArray) -> BootstrappedTarget:
        """Resample scenarios by (B, G) weights."""
        whole = Resampled.of(target.whole, weights)
        return cls(Resampled.of(target.contrasts, weights), own_cosines(whole.products(whole, weights)))


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
    return resampled_cosines(
        images.products(resampled.own, weights),
        own_cosines(images.products(images, weights)),
        resampled.squares,
    )


def resampled_cosines(products: FloatArray, squares_a: FloatArray, squares_b: FloatArray) -> FloatArray:
    """(B, E, E) cosines from products (B, E, E) and squared lengths (B, E)."""
    if not ((squares_a > 0).all() and (squares_b > 0).all()):
        raise MeasurementError(
            "A direction vanishes in a bootstrap draw: it is not told from noise.", next_step="more scenarios"
        )
    result: FloatArray = products / np.sqrt(squares_a[:, :, None] * squares_b[:, None, :])
    return result


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
