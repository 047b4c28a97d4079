"""Write one prompt in several arms at once, token by token, while the clean model reads what the others write.

Every arm but the first has a second row, which nothing changes and which is fed the arm's tokens. What that row expects
of each token gives the text's perplexity and its divergence from the clean model as the text grows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache

from emotion_circuits.engine._edits import Edit
from emotion_circuits.engine._generate import check_generation, choose_tokens, stop_ids
from emotion_circuits.engine._run import forward, hooks, logits_of
from emotion_circuits.engine._sites import Point, Touch
from emotion_circuits.errors import MeasurementError
from emotion_circuits.models import Encoded, LoadedModel

Arm = Sequence[Edit]
"""What is changed in one arm; nothing in the first, the clean one."""


class Step(NamedTuple):
    """One more token of every arm.

    Attributes:
        tokens: per arm; None where its text has ended.
        log_p: of the token under the clean model, nats.
        kl: of the arm's prediction from the clean model's after the same tokens, nats.
    """

    tokens: tuple[int | None, ...]
    log_p: tuple[float, ...]
    kl: tuple[float, ...]


def stream(
    lm: LoadedModel,
    prompt: Encoded,
    arms: Sequence[Arm],
    *,
    max_tokens: int = 40,
    temperature: float = 0.0,
    seed: int = 0,
    lock: AbstractContextManager[object] | None = None,
) -> Iterator[Step]:
    """Continue a prompt in all arms with the same random stream; a row's text is what `generate` gives of it.

    Args:
        lm: the model.
        prompt: what `lm.encode` gave.
        arms: the first is clean.
        max_tokens, temperature: as for `generate`.
        seed: of every arm's random stream, as in `generate`'s `seeds`.
        lock: held while the model runs, and not between two tokens.

    Raises:
        InputError: as from `generate`.
        MeasurementError: an edit makes the logits overflow.
    """
    check_generation(lm, [prompt], max_tokens, temperature, None, [seed])
    held = nullcontext() if lock is None else lock
    n = len(arms)
    ids = torch.tensor([prompt.ids] * (2 * n - 1), device=lm.device)
    streams = [torch.Generator().manual_seed(seed) for _ in range(n)]
    stops, cache = stop_ids(lm), DynamicCache()
    ended = torch.zeros(n, dtype=torch.bool)
    seen = ids.shape[1]
    editable = torch.ones_like(ids, dtype=torch.bool).unsqueeze(-1)
    editable[:, 0] = False
    for _step in range(1, max_tokens + 1):
        with held:
            logits = _logits(lm, ids, arms, editable, seen, cache)
            if not bool(torch.isfinite(logits[:n]).all()):
                raise MeasurementError("The model's logits are not finite.", next_step="use a smaller dose")
            chosen = choose_tokens(logits[:n], temperature, None, streams)
            log_p = logits.log_softmax(-1)
            expected = torch.cat([log_p[:1], log_p[n:]])  # what the clean model says in each arm's place
            kl = (log_p[:n].exp() * (log_p[:n] - expected)).sum(-1).cpu()
            told = expected.gather(1, chosen[:, None]).squeeze(1).cpu()
        ended |= torch.isin(chosen, stops).cpu()
        if bool(ended.all()):
            return
        yield Step(
            tuple(None if end else int(t) for t, end in zip(chosen, ended, strict=True)),
            tuple(map(float, told)),
            tuple(max(float(v), 0.0) for v in kl),
        )
        ids = torch.cat([chosen, chosen[1:]])[:, None]
        editable, seen = torch.ones_like(ids, dtype=torch.bool).unsqueeze(-1), seen + 1


def next_log_p(lm: LoadedModel, ids: Sequence[int], arms: Sequence[Arm]) -> Tensor:
    """(arms, vocabulary) log probabilities of the token after these, with every arm's edits at all of them but the
    first."""
    rows = torch.tensor([list(ids)] * len(arms), device=lm.device)
    editable = torch.ones_like(rows, dtype=torch.bool).unsqueeze(-1)
    editable[:, 0] = False
    return _logits(lm, rows, arms, editable, len(ids), DynamicCache()).log_softmax(-1).cpu()


def _logits(
    lm: LoadedModel, ids: Tensor, arms: Sequence[Arm], editable: Tensor, seen: int, cache: DynamicCache
) -> Tensor:
    """(rows, vocabulary) after one pass; `seen` tokens in all."""
    rows, new = ids.shape
    mask = torch.ones(rows, seen, dtype=torch.long, device=lm.device)
    positions = torch.arange(seen - new, seen, device=lm.device).expand(rows, new)
    with torch.inference_mode(), hooks(lm, _touches(arms, editable)):
        final = forward(lm, ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True)
        return logits_of(lm, final[:, -1]).float()


def _touches(arms: Sequence[Arm], editable: Tensor) -> dict[Point, Touch]:
    """Each arm's edits, in its own row."""
    at: dict[Point, list[tuple[int, Edit]]] = {}
    for row, edits in enumerate(arms):
        for edit in edits:
            at.setdefault(edit.point, []).append((row, edit))

    def touch(own: list[tuple[int, Edit]]) -> Touch:
        def change(hidden: Tensor) -> Tensor:
            changed = hidden.clone()
            for row, edit in own:
                one = slice(row, row + 1)
                changed[one] = edit.apply(changed[one], editable[one])
            return changed

        return change

    return {point: touch(own) for point, own in at.items()}
