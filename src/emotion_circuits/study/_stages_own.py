"""The stage of an analysis from outside the package: its rows, its claims and its section of the report."""

from __future__ import annotations

from pathlib import Path

from emotion_circuits._files import write_table
from emotion_circuits.analyses import LANGUAGES, Analysis, AnalysisPlan
from emotion_circuits.statistics import measures_table
from emotion_circuits.study._claim_files import write_unjudged
from emotion_circuits.study._workshop import Workshop, slug


def run_analysis(work: Workshop, own: Analysis, plan: AnalysisPlan, model: str) -> list[Path]:
    """Measure a model, and write what the report needs to tell of it."""
    from emotion_circuits.report import Told, write_told

    found = own.run(work, plan, model)
    stem = f"{own.name}_{slug(model)}"
    table, told = (work.folder / "analyses" / f"{stem}{suffix}" for suffix in (".parquet", ".json"))
    write_table(table, measures_table(found.rows))
    words = {language: own.words(found.rows, language) for language in LANGUAGES}
    write_told(told, Told(own.name, own.question, model, words, tuple(own.figures(found.rows))))
    return [table, told, write_unjudged(work.folder, stem, found.claims)]
