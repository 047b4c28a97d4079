"""Bootstrap draws that leave the noise of a mean as it is.

A scenario drawn twice is no new evidence, but it counts as if it were: the mean direction of a draw has twice the noise
of the estimate, and its overlap or cosine with anything comes out lower than the one it is the bootstrap of, so far
that the interval may not hold the estimate. In the rescaled bootstrap (Rao and Wu 1988) a draw moves the weights only a
small step c from 1 towards the drawn ones, and the statistic's change is divided by c. Changes are taken on a scale
without bounds, so that no draw leaves the range of the statistic. (On planted models of 40 scenarios, weak and strong,
these intervals held the expected value in 95–100 % of data sets; those of plain draws, for overlap, in 7–72 %.)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ._inputs import FloatArray

STEP = 0.05
# Keeps the unbounded scales finite where a statistic is at its bound.
EDGE = 1e-12

Statistic = Callable[[FloatArray], FloatArray]


def rescaled_weights(weights: FloatArray) -> FloatArray:
    """(B, G) a step from equal weights of mean 1 towards (B, G) drawn ones."""
    result: FloatArray = 1 + STEP * (weights / weights.mean(axis=1, keepdims=True) - 1)
    return result


def rescaled_cosines(whole: FloatArray, stepped: npt.NDArray[np.floating]) -> FloatArray:
    """Draws of cosines, from the cosines of the data and (B, …) those after a step."""
    result: FloatArray = np.tanh(_extrapolated(_fisher(whole), _fisher(np.asarray(stepped, dtype=np.float64))))
    return result


def rescaled_shares(whole: FloatArray, stepped: FloatArray) -> FloatArray:
    """Draws of statistics in [0, 1], likewise."""
    result: FloatArray = 1 / (1 + np.exp(-_extrapolated(_logit(whole), _logit(stepped))))
    return result


def _extrapolated(whole: FloatArray, stepped: FloatArray) -> FloatArray:
    result: FloatArray = whole + (stepped - whole) / STEP
    return result


def _fisher(cosines: FloatArray) -> FloatArray:
    result: FloatArray = np.arctanh(np.clip(cosines, -1 + EDGE, 1 - EDGE))
    return result


def _logit(shares: FloatArray) -> FloatArray:
    inside = np.clip(shares, EDGE, 1 - EDGE)
    result: FloatArray = np.log(inside) - np.log1p(-inside)
    return result
