"""How often the verdict rule supports each declared claim in simulated studies, as `selftest` measured it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

_FILE = Path(__file__).parent / "data" / "operating_characteristics.jsonl"


class SimulatedRate(NamedTuple):
    """Share of studies of the default size that support a claim.

    Attributes:
        id: of the claim.
        multiple: the gain that was planted, in multiples of the effect of interest; 0 is nothing.
        effect: the same in the statistic's unit.
        rate, low, high: the share, with its exact 95 % interval.
        n_studies: count.
    """

    id: str
    multiple: float
    effect: float
    rate: float
    low: float
    high: float
    n_studies: int


@cache
def simulated_rates() -> tuple[SimulatedRate, ...]:
    """Of every declared claim; `selftest.operating_characteristics` makes them again."""
    return tuple(SimulatedRate(**json.loads(line)) for line in _FILE.read_text(encoding="utf-8").splitlines())
