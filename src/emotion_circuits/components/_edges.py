"""How the members of a circuit feed each other: direct effects along the residual stream.

effect(u → w) = Σ over tokens of ⟨W_out (x_u,a − x_u,b), ∂s_w/∂r⟩, with r the residual stream where w's block reads it
and s_w = Σ z_w · ∂m/∂z_w, the outcome's gradient held fixed: what of w's own attribution comes straight from u, past
everything between (edge attribution patching, Nanda 2023; Syed et al. 2023). For the output, s is the outcome m
itself. Behind an out-projection with a norm, x stands for x times the scale that the norm has in that prompt's own run,
and W_out for W_out with its gain (see `engine._writes`). The stream is a sum, so the effects of everything that writes
into it add up to ⟨r_a − r_b, ∂s_w/∂r⟩; biases are alike in both prompts.

∂s_w/∂r is a mean over points of the straight path between both prompts' streams (integrated gradients, Sundararajan
et al. 2017), so that this sum is s_w(a) − s_w(b), w's own attribution. At the emotion's prompt alone (`steps=0`) it is
not: norms do not see the stream's length, so that there what a word's units write is cancelled by the word itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.components._attribution import GRADIENT_BATCH_TOKENS
from emotion_circuits.components._components import Component, check_components
from emotion_circuits.components._edge_passes import EMBED, OUTPUT, EdgePasses, Node, feeds
from emotion_circuits.components._faithfulness import CLEAR, Faithfulness
from emotion_circuits.components._outcomes import Outcome
from emotion_circuits.engine import Batch, for_each_batch
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.statistics import grouped_bootstrap, sign_flip_map

FloatArray = NDArray[np.float64]
PATH_STEPS = 5
MOST = 12
"""Heads, and units, of a circuit that are joined: a picture of more is not read."""


class Edge(NamedTuple):
    """One direct effect.

    Attributes:
        source, target: `embed`, `head 3:5`, `unit 2:101`, `output`.
        effect: mean over pairs, in the outcome's unit (nats); ci_low, ci_high: 95 % over pairs.
        p: two-sided sign flips over pairs, max-T over all edges of the emotion; chance is 0.
        share: of the target's own attribution; NaN where that is under two standard errors.
        n: pairs.
    """

    source: str
    target: str
    effect: float
    ci_low: float
    ci_high: float
    p: float
    share: float
    n: int


class EdgeTarget(NamedTuple):
    """What edges end in.

    Attributes:
        node: its name.
        attribution: its own, mean over pairs; of the output, the difference between both prompts.
        ci_low, ci_high: 95 % over pairs.
        arriving: effect of everything that writes into the stream before it, members or not; near `attribution`, but
            for curves that the path's few points miss.
        others: the part of `arriving` that comes from no member and not straight from the embeddings.
        n: pairs.
    """

    node: str
    attribution: float
    ci_low: float
    ci_high: float
    arriving: float
    others: float
    n: int


@dataclass(frozen=True, eq=False)
class Edges:
    """Direct effects between the members of a circuit. G pairs, E edges, T targets.

    Attributes:
        model, emotion, outcome: names.
        pairs_of_nodes: (E,) source and target.
        effects: (G, E).
        targets: (T,) members by layer, then the output.
        own: (G, T) attribution of each target; of the output m(a) − m(b).
        arriving: (G, T) ⟨r_a − r_b, ∂s/∂r⟩ where the target reads the stream.
    """

    model: str
    emotion: str
    outcome: str
    pairs_of_nodes: tuple[tuple[Node, Node], ...]
    effects: FloatArray
    targets: tuple[Node, ...]
    own: FloatArray
    arriving: FloatArray

    def rows(self, *, seed: int = 0, n_draws: int = 9999, n_bootstrap: int = 2000) -> list[Edge]:
        """All edges, the largest `|effect|` first."""
        p = sign_flip_map(self.effects, n_draws=n_draws, seed=seed).p_max_t
        n = len(self.effects)
        share = dict(zip(self.targets, self.own.T, strict=True))
        found = []
        for (source, target), values, probability in zip(self.pairs_of_nodes, self.effects.T, p, strict=True):
            low, high = _interval(values, seed, n_bootstrap)
            part = float(values.mean() / share[target].mean()) if _clear(share[target]) else np.nan
            found.append(
                Edge(node_name(source), node_name(target), float(values.mean()), low, high, float(probability), part, n)
            )
        return sorted(found, key=lambda e: (-abs(e.effect), e.source, e.target))

    def target_rows(self, *, seed: int = 0, n_bootstrap: int = 2000) -> list[EdgeTarget]:
        """All targets, by layer."""
        ends = [target for _, target in self.pairs_of_nodes]
        rows = []
        for target, own, arriving in zip(self.targets, self.own.T, self.arriving.T, strict=True):
            named = self.effects[:, [end == target for end in ends]].sum(axis=1)
            low, high = _interval(own, seed, n_bootstrap)
            total = float(arriving.mean())
            rows.append(
                EdgeTarget(
                    node_name(target), float(own.mean()), low, high, total, total - float(named.mean()), len(own)
                )
            )
        return rows


def _clear(own: FloatArray) -> bool:
    return bool(abs(own.mean()) > CLEAR * own.std(ddof=1) / np.sqrt(len(own)))


def _interval(values: FloatArray, seed: int, n_draws: int) -> tuple[float, float]:
    found = grouped_bootstrap(values, seed=seed, n_draws=n_draws).interval
    return found.low, found.high


def node_name(node: Node) -> str:
    """`embed`, `head 3:5`, `unit 2:101`, `output`."""
    return f"{node.kind} {node}" if isinstance(node, Component) else node


def circuit_edges(
    lm: LoadedModel,
    outcome: Outcome,
    found: Faithfulness,
    *,
    most_heads: int = MOST,
    most_units: int = MOST,
    steps: int = PATH_STEPS,
    batch_tokens: int = GRADIENT_BATCH_TOKENS,
    on_pass: Callable[[], None] | None = None,
) -> Edges:
    """Direct effects between the best members of a circuit of the declared size, the embeddings and the output.

    Args:
        lm: the model.
        outcome: on the pairs that judge (see `ranking_and_judging`): those that chose the members would favour them.
        found: the circuit; its `best` members count, each kind in the ranking's order.
        most_heads, most_units: how many of these.
        steps, batch_tokens, on_pass: as for `edges`.
    """
    members = [c for c in found.best if c.kind == "head"][:most_heads]
    members += [c for c in found.best if c.kind == "unit"][:most_units]
    return edges(lm, outcome, members, steps=steps, batch_tokens=batch_tokens, on_pass=on_pass)


def edges(
    lm: LoadedModel,
    outcome: Outcome,
    members: Sequence[Component],
    targets: Sequence[Component] | None = None,
    *,
    steps: int = PATH_STEPS,
    batch_tokens: int = GRADIENT_BATCH_TOKENS,
    on_pass: Callable[[], None] | None = None,
) -> Edges:
    """Direct effects of the embeddings and of members on members and on the output.

    For each batch of texts and step a backward pass, and one for each target through its own block.

    Args:
        lm: the model.
        outcome: whose gradient is taken, and its pairs.
        members: sources. Those in layers that the outcome does not depend on are left out.
        targets: what they feed beside the output; by default the members themselves.
        steps: points on the path between both prompts, for the outcome's gradient (of the embeddings, as in
            `attribute`) and for the targets'; 0 takes the emotion's prompt alone.
        batch_tokens: size of a pass.
        on_pass: called after each batch.

    Raises:
        InputError: a component that the model lacks, one named twice, or none that the outcome depends on; a negative
            number of steps.
    """
    if steps < 0:
        raise InputError("Gradients need steps from 0 on.", found=steps)
    ends = members if targets is None else targets
    for components in (members, ends):
        if components:
            check_components(lm, components)
    sources = sorted((c for c in members if feeds(lm, outcome, c, OUTPUT)), key=_place)
    if members and not sources:
        raise InputError("The outcome depends on none of these heads and units.", found=outcome.name)
    reached: tuple[Node, ...] = (*sorted((c for c in ends if feeds(lm, outcome, c, OUTPUT)), key=_place), OUTPUT)
    starts: tuple[Node, ...] = (EMBED, *sources)
    pairs = tuple((s, t) for t in reached for s in starts if feeds(lm, outcome, s, t))
    effects = np.zeros((len(outcome.ids_a), len(pairs)))
    own, arriving = np.zeros((2, len(outcome.ids_a), len(reached)))

    def run(batch: Batch) -> None:
        texts = list(batch.texts)
        passes = EdgePasses(lm, outcome, outcome.both_sides(batch), sources, reached, steps)
        for place, target in enumerate(reached):
            own[texts, place] = passes.own(target)
        for target, gradient in passes.gradients(reached):
            arriving[texts, reached.index(target)] = passes.arriving(target, gradient)
            columns = [i for i, pair in enumerate(pairs) if pair[1] == target]
            effects[np.ix_(texts, columns)] = passes.sent([pairs[i][0] for i in columns], gradient)
        if on_pass:
            on_pass()

    for_each_batch([sides.a for sides in outcome.batches(lm, batch_tokens)], run)
    return Edges(
        str(lm.name), outcome.pairs.emotion, outcome.name, pairs, _by_pair(outcome, effects), reached,
        _by_pair(outcome, own), _by_pair(outcome, arriving),
    )  # fmt: skip


def _place(component: Component) -> tuple[int, str, int]:
    return component.layer, component.kind, component.number


def _by_pair(outcome: Outcome, values: FloatArray) -> FloatArray:
    """Sums over a pair's texts; gradients are those of weighted scores, so the weights are in them."""
    result = np.zeros((len(outcome.pairs), values.shape[1]))
    np.add.at(result, outcome.pair_of, values)
    return result
