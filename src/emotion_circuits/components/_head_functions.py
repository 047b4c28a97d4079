"""What the best heads of a model do, and how deep they stand: carry the outcome, read the word, write the direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from emotion_circuits.components._components import Ranking
from emotion_circuits.components._screen import Screen
from emotion_circuits.errors import InputError
from emotion_circuits.statistics import ALPHA, grouped_bootstrap, rows_table

if TYPE_CHECKING:
    import pandas as pd

BEST_HEADS = 8
NOTHING = "nothing beyond chance"
# function → statistic of the screen, and what is said of a positive and of a negative mean
_SAYS = {
    "carries": ("", "adds to the outcome", "works against the outcome"),
    "reads": ("attention", "reads the word", "looks away from the word"),
    "writes": ("direct effect", "writes the direction", "writes against the direction"),
}


class HeadFunction(NamedTuple):
    """One head of a model and what it does for one emotion. Chance is 0 for all three numbers.

    Attributes:
        model, emotion, layer, head: which.
        depth: the middle of its layer, as a share of all layers.
        carries, reads, writes: mean over pairs of its estimated effect (the outcome's unit), of its attention to the
            word, and of what it writes along the direction at the last token, emotion minus neutral; NaN where the
            screen has no such statistic.
        `*_low`, `*_high`: 95 % intervals over scenarios.
        p_carries, p_reads, p_writes: by sign flips over scenarios, max-T over all heads of the model.
        does: the functions beyond chance, in words.
        n_unique: scenarios.
    """

    model: str
    emotion: str
    layer: int
    head: int
    depth: float
    carries: float
    carries_low: float
    carries_high: float
    p_carries: float
    reads: float
    reads_low: float
    reads_high: float
    p_reads: float
    writes: float
    writes_low: float
    writes_high: float
    p_writes: float
    does: str
    n_unique: int


def head_functions(
    screen: Screen, n_best: int = BEST_HEADS, *, n_draws: int = 9999, n_bootstrap: int = 1000, seed: int = 0
) -> tuple[HeadFunction, ...]:
    """The best heads by their estimated effect, each with the functions whose max-T p is at most .05.

    Raises:
        InputError: a screen of units.
    """
    if screen.kind != "head":
        raise InputError("Functions are told of heads.", found=f"a screen of {screen.kind}s")
    layers, count = screen.estimate.shape[1:]
    best = Ranking.of_map("estimate", "head", screen.estimate.mean(axis=0)).top(n_best)
    absent = dict.fromkeys(("", "_low", "_high"), float("nan"))
    values: dict[str, list[dict[str, float]]] = {}
    for name, (statistic, *_) in _SAYS.items():
        if statistic and statistic not in screen.maps:
            values[name] = [{**absent, "p": float("nan")}] * len(best)
            continue
        paired = screen.maps[statistic] if statistic else screen.estimate
        p = screen.test(statistic, n_draws=n_draws, seed=seed).p_max_t.reshape(layers, count)
        values[name] = []
        for c in best:
            own = grouped_bootstrap(paired[:, c.layer, c.number], n_draws=n_bootstrap, seed=seed)
            ci = own.interval
            found = {"": own.value, "_low": ci.low, "_high": ci.high, "p": float(p[c.layer, c.number])}
            values[name].append(found)
    rows = []
    for i, c in enumerate(best):
        numbers: dict[str, float] = {}
        does = []
        for name, (_, positive, negative) in _SAYS.items():
            own_values = values[name][i]
            numbers |= {f"{name}{end}": own_values[end] for end in absent} | {f"p_{name}": own_values["p"]}
            if own_values["p"] <= ALPHA:
                does.append(positive if own_values[""] > 0 else negative)
        rows.append(
            HeadFunction(
                model=screen.model, emotion=screen.pairs.emotion, layer=c.layer, head=c.number,
                depth=(c.layer + 0.5) / layers, does=", ".join(does) or NOTHING, n_unique=len(screen.pairs), **numbers,
            )
        )  # fmt: skip
    return tuple(rows)


def head_functions_table(rows: Sequence[HeadFunction]) -> pd.DataFrame:
    """The rows as a data frame, in the order given."""
    frame = rows_table(HeadFunction, rows)
    return frame.astype({name: np.float64 for name in frame.columns if name.startswith(("carries", "reads", "writes"))})
