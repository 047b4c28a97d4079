"""The page: nothing leaves it, every claim is in it, and equal results give equal bytes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from report_extras import EMOTIONS, METHODS, write_methods
from report_folder import write_folder, write_manifest
from report_pages import MODELS, Page, read_page

from emotion_circuits import prompts
from emotion_circuits.components import FUNCTIONS, NOTHING, MethodRow
from emotion_circuits.directions import GENERIC_FILE, GenericStatistics, save_generic
from emotion_circuits.errors import InputError
from emotion_circuits.report import Picture, methods_pictures, read_results, sections, write_report
from emotion_circuits.report._cards import cards
from emotion_circuits.report._methods import methods_html
from emotion_circuits.report._style import ROLES, interval, looks_of, number
from emotion_circuits.report._words import BADGES, claim_command, claim_short
from emotion_circuits.statistics import Claim, judge, null_of, read_claims, rows_table, write_claims

A, B = MODELS


def drawings(page: Page) -> list[str]:
    return re.findall(r'<div class="drawing">(<svg.*?</svg>)</div>', page.html, flags=re.DOTALL)


def test_every_picture_is_a_file_and_the_page_holds_the_very_same(finished: Path, pictures: dict[str, Picture]) -> None:
    files = {f.relative_to(finished / "plots").as_posix() for f in (finished / "plots").rglob("*") if f.is_file()}
    assert files == {f"{path}.{end}" for path in pictures for end in ("png", "svg")}
    on_page = drawings(read_page(finished))
    shown = dict(zip((path for path, p in pictures.items() if p.shown), on_page, strict=False))
    again = next(path for path in pictures if path.startswith("claims/"))
    assert len(on_page) == len(shown) + 1, "the first screen's stands under its question too"
    assert sum(f'aria-label="{escape(pictures[again].alt())}"' in svg for svg in on_page) == 2
    for path, picture in pictures.items():
        assert (finished / "plots" / f"{path}.png").read_bytes().startswith(b"\x89PNG")
        svg = (finished / "plots" / f"{path}.svg").read_text(encoding="utf-8")
        assert "<dc:date>" not in svg and picture.title in "".join(ElementTree.fromstring(svg).itertext())
        if picture.shown:
            [drawn, *_] = [one for one in on_page if f'aria-label="{escape(picture.alt())}"' in one]
            outlines = re.findall(r' d="([^"]+)"', drawn)
            kept = re.findall(r' d="([^"]+)"', svg)
            assert [re.sub(r"\s", "", d) for d in outlines] == [re.sub(r"\s", "", d) for d in kept] != []
            assert re.search(r'viewBox="[^ ]+ 21.6 ', drawn), "without the title, which the heading says"
            words = [re.findall(r"<text[^>]*>([^<]*)</text>", one) for one in (svg, drawn)]
            assert words[0] == [escape(picture.title, quote=False), *words[1]], "and nothing else is left out"
    for role, colour in ROLES.items():
        assert colour.light not in "".join(on_page), role


def test_points_tell_their_numbers_in_the_picture_s_own_units(page: Page, pictures: dict[str, Picture]) -> None:
    found = [json.loads(script) for script in page.scripts if script.startswith("[")]
    assert len(found) == len([p for p in pictures.values() if p.shown and p.drawing.draw("").hovers]) + 1 > 20
    for points in found:
        for x, y, text in points:
            assert 0 <= x <= 792 and y > 0 and text
    assert any("95 % of the null" in text and "n = 24" in text for points in found for _, _, text in points)


def test_what_one_dimension_holds_stands_under_the_model(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "baseline", MODELS)
    energy = np.array([[0.1, 0.1], [0.52, 0.71], [0.6, 0.93]], np.float32)
    zeros, ones, axis = np.zeros((3, 2), np.float32), np.ones(3, np.float32), np.eye(1, 2, dtype=np.float32)
    generic = GenericStatistics(zeros, ones, (axis,) * 3, (np.ones(1, np.float32),) * 3, 9, None, ones, energy)
    recorded = folder / "activations" / MODELS[A]

    def said() -> int:
        parts = [p for section in sections(read_results(folder)) for p in section.parts if isinstance(p, str)]
        return sum(part.count("one dimension holds 0.71 to 0.93") for part in parts)

    save_generic(generic, recorded)
    assert said() == 1
    (recorded / GENERIC_FILE).unlink()
    assert said() == 0


def test_nothing_is_asked_of_a_network(page: Page) -> None:
    for _, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
            target = attributes.get(name, "#")
            assert target.startswith(("#", "data:image/svg+xml;base64,")), target[:80]
    for text in (page.html, *drawings(page)):
        assert not re.search(r"""url\(\s*["']?(?!#)|@import|\b(?:src|href)\s*=\s*["']?(?:https?:)?//""", text)


def test_the_browser_is_told_to_refuse_requests(page: Page) -> None:
    [policy] = [m["content"] for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    allowed = {part.split()[0]: part.split()[1:] for part in policy.split(";")}
    assert allowed.pop("default-src") == ["'none'"]
    assert {source for sources in allowed.values() for source in sources} <= {"'unsafe-inline'", "data:"}


def test_every_claim_is_there(page: Page, finished: Path) -> None:
    claims = read_claims(finished / "claims.json")
    assert len({c.verdict for c in claims}) > 1
    cards = dict(re.findall(r'<details class="claim" id="([^"]+)"(.*?)</details>', page.html, flags=re.DOTALL))
    cells = dict(re.findall(r'<a class="cell [a-z]+" href="#([^"]+)" title="([^"]+)"', page.html))
    assert len(cards) == len(cells) == len(claims)
    for claim in claims:
        assert claim.ci95 is not None
        [anchor] = [name for name, said in cells.items() if said.startswith(
            f"{claim_short(claim.id)}, {claim.emotion}, {claim.model}: {claim.verdict}; {number(claim.value)}, chance"
        )]  # fmt: skip
        card = unescape(re.sub(r"<[^>]+>", "", cards[anchor]))
        for said in (claim.model, str(claim.emotion), interval(*claim.ci95), str(claim.verdict), claim.why):
            assert said in card
        assert all(f"{floor.replace('_', ' ')} {number(v)}" in card for floor, v in claim.floors.items())
        models = claim.model.replace(" → ", " --model2 ")
        assert f"emotion-circuits {claim_command(claim.id)} --model {models}" in card


def test_the_markdown_holds_every_claim_and_only_figures_that_are_there(finished: Path) -> None:
    text = (finished / "report" / "report.md").read_text(encoding="utf-8")
    for claim in read_claims(finished / "claims.json"):
        [line] = [one for one in text.splitlines() if one.startswith(f"| {claim.model} | {claim.emotion} |")
                  and f"| {number(claim.value)} {interval(*(claim.ci95 or (None, None)))} |" in one
                  and f"| {number(claim.gain)} " in one]  # fmt: skip
        assert line.endswith(f" {claim.verdict} |") and f"in {claim.model}: {claim.why}" in text
    figures = re.findall(r"!\[[^]]*\]\(([^)]*)\)", text)
    assert len(figures) == len(set(figures)) > 20
    assert all((finished / "report" / figure).is_file() for figure in figures)


def test_a_card_draws_the_null_s_draws_where_they_were_kept() -> None:
    draws = np.random.default_rng(0).normal(size=999)
    for kept in (True, False):
        null = null_of("random directions", 2.5, draws, (2.0, 3.0))
        rivals = [null if kept else null._replace(histogram=None)]
        made = Claim.beside(
            rivals, id="rq3.steering", question="RQ3", model="m", emotion="joy", layer=1, statistic="slope", value=2.5,
            ci95=(2.0, 3.0), ceiling=None, n_unique=24, evidence=(), effect_of_interest=1.0,
            side_conditions={"perplexity_ratio": 1.1},
        )  # fmt: skip
        [judged] = judge([made])
        html = cards([judged], looks_of())
        outline = re.findall(r' d="(M[^"]*Z)"', html)
        assert len(outline) == kept
        if kept:
            assert null.histogram is not None and sum(null.histogram.counts) == 999
            assert outline[0].count("V") == len(null.histogram.counts) + 1
        assert "97.5 % of 999 draws up to" in html and "perplexity ratio 1.10" in html


def test_every_section_opens_with_its_verdict(page: Page) -> None:
    for question in ("RQ1", "RQ3"):
        [after] = re.findall(rf"<h2[^>]*>{question}: [^<]*</h2>(.{{0,200}})", page.html)
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
    assert all(len(image["aria-label"]) > 30 for image in page.of("svg"))
    assert all("scope" in th for th in page.of("th"))
    matrices = sum(table.get("class") == "matrix" for table in page.of("table"))
    assert len(page.of("table")) == len(page.of("caption")) + matrices > matrices > 0
    assert len(page.of("figure")) == len(page.of("figcaption")) == len(drawings(page)) > 0


BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
POINTING = """window.addEventListener("load", function () {
  document.querySelectorAll("figure > script").forEach(function (script) {
    var drawing = script.parentNode.querySelector(".drawing"), box = drawing.getBoundingClientRect();
    var point = JSON.parse(script.textContent)[0], scale = box.width / 792;
    drawing.dispatchEvent(new PointerEvent("pointermove",
      { clientX: box.left + point[0] * scale + 3, clientY: box.top + point[1] * scale - 3 }));
    var tip = document.querySelector(".tip");
    if (tip.classList.contains("on") && tip.textContent) drawing.dataset.said = "yes";
    drawing.dispatchEvent(new PointerEvent("pointerleave"));
    if (tip.classList.contains("on")) drawing.dataset.said = "stays";
  });
});"""


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_a_browser_tells_numbers_on_every_drawing(page: Page, tmp_path: Path) -> None:
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
    ]  # fmt: skip
    copy = tmp_path / "index.html"
    copy.write_text(page.html.replace("</body>", f"<script>{POINTING}</script></body>", 1), encoding="utf-8")
    done = subprocess.run(
        [str(BROWSER), *flags, copy.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.count('data-said="yes"') == sum(script.startswith("[") for script in page.scripts)


def test_reference_models_carry_a_warning(page: Page) -> None:
    assert page.text.count("instruments, not subjects of a finding") == 1
    assert f"{A}: small models" in page.text


def test_provenance_has_no_times(page: Page) -> None:
    assert "abc123" in page.text and "0123456789abcdef" in page.text
    assert "2031" not in page.text and "seconds" not in page.text


def test_twelve_triples_of_text_are_chosen_by_rule_and_escaped(page: Page) -> None:
    """The first four prompts for every emotion, and every emotion's own score in every arm."""
    table = page.html[page.html.rindex('aria-label="Texts"') :].partition("</table>")[0]
    assert (
        table.count('<th scope="row"><span translate="no">Prompt ') == 12
        and "Prompt 4" not in table
        and "Prompt 0 &lt;" in table
    )
    assert table.count("clean None &amp; more") == 12 and table.count("steered anger &amp; more") == 4
    scores = page.html[page.html.rindex('aria-label="Scores of texts"') :].partition("</table>")[0]
    assert scores.count('<th scope="row">') == 3 * 4 and "best random" in scores


def test_depths_stand_beside_their_chance(page: Page) -> None:
    assert sum(e.get("id") == "depths" for e in page.of("details")) == 1
    rows = [r for r in page.rows if r.startswith(f"{A}, {B}")]
    assert len(rows) == len(FUNCTIONS) + 3  # all functions, same function, same emotion
    assert "heads that" in page.text and f"in {A} by" in page.text
    [shown] = {r for r in page.rows if r.startswith(A) and "reads the <word>" in r}
    assert "4:1" in shown and "–" in shown and not any(NOTHING in r for r in page.rows)


def test_every_method_stands_beside_chance_interval_damage_and_n(page: Page, pictures: dict[str, Picture]) -> None:
    [add] = [r for r in page.rows if r.startswith("add 0.2") and "0.231" in r]
    for part in (
        "[0.181, 0.281]",
        "0.012",
        "[−0.021, 0.034]",
        "0.004",
        "1.17",
        "[1.07, 1.27]",
        "steered",
        "●",
        "15, 45",
    ):
        assert part in add, part
    [asked] = [r for r in page.rows if r.startswith("prompted")]
    assert "–" in asked and "0.040 clean" in asked and "●" not in asked
    assert any(r.startswith("add −0.2") and "collapsed" in r for r in page.rows)
    assert not any(r.startswith("random") for r in page.rows)  # it is the column beside each
    assert any("raised in neutral prompts (layer 3" in r and "0.100" in r and "0.900" in r for r in page.rows)
    assert "<summary>the same by the scorer markers</summary>" in page.html
    picture = pictures["org--model/methods"]
    assert "offline" in picture.caption and "15 prompts" in picture.caption
    assert "anger, raised in neutral prompts: add 0.2: effect 0.231 [0.181, 0.281]" in picture.alt()
    assert methods_pictures([], "x", "") == []


def test_missing_tables_become_sentences(folder: Path) -> None:
    for path in (*folder.glob("*/org--model_*"), *folder.glob("heads/*"), *folder.glob("cross_model/*")):
        path.unlink()
    (folder / "emotion_vectors" / "reference--gpt2_cosines.parquet").unlink()
    write_claims(folder / "claims.json", [])
    found = read_results(folder)
    assert [m.name for m in found.models] == [A]
    assert (
        "There is no emotion_vectors/reference--gpt2_cosines.parquet, so cosines between emotions"
        in found.models[0].missing[0]
    )
    shown = list(sections(found))
    assert not any(s.title in ("Which heads carry it?", "Are the same depths and functions found?") for s in shown)
    assert "There are no claims to show." in "".join(str(part) for s in shown for part in s.parts)


def test_a_folder_with_nothing_says_so(tmp_path: Path) -> None:
    assert write_report(tmp_path) == [
        tmp_path / "report" / name for name in ("index.html", "index.ja.html", "report.md")
    ]
    page = read_page(tmp_path)
    assert "There is no claims.json" in page.text and "There is no manifest.json" in page.text
    assert len(page.html) < 50_000


def test_models_are_found_by_their_tables_and_those_without_claims_are_told(folder: Path) -> None:
    found = read_results(folder)
    assert {m.name: m.slug for m in found.models} == MODELS and all(not m.missing for m in found.models)
    claims = read_claims(folder / "claims.json")
    write_claims(folder / "claims.json", [c for c in claims if c.model == "org/model"])
    found = read_results(folder)
    assert [m.name for m in found.models] == ["org/model"]
    assert any("reference/gpt2" in note for note in found.notes)


def test_names_cannot_break_out_and_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    name = "</script><script>alert(1)</script><img src=x onerror=\"alert('&amp;')\">$x$"
    folder = write_folder(tmp_path / "baseline", {name: "hostile"}, 1)
    (folder / "emotion_vectors" / "hostile_quality.parquet").unlink()  # its charts are the largest
    files = write_report(folder)
    assert files == sorted(files) and len(files) == len(set(files))
    assert {f for top in ("plots", "report") for f in (folder / top).rglob("*") if f.is_file()} == set(files)
    before = [f.read_bytes() for f in files]
    write_manifest(folder, ["hostile"], seconds=7.0)
    assert write_report(folder, n_jobs=2) == files and [f.read_bytes() for f in files] == before
    page = read_page(folder)
    assert not any("alert(1)" in script and not script.startswith("[") for script in page.scripts)
    assert all("onerror" not in a for _, a in page.elements)
    assert not any(a.get("src") == "x" for a in page.of("img"))
    assert page.open == []
    assert name in page.text
    assert not any("<script>" in drawing for drawing in drawings(page))
    html = methods_html([METHODS[0]._replace(method="<script>", emotion="<img>", scorer="<b>")])
    assert not any(tag in html for tag in ("<script>", "<img>", "<b>"))


def test_broken_files_are_errors_with_a_next_step(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No results folder"):
        write_report(tmp_path / "nowhere")
    swept = (folder / "patching" / "org--model_sweep.parquet").read_bytes()
    for table, content, problem in (
        ("emotion_vectors/org--model_quality.parquet", b"PAR1 and nothing else", "not a readable table"),
        ("patching/org--model_controls.parquet", swept, "not a table of this version"),
        ("cross_model/a_and_b_components.parquet", swept, "not a table of this version"),
        ("claims.json", b"{", r"claims\.json"),
    ):
        before = (folder / table).read_bytes()
        (folder / table).write_bytes(content)
        with pytest.raises(InputError, match=problem):
            write_report(folder)
        (folder / table).write_bytes(before)
    path = write_methods(folder, METHODS, "org--model")
    rows_table(MethodRow, METHODS).drop(columns="damage").to_parquet(path, index=False)
    with pytest.raises(InputError, match="not a table of this version"):
        write_report(folder)
    assert not (folder / "report").exists() and not (folder / "plots").exists()


OWN = """name: homesick
label: {en: homesickness}
words: {adjective: [homesick]}
pairs: [["I was [homesick] then.", "I was upstairs then."]]
"""


def test_an_emotion_of_one_s_own_has_its_colour_and_its_name(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "baseline", {"org/model": "org--model"}, 1)
    (tmp_path / "own.yaml").write_text(OWN + 'colour: "#7722aa"\ncolour_dark: "#cc99ee"\n', encoding="utf-8")
    prompts.write_bank(folder, prompts.bank(["gratitude", tmp_path / "own.yaml"]))
    claims = read_claims(folder / "claims.json")
    renamed = [c.model_copy(update={"emotion": "homesick"}) if c.emotion == "anger" else c for c in claims]
    write_claims(folder / "claims.json", renamed)
    for path in folder.glob("*/*"):
        if path.name != "emotions.json" and path.is_file() and path.suffix == ".parquet":
            path.unlink()
    write_report(folder)
    page = read_page(folder)
    assert "Gratitude, homesickness and apology inside one language model" in page.text
    assert "--e1:#7722aa" in page.html and "--e1:#cc99ee" in page.html
    svg = (folder / "plots" / "claims" / "rq1_separability.svg").read_text()
    assert ">homesickness<" in svg and "#7722aa" in svg
    assert ">homesickness<" in drawings(page)[0] and "var(--e1)" in drawings(page)[0]


def test_colours_can_be_told_from_each_other_and_from_the_page(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(OWN, encoding="utf-8")
    looks = looks_of(prompts.bank([*EMOTIONS, own]), ["another", "all sorts"])
    assert len({c.light for c in looks.colours.values()}) == len(looks.colours), "drawings are recoloured by light ones"
    assert looks.role("nobody") == "ink" and len(set(map(looks.role, looks.emotions))) == 6
    for theme in ("light", "dark"):
        page = _luminance(getattr(ROLES["paper"], theme))
        emotions = [(looks.role(e), 3.5) for e in looks.emotions]
        for role, least in (("ink", 10), ("muted", 4.5), *emotions, ("null-strong", 3)):
            other = _luminance(getattr(looks.colours[role], theme))
            assert (max(page, other) + 0.05) / (min(page, other) + 0.05) >= least, (role, theme)


def _luminance(colour: str) -> float:
    """WCAG 2 relative luminance."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
