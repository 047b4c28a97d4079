from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from report_extras import write_extras
from report_folder import write_folder
from report_pages import MODELS, Page, pictures_in, read_page

from emotion_circuits.report import ModelResults, Picture, read_results, write_report


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with everything and its report, drawn once; not to be changed."""
    folder = write_folder(tmp_path_factory.mktemp("results") / "baseline", MODELS)
    write_extras(folder, MODELS)
    write_report(folder)
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy without the report, to be changed."""
    target = tmp_path / "baseline"
    shutil.copytree(finished, target, ignore=shutil.ignore_patterns("report", "plots"))
    return target


@pytest.fixture(scope="session")
def page(finished: Path) -> Page:
    return read_page(finished)


@pytest.fixture(scope="session")
def model(finished: Path) -> ModelResults:
    return next(m for m in read_results(finished).models if m.name == "org/model")


@pytest.fixture(scope="session")
def pictures(finished: Path) -> dict[str, Picture]:
    return pictures_in(finished)
