"""What every attention head writes along an emotion's direction in a text, and where a head looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from emotion_circuits import prompts
from emotion_circuits.app._bench import Workbench
from emotion_circuits.app._reading import Reading
from emotion_circuits.directions import DirectionSet
from emotion_circuits.engine import (
    Point,
    attention_of,
    plan_batches,
    record_tokens,
    write_scale,
    write_weight,
)

GENERIC_TEXTS = 32
FloatArray = NDArray[np.float64]


class HeadMap(NamedTuple):
    """What heads write in a text, in spreads, mean over its tokens but the first.

    Attributes:
        values: (layers, heads), up to the reading's layer.
        low, high: of the same shape: where 95 % of generic texts lie.
    """

    values: FloatArray
    low: FloatArray
    high: FloatArray


def head_map(bench: Workbench, directions: DirectionSet, reading: Reading) -> HeadMap:
    """Every head before the direction's layer, on a text that was read and on generic texts."""
    vector = directions.vectors[reading.kind][reading.emotion][reading.layer + 1].astype(np.float64)
    along = vector / np.linalg.norm(vector) / float(directions.generic.unit[reading.layer + 1])
    texts = [reading.text, *(t.text for t in prompts.generic_sample(GENERIC_TEXTS))]
    with bench.lock:
        found = _written(bench, texts, along, range(reading.layer + 1))
    low, high = np.quantile(found[1:], [0.025, 0.975], axis=0)
    return HeadMap(found[0], low, high)


def _written(bench: Workbench, texts: Sequence[str], along: FloatArray, layers: range) -> FloatArray:
    """(texts, layers, heads) ⟨W_O z_h, along⟩."""
    lm = bench.lm
    v = torch.from_numpy(along).to(device=lm.device, dtype=lm.dtype)
    reads = [write_weight(lm, "z", layer).T @ v for layer in layers]
    found = np.zeros((len(texts), len(layers), lm.n_heads))
    if not layers:
        return found
    for batch in plan_batches([e.ids for e in lm.encode(texts)], packed=False):
        seen = record_tokens(lm, batch, [Point("z", layer) for layer in layers])
        for place, text in enumerate(batch.texts):
            first, length = batch.flat(place, 0), len(batch.ids[place])
            for layer, read in zip(layers, reads, strict=True):
                values = seen[Point("z", layer)].flatten(0, 1)[first + min(1, length - 1) : first + length]
                values = values * write_scale(lm, "z", layer, values) * read
                found[text, layer] = values.mean(dim=0).reshape(lm.n_heads, -1).sum(dim=-1).double().cpu().numpy()
    return found


def attention(bench: Workbench, text: str, layer: int, head: int) -> FloatArray:
    """(2, tokens): what each token gets of a head's attention from those after it, on average, and what it would get of
    attention that is spread evenly: its chance level. NaN for the last token, which none comes after."""
    [encoded] = bench.lm.encode([text])
    [batch] = plan_batches([encoded.ids], packed=False)
    with bench.lock:
        weights = attention_of(bench.lm, batch)[layer].weights[0, head].double().cpu().numpy()
    n = len(weights)
    later = np.tril(np.ones((n, n)), -1)
    even = later / np.arange(1, n + 1)[:, None]
    counts = np.maximum(later.sum(axis=0), 1)
    found: FloatArray = np.stack([(weights * later).sum(axis=0), even.sum(axis=0)]) / counts
    found[:, -1] = np.nan
    return found
