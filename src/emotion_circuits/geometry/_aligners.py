"""The aligners. A new one joins by being added to `ALIGNERS`, a user's own by `register_aligner`."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import isabstract
from typing import Final, Self, TypeVar

import numpy as np
import numpy.typing as npt

from emotion_circuits._own_files import HOW, Registry
from emotion_circuits.errors import InputError

from ._aligner import Aligner, CrossAligner, LinearAligner
from ._folds import RidgeFolds, RidgeTarget, fold_numbers
from ._inputs import FloatArray, IntArray, Seed, generator
from ._reduction import ReducedTexts, raw_texts

# Penalties in units of the source's mean variance per component; the largest turns a map of noise into nearly nothing.
PENALTIES = tuple(float(penalty) for penalty in np.logspace(-4, 4, 17))


class Ridge(LinearAligner):
    """Ridge regression from scores to scores, with the penalty chosen by grouped cross-validation.

    Args:
        n_components: m.
        penalties: λ to choose from, in units of the source's mean variance per component.
        n_folds: folds of the cross-validation.

    Attributes:
        penalty_: the chosen λ.
        cv_r2_: its R² on the folds, within the target's m components.
    """

    name = "ridge"

    def __init__(self, n_components: int | None = None, penalties: Sequence[float] = PENALTIES, n_folds: int = 5):
        super().__init__(n_components)
        self.penalties = penalties
        self.n_folds = n_folds

    penalty_: float
    cv_r2_: float

    def _fit_map(self, source: FloatArray, target: FloatArray, groups: npt.NDArray[np.generic] | None) -> FloatArray:
        folds = RidgeFolds.of(source, groups, self.n_folds, tuple(self.penalties))
        return self._map_in(folds, RidgeTarget.of(target, folds))

    def fit_in_folds(
        self, source: ReducedTexts, target: ReducedTexts, folds: RidgeFolds, target_folds: RidgeTarget
    ) -> Self:
        """`fit_reduced` where the parts of the cross-validation that belong to one side alone are made already."""
        self.adopt(source, target)
        self.map_ = self._map_in(folds, target_folds)
        return self

    def _map_in(self, folds: RidgeFolds, target: RidgeTarget) -> FloatArray:
        self.penalty_, self.cv_r2_ = folds.choose(target)
        result: FloatArray = self.source_weights(folds.scores) @ target.scores
        return result

    def source_weights(self, source: FloatArray) -> FloatArray:
        """(m, n) the source's factor of the map. Scores are principal components, so their products are diagonal."""
        squares = np.square(source).sum(axis=0)
        result: FloatArray = (source / (squares + self.penalty_ * squares.mean())).T
        return result

    def factors(self) -> tuple[FloatArray, FloatArray]:
        source, target = self.training_texts()
        return self.source_weights(source.scores), target.scores


class Procrustes(CrossAligner):
    """The rotation (with reflection) and scale of the source's scores nearest to the target's (Schönemann 1966)."""

    name = "procrustes"

    _source_square: float

    def _fit_map(self, source: FloatArray, target: FloatArray, groups: npt.NDArray[np.generic] | None) -> FloatArray:
        self._source_square = float(np.square(source).sum())
        return self.maps_of(source.T @ target)

    def maps_of(self, cross: FloatArray) -> FloatArray:
        left, sizes, right = np.linalg.svd(cross, full_matrices=False)
        scale = sizes.sum(axis=-1) / self._source_square
        result: FloatArray = scale[..., None, None] * (left @ right)
        return result


class CCA(CrossAligner):
    """Canonical variates of the reduced spaces (Hotelling 1936), each mapped by its *held-out* correlation.

    With the in-sample correlations this would be least squares. Cross-validation brings them down to what fresh texts
    show, 0 for variates that found nothing; of the components it uses nothing else.

    Args:
        n_components: m.
        n_folds: folds of the cross-validation.

    Attributes:
        correlations_: (m,) in the training texts.
        held_out_correlations_: (m,) in the folds left out, not below 0 nor above the others.
    """

    name = "cca"

    def __init__(self, n_components: int | None = None, n_folds: int = 5):
        super().__init__(n_components)
        self.n_folds = n_folds

    correlations_: FloatArray
    held_out_correlations_: FloatArray
    _deviations: tuple[FloatArray, FloatArray]

    def _fit_map(self, source: FloatArray, target: FloatArray, groups: npt.NDArray[np.generic] | None) -> FloatArray:
        # Lengths, not variances: scores are centred principal components, so dividing by them whitens.
        lengths = [np.sqrt(np.square(scores).sum(axis=0)) for scores in (source, target)]
        self._deviations = lengths[0], lengths[1]
        fold = fold_numbers(source, groups, self.n_folds)
        found = []
        for number in range(int(fold.max()) + 1):
            test = fold == number
            whitened, variates = [], []
            for scores in (source, target):
                mean = scores[~test].mean(axis=0)
                rows, sizes, frame = np.linalg.svd(scores[~test] - mean, full_matrices=False)
                whitened.append(rows)
                variates.append((scores[test] - mean) @ (frame.T / sizes))
            left, _, right = np.linalg.svd(whitened[0].T @ whitened[1], full_matrices=False)
            pairs = [variates[0] @ left, variates[1] @ right.T]
            lengths = [np.linalg.norm(pair, axis=0) for pair in pairs]
            found.append((pairs[0] * pairs[1]).sum(axis=0) / (lengths[0] * lengths[1]))
        cross = source.T @ target
        self.correlations_ = np.asarray(np.linalg.svd(self._whitened(cross), compute_uv=False), dtype=np.float64)
        self.held_out_correlations_ = np.clip(np.mean(found, axis=0), 0.0, self.correlations_)
        return self.maps_of(cross)

    def _whitened(self, cross: FloatArray) -> FloatArray:
        result: FloatArray = cross / np.multiply.outer(*self._deviations)
        return result

    def maps_of(self, cross: FloatArray) -> FloatArray:
        left, _, right = np.linalg.svd(self._whitened(cross), full_matrices=False)
        source, target = self._deviations
        result: FloatArray = (left * self.held_out_correlations_) @ right * (target / source[:, None])
        return result


class LeastSquares(LinearAligner):
    """Least squares between activations as they are: not centred, standardised, reduced or penalised.

    This is how earlier work aligned these models. With fewer texts than dimensions its in-sample fit is perfect, for
    noise too; `score` on fresh texts says what it is worth.
    """

    name = "least-squares"
    in_sample_safe = False

    def reduce(self, X: npt.ArrayLike, n_components: int, name: str = "The activations") -> ReducedTexts:
        return raw_texts(X, name)

    def _fit_map(self, source: FloatArray, target: FloatArray, groups: npt.NDArray[np.generic] | None) -> FloatArray:
        return np.asarray(np.linalg.lstsq(source, target, rcond=None)[0], dtype=np.float64)

    def factors(self) -> tuple[FloatArray, FloatArray]:
        source, target = self.training_texts()
        # The rank cut-off of lstsq, so that the unshuffled pairing gives the fitted map.
        inverse = np.linalg.pinv(source.scores, rcond=np.finfo(np.float64).eps * max(source.scores.shape))
        return np.asarray(inverse, dtype=np.float64), target.scores


class RelativeAnchors(LinearAligner):
    """Relative representations: a text is what its similarities to anchor texts say (Moschella et al. 2023).

    The target's activations are read back from the similarities by inverse relative projection (Maiorca et al. 2024),
    with a small ridge, because anchors hardly differ along the last components. It holds where the two spaces differ
    by a rotation and a scale; nothing is fitted but the anchors.

    Args:
        n_components: m.
        n_anchors: how many training texts are anchors; None for all.
        penalty: of the reading back, in units of the anchors' mean variance per component.
        seed: which texts are anchors.
    """

    name = "anchors"

    def __init__(
        self, n_components: int | None = None, n_anchors: int | None = None, penalty: float = 0.3, seed: Seed = 0
    ):
        super().__init__(n_components)
        self.n_anchors = n_anchors
        self.penalty = penalty
        self.seed = seed

    def _fit_map(self, source: FloatArray, target: FloatArray, groups: npt.NDArray[np.generic] | None) -> FloatArray:
        left, right = self._factors(source, target)
        return left @ right

    def factors(self) -> tuple[FloatArray, FloatArray]:
        source, target = self.training_texts()
        return self._factors(source.scores, target.scores)

    def _factors(self, source: FloatArray, target: FloatArray) -> tuple[FloatArray, FloatArray]:
        anchors = self._anchors(len(source))
        lengths = [np.sqrt(np.square(scores).sum(axis=1, keepdims=True)) for scores in (source, target)]
        from_units: FloatArray = source / lengths[0]
        to_units: FloatArray = target / lengths[1] * anchors[:, None]
        products = to_units.T @ to_units
        ridge = self.penalty * np.trace(products) / len(products) * np.eye(len(products))
        size = np.sqrt(np.square(lengths[1]).mean() / np.square(lengths[0]).mean())
        return from_units.T, np.linalg.solve(products + ridge, to_units.T).T * size

    def _anchors(self, n_texts: int) -> FloatArray:
        """(n,) 1 for anchors."""
        count = n_texts if self.n_anchors is None else self.n_anchors
        if not 1 <= count <= n_texts:
            raise InputError("There are not so many texts for anchors.", found=count, accepted=f"1 to {n_texts}")
        chosen: IntArray = generator(self.seed).permutation(n_texts)[:count]
        anchors = np.zeros(n_texts)
        anchors[chosen] = 1.0
        return anchors


ALIGNERS: tuple[type[Aligner], ...] = (Ridge, Procrustes, CCA, LeastSquares, RelativeAnchors)
"""The package's own."""
REGISTRY: Final = Registry("aligner", {kind.name: kind for kind in ALIGNERS})
Kind = TypeVar("Kind", bound=type[Aligner])


def register_aligner(kind: Kind) -> Kind:
    """Make a class of aligners known under its `name`, for this process; also as a decorator.

    `check_aligner` says whether it does what every aligner must.

    Raises:
        InputError: its name is taken, or it is no class of aligners that can be made without arguments.
    """
    if not (isinstance(kind, type) and issubclass(kind, Aligner)) or isabstract(kind):
        raise InputError("This is no aligner.", found=getattr(kind, "__name__", repr(kind)),
                         accepted="a subclass of Aligner with _fit_map and shuffled")  # fmt: skip
    try:
        kind()
    except TypeError as error:
        raise InputError("An aligner has defaults for all its parameters.", found=error) from error
    REGISTRY.register(getattr(kind, "name", ""), kind)
    return kind


def forget_aligner(name: str) -> None:
    """Undo `register_aligner`.

    Raises:
        InputError: no aligner of this name was registered.
    """
    REGISTRY.forget(name)


def aligners() -> tuple[type[Aligner], ...]:
    """The package's own, then those registered."""
    return tuple(REGISTRY.values())


def aligner_named(name: str) -> type[Aligner]:
    """The aligner class of a name, or an `InputError` that lists them."""
    if name not in list(REGISTRY):
        raise InputError(f"There is no aligner {name!r}.", accepted=", ".join(REGISTRY), next_step=f"or {HOW}")
    return REGISTRY[name]


def aligner_codes() -> dict[str, str]:
    """What the code behind each registered aligner is recognised by."""
    return REGISTRY.codes()
