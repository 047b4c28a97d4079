"""A row of the audit, and the rule that gives its verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

AuditVerdict = Literal["chance", "artefact", "no data", "above chance", "not shown"]

# Noise that reaches this share of the way from chance to the maximum is no accident of sampling.
FAR_ABOVE = 0.05


class Band(NamedTuple):
    """What independent noise gives: mean, 2.5 % and 97.5 % points, number of draws."""

    mean: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, draws: Sequence[float]) -> Band:
        """Summarise draws; NaN, and no draws, where any is NaN."""
        values = np.asarray(draws, dtype=np.float64)
        if not len(values) or not np.isfinite(values).all():
            return cls(math.nan, math.nan, math.nan, 0)
        low, high = np.quantile(values, [0.025, 0.975])
        return cls(float(values.mean()), float(low), float(high), len(values))


@dataclass(frozen=True)
class AuditRow:
    """A metric of the earlier project on the models at hand, beside everything that says what it is worth.

    Attributes:
        metric, model: which; pairs are joined by " ~ ", "all" means all models together.
        seed_value, seed_low, seed_high: what the earlier project reported (middle of its range, and the range).
        on_models, models_low, models_high: mean, least and greatest over `n_cells` layers and emotions.
        on_noise, noise_low, noise_high: independent noise of the same shape: mean and 95 % band of single cells.
        chance: what it would have to be where there is nothing.
        ceiling: the most it can be; None where it has no maximum.
        corrected_statistic, corrected: what to use instead, on the models.
        corrected_chance, corrected_noise, corrected_noise_low, corrected_noise_high: its expectation where there is
            nothing, and the same noise.
        corrected_verdict: whether the corrected value lies above that band.
        verdict: see `verdict_of`.
        note: one sentence.
        k, n, d: dimension of the subspaces, texts per class, width.
        n_cells, n_noise: layers × emotions, draws of noise.
    """

    metric: str
    model: str
    seed_value: float | None
    on_models: float | None
    on_noise: float | None
    chance: float | None
    ceiling: float | None
    corrected: float | None
    verdict: AuditVerdict
    seed_low: float | None = None
    seed_high: float | None = None
    models_low: float | None = None
    models_high: float | None = None
    noise_low: float | None = None
    noise_high: float | None = None
    corrected_statistic: str | None = None
    corrected_chance: float | None = None
    corrected_noise: float | None = None
    corrected_noise_low: float | None = None
    corrected_noise_high: float | None = None
    corrected_verdict: AuditVerdict | None = None
    k: int | None = None
    n: int | None = None
    d: int | None = None
    n_cells: int = 0
    n_noise: int = 0
    note: str = ""


def verdict_of(on_models: float | None, noise: Band, chance: float, ceiling: float | None) -> AuditVerdict:
    """The verdict on a metric that can be computed.

    In this order:

    1. **no data**: it could not be computed, on noise or (unless it is an artefact anyway) on the models.
    2. **artefact**: noise itself lies far above chance, that is, even the 2.5 % point of the noise exceeds chance by
       more than a twentieth of the way from chance to the ceiling (of chance itself where there is no ceiling). What
       the models give then says nothing, however high.
    3. **chance**: the models give no more than the 97.5 % point of the noise. That point is of single cells, while the
       models' value is a mean over layers and emotions, so the rule errs towards "chance"; it is not corrected for the
       number of metrics.
    4. **above chance**: anything else.
    """
    if not noise.n:
        return "no data"
    room = abs(chance) if ceiling is None else ceiling - chance
    if noise.low > chance + FAR_ABOVE * room:
        return "artefact"
    if on_models is None or not math.isfinite(on_models):
        return "no data"
    return "chance" if on_models <= noise.high else "above chance"


def above_band(value: float | None, noise: Band) -> AuditVerdict:
    """The verdict on a corrected value."""
    if value is None or not math.isfinite(value) or not noise.n:
        return "no data"
    return "above chance" if value > noise.high else "chance"


def number(value: float | None) -> float | None:
    """None for what is undefined, so that JSON and tables say the same."""
    return None if value is None or not math.isfinite(value) else float(value)


def audit_table(rows: Sequence[AuditRow]) -> pd.DataFrame:
    """The rows as a data frame, one column per field."""
    from dataclasses import asdict

    import pandas as pd

    table = pd.DataFrame([asdict(row) for row in rows])
    whole, words = ("k", "n", "d", "n_cells", "n_noise"), ("metric", "model", "verdict", "corrected_verdict", "note")
    for column in table.columns:
        if column in whole:
            table[column] = table[column].astype("Int64")
        elif column not in (*words, "corrected_statistic"):
            table[column] = table[column].astype("float64")
    return table
