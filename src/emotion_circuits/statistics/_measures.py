"""One row for every number: the value never travels without its chance level, interval, ceiling and n."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

EMBED_LAYER = -1
"""How tables write the layer `embed`; blocks count from 0."""


class Measure(NamedTuple):
    """One measured number.

    Attributes:
        model, emotion, position, layer: what it is about; layer -1 is `embed`.
        kind: which direction (matched, specific, probe) or which control.
        statistic: its name, with the texts it was measured on.
        value: the number.
        ci_low, ci_high: 95 % interval over scenarios (NaN where it has none, as for a control's own draw).
        chance: expectation under the null; null_low, null_high: 2.5 % and 97.5 % points of the null.
        ceiling: the largest value that could have been reached.
        p: against the null, not adjusted.
        n_unique: scenarios (or other units) behind it.
    """

    model: str
    emotion: str
    position: str
    layer: int
    kind: str
    statistic: str
    value: float
    ci_low: float
    ci_high: float
    chance: float
    null_low: float
    null_high: float
    ceiling: float
    p: float
    n_unique: int


def rows_table(kind: type[tuple[Any, ...]], rows: Iterable[tuple[Any, ...]]) -> pd.DataFrame:
    """Rows of a named tuple's kind as a data frame, one column per field, in the order given."""
    import pandas as pd

    return pd.DataFrame(list(rows), columns=list(kind._fields))  # type: ignore[attr-defined]


def measures_table(measures: Sequence[Measure]) -> pd.DataFrame:
    """The rows as a data frame with one column per field, sorted so that the same rows give the same file."""
    return rows_table(Measure, sorted(measures))
