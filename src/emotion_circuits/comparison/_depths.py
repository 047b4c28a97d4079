"""Two models by relative depth and function: do the same things happen at the same depths?

The profiles of `components.DepthProfiles` are laid over as many equal bins of relative depth as the shallower model has
layers, so that nothing is made up by interpolating, and correlated. Scenarios are those with a pair in both models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from math import factorial
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emotion_circuits._files import write_table
from emotion_circuits.comparison._rows import ALL, PairMeasure
from emotion_circuits.components import (
    FUNCTIONS,
    MIN_SCENARIOS,
    DepthProfiles,
    correlations,
    reliability,
    shares,
)
from emotion_circuits.errors import InputError
from emotion_circuits.models import ModelName
from emotion_circuits.statistics import benjamini_hochberg, rows_table, weighted_bootstrap

FloatArray = NDArray[np.float64]
DEPTH_CORRELATION: Final = "correlation of profiles over relative depth"
DEPTH_DIFFERENCE: Final = "difference of mean relative depth"
OWN_FUNCTION: Final = "correlation with the same function minus other functions"
OWN_EMOTION: Final = "correlation with the same emotion minus other emotions"
ALL_FUNCTIONS: Final = "all functions"
MIN_LAYERS: Final = 4
"""Their 24 orders give a p of .042 at best."""
MOST_LABELS: Final = 5040
_ROUNDING = 1e-12


def depth_bins(n_layers: int, n_bins: int) -> FloatArray:
    """(bins, L) the share of each layer that lies in each of equal bins of relative depth; columns sum to 1."""
    edges, layers = np.linspace(0, 1, n_bins + 1), np.linspace(0, 1, n_layers + 1)
    high = np.minimum(edges[1:, None], layers[None, 1:])
    low = np.maximum(edges[:-1, None], layers[None, :-1])
    result: FloatArray = np.clip(high - low, 0, None) * n_layers
    return result


class Orders(NamedTuple):
    """Orders (m, n) of n things: all of them, the given one first, or so many random ones."""

    rows: NDArray[np.int64]
    exact: bool

    @classmethod
    def of(cls, n: int, n_draws: int, seed: int) -> Orders:
        """All orders where there are at most `n_draws`."""
        if factorial(n) <= n_draws:
            return cls(np.array(list(permutations(range(n)))), True)
        return cls(np.argsort(np.random.default_rng((seed, 71)).random((n_draws, n)), axis=1), False)

    def p(self, value: float, null: FloatArray, *, close: bool = False) -> float:
        """How often the null is at least as large or, with `close`, at least as near to 0. All orders hold the given
        one, random ones do not."""
        reached = np.abs(null) <= abs(value) + _ROUNDING if close else null >= value - _ROUNDING
        extra = 0 if self.exact else 1
        return (int(reached.sum()) + extra) / (len(null) + extra)


@dataclass(frozen=True, eq=False)
class _Both:
    """Profiles of both models over common bins. E emotions, F functions, S scenarios that any emotion uses.

    Attributes:
        a, b: for each emotion (F, its scenarios, bins).
        member: for each emotion, its scenarios' places among the S.
        n: S.
        few: emotion → shared scenarios, where they are too few to be halved.
    """

    emotions: tuple[str, ...]
    functions: tuple[str, ...]
    a: tuple[FloatArray, ...]
    b: tuple[FloatArray, ...]
    member: tuple[NDArray[np.int64], ...]
    n: int
    few: Mapping[str, int]

    @classmethod
    def of(cls, a: DepthProfiles, b: DepthProfiles) -> _Both:
        n_bins = min(a.n_layers, b.n_layers)
        to_bins = [depth_bins(p.n_layers, n_bins).T for p in (a, b)]
        emotions = [e for e in a.emotions if e in b.emotions]
        functions = tuple(f for f in a.functions if all((e, f) in p.of for e in emotions for p in (a, b)))
        if not emotions or not functions:
            raise InputError(f"{a.model} and {b.model} have no emotion and function in common.")
        names = {}
        for e in emotions:
            own = [set(p.of[e, f].scenarios) for p in (a, b) for f in functions]
            names[e] = tuple(s for s in a.of[e, functions[0]].scenarios if all(s in each for each in own))
        kept = tuple(e for e in emotions if len(names[e]) >= MIN_SCENARIOS)
        every = sorted({s for e in kept for s in names[e]})
        place = {s: i for i, s in enumerate(every)}
        sides = [
            tuple(np.stack([p.of[e, f].only(names[e]).values @ bins for f in functions]) for e in kept)
            for p, bins in zip((a, b), to_bins, strict=True)
        ]
        member = tuple(np.array([place[s] for s in names[e]]) for e in kept)
        few = {e: len(names[e]) for e in emotions if e not in kept}
        return cls(kept, functions, sides[0], sides[1], member, len(every), few)

    def sums(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(B, S) weights → (B, E, F, bins) of A and of B; sums instead of means, which no statistic here can tell."""
        a, b = (
            np.stack(
                [np.einsum("bg,fgk->bfk", weights[:, at], x) for at, x in zip(self.member, side, strict=True)], axis=1
            )
            for side in (self.a, self.b)
        )
        return a, b

    def over_emotions(self, weights: FloatArray, values: FloatArray) -> FloatArray:
        """(B, E) values → (B,) mean over the emotions that a draw holds scenarios of."""
        drawn = np.stack([weights[:, at].sum(axis=1) > 0 for at in self.member], axis=1)
        result: FloatArray = (values * drawn).sum(axis=1) / drawn.sum(axis=1)
        return result

    def ceilings(self, seed: int) -> FloatArray:
        """(E, F) how well two such profiles could correlate: √ of the product of their reliabilities; NaN without."""
        found = [
            [reliability(x[f], seed=seed) * reliability(y[f], seed=seed) for f in range(len(self.functions))]
            for x, y in zip(self.a, self.b, strict=True)
        ]
        result: FloatArray = np.sqrt(np.array(found))
        return result


def component_rows(
    a: DepthProfiles, b: DepthProfiles, *, n_draws: int = 9999, n_bootstrap: int = 2000, seed: int = 0
) -> list[PairMeasure]:
    """Are the same functions found at the same relative depths in two models?

    For each emotion and function: the correlation of both profiles over relative depth, and the difference of their
    mean relative depths (A − B, layers weighted by the size of what they do; its p says how seldom a random order of
    layers comes as close). Chance and p: the shallower model's layers in any order. The ceiling is the root of the
    product of both profiles' reliabilities. Intervals: BCa over the scenarios that both models have a pair of.

    Rows of emotion `all` are means over emotions, their null one order for all of them. The last two rows ask whether a
    function of A (an emotion) is more like the same one in B than like the others, beside all relabellings of B's.
    `layer_a` and `layer_b` are where most is.

    Args:
        a, b: the models' profiles.
        n_draws: random orders of the layers, where there are more than so many.
        n_bootstrap: draws of an interval.
        seed: of both.

    Raises:
        InputError: fewer than four layers, or nothing that both models have.
    """
    least = min(a.n_layers, b.n_layers)
    if least < MIN_LAYERS:
        raise InputError("So few layers have no profile over depth.", found=least, accepted=f"{MIN_LAYERS} or more")
    both = _Both.of(a, b)
    rows = [
        PairMeasure(a.model, b.model, e, "", -1, -1, ALL_FUNCTIONS, DEPTH_CORRELATION, float("nan"), n_unique=n)
        for e, n in both.few.items()
    ]
    if not both.emotions:
        return rows
    pair = _Pair(a, b, both, Orders.of(least, n_draws, seed), n_bootstrap, seed)
    return [*rows, *pair.single(), *pair.over_emotions(), *pair.relabelled()]


@dataclass(frozen=True, eq=False)
class _Pair:
    """Makes the rows."""

    a: DepthProfiles
    b: DepthProfiles
    both: _Both
    orders: Orders
    n_bootstrap: int
    seed: int

    @property
    def b_is_shallower(self) -> bool:
        """Whose layers are put into other orders."""
        return self.b.n_layers < self.a.n_layers

    @cached_property
    def means(self) -> tuple[FloatArray, FloatArray]:
        """(E, F, bins) of A and of B."""
        a, b = self.both.sums(np.ones((1, self.both.n)))
        return a[0], b[0]

    @cached_property
    def null(self) -> FloatArray:
        """(m, E, F) correlations with the bins of one in other orders; of which one, they do not see."""
        a, b = self.means
        return np.stack([correlations(a[:, :, order], b) for order in self.orders.rows])

    @cached_property
    def apart(self) -> FloatArray:
        """(m, E, F) differences of mean depth with the shallower model's layers in other orders."""
        a, b = self.means
        moved, kept = (b, a) if self.b_is_shallower else (a, b)
        depths = np.stack([mean_depth(moved[:, :, order]) for order in self.orders.rows])
        return (depths - mean_depth(kept)) * (-1 if self.b_is_shallower else 1)

    @cached_property
    def ceilings(self) -> FloatArray:
        """(E, F)"""
        return self.both.ceilings(self.seed)

    def single(self) -> Iterator[PairMeasure]:
        """Every emotion and function."""
        for e, emotion in enumerate(self.both.emotions):
            for f, function in enumerate(self.both.functions):
                x, y = self.both.a[e][f], self.both.b[e][f]

                def alike(w: FloatArray, x: FloatArray = x, y: FloatArray = y) -> FloatArray:
                    return correlations(w @ x, w @ y)

                def difference(w: FloatArray, x: FloatArray = x, y: FloatArray = y) -> FloatArray:
                    return mean_depth(w @ x) - mean_depth(w @ y)

                about = _About(emotion, function, ((e, f),), len(x))
                yield self._row(about, DEPTH_CORRELATION, alike, self.null[:, e, f], ceiling=self.ceilings[e, f])
                yield self._row(about, DEPTH_DIFFERENCE, difference, self.apart[:, e, f], close=True)

    def over_emotions(self) -> Iterator[PairMeasure]:
        """Means over emotions, by function and over all functions."""
        # A profile that does not agree with itself agrees with nothing: it counts as 0 in a mean.
        ceilings, n_emotions = np.nan_to_num(self.ceilings), len(self.both.emotions)
        groups = [((f,), name) for f, name in enumerate(self.both.functions)]
        for chosen, name in [*groups, (tuple(range(len(groups))), ALL_FUNCTIONS)]:
            index = list(chosen)

            def mean(w: FloatArray, index: list[int] = index) -> FloatArray:
                a, b = self.both.sums(w)
                return self.both.over_emotions(w, correlations(a, b)[:, :, index].mean(axis=2))

            about = _About(ALL, name, tuple((e, f) for e in range(n_emotions) for f in chosen), self.both.n)

            def difference(w: FloatArray, index: list[int] = index) -> FloatArray:
                a, b = self.both.sums(w)
                depths = mean_depth(a) - mean_depth(b)
                return self.both.over_emotions(w, depths[:, :, index].mean(axis=2))

            null = self.null[:, :, index].mean(axis=(1, 2))
            yield self._row(about, DEPTH_CORRELATION, mean, null, ceiling=float(ceilings[:, index].mean()))
            apart = self.apart[:, :, index].mean(axis=(1, 2))
            yield self._row(about, DEPTH_DIFFERENCE, difference, apart, close=True)

    def relabelled(self) -> Iterator[PairMeasure]:
        """The same function, and the same emotion, against others."""
        a, b = self.means
        n_emotions, n_functions = a.shape[:2]
        about = _About(
            ALL, ALL_FUNCTIONS, tuple((e, f) for e in range(n_emotions) for f in range(n_functions)), self.both.n
        )
        if n_functions > 1:
            table = correlations(a[:, :, None], b[:, None]).mean(axis=0)  # (F of A, F of B)
            orders = Orders.of(n_functions, MOST_LABELS, self.seed)

            def function(w: FloatArray) -> FloatArray:
                x, y = self.both.sums(w)
                tables = correlations(x[:, :, :, None], y[:, :, None])
                return self.both.over_emotions(w, own_minus_others(tables))

            null = np.array([own_minus_others(table[:, order]) for order in orders.rows])
            yield self._row(about, OWN_FUNCTION, function, null, orders=orders, name="functions relabelled")
        if n_emotions > 1:
            table = correlations(a[:, None], b[None]).mean(axis=2)  # (E of A, E of B)
            orders = Orders.of(n_emotions, MOST_LABELS, self.seed)

            def emotion(w: FloatArray) -> FloatArray:
                x, y = self.both.sums(w)
                return own_minus_others(correlations(x[:, :, None], y[:, None]).mean(axis=3))

            null = np.array([own_minus_others(table[:, order]) for order in orders.rows])
            yield self._row(about, OWN_EMOTION, emotion, null, orders=orders, name="emotions relabelled")

    def _row(
        self, about: _About, statistic: str, of: Callable[[FloatArray], FloatArray], null: FloatArray, *,
        orders: Orders | None = None, name: str = "", ceiling: float = float("nan"), close: bool = False,
    ) -> PairMeasure:  # fmt: skip
        boot = weighted_bootstrap(of, about.n, n_draws=self.n_bootstrap, seed=self.seed)
        low, high = (float(q) for q in np.quantile(null, [0.025, 0.975]))
        p = (orders or self.orders).p(boot.value, null, close=close)
        shallower = self.b if self.b_is_shallower else self.a
        peaks = [self._peak(p, about) for p in (self.a, self.b)]
        return PairMeasure(
            self.a.model, self.b.model, about.emotion, about.position, peaks[0], peaks[1], about.kind, statistic,
            boot.value, boot.interval.low, boot.interval.high, name or f"layers of {shallower.model} in any order",
            float(null.mean()), low, high, float(ceiling), p, about.n,
        )  # fmt: skip

    def _peak(self, profiles: DepthProfiles, about: _About) -> int:
        """The layer with the largest share, over all scenarios of the model."""
        keys = [(self.both.emotions[e], self.both.functions[f]) for e, f in about.cells]
        return int(np.mean([np.abs(shares(profiles.of[key].mean)) for key in keys], axis=0).argmax())


class _About(NamedTuple):
    """What a row is about: its cells are (emotion, function) by number."""

    emotion: str
    kind: str
    cells: tuple[tuple[int, int], ...]
    n: int

    @property
    def position(self) -> str:
        return next((f.position for f in FUNCTIONS if f.name == self.kind), "")


def mean_depth(profiles: FloatArray) -> FloatArray:
    """(…, bins) → (…) the mean relative depth, bins weighted by their size; the middle where there is nothing."""
    weights = np.abs(shares(profiles))
    n = profiles.shape[-1]
    nothing = 1 - weights.sum(axis=-1)
    result: FloatArray = weights @ ((np.arange(n) + 0.5) / n) + 0.5 * nothing
    return result


def own_minus_others(table: FloatArray) -> FloatArray:
    """(…, n, n) → (…) the mean of the diagonal minus that of all else."""
    n = table.shape[-1]
    own = np.trace(table, axis1=-2, axis2=-1)
    result: FloatArray = np.asarray(own / n - (table.sum(axis=(-2, -1)) - own) / (n * (n - 1)))
    return result


def adjusted(rows: Sequence[PairMeasure]) -> list[float | None]:
    """Benjamini and Hochberg's adjustment of the correlations' p over emotions × functions; None for all other rows."""
    single = [m.statistic == DEPTH_CORRELATION and m.emotion != ALL for m in rows]
    return benjamini_hochberg([m.p if own else None for m, own in zip(rows, single, strict=True)])


def component_path(folder: Path, a: str, b: str) -> Path:
    """Where the rows of two models lie."""
    return folder / "cross_model" / f"{ModelName.parse(a).slug}_and_{ModelName.parse(b).slug}_components.parquet"


def write_component_rows(
    folder: Path, a: DepthProfiles, b: DepthProfiles, *, n_draws: int = 9999, n_bootstrap: int = 2000, seed: int = 0
) -> Path:
    """`component_rows` of two models, written into `results/<profile>`; a second or two."""
    path = component_path(folder, a.model, b.model)
    write_table(
        path, rows_table(PairMeasure, component_rows(a, b, n_draws=n_draws, n_bootstrap=n_bootstrap, seed=seed))
    )
    return path
