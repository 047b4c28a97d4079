"""Circuits in the report: what is drawn of the edges and where, and a folder without them stays as it was."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_extras import edge, some_edges, step_of, write_circuits
from report_pages import Page, pictures_in

from emotion_circuits.components import CMD, CPR, EMBED, OUTPUT
from emotion_circuits.errors import InputError
from emotion_circuits.report import Picture, circuit_pictures, read_results, sections, write_pictures
from emotion_circuits.report._canvas import WIDTH, font
from emotion_circuits.report._circuit_edges import MOST_EDGES, drawn_edges, layout
from emotion_circuits.report._circuits import read_circuits

TITLE = "Do heads and units form a circuit?"


def test_only_the_strongest_clear_edges_are_drawn() -> None:
    clear, steady, unclear = (
        edge(EMBED, OUTPUT, 0.1),
        edge("head 0:1", OUTPUT, -0.2, p=0.9),
        edge("a", "b", 9.0, 0.9, 1.1),
    )
    assert drawn_edges([clear, unclear, steady]) == (steady, clear)
    many = [edge(EMBED, f"head 0:{i}", 0.01 * (i + 1)) for i in range(40)]
    assert drawn_edges(many) == tuple(reversed(many[-MOST_EDGES:]))
    assert layout("anger", [unclear]) is None


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(0, 1000), st.sampled_from([0.0, WIDTH]))
def test_signs_stand_apart_and_upward(n_layers: int, seed: int, room: float) -> None:
    found = layout("gratitude", some_edges(n_layers, seed), room)
    assert found is not None and len(found.edges) == MOST_EDGES
    named = {n for e in found.edges for n in (e.source, e.target)} - {EMBED, OUTPUT}
    assert set(found.places) == named
    columns = sorted([x for x, _ in found.places.values()] + [found.direct] * (edge(EMBED, OUTPUT, 0.2) in found.edges))
    assert all(b - a > 0.4 for a, b in itertools.pairwise(columns)), "no line to the output passes another sign"
    for a, b in itertools.permutations(named, 2):
        assert (step_of(a) < step_of(b)) == (found.places[a][1] > found.places[b][1])
    sides = {kind: [x for n, (x, _) in found.places.items() if n.startswith(kind)] for kind in ("head", "unit")}
    assert not sides["head"] or not sides["unit"] or max(sides["head"]) < min(sides["unit"])
    assert min(columns) > 0 and max(columns) < found.width <= WIDTH
    ys = [y for _, y in found.places.values()]
    assert min(ys) > 0 and max(ys) < found.height


@pytest.mark.parametrize("n_layers", [8, 30])
def test_no_text_of_the_picture_overlaps_another(tmp_path: Path, n_layers: int) -> None:
    edges = {"gratitude": some_edges(n_layers, 3), "apology": some_edges(n_layers, 4)[:12]}
    picture = circuit_pictures(write_circuits(tmp_path, "reference/gpt2", "m", edges))[1]
    canvas = picture.drawing.draw("t")
    boxes = []
    for x, y, text, look in canvas.lines():
        anchor = {"left": "ls", "center": "ms", "right": "rs"}[look["across"]]
        box = font(look["size"], look["bold"]).getbbox(text, anchor=anchor)
        boxes.append((text, [at / 120 + (x, y)[i % 2] for i, at in enumerate(box)]))
    for (said, (left, top, right, bottom)), (other, box) in itertools.combinations(boxes, 2):
        assert right <= box[0] or left >= box[2] or bottom <= box[1] or top >= box[3], (said, other)
    assert all(b[0] >= 0 and b[2] <= WIDTH and b[1] >= 0 and b[3] <= canvas.height for _, b in boxes)
    said = {text for text, _ in boxes}
    for emotion, own in edges.items():
        panel = layout(emotion, own)
        assert panel is not None and {name.partition(" ")[2] for name in panel.places} <= said


def test_the_picture_says_what_it_leaves_out(pictures: dict[str, Picture], finished: Path) -> None:
    found = read_circuits(finished / "circuits" / "reference--gpt2.json")
    picture = pictures["reference--gpt2/circuit_edges"]
    assert "interval without 0: apology" in picture.caption and "same outcome: anger" in picture.caption
    assert "left out" in picture.caption
    strongest = drawn_edges(found.edges["gratitude"])[0]
    assert f"{strongest.source} → {strongest.target}" in picture.alt() and "anger" not in picture.alt()
    assert np.isnan(next(m.value for m in found.measures if m.emotion == "anger"))
    assert any(f"{strongest.source} → {strongest.target}" in h.text for h in picture.drawing.draw("").hovers)


def test_the_report_shows_circuits_where_there_are_some(page: Page) -> None:
    assert page.text.count(TITLE) == 1
    rows = [r for r in page.rows if r.startswith(("CPR", "CMD", "faithfulness", "completeness"))]
    assert len(rows) == 2 * 4
    assert any("0.414" in r and "[0.314, 0.514]" in r and "0.010" in r and r.endswith("12") for r in rows)
    assert sum("0.310" in r for r in rows) == 0, "only the declared size"
    assert any("anger" in r and "not tested" in r for r in page.rows)
    assert page.text.index("Where does the emotion stand?") < page.text.index(TITLE)
    assert any(r.startswith("CPR") and "all sizes" in r for r in page.rows)


def test_files_of_before_have_no_edges_and_areas_over_some_sizes_say_which(folder: Path) -> None:
    path = folder / "circuits" / "reference--gpt2.json"
    content = json.loads(path.read_text())
    for row in content["measures"]:
        row["position"] = "sizes 0.2, 1" if row["position"] == "all sizes" else row["position"]
    del content["edges"], content["edge_targets"]
    path.write_text(json.dumps(content))
    shown = pictures_in(folder)
    assert "reference--gpt2/circuits" in shown and "reference--gpt2/circuit_edges" not in shown
    [own] = [s for s in sections(read_results(folder)) if s.title == TITLE]
    [table] = [part for part in own.parts if isinstance(part, str)]
    for area in (CPR, CMD):
        assert sum(r.startswith(area) and "sizes 0.2, 1" in r for r in Page(table).rows) == 2
    path.unlink()
    assert TITLE not in {s.title for s in sections(read_results(folder))}


def test_pictures_beside_the_file(tmp_path: Path) -> None:
    path = write_circuits(tmp_path, "reference/gpt2", "reference--gpt2")
    files = write_pictures(circuit_pictures(path), tmp_path)
    assert [f.name for f in files] == [
        f"reference--gpt2{part}.{end}" for part in ("", "_edges") for end in ("png", "svg")
    ]
    for spoilt in (
        "{}",
        '{"model": "m", "circuits": []}',
        json.dumps({**json.loads(path.read_text()), "measures": [3]}),
        path.read_text().replace('"output"', '"exit 9"'),
    ):
        path.write_text(spoilt)
        with pytest.raises(InputError, match="not a file of circuits"):
            circuit_pictures(path)
