"""What each formula should have been: corrected for chance, or on scenarios that nothing was fitted on.

All of them are 0 on average where there is nothing, unless their docstring says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from emotion_circuits.errors import EmotionCircuitsError
from emotion_circuits.geometry import Aligner, LeastSquares, Ridge, biased_cka, cka, overlap

from . import _formulas as seed
from ._cells import MAP_K, NEUTRAL, ClassCell, FloatArray, LayersCell, PairCell

# Singular values below this share of the largest are rounding.
RANK = 1e-9
MapImage = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]


def corrected_overlap(cell: PairCell, k: int) -> float:
    """S* = (S − k/d)/(1 − k/d) of the same two subspaces."""
    return float(overlap(*cell.bases_of(k)).corrected)


def held_out_overlap(cell: PairCell, image: MapImage) -> float:
    """S* after a map fitted on the neutral texts of one half of the scenarios, of bases from the emotion texts of the
    other half, orthonormalised again; mean over both ways. NaN where half of the scenarios cannot give the dimensions.
    """
    found = []
    for fit, judge in cell.halves():
        if min(fit.sum(), judge.sum()) <= MAP_K + 1:
            return float("nan")
        a, b = (seed.class_basis(texts[judge], MAP_K) for texts in (cell.emotion_a, cell.emotion_b))
        x, y = (texts[fit] - texts[fit].mean(axis=0) for texts in (cell.neutral_a, cell.neutral_b))
        found.append(float(overlap(image(x, y, a), b).corrected))
    return float(np.mean(found))


def least_squares_image(x: FloatArray, y: FloatArray, basis: FloatArray) -> FloatArray:
    """(d_y, k) image of a basis (d_x, k) under the shortest least squares map of centred texts."""
    return np.asarray(((basis.T @ np.linalg.pinv(x, rcond=RANK)) @ y).T)


def rotated_image(x: FloatArray, y: FloatArray, basis: FloatArray) -> FloatArray:
    """(d_y, k) image of a basis under the rotation of centred texts, where they determine it."""
    frames = [np.linalg.svd(texts, full_matrices=False) for texts in (x, y)]
    rank = len(x) - 1
    (left_x, sizes_x, rows_x), (left_y, sizes_y, rows_y) = frames
    core = (sizes_x[:, None] * (left_x.T @ left_y) * sizes_y)[:rank, :rank]
    left, _, right = np.linalg.svd(core)
    return np.asarray((((basis.T @ rows_x[:rank].T) @ left) @ right @ rows_y[:rank]).T)


def in_sample_r2(cell: PairCell) -> float:
    """R² of least squares on the very texts it was fitted on: 1 for noise, where dimensions outnumber texts."""
    aligner = LeastSquares().fit(cell.neutral_a, cell.neutral_b)
    return aligner.score(cell.neutral_a, cell.neutral_b)


def held_out_r2(cell: PairCell, make: Callable[[], Aligner]) -> float:
    """R² on the emotion's texts of one half, fitted on the neutral texts of the other; mean over both ways.

    On noise a little below 0: what was fitted is noise. NaN where half of the scenarios are too few to fit on.
    """
    found = []
    for fit, judge in cell.halves():
        try:
            aligner = make().fit(cell.neutral_a[fit], cell.neutral_b[fit])
        except EmotionCircuitsError:
            return float("nan")
        found.append(aligner.score(cell.emotion_a[judge], cell.emotion_b[judge]))
    return float(np.mean(found))


def ridge_r2(cell: PairCell) -> float:
    """`held_out_r2` of ridge regression between principal components."""
    return held_out_r2(cell, Ridge)


def least_squares_r2(cell: PairCell) -> float:
    """`held_out_r2` of plain least squares."""
    return held_out_r2(cell, LeastSquares)


def specific_cosine(cell: ClassCell) -> float:
    """Mean cosine between emotions' vectors minus their mean, every dimension in units of its deviation within classes.

    E vectors that sum to 0 have a mean cosine of −1/(E − 1) where none is nearer to another.
    """
    within = np.concatenate([texts - texts.mean(axis=0) for texts in cell.classes.values()])
    scale = within.std(axis=0)
    if not (scale > 0).all():
        return float("nan")
    vectors = seed.difference_vectors(cell.classes, NEUTRAL) / scale
    return seed.mean_pair_cosine(vectors - vectors.mean(axis=0))


def layers_ratio(cell: LayersCell) -> float:
    """Longest over shortest vector of all layers and models, as they are: 1 is the least."""
    return _ratio(cell.vectors)


def dose_ratio(cell: LayersCell) -> float:
    """The same in units of each layer's residual norm."""
    return _ratio(cell.in_doses())


def _ratio(vectors: tuple[FloatArray, ...]) -> float:
    lengths = np.concatenate([np.linalg.norm(v, axis=-1).ravel() for v in vectors])
    return float(lengths.max() / lengths.min())


def whole_space_biased(cell: PairCell) -> float:
    """Linear CKA as first published, on the emotion's texts; noise gives about d/(n + d)."""
    return float(biased_cka([cell.emotion_a], [cell.emotion_b])[0, 0])


def whole_space_debiased(cell: PairCell) -> float:
    """Debiased linear CKA on the same texts."""
    return float(cka([cell.emotion_a], [cell.emotion_b])[0, 0])
