"""What one model brings to a comparison, as the arrays that geometry works on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.comparison._fit_texts import FIT_POSITION, record_fit_texts
from emotion_circuits.directions import Activations, extract
from emotion_circuits.engine import DEFAULT_BATCH_TOKENS
from emotion_circuits.errors import InputError
from emotion_circuits.geometry import Aligner, ScenarioTable
from emotion_circuits.models import LoadedModel, ModelName
from emotion_circuits.prompts import NEUTRAL, Dataset

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Side:
    """One model: its activations of the texts that maps are fitted on, and of emotion texts.

    Attributes:
        fit: of `fit_texts`.
        explicit: of an emotion data set with development and test scenarios.
    """

    fit: Activations
    explicit: Activations

    def __post_init__(self) -> None:
        if self.fit.source != self.explicit.source:
            raise InputError(
                "Fit texts and emotion texts were recorded in different models or runs.",
                found=f"{self.fit.source.model} and {self.explicit.source.model}",
                next_step="record both again",
            )

    @property
    def name(self) -> str:
        """The model's name."""
        return self.fit.source.model

    @property
    def n_rows(self) -> int:
        """Layers and `embed`."""
        return self.fit.n_layers + 1

    def fit_layers(self, rows: Sequence[int]) -> list[NDArray[Any]]:
        """(n, d) fit texts of each row; 0 is `embed`."""
        return [self.fit.at(FIT_POSITION)[row] for row in rows]

    def emotion_layers(self, rows: Sequence[int], split: str) -> list[NDArray[Any]]:
        """(t, d) emotion texts of one split, of each row."""
        values = self.explicit.select(split=split).at(FIT_POSITION)
        return [values[row] for row in rows]

    def design(self, split: str) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
        """Labels and scenarios of the split's emotion texts."""
        chosen = self.explicit.select(split=split)
        return chosen.labels, chosen.scenarios

    def specific_vectors(self, row: int) -> FloatArray:
        """(E, d) specific directions over all emotion texts, emotions in the order of their names."""
        table = table_of(self.explicit, FIT_POSITION, row)
        result: FloatArray = table.contrasts("neutral", "specific").mean(axis=0)
        return result

    @property
    def emotions(self) -> tuple[str, ...]:
        """Emotions in the order of `specific_vectors`."""
        return tuple(sorted(set(self.explicit.labels.tolist()) - {NEUTRAL}))


def record_side(
    lm: LoadedModel,
    explicit: Activations | Dataset,
    fit: Dataset,
    *,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    on_batch: Callable[[int], None] | None = None,
) -> Side:
    """Record what a model brings to an alignment.

    Args:
        lm: the model.
        explicit: its activations of an emotion data set, or the data set, which is then recorded too.
        fit: texts that maps are fitted on, see `fit_texts`.
        batch_tokens: tokens in one forward pass.
        on_batch: called with how many fit texts are done.
    """
    fitted = record_fit_texts(lm, fit, batch_tokens=batch_tokens, on_batch=on_batch)
    if isinstance(explicit, Dataset):
        explicit = extract(lm, explicit, positions=(FIT_POSITION,), batch_tokens=batch_tokens)
    return Side(fitted, explicit)


def twins_of(name: str, seeds: Iterable[int]) -> list[str]:
    """Names of a model's untrained twins, one for each seed.

    Raises:
        InputError: the model is untrained itself.
    """
    parsed = ModelName.parse(name)
    if parsed.is_untrained:
        raise InputError("An untrained model has no untrained twin to compare with.", found=name)
    return [str(parsed.untrained(seed)) for seed in seeds]


def table_of(activations: Activations, position: str, row: int, split: str | None = None) -> ScenarioTable:
    """One layer's texts by scenario and class.

    Raises:
        InputError: texts without that position, incomplete scenarios.
        MeasurementError: NaN or a constant layer.
    """
    chosen = activations if split is None else activations.select(split=split)
    return ScenarioTable.from_texts(chosen.at(position)[row], chosen.labels, chosen.scenarios)


def in_target_units(aligner: Aligner, a: ScenarioTable, b: ScenarioTable) -> tuple[ScenarioTable, ScenarioTable]:
    """A's texts mapped into B, and B's own, both in units of B's deviation on the fit texts."""
    scale = aligner.target_scale_
    return a.mapped(lambda x: aligner.transform(x) / scale), b.mapped(lambda x: x / scale)


def rows_of(activations: Activations, layers: Sequence[int] | None) -> list[int]:
    """Rows of the layers asked for (0 is `embed`), each once; all by default.

    Raises:
        InputError: a layer that is not there.
    """
    n = activations.n_layers
    for layer in layers or ():
        if not -1 <= layer < n:
            raise InputError(
                f"There is no layer {layer}.", found=activations.source.model, accepted=f"0 to {n - 1}, -1 for embed"
            )
    return list(range(n + 1)) if layers is None else [layer + 1 for layer in dict.fromkeys(layers)]


def require_same_texts(a: Activations, b: Activations) -> None:
    """Raise `InputError` unless two models were recorded on the same texts in the same order."""
    if [t.text for t in a.data] != [t.text for t in b.data]:
        raise InputError(
            "The two models were recorded on different texts.",
            found=f"{len(a.data)} texts of {a.data.name} in {a.source.model}, "
            f"{len(b.data)} of {b.data.name} in {b.source.model}",
            next_step="record both on the same prompts",
        )
