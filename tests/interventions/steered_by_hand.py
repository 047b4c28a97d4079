"""Steering one text at a time: whole forward passes with a plain PyTorch hook, no batches, no replay."""

from __future__ import annotations

import numpy as np
import torch

from emotion_circuits.models import LoadedModel
from emotion_circuits.prompts import bank

CLASSES = bank().names


def log_p(lm: LoadedModel, text: str, layer: int, vector: np.ndarray | None) -> np.ndarray:
    """(tokens, vocabulary) log probabilities in float64 with `vector` added after a block, but not to token 0."""

    def add(_module, _inputs, output):
        tensor = output[0] if isinstance(output, tuple) else output
        tensor[:, 1:] += torch.from_numpy(vector).float()

    handle = None if vector is None else lm.blocks[layer].register_forward_hook(add)
    try:
        with torch.no_grad():
            logits = lm.hf(torch.tensor([lm.encode([text])[0].ids]), use_cache=False).logits[0]
    finally:
        if handle is not None:
            handle.remove()
    return logits.double().log_softmax(-1).numpy()


def word_odds(lm, context, slot, layer, vector):
    """(classes,) log-odds of each class's words after a context."""
    p = np.exp(log_p(lm, context.text, layer, vector)[-1])
    of_class = np.array([p[list(slot.tokens[c])].sum() for c in CLASSES])
    return np.log(of_class) - np.log(of_class.sum() - of_class)


def continuation_mean(lm, context, continuation, layer, vector):
    """Mean log probability of the continuation's tokens that touch no masked character."""
    text, start = context.text + continuation.text, len(context.text)
    encoded = lm.encode([text])[0]
    values = log_p(lm, text, layer, vector)
    hidden = {start + k for a, b in continuation.masked for k in range(a, b)}
    kept = [
        k
        for k, (a, b) in enumerate(encoded.offsets)
        if k > 0 and a >= start and b > a and not hidden & set(range(a, b))
    ]
    return np.mean([values[k - 1, encoded.ids[k]] for k in kept])
