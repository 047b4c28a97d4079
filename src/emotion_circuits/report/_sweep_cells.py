"""A sweep's table as cells: layer × dose for each emotion and position, whatever was done along the direction."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from emotion_circuits.directions import POSITIONS
from emotion_circuits.interventions import CONTINUATIONS, PERPLEXITY, WORD_SET
from emotion_circuits.prompts import bundled_emotions
from emotion_circuits.statistics import SIDE_CONDITION_LIMITS, Measure

MAX_PERPLEXITY = SIDE_CONDITION_LIMITS["perplexity_ratio"]
_KIND = re.compile(r"(?P<series>.+), (?P<unit>dose|alpha|ablated|clamped to) (?P<dose>-?[\d.]+(?:e[+-]?\d+)?)")


class Step(NamedTuple):
    """What the kind of a sweep's row names.

    Attributes:
        series: the direction, and how many layers and which tokens are changed (`specific, 3 layers, last token`).
        unit: what the dose is (see `SweepResult.unit`).
        dose: never 0.
    """

    series: str
    unit: str
    dose: float


class Place(NamedTuple):
    """A cell's place."""

    emotion: str
    position: str
    layer: int
    dose: float


class SweepCell(NamedTuple):
    """What was measured at one place: own words, own continuations, and the damage."""

    words: Measure
    told: Measure | None
    damage: Measure | None

    @property
    def wrecked(self) -> bool:
        """Whether the perplexity ratio is over the limit, or no number was left."""
        over = self.damage is not None and not self.damage.value <= MAX_PERPLEXITY
        return over or not math.isfinite(self.words.value)

    @property
    def controlled(self) -> bool:
        """Whether control directions were run here."""
        return math.isfinite(self.words.null_low)

    @property
    def uncertain(self) -> bool:
        """Whether the 95 % interval of own words holds 0."""
        return not (self.words.ci_low > 0 or self.words.ci_high < 0)


@dataclass(frozen=True, eq=False)
class SweepMap:
    """All cells of one series.

    Attributes:
        model: whose.
        series, unit: see `Step`.
        cells: by place; those that were not swept are missing.
        chosen: places that are outlined.
        own: whether the command `sweep` made it, not a study.
    """

    model: str
    series: str
    unit: str
    cells: Mapping[Place, SweepCell]
    chosen: frozenset[Place] = frozenset()
    own: bool = False

    @property
    def emotions(self) -> tuple[str, ...]:
        """The project's own in their order, then others by name."""
        return tuple(_ordered({p.emotion for p in self.cells}, bundled_emotions()))

    @property
    def positions(self) -> tuple[str, ...]:
        """Where the directions were read; the one that carries the claims first."""
        return tuple(_ordered({p.position for p in self.cells}, ("mean", *POSITIONS)))

    @property
    def layers(self) -> tuple[int, ...]:
        """The deepest first."""
        return tuple(sorted({p.layer for p in self.cells}, reverse=True))

    @property
    def doses(self) -> tuple[float, ...]:
        """From the lowest."""
        return tuple(sorted({p.dose for p in self.cells}))

    @property
    def controlled(self) -> bool:
        """Whether all cells have chance from control directions."""
        return all(cell.controlled for cell in self.cells.values())

    def scale(self) -> float:
        """The change that has the full colour: the largest where language is whole; nats."""
        kept = [abs(c.words.value) for c in self.cells.values() if not c.wrecked]
        kept = kept or [abs(c.words.value) for c in self.cells.values() if math.isfinite(c.words.value)]
        return max([*kept, 0.1])


def step_of(kind: str) -> Step | None:
    """What a row's kind names; None where it is no sweep's."""
    found = _KIND.fullmatch(kind)
    return Step(found["series"], found["unit"], float(found["dose"])) if found else None


def sweep_maps(rows: Iterable[Measure], chosen: Iterable[Measure] = ()) -> list[SweepMap]:
    """One map for each series and unit among a model's rows, in their order; rows of other tables are left out.

    Args:
        rows: of one model.
        chosen: rows at the places to outline, in whatever statistic.
    """
    found: dict[tuple[str, str], dict[Place, dict[str, Measure]]] = {}
    model = ""
    for m in rows:
        step = step_of(m.kind)
        if step is None or m.statistic not in (WORD_SET, CONTINUATIONS, PERPLEXITY):
            continue
        model = m.model
        places = found.setdefault((step.series, step.unit), {})
        places.setdefault(Place(m.emotion, m.position, m.layer, step.dose), {})[m.statistic] = m
    outlined = {
        (step.series, step.unit, Place(m.emotion, m.position, m.layer, step.dose))
        for m in chosen
        if (step := step_of(m.kind)) is not None
    }
    maps = []
    for (series, unit), places in found.items():
        cells = {
            place: SweepCell(by[WORD_SET], by.get(CONTINUATIONS), by.get(PERPLEXITY))
            for place, by in places.items()
            if WORD_SET in by
        }
        if cells:
            own = frozenset(place for s, u, place in outlined if (s, u) == (series, unit) and place in cells)
            maps.append(SweepMap(model, series, unit, cells, own))
    return maps


def _ordered(found: set[str], order: Iterable[str]) -> list[str]:
    known = [name for name in dict.fromkeys(order) if name in found]
    return known + sorted(found - set(known))
