"""One small study that several files of tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_study_run import small

from emotion_circuits.study import run_study


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished small study; who changes a file puts it back."""
    results = tmp_path_factory.mktemp("undisturbed")
    run_study(small(results))
    return results / "baseline"
