"""Figures: what is in them, that both renderings get the same, and that files are the same bytes."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_folder import write_folder
from report_pages import MODELS

from emotion_circuits.directions import FOIL_RATE, HIT_RATE
from emotion_circuits.errors import InputError
from emotion_circuits.prompts import bank
from emotion_circuits.report import write_everything, write_figures
from emotion_circuits.report._chart import Axis, Chart, Label, Panel, spread_labels
from emotion_circuits.report._figures import charts_of
from emotion_circuits.report._interactive import plotly_json, plotly_spec
from emotion_circuits.report._results import ModelResults, read_results
from emotion_circuits.report._style import COLOURS, number

EMOTIONS = bank().emotions


@pytest.fixture(scope="module")
def model(finished: Path) -> ModelResults:
    return next(m for m in read_results(finished).models if m.name == "org/model")


@pytest.fixture(scope="module")
def charts(model: ModelResults) -> dict[str, Chart]:
    found = charts_of(model)
    return {chart.key: chart for chart in (*found.profiles, *found.doses)}


def test_files_are_pictures_and_the_same_bytes_twice(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "baseline", {"org/model": "org--model"}, 2)
    (folder / "emotion_vectors" / "org--model_quality.parquet").unlink()  # its charts are left out
    files = write_figures(folder)
    assert files == sorted(files) and len(files) == len(set(files))
    names = {f.relative_to(folder / "plots").as_posix() for f in files}
    assert {"org--model/dose_test.png", "org--model/cosines_mean.svg", "claims/rq1_separability.png"} <= names
    assert not any("auroc" in name for name in names)
    assert {f.with_suffix("").with_suffix("") for f in files if f.suffix == ".png"} == {
        f.with_suffix("").with_suffix("") for f in files if f.suffix == ".svg"
    }
    before = {f: f.read_bytes() for f in files}
    for file, content in before.items():
        if file.suffix == ".png":
            assert content.startswith(b"\x89PNG")
        else:
            ElementTree.fromstring(content)
            assert b"<dc:date>" not in content
    assert {f: f.read_bytes() for f in write_figures(folder)} == before
    leftovers = [f for f in (folder / "plots").rglob("*") if f.is_file() and f not in before]
    assert leftovers == []
    beside = write_everything(folder, n_jobs=2)
    page = folder / "report" / "index.html"
    assert beside == sorted([*before, page]) and {f: f.read_bytes() for f in before} == before
    one_by_one = page.read_bytes()
    assert write_everything(folder) == beside and page.read_bytes() == one_by_one
    (folder / "claims.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"claims\.json"):
        write_everything(folder, n_jobs=2)


def test_profile_holds_null_floors_and_chosen_layer(charts: dict[str, Chart], model: ModelResults) -> None:
    for panel in charts["auroc_implicit"].panels[0]:
        [series], [band] = panel.series, panel.bands
        rows = model.rows("quality", "AUROC on implicit texts", emotion=panel.title, position="mean", kind="specific")
        assert series.y == tuple(m.value for m in rows)
        assert series.low == tuple(m.ci_low for m in rows)
        assert (band.low, band.high) == (tuple(m.null_low for m in rows), tuple(m.null_high for m in rows))
        claim = model.claim("rq1.separability", panel.title)
        assert claim is not None
        assert {*claim.floors.values(), rows[0].value, 0.5} <= {level.y for level in panel.levels}
        assert [rule.x for rule in panel.rules] == [claim.layer]


def test_floors_stand_on_their_own_texts(charts: dict[str, Chart]) -> None:
    rows = dict(zip(charts["auroc_by_texts"].row_titles, charts["auroc_by_texts"].panels, strict=True))
    for panel in rows["real-world"]:
        names = {level.label.rpartition(" ")[0]: level.y for level in panel.levels}
        assert (names["bag of words"], names["untrained"]) == (0.73, 0.66)  # the best untrained model is the floor
        assert names["embedding"] == panel.series[0].y[0]
    for panel in rows["implicit"]:
        assert 0.73 not in {level.y for level in panel.levels}


def test_foils_stand_beside_neutral_texts_and_word_counts(charts: dict[str, Chart], model: ModelResults) -> None:
    shares, *aurocs = charts["foils"].panels
    for panel in shares:
        rows = model.rows("quality", FOIL_RATE, emotion=panel.title, kind="specific")
        foils, hits, neutral = panel.series
        assert foils.y == tuple(m.value for m in rows) and neutral.y == tuple(m.chance for m in rows)
        assert hits.y == tuple(m.value for m in model.rows("quality", HIT_RATE, emotion=panel.title, kind="specific"))
        assert [level.y for level in panel.levels] == [0.31] and panel.bands
    for row in aurocs:
        for panel in row:
            assert {0.31, 0.5, panel.series[0].y[0]} <= {level.y for level in panel.levels}
    for panel in charts["intensity"].panels[0]:
        names = {level.label.rpartition(" ")[0]: level.y for level in panel.levels}
        assert (names["bag of words"], names["number of words"]) == (0.31, 0.11)
        assert names["embedding"] == panel.series[0].y[0]


def test_estimators_stand_beside_the_mean_difference(charts: dict[str, Chart], model: ModelResults) -> None:
    for panel in charts["estimators"].panels[0]:
        assert [s.label for s in panel.series] == ["mean diff.", "probe", "pca", "lda"]
        for series, kind in zip(panel.series, ("specific", "probe", "pca", "lda"), strict=True):
            rows = model.rows("quality", "AUROC on implicit texts", emotion=panel.title, position="mean", kind=kind)
            assert series.y == tuple(m.value for m in rows)
        assert len({(s.dash, s.colour) for s in panel.series}) == 4


def test_every_point_says_its_chance_and_n(charts: dict[str, Chart]) -> None:
    for key in ("auroc_implicit", "split_half", "accuracy", "auroc_by_texts", "estimators", "foils", "intensity"):
        for series in _all_series(charts[key]):
            assert len(series.hover) == len(series.x)
            assert all("chance" in hover and "n = 24" in hover for hover in series.hover)
    for key in ("dose_development", "dose_test"):
        for series in _all_series(charts[key]):
            assert all("clean run" in hover for hover in series.hover)


def test_doses_run_through_the_clean_run(charts: dict[str, Chart]) -> None:
    chart = charts["dose_test"]
    for row, clean in zip(chart.panels, (0.0, 0.0, 1.0), strict=True):
        for panel in row:
            [series] = panel.series
            assert series.x == (-0.2, 0.0, 0.2)
            assert series.y[1] == clean
    assert all(any(level.y == 1.5 for level in panel.levels) for panel in chart.panels[2])


def test_controls_lie_in_fans_and_histograms(charts: dict[str, Chart]) -> None:
    for panel in charts["dose_test"].panels[0]:
        assert len(panel.bands) == 2
        for band in panel.bands:  # slopes of ±2 per unit of dose
            np.testing.assert_allclose(band.high, (0.4, 0.0, 0.4))
            np.testing.assert_allclose(band.low, (-0.4, 0.0, -0.4))
    for row in charts["control_slopes"].panels:
        assert [panel.title for panel in row] == list(EMOTIONS)
        for panel in row:
            [outline] = panel.series
            assert sum(outline.y) / 2 == 40  # every control is counted, each bar has two corners
            assert panel.rules[0].x == 4.0


def test_plotly_accepts_every_chart(charts: dict[str, Chart]) -> None:
    assert len(charts) == 10
    for chart in charts.values():
        go.Figure(plotly_spec(chart))
        text = plotly_json(chart)
        assert "<" not in text and "NaN" not in text
        names = {v.removeprefix("var(--").removesuffix(")") for v in _strings(json.loads(text)) if v.startswith("var(")}
        assert names <= {*COLOURS, *(f"{role}-band" for role in COLOURS)}


def test_both_renderings_share_values(charts: dict[str, Chart]) -> None:
    chart = charts["split_half"]
    drawn = [t["y"] for t in json.loads(plotly_json(chart))["data"] if t["hoverinfo"] == "text"]
    np.testing.assert_allclose(drawn, [s.y for s in _all_series(chart)], rtol=1e-4)


def _all_series(chart: Chart) -> list:  # type: ignore[type-arg]
    return [series for row in chart.panels for panel in row for series in panel.series]


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [s for item in items for s in _strings(item)]


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
    places = [np.log10(s.y) / 3 if log else s.y for s in spread]
    assert all(b - a > 0.1 * 0.97 for a, b in itertools.pairwise(places))


@given(st.floats(-1e4, 1e4))
def test_numbers_keep_three_digits(value: float) -> None:
    text = number(value)
    assert "-" not in text and not text.startswith("−0.000")
    back = float(text.replace("−", "-"))
    assert abs(back - value) <= max(0.0005, abs(value) * 0.005) * 1.001


def test_colours_can_be_told_from_each_other_and_from_the_page() -> None:
    assert len({c.light for c in COLOURS.values()}) == len(COLOURS)  # drawings are recoloured by their light colour
    for theme in ("light", "dark"):
        page = _luminance(getattr(COLOURS["paper"], theme))
        for role, least in (("ink", 10), ("muted", 4.5), *((e, 3.5) for e in EMOTIONS), ("null-strong", 3)):
            other = _luminance(getattr(COLOURS[role], theme))
            assert (max(page, other) + 0.05) / (min(page, other) + 0.05) >= least, (role, theme)


def _luminance(colour: str) -> float:
    """WCAG 2 relative luminance."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_an_empty_panel_is_no_error() -> None:
    chart = Chart("k", "m: t", "c", "a", ((Panel("p", Axis("x", 0, 1), Axis("y", 0, 1)),),), ("r",))
    assert plotly_spec(chart)["data"] == []


def test_models_are_found_by_their_tables(finished: Path) -> None:
    found = read_results(finished)
    assert {m.name: m.slug for m in found.models} == MODELS
    assert all(not m.missing for m in found.models)
