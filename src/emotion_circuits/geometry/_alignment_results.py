"""What judging a map gives: numbers beside their nulls, for one pair of layers or for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from emotion_circuits.errors import InputError

from ._comparison import NullBand
from ._inputs import FloatArray
from ._judging import own_cosines, retrieval, specificity


class Band(NamedTuple):
    """A null of an array of statistics: mean, 2.5 % and 97.5 % points, one-sided p, each of the statistics' shape."""

    mean: FloatArray
    low: FloatArray
    high: FloatArray
    p: FloatArray

    def at(self, name: str, n_draws: int, index: tuple[int, ...]) -> NullBand:
        """The null of one statistic."""
        mean, low, high, p = (float(array[index]) for array in self)
        return NullBand(name, mean, low, high, p, n_draws)


@dataclass(frozen=True, eq=False)
class LayerNull:
    """One kind of broken link, for every pair of layers.

    Attributes:
        name: "shuffled" (pairs of training texts over all), "shuffled within class", "random map" (of the same singular
            values), or "shuffled labels".
        own: of the cosine of each emotion with itself (La, Lb, E). mean_own, specificity, overlap: (La, Lb).
        retrieval: (La, Lb) mean share retrieved: chance.
    """

    name: str
    n_draws: int
    own: Band
    mean_own: Band
    specificity: Band
    overlap: Band
    retrieval: FloatArray


@dataclass(frozen=True)
class AlignmentReport:
    """A map between two layers, judged on emotion texts; see `LayerAlignment` for what the fields mean."""

    method: str
    emotions: tuple[str, ...]
    cosines: tuple[tuple[float, ...], ...]
    own: tuple[float, ...]
    own_intervals: tuple[tuple[float, float], ...]
    mean_own: float
    mean_own_interval: tuple[float, float]
    wrong_class: float
    specificity: float
    specificity_interval: tuple[float, float]
    retrieval: float
    overlap: float
    overlap_corrected: float
    overlap_chance: float
    r2: float
    r2_interval: tuple[float, float]
    cv_r2: float | None
    penalty: float | None
    own_nulls: tuple[tuple[NullBand, ...], ...]
    mean_own_nulls: tuple[NullBand, ...]
    specificity_nulls: tuple[NullBand, ...]
    overlap_nulls: tuple[NullBand, ...]
    mean_own_label_null: NullBand | None
    overlap_label_null: NullBand | None
    retrieval_chance: float
    n_fit: int
    n_components: int
    n_scenarios: int
    n_texts: int
    n_unique: int


@dataclass(frozen=True, eq=False)
class LayerAlignment:
    """Maps from every layer of model A to every layer of model B, judged on emotion texts that no map has seen.

    Attributes:
        method, emotions, kind, space: the aligner's name; names of the E emotions; "matched" or "specific" directions;
            whether cosines are taken in units of the target's training deviation or in its own.
        cosines: (La, Lb, E, E) of mapped direction (row) with the target's own (column).
        bootstrap: (draws, La, Lb, E) cosine of each emotion with itself when scenarios are resampled. The same seed
            and scenarios give the same draws for any model, so that results may be compared draw by draw.
        level: nominal coverage of all intervals (percentile, over scenarios).
        specificity_low, specificity_high: (La, Lb).
        overlap, overlap_corrected, overlap_chance: S and S* of the subspaces spanned by mapped and own matched
            directions (La, Lb), and E/d.
        r2, r2_low, r2_high: (La, Lb) R² on the emotion texts, all classes, against the *training* mean.
        cv_r2, penalty: (La, Lb) of the fit's cross-validation; NaN where the aligner has none.
        nulls: what the same statistics are when the link between the models is broken.
        label_null: what they are for directions from shuffled labels, under the map as it is. It asks something else:
            whether emotions are carried over better than any contrast of the same texts. A good map carries over all.
        n_fit, n_components, n_scenarios, n_texts, n_unique: counts (of emotion texts the last three).
    """

    method: str
    emotions: tuple[str, ...]
    kind: str
    space: str
    cosines: FloatArray
    bootstrap: npt.NDArray[np.float32]
    level: float
    specificity_low: FloatArray
    specificity_high: FloatArray
    overlap: FloatArray
    overlap_corrected: FloatArray
    overlap_chance: float
    r2: FloatArray
    r2_low: FloatArray
    r2_high: FloatArray
    cv_r2: FloatArray
    penalty: FloatArray
    nulls: tuple[LayerNull, ...]
    label_null: LayerNull | None
    n_fit: int
    n_components: int
    n_scenarios: int
    n_texts: int
    n_unique: int

    @property
    def own(self) -> FloatArray:
        """(La, Lb, E) cosine of each mapped direction with the target's own."""
        return own_cosines(self.cosines)

    @property
    def mean_own(self) -> FloatArray:
        """(La, Lb) its mean over emotions."""
        return np.asarray(self.own.mean(axis=-1))

    @property
    def wrong_class(self) -> FloatArray:
        """(La, Lb) mean cosine of a mapped direction with those of the other emotions."""
        return np.asarray(self.mean_own - self.specificity)

    @property
    def specificity(self) -> FloatArray:
        """(La, Lb) `mean_own` minus `wrong_class`."""
        return specificity(self.cosines)

    @property
    def retrieval(self) -> FloatArray:
        """(La, Lb) share of emotions whose mapped direction is nearest to its own."""
        return retrieval(self.cosines)

    @property
    def own_interval(self) -> tuple[FloatArray, FloatArray]:
        """(La, Lb, E) bounds of `own`."""
        return self._bounds(self.bootstrap)

    @property
    def mean_own_interval(self) -> tuple[FloatArray, FloatArray]:
        """(La, Lb) bounds of `mean_own`."""
        return self._bounds(self.bootstrap.mean(axis=-1))

    def null(self, name: str) -> LayerNull:
        """The null of a name."""
        for null in (*self.nulls, self.label_null):
            if null is not None and null.name == name:
                return null
        raise InputError(f"There is no null {name!r} here.", accepted=", ".join(null.name for null in self.nulls))

    def best(self) -> tuple[int, int]:
        """The layers with the largest `mean_own`, the lower ones of equals: to be chosen on development texts."""
        flat = int(np.argmax(self.mean_own))
        return flat // self.mean_own.shape[1], flat % self.mean_own.shape[1]

    def at(self, layer_a: int, layer_b: int) -> AlignmentReport:
        """Everything about one pair of layers."""
        shape = self.mean_own.shape
        if not (0 <= layer_a < shape[0] and 0 <= layer_b < shape[1]):
            raise InputError("There is no such pair of layers.", found=(layer_a, layer_b), accepted=f"below {shape}")
        i = (layer_a, layer_b)
        own_low, own_high = self.own_interval
        mean_low, mean_high = self.mean_own_interval
        emotions, labels = range(len(self.emotions)), self.label_null

        def optional(array: FloatArray) -> float | None:
            return None if np.isnan(array[i]) else float(array[i])

        return AlignmentReport(
            method=self.method,
            emotions=self.emotions,
            cosines=tuple(tuple(row) for row in self.cosines[i].tolist()),
            own=tuple(self.own[i].tolist()),
            own_intervals=tuple((float(own_low[i][e]), float(own_high[i][e])) for e in emotions),
            mean_own=float(self.mean_own[i]),
            mean_own_interval=(float(mean_low[i]), float(mean_high[i])),
            wrong_class=float(self.wrong_class[i]),
            specificity=float(self.specificity[i]),
            specificity_interval=(float(self.specificity_low[i]), float(self.specificity_high[i])),
            retrieval=float(self.retrieval[i]),
            overlap=float(self.overlap[i]),
            overlap_corrected=float(self.overlap_corrected[i]),
            overlap_chance=self.overlap_chance,
            r2=float(self.r2[i]),
            r2_interval=(float(self.r2_low[i]), float(self.r2_high[i])),
            cv_r2=optional(self.cv_r2),
            penalty=optional(self.penalty),
            own_nulls=tuple(
                tuple(null.own.at(null.name, null.n_draws, (*i, e)) for null in self.nulls) for e in emotions
            ),
            mean_own_nulls=tuple(null.mean_own.at(null.name, null.n_draws, i) for null in self.nulls),
            specificity_nulls=tuple(null.specificity.at(null.name, null.n_draws, i) for null in self.nulls),
            overlap_nulls=tuple(null.overlap.at(null.name, null.n_draws, i) for null in self.nulls),
            mean_own_label_null=None if labels is None else labels.mean_own.at(labels.name, labels.n_draws, i),
            overlap_label_null=None if labels is None else labels.overlap.at(labels.name, labels.n_draws, i),
            retrieval_chance=1 / len(self.emotions),
            n_fit=self.n_fit,
            n_components=self.n_components,
            n_scenarios=self.n_scenarios,
            n_texts=self.n_texts,
            n_unique=self.n_unique,
        )

    def _bounds(self, draws: npt.NDArray[np.float32]) -> tuple[FloatArray, FloatArray]:
        tail = (1 - self.level) / 2
        low, high = np.quantile(draws, [tail, 1 - tail], axis=0).astype(np.float64)
        return low, high
