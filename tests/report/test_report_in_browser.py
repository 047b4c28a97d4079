"""The page as a browser shows it: cells open their claims, the search finds, nothing is requested or too wide."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emotion_circuits.statistics import read_claims

sync_api = pytest.importorskip("playwright.sync_api", reason="the extra `browser` is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(params=["index.html", "index.ja.html"])
def page(request: pytest.FixtureRequest, browser: Any, finished: Path) -> Iterator[Any]:
    """A page that may ask for nothing but itself, and whose console stays empty."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    shown, wrong = context.new_page(), []
    shown.on("console", lambda message: wrong.append(message.text))
    shown.on("pageerror", lambda error: wrong.append(str(error)))
    shown.on("request", lambda asked: asked.url.startswith("file:") or wrong.append(asked.url))
    shown.goto((finished / "report" / request.param).as_uri())
    yield shown
    assert wrong == []
    context.close()


def test_the_matrix_equals_the_claims_and_every_cell_opens_its_own(page: Any, finished: Path) -> None:
    cells = page.locator(".matrix .cell")
    claims = read_claims(finished / "claims.json")
    assert cells.count() == len(claims) == page.locator("details.claim").count()
    signs = sorted(cells.locator("b").all_inner_texts())
    badges = sorted(text.strip() for text in page.locator("details.claim summary .badge i").all_inner_texts())
    assert signs == badges
    for place in range(0, cells.count(), 7):
        anchor = str(cells.nth(place).get_attribute("href")).removeprefix("#")
        claim = page.locator(f'[id="{anchor}"]')
        assert claim.get_attribute("open") is None
        cells.nth(place).focus()
        page.keyboard.press("Enter")
        page.wait_for_function("id => document.getElementById(id).open", arg=anchor)
        assert claim.locator("svg.bar").is_visible() and claim.locator("p").first.inner_text()


def test_the_search_finds_claims_and_lines_of_texts(page: Any, finished: Path) -> None:
    claims = read_claims(finished / "claims.json")
    wanted = [c for c in claims if c.id == "rq3.steering" and c.model == "org/model"]
    page.locator("#filter").fill("rq3 org/model")
    assert page.locator("details.claim:visible").count() == len(wanted) > 0
    assert page.locator("search output b").first.inner_text() == str(len(wanted))
    page.locator("#filter").fill(f"{wanted[0].value:.3g}")
    assert page.locator("details.claim:visible").count() >= 1, "numbers and reasons are found too"
    page.locator("#filter").fill("clean")
    assert page.locator(".texts tbody tr:visible").count() > 0, "what holds a line that fits is unfolded"
    page.locator("#filter").fill("")
    assert page.locator("details.claim:visible").count() == len(claims)
    assert not page.locator("search output").is_visible()


@pytest.mark.parametrize("width", [380, 1280])
def test_nothing_is_too_wide_and_both_themes_are_there(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    papers = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        papers.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert papers == ["rgb(255, 255, 255)", "rgb(20, 23, 27)"]
