"""Ablating and patching named heads and units, several at once, beside random ones of the same layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import comb, prod
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emotion_circuits.components._components import SITE_OF, Component, check_components, head_spec, per_layer
from emotion_circuits.components._exact import patched_scores
from emotion_circuits.components._outcomes import Outcome, SideBySide
from emotion_circuits.components._runs import observe
from emotion_circuits.directions import spread_positions
from emotion_circuits.engine import DEFAULT_BATCH_TOKENS, Batch, Point, record
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel

FloatArray = NDArray[np.float64]
Method = Literal["zero", "mean", "resample"]
METHODS: tuple[Method, ...] = ("zero", "mean", "resample")
N_RANDOM = 20
RESAMPLES = 4


@dataclass(frozen=True, eq=False)
class GenericValues:
    """What components compute on generic text: (tokens, width) at each point, position 0 left out. Row k is the same
    token at every point."""

    pool: dict[Point, Tensor]

    def mean(self, point: Point) -> Tensor:
        """(width,)"""
        return self.pool[point].mean(dim=0)


def points_of(components: Sequence[Component]) -> list[Point]:
    """The sites that hold components, in order."""
    return [Point(SITE_OF[kind], layer) for kind, layer in sorted({(c.kind, c.layer) for c in components})]


def generic_values(
    lm: LoadedModel,
    texts: Sequence[str],
    components: Sequence[Component],
    *,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
) -> GenericValues:
    """Values at the components' sites over up to eight evenly spaced tokens of each text.

    Raises:
        InputError: no text of at least two tokens.
    """
    encoded = [e for e in lm.encode(texts) if len(e) > 1]
    if not encoded:
        raise InputError("Generic texts of at least two tokens are needed.", found=len(encoded))
    positions = spread_positions(encoded)
    found = record(lm, [e.ids for e in encoded], positions, points_of(components), batch_tokens=batch_tokens)
    pool = {point: values.flatten(0, 1) for point, values in found.values.items()}
    return GenericValues({point: rows[torch.isfinite(rows).all(dim=1)].to(lm.device) for point, rows in pool.items()})


def constant_values(lm: LoadedModel, points: Sequence[Point], generic: GenericValues | None) -> dict[Point, Tensor]:
    """What stands in place of components at every token alike: their mean on generic text, or else zero."""
    if generic is None:
        return {point: torch.zeros((), device=lm.device) for point in points}
    return {point: generic.mean(point) for point in points}


class Changes(NamedTuple):
    """The outcome of both sides, clean and edited, for the named components and for random ones of the same layers.

    Attributes:
        components: the named ones.
        method: what was done to them.
        m_a, m_b: (pairs,) clean.
        a, b: (1 + random sets, pairs) edited; row 0 is of the named components. NaN where a side was not run.
        n_random: random sets; fewer than asked for where there are no more.
    """

    components: tuple[Component, ...]
    method: str
    m_a: FloatArray
    m_b: FloatArray
    a: FloatArray
    b: FloatArray
    n_random: int

    @property
    def spec(self) -> str:
        """The components, as they are named on the command line."""
        return head_spec(self.components)


def ablate(
    lm: LoadedModel,
    outcome: Outcome,
    components: Sequence[Component],
    method: Method,
    generic: GenericValues | None = None,
    *,
    n_random: int = N_RANDOM,
    seed: int = 0,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    on_sets: Callable[[int], None] | None = None,
) -> Changes:
    """Ablate several components together, in the emotion's prompts and in the neutral ones.

    zero: their values become 0. mean: their mean on generic text. resample: those of random tokens of generic text, the
    same token for all ablated components and for both prompts of a pair, drawn for each place; the mean of several
    draws is reported.

    Args:
        lm: the model.
        outcome: what is measured.
        components: heads and units; their order plays no part.
        method: `zero`, `mean` or `resample`.
        generic: needed by all methods but `zero`.
        n_random: random sets with as many components of each kind in each layer, none of the named among them.
        seed: of random sets and resampling.
        batch_tokens: size of a forward pass.
        on_sets: called with how many sets of a batch of texts were done.

    Raises:
        InputError: a component that the model lacks or named twice, an unknown method, generic values missing.
    """
    if method not in METHODS:
        raise InputError(f"Unknown ablation {method!r}.", accepted=", ".join(METHODS))
    check_components(lm, components)
    if method != "zero" and (generic is None or set(points_of(components)) - set(generic.pool)):
        raise InputError(f"Ablation by {method} needs generic values of these layers.", next_step="use generic_values")
    points = points_of(components)

    def values(batch: Batch, draw: int) -> dict[Point, Tensor]:
        if method != "resample" or generic is None:
            return constant_values(lm, points, generic if method == "mean" else None)
        rows = _drawn_rows(batch, len(generic.pool[points[0]]), (seed, 1, draw)).to(lm.device)
        return {point: generic.pool[point][rows] for point in points}

    draws = RESAMPLES if method == "resample" else 1
    return _changes(lm, outcome, components, method, values, draws, n_random, seed, batch_tokens, on_sets)


def patch(
    lm: LoadedModel,
    outcome: Outcome,
    components: Sequence[Component],
    *,
    n_random: int = N_RANDOM,
    seed: int = 0,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    on_sets: Callable[[int], None] | None = None,
) -> Changes:
    """Put the paired prompt's values into several components together: the neutral ones into the emotion's run
    (noising), and the emotion's into the neutral run (denoising). Arguments and errors as in `ablate`."""
    check_components(lm, components)
    return _changes(lm, outcome, components, "patch", None, 1, n_random, seed, batch_tokens, on_sets)


def _changes(
    lm: LoadedModel,
    outcome: Outcome,
    components: Sequence[Component],
    method: str,
    values: Callable[[Batch, int], dict[Point, Tensor]] | None,
    draws: int,
    n_random: int,
    seed: int,
    batch_tokens: int,
    on_sets: Callable[[int], None] | None,
) -> Changes:
    named = tuple(sorted(components))
    unreached = [c for c in named if c.layer not in outcome.layers(lm)]
    if unreached:
        raise InputError(f"{outcome.name} is read before some components.", found=head_spec(unreached))
    sets: list[tuple[Component, ...]] = [named, *random_sets(lm, named, n_random, seed)]
    points, first = points_of(named), min(c.layer for c in named)
    entering = Point("resid_pre", first)
    clean = np.zeros((2, len(outcome.ids_a)))
    edited = np.zeros((2, len(sets), len(outcome.ids_a)))
    for sides in outcome.batches(lm, batch_tokens):
        texts = list(sides.a.texts)
        seen = [observe(lm, outcome, batch, [entering, *points]) for batch in sides]
        for side, batch in enumerate(sides):
            clean[side, texts] = seen[side].scores.double().cpu().numpy()
            for draw in range(draws):
                given = {p: seen[1 - side].values[p] for p in points} if values is None else values(batch, draw)
                found = patched_scores(
                    lm, outcome, SideBySide(batch, batch), sets, given, seen[side].values[entering], batch_tokens
                )
                for start, scores in found:
                    for i, row in enumerate(scores.double().cpu().numpy()):
                        edited[side, start + i, texts] += row / draws
                if on_sets:
                    on_sets(len(sets))
    per_pair = [outcome.per_pair(edited[side].T).T for side in (0, 1)]
    return Changes(
        named, method, outcome.per_pair(clean[0]), outcome.per_pair(clean[1]), per_pair[0], per_pair[1], len(sets) - 1
    )


def _drawn_rows(batch: Batch, n: int, key: tuple[int, ...]) -> Tensor:
    """(rows, tokens) rows of the pool; a text's draws depend on its number only, not on the batch."""
    chosen = np.zeros(batch.shape, dtype=np.int64)
    for text, row, start, ids in zip(batch.texts, batch.row, batch.start, batch.ids, strict=True):
        drawn = np.random.default_rng([*key, text]).integers(n, size=len(ids))
        chosen[row, start : start + len(ids)] = drawn
    return torch.from_numpy(chosen)


def random_sets(lm: LoadedModel, components: Sequence[Component], n: int, seed: int) -> list[tuple[Component, ...]]:
    """Up to `n` different sets with as many components of each kind in each layer, none of the named among them.

    All such sets if there are no more than `n`; none where a layer has too few others.
    """
    counts = Counter((c.kind, c.layer) for c in components)
    named = set(components)
    others = {
        (kind, layer): [c for c in (Component(kind, layer, i) for i in range(per_layer(lm, kind))) if c not in named]
        for kind, layer in sorted(counts)
    }
    total = prod(comb(len(rest), counts[key]) for key, rest in others.items())
    if total <= n:
        parts = [list(combinations(rest, counts[key])) for key, rest in others.items()]
        return [tuple(c for part in chosen for c in part) for chosen in product(*parts)]
    rng = np.random.default_rng([seed, 2])
    found: dict[tuple[Component, ...], None] = {}
    while len(found) < n:
        drawn = [
            rest[i] for key, rest in others.items() for i in sorted(rng.choice(len(rest), counts[key], replace=False))
        ]
        found[tuple(drawn)] = None
    return list(found)
