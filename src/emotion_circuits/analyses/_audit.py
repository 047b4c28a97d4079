"""The audit: an earlier project's numbers by its own formulas, faults included, on models and on noise, beside what to
use instead. A metric is an entry of `METRICS`; models and noise take the same way through them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.linalg import orthogonal_procrustes
from scipy.special import softmax

from emotion_circuits._progress import Progress
from emotion_circuits.analyses._work import no_progress
from emotion_circuits.comparison import require_same_texts
from emotion_circuits.directions import Activations
from emotion_circuits.errors import EmotionCircuitsError, InputError, MeasurementError
from emotion_circuits.geometry import LeastSquares, Ridge, ScenarioTable, biased_cka, cka, orthonormal, overlap

Array = npt.NDArray[Any]
Measure = Callable[[Array, Array], Any]
Values = dict[str, list[float]]
NEUTRAL, EMOTION, POSITION = "neutral", "emotion", "sentence_end"
K, K_VALUES, MOST_K, LARGEST = 10, (2, 5, 10, 20), 20, 5
FULL_WIDTH, LEAST_NOISE = 192, 10  # wider models get fewer draws of what costs the cube of the width
RANK, RANK_64, PINV_CUTOFF = 1e-6, 1e-9, 1e-15  # singular values: rounding of 32 and of 64 bits; what once was kept
FAR_ABOVE = 0.05  # noise that reaches this share of the way from chance to the ceiling is no accident of sampling
HALVES = ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2)))  # to fit on, to judge on


@dataclass(frozen=True, eq=False)
class Cell:
    """What metrics are computed on: class → (n, d) texts, row i of scenario i. An emotion at a layer of two models, all
    classes at a layer of one, or their means at every layer of all, with the layers' median residual norms."""

    sides: Sequence[Mapping[str, Array]]
    sizes: Sequence[float] = ()

    def both(self, name: str, rows: Any = ...) -> list[Array]:
        return [side[name][rows] for side in self.sides]

    @cached_property
    def _components(self) -> list[Array]:
        """Of the emotion's texts about their mean: how the texts of a class differ, not the class."""
        return [np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2].T for x in self.both(EMOTION)]

    def bases(self, k: int = K, one_width: bool = False) -> list[Array]:
        (n, a), (_, b) = (texts.shape for texts in self.both(EMOTION))
        if k >= min(n, a, b) or (one_width and a != b):
            raise InputError("These texts or models do not have subspaces to compare.", found=(n, a, b))
        return [basis[:, :k] for basis in self._components]

    @cached_property
    def mapped(self) -> Array:
        """A basis under least squares by the normal equations in 32 bits, not made orthonormal again. XᵀX of n < d
        texts has rank n; the pseudo-inverse keeps most of its other singular values, which are rounding."""
        x, y, a = (texts.astype(np.float32) for texts in (*self.both(NEUTRAL), self.bases()[0]))
        return np.asarray((np.linalg.pinv(x.T @ x, rcond=PINV_CUTOFF) @ (x.T @ y)).T @ a, dtype=np.float64)

    @cached_property
    def turned(self) -> tuple[Array, Array]:
        """A basis after Procrustes between columns, centred over the columns: as computed, by the transposed rotation
        and with the target's mean added; and by the rotation. Outside what centred columns span it is arbitrary."""
        a, b = self.bases(one_width=True)
        target, a = b.mean(axis=1, keepdims=True), a - a.mean(axis=1, keepdims=True)
        start, _, end = np.linalg.svd(a @ (b - target).T)
        return start @ (end @ a) + target, end.T @ (start.T @ a) + target

    def raw(self, measure: Measure, k: int = K) -> Any:
        return measure(*self.bases(k, one_width=True))

    def gain(self, measure: Measure, as_meant: bool = False) -> Any:
        return measure(self.turned[as_meant], self.bases()[1]) - self.raw(measure)

    def held_out_overlap(self, rotated: bool) -> float:
        """S* of a basis under least squares, or a rotation, of centred neutral texts of the other half of scenarios."""
        found = []
        for fit, judge in HALVES:
            x, y = (texts - texts.mean(axis=0) for texts in self.both(NEUTRAL, fit))
            a, b = Cell([{EMOTION: texts} for texts in self.both(EMOTION, judge)]).bases(one_width=rotated)
            if rotated:
                u, v = (np.linalg.svd(texts, full_matrices=False)[2][: len(x) - 1].T for texts in (x, y))
                image = v @ (orthogonal_procrustes(x @ u, y @ v)[0].T @ (u.T @ a))
            else:
                image = np.linalg.lstsq(x, y, rcond=RANK_64)[0].T @ a
            found.append(float(overlap(image, b).corrected) if len(x) > K + 1 else np.nan)
        return float(np.mean(found))

    def held_out_r2(self, kind: type[LeastSquares | Ridge]) -> float:
        """On the emotion's texts of one half, fitted on the neutral texts of the other: on noise a little below 0."""
        if len(self.sides[0][NEUTRAL]) < 6:
            raise InputError("Half of the scenarios are too few for a map.")
        pairs = [(kind().fit(*self.both(NEUTRAL, fit)), self.both(EMOTION, judge)) for fit, judge in HALVES]
        return float(np.mean([aligner.score(*texts) for aligner, texts in pairs]))

    def vectors(self) -> list[Array]:
        """(E, d) mean of each emotion minus the one mean of the neutral texts, which all of them share."""
        return [np.stack([x.mean(0) for c, x in of.items() if c != NEUTRAL]) - of[NEUTRAL].mean(0) for of in self.sides]

    def ratio(self, sizes: Sequence[float] | float = 1.0) -> float:
        """Longest over shortest vector, in units of sizes."""
        lengths = np.array([np.linalg.norm(vectors, axis=1) for vectors in self.vectors()]).T / sizes
        return float(lengths.max() / lengths.min())

    def cosine(self, specific: bool = False) -> float:
        """Mean between emotions' vectors; `specific`: minus their mean, in deviations within classes."""
        [vectors] = self.vectors()
        if specific:
            scale = np.concatenate([texts - texts.mean(axis=0) for texts in self.sides[0].values()]).std(axis=0)
            vectors = vectors / np.where(scale > 0, scale, np.nan)
            vectors = vectors - vectors.mean(axis=0)
        units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return float((units @ units.T)[np.triu_indices(len(units), 1)].mean())


def _cosines(a: Array, b: Array) -> float:
    """Mean of the five largest cosines of principal angles, cut to 1. Chance grows with k."""
    return float(np.minimum(np.linalg.svd(a.T @ b, compute_uv=False)[:LARGEST], 1.0).mean())


@cache
def _random_cosines(d: int, emotions: int, k: int) -> float:
    draws = np.linalg.qr(np.random.default_rng([d, k]).standard_normal((400, d, k)))[0]
    return float(np.linalg.svd(draws[:, :k], compute_uv=False)[:, :LARGEST].mean()) if k < d else np.nan


def _squares(a: Array, b: Array) -> float:
    """Mean squared inner product of columns, cut to 1 each. Of orthonormal bases S/k: chance is 1/d at every k, equal
    subspaces give 1/k; only columns that are no longer of length 1 can give more."""
    with np.errstate(over="ignore"):  # an infinite square is cut to 1 like any other
        return float(np.minimum(np.square(a.T @ b), 1.0).mean())


class Metric(NamedTuple):
    """A number of the earlier project, by its own formula, or one to use instead."""

    name: str
    value: Callable[[Cell], float]
    corrected: str = ""  # what to use instead
    ceiling: float | None = 1.0  # None for no maximum
    reported: tuple[float, ...] = ()  # lowest and highest
    chance: Callable[..., float] = lambda d, e: 0.0  # by the second model's width
    k: int | None = None  # dimension of its subspaces
    scope: str = "pair"
    cubic: bool = False  # it costs the cube of the width


_after_map = partial(
    Metric, ceiling=1 / K, k=K, chance=lambda d, e: 1 / d, corrected="S* after least squares, held out"
)
_after_turn = partial(Metric, ceiling=1 / K, k=K, corrected="S* after rotation, held out", cubic=True)
METRICS = (
    *(Metric(f"mean of the 5 largest cosines, k = {k}", partial(Cell.raw, measure=_cosines, k=k), f"S*, k = {k}", 1.0,
             (0.137, 0.155) if k == K else (), partial(_random_cosines, k=k), k) for k in K_VALUES),
    *(Metric(f"mean squared Gram entry, k = {k}", partial(Cell.raw, measure=_squares, k=k), f"S*, k = {k}", 1 / k,
             {2: (0.002, 0.005), K: (0.001, 0.001)}.get(k, ()), lambda d, e: 1 / d, k) for k in K_VALUES),
    _after_map("squared entries after a map from neutral texts", lambda c: _squares(c.mapped, c.bases()[1]), cubic=True,
               reported=(0.99, 0.99)),
    _after_map("squared entries, map by a solver that finds the rank",
               lambda c: _squares(LeastSquares().fit(*c.both(NEUTRAL)).coef_.T @ c.bases()[0], c.bases()[1])),
    _after_map("squared entries, mapped basis orthonormal again", cubic=True,
               value=lambda c: _squares(orthonormal(c.mapped / np.linalg.norm(c.mapped, axis=0)), c.bases()[1])),
    Metric("R² of least squares on the texts it was fitted on",
           lambda c: LeastSquares().fit(*c.both(NEUTRAL)).score(*c.both(NEUTRAL)), "R² of ridge, held out"),
    Metric("R² of least squares on other texts", lambda c: c.held_out_r2(LeastSquares), "R² of ridge, held out"),
    _after_turn("gain by Procrustes, squared entries", lambda c: c.gain(_squares), reported=(0.0097, 0.0104)),
    _after_turn("gain by Procrustes, cosines", lambda c: c.gain(_cosines), ceiling=1.0, reported=(0.15, 0.20)),
    _after_turn("gain by Procrustes if turned the right way", lambda c: c.gain(_squares, as_meant=True)),
    Metric("linear CKA, biased", lambda c: biased_cka(*([x] for x in c.both(EMOTION)))[0, 0], "debiased CKA"),
    Metric("cosine between emotions' vectors, one neutral mean", Cell.cosine, "cosine, specific and standardised", 1.0,
           (0.482, 0.988), scope="model"),
    Metric("longest over shortest vector, all layers", Cell.ratio, "longest over shortest, in doses", None,
           (622 / 11, 622 / 11), lambda d, e: 1.0, scope="all"),
    *(Metric(f"S*, k = {k}", partial(Cell.raw, measure=lambda a, b: overlap(a, b).corrected, k=k), k=k)
      for k in K_VALUES),
    Metric("S* after least squares, held out", lambda c: c.held_out_overlap(rotated=False), k=K),
    Metric("R² of ridge, held out", lambda c: c.held_out_r2(Ridge)),
    Metric("S* after rotation, held out", lambda c: c.held_out_overlap(rotated=True), k=K, cubic=True),
    Metric("debiased CKA", lambda c: cka(*([x] for x in c.both(EMOTION)))[0, 0]),
    Metric("cosine, specific and standardised", lambda c: c.cosine(True), "", 1.0, (), lambda d, e: -1 / (e - 1),
           scope="model"),
    Metric("longest over shortest, in doses", lambda c: c.ratio(c.sizes), "", None, (), lambda d, e: 1.0, scope="all"),
)  # fmt: skip


def _band(values: Sequence[float], outside: float = 0.025) -> tuple[float, float, float]:
    """Mean, 2.5 % and 97.5 % points; NaN where one is NaN."""
    known = values if len(values) and np.isfinite(values).all() else [np.nan]
    low, high = np.quantile(known, [outside, 1 - outside])
    return float(np.mean(known)), float(low), float(high)


class Group(NamedTuple):
    """Cells of a pair of models, of one or of all, and how noise of their shape is drawn from a seed."""

    scope: str
    model: str
    shape: tuple[int, int, int, int]
    cells: Sequence[Cell]
    noise: Callable[[int], Cell]
    each: int = 1
    note: str = ""

    def measured(self, cells: Iterable[Cell], n_cubic: float, on_cell: Callable[[int], None]) -> Values:
        """Every metric; NaN for those that texts of this shape, or models of these widths, cannot give."""
        values: Values = defaultdict(list)
        for i, cell in enumerate(cells):
            for metric in (m for m in METRICS if m.scope == self.scope and (i < n_cubic or not m.cubic)):
                values[metric.name].append(np.nan)
                with suppress(EmotionCircuitsError):
                    values[metric.name][-1] = float(metric.value(cell))
            on_cell(i + 1)
        return values

    def row(self, metric: Metric, own: Values, noise: Values) -> dict[str, Any]:
        """With the verdict: an artefact, whatever models give, where even the low end of noise lies far above chance.
        The high end is of single cells, models' value a mean of them, so that it errs towards "chance"."""
        n, a, d, emotions = self.shape
        chance, seed, instead = metric.chance(d, emotions), metric.reported or (np.nan, np.nan), metric.corrected
        mean, least, greatest = _band(own[metric.name], 0.0)
        on_noise, low, high = _band(noise[metric.name])
        verdict = "no data" if np.isnan(mean + high) else "above chance" if mean > high else "chance"
        if instead and low > chance + FAR_ABOVE * (abs(chance) if metric.ceiling is None else metric.ceiling - chance):
            verdict = "artefact"
        lacks = f"{n} texts of {a} dimensions cannot give it" if a == d else "widths differ: align the models first"
        return dict(
            metric=metric.name, model=self.model, seed_value=sum(seed) / 2, on_models=mean, on_noise=on_noise,
            chance=chance, ceiling=metric.ceiling, corrected=_band(own[instead])[0], verdict=verdict, seed_low=seed[0],
            seed_high=seed[1], models_low=least, models_high=greatest, noise_low=low, noise_high=high, k=metric.k, n=n,
            d=d or None, n_cells=np.isfinite(own[metric.name]).sum() * self.each, corrected_statistic=instead or None,
            n_noise=np.isfinite(noise[metric.name]).sum(), note=lacks if np.isnan(on_noise) else self.note,
        )  # fmt: skip


def _stated(rates: Sequence[float], seeds: range) -> list[dict[str, Any]]:
    """What needs no activations to judge: what could be computed of it, and a sentence."""
    rows = [softmax(np.random.default_rng([s, 3]).standard_normal((144, 6)), axis=1) for s in seeds]
    # Scores of 0 or 1 have the widest spread that a mean allows.
    scores = [np.random.default_rng([s, 4]).binomial(70, (0.915 + 0.880) / 2, 2) / 70 for s in seeds]
    bands = [_band([float(of.mean()) * 6 for of in rows]), _band([float(b - a) for a, b in scores])]
    attention, change = ({"on_noise": mean, "noise_low": low, "noise_high": high} for mean, low, high in bands)
    return [
        dict(metric="texts whose emotion word was found in the tokens", seed_value=35 / 210, seed_low=0.0,
             seed_high=31 / 70, ceiling=1.0, corrected=min(rates, default=None), verdict="artefact", n=70,
             corrected_statistic="matched by character offsets", note="words were compared with tokens that carry a "
             "leading space; the other texts were read at their last token, so its token vectors compare positions"),
        dict(metric="outputs of the layer × α sweep that are empty", seed_value=1.0, chance=0.0, ceiling=1.0,
             note="840 of 840 random controls: one forward pass, then a slice past its end"),
        dict(metric="head score: attention row averaged over keys, × length", seed_value=1.0, chance=1.0, ceiling=1.0,
             note="a row sums to 1, so every head gets the same score, here on random attention too",
             n_noise=len(seeds), **attention),
        dict(metric="head patching", note="values of one emotion prompt were written where the value vectors are, not "
             "the head's output"),
        dict(metric="change of sentiment without head 0:0", seed_value=0.880 - 0.915, chance=0.0, verdict="not shown",
             n=70, note="prompt and continuation scored together, one unseeded sample each; noise: two samples with "
             "one mean, scores 0 or 1", n_noise=len(seeds), **change),
    ]  # fmt: skip


def _texts(model: Activations, layer: int) -> dict[str, Array]:
    """Class → (n, d) in order of scenario; layer -1 is what enters block 0."""
    table = ScenarioTable.from_texts(model.at(POSITION)[layer + 1], model.labels, model.scenarios)
    return dict(zip(table.classes, table.cells.swapaxes(0, 1), strict=True))


def _checked(model: Activations, other: Activations, wanted: Sequence[int] | None) -> list[dict[str, Array]]:
    """The texts at the blocks wanted, or at a quarter, half and three quarters of the depth; errors as `audit`."""
    name, classes, n_layers = model.source.model, model.data.classes, model.n_layers
    require_same_texts(other, model)
    if NEUTRAL not in classes or len(classes) < 3:
        raise InputError("The audit needs neutral texts and two emotions.", found=", ".join(classes))
    layers = dict.fromkeys(wanted or [int(n_layers * share) for share in (0.25, 0.5, 0.75)])
    if wrong := [layer for layer in layers if not 0 <= layer < n_layers]:
        raise InputError(f"{name} has no layer {wrong[0]}.", accepted=f"0 to {n_layers - 1}")
    found = {layer: _texts(model, layer) for layer in layers}
    for layer, own, x in ((layer, own, x) for layer, texts in found.items() for own, x in texts.items()):
        least = min(MOST_K, *(size - 1 for size in x.shape))
        if np.linalg.matrix_rank(x - x.mean(axis=0), rtol=RANK) < least:
            raise MeasurementError(f"The {own} texts of {name} span fewer than {least} dimensions at layer {layer}.")
    return [*found.values()]


def _groups(models: Sequence[Activations], texts: Sequence[Sequence[Mapping[str, Array]]]) -> Iterator[Group]:
    classes = [NEUTRAL, *sorted({*models[0].data.classes} - {NEUTRAL})]
    n, e = len({*models[0].scenarios}), len(classes) - 1

    def noise(seed: int, stream: Sequence[int], widths: Sequence[int], of: Sequence[str]) -> Cell:
        rng = np.random.default_rng([seed, *stream])
        drawn = [[rng.standard_normal((n, width)) for width in widths] for _ in of]
        return Cell([dict(zip(of, side, strict=True)) for side in zip(*drawn, strict=True)])

    sides = [(m.source.model, m.at(POSITION).shape[2], own) for m, own in zip(models, texts, strict=True)]
    for (a, d_a, own_a), (b, d_b, own_b) in [*combinations(sides, 2)] or [(sides[0], (*sides[0][:2], ()))]:
        places = [(both, c) for both in zip(own_a, own_b, strict=False) for c in classes[1:]]  # shallow ones have fewer
        cells = [Cell([{NEUTRAL: side[NEUTRAL], EMOTION: side[c]} for side in both]) for both, c in places]
        draw = partial(noise, stream=(), widths=(d_a, d_b), of=(NEUTRAL, EMOTION))
        told = ("–", "one model: nothing to compare it with") if a == b else (f"{a} ~ {b}", "")
        yield Group("pair", told[0], (n, d_a, d_b, e), cells, draw, note=told[1])
    for name, d, own in sides:
        draw = partial(noise, stream=(1,), widths=(d,), of=classes)
        yield Group("model", name, (n, d, d, e), [Cell([side]) for side in own], draw, e * (e - 1) // 2)
    means, sizes, spreads = [], [], []
    for model in models:
        blocks = model.at(POSITION)[1:]
        norms = np.median(np.linalg.norm(blocks, axis=2), axis=1) if model.generic is None else model.generic.norm[1:]
        sizes += [*map(float, norms)]
        for layer, block in enumerate(blocks):
            means.append({c: x.mean(axis=0, keepdims=True) for c, x in _texts(model, layer).items()})
            spreads.append((np.sqrt(block.astype(np.float64).var(axis=0).mean() / n), (1, block.shape[1])))

    def flat(seed: int) -> Cell:
        rng = np.random.default_rng([seed, 2])  # what is drawn are means of n independent texts
        return Cell([{c: spread * rng.standard_normal(shape) for c in classes} for spread, shape in spreads], sizes)

    note = "noise: layers as spread out as the models' own, without emotions"
    yield Group("all", "all", (n, 0, 0, e), [Cell(means, sizes)], flat, len(means) * e, note)


def audit(
    activations: Sequence[Activations], *, layers: Sequence[int] | None = None, seed: int = 0, n_noise: int = 200,
    progress: Progress = no_progress,
) -> pd.DataFrame:  # fmt: skip
    """Compute the earlier project's numbers on models and on noise.

    Args:
        activations: of one model or more, at the end of sentences, on the same texts. Pairs are compared in this order.
        layers: blocks, of every model; None for a quarter, half and three quarters of each model's depth.
        seed: the first of `n_noise` consecutive seeds of the noise.

    Returns:
        A row for each metric and pair of models, model or all: what was reported (`seed_value`, `seed_low` …);
        `on_models`, the mean over `n_cells` layers and emotions, from `models_low` to `models_high`; `on_noise`, where
        95 % of `n_noise` single cells are in `noise_low` to `noise_high`; chance; ceiling; `corrected_statistic`, which
        has a row of its own, on the models (`corrected`); the verdict.

    Raises:
        InputError: no models, one named twice, different texts, an incomplete data set, or a layer that a model lacks.
        MeasurementError: NaN, or a layer whose texts do not span the subspaces that are taken of them.
    """
    names = [one.source.model for one in activations]
    if not names:
        raise InputError("There are no models to audit.", next_step="run `emotion-circuits extract` first")
    if n_noise < 2:
        raise InputError("A band needs two draws of noise.", found=n_noise)
    if len({*names}) < len(names):
        raise InputError("A model was named twice.", found=", ".join(names))
    noise: dict[Any, Values] = {}
    seeds, found = range(seed, seed + n_noise), []
    for group in _groups(activations, [_checked(one, activations[0], layers) for one in activations]):
        key, width = group[:1] + group.shape, max(1, *group.shape[1:3])
        if key not in noise:
            with progress(f"Noise for {group.model}", n_noise) as done:
                n_cubic = max(LEAST_NOISE, round(n_noise * (FULL_WIDTH / width) ** 3))
                noise[key] = group.measured(map(group.noise, seeds), n_cubic, done)
        with progress(f"Audit of {group.model}", len(group.cells)) as done:
            found.append((group, group.measured(group.cells, len(group.cells), done), noise[key]))
    rows = [g.row(metric, own, draws) for metric in METRICS for g, own, draws in found if g.scope == metric.scope]
    rates = [rate for one in activations for rate in one.match_rate.values() if rate is not None]
    table = pd.DataFrame([*rows, *_stated(rates, seeds)])
    table = table.fillna({"model": "all", "verdict": "no data", "n_cells": 0, "n_noise": 0})
    return table.astype(dict.fromkeys(("k", "n", "d", "n_cells", "n_noise"), "Int64"))
