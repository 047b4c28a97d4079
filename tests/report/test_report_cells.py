"""Maps of cells: every number stands in its cell beside chance, damage is seen, and any layout fits its page."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_extras import EMOTIONS, NAN, sweep_rows
from report_folder import DOSES
from report_pages import MODELS, Page, pictures_in

from emotion_circuits.components import read_head_examples
from emotion_circuits.errors import InputError
from emotion_circuits.interventions import PERPLEXITY, WORD_SET, Layout
from emotion_circuits.report import ModelResults, Picture, read_results, sections, sweep_pictures, write_pictures
from emotion_circuits.report._canvas import WIDTH, width_of
from emotion_circuits.report._cells import Cell, CellMap, Grid
from emotion_circuits.report._style import looks_of, number, short
from emotion_circuits.report._sweeps import sweeps_of
from emotion_circuits.statistics import measures_table


def swept(*args: Any, **options: Any) -> tuple[CellMap, Picture]:
    [picture] = sweep_pictures(sweep_rows(*args, **options), "x", "a title")
    assert isinstance(picture.drawing, CellMap)
    return picture.drawing, picture


def grids(picture: Picture) -> list[Grid]:
    assert isinstance(picture.drawing, CellMap)
    return [grid for line in picture.drawing.lines for grid in line]


@given(
    st.sampled_from(["dose", "alpha", "ablated", "clamped to"]),
    st.floats(-1e3, 1e3).filter(lambda d: d != 0),
    st.integers(1, 5),
    st.sampled_from(["all", "last"]),
)
def test_the_names_that_a_sweep_gives_its_rows_are_read_back(unit: str, dose: float, band: int, where: Any) -> None:
    row = sweep_rows((1,), (dose,), unit=unit, emotions=("anger",), band=band, where=where)[0]
    [found] = sweeps_of([row], (), looks_of())
    assert (found.unit, [place.dose for place in found.cells]) == (unit, [float(f"{dose:g}")])
    assert (f"{band} layers" in found.series) == (band > 1) and ("last token" in found.series) == (where == "last")
    assert Layout((1,), (dose,), ("anger",), band=band, where=where).words("specific", unit, dose) == row.kind


def test_every_number_stands_in_its_cell_beside_chance() -> None:
    drawing, picture = swept((1, 4), (-0.2, 0.2))
    assert [grid.title for grid in drawing.lines[0]] == list(EMOTIONS)
    for grid in drawing.lines[0]:
        assert (grid.columns, grid.rows) == (("−0.2", "0.2"), ("4", "1")), "the deepest on top"
        assert {at: (cell.large, cell.small) for at, cell in grid.cells.items()} == {
            (0, 0): ("−1.00*", "0.03"), (0, 1): ("1.00*", "0.03"), (1, 0): ("−0.40", "0.03"), (1, 1): ("0.40", "0.03"),
        }  # fmt: skip
        assert all("chance 0.030" in c.hover and "n = 12" in c.hover for c in grid.cells.values())
    caption = picture.caption
    assert "12 contexts" in caption and "chance" in caption and "not adjusted" in caption and "1.5" in caption
    assert (
        picture.alt().count("layer 4") == 3 and "−1.00 nats [−1.10, −0.900], chance 0.030, p = 0.010" in picture.alt()
    )


def test_without_controls_chance_is_the_clean_run_and_the_small_number_the_continuations() -> None:
    drawing, picture = swept((4,), (0.2,), controls=False)
    [cell] = drawing.lines[0][0].cells.values()
    assert (cell.large, cell.small) == ("1.00", "0.10")
    assert "no control directions" in picture.caption and "over 8" in picture.caption and "p " not in picture.alt()


def test_numbers_whose_interval_holds_nothing_are_grey() -> None:
    drawing, _ = swept((0,), (0.05, 0.9))
    assert {c.large: c.grey for c in drawing.lines[0][0].cells.values()} == {"0.05": True, "0.90*": False}


@pytest.mark.parametrize("ratio", [1.5, 1.51, 40.0, math.inf, NAN])
def test_damaged_cells_are_hatched_and_pale(ratio: float) -> None:
    drawing, picture = swept((1,), (0.5,), emotions=("anger",), ratio=ratio)
    damaged = ratio != 1.5
    areas = [item.look for item in drawing.draw("").items if item.kind == "area"]
    assert any(area["hatched"] for area in areas) == damaged
    [cell] = [area for area in areas[5:] if area["colour"]]
    assert (cell["alpha"] < 0.4) == damaged
    assert ("hatched everywhere" in picture.alt()) == damaged
    assert ("Hatched" in picture.caption) == damaged != ("In no cell" in picture.caption)


def test_the_strongest_colour_is_that_of_whole_language() -> None:
    rows = [*sweep_rows((1,), (0.1, 0.2)), *sweep_rows((1,), (40.0,), ratio=9.0)]
    [picture] = sweep_pictures(rows, "x", "")
    assert isinstance(picture.drawing, CellMap) and "0.400 nats and beyond" in picture.drawing.scale


def test_a_number_that_overflowed_is_no_crash() -> None:
    rows = [m._replace(value=NAN, ci_low=NAN, ci_high=NAN) for m in sweep_rows((1, 2), (0.1, 0.2))]
    [picture] = sweep_pictures(rows, "x", "")
    for grid in grids(picture):
        assert all(cell.hatched and cell.large.startswith("–") for cell in grid.cells.values())
    picture.drawing.draw("")


def test_the_chosen_layer_and_doses_are_outlined() -> None:
    rows = sweep_rows((1, 2, 3), (-0.4, -0.2, 0.2, 0.4))
    chosen = [m for m in sweep_rows((2,), (-0.2, 0.2)) if m.statistic == PERPLEXITY]
    [found] = sweeps_of(rows, chosen, looks_of())
    assert {(p.layer, p.dose) for p in found.chosen} == {(2, d) for d in (-0.2, 0.2)} and len(found.chosen) == 6


@pytest.mark.parametrize(
    ("n_layers", "n_doses", "n_emotions", "n_positions", "controls", "unit"),
    [
        (1, 1, 1, 1, True, "dose"),
        (1, 2, 3, 2, True, "ablated"),
        (5, 6, 3, 1, False, "dose"),
        (3, 6, 2, 4, True, "clamped to"),
        (30, 14, 1, 1, True, "alpha"),
        (2, 14, 3, 1, True, "dose"),
        (3, 40, 1, 1, False, "dose"),
    ],
)
def test_any_sweep_fits_its_page(
    n_layers: int, n_doses: int, n_emotions: int, n_positions: int, controls: bool, unit: str
) -> None:
    doses = [round((i - n_doses / 2 + 0.25) / 10, 3) for i in range(n_doses)]
    positions = ("mean", "sentence_end", "last_content", "emotion_token")[:n_positions]
    drawing, _ = swept(range(n_layers), doses, unit=unit, emotions=EMOTIONS[:n_emotions], positions=positions,
                       controls=controls)  # fmt: skip
    assert sum(map(len, drawing.lines)) == n_emotions * n_positions
    fits_its_page(drawing)


def fits_its_page(drawing: CellMap) -> None:
    """Cells lie on the page, none on another; a cell's numbers are not wider than it."""
    canvas = drawing.draw("")
    boxes = []
    for item in (item for item in canvas.items if item.kind in ("area", "words")):
        xs, ys = zip(*item.points, strict=True)
        assert min(xs) >= 0 and max(xs) <= WIDTH and min(ys) >= 0 and max(ys) <= canvas.height
        if item.look.get("alpha") and item.look["colour"] and not item.look["edge"] and min(ys) > 0.8:
            boxes.append((min(xs), max(xs), min(ys), max(ys)))
    assert len(set(boxes)) == len(boxes) >= sum(len(g.cells) for line in drawing.lines for g in line)
    boxes.sort()
    for i, (_, right, low, high) in enumerate(boxes):
        for left, _, other_low, other_high in boxes[i + 1 :]:
            if left >= right:
                break
            assert other_low >= high or other_high <= low
    cell = drawing.cell_width()
    looks = [item.look for item in canvas.items if item.kind == "words"]
    numbers = [look for look in looks if (look["across"], look["up"], look["angle"]) == ("center", "center", 0.0)]
    assert all(width_of(look["text"], look["size"]) < 1.35 * cell for look in numbers)


def test_positions_and_bands_are_named() -> None:
    drawing, picture = swept(
        (2, 3), (0.5, 1.0), unit="ablated", band=3, where="last", positions=("sentence_end", "mean")
    )
    assert [g.title for g in grids(picture)][:2] == ["gratitude, mean", "gratitude, sentence end"]
    assert "taken away" in drawing.column_name and "first of 3 layers" in drawing.column_name
    assert "bands of 3" in picture.caption


def test_a_table_becomes_pictures_and_nothing_becomes_none(tmp_path: Path) -> None:
    made = sweep_pictures(sweep_rows((1,), (0.2,)), "one", "org/model <&> $x$")
    files = write_pictures(made, tmp_path)
    assert files == [tmp_path / "one.png", tmp_path / "one.svg"]
    assert files[0].read_bytes().startswith(b"\x89PNG") and "&lt;&amp;&gt;" in files[1].read_text()
    assert sweep_pictures([], "none", "") == []


def test_the_report_shows_the_study_s_sweep_and_own_ones(
    page: Page, pictures: dict[str, Picture], model: ModelResults
) -> None:
    study = pictures["org--model/sweep_map"]
    outlined = {(g.rows[i], g.columns[j]) for g in grids(study) for (i, j), c in g.cells.items() if c.outlined}
    assert outlined == {("1", f"{d:g}".replace("-", "−")) for d in DOSES} and "Outlined" in study.caption
    some = next(m for m in model.measures["sweep"] if m.statistic == WORD_SET)
    assert short(some.value) in {c.large for g in grids(study) for c in g.cells.values()}
    assert [g.title for g in grids(pictures["org--model/own_sweep_specific_dose"])][:2] == [
        "gratitude, mean", "gratitude, sentence end"
    ]  # fmt: skip
    assert page.text.count("sweep of your own") == 1
    assert page.text.count("Development contexts. Change of the log-") == len(MODELS)


def test_an_own_sweep_alone_is_found_under_the_model_s_name(tmp_path: Path) -> None:
    (tmp_path / "patching").mkdir()
    measures_table(sweep_rows((0,), (0.1,))).to_parquet(tmp_path / "patching" / "org--model_mean_own_sweep.parquet")
    [model] = read_results(tmp_path).models
    assert (model.name, model.slug) == ("org/model", "org--model")
    assert set(pictures_in(tmp_path)) == {"org--model/own_sweep_specific_dose"}


def test_cosines_stand_beside_chance_and_are_bold_beyond_the_null(
    pictures: dict[str, Picture], model: ModelResults
) -> None:
    matched, specific = grids(pictures["org--model/cosines_mean"])
    for grid, kind in ((matched, "matched"), (specific, "specific")):
        for m in model.rows("cosines", "cosine between emotions", position="mean", kind=kind):
            cell = grid.cells[m.layer + 1, grid.columns.index(m.emotion)]
            assert (cell.large, cell.small) == (number(m.value), f"| {number(m.chance)}")
            assert cell.bold == (not m.null_low <= m.value <= m.null_high)
    assert not pictures["org--model/cosines_sentence_end"].shown


def test_interchange_is_shown_where_prompts_differ(pictures: dict[str, Picture], model: ModelResults) -> None:
    picture = pictures["org--model/interchange"]
    assert {g.title.partition(",")[0] for g in grids(picture)} == {"gratitude", "apology"} and len(grids(picture)) == 6
    assert "Not tested" in picture.caption and "anger" in picture.caption and "share" in picture.alt()
    first = grids(picture)[0]
    for m in model.measures["swap"]:
        if (m.emotion, m.kind) == ("gratitude", "denoising resid_post"):
            cell = first.cells[first.rows.index(str(m.layer)), first.columns.index(m.position)]
            assert cell.large == short(m.value) + "*" * (m.p <= 0.05) and cell.small == "0.02"


def test_maps_show_three_matrices_with_the_chosen_layers(pictures: dict[str, Picture], page: Page) -> None:
    found = grids(pictures["alignment/a_to_b"])
    assert [g.title for g in found] == ["development, trained", "development, best untrained", "test, trained"]
    for grid in found:
        assert [at for at, c in grid.cells.items() if c.outlined] == [(1, 2)]
    assert {c.small for c in found[2].cells.values()} == {"0.34"} and found[0].cells[2, 1].large == "0.40"
    rows = [r for r in page.rows if r.startswith("reference/gpt2org/model1 → 2")]
    assert len(rows) == len(EMOTIONS) and all("0.812 [0.712, 0.912]" in r and "0.345" in r for r in rows)
    assert "Held-out R² on emotion texts at layers 1 → 2: 0.567" in page.text


def test_every_head_is_a_cell_with_its_sign_star_and_outline(pictures: dict[str, Picture], finished: Path) -> None:
    scores = pd.read_parquet(finished / "heads" / "screen_org--model.parquet")
    units = pd.read_parquet(finished / "heads" / "units_org--model.parquet")
    largest = scores["score"].abs().max()
    for grid in grids(pictures["org--model/heads"]):
        rows = scores[scores["emotion"] == grid.title].to_dict("records")
        assert len(grid.cells) == len(rows) and any(c.outlined for c in grid.cells.values())
        for row in rows:
            cell = grid.cells[2 - row["layer"], row["head"]]
            assert cell.large == short(row["score"]) + "*" * (row["p"] <= 0.05)
            assert cell.strength == pytest.approx(row["score"] / largest)
            assert bool(cell.outlined) == (row["exact"] == row["exact"])
        own = units[units["emotion"] == grid.title]
        expected = [float(own[own["layer"] == 2 - i]["score"].abs().sum()) for i in range(3)]
        assert grid.bars is not None and list(grid.bars.whole) == pytest.approx(expected)
        assert list(grid.bars.clear) == pytest.approx(expected), "all have q of .04"


@pytest.mark.parametrize(("layers", "count", "beside"), [(30, 9, True), (12, 12, True), (4, 32, False)])
def test_maps_of_all_sizes_keep_apart(layers: int, count: int, beside: bool) -> None:
    cells = {(i, j): Cell(0.5, "0.12*", tiny="*") for i in range(layers) for j in range(count)}
    one = Grid("anger", tuple(map(str, range(layers))), tuple(map(str, range(count))), cells)
    fits_its_page(CellMap((((one,) * 3),) if beside else ((one,),) * 3, ("−1", "1")))


def test_captions_of_heads_hold_agreement_n_and_ceiling(pictures: dict[str, Picture], folder: Path) -> None:
    caption = pictures["org--model/heads"].caption
    assert "gratitude 0.930 [0.810, 0.990] (n = 4)" in caption
    assert "gratitude 0.500 (9 pairs of 20 scenarios)" in caption
    scores = pd.read_parquet(folder / "heads" / "screen_org--model.parquet")
    for file in ("examples_org--model.json", "units_org--model.parquet"):
        (folder / "heads" / file).unlink()
    alone = pictures_in(folder)["org--model/heads"].caption
    assert "gratitude 1.00 (n = 4)" in alone and "Bars" not in alone, "exact is 1.1 times the score there"
    html = "".join(part for s in sections(read_results(folder)) for part in s.parts if isinstance(part, str))
    assert "There is no heads/units_org--model.parquet, so" in html
    for emotion in EMOTIONS:
        rows = scores[scores["emotion"] == emotion]
        best = rows.loc[rows["score"].abs().idxmax()]
        said = f"{emotion}: head {best['layer']}:{best['head']}: {number(best['score'])}"
        assert said in pictures["org--model/heads"].alt()
    scores.drop(columns="gap").to_parquet(folder / "heads" / "screen_org--model.parquet")
    with pytest.raises(InputError, match="not a table of this version"):
        pictures_in(folder)


def test_the_table_of_heads_holds_the_best_with_chance_beside(page: Page, finished: Path) -> None:
    scores = pd.read_parquet(finished / "heads" / "screen_org--model.parquet")
    table = page.html[page.html.index('aria-label="Best heads"') :]
    for emotion in EMOTIONS:
        group = re.search(rf'scope="rowgroup">{emotion} <.*?(?=scope="rowgroup"|</table>)', table)
        assert group is not None
        rows = scores[scores["emotion"] == emotion]
        best = rows.loc[rows["score"].abs().sort_values(ascending=False).index[:5]]
        assert re.findall(r'<th scope="row">(.*?)</th>', group[0]) == [
            f"{layer}:{head}" for layer, head in zip(best["layer"], best["head"], strict=True)
        ]
        assert group[0].count("<td>0.200</td><td>0.400</td><td>0.210</td>") == 5
        assert ("[0.310, 0.500]" in group[0]) == ("1:1" in group[0])


def test_texts_show_every_token_and_its_numbers(page: Page, finished: Path) -> None:
    examples = read_head_examples(finished / "heads" / "examples_org--model.json").emotions[0]
    start = page.html.index(f"<h4>{examples.emotion.capitalize()}</h4>")
    html = page.html[start : page.html.index("</details>", start)]
    lines = re.findall(r'<span class="said">(.*?)</span><small>(.*?)</small>', html, re.DOTALL)
    assert len(lines) == 2
    for (tokens, numbers), prompt in zip(lines, ("emotion", "neutral"), strict=True):
        seen = getattr(examples.examples[0], prompt)
        said = Page(tokens).text
        assert said == "⟨start⟩ " + seen.text.replace("\n", "⏎\n"), "the text, with BOS before it"
        assert tokens.count("<u>") == 1 and f"<u>{'&lt;glad' if prompt == 'emotion' else 'wide'}</u>" in tokens
        assert "62 %" in numbers and "25 %" in numbers and "20 %" in numbers
    titles = re.findall(r'title="(.*?)"', html)
    assert titles[2] == "&lt;glad: 62 % of what is moved, attention 30 %"
    strengths = [int(s) for s in re.findall(r"var\(--c\) (\d+)%", lines[0][0])]
    assert strengths == [10, 10, 62, 18], "nothing behind a token that gives nothing"
    assert page.html.count('<details class="looks"') == len(MODELS) * len(EMOTIONS)


def test_a_single_narrow_name_over_wide_cells_is_drawn(tmp_path: Path) -> None:
    """A study of two emotions has one pair of them."""
    drawing = CellMap(((Grid("g", ("0",), ("1",), {(0, 0): Cell(0.5, ".50")}),),), ("−1", "1"), widest=2.0)
    assert write_pictures([Picture("one", drawing, "title")], tmp_path)
