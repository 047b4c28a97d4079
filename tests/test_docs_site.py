"""The documentation builds without a warning, in both languages, and asks nothing of another host."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import emotion_circuits

DOCS = Path(__file__).parents[1] / "docs"
ASKED_FOR = re.compile(
    r"""<(?:script|img|iframe|source|link)\b[^>]*?(?:src|href)=["'](?:https?:)?//|url\(\s*["']?(?:https?:)?//"""
)


def test_every_room_has_a_page_of_its_names() -> None:
    rooms = {path.parent.name for path in Path(emotion_circuits.__file__).parent.glob("*/__init__.py")} - {"cli"}
    assert rooms == {path.stem for path in (DOCS / "api").glob("*.md")} - {"index", "verbs"}


def test_the_pictures_are_small() -> None:
    assert sum(path.stat().st_size for path in (DOCS / "pictures").iterdir()) <= 300_000


@pytest.mark.slow
@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("sphinx", "myst_parser", "furo")),
    reason="Sphinx, MyST or furo is missing: pip install -e '.[docs]'",
)
def test_the_site_builds_without_a_warning_and_needs_no_other_host(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d", str(tmp_path / "kept")]
    done = subprocess.run([*command, str(DOCS), str(tmp_path / "site")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 50
    for file in (*pages, *(tmp_path / "site").rglob("*.css")):
        assert not ASKED_FOR.search(file.read_text("utf-8")), file
    assert '<html lang="ja"' in (tmp_path / "site" / "index.ja.html").read_text("utf-8").replace(' class="no-js"', "")
