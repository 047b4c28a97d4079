"""Results in terms of JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any


def to_plain(value: Any) -> Any:
    """The value in terms of JSON.

    Raises:
        TypeError: there is no obvious way to write it.
    """
    if value is None or (isinstance(value, bool | int | str) and not isinstance(value, Enum)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Enum):
        return to_plain(value.value)
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # What a value's repr leaves out is no part of a result.
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.repr}
    if hasattr(value, "model_dump"):
        return to_plain(value.model_dump())
    if hasattr(value, "_asdict"):
        return to_plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if is_frame(value):
        return to_plain(value.to_dict(orient="records"))
    if hasattr(value, "tolist"):  # arrays, tensors and their scalars
        return to_plain(value.tolist())
    if isinstance(value, set | frozenset):
        return to_plain(sorted(value))
    if isinstance(value, Iterable):
        return [to_plain(item) for item in value]
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


def is_frame(value: Any) -> bool:
    """Whether it is a data frame, without importing pandas."""
    return hasattr(value, "to_dict") and hasattr(value, "columns")
