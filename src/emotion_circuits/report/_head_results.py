"""The files about heads and units of one model, which a results folder may or may not hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emotion_circuits._files import read_table
from emotion_circuits.components import HeadExamples, ModelExamples, read_head_examples
from emotion_circuits.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

_SCORES = ("layer", "emotion", "score", "p", "q", "gap", "outcome", "n_pairs", "n_scenarios")
_HEADS = (*_SCORES, "head", "ci_low", "ci_high", "exact", "exact_ci_low", "exact_ci_high", "direct", "attention",
          "attention_neutral")  # fmt: skip
_UNITS = (*_SCORES, "unit")


@dataclass(frozen=True, eq=False)
class HeadResults:
    """What is known of a model's heads.

    Attributes:
        scores: rows of `Screen.table()` of heads, or None.
        units: the same of units, or None.
        examples: where the best heads look, or None.
        missing: a sentence for every file that is not there.
    """

    scores: pd.DataFrame | None
    units: pd.DataFrame | None
    examples: ModelExamples | None
    missing: tuple[str, ...]

    @property
    def emotions(self) -> tuple[str, ...]:
        """Emotions with scores, in the file's order."""
        return () if self.scores is None else tuple(dict.fromkeys(map(str, self.scores["emotion"])))

    def examples_for(self, emotion: str) -> HeadExamples | None:
        """An emotion's examples."""
        found = () if self.examples is None else self.examples.emotions
        return next((e for e in found if e.emotion == emotion), None)


def read_heads(folder: Path, slug: str) -> HeadResults | None:
    """A model's files about heads; None in a folder without any, such as one that is older than they are.

    Raises:
        InputError: a file that cannot be read or has another schema.
    """
    screen, units, examples = (
        folder / "heads" / name for name in (f"screen_{slug}.parquet", f"units_{slug}.parquet", f"examples_{slug}.json")
    )
    if not any(path.is_file() for path in (screen, units, examples)):
        return None
    lost = {
        screen: "the map of its heads",
        units: "how much units carry, layer by layer,",
        examples: "what its best heads look at",
    }
    return HeadResults(
        _read(screen, _HEADS) if screen.is_file() else None,
        _read(units, _UNITS) if units.is_file() else None,
        read_head_examples(examples) if examples.is_file() else None,
        tuple(
            f"There is no heads/{path.name}, so {what} cannot be shown."
            for path, what in lost.items()
            if not path.is_file()
        ),
    )


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    frame = read_table(path)
    absent = [c for c in columns if c not in frame.columns]
    if absent:
        raise InputError(
            f"{path} is not a table of this version.",
            found=f"no column {absent[0]}",
            accepted=", ".join(columns),
            next_step="screen again",
        )
    return frame
