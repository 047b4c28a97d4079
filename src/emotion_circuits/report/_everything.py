"""Figures and page together, on several processor cores."""

from __future__ import annotations

from pathlib import Path

from emotion_circuits.report._figures import figure_parts, write_figures
from emotion_circuits.report._page import write_report


def write_everything(folder: Path, n_jobs: int = 1) -> list[Path]:
    """Draw every figure and write the page: `write_figures` and `write_report`.

    Nearly all the time goes into matplotlib, which holds the interpreter: with `n_jobs` above 1 the page and each
    model's figures are drawn in processes beside each other. The bytes are the same.

    Args:
        folder: `results/<profile>`.
        n_jobs: processes.

    Returns:
        The files, sorted.

    Raises:
        InputError: as from `write_report`.
    """
    if n_jobs == 1:
        return sorted([*write_figures(folder), write_report(folder)])
    from joblib import Parallel, delayed

    # The page takes longest, so it comes first.
    tasks = [delayed(_page)(folder), *(delayed(write_figures)(folder, part) for part in figure_parts(folder))]
    return sorted(file for files in Parallel(n_jobs=n_jobs)(tasks) for file in files)


def _page(folder: Path) -> list[Path]:
    return [write_report(folder)]
