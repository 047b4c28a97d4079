"""Do edges follow the plant: from a word's embedding to its unit, from there to the head, from there to the output?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from emotion_circuits.components import EMBED, OUTPUT, Component, Edges, Node, edges
from emotion_circuits.selftest._bank import EXPLICIT
from emotion_circuits.selftest._bench import Bench, Subject
from emotion_circuits.selftest._check import SelftestCheck, check, furthest
from emotion_circuits.selftest._checks_components import SPLIT, emotions_of, outcome_of

# Between the streams of two words the norm takes about a tenth from what the word sends, and gives it to its unit.
CARRIED, NOTHING = (0.85, 1.15), (-0.15, 0.15)
STEPS, TWIN_STEPS = 8, 2
"""Units switch on steeply here, which a few points would miss."""


def edges_follow_the_plant(bench: Bench) -> Iterator[SelftestCheck]:
    """All that a step carries comes from the step before, nothing goes past it, and the twin has none of it."""
    subject = bench.subject
    head = Component("head", *subject.facts.head)
    right: dict[str, list[float]] = {"output from the head": [], "head from the units": [], "units from the words": []}
    past: list[float] = []
    twin: list[float] = []
    for emotion in emotions_of(bench):
        read = subject.facts.units[emotion][EXPLICIT["development"] :][: EXPLICIT[SPLIT]]
        units: list[Node] = [Component("unit", subject.facts.layer, n) for n in read]
        found = joined(subject, emotion, units, head, STEPS)
        right["output from the head"].append(share(found, [head], [OUTPUT]))
        right["head from the units"].append(share(found, units, [head]))
        right["units from the words"].append(share(found, [EMBED], units))
        past += [share(found, [EMBED], [head]), share(found, [EMBED], [OUTPUT]), share(found, units, [OUTPUT])]
        gap = float(found.own[:, -1].mean())
        without = joined(bench.twin, emotion, units, head, TWIN_STEPS)
        twin.append(float(np.abs(without.effects.mean(axis=0)).max()) / gap)
    for name, shares in right.items():
        yield check(f"edges: share of what is carried, {name}", furthest(shares, 1), *CARRIED)
    yield check("edges: share of what is carried past the step before", furthest(past, 0), *NOTHING)
    yield check("edges: largest effect in the twin, of the planted gap", max(twin), 0, NOTHING[1])


def joined(subject: Subject, emotion: str, units: list[Node], head: Component, steps: int) -> Edges:
    """Edges between the planted members."""
    members = [*(u for u in units if isinstance(u, Component)), head]
    return edges(subject.lm, outcome_of(subject, emotion), members, steps=steps)


def share(found: Edges, sources: list[Node], targets: list[Node]) -> float:
    """Of what some targets carry, summed over them and over pairs, the part that some sources send."""
    sent = sum(
        float(values.sum())
        for (source, target), values in zip(found.pairs_of_nodes, found.effects.T, strict=True)
        if source in sources and target in targets
    )
    carried = sum(float(found.own[:, found.targets.index(target)].sum()) for target in targets)
    return sent / carried
