"""Results that come with the package: laid out, drawn, and never over a user's own."""

from __future__ import annotations

import zipfile
from importlib.resources import files
from pathlib import Path

import pytest

from emotion_circuits.errors import InputError
from emotion_circuits.report import pack_results, unpack_demo, write_report
from emotion_circuits.statistics import read_claims


def test_the_demo_is_small_and_its_page_shows_every_claim_with_its_null(tmp_path: Path) -> None:
    assert (Path(str(files("emotion_circuits.report"))) / "assets" / "demo.zip").stat().st_size < 3_000_000
    folder = unpack_demo(tmp_path)
    claims = read_claims(folder / "claims.json")
    assert any(claim.verdict == "supported" for claim in claims)
    page = (folder / "report" / "index.html", write_report(folder))[0].read_text(encoding="utf-8")
    assert page.count('<details class="claim"') == len(claims)
    drawn = sum(null.histogram is not None for claim in claims for null in claim.nulls.values())
    assert drawn > 0 and page.count('Z" fill="var(--null)"') > 0
    assert 'class="warning"' not in page, "nothing that the page shows is missing"


def test_packing_is_repeatable_and_unpacking_gives_the_same_page(finished: Path, tmp_path: Path) -> None:
    packed = [pack_results(finished, tmp_path / name).read_bytes() for name in ("a.zip", "b.zip")]
    assert packed[0] == packed[1]
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(tmp_path / "baseline")
    write_report(tmp_path / "baseline")
    for page in ("index.html", "index.ja.html"):
        assert (tmp_path / "baseline" / "report" / page).read_bytes() == (finished / "report" / page).read_bytes()
    with pytest.raises(InputError, match="no finished results"):
        pack_results(tmp_path / "nothing", tmp_path / "c.zip")


def test_results_of_one_s_own_are_left_alone(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "baseline").mkdir()
    own = (finished / "claims.json").read_bytes()
    (tmp_path / "baseline" / "claims.json").write_bytes(own)
    with pytest.raises(InputError, match="results of your own"):
        unpack_demo(tmp_path)
    assert (tmp_path / "baseline" / "claims.json").read_bytes() == own
    (tmp_path / "stopped" / "baseline").mkdir(parents=True)
    (tmp_path / "stopped" / "baseline" / "study.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="results of your own"):
        unpack_demo(tmp_path / "stopped")
    assert [path.name for path in (tmp_path / "stopped" / "baseline").iterdir()] == ["study.json"]
    assert unpack_demo(tmp_path / "other") == unpack_demo(tmp_path / "other")
