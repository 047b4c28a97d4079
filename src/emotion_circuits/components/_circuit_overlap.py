"""How far two circuits of one model are made of the same heads and units, beside circuits drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from emotion_circuits.components._circuits import KINDS, Circuits
from emotion_circuits.components._components import Kind
from emotion_circuits.errors import InputError

FloatArray = NDArray[np.float64]


class Overlap(NamedTuple):
    """Members that two circuits share, of one kind.

    Attributes:
        kind: `head` or `unit`.
        n_a, n_b, n_all: members of each circuit, and components of the model.
        shared: members of both.
        jaccard: shared / members of either; NaN where there are none.
        chance: its mean over circuits of these sizes drawn from all components.
        p: of as many shared ones or more, hypergeometric.
        chance_within_layers, p_within_layers: the same over circuits drawn layer by layer, with as many members in each
            as these have. Rankings prefer some layers, so that two circuits agree beyond `chance` without having one
            component in common beyond what their layers give.
    """

    kind: Kind
    n_a: int
    n_b: int
    n_all: int
    shared: int
    jaccard: float
    chance: float
    p: float
    chance_within_layers: float
    p_within_layers: float


def circuit_overlap(a: Circuits, b: Circuits) -> tuple[Overlap, ...]:
    """Agreement of two circuits of one model: that of its heads, then that of its units.

    Args:
        a, b: one circuit each, such as `found.circuits.rows([found.declared])`.

    Raises:
        InputError: several circuits, or circuits of models of other sizes.
    """
    if len(a) != 1 or len(b) != 1:
        raise InputError("Two circuits are compared at a time.", found=f"{len(a)} and {len(b)}", next_step="use rows")
    if any(a.of(kind).shape != b.of(kind).shape for kind in KINDS):
        raise InputError("These circuits are of models with different numbers of heads or units.")
    return tuple(_overlap(kind, a.of(kind)[0], b.of(kind)[0]) for kind in KINDS)


def _overlap(kind: Kind, a: NDArray[np.bool_], b: NDArray[np.bool_]) -> Overlap:
    n_a, n_b, n_all = int(a.sum()), int(b.sum()), int(a.size)
    shared, either = int((a & b).sum()), int((a | b).sum())
    anywhere = _shared_by_chance([n_all], [n_a], [n_b])
    in_layers = _shared_by_chance([a.shape[1]] * len(a), a.sum(axis=1), b.sum(axis=1))
    return Overlap(
        kind, n_a, n_b, n_all, shared, shared / either if either else float("nan"),
        _mean_jaccard(anywhere, n_a + n_b), _tail(anywhere, shared),
        _mean_jaccard(in_layers, n_a + n_b), _tail(in_layers, shared),
    )  # fmt: skip


def _shared_by_chance(
    n_all: Sequence[int], n_a: Sequence[int] | NDArray[np.int64], n_b: Sequence[int] | NDArray[np.int64]
) -> FloatArray:
    """Probability of 0, 1, … shared members: independent hypergeometric numbers of the layers, added up exactly."""
    total = np.ones(1)
    for count, x, y in zip(n_all, n_a, n_b, strict=True):
        here = stats.hypergeom(int(count), int(x), int(y)).pmf(np.arange(min(int(x), int(y)) + 1))
        total = np.convolve(total, here)
    return np.asarray(total, dtype=np.float64)


def _mean_jaccard(probability: FloatArray, members: int) -> float:
    if not members:
        return float("nan")
    shared = np.arange(len(probability))
    return float((probability * shared / (members - shared)).sum())


def _tail(probability: FloatArray, shared: int) -> float:
    return min(1.0, float(probability[shared:].sum()))
