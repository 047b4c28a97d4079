"""Circuits: sets of heads and units that are kept while everything else computes what it does on generic text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emotion_circuits.components._ablate import GenericValues, generic_values
from emotion_circuits.components._components import SITE_OF, Component, Kind, Ranking, per_layer, width_of
from emotion_circuits.components._outcomes import Outcome
from emotion_circuits.engine import (
    DEFAULT_BATCH_TOKENS,
    Batch,
    KeptParts,
    Point,
    in_chunks,
    plan_branches,
)
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.statistics import substream

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
KINDS: tuple[Kind, ...] = ("head", "unit")


class Circuits(NamedTuple):
    """C circuits of a model of L layers.

    Attributes:
        heads: (C, L, H) bool, kept ones.
        units: (C, L, M) bool.
    """

    heads: BoolArray
    units: BoolArray

    def __len__(self) -> int:
        return len(self.heads)

    def of(self, kind: Kind) -> BoolArray:
        """The members of a kind."""
        return self.heads if kind == "head" else self.units

    def rows(self, chosen: slice | Sequence[int]) -> Circuits:
        """Some of the circuits."""
        return Circuits(self.heads[chosen], self.units[chosen])

    def complements(self) -> Circuits:
        """What each leaves out."""
        return Circuits(~self.heads, ~self.units)

    def members(self, i: int) -> tuple[Component, ...]:
        """Components of the i-th circuit, by layer."""
        found = [Component(kind, int(layer), int(n)) for kind in KINDS for layer, n in np.argwhere(self.of(kind)[i])]
        return tuple(sorted(found, key=lambda c: (c.layer, c.kind, c.number)))

    def without(self, i: int, component: Component) -> Circuits:
        """The i-th circuit, one of its members left out."""
        one = Circuits(self.heads[i : i + 1].copy(), self.units[i : i + 1].copy())
        one.of(component.kind)[0, component.layer, component.number] = False
        return one


def joined_circuits(parts: Sequence[Circuits]) -> Circuits:
    """One after another."""
    return Circuits(np.concatenate([p.heads for p in parts]), np.concatenate([p.units for p in parts]))


def all_and_none(lm: LoadedModel) -> Circuits:
    """The whole model, then nothing of it."""
    keep = np.array([True, False])[:, None, None]
    return Circuits(*(np.broadcast_to(keep, (2, lm.n_layers, per_layer(lm, kind))).copy() for kind in KINDS))


def ranked_circuits(lm: LoadedModel, rankings: Mapping[Kind, Ranking], sizes: Sequence[float]) -> Circuits:
    """The best share of each kind: heads are few and units many, so each kind is cut by its own ranking.

    Args:
        lm: the model.
        rankings: of all its heads, of all its units.
        sizes: shares of the components of each kind, from 0 to 1; rounded to whole components, halves up, so that a
            kind has its first member where its share reaches half a component.

    Raises:
        InputError: a kind without a ranking, one that leaves components out, a share outside 0 to 1.
    """
    if any(not 0 <= size <= 1 for size in sizes) or not sizes:
        raise InputError("Sizes of circuits are shares of all components.", found=list(sizes), accepted="0 to 1")
    parts = []
    for kind in KINDS:
        count = per_layer(lm, kind)
        ranking = rankings.get(kind)
        if ranking is None or len(ranking) != lm.n_layers * count or ranking.components[0].kind != kind:
            raise InputError(f"A circuit needs a ranking of all {kind}s.", accepted=f"{lm.n_layers * count} {kind}s")
        place = np.empty((lm.n_layers, count), dtype=np.int64)
        for i, component in enumerate(ranking.components):
            place[component.layer, component.number] = i
        cuts = np.floor(np.asarray(sizes) * place.size + 0.5)
        parts.append(place[None] < cuts[:, None, None])
    return Circuits(parts[0], parts[1])


def matched_circuits(circuits: Circuits, n: int, seed: int | Sequence[int]) -> Circuits:
    """`n` random circuits for each, with as many heads and as many units in every layer; draw by draw, (n · C) in all.

    Where the circuits are nested, so are a draw's: each layer's components are put in one random order.
    """
    rng = np.random.default_rng(substream(seed, 3))
    parts = []
    for kind in KINDS:
        members = circuits.of(kind)
        counts = members.sum(axis=2)  # (C, L)
        order = rng.permuted(np.broadcast_to(np.arange(members.shape[2]), (n, *members.shape[1:])), axis=-1)
        drawn = order[:, None] < counts[None, :, :, None]
        parts.append(drawn.reshape(-1, *members.shape[1:]))
    return Circuits(parts[0], parts[1])


def circuit_means(lm: LoadedModel, texts: Sequence[str], batch_tokens: int = DEFAULT_BATCH_TOKENS) -> GenericValues:
    """Mean values of every head and unit on generic text, one row a point."""
    every = [Component(kind, layer, 0) for kind in KINDS for layer in range(lm.n_layers)]
    found = generic_values(lm, texts, every, batch_tokens=batch_tokens)
    return GenericValues({point: rows.mean(dim=0, keepdim=True) for point, rows in found.pool.items()})


def circuit_gaps(
    lm: LoadedModel,
    outcome: Outcome,
    circuits: Circuits,
    means: GenericValues,
    *,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    on_circuits: Callable[[int], None] | None = None,
) -> FloatArray:
    """(C, pairs) the outcome of the emotion's prompt minus the neutral one's, each run by one circuit alone.

    Every head and unit outside the circuit has its mean value on generic text, at all tokens but the first. Both
    prompts go through the same circuit, what they begin with only once; many circuits go side by side, and equal ones
    run once.

    Args:
        lm: the model.
        outcome: what is measured.
        circuits: what is kept.
        means: of all heads and units (`circuit_means`).
        batch_tokens: size of a forward pass.
        on_circuits: called with how many circuits were done.

    Raises:
        InputError: means of other points.
    """
    points = {Point(SITE_OF[kind], layer): kind for kind in KINDS for layer in outcome.layers(lm)}
    if set(points) - set(means.pool):
        raise InputError("Circuits need the mean values of every head and unit.", next_step="use circuit_means")
    values = {point: means.mean(point) for point in points}
    distinct, same = _distinct(circuits)
    n_texts = len(outcome.ids_a)
    scores = np.zeros((2, len(distinct), n_texts))
    batches = _prompts_together(lm, outcome, batch_tokens)
    for batch in batches:
        sides = [[i for i, text in enumerate(batch.texts) if text // n_texts == side] for side in range(2)]
        views = [batch.some(own, [batch.texts[i] % n_texts for i in own]) for own in sides]
        reads = [outcome.reads(view) for view in views]
        tokens = None if None in reads else sorted({token for read in reads for token in read or ()})
        alone = KeptParts(lm, batch, values, read=outcome.read, tokens=tokens)
        run = _runner(lm, alone, circuits.rows(distinct), points)
        for chosen, states in in_chunks(run, len(distinct), batch_tokens, batch.footprint):
            for side, view in enumerate(views):
                if view.texts:
                    with torch.no_grad():
                        found = outcome.score(lm, view, states).double().cpu().numpy()
                    scores[side, chosen, view.texts] = found.T
            if on_circuits and batch is batches[-1]:  # a circuit is done once all texts are
                on_circuits(int(np.isin(same, np.arange(chosen.start, chosen.stop)).sum()))
    a, b = (outcome.per_pair(one.T).T for one in scores)
    return np.asarray((a - b)[same], dtype=np.float64)


def _prompts_together(lm: LoadedModel, outcome: Outcome, batch_tokens: int) -> tuple[Batch, ...]:
    """The passes that a circuit takes: both sides' texts, the emotion's first; those of a pair share what they begin
    with. A circuit does the same to every token, so that nothing is lost by it."""
    ids = [*outcome.ids_a, *outcome.ids_b]
    pairs = [*outcome.pair_of.tolist(), *outcome.pair_of.tolist()]
    return plan_branches(lm, ids, pairs, [len(text) for text in ids], batch_tokens=batch_tokens)


def _distinct(circuits: Circuits) -> tuple[list[int], NDArray[np.int64]]:
    """One of each group of equal circuits, those side by side that have heads in the same layers and about as many
    units; and (C,) the place of every circuit's group: at a share of 1 all random circuits are the whole model."""
    one_of: dict[bytes, int] = {}
    group = []
    for i in range(len(circuits)):
        packed = np.packbits(circuits.heads[i]).tobytes() + np.packbits(circuits.units[i]).tobytes()
        group.append(one_of.setdefault(packed, i))
    kinds = {i: (circuits.heads[i].any(axis=1).tobytes(), int(circuits.units[i].sum())) for i in one_of.values()}
    distinct = sorted(kinds, key=lambda i: kinds[i])
    place = {i: k for k, i in enumerate(distinct)}
    return distinct, np.array([place[i] for i in group], dtype=np.int64)


def _runner(
    lm: LoadedModel, alone: KeptParts, circuits: Circuits, points: Mapping[Point, Kind]
) -> Callable[[slice], Tensor]:
    def run(chosen: slice) -> Tensor:
        part = circuits.rows(chosen)
        kept = {
            point: torch.from_numpy(part.of(kind)[:, point.layer])
            .to(lm.device)
            .repeat_interleave(width_of(lm, kind), dim=1)
            for point, kind in points.items()
        }
        return alone.run(kept)

    return run
