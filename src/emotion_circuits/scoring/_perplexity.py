"""How surprised a model is by texts after their prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from emotion_circuits.engine import (
    DEFAULT_BATCH_TOKENS,
    Batch,
    Written,
    final_states,
    for_each_batch,
    logits_of,
    plan_batches,
)
from emotion_circuits.errors import InputError
from emotion_circuits.models import Encoded, LoadedModel

# Logits of so many tokens at a time: a vocabulary of 50,000 makes one batch's logits larger than the model.
LOGITS_AT_ONCE = 256


def continuation_perplexities(
    lm: LoadedModel,
    prompts: Sequence[str],
    texts: Sequence[str],
    *,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    on_texts: Callable[[int], None] | None = None,
) -> NDArray[np.float64]:
    """Perplexity of each text after its prompt: exp of the mean negative log probability of the text's own tokens.

    A text that comes from `generate` is judged in the tokens that it was written in, if they are this model's too, any
    other in those of prompt and text together.

    Equal pairs are computed once, and texts share rows where the model allows it.

    Args:
        lm: the model that judges, without any edit.
        prompts, texts: in pairs; nothing is put between them.
        batch_tokens: tokens of one forward pass.
        on_texts: called with the number of different pairs done.

    Returns:
        (texts,); NaN where a text is empty, has no token of its own (one that begins inside it), or does not fit into
        the model with its prompt; NaN too where the model gives no finite number.

    Raises:
        InputError: prompts and texts differ in number.
    """
    if len(prompts) != len(texts):
        raise InputError("Prompts and texts differ in number.", found=f"{len(prompts)} prompts, {len(texts)} texts")
    found = {_key(prompt, text): float("nan") for prompt, text in zip(prompts, texts, strict=True)}
    keys, encoded, own = [], [], []
    for key, (ids, scored) in zip(found, _scored(lm, list(found)), strict=True):
        if key.text and scored:
            keys.append(key)
            encoded.append(ids)
            own.append(scored)
    done = 0

    def run(batch: Batch) -> None:
        nonlocal done
        lengths = [len(own[i]) for i in batch.texts]
        read = [batch.flat(place, k - 1) for place, i in enumerate(batch.texts) for k in own[i]]
        targets = torch.tensor([encoded[i][k] for i in batch.texts for k in own[i]], device=lm.device)
        index = torch.as_tensor(read, device=lm.device)
        states = final_states(lm, batch)
        states = states.reshape(-1, states.shape[-1]).index_select(0, index)
        log_p = np.empty(len(read))
        for first in range(0, len(read), LOGITS_AT_ONCE):
            part = slice(first, first + LOGITS_AT_ONCE)
            with torch.no_grad():
                logits = logits_of(lm, states[part]).float()
            chosen = logits.gather(-1, targets[part, None]).squeeze(-1) - logits.logsumexp(-1)
            log_p[part] = chosen.double().cpu().numpy()
        owner = np.repeat(np.arange(len(lengths)), lengths)
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.exp(-np.bincount(owner, log_p) / lengths)
        for i, value in zip(batch.texts, values, strict=True):
            found[keys[i]] = float(value) if np.isfinite(value) else float("nan")
        done += len(batch.texts)
        if on_texts:
            on_texts(done)

    for_each_batch(plan_batches(encoded, packed=lm.packing, batch_tokens=batch_tokens), run)
    return np.array([found[_key(*pair)] for pair in zip(prompts, texts, strict=True)], dtype=np.float64)


class _Key(NamedTuple):
    """What decides a perplexity; `ids` are the tokens that a text was written in, where they are known."""

    prompt: str
    text: str
    ids: tuple[int, ...] | None


def _key(prompt: str, text: str) -> _Key:
    return _Key(prompt, str(text), text.ids if isinstance(text, Written) else None)


def _scored(lm: LoadedModel, keys: Sequence[_Key]) -> list[tuple[tuple[int, ...], list[int]]]:
    """Of each text with its prompt the tokens, and the places of those that are the text's own."""
    before = _encode(lm, [key.prompt for key in keys])
    found = []
    for key, prompt, joint in zip(keys, before, _encode(lm, [key.prompt + key.text for key in keys]), strict=True):
        ids, scored = joint.ids, [k for k, (a, _) in enumerate(joint.offsets) if k > 0 and a >= len(key.prompt)]
        if key.ids and prompt.ids and lm.text_after(prompt.ids, key.ids) == key.text:
            ids = (*prompt.ids, *key.ids)
            scored = list(range(len(prompt), len(ids))) if len(ids) <= lm.max_positions else []
        found.append((ids, scored))
    return found


def _encode(lm: LoadedModel, texts: Sequence[str]) -> list[Encoded]:
    """`lm.encode`; a text without tokens or beyond the model's positions becomes no tokens."""
    try:
        return lm.encode(texts)
    except InputError:
        if len(texts) == 1:
            return [Encoded((), (), 0)]
        middle = len(texts) // 2
        return _encode(lm, texts[:middle]) + _encode(lm, texts[middle:])


def bits_per_character(lm: LoadedModel, texts: Sequence[str]) -> float:
    """What a model is surprised by per character of texts, in bits; each text's first token is not counted.

    Raises:
        InputError: no text of two tokens or more.
    """
    encoded = [(one, len(text)) for one, text in zip(lm.encode(texts), texts, strict=True) if len(one) > 1]
    if not encoded:
        raise InputError("Texts of two tokens or more are needed.", found=len(encoded))
    bits = 0.0
    for batch in plan_batches([one.ids for one, _ in encoded], packed=lm.packing):
        states = final_states(lm, batch).flatten(0, 1)
        for i, ids in enumerate(batch.ids):  # a text at a time: vocabularies are large
            own = states[[batch.flat(i, k) for k in range(len(ids) - 1)]]
            with torch.no_grad():
                log_p = logits_of(lm, own).float().log_softmax(dim=-1)
            told = log_p.gather(1, torch.tensor(ids[1:], device=log_p.device)[:, None])
            bits -= float(told.double().sum()) / np.log(2)
    return bits / sum(length for _, length in encoded)
