"""What all benchmarks share: the model's shape, the limit, the table, the file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from emotion_circuits.models import LoadedModel, ModelName, family_of

RESULTS = Path(__file__).parent / "results" / "latest.json"


class Row(NamedTuple):
    """One arm of one task. `share_of_limit` is against the matrix-product rate measured in the same run."""

    task: str
    arm: str
    device: str
    precision: str
    median_s: float
    q1_s: float
    q3_s: float
    speedup_of_ours: float
    share_of_limit: float | None
    max_rel_error: float | None


def gpt2_small(device: str = "cpu", seed: int = 0) -> LoadedModel:
    """GPT-2 small's shape with random weights; its tokenizer is not needed, token ids are given."""
    config = GPT2Config(bos_token_id=0, eos_token_id=0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        hf = GPT2LMHeadModel(config).to(device).eval().requires_grad_(False)
    return LoadedModel(
        name=ModelName.parse("gpt2?init=random&seed=0"),
        revision="random",
        family=family_of(config),
        hf=hf,
        tokenizer=PreTrainedTokenizerFast.__new__(PreTrainedTokenizerFast),
        bos=False,
        device=torch.device(device),
        dtype=torch.float32,
        packing=True,
    )


def clock(function: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and result."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def fastest_rate(lm: LoadedModel, rows: int) -> float:
    """FLOP/s of one block's four products in the model's own shapes, best of three, under the current setting."""
    weights = [p for _, p in lm.blocks[0].named_parameters() if p.ndim == 2]
    inputs = [torch.randn(rows, w.shape[0], device=lm.device) for w in weights]
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        for x, w in zip(inputs, weights, strict=True):
            x @ w
        if lm.device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * rows * sum(w.numel() for w in weights) / best


def summarise(
    task: str,
    seconds: Mapping[str, Sequence[float]],
    results: Mapping[str, torch.Tensor] | None,
    products: float | None,
    rates: Sequence[float],
    precision: str,
    device: str,
) -> list[Row]:
    """One row per arm; errors are relative to the largest entry of the first other arm's result."""
    ours = float(np.median(seconds["ours"]))
    reference = next(iter(v for k, v in results.items() if k != "ours")) if results else None
    table = []
    for arm, times in seconds.items():
        q1, median, q3 = np.percentile(times, [25, 50, 75])
        error = None
        if results and reference is not None and arm in results:
            # The last layer is left out: transformers' hidden_states[-1] is after the final norm, ours before it.
            a, b = results[arm][:-1], reference[:-1]
            error = float((a - b).abs().max() / b.abs().max())
        share = products / median / float(np.median(rates)) if products and rates else None
        table.append(Row(task, arm, device, precision, median, q1, q3, median / ours, share, error))
    return table


def print_rows(rows: Sequence[Row]) -> None:
    """The table on the screen."""
    table = Table("task", "arm", "products", "median s", "quartiles", "ours is faster", "of the limit", "error")
    for r in rows:
        table.add_row(
            r.task,
            r.arm,
            r.precision,
            f"{r.median_s:.3f}",
            f"{r.q1_s:.3f}–{r.q3_s:.3f}",
            f"{r.speedup_of_ours:.2f}×",
            "" if r.share_of_limit is None else f"{r.share_of_limit:.0%}",
            "" if r.max_rel_error is None else f"{r.max_rel_error:.1e}",
        )
    Console(width=140).print(table)


def write_rows(rows: Sequence[Row]) -> None:
    """benchmarks/results/latest.json; rows of tasks that were not run this time are kept."""
    tasks = {r.task for r in rows}
    kept = [r for r in json.loads(RESULTS.read_text()) if r["task"] not in tasks] if RESULTS.exists() else []
    RESULTS.parent.mkdir(exist_ok=True)
    fields = [{k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in r._asdict().items()} for r in rows]
    RESULTS.write_text(json.dumps(kept + fields, indent=1) + "\n")
