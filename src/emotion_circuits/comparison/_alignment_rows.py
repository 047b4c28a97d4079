"""An alignment as table rows: every pair of layers, and the chosen pair with everything it is compared with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

import numpy as np

from emotion_circuits.comparison._align import PairAlignment
from emotion_circuits.comparison._fit_texts import FIT_POSITION
from emotion_circuits.comparison._rows import ALL, PairMeasure, Route
from emotion_circuits.comparison._transfer import Detection, Steering
from emotion_circuits.geometry import Band, corrected

OWN_COSINE = "cosine of mapped with own direction"
SPECIFICITY = "own minus other emotions' cosine"
OVERLAP = "corrected overlap S* of mapped with own subspace"
R2 = "held-out R² on emotion texts"
RETRIEVAL = "share of emotions retrieved"
GAIN = "own cosine, trained minus best untrained"
DEVELOPMENT_COSINE = "mean own cosine on development scenarios"
DETECTION = "AUROC on implicit texts of the mapped direction"
DETECTION_SHARE = "its share of the native direction's AUROC above .5"
NATIVE_DETECTION = "AUROC on implicit texts of the native direction"
SLOPE = "slope of own word-set log-odds along the mapped direction"
NATIVE_SLOPE = "slope of own word-set log-odds along the native direction"
SLOPE_SHARE = "mapped slope as a share of the native one"


class Beside(TypedDict, total=False):
    """The null of a row."""

    null: str
    chance: float
    null_low: float
    null_high: float
    p: float


def layer_rows(pair: PairAlignment) -> list[PairMeasure]:
    """Every pair of layers on test scenarios beside each null, and the development values that chose the layers."""
    return [*_of_layers(pair), *_of_development(pair)]


def _of_layers(pair: PairAlignment) -> Iterator[PairMeasure]:
    found = pair.layers
    low, high = found.mean_own_interval
    labels = () if found.label_null is None else (found.label_null,)
    for i, row_a in enumerate(pair.rows_a):
        for j, row_b in enumerate(pair.rows_b):
            at = _RowsOf(pair.between(row_a, row_b))
            n = found.n_scenarios
            for null in (*found.nulls, *labels):
                own, specific = (_beside(band, null.name, i, j) for band in (null.mean_own, null.specificity))
                yield at(OWN_COSINE, found.mean_own[i, j], low[i, j], high[i, j], 1.0, n, **own)
                bounds = found.specificity_low[i, j], found.specificity_high[i, j]
                yield at(SPECIFICITY, found.specificity[i, j], *bounds, np.nan, n, **specific)
                star = _corrected(null.overlap, pair, null.name, i, j)
                yield at(OVERLAP, found.overlap_corrected[i, j], np.nan, np.nan, 1.0, n, **star)
            bounds = found.r2_low[i, j], found.r2_high[i, j]
            yield at(R2, found.r2[i, j], *bounds, 1.0, n, null="training mean", chance=0.0)
            chance = found.null("shuffled").retrieval[i, j] if found.nulls else 1 / len(found.emotions)
            yield at(RETRIEVAL, found.retrieval[i, j], np.nan, np.nan, 1.0, n, null="shuffled", chance=float(chance))


def _beside(band: Band, name: str, i: int, j: int) -> Beside:
    mean, low, high, p = (float(part[i, j]) for part in band)
    return {"null": name, "chance": mean, "null_low": low, "null_high": high, "p": p}


def _corrected(band: Band, pair: PairAlignment, name: str, i: int, j: int) -> Beside:
    chance = pair.layers.overlap_chance
    mean, low, high = (float(corrected(part[i, j], chance)) for part in (band.mean, band.low, band.high))
    return {"null": name, "chance": mean, "null_low": low, "null_high": high, "p": float(band.p[i, j])}


def _of_development(pair: PairAlignment) -> Iterator[PairMeasure]:
    n = len(set(pair.a.design("development")[1].tolist()))
    untrained = pair.best_untrained
    for kind, values in (("trained", pair.development), ("best untrained", untrained)):
        for i, row_a in enumerate(pair.rows_a):
            for j, row_b in enumerate(pair.rows_b):
                at = _RowsOf(pair.between(row_a, row_b), kind)
                other = float(untrained[i, j])
                yield at(DEVELOPMENT_COSINE, values[i, j], np.nan, np.nan, 1.0, n, null="best untrained", chance=other)


def chosen_rows(pair: PairAlignment) -> list[PairMeasure]:
    """The chosen pair of layers: gains over untrained twins per emotion, and the shared subspace."""
    at = _RowsOf(pair.route)
    rows = []
    for gain in pair.gains:
        rows.append(
            at(
                GAIN, gain.gain.value, *gain.gain.interval[:2], 1 - gain.best_other, gain.n_scenarios,
                emotion=gain.emotion or ALL, null="best untrained", chance=0.0, p=gain.gain.p,
            )
        )  # fmt: skip
        rows.append(
            at(
                OWN_COSINE, gain.trained, *gain.interval[:2], 1.0, gain.n_scenarios, emotion=gain.emotion or ALL,
                null="best untrained", chance=gain.best_other,
            )
        )  # fmt: skip
    shared = pair.shared
    interval = shared.corrected_interval
    for null in shared.nulls:
        star = [float(v) for v in corrected((null.mean, null.low, null.high), shared.chance)]
        rows.append(
            at(
                OVERLAP, shared.corrected, interval.low, interval.high, shared_ceiling(pair), shared.n_scenarios,
                null=null.name, chance=star[0], null_low=star[1], null_high=star[2], p=null.p,
            )
        )  # fmt: skip
    rows += [
        at(OVERLAP, floor.level, np.nan, np.nan, 1.0, shared.n_scenarios, arm=f"floor: {floor.name}", chance=0.0)
        for floor in pair.shared_floors
    ]
    return rows


def shared_ceiling(pair: PairAlignment) -> float:
    """S* of each model with itself between halves of the scenarios: what half the texts allow."""
    return float(corrected(pair.shared.ceiling, pair.shared.chance))


def detection_rows(pair: PairAlignment, found: tuple[Detection, ...]) -> list[PairMeasure]:
    """Mapped and native AUROC, and the share."""
    at = _RowsOf(pair.route)
    rows = []
    for one in found:
        low, high = np.quantile(one.shuffled, [0.025, 0.975])
        rows += [
            at(
                DETECTION, one.mapped.value, one.mapped.interval.low, one.mapped.interval.high, 1.0,
                one.mapped.n_groups, emotion=one.emotion, null="shuffled maps", chance=float(one.shuffled.mean()),
                null_low=float(low), null_high=float(high), p=one.p,
            ),
            at(
                NATIVE_DETECTION, one.native.value, one.native.interval.low, one.native.interval.high, 1.0,
                one.native.n_groups, emotion=one.emotion, null="labels permuted within scenarios", chance=0.5,
                null_low=one.native.null_low, null_high=one.native.null_high, p=one.native.p,
            ),
            at(
                DETECTION, one.untrained, np.nan, np.nan, 1.0, one.mapped.n_groups, emotion=one.emotion,
                arm="best untrained", chance=0.5,
            ),
            at(DETECTION_SHARE, one.share, np.nan, np.nan, np.nan, one.mapped.n_groups, emotion=one.emotion,
               null="shuffled maps", chance=one.share_of(float(one.shuffled.mean())),
               null_low=one.share_of(float(low)), null_high=one.share_of(float(high))),
        ]  # fmt: skip
    return rows


def steering_rows(route: Route, found: tuple[Steering, ...]) -> list[PairMeasure]:
    """Mapped and native slope, and the share, beside shuffled maps."""
    at = _RowsOf(route)
    rows = []
    for one in found:
        name = f"{len(one.shuffled)} shuffled maps"
        middle = float(one.shuffled.mean())
        low, high = (float(bound) for bound in np.quantile(one.shuffled, [0.025, 0.975]))
        band: Beside = {"null": name, "chance": middle, "null_low": low, "null_high": high}
        for statistic, boot in ((SLOPE, one.mapped), (NATIVE_SLOPE, one.native)):
            rows.append(
                at(
                    statistic, boot.value, boot.interval.low, boot.interval.high, np.nan, one.n_contexts,
                    emotion=one.emotion, **band,
                )
            )  # fmt: skip
        if one.ratio is not None:
            own = one.native.value
            scaled: Beside = {"null": name, "chance": middle / own, "null_low": low / own, "null_high": high / own}
            rows.append(
                at(
                    SLOPE_SHARE, one.ratio.value, one.ratio.interval.low, one.ratio.interval.high, np.nan,
                    one.n_contexts, emotion=one.emotion, **scaled,
                )
            )  # fmt: skip
    return rows


class _RowsOf:
    """Makes rows about one pair of layers."""

    def __init__(self, route: Route, arm: str = "trained"):
        self.route, self.arm = route, arm

    def __call__(
        self, statistic: str, value: float, ci_low: float, ci_high: float, ceiling: float, n: int, *,
        emotion: str = ALL, arm: str = "", null: str = "", chance: float = np.nan, null_low: float = np.nan,
        null_high: float = np.nan, p: float = np.nan,
    ) -> PairMeasure:  # fmt: skip
        route = self.route
        return PairMeasure(
            route.model_a, route.model_b, emotion, FIT_POSITION, route.layer_a, route.layer_b,
            f"{route.kind}: {arm or self.arm}", statistic, float(value), float(ci_low), float(ci_high), null,
            chance, null_low, null_high, float(ceiling), p, n,
        )  # fmt: skip
