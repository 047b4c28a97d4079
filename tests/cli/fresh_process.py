"""For tests that need a process of their own."""

from __future__ import annotations

import os
from pathlib import Path

import emotion_circuits

SOURCE = Path(emotion_circuits.__file__).parents[1]


def environment() -> dict[str, str]:
    """This process's environment with this package importable, and with output buffered as it is by default."""
    return {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": ""}
