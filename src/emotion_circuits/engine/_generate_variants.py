"""Generate the same prompts under many changes at once: one clean prefill, and rows of all variants in one decode.

A variant that first changes layer l shares the keys and values of layers up to l with the clean run, so only the blocks
after l run again over its prompts. While generating, rows of different layers and doses go through the model together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import torch
from torch import Tensor
from transformers import DynamicCache

from emotion_circuits.engine._generate import (
    PROMPT_TOKENS,
    ROWS_AT_ONCE,
    Sampling,
    Schedule,
    Written,
    check_generation,
    decode,
    length_groups,
    padded_left,
)
from emotion_circuits.engine._pushes import Pushes, n_variants, point_of
from emotion_circuits.engine._replay import pushing
from emotion_circuits.engine._run import forward, hooks, only_blocks
from emotion_circuits.engine._sites import Point, Touch
from emotion_circuits.engine._suffix import keys_and_values
from emotion_circuits.models import Encoded, LoadedModel


def generate_variants(
    lm: LoadedModel,
    prompts: Sequence[Encoded],
    pushes: Pushes,
    *,
    max_tokens: int = 40,
    temperature: float = 0.0,
    top_k: int | None = None,
    seeds: Sequence[int] | None = None,
    schedule: Schedule | None = None,
    rows_at_once: int = ROWS_AT_ONCE,
    on_rows: Callable[[int], None] | None = None,
) -> list[list[Written | None]]:
    """Continue every prompt under every variant.

    Args:
        lm: the model.
        prompts: what `lm.encode` gave.
        pushes: layer → one change per variant; a variant that changes nothing anywhere is the clean run.
        max_tokens, temperature, top_k: as for `generate`.
        seeds: one per prompt, the same for all variants.
        schedule: when changes are made; None for the prompt and every generated token.
        rows_at_once: how many texts are generated together (memory), of prompts of about one length.
        on_rows: called with the number of texts done.

    Returns:
        variants × prompts continuations; None where a variant made the logits overflow.

    Raises:
        InputError: as `generate`; layers with different numbers of variants.
    """
    n = n_variants(pushes)
    if not prompts or not n:
        return [[] for _ in range(n)]
    check_generation(lm, prompts, max_tokens, temperature, top_k, seeds)
    plan = Schedule() if schedule is None else schedule
    firsts = _first_layers(pushes, lm.n_layers) if plan.prompt else [lm.n_layers] * n
    own_seeds = range(len(prompts)) if seeds is None else seeds
    order = sorted(range(n), key=lambda v: firsts[v])
    results: list[list[Written | None]] = [[None] * len(prompts) for _ in range(n)]
    done = 0
    for group in length_groups(prompts, rows_at_once):
        together = [prompts[i] for i in group]
        clean = _Prefill(lm, together, sorted({layer for layer in firsts if layer < lm.n_layers}))
        sampling = Sampling(temperature, top_k, [own_seeds[i] for i in group])
        at_once = max(1, min(rows_at_once, PROMPT_TOKENS // max(map(len, together))) // len(group))
        for start in range(0, n, at_once):
            chosen = order[start : start + at_once]
            rows = {layer: push.rows(torch.tensor(chosen)) for layer, push in pushes.items()}
            rows = {layer: push for layer, push in rows.items() if bool(push.active().any())}
            texts = iter(_generated(clean, rows, [firsts[v] for v in chosen], max_tokens, sampling, plan))
            for variant in chosen:
                for i in group:
                    results[variant][i] = next(texts)
            done += len(chosen) * len(group)
            if on_rows:
                on_rows(done)
    return results


def _first_layers(pushes: Pushes, n_layers: int) -> list[int]:
    """The first layer each variant changes; `n_layers` where it changes none."""
    first = torch.full((n_variants(pushes),), n_layers)
    for layer in sorted(pushes, reverse=True):
        first[pushes[layer].active()] = layer
    return [int(layer) for layer in first]


class _Prefill:
    """The clean run over the prompts: keys and values, last states, and what leaves some layers."""

    def __init__(self, lm: LoadedModel, prompts: Sequence[Encoded], layers: Sequence[int]):
        self.lm, self.prompts = lm, prompts
        self.ids, self.mask, self.positions = padded_left(lm, prompts)
        self.editable = (self.mask.bool() & (self.positions > 0)).unsqueeze(-1)
        self.states: dict[int, Tensor] = {}

        def keeping(layer: int) -> Touch:
            def keep(hidden: Tensor) -> None:
                self.states[layer] = hidden.clone()

            return keep

        self.cache = DynamicCache()
        with torch.inference_mode(), hooks(lm, {point_of(layer): keeping(layer) for layer in layers}):
            self.final = self._forward(1, self.cache)

    def _forward(self, copies: int, cache: DynamicCache) -> Tensor:
        """(copies * prompts, d) normed states of the last tokens."""
        final = forward(
            self.lm,
            self.ids.repeat(copies, 1),
            attention_mask=self.mask.repeat(copies, 1),
            position_ids=self.positions.repeat(copies, 1),
            past_key_values=cache,
            use_cache=True,
        )
        return final[:, -1]

    def changed(self, pushes: Pushes, first: int, copies: int) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Last states, and keys and values of all layers, of variants that all begin at layer `first`."""
        lm = self.lm
        if first == lm.n_layers:
            return self.final.repeat(copies, 1), self._shared(lm.n_layers, copies)
        cache = DynamicCache()
        own = self.states[first]
        states = pushes[first].applied(own.expand(copies, *own.shape), self.editable).flatten(0, 1)
        touches: dict[Point, Touch] = {point_of(first): lambda _: states}
        touches |= {point_of(layer): pushing(push, self.editable) for layer, push in pushes.items() if layer > first}
        with torch.inference_mode(), hooks(lm, touches), only_blocks(lm, start=first + 1):
            final = self._forward(copies, cache)
        # The blocks that were skipped left their part of the cache empty.
        return final, [*self._shared(first + 1, copies), *keys_and_values(cache)[first + 1 :]]

    def _shared(self, n_layers: int, copies: int) -> list[tuple[Tensor, Tensor]]:
        layers = keys_and_values(self.cache)[:n_layers]
        return [(keys.repeat(copies, 1, 1, 1), values.repeat(copies, 1, 1, 1)) for keys, values in layers]


def _generated(
    clean: _Prefill, pushes: Pushes, firsts: Sequence[int], max_tokens: int, sampling: Sampling, schedule: Schedule
) -> list[Written | None]:
    """Texts of some variants, prompts fastest; `firsts` is sorted."""
    finals, caches = [], []
    start = 0
    for first, members in groupby(firsts):
        copies = len(list(members))
        group = {layer: push.rows(slice(start, start + copies)) for layer, push in pushes.items()}
        final, layers = clean.changed(group, first, copies)
        finals.append(final)
        caches.append(layers)
        start += copies
    cache = DynamicCache()
    with torch.inference_mode():
        for index, layer in enumerate(zip(*caches, strict=True)):
            cache.update(torch.cat([k for k, _ in layer]), torch.cat([v for _, v in layer]), index)
        final = torch.cat(finals)
    everywhere = torch.ones(1, 1, 1, dtype=torch.bool, device=final.device)
    touches = {point_of(layer): pushing(push, everywhere) for layer, push in pushes.items()}
    wide = sampling._replace(seeds=list(sampling.seeds) * len(firsts))
    return decode(
        clean.lm, [*clean.prompts] * len(firsts), final, cache, clean.mask.repeat(len(firsts), 1), max_tokens, wide,
        lambda step: touches if schedule.active(step) else {},
    )  # fmt: skip
