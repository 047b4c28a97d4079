"""How float32 matrix products are computed on the CPU: a setting of the model, never the outcome of a stopwatch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from emotion_circuits.models import Float32Products, LoadedModel

_forced: ContextVar[Float32Products | None] = ContextVar("forced_precision", default=None)


@contextmanager
def matmul_precision(lm: LoadedModel, setting: Float32Products | None = None) -> Iterator[None]:
    """Apply a setting for the duration of the block; accelerators are left as they are.

    Args:
        lm: the model whose products they are.
        setting: holds for everything inside the block; None takes an enclosing block's, else the model's own.
    """
    if lm.device.type != "cpu":
        yield
        return
    chosen = setting or _forced.get() or lm.float32_products
    token = _forced.set(chosen)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(chosen)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        _forced.reset(token)
