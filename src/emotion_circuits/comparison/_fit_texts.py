"""The texts that maps between models are fitted on, and their activations; emotion data sets hold none of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.directions import Activations, extract
from emotion_circuits.engine import DEFAULT_BATCH_TOKENS
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.prompts import NEUTRAL, Bank, Dataset, Text, generic

FitSet = Literal["neutral", "generic", "generic+target"]
FIT_SETS: Final[tuple[FitSet, ...]] = ("neutral", "generic", "generic+target")
N_FIT_TEXTS = 1000
FEWEST = 10
FIT_POSITION = "mean"


def fit_texts(bank: Bank, name: str = "neutral", n: int = N_FIT_TEXTS, seed: int = 0) -> Dataset:
    """Texts to fit maps on, their kind kept in the scenario's name (`joy-17`).

    `neutral` holds texts that were asked for as neutral and contain no word that names an emotion; `generic` all kinds
    but the bank's emotions; `generic+target` all kinds, for comparison only: a map that has seen the emotions is no
    evidence. All are SmolLM2's output, and the reference models' training data.

    Raises:
        InputError: no such set, or fewer texts than `n`.
    """
    if name == "neutral":
        texts = bank.generic((NEUTRAL,), n, seed, without_emotion_words=True)
    elif name in FIT_SETS:
        kinds = dict.fromkeys(t.kind for t in generic())
        wanted = [k for k in kinds if name == "generic+target" or k not in bank.emotions]
        texts = bank.generic(wanted, n, seed, without_emotion_words=name == "generic")
    else:
        raise InputError("There are no such texts to fit maps on.", found=name, accepted=", ".join(FIT_SETS))
    rows = tuple(Text(t.text, NEUTRAL, f"{t.kind}-{i}", "development") for i, t in enumerate(texts))
    return Dataset(f"fit-{name}", rows)


def own_fit_texts(texts: Sequence[str]) -> Dataset:
    """A user's texts to fit maps on, the set `own`.

    Raises:
        InputError: fewer than ten.
    """
    if len(texts) < FEWEST:
        raise InputError("These are too few texts to fit a map on.", found=len(texts), accepted=f"{FEWEST} or more")
    return Dataset("fit-own", tuple(Text(t, NEUTRAL, f"own-{i}", "development") for i, t in enumerate(texts)))


def fit_kinds(fit: Activations) -> NDArray[np.str_]:
    """(n,) kind of each fit text, for shuffling pairs within kinds."""
    return np.array([t.scenario.rpartition("-")[0] for t in fit.data])


def record_fit_texts(
    lm: LoadedModel,
    fit: Dataset,
    *,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    on_batch: Callable[[int], None] | None = None,
) -> Activations:
    """Activations of texts to fit on at position `mean`, every layer."""
    return extract(lm, fit, positions=(FIT_POSITION,), batch_tokens=batch_tokens, on_batch=on_batch)
