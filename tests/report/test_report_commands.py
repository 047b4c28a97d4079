"""`report` and `plot`: finished results drawn again, in formats and languages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from emotion_circuits.cli import main
from emotion_circuits.errors import InputError
from emotion_circuits.report import pictures_of

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run_it(*argv: object) -> tuple[int, str, str]:
        status = main([*map(str, argv), "--results", str(folder.parent), "--profile", folder.name])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run_it


def test_report_makes_the_study_s_page_again(run: Run, folder: Path, finished: Path) -> None:
    status, out, _ = run("report", "--json")
    assert status == 0
    for page in json.loads(out)["pages"]:
        assert Path(page).read_bytes() == (finished / "report" / Path(page).name).read_bytes()
    assert json.loads(out)["page"].endswith("index.html")
    assert json.loads(run("report", "--language", "ja", "--json")[1])["page"].endswith("index.ja.html")


def test_plot_lists_figures_and_draws_those_named(run: Run, folder: Path, tmp_path: Path) -> None:
    listed = json.loads(run("plot", "--json")[1])["figures"]
    assert [one["name"] for one in listed] == [picture.path for picture in pictures_of(folder)[0]]
    status, out, _ = run("plot", "claims/", "--format", "png", "svg", "pdf", "--output", tmp_path / "mine", "--json")
    files = [Path(file) for file in json.loads(out)["files"]]
    claims = [one["name"] for one in listed if one["name"].startswith("claims/")]
    assert status == 0 and len(files) == 3 * len(claims) > 3
    begin = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
    assert all(file.read_bytes().startswith(begin[file.suffix]) for file in files)
    status, _, err = run("plot", "claims/rq9")
    assert status == 2 and "claims/rq9" in err


def test_svg_is_drawn_in_japanese_and_png_says_what_it_needs(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = {}
    for language in ("en", "ja"):
        run("plot", "claims/rq3", "--format", "svg", "--language", language, "--output", tmp_path / language)
        drawn[language] = (tmp_path / language / "claims" / "rq3_steering.svg").read_text(encoding="utf-8")
    assert "Steering" in drawn["en"] and "Steering" not in drawn["ja"] and "ステアリング" in drawn["ja"]
    assert drawn["en"].count("<path") == drawn["ja"].count("<path")

    def none(*_: object, **__: object) -> str:
        raise InputError("No installed font has Japanese signs.")

    monkeypatch.setattr("emotion_circuits.report._canvas._font_file", none)
    status, _, err = run("plot", "claims/rq3", "--language", "ja", "--output", tmp_path / "png")
    assert status == 2 and "Japanese" in err
