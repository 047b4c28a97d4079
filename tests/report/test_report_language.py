"""Pages in another language: looked up piece by piece, and nothing else is touched."""

from __future__ import annotations

import json
import re
from pathlib import Path

from report_pages import Page

from emotion_circuits.report._translate import Catalogue, catalogue, translated

ENTRIES = {
    "layer": "層",
    "layer {}": "層{}",
    "{} out of {}": "{2}のうち{1}",
    "all texts": "全テキスト",
    "said {}": "「{}」と",
}


def test_patterns_capture_words_that_are_looked_up_too() -> None:
    look_up = Catalogue(ENTRIES)
    assert look_up("layer") == "層"
    assert look_up(" layer 3 ") == " 層3 "
    assert look_up("layer 3 out of all texts") == "全テキストのうち層3"
    assert look_up("0.5 [0.1, 0.9]") == "0.5 [0.1, 0.9]"
    assert not look_up.missing
    assert look_up("unknown words") == "unknown words" and look_up.missing == {"unknown words"}


def test_an_english_page_is_left_as_it_is_and_code_is_nobody_s_language(finished: Path) -> None:
    html = (finished / "report" / "index.html").read_text(encoding="utf-8")
    assert translated(html, "en") == html
    told = translated(html, "ja")
    assert '<html lang="ja">' in told and html.count("<") == told.count("<")
    texts = [re.findall(r'<span[^>]* translate="no">.*?</span>', text, flags=re.DOTALL) for text in (html, told)]
    assert texts[0] == texts[1] and len(texts[0]) > 100
    for tag in ("code", "pre", "style"):
        pieces = [re.findall(rf"<{tag}\b.*?</{tag}>", text, flags=re.DOTALL) for text in (html, told)]
        assert pieces[0] == pieces[1]


def test_the_japanese_page_says_every_verdict_and_keeps_every_number(finished: Path) -> None:
    pages = [Page((finished / "report" / name).read_text(encoding="utf-8")) for name in ("index.html", "index.ja.html")]
    numbers = [sorted(re.findall(r"\d+\.\d+", page.text)) for page in pages]
    assert numbers[0] == numbers[1]
    points = [[json.loads(s) for s in page.scripts if s.startswith("[")] for page in pages]
    assert [[p[:2] for p in one] for one in points[0]] == [[p[:2] for p in one] for one in points[1]]
    assert "支持" in pages[1].text and "not supported" not in pages[1].text


def test_the_catalogue_covers_what_the_page_says(finished: Path) -> None:
    html = (finished / "report" / "index.html").read_text(encoding="utf-8")
    look_up = catalogue("ja")
    look_up.missing.clear()
    told = Page(translated(html, "ja"))
    headings = re.findall(r"<h[1-4][^>]*>([^<]*[a-z]{4}[^<]*)</h", translated(html, "ja"))
    assert [h for h in headings if not re.search("[぀-ヿ一-鿿]", h) and "/" not in h] == []
    assert len(look_up.missing) < 400, sorted(look_up.missing)[:20]
    assert len(re.findall("[぀-ヿ一-鿿]", told.text)) > 5000
