"""Generate text under edits, through the key-value cache.

Prompts of different length are padded on the left with position_ids that ignore the padding; every row has its own
random stream, so a row's text depends neither on its neighbours nor on how rows were batched (up to rounding).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from emotion_circuits.engine._edits import Edit, touches_of
from emotion_circuits.engine._precision import matmul_precision
from emotion_circuits.engine._run import hooks
from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.models import Encoded, LoadedModel


def generate(
    lm: LoadedModel,
    prompts: Sequence[Encoded],
    *,
    max_tokens: int = 40,
    edits: Sequence[Edit] = (),
    temperature: float = 0.0,
    top_k: int | None = None,
    seeds: Sequence[int] | None = None,
) -> list[str]:
    """Continue each prompt; only the continuation is returned, without special tokens.

    Args:
        lm: the model.
        prompts: what `lm.encode` gave.
        max_tokens: how many tokens at most; a row stops at the end-of-text token.
        edits: applied at every prompt token but the first, and at every generated one.
        temperature: 0 for greedy; otherwise what logits are divided by.
        top_k: sample from the k likeliest tokens only.
        seeds: one per prompt, for sampling; 0, 1, 2 … if not given.

    Raises:
        InputError: no new tokens or no room for them, a temperature below 0, not one seed per prompt, two edits at
            one point.
        MeasurementError: the logits are not finite (an edit that overflows).
    """
    if not prompts:
        return []
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
    seeds = range(len(prompts)) if seeds is None else seeds
    streams = [torch.Generator().manual_seed(seed) for seed in seeds]
    ids, mask = _pad_left(lm, prompts, longest)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    real = (mask.bool() & (positions > 0)).unsqueeze(-1)
    new: list[Tensor] = []
    running = torch.ones(len(prompts), dtype=torch.bool, device=lm.device)
    stop_ids = _stop_ids(lm)
    past: Any = None
    with torch.inference_mode():
        for _ in range(max_tokens):
            with matmul_precision(lm.device), hooks(lm, touches_of(edits, real)):
                out = lm.hf(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=positions,
                    past_key_values=past,
                    use_cache=True,
                    logits_to_keep=1,
                )
            past = out.past_key_values
            logits = out.logits[:, -1].float()
            if not bool(torch.isfinite(logits).all()):
                raise MeasurementError("The model's logits are not finite.", next_step="use a smaller dose")
            chosen = _choose(logits, temperature, top_k, streams)
            new.append(torch.where(running, chosen, torch.full_like(chosen, -1)))
            running &= ~torch.isin(chosen, stop_ids)
            if not bool(running.any()):
                break
            ids, positions = chosen[:, None], positions[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(len(prompts), 1)], dim=1)
            real = torch.ones(len(prompts), 1, 1, dtype=torch.bool, device=lm.device)
    tokens = torch.stack(new, dim=1).tolist()
    drop = set(stop_ids.tolist()) | {-1}
    kept = [[t for t in row if t not in drop] for row in tokens]
    return [str(lm.tokenizer.decode(row, skip_special_tokens=True)) for row in kept]


def _pad_left(lm: LoadedModel, prompts: Sequence[Encoded], longest: int) -> tuple[Tensor, Tensor]:
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt.ids)
        mask[row, longest - len(prompt) :] = 1
    return ids.to(lm.device), mask.to(lm.device)


def _stop_ids(lm: LoadedModel) -> Tensor:
    declared = lm.hf.generation_config.eos_token_id if lm.hf.generation_config is not None else None
    ids = {lm.tokenizer.eos_token_id, *(declared if isinstance(declared, list) else [declared])} - {None}
    return torch.tensor(sorted(int(i) for i in ids if i is not None), dtype=torch.long, device=lm.device)


def _choose(logits: Tensor, temperature: float, top_k: int | None, streams: Sequence[torch.Generator]) -> Tensor:
    if temperature == 0:
        return logits.argmax(-1)
    logits = logits.cpu() / temperature
    if top_k is not None:
        kept = logits.topk(min(top_k, logits.shape[-1]), dim=-1)
        logits = torch.full_like(logits, -torch.inf).scatter(-1, kept.indices, kept.values)
    probabilities = logits.softmax(-1)
    draws = [torch.multinomial(p, 1, generator=g) for p, g in zip(probabilities, streams, strict=True)]
    return torch.cat(draws).to(logits.device)
