"""Texts that repeat one another."""

from __future__ import annotations

from collections import defaultdict
from typing import Final, NamedTuple

from emotion_circuits.prompts._schema import Dataset

NEAR: Final = 0.8


class Pair(NamedTuple):
    """Two texts of a data set, by index, and how alike they are (1 = the same but for case and spaces)."""

    first: int
    second: int
    similarity: float


def exact_duplicates(dataset: Dataset) -> tuple[Pair, ...]:
    """Texts that are equal but for case and spaces, each paired with the first of its kind."""
    seen: defaultdict[str, list[int]] = defaultdict(list)
    for index, text in enumerate(dataset):
        seen[plain_form(text.text)].append(index)
    return tuple(Pair(first, later, 1.0) for first, *others in seen.values() for later in others)


def near_duplicates(dataset: Dataset, threshold: float = NEAR) -> tuple[Pair, ...]:
    """Pairs of different texts *of different scenarios* whose sets of character 5-grams have a Jaccard index of at
    least `threshold`. Within a scenario texts are variants of one another by intention."""
    import numpy as np
    from sklearn.feature_extraction.text import CountVectorizer

    texts = [plain_form(text.text) for text in dataset]
    if not any(len(text) >= 5 for text in texts):
        return ()
    grams = CountVectorizer(analyzer="char", ngram_range=(5, 5), binary=True, lowercase=False).fit_transform(texts)
    shared = (grams @ grams.T).tocoo()
    sizes = np.asarray(grams.sum(axis=1)).ravel()
    jaccard = shared.data / (sizes[shared.row] + sizes[shared.col] - shared.data)
    rows = zip(shared.row.tolist(), shared.col.tolist(), jaccard.tolist(), strict=True)
    return tuple(
        Pair(a, b, similarity)
        for a, b, similarity in sorted(rows)
        if a < b
        and similarity >= threshold
        and texts[a] != texts[b]
        and dataset.texts[a].scenario != dataset.texts[b].scenario
    )


def plain_form(text: str) -> str:
    """A text without what does not tell it from another: case, and how its words are spaced."""
    return " ".join(text.lower().split())
