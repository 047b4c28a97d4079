"""The one printer of rows: what it shows, what it leaves out, and that no number is lost on the way."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emotion_circuits._row_tables import OF_THE_FIRST, Shown, Table, row_table
from emotion_circuits.statistics import Measure

NAN = float("nan")
numbers = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))


def measure(emotion="anger", layer=0, statistic="AUROC", value=0.5, **others):
    usual = {"model": "m", "position": "mean", "kind": "specific", "ci_low": NAN, "ci_high": NAN, "chance": 0.5,
             "null_low": NAN, "null_high": NAN, "ceiling": NAN, "p": NAN, "n_unique": 7}  # fmt: skip
    return Measure(**{**usual, "emotion": emotion, "layer": layer, "statistic": statistic, "value": value, **others})


def columns(table):
    return [" ".join(name.split()) for name in table.columns]


@given(st.lists(st.tuples(numbers, numbers, numbers, st.floats(0, 1)), min_size=1, max_size=8))
def test_every_number_stands_in_its_row_beside_its_interval_and_chance(values):
    rows = [measure(layer=i, value=v, ci_low=lo, ci_high=hi, p=p) for i, (v, lo, hi, p) in enumerate(values)]
    table = row_table(rows)
    at = {name: place for place, name in enumerate(columns(table))}
    assert len(table.rows) == len(rows)
    for row, cells in zip(rows, table.rows, strict=True):
        for cell, number in ((cells[at["value"]], row.value), (cells[at["chance"]], row.chance)):
            assert float(cell) == pytest.approx(number, rel=5e-3, abs=5e-4)
        low, high = (float(end) for end in cells[at["95 % interval"]].strip("[]").split(", "))
        assert low == pytest.approx(row.ci_low, rel=5e-3, abs=5e-4)
        assert high == pytest.approx(row.ci_high, rel=5e-3, abs=5e-4)
        assert cells[at["p"]] == "<0.001" if row.p < 0.0005 else float(cells[at["p"]]) == pytest.approx(row.p, abs=5e-4)


def test_what_is_empty_is_left_out_and_what_is_the_same_is_said_once():
    table = row_table([measure(layer=-1), measure("joy", layer=2, value=NAN)], hide=["position"], notes=["mine"])
    assert columns(table) == ["emotion", "layer", "value", "chance", "n"]
    assert table.rows == [("anger", "embed", "0.5", "0.5", "7"), ("joy", "2", "–", "0.5", "7")]
    assert table.notes == ["model: m; kind: specific; statistic: AUROC", "mine"]
    assert columns(row_table([measure()]))[:3] == ["model", "emotion", "position"], "of one row nothing is the same"


def test_no_rows_give_an_empty_table():
    assert (row_table([]).rows, row_table([]).columns) == ([], [])


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=2, max_size=3, unique=True), st.integers(1, 4))
def test_a_wide_table_has_a_line_for_each_thing_and_all_its_statistics(statistics, n):
    rows = [
        measure(layer=layer, statistic=s, value=10 * i + layer, null_low=0.1, null_high=0.2, ceiling=1.0)
        for layer, (i, s) in product(range(n), enumerate(statistics))
    ]
    table = row_table(rows, wide=True)
    names = columns(table)
    assert len(table.rows) == n and [name for name in names if name in statistics] == statistics
    for layer, cells in enumerate(table.rows):
        for i, s in enumerate(statistics):
            assert float(cells[names.index(s)]) == 10 * i + layer
    assert names.count("chance") == len(statistics)
    assert all(names.count(shown) == 1 for shown in ("by chance, 95 %", "ceiling", "n")), OF_THE_FIRST


def test_rows_beyond_the_most_are_counted():
    table = row_table([measure(layer=i) for i in range(9)], most=4)
    assert len(table.rows) == 4 and "5 more rows in the file" in table.notes


def test_rows_of_any_named_tuple_and_mappings_are_printed():
    class Row(NamedTuple):
        name: str
        damage_low: float
        damage_high: float
        p_random: float

    rows = [Row("x", 1.0, 2.0, 0.0001), Row("y", NAN, 2.0, 1.0)]
    expected = [("x", "[1, 2]", "<0.001"), ("y", "–", "1.000")]
    for given_rows in (rows, [row._asdict() for row in rows]):
        table = row_table(given_rows, heads={"name": "who"})
        assert columns(table) == ["who", "damage 95 %", "p over chance"] and table.rows == expected


class Written(Shown):
    def table(self) -> Table:
        return Table(("log-\nodds", "<i>"), [(0.123456, "<script>&"), (None, True)], "a < b", ["n & more"])


def test_a_notebook_shows_the_same_cells_escaped():
    html = Written()._repr_html_()
    assert html == (
        "<table><caption>a &lt; b</caption><tr><th>log-odds</th><th>&lt;i&gt;</th></tr>"
        "<tr><td>0.1235</td><td>&lt;script&gt;&amp;</td></tr><tr><td>–</td><td>yes</td></tr></table>"
        "<div>n &amp; more</div>"
    )
