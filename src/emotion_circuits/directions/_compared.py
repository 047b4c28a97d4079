"""Which texts an emotion's are told from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.prompts import Dataset


class Compared(NamedTuple):
    """Texts that take part in telling an emotion from the rest.

    Attributes:
        kept: (texts,) who takes part.
        positive: (kept texts,) whether a text is the emotion's.
        groups: (kept texts,) its scenario; None where every text stands alone.
    """

    kept: NDArray[np.bool_]
    positive: NDArray[np.bool_]
    groups: NDArray[np.str_] | None


def compared(data: Dataset, emotion: str) -> Compared:
    """An emotion's texts and the others of their scenarios, if each has one there; else all texts, each on its own.

    Bundled scenarios have a text of every class. Those of a user's own emotion have its neutral twin: against texts of
    other scenarios it would be told by its subjects.
    """
    scenarios = np.array([t.scenario for t in data], dtype=np.str_)
    labels = np.array([t.emotion for t in data], dtype=np.str_)
    positive = labels == emotion
    beside = set(scenarios[~positive])
    if positive.any() and all(scenario in beside for scenario in scenarios[positive]):
        kept = np.isin(scenarios, scenarios[positive])
        return Compared(kept, positive[kept], scenarios[kept])
    return Compared(np.ones(len(labels), dtype=np.bool_), positive, None)
