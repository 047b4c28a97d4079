"""Tables as the report reads them: models under the names that claims give them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from emotion_circuits import _files
from emotion_circuits.models import model_label

if TYPE_CHECKING:
    import pandas as pd


def read_table(path: Path) -> pd.DataFrame:
    """As `_files.read_table`, with labels in the columns that name models."""
    frame = _files.read_table(path)
    for column in frame.columns.intersection(["model", "model_a", "model_b"]):
        frame[column] = frame[column].map({name: model_label(name) for name in frame[column].unique()})
    return frame
