"""`demo` and `score --tokens`: a text token by token, beside where generic tokens lie."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emotion_circuits.app import Reading
from emotion_circuits.cli._tokens import token_table


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_the_demo_draws_the_page_and_reads_a_sentence(
    run: Callable[..., Any], tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMOTION_CIRCUITS_CACHE", str(cache))
    text = "I <b>cannot</b> thank you enough 😀."
    outcome = run("demo", "--results", tmp_path / "seen", "--text", text, "--json")
    assert outcome.status == 0, outcome.err
    found = json.loads(outcome.out)
    assert Path(found["page"]).is_file() and found["model"] == "reference/gpt2"
    assert "".join(row["token"] for row in found["tokens"]) == text
    for row in found["tokens"]:
        assert row["scores"].keys() == row["band"].keys()
        assert all(low < high for low, high in row["band"].values())


@pytest.mark.parametrize("flags", [("--output", "x.jsonl"), ("--prefix", "my_"), ("--kind", "matched")])
def test_what_tokens_would_ignore_is_refused(run: Callable[..., Any], flags: tuple[str, ...]) -> None:
    outcome = run("score", "--tokens", "--text", "Hello there.", *flags)
    assert outcome.status == 2 and flags[0] in outcome.err


def test_an_empty_sentence_is_refused_before_anything_is_written(run: Callable[..., Any], tmp_path: Path) -> None:
    outcome = run("demo", "--text", " ", "--results", tmp_path / "none")
    assert outcome.status == 2 and not (tmp_path / "none").exists()


def test_bars_and_marks_say_what_the_numbers_say() -> None:
    import numpy as np

    profile = np.array([[np.nan] * 4, [np.nan, -0.5, 0.1, 0.9]])
    bands = np.array([[-1.0, 1.0], [-0.2, 0.3]])
    reading = Reading("m", "a b c", "joy", "specific", 0, ("", "a", " b", " c"), profile, bands, 0.2, 80.0, 0.3)
    rows = token_table([reading]).rows
    assert [row[0] for row in rows] == ["⟨start⟩", "a", "b", "c"]
    cells = [str(row[1]) for row in rows]
    assert cells[0] == "–" and "above 80 % of generic texts" in token_table([reading]).notes[0]
    for percentile, said in ((99.9, "above > 99 %"), (0.2, "above < 1 %"), (math.nan, "joy 0.20.")):
        assert said in token_table([reading._replace(percentile=percentile)]).notes[0]
    assert ["▼" in cell for cell in cells] == [False, True, False, False]
    assert ["▲" in cell for cell in cells] == [False, False, False, True]
    assert [cell.count("█") for cell in cells] == [0, 0, 0, 6]
