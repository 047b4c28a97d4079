"""Interchange: put what the paired prompt computes at one layer and place into a run, and see how much follows.

Denoising puts the emotion's values into the neutral run, noising the neutral ones into the emotion's. What any other
prompt's values would do stands beside both: a donor is another scenario's prompt of the class that is patched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emotion_circuits.components._outcomes import Outcome
from emotion_circuits.components._pairs import PairSet
from emotion_circuits.components._runs import observe
from emotion_circuits.engine import (
    DEFAULT_BATCH_TOKENS,
    Batch,
    Edit,
    Point,
    Site,
    TailBatch,
    check_point,
    in_chunks,
    run_from,
    tails,
)
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel

FloatArray = NDArray[np.float64]
Direction = Literal["denoising", "noising"]
DIRECTIONS: tuple[Direction, ...] = ("denoising", "noising")
SWAP_SITES: tuple[Site, ...] = ("resid_post", "attn_out", "mlp_out")
PLACES = ("before", "word", "after", "bridge", "last", "all")
"""Tokens before the emotion's word, the word, those between it and the bridge, the bridge's but the last, the last one;
and all of these together."""
DONORS = 1


class Swapped(NamedTuple):
    """The outcome after interchange, of G pairs. NaN where a pair has no token at a place, or no donor.

    Attributes:
        own: (G, sites, layers, places) with the paired prompt's values.
        donor: the same with values of other scenarios' prompts of the patched run's own class, mean over donors.
    """

    own: FloatArray
    donor: FloatArray


@dataclass(frozen=True, eq=False)
class Interchange:
    """What interchange did, for one emotion and outcome.

    Attributes:
        model, outcome: names.
        pairs: whose prompts.
        sites, layers, places: what the axes of `swapped` hold.
        m_a, m_b: (G,) clean outcome of the emotion's and of the neutral prompts.
        swapped: by direction.
    """

    model: str
    outcome: str
    pairs: PairSet
    sites: tuple[Site, ...]
    layers: tuple[int, ...]
    places: tuple[str, ...]
    m_a: FloatArray
    m_b: FloatArray
    swapped: Mapping[Direction, Swapped]


def interchange(
    lm: LoadedModel,
    outcome: Outcome,
    *,
    layers: Sequence[int] | None = None,
    sites: Sequence[Site] = SWAP_SITES,
    places: Sequence[str] = PLACES,
    directions: Sequence[Direction] = DIRECTIONS,
    n_donors: int = DONORS,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    on_runs: Callable[[int], None] | None = None,
) -> Interchange:
    """Patch every site, layer and place of every pair, each alone.

    No layer and no token before a patch runs again, and all sites of a layer and place go side by side. Position 0,
    which both prompts share, keeps its values.

    Args:
        lm: the model.
        outcome: what is measured.
        layers: blocks; all by default.
        sites: of `resid_post`, `attn_out`, `mlp_out`, or any other of the model's width.
        places: of `PLACES`.
        directions: of `denoising`, `noising`.
        n_donors: scenarios whose prompts are tried in the paired one's stead; they must have as many tokens.
        batch_tokens: size of a forward pass.
        on_runs: called with how many patches of a batch of texts were done.

    Raises:
        InputError: a site, layer, place or direction that there is not, or none; a negative number of donors; an
            outcome that is read before a layer.
    """
    chosen = tuple(range(lm.n_layers)) if layers is None else tuple(dict.fromkeys(layers))
    _check(lm, outcome, chosen, sites, places, directions, n_donors)
    shape = (len(outcome.ids_a), len(sites), len(chosen), len(places))
    clean = np.zeros((2, len(outcome.ids_a)))
    found = {d: (np.full(shape, np.nan), np.full((n_donors, *shape), np.nan)) for d in directions}
    for sides in outcome.batches(lm, batch_tokens):
        texts = list(sides.a.texts)
        points = [Point(site, layer) for site, layer in product(sites, chosen)]
        entering = [Point("resid_pre", layer) for layer in chosen]
        seen = [observe(lm, outcome, batch, [*points, *entering]) for batch in sides]
        for side, one in enumerate(seen):
            clean[side, texts] = one.scores.double().cpu().numpy()
        for direction in directions:
            # The run that is patched: the neutral one when denoising.
            side = 1 if direction == "denoising" else 0
            ids = outcome.ids_b if side else outcome.ids_a
            sources = [seen[1 - side].values]
            donors = _donors(outcome, side, n_donors)
            for drawn in donors:
                batch = replace(sides[side], ids=tuple(drawn[t] or ids[t] for t in texts))
                sources.append(observe(lm, outcome, batch, points).values)
            own, donor = found[direction]
            for p, place in enumerate(places):
                scores = _scores_at(
                    lm, outcome, sides[side], place, chosen, seen[side].values, sites, sources, batch_tokens, on_runs
                )
                own[texts, :, :, p] = scores[0]
                for one, drawn, values in zip(donor, donors, scores[1:], strict=True):
                    known = np.array([bool(drawn[text]) for text in texts])
                    one[texts, :, :, p] = np.where(known[:, None, None], values, np.nan)
    missing = np.array([[not pair.places()[place] for place in places] for pair in outcome.pairs.pairs])
    swapped = {d: _per_pair(outcome, own, donor, missing) for d, (own, donor) in found.items()}
    return Interchange(
        str(lm.name), outcome.name, outcome.pairs, tuple(sites), chosen, tuple(places),
        outcome.per_pair(clean[0]), outcome.per_pair(clean[1]), swapped,
    )  # fmt: skip


class _Variant(NamedTuple):
    """Which values go where: number of the source, number of the site."""

    source: int
    site: int


def _scores_at(
    lm: LoadedModel,
    outcome: Outcome,
    batch: Batch,
    place: str,
    layers: Sequence[int],
    clean: Mapping[Point, Tensor],
    sites: Sequence[Site],
    sources: Sequence[Mapping[Point, Tensor]],
    batch_tokens: int,
    on_runs: Callable[[int], None] | None,
) -> FloatArray:
    """(sources, texts, sites, layers) scores after patches at one place.

    A patch changes nothing before its first token, so only the tokens from there on run, with the keys and values that
    the others have in the clean run.
    """
    firsts = [_first(outcome, text, ids, place) for text, ids in zip(batch.texts, batch.ids, strict=True)]
    variants = [_Variant(s, i) for s, i in product(range(len(sources)), range(len(sites)))]
    scores = np.zeros((len(variants), len(batch.texts), len(layers)))
    column = {text: i for i, text in enumerate(batch.texts)}
    *others, last = tails(lm, batch, firsts, read=outcome.read, copies=len(variants))
    for tail in (*others, last):
        there = [column[text] for text in tail.texts]
        at = _marked(lm, outcome, tail, place)
        for k, layer in enumerate(layers):
            points = [Point(site, layer) for site in sites]
            entering = tail.of_run(batch, clean[Point("resid_pre", layer)])
            differences = [[tail.of_run(batch, source[point] - clean[point]) for point in points] for source in sources]
            run = _runner(lm, outcome, tail, entering, points, differences, at, variants)
            for part, found in in_chunks(run, len(variants), batch_tokens, tail.footprint):
                scores[part, there, k] = found.double().cpu().numpy()
                if on_runs and tail is last:
                    on_runs(len(found))
    return scores.reshape(len(sources), len(sites), len(batch.texts), len(layers)).transpose(0, 2, 1, 3)


def _first(outcome: Outcome, text: int, ids: Sequence[int], place: str) -> int:
    """The first token of a place in a text; where it holds none, the last, which costs least."""
    tokens = outcome.pairs.pairs[outcome.pair_of[text]].places()[place]
    return min(tokens, default=len(ids) - 1)


def _runner(
    lm: LoadedModel,
    outcome: Outcome,
    tail: TailBatch,
    entering: Tensor,
    points: Sequence[Point],
    differences: Sequence[Sequence[Tensor]],
    at: Tensor,
    variants: Sequence[_Variant],
) -> Callable[[slice], Tensor]:
    """Scores (variants, texts) of some variants at the points of one layer."""

    def run(part: slice) -> Tensor:
        chunk = variants[part]
        edits = []
        for i in sorted({v.site for v in chunk}):
            mask = torch.stack([at if v.site == i else torch.zeros_like(at) for v in chunk])
            edits.append(_put(points[i], mask, [differences[v.source][i] for v in chunk]))
        reads = outcome.reads(tail.whole)
        states = run_from(
            lm, tail, points[0].layer, entering, edits, copies=len(chunk), read=outcome.read,
            tokens=None if reads is None else tail.of_whole(reads),
        )  # fmt: skip
        with torch.no_grad():
            return outcome.scores(lm, tail, states)

    return run


def _put(point: Point, mask: Tensor, differences: Sequence[Tensor]) -> Edit:
    """In each copy of the batch other values where its mask says so; all else keeps every bit.

    Values are moved by their difference from the run's own, so that a run's own values change no bit, however products
    of the copies' shape are rounded.

    Args:
        point: where.
        mask: (copies, rows, tokens, 1) bool.
        differences: (rows, tokens, width) for each copy.
    """

    def apply(hidden: Tensor, editable: Tensor) -> Tensor:
        copies = hidden.reshape(len(differences), -1, *hidden.shape[1:])
        moved = copies + torch.stack(list(differences))
        return torch.where(mask & editable.reshape(mask.shape), moved, copies).reshape(hidden.shape)

    return Edit(point, apply)


def _marked(lm: LoadedModel, outcome: Outcome, tail: TailBatch, place: str) -> Tensor:
    """(rows, tokens, 1) bool: the tokens of a place. `all` takes what follows the prompt in too."""
    flat = []
    for i, text in enumerate(tail.texts):
        tokens: Sequence[int] = range(1, len(tail.whole.ids[i]))
        if place != "all":
            tokens = outcome.pairs.pairs[outcome.pair_of[text]].places()[place]
        flat += [tail.flat(i, k - len(tail.before.ids[i])) for k in tokens]
    return tail.marked(flat, lm.device)


def _donors(outcome: Outcome, side: int, n: int) -> list[list[tuple[int, ...]]]:
    """For each draw the tokens that give their values to each text: another scenario's prompt of the side's own class
    with as many tokens, and the text's own continuation; another one in each draw, nothing where there are no more."""
    pairs = outcome.pairs
    drawn: list[list[tuple[int, ...]]] = [[] for _ in range(n)]
    for text, ids in enumerate(outcome.ids_b if side else outcome.ids_a):
        pair = pairs.pairs[outcome.pair_of[text]]
        own = pair.ids_b if side else pair.ids_a
        alike = pairs.donors(pair, side)
        rest = ids[len(own) :]
        if ids[: len(own)] != own:  # the continuation changed the prompt's own tokens
            alike = []
        for draw in range(n):
            drawn[draw].append((*alike[draw], *rest) if draw < len(alike) else ())
    return drawn


def _per_pair(outcome: Outcome, own: FloatArray, donor: FloatArray, missing: NDArray[np.bool_]) -> Swapped:
    empty = missing[:, None, None, :]
    values = np.where(empty, np.nan, outcome.per_pair(own))
    others = np.full(values.shape, np.nan)
    if len(donor):
        draws = np.stack([outcome.per_pair(one) for one in donor])
        known = np.isfinite(draws)
        count = known.sum(axis=0)
        others = np.where(count > 0, np.where(known, draws, 0).sum(axis=0) / np.maximum(count, 1), np.nan)
    return Swapped(values, np.where(empty, np.nan, others))


def _check(
    lm: LoadedModel,
    outcome: Outcome,
    layers: Sequence[int],
    sites: Sequence[Site],
    places: Sequence[str],
    directions: Sequence[Direction],
    n_donors: int,
) -> None:
    for what, given, known in (("place", places, PLACES), ("direction", directions, DIRECTIONS)):
        unknown = [one for one in given if one not in known]
        if unknown or not given or len(set(given)) < len(given):
            raise InputError(f"A {what} is unknown, named twice, or there is none.",
                             found=", ".join(given) or "none", accepted=", ".join(known))  # fmt: skip
    if not layers or not sites or len(set(sites)) < len(sites):
        raise InputError("No layers or no sites were named, or one twice.", found=f"{[*layers]}, {[*sites]}")
    if n_donors < 0:
        raise InputError("So many donors cannot be drawn.", found=n_donors, accepted="0 or more")
    for site, layer in product(sites, layers):
        check_point(lm, Point(site, layer))
        if site in ("z", "mlp_act", "embed", "resid_pre"):
            raise InputError(f"Interchange is not made at {site!r}.", accepted=", ".join((*SWAP_SITES, "resid_mid")))
    unreached = [layer for layer in layers if layer not in outcome.layers(lm)]
    if unreached:
        raise InputError(f"{outcome.name} is read before layer {unreached[0]}.")
