"""Charts: what stands in their panels, read from the data that is drawn."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_extras import EMOTIONS, depth_profiles
from report_pages import MODELS, pictures_in

from emotion_circuits.comparison import component_rows
from emotion_circuits.components import FUNCTIONS, DepthProfiles
from emotion_circuits.directions import FOIL_RATE, HIT_RATE
from emotion_circuits.report import ModelResults, Picture
from emotion_circuits.report._canvas import WIDTH
from emotion_circuits.report._chart import Axis, Chart, Label, Panel, Series, spread_labels
from emotion_circuits.report._depths import pair_sentence
from emotion_circuits.report._style import number

A, B = MODELS


def chart(pictures: dict[str, Picture], key: str) -> Chart:
    drawing = pictures[f"org--model/{key}"].drawing
    assert isinstance(drawing, Chart)
    return drawing


def series_of(found: Chart) -> list[Series]:
    return [series for row in found.panels for panel in row for series in panel.series]


def test_profile_holds_null_floors_and_chosen_layer(pictures: dict[str, Picture], model: ModelResults) -> None:
    for panel in chart(pictures, "auroc_implicit").panels[0]:
        [series], [band] = panel.series, panel.bands
        rows = model.rows("quality", "AUROC on implicit texts", emotion=panel.title, position="mean", kind="specific")
        assert series.y == tuple(m.value for m in rows)
        assert series.low == tuple(m.ci_low for m in rows)
        assert (band.low, band.high) == (tuple(m.null_low for m in rows), tuple(m.null_high for m in rows))
        claim = model.claim("rq1.separability", panel.title)
        assert claim is not None
        assert {*claim.floors.values(), rows[0].value, 0.5} <= {level.y for level in panel.levels}
        assert [rule.x for rule in panel.rules] == [claim.layer]


def test_floors_stand_on_their_own_texts(pictures: dict[str, Picture]) -> None:
    found = chart(pictures, "auroc_by_texts")
    rows = dict(zip(found.row_titles, found.panels, strict=True))
    for panel in rows["real-world"]:
        names = {level.label.rpartition(" ")[0]: level.y for level in panel.levels}
        assert (names["bag of words"], names["untrained"]) == (0.73, 0.66)  # the best untrained model is the floor
        assert names["embedding"] == panel.series[0].y[0]
    for panel in rows["implicit"]:
        assert 0.73 not in {level.y for level in panel.levels}


def test_foils_stand_beside_neutral_texts_and_word_counts(pictures: dict[str, Picture], model: ModelResults) -> None:
    shares, *aurocs = chart(pictures, "foils").panels
    for panel in shares:
        rows = model.rows("quality", FOIL_RATE, emotion=panel.title, kind="specific")
        foils, hits, neutral = panel.series
        assert foils.y == tuple(m.value for m in rows) and neutral.y == tuple(m.chance for m in rows)
        assert hits.y == tuple(m.value for m in model.rows("quality", HIT_RATE, emotion=panel.title, kind="specific"))
        assert [level.y for level in panel.levels] == [0.31] and panel.bands
    for row in aurocs:
        for panel in row:
            assert {0.31, 0.5, panel.series[0].y[0]} <= {level.y for level in panel.levels}
    for panel in chart(pictures, "intensity").panels[0]:
        names = {level.label.rpartition(" ")[0]: level.y for level in panel.levels}
        assert (names["bag of words"], names["number of words"]) == (0.31, 0.11)
        assert names["embedding"] == panel.series[0].y[0]


def test_estimators_stand_beside_the_mean_difference(pictures: dict[str, Picture], model: ModelResults) -> None:
    for panel in chart(pictures, "estimators").panels[0]:
        assert [s.label for s in panel.series] == ["mean diff.", "probe", "pca", "lda"]
        for series, kind in zip(panel.series, ("specific", "probe", "pca", "lda"), strict=True):
            rows = model.rows("quality", "AUROC on implicit texts", emotion=panel.title, position="mean", kind=kind)
            assert series.y == tuple(m.value for m in rows)
        assert len({(s.dash, s.colour) for s in panel.series}) == 4


def test_every_point_says_its_chance_and_n(pictures: dict[str, Picture]) -> None:
    for key in ("auroc_implicit", "split_half", "accuracy", "auroc_by_texts", "estimators", "foils", "intensity"):
        for series in series_of(chart(pictures, key)):
            assert len(series.hover) == len(series.x)
            assert all("chance" in hover and "n = 24" in hover for hover in series.hover)
    for key in ("dose_development", "dose_test"):
        for series in series_of(chart(pictures, key)):
            assert all("clean run" in hover for hover in series.hover)


def test_doses_run_through_the_clean_run(pictures: dict[str, Picture]) -> None:
    panels = chart(pictures, "dose_test").panels
    for row, clean in zip(panels, (0.0, 0.0, 1.0), strict=True):
        for panel in row:
            [series] = panel.series
            assert series.x == (-0.2, 0.0, 0.2) and series.y[1] == clean
    assert all(any(level.y == 1.5 for level in panel.levels) for panel in panels[2])
    assert all(len(panel.bands) == 2 and len(panel.notes) == 2 for panel in panels[0]), "fans of controls"


def test_models_share_one_axis_of_doses(pictures: dict[str, Picture], model: ModelResults) -> None:
    found = pictures["steering/models"].drawing
    assert isinstance(found, Chart)
    own = {p.title: p for p in chart(pictures, "dose_test").panels[0]}
    for panel in found.panels[0]:
        assert {s.name for s in panel.series} == set(MODELS)
        [line] = [s for s in panel.series if s.name == model.name]
        assert (line.x, line.y) == (own[panel.title].series[0].x, own[panel.title].series[0].y)
        assert len(panel.bands) == len(MODELS), "a fan of control directions for every model"


def test_histograms_count_every_control(pictures: dict[str, Picture]) -> None:
    for row in chart(pictures, "control_slopes").panels:
        for panel in row:
            outline, bars = panel.series
            assert sum(bars.y) == 40 == sum(outline.y) / 2
            assert panel.rules[0].x == 4.0


def test_depths_hold_every_function_emotion_and_model(pictures: dict[str, Picture]) -> None:
    picture = pictures["components/depths"]
    found = picture.drawing
    assert isinstance(found, Chart) and found.row_titles == tuple(f.name for f in FUNCTIONS)
    for row in found.panels:
        assert [p.title for p in row] == list(EMOTIONS)
        for panel in row:
            assert [s.name for s in panel.series] == sorted(MODELS) and len(panel.bands) == 2
            for series, peak in zip(panel.series, (2, 4), strict=True):
                assert series.x == pytest.approx((np.arange(6) + 0.5) / 6) and int(np.argmax(series.y)) == peak
    assert f"anger: {A}: layer 4: " in picture.alt() or f"anger: {B}: layer 2: " in picture.alt()


def test_sentences_about_depths_say_what_was_found() -> None:
    a, b = depth_profiles(A, 4, 0), depth_profiles(B, 2, 1)
    same = pair_sentence(component_rows(a, depth_profiles(B, 4, 2), n_draws=99, n_bootstrap=50))
    assert "beyond chance for" in same and "Furthest" not in same
    moved = pair_sentence(component_rows(a, b, n_draws=99, n_bootstrap=50))
    assert "for no function" in moved and f"in {A} by 0.2" in moved and f"deeper than in {B}" in moved
    assert f"in {A} by 0.2" in pair_sentence(component_rows(b, a, n_draws=99, n_bootstrap=50))
    few = component_rows(a, DepthProfiles(B, 6, {k: p.only(["1"]) for k, p in b.of.items()}))
    assert "not tested" in pair_sentence(few)


def test_points_tell_their_words_where_they_are_drawn() -> None:
    panel = Panel("p", Axis("x", 0, 10), Axis("y", 1, 100, log=True), (Series("s", (5.0,), (10.0,), hover=("w",)),))
    found = Chart(((panel,),), ("r",), row_height=2.0)
    canvas = found.draw("title")
    [hover] = canvas.hovers
    [(x, y)] = next(item for item in canvas.items if item.kind == "sign").points
    assert (hover.x, hover.y, hover.text) == (round(72 * x, 1), round(72 * y, 1), "s\nw")
    left, right = 0.95, WIDTH - 0.95
    assert x == pytest.approx((left + right) / 2)
    assert Chart(((Panel("p", Axis("x", 0, 1), Axis("y", 0, 1)),),), ("r",)).draw("").hovers == []


heights = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6)


@given(heights, st.booleans())
def test_labels_do_not_overlap_and_keep_their_order(ys: list[float], log: bool) -> None:
    axis = Axis("", 0.1, 100.0, log=True) if log else Axis("", 0.0, 1.0)
    values = [0.1 * 10 ** (3 * y) if log else y for y in ys]
    labels = [Label(y, str(i), "ink") for i, y in enumerate(values)]
    spread = spread_labels(labels, axis, height=1.5, line=0.15)
    assert sorted(label.text for label in spread) == sorted(label.text for label in labels)
    original = {label.text: label.y for label in labels}
    assert [original[s.text] for s in spread] == sorted(values)
    places = [axis.share(s.y) for s in spread]
    assert all(b - a > 0.1 * 0.97 for a, b in itertools.pairwise(places))


@given(st.floats(-1e4, 1e4))
def test_numbers_keep_three_digits(value: float) -> None:
    text = number(value)
    assert "-" not in text and not text.startswith("−0.000")
    back = float(text.replace("−", "-"))
    assert abs(back - value) <= max(0.0005, abs(value) * 0.005) * 1.001


TABLES = {
    "emotion_vectors/org--model_quality.parquet": {"auroc_implicit", "accuracy", "foils"},
    "emotion_vectors/org--model_cosines.parquet": {"cosines_mean", "cosines_sentence_end"},
    "patching/org--model_sweep.parquet": {"sweep_map", "dose_development"},
    "patching/org--model_steering.parquet": {"dose_test", "steering/models"},
    "patching/org--model_swap.parquet": {"interchange"},
    "patching/org--model_controls.parquet": {"control_slopes"},
    "patching/org--model_methods.parquet": {"methods"},
    "heads/screen_org--model.parquet": {"heads"},
}


@pytest.mark.parametrize("table", TABLES)
def test_a_missing_table_takes_only_its_own_pictures(folder: Path, pictures: dict[str, Picture], table: str) -> None:
    (folder / table).unlink()
    gone = {path.removeprefix("org--model/") for path in set(pictures) - set(pictures_in(folder))}
    assert gone >= TABLES[table]
    assert gone == TABLES[table] or "quality" in table
