"""Multiple testing: Holm for declared claims, Benjamini–Hochberg for screens. Undefined p-values pass through."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from emotion_circuits.errors import InputError

from ._resampling import FloatArray

PValues = Sequence[float | None]


def holm(p_values: PValues) -> list[float | None]:
    """Holm's (1979) step-down adjustment, controlling the family-wise error rate under any dependence.

    None and NaN stay as they are and do not count as tests. (Neither scipy nor scikit-learn has Holm.)
    """

    def adjust(p: FloatArray) -> FloatArray:
        order = np.argsort(p, kind="stable")
        stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
        adjusted = np.empty_like(p)
        adjusted[order] = np.minimum(stepped, 1.0)
        return adjusted

    return _adjust_defined(p_values, adjust)


def benjamini_hochberg(p_values: PValues) -> list[float | None]:
    """Benjamini and Hochberg's (1995) adjustment, controlling the false discovery rate. None and NaN as in `holm`."""

    def adjust(p: FloatArray) -> FloatArray:
        adjusted: FloatArray = stats.false_discovery_control(p, method="bh")
        return adjusted

    return _adjust_defined(p_values, adjust)


def _adjust_defined(p_values: PValues, adjust: Callable[[FloatArray], FloatArray]) -> list[float | None]:
    result: list[float | None] = [None if p is None else float(p) for p in p_values]
    defined = [i for i, p in enumerate(result) if p is not None and not math.isnan(p)]
    if not defined:
        return result
    values = np.array([result[i] for i in defined], dtype=np.float64)
    if values.min() < 0 or values.max() > 1:
        raise InputError("A p-value lies outside [0, 1].", found=[float(p) for p in values if not 0 <= p <= 1][:3])
    for i, adjusted in zip(defined, adjust(values), strict=True):
        result[i] = float(adjusted)
    return result
