"""The page: nothing leaves it, every claim is in it, and equal results give equal bytes."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs
from report_folder import write_folder, write_manifest
from report_pages import MODELS, Page, read_page

from emotion_circuits.errors import InputError
from emotion_circuits.report import write_report
from emotion_circuits.report._figures import charts_of
from emotion_circuits.report._page import _warning
from emotion_circuits.report._results import read_results
from emotion_circuits.report._swaps import draw_swaps, swap_alt, swap_caption, swap_emotions
from emotion_circuits.report._texts import read_texts, scores_table, triples_table
from emotion_circuits.report._words import BADGES
from emotion_circuits.statistics import read_claims, write_claims

TABLES = (
    "emotion_vectors/org--model_quality.parquet",
    "emotion_vectors/org--model_cosines.parquet",
    "patching/org--model_sweep.parquet",
    "patching/org--model_steering.parquet",
    "patching/org--model_swap.parquet",
    "patching/org--model_controls.parquet",
)


def test_nothing_is_asked_of_a_network(page: Page) -> None:
    for _, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
            target = attributes.get(name, "#")
            assert target.startswith(("#", "data:image/svg+xml;base64,")), target[:80]
    own = [page.html.replace(get_plotlyjs(), "")]
    own += [base64.b64decode(i["src"].partition(",")[2]).decode() for i in page.of("img")]
    for text in own:
        assert not re.search(r"""url\(\s*["']?(?!#)|@import|(?:src|href)\s*=\s*["']?(?:https?:)?//""", text)


def test_the_browser_is_told_to_refuse_requests(page: Page) -> None:
    [policy] = [m["content"] for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    allowed = {part.split()[0]: part.split()[1:] for part in policy.split(";")}
    assert allowed.pop("default-src") == ["'none'"]
    assert {source for sources in allowed.values() for source in sources} <= {"'unsafe-inline'", "data:", "blob:"}


def test_the_library_is_there_once(page: Page) -> None:
    assert sum(len(script) > 1_000_000 for script in page.scripts) == 1


def test_every_claim_is_there(page: Page, finished: Path) -> None:
    claims = read_claims(finished / "claims.json")
    assert len({c.verdict for c in claims}) > 1
    for claim in claims:
        fitting = [
            i for i, row in enumerate(page.rows)
            if claim.model in row and str(claim.emotion) in row and f"{claim.value:.3g}" in row
            and f"[{claim.ci95[0]:.3f}" in row.replace("3.00,", "3.000,") and row.endswith(f" {claim.verdict}")
        ]  # fmt: skip
        assert fitting, claim
        assert any(claim.why in page.rows[i + 1] for i in fitting)


def test_every_section_opens_with_its_verdict(page: Page) -> None:
    text = page.html[: page.html.index("<script>")]
    for question in ("RQ1", "RQ3"):
        [after] = re.findall(rf"<h2[^>]*>{question}: [^<]*</h2>(.{{0,200}})", text)
        assert re.match(r'<p class="verdict">\w+ is supported in (all|none of|\d+ of) \d+ cases', after)
    assert "Separability is supported in 2 of 6 cases (not supported in 4)" in page.text


def test_verdicts_do_not_rest_on_colour(page: Page) -> None:
    assert len({badge.symbol for badge in BADGES.values()}) == len(BADGES)
    for verdict, badge in BADGES.items():
        assert f"{badge.symbol} {verdict}" in page.text


def test_page_is_well_formed_and_accessible(page: Page) -> None:
    assert page.open == []
    assert page.of("html")[0]["lang"] == "en"
    assert "<title>" in page.html
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(set(ids)) == len(ids)
    assert {a["href"].removeprefix("#") for a in page.of("a")} <= set(ids)
    assert all(len(image["alt"]) > 30 for image in page.of("img"))
    assert all("scope" in th for th in page.of("th"))
    assert len(page.of("table")) == len(page.of("caption"))
    assert len(page.of("figure")) == len(page.of("figcaption")) > 0


def test_charts_are_there_without_javascript(page: Page) -> None:
    charts = [a for a in page.of("figure") if a.get("class") == "chart"]
    assert len(charts) >= 6 * len(MODELS)
    assert len(page.of("img")) > len(charts)


# Charts are drawn when they come into view; when that is depends on the browser's frames, which a test must not.
EVERYTHING_IS_IN_VIEW = """window.IntersectionObserver = function (seen) {
  return { observe: function (e) { seen([{ isIntersecting: true, target: e }]); }, unobserve: function () {} };
};"""
BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_a_browser_draws_every_chart(page: Page, tmp_path: Path) -> None:
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=10000", "--dump-dom",
    ]  # fmt: skip
    copy = tmp_path / "index.html"
    copy.write_text(page.html.replace("<body>", f"<body><script>{EVERYTHING_IS_IN_VIEW}</script>", 1), encoding="utf-8")
    done = subprocess.run(
        [str(BROWSER), *flags, copy.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    charts = [a for a in page.of("figure") if a.get("class") == "chart"]
    assert done.stdout.count('<figure class="chart drawn">') == len(charts)
    assert done.stdout.count('class="main-svg"') >= len(charts)


def test_reference_models_carry_a_warning(page: Page) -> None:
    assert "instruments, not subjects of a finding" in page.text
    assert _warning(["org/model"]) == ""


def test_same_results_give_the_same_bytes(finished: Path, folder: Path) -> None:
    write_manifest(folder, list(MODELS.values()), seconds=7.0)
    again = write_report(folder)
    assert again.read_bytes() == (finished / "report" / "index.html").read_bytes()


def test_provenance_has_no_times(page: Page) -> None:
    assert "abc123" in page.text and "0123456789abcdef" in page.text
    assert "2031" not in page.text and "seconds" not in page.text


def test_interchange_is_shown_where_prompts_differ(folder: Path) -> None:
    [model, _] = sorted(read_results(folder).models, key=lambda m: m.name)
    assert swap_emotions(model) == ("gratitude", "apology")
    assert "Not tested" in swap_caption(model) and "anger" in swap_caption(model)
    assert "most at" in swap_alt(model)
    drawn = draw_swaps(model, with_title=True)
    assert drawn is not None and len(drawn.axes) == 2 * 3
    said = {text.get_text() for text in drawn.axes[0].texts}
    rows = {m.layer: m for m in model.measures["swap"] if m.emotion == "gratitude" and m.position == "word"
            and m.kind == "denoising resid_post"}  # fmt: skip
    assert all(f"{abs(m.value):.2f}" in "".join(said) for m in rows.values())
    assert any(text.endswith("*") for text in said) == any(
        m.p < 0.05 for m in model.measures["swap"] if m.emotion == "gratitude" and m.kind == "denoising resid_post"
    )


@pytest.mark.parametrize("table", TABLES)
def test_a_missing_table_is_left_out(folder: Path, table: str) -> None:
    (folder / table).unlink()
    [model] = [m for m in read_results(folder).models if m.name == "org/model"]
    [sentence] = model.missing
    assert sentence.startswith(f"There is no {table}, so")
    charts = charts_of(model)
    swaps = draw_swaps(model, with_title=False) is not None
    assert len(charts.profiles) + len(charts.doses) + len(charts.cosine_positions) + swaps < 13


def test_missing_tables_become_sentences(folder: Path) -> None:
    for table in TABLES:
        (folder / table).unlink()
    (folder / "claims.json").unlink()
    (folder / TABLES[0]).with_name("reference--gpt2_cosines.parquet").unlink()
    write_claims(folder / "claims.json", [])
    write_report(folder)
    page = read_page(folder)
    assert "There are no claims to show." in page.text
    assert "There is no emotion_vectors/reference--gpt2_cosines.parquet, so cosines between emotions" in page.text
    assert len(page.of("figure")) >= 5


def test_a_folder_with_nothing_says_so(tmp_path: Path) -> None:
    write_report(tmp_path)
    page = read_page(tmp_path)
    assert "There is no claims.json" in page.text and "There is no manifest.json" in page.text
    assert len(page.html) < 50_000  # no library where nothing needs it


def test_models_without_claims_are_told(folder: Path) -> None:
    claims = read_claims(folder / "claims.json")
    write_claims(folder / "claims.json", [c for c in claims if c.model == "org/model"])
    found = read_results(folder)
    assert [m.name for m in found.models] == ["org/model"]
    assert any("reference/gpt2" in note for note in found.notes)


def test_names_cannot_break_out(tmp_path: Path) -> None:
    name = "</script><script>alert(1)</script><img src=x onerror=\"alert('&amp;')\">$x$"
    folder = write_folder(tmp_path / "baseline", {name: "hostile"}, 1)
    write_report(folder)
    page = read_page(folder)
    assert not any("alert(1)" in script and len(script) < 1000 for script in page.scripts)
    assert all("onerror" not in a for _, a in page.elements)
    assert not any(a.get("src") == "x" for a in page.of("img"))
    assert page.open == []
    assert name in page.text
    drawings = [base64.b64decode(i["src"].partition(",")[2]).decode() for i in page.of("img")]
    assert not any("<script>" in drawing for drawing in drawings)


def test_broken_files_are_errors_with_a_next_step(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No results folder"):
        write_report(tmp_path / "nowhere")
    table = folder / "emotion_vectors" / "org--model_quality.parquet"
    table.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InputError, match="not a readable table"):
        write_report(folder)
    table.unlink()
    (folder / "patching" / "org--model_controls.parquet").write_bytes(
        (folder / "patching" / "org--model_sweep.parquet").read_bytes()
    )
    with pytest.raises(InputError, match="not a table of this version"):
        write_report(folder)
    assert not (folder / "report").exists()


def test_twelve_triples_of_text_are_chosen_by_rule_and_escaped(finished: Path) -> None:
    """The first four prompts for every emotion, and every emotion's own score in every arm."""
    written = read_texts(finished, "org--model")
    assert written is not None
    table = triples_table(written.texts)
    assert table.count("<td>Prompt ") == 12 and "Prompt 4" not in table and "Prompt 0 &lt;" in table
    assert table.count("clean None &amp; more") == 12 and table.count("steered anger &amp; more") == 4
    scores = scores_table(written.scores)
    assert scores.count("<tr><td>") == 3 * 4 and "best random" in scores
    page = (finished / "report" / "index.html").read_text(encoding="utf-8")
    assert "What does it write?" in page and table in page and scores in page
