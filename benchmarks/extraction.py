"""Extraction of all layers at sentence end from 280 texts on GPT-2 small's shape, beside the ways people do it by hand.

Random weights serve: speed does not depend on them, and so nothing need be downloaded. The arms are interleaved, so a
slow moment of the machine meets all of them alike; the limit is the rate of the model's own matrix products, measured
in the same run.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence

import torch
from _common import Row, fastest_rate, gpt2_small, print_rows, summarise, write_rows

from emotion_circuits.engine import Point, matmul_precision, record
from emotion_circuits.models import LoadedModel

TEXTS = 280
POSITION = "sentence_end"


def lengths_and_ids(vocabulary: int, seed: int = 0) -> list[tuple[int, ...]]:
    """280 texts of 8 to 24 tokens."""
    rng = random.Random(seed)
    return [tuple(rng.randrange(vocabulary) for _ in range(rng.randint(8, 24))) for _ in range(TEXTS)]


def loop_over_texts(lm: LoadedModel, ids: list[tuple[int, ...]]) -> torch.Tensor:
    """One text at a time through the causal LM with `output_hidden_states`; (layers, texts, d)."""
    rows = []
    with torch.inference_mode():
        for tokens in ids:
            states = lm.hf(torch.tensor([tokens]), output_hidden_states=True).hidden_states
            rows.append(torch.stack([layer[0, -1] for layer in states]))
    return torch.stack(rows, dim=1)


def padded_batches(lm: LoadedModel, ids: list[tuple[int, ...]], size: int = 32) -> torch.Tensor:
    """Batches of 32 in the given order, right-padded, with `output_hidden_states`."""
    parts = []
    with torch.inference_mode():
        for first in range(0, len(ids), size):
            chunk = ids[first : first + size]
            longest = max(map(len, chunk))
            tokens = torch.tensor([[*t, *[0] * (longest - len(t))] for t in chunk])
            mask = torch.tensor([[1] * len(t) + [0] * (longest - len(t)) for t in chunk])
            states = lm.hf(tokens, attention_mask=mask, output_hidden_states=True).hidden_states
            last = torch.tensor([len(t) - 1 for t in chunk])
            parts.append(torch.stack([layer[torch.arange(len(chunk)), last] for layer in states]))
    return torch.cat(parts, dim=1)


def ours(lm: LoadedModel, ids: list[tuple[int, ...]]) -> torch.Tensor:
    """The engine: packed rows, no LM head, positions gathered at each layer."""
    points = [Point("embed", 0), *(Point("resid_post", layer) for layer in range(lm.n_layers))]
    recording = record(lm, ids, {POSITION: [[len(t) - 1] for t in ids]}, points)
    return torch.stack([recording.at(POSITION, p) for p in points])


def run(
    repeats: int = 7, settings: Sequence[str] = ("highest", "medium"), device: str = "cpu", threads: int = 2
) -> list[Row]:
    """Medians over interleaved runs, in both settings of torch's float32 products."""
    torch.set_num_threads(threads)
    lm = gpt2_small(device)
    ids = lengths_and_ids(lm.vocab_size)
    arms: dict[str, Callable[[LoadedModel, list[tuple[int, ...]]], torch.Tensor]] = {
        "ours": ours,
        "huggingface loop over texts": loop_over_texts,
        "huggingface batches of 32, padded": padded_batches,
    }
    rows = []
    for setting in settings:
        with matmul_precision(lm, setting):  # type: ignore[arg-type]
            seconds: dict[str, list[float]] = {name: [] for name in arms}
            rates: list[float] = []
            results = {name: arm(lm, ids) for name, arm in arms.items()}
            for _ in range(repeats):
                rates.append(fastest_rate(lm, rows=2048))
                for name, arm in arms.items():
                    start = time.perf_counter()
                    arm(lm, ids)
                    seconds[name].append(time.perf_counter() - start)
            products = 2 * sum(map(len, ids)) * sum(p.numel() for n, p in lm.blocks.named_parameters() if p.ndim == 2)
            rows += summarise("extraction, 280 texts", seconds, results, products, rates, setting, device)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--settings", nargs="+", default=("highest", "medium"), choices=("highest", "medium"))
    arguments = parser.parse_args()
    table = run(arguments.repeats, arguments.settings)
    print_rows(table)
    write_rows(table)
