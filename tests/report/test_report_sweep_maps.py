"""Sweeps as heat maps: every number stands in its cell, damage is seen, and any layout fits its page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.patches import Rectangle
from report_folder import DOSES, write_folder
from report_pages import read_page

from emotion_circuits.interventions import CONTINUATIONS, PERPLEXITY, WORD_SET, Layout
from emotion_circuits.report import write_figures, write_report, write_sweep_figure
from emotion_circuits.report._results import read_results
from emotion_circuits.report._style import light, matplotlib_settings, short
from emotion_circuits.report._sweep_cells import Place, Step, step_of, sweep_maps
from emotion_circuits.report._sweep_maps import draw_sweep_map, model_sweep_maps, sweep_alt, sweep_caption
from emotion_circuits.statistics import Measure, measures_table

EMOTIONS = ("gratitude", "anger", "apology")
NAN = float("nan")


def rows_of(
    layers: Sequence[int], doses: Sequence[float], *, unit: str = "dose", emotions: Sequence[str] = EMOTIONS,
    positions: Sequence[str] = ("mean",), controls: bool = True, ratio: float = 1.1, **layout: Any,
) -> list[Measure]:  # fmt: skip
    """A sweep's rows whose words change by dose · (layer + 1)."""
    shape = Layout(tuple(layers), tuple(doses), tuple(emotions), **layout)
    rows = []
    for emotion in emotions:
        for position in positions:
            for layer in layers:
                for dose in doses:
                    cell = ("org/model", emotion, position, layer, shape.words("specific", unit, dose))
                    value = dose * (layer + 1)
                    null = (0.03, -0.2, 0.2, NAN, 0.01 if abs(value) > 0.5 else 0.6)
                    words = null if controls else (0.0, NAN, NAN, NAN, NAN)
                    rows.append(Measure(*cell, WORD_SET, value, value - 0.1, value + 0.1, *words, 12))
                    told = (value / 10, NAN, NAN, 0.0, NAN, NAN, NAN, NAN)
                    rows.append(Measure(*cell, CONTINUATIONS, *told, 8))
                    rows.append(Measure(*cell, PERPLEXITY, ratio, NAN, NAN, 1.0, NAN, NAN, NAN, NAN, 8))
    return rows


def drawn(rows: Sequence[Measure], chosen: Sequence[Measure] = ()) -> Any:
    [found] = sweep_maps(rows, chosen)
    with matplotlib_settings():
        return draw_sweep_map(found, title="a title")


def panels(figure: Any) -> list[Any]:
    """All axes but the key's."""
    return [axes for axes in figure.axes if axes.get_title(loc="left")]


def said(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


@given(
    st.sampled_from(["dose", "alpha", "ablated", "clamped to"]),
    st.floats(-1e3, 1e3).filter(lambda d: d != 0),
    st.integers(1, 5),
    st.sampled_from(["all", "last"]),
    st.sampled_from(["specific", "matched"]),
)
def test_the_names_that_a_sweep_gives_its_rows_are_read_back(unit, dose, band, where, kind):
    name = Layout((1,), (dose,), ("anger",), band=band, where=where).words(kind, unit, dose)
    found = step_of(name)
    assert found is not None and found == Step(found.series, unit, float(f"{dose:g}"))
    assert found.series.startswith(kind) and (f"{band} layers" in found.series) == (band > 1)
    assert ("last token" in found.series) == (where == "last")


def test_rows_of_other_tables_are_no_steps():
    assert [step_of(kind) for kind in ("specific, against isotropic controls", "centroid", "dose .2")] == [None] * 3


def test_every_number_stands_in_its_cell_beside_chance():
    rows = rows_of((1, 4), (-0.2, 0.2))
    figure = drawn(rows)
    assert [axes.get_title(loc="left") for axes in panels(figure)] == list(EMOTIONS)
    for axes in panels(figure):
        assert [t.get_text() for t in axes.get_xticklabels()] == ["−0.2", "0.2"]
        assert [t.get_text() for t in axes.get_yticklabels()] == ["4", "1"]  # the deepest on top
        at = {(round(t.get_position()[0]), round(t.get_position()[1])): set() for t in axes.texts}
        for text in axes.texts:
            x, y = text.get_position()
            at[round(x), round(y)].add(text.get_text())
        assert at == {
            (0, 0): {"−1.00*", "0.03"}, (1, 0): {"1.00*", "0.03"}, (0, 1): {"−0.40", "0.03"}, (1, 1): {"0.40", "0.03"},
        }  # fmt: skip
    [found] = sweep_maps(rows)
    caption = sweep_caption(found)
    assert "12 contexts" in caption and "chance" in caption and "not adjusted" in caption and "1.5" in caption
    assert sweep_alt(found).count("layer 4") == 3 and "−1.00 [−1.10, −0.900], p = 0.010" in sweep_alt(found)


def test_without_controls_chance_is_the_clean_run_and_the_small_number_the_continuations():
    rows = rows_of((4,), (0.2,), controls=False)
    [found] = sweep_maps(rows)
    assert said(panels(drawn(rows))[0]) == ["1.00", "0.10"]
    assert "no control directions" in sweep_caption(found) and "over 8" in sweep_caption(found)
    assert "p " not in sweep_alt(found)


def test_numbers_whose_interval_holds_nothing_are_grey():
    colours = {t.get_text(): t.get_color() for t in panels(drawn(rows_of((0,), (0.05, 0.9))))[0].texts}
    assert (colours["0.05"], colours["0.90*"]) == (light("muted"), light("ink"))


def hatched(axes: Any) -> int:
    return sum(bool(patch.get_hatch()) for patch in axes.patches)


@pytest.mark.parametrize("ratio", [1.5, 1.51, 40.0, math.inf, NAN])
def test_damaged_cells_are_hatched_and_pale(ratio):
    [axes] = panels(drawn(rows_of((1,), (0.5,), emotions=("anger",), ratio=ratio)))
    damaged = ratio != 1.5
    assert hatched(axes) == damaged
    [fill] = [p for p in axes.patches if p.get_facecolor()[3] > 0 and not p.get_hatch()]
    assert (fill.get_alpha() < 0.4) == damaged
    [found] = sweep_maps(rows_of((1,), (0.5,), emotions=("anger",), ratio=ratio))
    assert ("damaged in every cell" in sweep_alt(found)) == damaged
    assert ("Hatched" in sweep_caption(found)) == damaged != ("In no cell" in sweep_caption(found))


def test_the_strongest_colour_is_that_of_whole_language():
    whole, broken = rows_of((1,), (0.1, 0.2)), rows_of((1,), (40.0,), ratio=9.0)
    [found] = sweep_maps([*whole, *broken])
    assert found.scale() == pytest.approx(0.4)


def test_a_number_that_overflowed_is_no_crash():
    rows = [m._replace(value=NAN, ci_low=NAN, ci_high=NAN) for m in rows_of((1, 2), (0.1, 0.2))]
    for axes in panels(drawn(rows)):
        assert hatched(axes) == 4 and "–" in "".join(said(axes))


def test_the_chosen_layer_and_doses_are_outlined():
    rows = rows_of((1, 2, 3), (-0.4, -0.2, 0.2, 0.4))
    chosen = [m for m in rows_of((2,), (-0.2, 0.2)) if m.statistic == PERPLEXITY]
    [found] = sweep_maps(rows, chosen)
    assert found.chosen == {Place(e, "mean", 2, d) for e in EMOTIONS for d in (-0.2, 0.2)}
    assert "Outlined" in sweep_caption(found) and "Outlined" not in sweep_caption(sweep_maps(rows)[0])
    for axes in panels(drawn(rows, chosen)):
        outlines = [p for p in axes.patches if isinstance(p, Rectangle) and not p.get_fill() and not p.get_hatch()]
        centres = {(round(p.get_x() + p.get_width() / 2), round(p.get_y() + p.get_height() / 2)) for p in outlines}
        assert centres == {(1, 1), (2, 1)}


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
def test_any_sweep_fits_its_page(n_layers, n_doses, n_emotions, n_positions, controls, unit):
    doses = [round((i - n_doses / 2 + 0.25) / 10, 3) for i in range(n_doses)]
    positions = ("mean", "sentence_end", "last_content", "emotion_token")[:n_positions]
    figure = drawn(
        rows_of(range(n_layers), doses, unit=unit, emotions=EMOTIONS[:n_emotions], positions=positions,
                controls=controls)
    )  # fmt: skip
    found = panels(figure)
    assert len(found) == n_emotions * n_positions
    boxes = [axes.get_window_extent() for axes in found]
    page = figure.bbox
    for box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= page.x1 and box.y1 <= page.y1
    for i, a in enumerate(boxes):
        assert not any(a.overlaps(b) for b in boxes[i + 1 :])
    cell = boxes[0].width / n_doses
    for axes in found:
        assert len(axes.texts) >= n_layers * n_doses
        assert all(text.get_window_extent().width < 1.05 * cell for text in axes.texts)


def test_positions_and_bands_are_named():
    rows = rows_of((2, 3), (0.5, 1.0), unit="ablated", band=3, where="last", positions=("sentence_end", "mean"))
    figure = drawn(rows)
    assert [axes.get_title(loc="left") for axes in panels(figure)][:2] == ["gratitude, mean", "gratitude, sentence end"]
    text = " ".join(t.get_text() for t in figure.texts)
    assert "taken away" in text and "first of 3 layers" in text
    assert "bands of 3" in sweep_caption(sweep_maps(rows)[0])


def test_a_table_becomes_pictures_and_nothing_becomes_none(tmp_path: Path):
    files = write_sweep_figure(rows_of((1,), (0.2,)), tmp_path / "one", "org/model <&> $x$")
    assert files == [tmp_path / "one.png", tmp_path / "one.svg"]
    assert files[0].read_bytes().startswith(b"\x89PNG") and "&lt;&amp;&gt;" in files[1].read_text()
    assert write_sweep_figure([], tmp_path / "none", "") == [] and not (tmp_path / "none.png").exists()


def test_the_report_shows_the_study_s_sweep_and_own_ones(tmp_path: Path):
    folder = write_folder(tmp_path / "baseline", {"org/model": "org--model"}, 2)
    [model] = read_results(folder).models
    [(key, study)] = model_sweep_maps(model).items()
    assert key == "sweep_map" and {(p.layer, p.dose) for p in study.chosen} == {(1, d) for d in DOSES}
    some = model.rows("sweep", WORD_SET, emotion="anger")[0]
    assert short(some.value) in " ".join(said(panels(drawn(list(model.measures["sweep"])))[1]))

    for position in ("mean", "sentence_end"):
        table = measures_table(rows_of((0, 1), (0.1,), positions=(position,)))
        table.to_parquet(folder / "patching" / f"org--model_{position}_own_sweep.parquet", index=False)
    written = {f.name for f in write_figures(folder) if f.parent.name == "org--model"}
    assert {f"{name}.{end}" for name in ("sweep_map", "own_sweep_specific_dose") for end in ("png", "svg")} <= written
    write_report(folder)
    page = read_page(folder)
    assert (
        page.text.count("sweep of your own") == 1 and page.text.count("Development contexts. Change of the log-") == 1
    )


def test_an_own_sweep_alone_is_found_under_the_model_s_name(tmp_path: Path):
    (tmp_path / "patching").mkdir()
    measures_table(rows_of((0,), (0.1,))).to_parquet(tmp_path / "patching" / "org--model_mean_own_sweep.parquet")
    [model] = read_results(tmp_path).models
    assert (model.name, model.slug) == ("org/model", "org--model") and len(model.own_sweeps) == 9
