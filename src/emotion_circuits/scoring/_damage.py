"""What steering breaks in text: repetition, variety, perplexity; and a concept score weighed against it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from emotion_circuits.errors import InputError

Regime = Literal["clean-like", "steered", "collapsed", "empty", "unknown"]

CLEAN_LIKE_RATIO: Final = 1.1
COLLAPSE_RATIO: Final = 3.0
REPETITION_EXCESS: Final = 0.3
EMPTY_SHARE: Final = 0.5

_TOKEN: Final = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")


def words_of(text: str) -> list[str]:
    """Words and punctuation marks, in lower case: what n-grams are made of."""
    return [token.lower() for token in _TOKEN.findall(text)]


def _ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    if n < 1:
        raise InputError("An n-gram has one word or more.", found=n)
    words = words_of(text)
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def repetition(text: str, n: int = 3) -> float:
    """Share of a text's n-grams that occurred in it before: 0 none, near 1 for one phrase over and over.

    NaN where the text has fewer than two n-grams: it could not have repeated one.
    """
    grams = _ngrams(text, n)
    return 1 - len(set(grams)) / len(grams) if len(grams) > 1 else float("nan")


def distinct(texts: Sequence[str], n: int) -> float:
    """distinct-n over texts: different n-grams over all n-grams (Li et al. 2016); NaN where there are none.

    It falls with the number of words, so compare only arms of about the same length.
    """
    grams = [gram for text in texts for gram in _ngrams(text, n)]
    return len(set(grams)) / len(grams) if grams else float("nan")


def regime(
    perplexity_ratio: float,
    repetition_share: float = float("nan"),
    clean_repetition: float = float("nan"),
    empty_share: float = 0.0,
) -> Regime:
    """What steering made of text, from its perplexity under the clean model, over that of clean text.

    * `empty`: at least half of the texts are empty.
    * `collapsed`: the ratio is above 3; or the text repeats itself, its repetition at least .3 above clean text's.
      A loop is easy to predict, so its ratio may lie anywhere below 3, also far below 1.
    * `clean-like`: else, the ratio is between 1/1.1 and 1.1.
    * `steered`: otherwise. A ratio below 1/1.1 without much repetition is steered too: more predictable text.
    * `unknown`: the ratio is not finite, and the text does not repeat itself that much.

    The bounds are declared, not fitted. (For claims the limit is 1.5, on the model's perplexity of neutral
    utterances, which is another quantity.)

    Args:
        perplexity_ratio: steered over clean, geometric mean over prompts.
        repetition_share, clean_repetition: mean of `repetition`; where the latter is not known, 0 stands for it.
        empty_share: of the texts.
    """
    if empty_share >= EMPTY_SHARE:
        return "empty"
    usual = clean_repetition if np.isfinite(clean_repetition) else 0.0
    if perplexity_ratio > COLLAPSE_RATIO or repetition_share - usual >= REPETITION_EXCESS:
        return "collapsed"
    if not np.isfinite(perplexity_ratio):
        return "unknown"
    return "clean-like" if 1 / CLEAN_LIKE_RATIO <= perplexity_ratio <= CLEAN_LIKE_RATIO else "steered"


def fluency(
    perplexity: npt.ArrayLike,
    clean_perplexity: npt.ArrayLike,
    repetition_share: npt.ArrayLike = 0.0,
    clean_repetition: npt.ArrayLike = 0.0,
) -> NDArray[np.float64]:
    """Fluency from 0 to 1, element by element: min(1, clean perplexity / perplexity), times one minus the repetition
    beyond clean text's.

    NaN where a perplexity is; a repetition that is NaN counts as none.
    """
    own, clean = np.asarray(perplexity, dtype=np.float64), np.asarray(clean_perplexity, dtype=np.float64)
    excess = np.nan_to_num(np.asarray(repetition_share, dtype=np.float64)) - np.nan_to_num(
        np.asarray(clean_repetition, dtype=np.float64)
    )
    found: NDArray[np.float64] = np.minimum(1.0, clean / own) * (1 - np.clip(excess, 0, 1))
    return found


def harmonic_score(concept: npt.ArrayLike, fluent: npt.ArrayLike) -> NDArray[np.float64]:
    """Harmonic mean of concept and fluency, 0 if either is 0 (after AxBench, Wu et al. 2025); NaN if either is.

    Args:
        concept, fluent: from 0 to 1, element by element.

    Raises:
        InputError: a value outside 0 to 1.
    """
    pair = np.broadcast_arrays(np.asarray(concept, dtype=np.float64), np.asarray(fluent, dtype=np.float64))
    for values in pair:
        outside = values[(values < 0) | (values > 1)]
        if outside.size:
            raise InputError("A harmonic score takes values from 0 to 1.", found=float(outside[0]))
    a, b = pair
    total = a + b
    found: NDArray[np.float64] = np.divide(2 * a * b, total, out=np.asarray(total * 0.0), where=total != 0)
    return found


def wrong_way_share(differences: npt.ArrayLike, sign: int = 1) -> float:
    """Share of prompts whose score moved against what was asked for; unmoved prompts did not.

    Args:
        differences: (prompts,) steered minus clean, paired; NaN takes no part.
        sign: 1 where the score should rise, −1 where it should fall.
    """
    moved = np.asarray(differences, dtype=np.float64) * sign
    known = moved[np.isfinite(moved)]
    return float((known < 0).mean()) if len(known) else float("nan")
