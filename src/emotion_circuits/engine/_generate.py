"""Generate text under edits, through the key-value cache.

Prompts of different length are padded on the left with position_ids that ignore the padding; every row has its own
random stream, so a row's text depends neither on its neighbours nor on how rows were batched (up to rounding).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache

from emotion_circuits.engine._batches import ROW_TOKENS
from emotion_circuits.engine._edits import Edit, touches_of
from emotion_circuits.engine._run import forward, hooks, logits_of
from emotion_circuits.engine._sites import Point, Touch
from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.models import Encoded, LoadedModel

STREAMS = 2**32
"""Random streams that there are: torch's generator on the processor reads the low 32 bits of its seed only."""
ROWS_AT_ONCE = 256
"""Texts that are generated together."""
PROMPT_TOKENS = 8192
"""Of prompts that are continued together, padding included."""
APART = 0x9E3779B1
"""The odd number nearest to STREAMS over the golden ratio: its multiples, modulo STREAMS, stay far from each other."""


class Written(str):
    """A continuation as text, and the tokens that the model wrote it in."""

    ids: tuple[int, ...]
    """Without the end-of-text token. Text alone may have other tokens than those it was written in."""

    def __new__(cls, text: str, ids: Sequence[int]) -> Written:
        """A text with its tokens."""
        written = super().__new__(cls, text)
        written.ids = tuple(ids)
        return written


@dataclass(frozen=True)
class Schedule:
    """When a change is made while text is generated.

    Attributes:
        prompt: at the prompt's tokens (but the first).
        first: the first generated token that is changed, counted from 1.
        every: at every so many generated tokens from there on; 0 for none.
    """

    prompt: bool = True
    first: int = 1
    every: int = 1

    def active(self, step: int) -> bool:
        """Whether the `step`-th generated token is changed as it is fed back."""
        return self.every > 0 and step >= self.first and (step - self.first) % self.every == 0


def generate(
    lm: LoadedModel,
    prompts: Sequence[Encoded],
    *,
    max_tokens: int = 40,
    edits: Sequence[Edit] = (),
    temperature: float = 0.0,
    top_k: int | None = None,
    seeds: Sequence[int] | None = None,
    schedule: Schedule | None = None,
    rows_at_once: int | None = None,
    on_rows: Callable[[int], None] | None = None,
) -> list[Written]:
    """Continue each prompt; only the continuation is returned, without special tokens.

    Args:
        lm: the model.
        prompts: what `lm.encode` gave.
        max_tokens: how many tokens at most; a row stops at the end-of-text token.
        edits: applied at every prompt token but the first, and at every generated one, or as `schedule` says.
        temperature: 0 for greedy; otherwise what logits are divided by.
        top_k: sample from the k likeliest tokens only.
        seeds: one per prompt, for sampling; 0, 1, 2 … if not given.
        schedule: when edits are made; None for the prompt and every generated token.
        rows_at_once: at most so many are continued together, those of about one length; None for all at once, as edits
            with values for every row need it.
        on_rows: called with the number of texts done.

    Raises:
        InputError: no new tokens or no room for them, a temperature below 0, not one seed per prompt, two edits at
            one point.
        MeasurementError: the logits are not finite (an edit that overflows).
    """
    if prompts:
        check_generation(lm, prompts, max_tokens, temperature, top_k, seeds)
    own = range(len(prompts)) if seeds is None else seeds
    found: dict[int, Written] = {}
    for group in [range(len(prompts))] if rows_at_once is None else length_groups(prompts, rows_at_once):
        texts = generate_finite(
            lm, [prompts[i] for i in group], max_tokens=max_tokens, edits=edits, temperature=temperature, top_k=top_k,
            seeds=[own[i] for i in group], schedule=schedule,
        )  # fmt: skip
        if None in texts:
            lost = [f"prompt {i}" for i, text in zip(group, texts, strict=True) if text is None]
            raise MeasurementError(
                "The model's logits are not finite.",
                found=", ".join(lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else ""),
                next_step="use a smaller dose, or leave these prompts out",
            )
        found.update((i, text) for i, text in zip(group, texts, strict=True) if text is not None)
        if on_rows:
            on_rows(len(found))
    return [found[i] for i in range(len(prompts))]


def length_groups(prompts: Sequence[Encoded], rows_at_once: int) -> list[list[int]]:
    """Which prompts are continued together, the longest first, so that a long one lengthens no other's row."""
    groups: list[list[int]] = []
    for i in sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), i)):
        longest = len(prompts[groups[-1][0]]) if groups else 0
        full = bool(groups) and len(groups[-1]) >= max(1, min(rows_at_once, PROMPT_TOKENS // longest))
        if not groups or full or max(ROW_TOKENS, 2 * len(prompts[i])) < longest:
            groups.append([])
        groups[-1].append(i)
    return groups


def generate_finite(
    lm: LoadedModel,
    prompts: Sequence[Encoded],
    *,
    max_tokens: int = 40,
    edits: Sequence[Edit] = (),
    temperature: float = 0.0,
    top_k: int | None = None,
    seeds: Sequence[int] | None = None,
    schedule: Schedule | None = None,
) -> list[Written | None]:
    """As `generate`, with None for a row whose logits overflow, so that rows with edits of their own share a run."""
    if not prompts:
        return []
    check_generation(lm, prompts, max_tokens, temperature, top_k, seeds)
    ids, mask, positions = padded_left(lm, prompts)
    real = (mask.bool() & (positions > 0)).unsqueeze(-1)
    plan = Schedule() if schedule is None else schedule
    cache = DynamicCache()
    with torch.inference_mode(), hooks(lm, touches_of(edits, real) if plan.prompt else {}):
        final = forward(
            lm, ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        )  # fmt: skip
    everywhere = torch.ones(len(prompts), 1, 1, dtype=torch.bool, device=lm.device)
    sampling = Sampling(temperature, top_k, range(len(prompts)) if seeds is None else seeds)
    touches = touches_of(edits, everywhere)
    return decode(
        lm, prompts, final[:, -1], cache, mask, max_tokens, sampling, lambda step: touches if plan.active(step) else {}
    )


def row_seeds(seed: int, n: int) -> list[int]:
    """Seeds of `n` rows' random streams, one after the other from a place of the seed's own; from 0 for seed 0.

    Two of a thousand neighbouring seeds share no stream in runs of up to a million rows.

    Raises:
        InputError: a seed that is negative or too large.
    """
    if not 0 <= seed < STREAMS:
        raise InputError("This seed cannot be used for text.", found=seed, accepted=f"0 to {STREAMS - 1}")
    return [(seed * APART + row) % STREAMS for row in range(n)]


def prompt_values(lm: LoadedModel, prompts: Sequence[Encoded], point: Point, edits: Sequence[Edit] = ()) -> Tensor:
    """What a run over prompts has at a point, (prompts, tokens, width), laid out as `generate` lays prompts out: they
    end together. So it can `replace` what other prompts of the same lengths have there.

    Args:
        lm, prompts: as for `generate`.
        point: what to read; after an edit there.
        edits: of the run, at every prompt token but the first.
    """
    ids, mask, positions = padded_left(lm, prompts)
    touches = touches_of(edits, (mask.bool() & (positions > 0)).unsqueeze(-1))
    edited = touches.get(point)
    seen: list[Tensor] = []

    def keep(hidden: Tensor) -> Tensor:
        found = hidden if edited is None else edited(hidden)
        seen.append(found.clone())
        return found

    with torch.no_grad(), hooks(lm, {**touches, point: keep}):
        forward(lm, ids, attention_mask=mask, position_ids=positions)
    return seen[0]


class Sampling(NamedTuple):
    """How the next token is chosen: `temperature` 0 is greedy; every row has a random stream of its own."""

    temperature: float
    top_k: int | None
    seeds: Sequence[int]


def check_generation(
    lm: LoadedModel,
    prompts: Sequence[Encoded],
    max_tokens: int,
    temperature: float,
    top_k: int | None,
    seeds: Sequence[int] | None,
) -> None:
    """Raise `InputError` unless these prompts can be continued like this."""
    if max_tokens < 1:
        raise InputError("No new tokens were asked for.", found=max_tokens, accepted="max_tokens of 1 or more")
    if not 0 <= temperature < math.inf:
        raise InputError("This temperature cannot be used.", found=temperature, accepted="0 (greedy) or more")
    if top_k is not None and top_k < 1:
        raise InputError("No token is left to sample from.", found=f"top_k {top_k}", accepted="1 or more, or None")
    if seeds is not None and len(seeds) != len(prompts):
        raise InputError("Prompts and seeds differ in number.", found=f"{len(prompts)} prompts, {len(seeds)} seeds")
    longest = max(len(p) for p in prompts)
    if longest + max_tokens > lm.max_positions:
        raise InputError(
            f"Prompt and continuation do not fit into {lm.name}.",
            found=f"{longest} + {max_tokens} tokens",
            accepted=f"{lm.max_positions} in all",
            next_step="shorten the prompt or lower --max-tokens",
        )


def decode(
    lm: LoadedModel,
    prompts: Sequence[Encoded],
    final: Tensor,
    cache: DynamicCache,
    mask: Tensor,
    max_tokens: int,
    sampling: Sampling,
    touches: Callable[[int], Mapping[Point, Touch]],
) -> list[Written | None]:
    """Generate from filled caches; None for a row whose logits stopped being finite (an edit that overflows).

    Args:
        lm: the model.
        prompts: of the rows, which the texts go on from.
        final: (rows, d) normed states of the prompts' last tokens.
        cache: keys and values of the prompts; it grows.
        mask: (rows, tokens) 1 for the prompts' tokens, 0 for padding.
        max_tokens: how many tokens at most.
        sampling: how to choose.
        touches: step (1 for the first generated token that is fed back) → hooks of that forward pass.
    """
    streams = [torch.Generator().manual_seed(seed) for seed in sampling.seeds]
    positions = mask.sum(dim=1, keepdim=True)
    new: list[Tensor] = []
    running = torch.ones(len(final), dtype=torch.bool, device=lm.device)
    overflown = torch.zeros_like(running)
    stops = stop_ids(lm)
    with torch.inference_mode():
        for step in range(1, max_tokens + 1):
            logits = logits_of(lm, final).float()
            overflown |= ~torch.isfinite(logits).all(dim=-1)
            running &= ~overflown
            logits[overflown] = 0.0  # such a row goes on with any token, so that the others can
            chosen = choose_tokens(logits, sampling.temperature, sampling.top_k, streams)
            new.append(torch.where(running, chosen, torch.full_like(chosen, -1)))
            running &= ~torch.isin(chosen, stops)
            if step == max_tokens or not bool(running.any()):
                break
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            with hooks(lm, touches(step)):
                hidden = forward(
                    lm, chosen[:, None], attention_mask=mask, position_ids=positions, past_key_values=cache,
                    use_cache=True,
                )  # fmt: skip
            final, positions = hidden[:, -1], positions + 1
    tokens = torch.stack(new, dim=1).tolist()
    drop = set(stops.tolist()) | {-1}
    kept = [[t for t in row if t not in drop] for row in tokens]
    return [
        None if lost else Written(lm.text_after(prompt.ids, row), row)
        for prompt, row, lost in zip(prompts, kept, overflown.tolist(), strict=True)
    ]


def padded_left(lm: LoadedModel, prompts: Sequence[Encoded]) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, mask and position ids, (rows, tokens) each, of prompts that end together.

    Padding repeats a prompt's first token: padding of which nothing is finite would spoil its row.
    """
    longest = max(len(p) for p in prompts)
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row] = torch.tensor([prompt.ids[0]] * (longest - len(prompt)) + [*prompt.ids])
        mask[row, longest - len(prompt) :] = 1
    ids, mask = ids.to(lm.device), mask.to(lm.device)
    return ids, mask, (mask.cumsum(1) - 1).clamp(min=0)


def stop_ids(lm: LoadedModel) -> Tensor:
    declared = lm.hf.generation_config.eos_token_id if lm.hf.generation_config is not None else None
    ids = {lm.tokenizer.eos_token_id, *(declared if isinstance(declared, list) else [declared])} - {None}
    return torch.tensor(sorted(int(i) for i in ids if i is not None), dtype=torch.long, device=lm.device)


def choose_tokens(logits: Tensor, temperature: float, top_k: int | None, streams: Sequence[torch.Generator]) -> Tensor:
    if temperature == 0:
        return logits.argmax(-1)
    device = logits.device  # every row has a stream of its own, and streams are the processor's
    given = logits.cpu()
    logits = given / temperature
    lost = ~torch.isfinite(logits).all(dim=-1)  # so low a temperature that only the largest can be drawn
    exact = given[lost].double()
    logits[lost] = ((exact - exact.amax(dim=-1, keepdim=True)) / temperature).to(logits.dtype)
    if top_k is not None:
        kept = logits.topk(min(top_k, logits.shape[-1]), dim=-1)
        logits = torch.full_like(logits, -torch.inf).scatter(-1, kept.indices, kept.values)
    probabilities = logits.softmax(-1)
    draws = [torch.multinomial(p, 1, generator=g) for p, g in zip(probabilities, streams, strict=True)]
    return torch.cat(draws).to(device)
