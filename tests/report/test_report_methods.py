"""Methods beside each other on a model's page: the optional table, its plot and its captions."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_folder import write_folder
from report_pages import read_page

from emotion_circuits.components import MethodRow, methods_table
from emotion_circuits.errors import InputError
from emotion_circuits.report import write_figures, write_report
from emotion_circuits.report._methods_section import methods_alt, methods_caption, methods_html, read_methods
from emotion_circuits.report._results import read_results

NAN = float("nan")


def row(method: str, effect: float, damage: float, **changes: object) -> MethodRow:
    usual = dict.fromkeys(MethodRow._fields, NAN) | {
        "model": "org/model", "emotion": "anger", "way": "raise", "method": method, "dose": 0.2, "layer": 3,
        "scorer": "offline", "effect": effect, "ci_low": effect - 0.05, "ci_high": effect + 0.05, "chance": 0.012,
        "chance_low": -0.021, "chance_high": 0.034, "p": 0.004, "clean_score": 0.1, "ceiling": 0.9, "damage": damage,
        "damage_low": damage - 0.1, "damage_high": damage + 0.1, "regime": "steered", "on_front": False,
        "n_prompts": 15, "n_texts": 45,
    }  # fmt: skip
    return MethodRow(**(usual | changes))  # type: ignore[arg-type]


ROWS = [
    row("add", 0.231, 1.17, on_front=True),
    row("clamp", 0.18, 1.3),
    row("prompted", 0.05, 1.02, dose=NAN, layer=-1, chance=NAN, chance_low=NAN, chance_high=NAN, p=0.04),
    row("random", 0.012, 1.1, p=0.7),
    row("add", 0.11, 4.0, way="lower", dose=-0.2, regime="collapsed"),
    row("add", 0.3, 1.17, scorer="markers"),
]


def write(folder: Path, rows: list[MethodRow]) -> Path:
    path = folder / "patching" / "org--model_methods.parquet"
    methods_table(rows).to_parquet(path, index=False)
    return path


def test_the_table_comes_back_and_without_it_there_is_nothing(folder: Path) -> None:
    assert read_methods(folder, "org/model", "org--model") == ()
    write(folder, [*ROWS, row("add", 1.0, 1.0, model="another")])
    found = read_methods(folder, "org/model", "org--model")
    assert [(r.method, r.way, r.scorer, r.effect) for r in found] == [
        (r.method, r.way, r.scorer, r.effect) for r in ROWS
    ]
    [model] = [m for m in read_results(folder).models if m.name == "org/model"]
    assert len(model.methods) == len(ROWS) and not any("methods" in sentence for sentence in model.missing)


def test_a_table_of_another_version_is_refused(folder: Path) -> None:
    path = write(folder, ROWS)
    methods_table(ROWS).drop(columns="damage").to_parquet(path, index=False)
    with pytest.raises(InputError, match="not a table of this version"):
        read_results(folder)


def test_every_method_stands_beside_chance_interval_damage_and_n(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "baseline", {"org/model": "org--model"}, 1)
    write(folder, ROWS)
    plots = {f.relative_to(folder / "plots").as_posix() for f in write_figures(folder)}
    assert {"org--model/methods.png", "org--model/methods.svg"} <= plots
    write_report(folder)
    page = read_page(folder)
    assert page.text.count("Which way of changing tone is best?") == 1
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
    assert page.open == [] and len(page.of("table")) == len(page.of("caption"))


def test_captions_say_what_was_scored_and_alt_what_is_best() -> None:
    assert "offline" in methods_caption(ROWS) and "15 prompts" in methods_caption(ROWS)
    alt = methods_alt(ROWS)
    assert "anger raised in neutral prompts: add 0.2 0.231 [0.181, 0.281], p = 0.004, perplexity × 1.17" in alt
    assert "lowered in the emotion's own prompts: no method has an effect" in alt
    html = methods_html(ROWS)
    assert html.count("<table>") == 2 and html.count("<details>") == 1 and "scorer markers" in html


def test_names_cannot_break_out() -> None:
    html = methods_html([row("<script>", 0.1, 1.0, emotion="<img>", scorer="<b>")])
    assert not any(tag in html for tag in ("<script>", "<img>", "<b>"))
