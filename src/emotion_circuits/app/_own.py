"""An emotion of one's own from pasted pairs, and whether it beats what is simpler."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from emotion_circuits import prompts
from emotion_circuits.app._bench import POSITION, Workbench
from emotion_circuits.directions import (
    DirectionSet,
    bag_of_words_scores,
    extract,
    fit_directions,
    fit_with_layers,
    gain_over_floors,
    judged_scores,
    project,
)
from emotion_circuits.errors import InputError
from emotion_circuits.prompts import Dataset, EmotionClass
from emotion_circuits.statistics import AurocResult, Rival

MIN_PAIRS = 20
EXAMPLE = "I was overjoyed when the parcel came. | I was upstairs when the parcel came."


class OwnEmotion(NamedTuple):
    """A user's emotion in one model.

    Attributes:
        name, n_pairs: what was pasted.
        directions: all emotions' and its own, `specific`.
        layer: chosen on the development pairs, two of every five.
        quality: AUROC on the other pairs, of a direction from these, beside labels permuted within pairs.
        floors: what simpler things reach on the same pairs, and what the direction gains over them.
    """

    name: str
    n_pairs: int
    directions: DirectionSet
    layer: int
    quality: AurocResult
    floors: tuple[Rival, ...]


def parse_pairs(pasted: str) -> list[list[str]]:
    """Lines of `text | neutral twin` (or a tab between them).

    Raises:
        InputError: naming the line that is no pair; too few.
    """
    pairs = []
    for number, line in enumerate(pasted.splitlines(), 1):
        if not line.strip():
            continue
        parts = [part.strip() for part in (line.split("\t") if "\t" in line else line.split("|"))]
        if len(parts) != 2 or not all(parts):
            raise InputError(f"Line {number} is no pair.", found=line[:80], accepted=EXAMPLE)
        pairs.append(parts)
    if len(pairs) < MIN_PAIRS:
        raise InputError("A direction needs more pairs.", found=len(pairs), accepted=f"{MIN_PAIRS} or more")
    return pairs


def class_of(name: str, pasted: str) -> EmotionClass:
    """The emotion as the bank reads one from a file.

    Raises:
        InputError: a name that tables cannot have or that is taken, or lines that are no pairs.
    """
    named, pairs = name.strip().lower().replace(" ", "_"), parse_pairs(pasted)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pasted.yaml"
        path.write_text(yaml.safe_dump({"name": named, "pairs": pairs}, allow_unicode=True), encoding="utf-8")
        try:
            return prompts.bank([*prompts.bank().emotions, path])[named]
        except InputError as error:
            raise InputError(str(error).replace(f"{path}", "What was pasted").splitlines()[0],
                             accepted="a name of small letters that no bundled emotion has") from error  # fmt: skip


def fit_own(bench: Workbench, name: str, pasted: str) -> OwnEmotion:
    """Directions of a pasted emotion beside the bank's, judged on pairs that they have not seen.

    Raises:
        InputError: as from `class_of`; texts that the model cannot take.
    """
    own = class_of(name, pasted)
    if own.name in bench.bank.emotions:
        raise InputError("The bank has an emotion of this name.", found=own.name, next_step="give it another name")
    data = Dataset("pasted", own.explicit)
    with bench.lock:
        recorded = extract(bench.lm, data, positions=[POSITION])
    generic, cleaned = bench.directions.generic, bench.directions.cleaned
    together = bench.explicit.with_texts(recorded)
    fitted = fit_with_layers(together, POSITION, generic, kinds=("specific",))
    layer = fitted.layer_of(own.name, None)
    # Judged by a direction that has not seen the test pairs.
    learnt, test = recorded.select(split="development").data, recorded.select(split="test")
    unseen = set(test.scenarios)
    seen = together.only([t.scenario not in unseen for t in together.data])
    half = fit_directions(seen, POSITION, generic, ("specific",), cleaned)
    scores = project(test, half, own.name, "specific", layer + 1)
    floors = {
        "bag of words": [bag_of_words_scores(learnt, test.data, own.name)],
        "embedding layer": [_embedding(test.at(POSITION)[0], half, own.name)],
    }
    directions = replace(
        bench.directions,
        vectors={"specific": {**bench.directions.vectors["specific"], own.name: fitted.vectors["specific"][own.name]}},
        chosen_layer={**bench.directions.chosen_layer, own.name: layer},
        detectors={}, ordinary={},
    )  # fmt: skip
    return OwnEmotion(
        own.name, len(own.explicit) // 2, directions, layer, judged_scores(scores, test.data, own.name),
        tuple(gain_over_floors(scores, test.data, own.name, floors)),
    )  # fmt: skip


def _embedding(values: np.ndarray, directions: DirectionSet, emotion: str) -> np.ndarray:
    """Scores along the direction of the embedding layer, which knows words and nothing else."""
    scores: np.ndarray = values.astype(np.float64) @ directions.vectors["specific"][emotion][0].astype(np.float64)
    return scores
