"""The page as a browser shows it: every interaction once, no request elsewhere, no error, nothing too wide."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from small_study import Small

pytest.importorskip("gradio", reason="the extra `app` is not installed")
sync_api = pytest.importorskip("playwright.sync_api", reason="the extra `browser` is not installed")
CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no /usr/bin/chromium"),
]
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--disable-default-apps",
]  # fmt: skip
LONG = 120_000
"""Milliseconds: other tests run beside this one."""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def address(small: Small, results: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page of the small study, served by the command."""
    port = free_port()
    command = [sys.executable, "-m", "emotion_circuits", "app", "--model", small.model, "--port", str(port),
               "--results", str(results.parent)]  # fmt: skip
    env = {**os.environ, "EMOTION_CIRCUITS_CACHE": str(tmp_path_factory.mktemp("cache"))}
    server = subprocess.Popen(command, env=env, stderr=subprocess.PIPE)
    found = f"http://127.0.0.1:{port}/"
    for _ in range(240):
        assert server.poll() is None, server.stderr and server.stderr.read().decode()
        try:
            urllib.request.urlopen(found, timeout=5)
            break
        except OSError:
            time.sleep(0.5)
    yield found
    server.terminate()
    assert server.wait(60) in (0, 143)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(params=[1280, 380])
def page(address: str, chromium: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page that has written its first text; what it asked for and complained of is looked at in the end."""
    found = opened(address, chromium, request.param)
    yield found
    assert [url for url in found.asked if not url.startswith((address, "data:", "blob:"))] == []
    assert found.errors == []
    assert found.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    found.context.close()


def opened(address: str, chromium: Any, width: int) -> Any:
    found = chromium.new_context(viewport={"width": width, "height": 900}).new_page()
    found.set_default_timeout(LONG)
    found.asked, found.errors = [], []
    found.on("request", lambda request: found.asked.append(request.url))
    found.on("console", lambda said: found.errors.append(said.text) if said.type == "error" else None)
    found.on("pageerror", lambda error: found.errors.append(str(error)))
    found.goto(address)
    found.wait_for_selector("#texts .ec-card.random .ec-meter:nth-child(2) b")
    settled(found)
    return found


def settled(page: Any) -> None:
    """The text that is being written is done."""
    page.wait_for_function("!document.querySelector('#texts .ec-cursor') && document.querySelector('#texts .ec-token')")


def tab(page: Any, name: str) -> None:
    """Show a tab; on narrow pages some are in a menu."""
    own = page.get_by_role("tab", name=name, exact=True)
    if not own.is_visible():
        page.locator(".overflow-menu > button").click()
        own = page.locator(".overflow-menu").get_by_text(name, exact=True)
    own.click()


def test_write_pick_fork_and_steer(page: Any) -> None:
    before = page.locator("#texts .steered .ec-text").inner_text()
    page.locator("#texts .steered .ec-token").nth(1).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector("#others button")
    prompt = page.locator("#prompt textarea").input_value()
    page.locator("#others button").nth(2).click()
    page.wait_for_function("p => document.querySelector('#prompt textarea').value.length > p.length", arg=prompt)
    settled(page)
    number = page.locator("#dose input[type=number]")
    number.fill("2")
    number.press("Enter")
    page.wait_for_function("t => document.querySelector('#texts .steered .ec-text').innerText !== t", arg=before)
    settled(page)


def test_read_and_look_at_a_token(page: Any) -> None:
    tab(page, "Read")
    page.locator("#text textarea").fill("<b>Thank you</b> {{so}} much ${x} 🙂 مرحبا")
    page.locator("#colour").click()
    page.wait_for_selector("#reading .ec-token")
    assert "<b>Thank you</b> {{so}} much ${x}" in page.locator("#reading .ec-text").inner_text()
    assert "95 % of generic tokens" in (page.locator("#reading .ec-token").first.get_attribute("title") or "")
    page.locator("#reading .ec-token").nth(3).click()
    page.wait_for_selector("#profile img")
    page.locator("#show-heads").click()
    page.locator("#heads button").first.click()
    page.wait_for_selector("#attention .ec-token")


@pytest.mark.parametrize("text", ["", "word " * 20_000])
def test_what_cannot_be_read_is_told_and_the_page_lives_on(page: Any, text: str) -> None:
    tab(page, "Read")
    page.locator("#text textarea").fill(text)
    page.locator("#colour").click()
    page.wait_for_selector("#notice [role=alert]")
    page.locator("#text textarea").fill("Fine again.")
    page.locator("#colour").click()
    page.wait_for_selector("#reading .ec-token")
    page.wait_for_function("!document.querySelector('#notice [role=alert]')")


def test_a_cell_of_the_map_is_written(page: Any) -> None:
    tab(page, "Layer × dose")
    page.locator("#show-map").click()
    page.locator("#grid button").first.click()
    page.wait_for_function("document.querySelector('#dose input[type=number]').value === '-0.2'")


def test_claims_lead_to_evidence(page: Any) -> None:
    tab(page, "Claims")
    page.wait_for_selector("#claims button")
    n = page.locator("#claims button").count()
    page.locator("#search textarea, #search input").fill("stability")
    page.wait_for_function("n => document.querySelectorAll('#claims button').length < n", arg=n)
    page.locator("#claims button").first.click()
    page.wait_for_selector("#evidence table")


def test_an_emotion_of_ones_own(page: Any, pairs: str) -> None:
    tab(page, "Your emotion")
    page.locator("#own-name textarea, #own-name input").fill("delight")
    page.locator("#own-pairs textarea").fill(pairs)
    page.locator("#fit").click()
    page.wait_for_selector("#quality table")
    assert "bag of words" in page.locator("#quality").inner_text()


def test_links_and_files(page: Any, address: str, chromium: Any) -> None:
    tab(page, "Share")
    page.locator("#share").click()
    link = page.locator("#link textarea, #link input")
    page.wait_for_function("document.querySelector('#link textarea, #link input').value.startsWith('http')")
    assert link.input_value().startswith(address)
    with page.expect_download() as download:
        page.locator("#as-json").click()
    with page.expect_file_chooser() as chooser:
        page.locator("#earlier").click()
    chooser.value.set_files(
        {"name": "earlier.json", "mimeType": "application/json", "buffer": download.value.path().read_bytes()}
    )
    page.wait_for_selector("#beside table")
    other = opened(link.input_value(), chromium, 1280)
    assert other.locator("#prompt textarea").input_value() == page.locator("#prompt textarea").input_value()
    other.context.close()


def test_every_control_has_a_name(page: Any) -> None:
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('input:not([type=file]), textarea, select, button')].filter(e =>
            e.offsetParent && !e.labels?.length && !e.closest('label') && !e.ariaLabel && !e.title
            && !e.innerText.trim() && !e.getAttribute('aria-labelledby')).map(e => e.outerHTML.slice(0, 120))"""
    )
    assert nameless == []


@pytest.mark.parametrize(
    ("flags", "said"),
    [(["--host", "0.0.0.0"], "--password"), (["--port", "70000"], "65535"), (["--model", "./no"], "./no")],
)
def test_what_cannot_be_served_is_told(flags: list[str], said: str) -> None:
    place = [] if "--port" in flags else ["--port", str(free_port())]
    command = [sys.executable, "-m", "emotion_circuits", "app", *place, *flags]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert found.returncode == 2 and said.removeprefix(".") in found.stderr
