"""Does it matter what activations are cleaned of? The same quality after every cleaning."""

from __future__ import annotations

from collections.abc import Sequence

from emotion_circuits.directions._activations import Activations
from emotion_circuits.directions._cleaning import CLEANINGS, Cleaning, cleaning_words
from emotion_circuits.directions._fit import stability_rows
from emotion_circuits.directions._generic import GenericStatistics
from emotion_circuits.directions._positions import check_position
from emotion_circuits.directions._quality import IMPLICIT, choose_layers, detection_row
from emotion_circuits.directions._sets import fit_directions
from emotion_circuits.errors import InputError
from emotion_circuits.statistics import Measure


def cleaning_rows(
    explicit: Activations,
    implicit: Activations,
    position: str,
    generic: GenericStatistics,
    cleanings: Sequence[Cleaning] = CLEANINGS,
    seed: int = 0,
) -> list[Measure]:
    """How specific directions do after each cleaning, at the layer that their own development texts choose.

    Per cleaning and emotion: AUROC on implicit test texts, norm and split-half cosine; `kind` names the cleaning.

    Args:
        explicit: what directions are made from.
        implicit: development texts choose the layer, test texts give the AUROC.
        position: where texts are read.
        generic: of the same model.
        cleanings: shares of variance and rescalings.
        seed: of bootstrap and permutations.

    Raises:
        InputError: a position that implicit texts lack, or no implicit test texts.
    """
    name = check_position(position)
    if name == "emotion_token":
        raise InputError(
            "Cleanings are compared on implicit texts, which have no emotion_token.",
            next_step="choose another position",
        )
    test = implicit.select(split="test")
    if not len(test.data):
        raise InputError("Cleanings are compared on implicit test texts.", found="none")
    rows = []
    for cleaning in cleanings:
        directions = fit_directions(explicit, name, generic, ("specific",), cleaning)
        chosen = choose_layers(implicit.select(split="development"), directions)
        found = [
            detection_row(test, directions, e, layer + 1, "specific", IMPLICIT, seed) for e, layer in chosen.items()
        ]
        found += stability_rows(explicit, directions, seed=seed, layers=chosen)
        rows += [row._replace(kind=f"specific, {cleaning_words(cleaning)}") for row in found]
    return rows
