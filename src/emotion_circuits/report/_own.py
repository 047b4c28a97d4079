"""What analyses from outside the package tell of a model: kept as data beside its rows, drawn by the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from emotion_circuits._files import write_text
from emotion_circuits.errors import InputError
from emotion_circuits.report._chart import Chart
from emotion_circuits.report._results import ModelResults
from emotion_circuits.report._sections import Picture, Section, paragraph


class TitledChart(NamedTuple):
    """A chart with its title and one sentence that says how to read it."""

    title: str
    chart: Chart
    caption: str = ""


@dataclass(frozen=True)
class Told:
    """An analysis' section for one model.

    Attributes:
        analysis: its name; `question` heads the section.
        model: as tables name it.
        words: language → a paragraph.
        charts: what is drawn.
    """

    analysis: str
    question: str
    model: str
    words: Mapping[str, str]
    charts: tuple[TitledChart, ...] = ()


_TOLD = TypeAdapter(Told)


def write_told(path: Path, told: Told) -> None:
    """Keep a section for the report, as JSON."""
    write_text(path, _TOLD.dump_json(told, indent=1).decode() + "\n")


def own_sections(model: ModelResults) -> Iterator[Section]:
    """A section for each analysis from outside the package."""
    for path in sorted((model.folder / "analyses").glob(f"*_{model.slug}.json")):
        try:
            told = _TOLD.validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise InputError(f"{path} cannot be read.", found=str(error).splitlines()[0]) from error
        pictures = [
            Picture(f"{model.slug}/{told.analysis}_{k}", own.chart, own.title, own.caption)
            for k, own in enumerate(told.charts, 1)
        ]
        yield Section(told.question, [paragraph(told.words.get("en", "")), *pictures])
