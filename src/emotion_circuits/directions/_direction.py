"""A direction in the residual stream: a vector that knows where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from emotion_circuits._row_tables import Shown, Table
from emotion_circuits.errors import InputError, MeasurementError


class Provenance(BaseModel):
    """Everything that decides what a direction means."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    revision: str
    site: str
    layer: int
    """Block index; -1 is `embed`."""
    position: str
    bos: bool
    estimator: str
    kind: str
    """`matched` (class minus neutral), `specific` (that minus its mean over emotions), `probe`, `pca`, `lda`, or a sum
    of such."""
    emotion: str
    data_hash: str


@dataclass(frozen=True, eq=False)
class Direction(Shown):
    """A unit vector with its norm and provenance. Sums and multiples are directions again.

    Attributes:
        unit: (d,) float64 of norm 1.
        norm: length of the raw vector, in the units of the residual stream.
        provenance: model, layer, position and data it was made from.
    """

    unit: NDArray[np.float64]
    norm: float
    provenance: Provenance

    @classmethod
    def from_vector(cls, vector: ArrayLike, provenance: Provenance) -> Direction:
        """Split a raw vector (d,) into unit and norm.

        Raises:
            MeasurementError: not finite, or of length 0, which has no direction.
        """
        raw = np.asarray(vector, dtype=np.float64)
        norm = float(np.linalg.norm(raw))
        if not np.isfinite(raw).all() or norm == 0:
            raise MeasurementError(
                f"There is no direction for {provenance.emotion} at layer {provenance.layer}.",
                found="NaN or infinity" if not np.isfinite(raw).all() else "a vector of length 0",
            )
        return cls(raw / norm, norm, provenance)

    @property
    def vector(self) -> NDArray[np.float64]:
        """(d,) the raw vector: unit times norm."""
        return self.unit * self.norm

    def table(self) -> Table:
        """Where it comes from."""
        return Table(("", ""), [*self.provenance.model_dump().items()], f"A direction of {len(self.unit)} dimensions")

    def cosine(self, other: Direction) -> float:
        """Cosine with another direction of the same model and site."""
        self._check_compatible(other)
        return float(self.unit @ other.unit)

    def _check_compatible(self, other: Direction) -> None:
        a, b = self.provenance, other.provenance
        if (a.model, a.revision, a.site) != (b.model, b.revision, b.site) or len(self.unit) != len(other.unit):
            raise InputError(
                "Directions of different models or sites have no common coordinates.",
                found=f"{a.model} {a.site} and {b.model} {b.site}",
                next_step="align the models first",
            )

    def __add__(self, other: Direction) -> Direction:
        return self._combined(other, self.vector + other.vector, "+")

    def __neg__(self) -> Direction:
        return Direction(-self.unit, self.norm, self.provenance)

    def __sub__(self, other: Direction) -> Direction:
        return self._combined(other, self.vector - other.vector, "−")

    def _combined(self, other: Direction, vector: NDArray[np.float64], sign: str) -> Direction:
        self._check_compatible(other)
        a, b = self.provenance, other.provenance
        names = ("emotion", "kind", "position", "estimator", "data_hash")
        both = {name: (getattr(a, name), getattr(b, name)) for name in names}
        changed = {name: f"{mine} {sign} {theirs}" for name, (mine, theirs) in both.items() if mine != theirs}
        return Direction.from_vector(vector, a.model_copy(update=changed))

    def __mul__(self, factor: float) -> Direction:
        if not np.isfinite(factor):
            raise InputError("A direction cannot be multiplied by this.", found=factor, accepted="a finite number")
        return Direction.from_vector(self.vector * factor, self.provenance)

    __rmul__ = __mul__

    def __truediv__(self, factor: float) -> Direction:
        if factor == 0:
            raise InputError("A direction cannot be divided by 0.")
        return self * (1 / factor)
