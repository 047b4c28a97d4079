"""The stage of an analysis from outside the package: its rows, claims, pictures and words, each in a file."""

from __future__ import annotations

from pathlib import Path

from emotion_circuits._files import write_json, write_table
from emotion_circuits.analyses import Analysis, AnalysisPlan
from emotion_circuits.analyses._analysis import LANGUAGES
from emotion_circuits.statistics import measures_table
from emotion_circuits.study._claim_files import write_unjudged
from emotion_circuits.study._workshop import Workshop, slug


def run_analysis(work: Workshop, own: Analysis, plan: AnalysisPlan, model: str) -> list[Path]:
    """Measure a model, and write what the report needs to tell of it."""
    from emotion_circuits.report import write_pictures

    found = own.run(work, plan, model)
    stem = f"{own.name}_{slug(model)}"
    table, about = (work.folder / "analyses" / f"{stem}{suffix}" for suffix in (".parquet", ".json"))
    write_table(table, measures_table(found.rows))
    pictures, files = write_pictures(work.folder / "plots" / slug(model), own.name, own.figures(found.rows))
    words = {language: own.words(found.rows, language) for language in LANGUAGES}
    said = {"name": own.name, "question": own.question, "model": model, "words": words, "pictures": pictures}
    write_json(about, said)
    return [table, about, *files, write_unjudged(work.folder, stem, found.claims)]
