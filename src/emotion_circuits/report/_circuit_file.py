"""`circuits/<model>.json` read back: what the report shows of a model's circuits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from emotion_circuits._files import read_json
from emotion_circuits.components import Edge, EdgeTarget
from emotion_circuits.errors import InputError
from emotion_circuits.models import model_label
from emotion_circuits.statistics import Measure


class Members(NamedTuple):
    """The circuit of the declared size: whether it was tested, its heads and units as `layer:number`."""

    tested: bool
    heads: tuple[str, ...]
    units: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class CircuitFile:
    """What the command `circuit` and the study write.

    Attributes:
        model, ranking: names.
        size: declared share of all heads and of all units.
        controls: random circuits at every size; fewer where it was soon plain that they do as well.
        measures: faithfulness, CPR, CMD and completeness.
        circuits: emotion → members.
        edges: emotion → direct effects, the strongest first; empty in files of before.
        targets: emotion → what edges end in.
    """

    model: str
    ranking: str
    size: float
    controls: int
    measures: tuple[Measure, ...]
    circuits: Mapping[str, Members]
    edges: Mapping[str, tuple[Edge, ...]]
    targets: Mapping[str, tuple[EdgeTarget, ...]]

    @property
    def tested(self) -> tuple[str, ...]:
        """Emotions whose whole model's difference is clear."""
        return tuple(e for e, members in self.circuits.items() if members.tested)


def read_circuits(path: Path) -> CircuitFile:
    """Read such a file.

    Raises:
        InputError: it cannot be read, or is another one.
    """
    found = read_json(path)
    try:
        own, edges, targets = found["circuits"], found.get("edges", {}), found.get("edge_targets", {})
        return CircuitFile(
            model=model_label(str(found["model"])),
            ranking=str(found["ranking"]),
            size=float(found["size"]),
            controls=int(found["controls"]),
            measures=tuple(Measure(**_values(row)) for row in found["measures"]),
            circuits={e: Members(bool(c["tested"]), tuple(c["heads"]), tuple(c["units"])) for e, c in own.items()},
            edges={e: tuple(_edge(row) for row in rows) for e, rows in edges.items()},
            targets={e: tuple(EdgeTarget(**_values(row)) for row in rows) for e, rows in targets.items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path} is not a file of circuits of this version.",
            found=f"no {error}" if isinstance(error, KeyError) else error,
            next_step="make it again",
        ) from error


def _edge(row: Mapping[str, Any]) -> Edge:
    edge = Edge(**_values(row))
    for name in (edge.source, edge.target):
        if not re.fullmatch(r"embed|output|(head|unit) [0-9]+:[0-9]+", name):
            raise ValueError(f"an edge at {name!r}")
    return edge


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row's fields; numbers that are not finite are null in JSON."""
    return {name: float("nan") if value is None else value for name, value in row.items()}
