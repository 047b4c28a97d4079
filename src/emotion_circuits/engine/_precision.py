"""How float32 matrix products are computed on the CPU.

`torch.set_float32_matmul_precision("medium")` lets oneDNN compute float32 products in place of the default library. On
some processors that is much faster and still a full float32 product; on others it is slower, or rounds to bfloat16.
A probe decides: it is used where it is faster by a clear margin and as exact. What was found is kept per processor
and torch version, so that a study's arithmetic does not change with how busy the machine was at the start.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import torch

MAX_ERROR = 1e-6
MIN_SPEEDUP = 1.08

Precision = Literal["highest", "medium"]


class PrecisionProbe(NamedTuple):
    """What the probe measured. Rates are in GFLOP/s; errors are relative to the largest entry of a float64 product."""

    chosen: Precision
    rate_highest: float
    rate_medium: float
    error_highest: float
    error_medium: float


def measure_precision(repeats: int = 9) -> PrecisionProbe:
    """Time and check both settings on a product of a small model's size, interleaved; restores the setting found."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(768, 768, generator=generator)
    b = torch.randn(768, 3072, generator=generator)
    exact = a.double() @ b.double()
    before = torch.get_float32_matmul_precision()
    best = {"highest": float("inf"), "medium": float("inf")}
    error = dict.fromkeys(best, 0.0)
    try:
        for _ in range(repeats):
            for setting in best:
                torch.set_float32_matmul_precision(setting)
                start = time.perf_counter()
                product = a @ b
                best[setting] = min(best[setting], time.perf_counter() - start)
                error[setting] = float((product.double() - exact).abs().max() / exact.abs().max())
    finally:
        torch.set_float32_matmul_precision(before)
    rate = {setting: 2 * a.numel() * b.shape[1] / seconds / 1e9 for setting, seconds in best.items()}
    pays = rate["medium"] > MIN_SPEEDUP * rate["highest"] and error["medium"] <= MAX_ERROR
    chosen: Precision = "medium" if pays else "highest"
    return PrecisionProbe(chosen, rate["highest"], rate["medium"], error["highest"], error["medium"])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return "".join(sorted({line for line in lines if line.startswith(("model name", "flags"))}))
    except OSError:
        return platform.processor() + platform.machine()


def _cache_file() -> Path:
    root = Path(os.environ.get("EMOTION_CIRCUITS_CACHE", Path.home() / ".cache" / "emotion-circuits"))
    identity = f"{_processor()} torch {torch.__version__} threads {torch.get_num_threads()}"
    return root / f"precision-{hashlib.sha256(identity.encode()).hexdigest()[:12]}.json"


@cache
def probe_precision() -> PrecisionProbe:
    """The probe's result for this processor, measured once and then kept in the user's cache folder."""
    path = _cache_file()
    try:
        kept = PrecisionProbe(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        kept = None
    if kept and kept.chosen in get_args(Precision):
        return kept
    probe = measure_precision()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(probe._asdict()))
        part.replace(path)
    except OSError:
        pass  # an unwritable home only means that the probe runs again next time
    return probe


_forced: ContextVar[Precision | None] = ContextVar("forced_precision", default=None)


@contextmanager
def matmul_precision(device: torch.device, setting: Precision | None = None) -> Iterator[None]:
    """Apply a setting for the duration of the block; accelerators are left as they are.

    Args:
        device: where the products run.
        setting: holds for everything inside the block; None takes an enclosing block's, else the probed one.
    """
    if device.type != "cpu":
        yield
        return
    chosen = setting or _forced.get() or probe_precision().chosen
    token = _forced.set(chosen)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(chosen)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        _forced.reset(token)
