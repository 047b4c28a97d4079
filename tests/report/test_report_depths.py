"""Depths and functions between models in the report: what is there is shown with its chance, what is not is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from report_pages import MODELS, Page, read_page

from emotion_circuits._files import write_table
from emotion_circuits.comparison import component_rows, pairs_table
from emotion_circuits.components import (
    FUNCTIONS,
    NOTHING,
    DepthProfiles,
    HeadFunction,
    ScenarioProfile,
    depth_measures,
    head_functions_table,
)
from emotion_circuits.errors import InputError
from emotion_circuits.prompts import bank
from emotion_circuits.report import write_figures, write_report
from emotion_circuits.report._depths import depth_chart, pair_sentence, read_depths
from emotion_circuits.statistics import measures_table

EMOTIONS = bank().emotions

A, B = MODELS
PAIR = "cross_model/a_and_b_components.parquet"


def profiles(model: str, peak: int, seed: int, layers: int = 6) -> DepthProfiles:
    rng = np.random.default_rng(seed)
    scenarios = tuple(map(str, range(12)))
    of = {
        (e, f.name): ScenarioProfile(scenarios, np.eye(layers)[peak] + 0.1 * rng.standard_normal((12, layers)))
        for e in EMOTIONS
        for f in FUNCTIONS
    }
    return DepthProfiles(model, layers, of)


def head(model: str, number: int, does: str) -> HeadFunction:
    row = dict.fromkeys(HeadFunction._fields, 0.2) | dict.fromkeys(("writes", "p_writes"), float("nan"))
    row |= {"model": model, "emotion": "anger", "layer": 4, "head": number, "does": does, "n_unique": 12}
    return HeadFunction(**row)


@pytest.fixture(scope="module")
def measured() -> tuple[DepthProfiles, DepthProfiles]:
    return profiles(A, 4, 0), profiles(B, 2, 1)


@pytest.fixture
def with_depths(folder: Path, measured) -> Path:
    for each, slug in zip(measured, MODELS.values(), strict=True):
        rows = depth_measures(each, n_draws=50, n_flips=99)
        write_table(folder / "heads" / f"depths_{slug}.parquet", measures_table(rows))
        heads = [head(each.model, 1, "reads the <word>"), head(each.model, 2, NOTHING)]
        write_table(folder / "heads" / f"functions_{slug}.parquet", head_functions_table(heads))
    write_table(folder / PAIR, pairs_table(component_rows(*measured, n_draws=99, n_bootstrap=50)))
    return folder


def test_the_section_shows_every_pair_beside_its_chance(with_depths: Path):
    write_report(with_depths)
    page = read_page(with_depths)
    assert sum(e.get("id") == "depths" for e in page.of("h2")) == 1
    assert "Are the same depths and functions found?" in page.text
    rows = [r for r in page.rows if r.startswith(f"{A}, {B}")]
    assert len(rows) == len(FUNCTIONS) + 3  # all functions, same function, same emotion
    assert "heads that" in page.text and f"in {A} by" in page.text
    [shown] = {r for r in page.rows if r.startswith(A) and "reads the <word>" in r}
    assert "4:1" in shown and "–" in shown and not any(NOTHING in r for r in page.rows)
    files = write_figures(with_depths)
    assert with_depths / "plots" / "components" / "depths.svg" in files


def test_the_chart_holds_every_function_emotion_and_model(with_depths: Path, measured):
    chart = depth_chart(read_depths(with_depths, MODELS))
    assert chart.row_titles == tuple(f.name for f in FUNCTIONS)
    for row in chart.panels:
        assert [p.title for p in row] == list(EMOTIONS)
        for panel in row:
            assert [s.name for s in panel.series] == list(MODELS) and len(panel.bands) == 2
            for series, peak in zip(panel.series, (4, 2), strict=True):
                assert series.x == pytest.approx((np.arange(6) + 0.5) / 6) and int(np.argmax(series.y)) == peak
    assert f"{A}, heads carry, most at anger layer 4" in chart.alt


def test_without_files_nothing_is_shown(page: Page, finished: Path, with_depths: Path):
    assert "depths and functions" not in page.text
    assert depth_chart(read_depths(finished, MODELS)) is None
    (with_depths / PAIR).unlink()
    write_report(with_depths)
    alone = read_page(with_depths)
    assert "Are the same depths" in alone.text and not any(r.startswith(f"{A}, {B}") for r in alone.rows)
    assert not read_depths(with_depths, {A: MODELS[A]}).pairs


def test_sentences_say_what_was_found(measured):
    same = pair_sentence(component_rows(measured[0], profiles(B, 4, 2), n_draws=99, n_bootstrap=50))
    assert "beyond chance for" in same and "Furthest" not in same
    moved = pair_sentence(component_rows(*measured, n_draws=99, n_bootstrap=50))
    assert "for no function" in moved and f"in {A} by 0.2" in moved and f"deeper than in {B}" in moved
    turned = pair_sentence(component_rows(*measured[::-1], n_draws=99, n_bootstrap=50))
    assert f"in {A} by 0.2" in turned
    few = component_rows(measured[0], DepthProfiles(B, 6, {k: p.only(["1"]) for k, p in measured[1].of.items()}))
    assert "not tested" in pair_sentence(few)


def test_another_table_is_one_clear_error(with_depths: Path):
    path = with_depths / PAIR
    path.write_bytes((with_depths / "patching" / "org--model_sweep.parquet").read_bytes())
    with pytest.raises(InputError, match="not a table of this version"):
        write_report(with_depths)
