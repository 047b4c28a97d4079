"""Heads in the report: the map holds every score, the texts every token, and a folder without them has no such part."""

from __future__ import annotations

import re
import shutil
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle
from report_folder import write_heads
from report_pages import Page, read_page

from emotion_circuits.components import read_head_examples
from emotion_circuits.errors import InputError
from emotion_circuits.prompts import bank
from emotion_circuits.report import write_figures, write_report
from emotion_circuits.report._head_maps import draw_head_maps, head_map_alt, head_map_caption
from emotion_circuits.report._head_results import HeadResults, read_heads
from emotion_circuits.report._head_texts import head_texts
from emotion_circuits.report._heads import SHOWN_HEADS, TITLE, heads_table
from emotion_circuits.report._results import read_results
from emotion_circuits.report._style import light, matplotlib_settings, number, short

EMOTIONS = bank().emotions

SLUG = "org--model"


@pytest.fixture(scope="module")
def heads(finished: Path) -> HeadResults:
    found = read_heads(finished, SLUG)
    assert found is not None
    return found


def test_every_head_is_a_cell_with_its_sign_star_and_outline(heads: HeadResults) -> None:
    assert heads.scores is not None
    with matplotlib_settings():
        figure = draw_head_maps(heads, title="Map")
    assert figure is not None
    maps = {axes.get_title(loc="left"): axes for axes in figure.axes}
    largest = heads.scores["score"].abs().max()
    for emotion in EMOTIONS:
        rows = heads.scores[heads.scores["emotion"] == emotion]
        cells = [p for p in maps[emotion].patches if isinstance(p, Rectangle)]
        filled = [p for p in cells if p.get_fill()]
        assert len(filled) == len(rows) and len(cells) - len(filled) == rows["exact"].notna().sum() > 0
        said = {tuple(np.round(t.get_position()).astype(int)): t.get_text() for t in maps[emotion].texts}
        highest = int(rows["layer"].max())
        for row, cell in zip(rows.to_dict("records"), filled, strict=True):
            star = "*" if row["p"] <= 0.05 else ""
            assert said[row["head"], highest - row["layer"]] == short(row["score"]) + star
            red = round(255 * cell.get_facecolor()[0])
            assert red == int(light("above" if row["score"] >= 0 else "below")[1:3], 16)
            assert cell.get_alpha() <= 0.85 and (cell.get_alpha() == pytest.approx(0.85)) == (
                abs(row["score"]) == largest
            )


def test_bars_are_the_mass_of_units(heads: HeadResults) -> None:
    with matplotlib_settings():
        figure = draw_head_maps(heads)
    assert figure is not None and heads.units is not None
    bars = [axes for axes in figure.axes if axes.get_title(loc="left") == "units"]
    assert len(bars) == len(EMOTIONS)
    for emotion, axes in zip(EMOTIONS, bars, strict=True):
        own = heads.units[heads.units["emotion"] == emotion]
        expected = [float(own[own["layer"] == layer]["score"].abs().sum()) for layer in range(3)]
        assert [p.get_width() for p in axes.patches[:3]] == pytest.approx(expected)
        assert [p.get_width() for p in axes.patches[3:]] == pytest.approx(expected), "all have q of .04"


@pytest.mark.parametrize(("layers", "count", "beside"), [(30, 9, True), (12, 12, True), (4, 32, False)])
def test_maps_of_all_sizes_keep_apart(tmp_path: Path, layers: int, count: int, beside: bool) -> None:
    write_heads(tmp_path / "heads", "m", "m", layers, np.random.default_rng(0), count)
    found = read_heads(tmp_path, "m")
    with matplotlib_settings():
        figure = draw_head_maps(found)
    assert found is not None and figure is not None
    boxes = [axes.get_position() for axes in figure.axes]
    for i, one in enumerate(boxes):
        assert one.x0 >= 0 and one.x1 <= 1 and one.y0 >= 0 and one.y1 <= 1
        assert not any(one.overlaps(other) for other in boxes[:i])
    tops = {round(box.y1, 6) for axes, box in zip(figure.axes, boxes, strict=True) if axes.get_title(loc="left")}
    assert (len(tops) == 1) == beside
    stars = sum(text.get_text() == "*" for axes in figure.axes for text in axes.texts)
    assert found.scores is not None and stars == (found.scores["p"] <= 0.05).sum()


def test_captions_hold_agreement_n_and_ceiling(heads: HeadResults) -> None:
    assert heads.scores is not None
    caption = head_map_caption(heads)
    assert (
        "gratitude 0.930 [0.810, 0.990] (n = 4)" in caption and "gratitude 0.500 (9 pairs of 20 scenarios)" in caption
    )
    alone = head_map_caption(HeadResults(heads.scores, None, None, ()))
    assert "gratitude 1.00 (n = 4)" in alone and "Bars" not in alone, "exact is 1.1 times the score there"
    for emotion in EMOTIONS:
        rows = heads.scores[heads.scores["emotion"] == emotion]
        best = rows.loc[rows["score"].abs().idxmax()]
        assert f"{emotion}: most by head {best['head']} of layer {best['layer']}, {number(best['score'])}" in (
            head_map_alt(heads)
        )


def test_the_table_holds_the_best_with_chance_beside(heads: HeadResults) -> None:
    assert heads.scores is not None
    table = heads_table(heads)
    assert table.count('<th scope="row">') == len(EMOTIONS) * SHOWN_HEADS
    for emotion in EMOTIONS:
        [group] = re.findall(rf"<tbody><tr><th[^>]*>{emotion} .*?</tbody>", table)
        rows = heads.scores[heads.scores["emotion"] == emotion]
        best = rows.loc[rows["score"].abs().sort_values(ascending=False).index[:SHOWN_HEADS]]
        assert re.findall(r'<th scope="row">(.*?)</th>', group) == [
            f"{layer}:{head}" for layer, head in zip(best["layer"], best["head"], strict=True)
        ]
        assert group.count("<td>0.200</td><td>0.400</td><td>0.210</td>") == SHOWN_HEADS
        assert ("[0.310, 0.500]" in group) == ("1:1" in group)


def test_texts_show_every_token_and_its_numbers(finished: Path) -> None:
    examples = read_head_examples(finished / "heads" / f"examples_{SLUG}.json").emotions[0]
    html = "".join(head_texts(examples))
    lines = re.findall(r'<span class="said">(.*?)</span><small>(.*?)</small>', html, re.DOTALL)
    assert len(lines) == 2
    for (tokens, numbers), prompt in zip(lines, ("emotion", "neutral"), strict=True):
        seen = getattr(examples.examples[0], prompt)
        said = unescape(re.sub("<[^>]*>", "", tokens))
        assert said == "⟨start⟩ " + seen.text.replace("\n", "⏎\n"), "the text, with BOS before it"
        assert tokens.count("<u>") == 1 and f"<u>{'&lt;glad' if prompt == 'emotion' else 'wide'}</u>" in tokens
        assert "62 %" in numbers and "25 %" in numbers and "20 %" in numbers
    titles = re.findall(r'title="(.*?)"', html)
    assert titles[2] == "&lt;glad: 62 % of what is moved, attention 30 %"
    strengths = [int(s) for s in re.findall(r"var\(--c\) (\d+)%", lines[0][0])]
    assert strengths == [10, 10, 62, 18], "nothing behind a token that gives nothing"
    assert "<script" not in html


def test_the_page_has_them_and_reads_without_scripts(page: Page, finished: Path) -> None:
    assert page.text.count(TITLE) == 2
    before = page.html[: page.html.rindex("<script>")]
    assert before.count('<details class="looks"') == 2 * len(EMOTIONS) and "of what is moved" in before
    assert len([a for a in page.of("img") if a["alt"].startswith("Map of heads")]) == 2


def test_a_folder_from_before_there_were_heads(folder: Path) -> None:
    shutil.rmtree(folder / "heads")
    write_report(folder)
    page = read_page(folder)
    assert TITLE not in page.text and "heads/" not in page.text
    assert all(model.heads is None and not model.missing for model in read_results(folder).models)


@pytest.mark.parametrize("file", [f"screen_{SLUG}.parquet", f"units_{SLUG}.parquet", f"examples_{SLUG}.json"])
def test_each_file_may_be_missing_and_is_named(folder: Path, file: str) -> None:
    (folder / "heads" / file).unlink()
    write_report(folder)
    page = read_page(folder)
    assert f"There is no heads/{file}, so" in page.text and page.text.count(TITLE) == 2


def test_files_of_another_version_are_refused(folder: Path) -> None:
    table = folder / "heads" / f"screen_{SLUG}.parquet"
    pd.read_parquet(table).drop(columns="gap").to_parquet(table)
    with pytest.raises(InputError, match="not a table of this version"):
        read_results(folder)


def test_the_map_is_a_file_too(folder: Path) -> None:
    files = write_figures(folder)
    for ending in ("png", "svg"):
        assert folder / "plots" / SLUG / f"heads.{ending}" in files
