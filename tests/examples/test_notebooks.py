"""The notebooks run from top to bottom, and every table of values that they show has a column of chance."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import emotion_circuits as ec

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples" / "notebooks").glob("*.py"))
load = cache(ec.load)  # one loading of a model for all notebooks


def shown(source: str) -> list[Any]:
    """What a notebook's cells show: the value of the last line, as Jupyter does it."""
    found, names = [], {"__name__": "notebook"}
    for cell in source.split("# %%")[1:]:
        if cell.startswith(" [markdown]"):
            assert all(not line or line.startswith("#") for line in cell.splitlines()[1:])
            continue
        body = ast.parse(cell).body
        last = body.pop() if isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), "cell", "exec"), names)
        if isinstance(last, ast.Expr):
            found.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_shows_its_numbers_beside_their_chance(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ec, "load", load)
    monkeypatch.chdir(file.parent)
    source = file.read_text("utf-8")
    assert len(source.splitlines()) <= 80
    values = [value for value in shown(source) if value is not None]
    assert len(values) >= 3
    for value in values:
        if isinstance(value, pd.DataFrame) and "value" in value:
            assert "chance" in value and not value["chance"].isna().any()
        assert not isinstance(value, pd.DataFrame | pd.Series) or len(value)
    assert any(hasattr(value, "_repr_html_") for value in values)
