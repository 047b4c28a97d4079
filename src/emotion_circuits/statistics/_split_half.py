"""Split-half cosine: does a direction come out the same from other scenarios?

A direction is a mean over scenarios of the target text minus the mean of the texts it is contrasted with. Everything
here follows from the Gram matrix of the texts, so the cost of the draws does not depend on the width of the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from emotion_circuits.errors import InputError, MeasurementError

from ._permutation import exceedance_p, group_codes
from ._resampling import FloatArray, Interval, Seed, batch_length, finite_array, substream, weighted_bootstrap

ContrastKind = Literal["matched", "specific"]
MINIMUM_GROUPS = 4
# Squared distances below this share of the squared norms are what float32 rounding leaves of equal texts.
IDENTICAL = 1e-14


@dataclass(frozen=True)
class SplitHalfResult:
    """Split-half cosine beside its null.

    Attributes:
        value: cosine of the directions of two random halves of the groups, mean over splits.
        interval: over groups.
        standard_error: bootstrap standard error.
        p: permutation p-value of "no larger than chance".
        null_mean, null_low, null_high: mean, 2.5 % and 97.5 % points of the permutation null; the mean is the chance
            level. ceiling: Spearman–Brown 2r/(1 + r), the cosine to expect between two directions that each come from
            as many groups as there are here: no other direction can agree better with this one. None where r ≤ 0.
        n_texts, n_groups, n_splits: counts; texts are those that take part in the contrast.
    """

    value: float
    interval: Interval
    standard_error: float
    p: float
    null_mean: float
    null_low: float
    null_high: float
    ceiling: float | None
    n_texts: int
    n_groups: int
    n_splits: int


def split_half_cosine(
    activations: npt.ArrayLike,
    labels: npt.ArrayLike,
    groups: npt.ArrayLike,
    target: str,
    *,
    kind: ContrastKind = "specific",
    neutral: str = "neutral",
    n_splits: int = 200,
    n_permutations: int = 1000,
    n_bootstrap: int = 2000,
    seed: Seed,
    level: float = 0.95,
) -> SplitHalfResult:
    """Split-half cosine of a class's direction from activations (n, d); see `split_half_from_gram`."""
    texts = finite_array(activations, "The activations", (2,))
    centred = texts - texts.mean(axis=0)  # contrasts ignore the mean; without it the products keep more digits
    return split_half_from_gram(
        centred @ centred.T,
        labels,
        groups,
        target,
        kind=kind,
        neutral=neutral,
        n_splits=n_splits,
        n_permutations=n_permutations,
        n_bootstrap=n_bootstrap,
        seed=seed,
        level=level,
    )


def split_half_from_gram(
    gram: npt.ArrayLike,
    labels: npt.ArrayLike,
    groups: npt.ArrayLike,
    target: str,
    *,
    kind: ContrastKind = "specific",
    neutral: str = "neutral",
    n_splits: int = 200,
    n_permutations: int = 1000,
    n_bootstrap: int = 2000,
    seed: Seed,
    level: float = 0.95,
) -> SplitHalfResult:
    """Split-half cosine of a class's direction, its interval, null and ceiling.

    The null permutes labels within each group among the classes of the contrast (target and neutral, or the emotions)
    and runs the same code on the same splits: which text of a scenario plays the target is drawn anew.

    The interval (percentile) draws groups with replacement and splits them with all copies of a group in one half,
    because a group in both halves would agree with itself. Copies are no new evidence: taken as they are, they double
    the noise within a half, and the draws' cosines lie so far below the estimate that the interval seldom holds it. So
    a copy's inner product with its twin is taken to be the mean inner product of different groups, as for one more
    scenario of its kind. What bias remains is on the safe side: on simulated scenarios (24 and 48 of them; few and many
    noise dimensions; cosines from 0 to .99) the interval held the expected cosine in 97–100 % of data sets at a nominal
    95 %, and started above it in at most 1 %.

    Args:
        gram: (n, n) inner products of the texts, best of centred ones.
        labels: (n,) class of each text.
        groups: (n,) scenario of each text; each has every class once.
        target: the class whose direction it is.
        kind: "matched" is the class minus neutral; "specific" the class minus the mean over the emotions (all classes
            but neutral), which is what remains of the matched contrast after subtracting its mean over emotions.
        neutral: name of the neutral class.
        n_splits, n_permutations, n_bootstrap, seed, level: draws, their seed, nominal coverage.

    Raises:
        InputError: an unknown class, a group without each class exactly once, fewer than four groups.
        MeasurementError: activations without any difference between the classes.
    """
    products = finite_array(gram, "The Gram matrix", (2,))
    contrasts = _contrast_gram(products, labels, groups, target, kind, neutral)
    n_groups, n_classes = contrasts.shape[:2]
    own = contrasts[:, 0, :, 0]
    if np.trace(own) <= IDENTICAL * np.trace(products):
        raise MeasurementError(f"The texts of {target} and the classes it is contrasted with are identical.")
    halves = _halves(n_groups, n_splits, seed)
    value = float(_mean_cosines(own[None], halves)[0])

    def of_weights(weights: FloatArray) -> FloatArray:
        parts = _batches(len(weights), n_splits * n_groups)
        return np.concatenate([_resampled_cosines(own, weights[part], halves) for part in parts])

    boot = weighted_bootstrap(
        of_weights, n_groups, n_draws=n_bootstrap, seed=substream(seed, 1), method="percentile", level=level
    )
    players = np.random.default_rng(substream(seed, 2)).integers(0, n_classes, (n_permutations, n_groups))
    texts = contrasts.reshape(n_groups * n_classes, n_groups * n_classes)
    chosen = players + n_classes * np.arange(n_groups)
    null = np.concatenate(
        [
            _mean_cosines(texts[some[:, :, None], some[:, None, :]], halves)
            for some in (chosen[part] for part in _batches(n_permutations, n_groups**2))
        ]
    )
    low, high = np.quantile(null, [0.025, 0.975])
    return SplitHalfResult(
        value=value,
        interval=boot.interval,
        standard_error=boot.standard_error,
        p=exceedance_p(value, null),
        null_mean=float(null.mean()),
        null_low=float(low),
        null_high=float(high),
        ceiling=spearman_brown(value),
        n_texts=n_groups * n_classes,
        n_groups=n_groups,
        n_splits=n_splits,
    )


def spearman_brown(split_half: float) -> float | None:
    """Reliability of the whole from that of its halves, 2r/(1 + r) (Spearman 1910, Brown 1910); None where r ≤ 0."""
    return 2 * split_half / (1 + split_half) if split_half > 0 else None


def _contrast_gram(
    gram: FloatArray, labels: npt.ArrayLike, groups: npt.ArrayLike, target: str, kind: ContrastKind, neutral: str
) -> FloatArray:
    """(G, C, G, C) inner products of h(g, c) − mean over the contrast's classes, the target being class 0.

    With two classes that is half the difference between target and neutral: a cosine does not see the factor.
    """
    names = np.asarray(labels)
    if gram.shape != (len(names), len(names)):
        raise InputError("The Gram matrix does not fit the labels.", found=f"{gram.shape} for {len(names)} labels")
    classes = [str(name) for name in np.unique(names)]
    if target not in classes or target == neutral or kind not in ("matched", "specific"):
        raise InputError("No such contrast.", found=f"{kind} {target}", accepted=f"matched or specific, {classes}")
    if kind == "matched" and neutral not in classes:
        raise InputError("A matched contrast needs neutral texts.", found=classes)
    others = [neutral] if kind == "matched" else [c for c in classes if c not in (neutral, target)]
    if not others:
        raise InputError("A specific contrast needs another emotion.", found=classes)
    codes = group_codes(groups, len(names))
    n_groups = int(codes.max()) + 1
    chosen = []
    for name in (target, *others):
        texts = np.flatnonzero(names == name)
        if len(texts) != n_groups or len(np.unique(codes[texts])) != n_groups:
            raise InputError(
                "Each group needs each class exactly once.", found=f"{len(texts)} {name} in {n_groups} groups"
            )
        chosen.append(texts[np.argsort(codes[texts])])
    if n_groups < MINIMUM_GROUPS:
        raise InputError("Too few groups to split.", found=n_groups, accepted=f"{MINIMUM_GROUPS} or more")
    index = np.stack(chosen, axis=1).ravel()
    table = gram[np.ix_(index, index)].reshape(n_groups, len(chosen), n_groups, len(chosen))
    table = table - table.mean(axis=1, keepdims=True)
    result: FloatArray = table - table.mean(axis=3, keepdims=True)
    return result


def _halves(n_groups: int, n_splits: int, seed: Seed) -> FloatArray:
    """(n_splits, G) ones for the groups of the first half, zeros for the rest; the first half is never larger."""
    if n_splits < 1:
        raise InputError("There must be a split.", found=n_splits)
    order = np.argsort(np.random.default_rng(seed).random((n_splits, n_groups)), axis=1)
    halves: FloatArray = (order < n_groups // 2).astype(np.float64)
    return halves


def _batches(n_draws: int, values_per_draw: int) -> Iterator[slice]:
    step = batch_length(values_per_draw)
    return (slice(start, start + step) for start in range(0, n_draws, step))


def _resampled_cosines(own: FloatArray, weights: FloatArray, halves: FloatArray) -> FloatArray:
    """(B,) `_mean_cosines` of groups drawn weights[b, g] times, copies counting as different scenarios.

    Their Gram matrices are w_g w_h M_gh off the diagonal; none of them is written out.
    """
    n_groups = len(own)
    between = (own.sum() - np.trace(own)) / (n_groups * (n_groups - 1))
    apart = own - np.diag(np.diag(own))
    diagonals = weights * np.diag(own) + weights * (weights - 1) * between
    drawn = weights[:, None, :] * halves
    first = np.einsum("bsg,bsg->bs", drawn @ apart, drawn) + diagonals @ halves.T
    rows = weights * (weights @ apart) + diagonals
    return _cosines_of_sums(first, rows, halves, diagonals.sum(axis=1))


def _mean_cosines(tables: FloatArray, halves: FloatArray) -> FloatArray:
    """(B,) cosine between the two halves' summed contrasts, mean over splits, for Gram matrices (B, G, G)."""
    n_groups = tables.shape[1]
    pairs = (halves[:, :, None] * halves[:, None, :]).reshape(len(halves), n_groups**2)
    first = tables.reshape(len(tables), n_groups**2) @ pairs.T
    return _cosines_of_sums(first, tables @ np.ones(n_groups), halves, np.einsum("bgg->b", tables))


def _cosines_of_sums(first: FloatArray, rows: FloatArray, halves: FloatArray, traces: FloatArray) -> FloatArray:
    """(B,) mean cosines from sᵀMs (B, S) of the first halves s, the row sums (B, G) and the traces (B,) of M.

    From sᵀMs = aᵀa and the row sums follow aᵀb and bᵀb. A half that sums to nothing has no direction and agrees with
    nothing: its cosine counts as 0.
    """
    with_all = rows @ halves.T
    both = with_all - first
    second = rows.sum(axis=1)[:, None] - 2 * with_all + first
    scale = traces[:, None]
    defined = (first > 1e-12 * scale) & (second > 1e-12 * scale)
    lengths = np.sqrt(np.where(defined, first * second, 1.0))
    cosines = np.where(defined, np.clip(both / lengths, -1.0, 1.0), 0.0)
    result: FloatArray = cosines.mean(axis=1)
    return result
