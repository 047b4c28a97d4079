"""What `circuits/<model>.json` holds, whoever writes it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from emotion_circuits.components._circuit_overlap import circuit_overlap
from emotion_circuits.components._edges import Edges
from emotion_circuits.components._faithfulness import Faithfulness


def circuits_as_values(
    model: str, ranking: str, size: float, controls: int, found: Sequence[Faithfulness], joined: Sequence[Edges], *,
    seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Circuits of one model, as `write_json` takes them.

    Args:
        model, ranking: names.
        size: the declared one.
        controls: random circuits that were asked for.
        found: one for each emotion.
        joined: direct effects between the members of each.
        seed: of intervals and tests.

    Returns:
        `measures`; emotion → members in `circuits`, direct effects in `edges`, their ends in `edge_targets`; what every
        two emotions' circuits share in `overlaps`.
    """
    declared = {one.emotion: one.circuits.rows([one.declared]) for one in found}
    return {
        "model": model,
        "ranking": ranking,
        "size": size,
        "controls": controls,
        "measures": [m for one in found for m in one.measures(seed=seed)],
        "circuits": {one.emotion: _members(one) for one in found},
        "overlaps": {f"{a}–{b}": circuit_overlap(declared[a], declared[b]) for a, b in combinations(declared, 2)},
        "edges": {one.emotion: one.rows(seed=seed) for one in joined},
        "edge_targets": {one.emotion: one.target_rows(seed=seed) for one in joined},
    }


def _members(one: Faithfulness) -> dict[str, Any]:
    """The circuit of the declared size, and what it loses with each of its best members."""
    members = one.circuits.members(one.declared)
    return {
        "tested": one.tested,
        "heads": [str(c) for c in members if c.kind == "head"],
        "units": [str(c) for c in members if c.kind == "unit"],
        "loss_without": {f"{c.kind} {c}": loss for c, loss in one.minimality()},
    }
