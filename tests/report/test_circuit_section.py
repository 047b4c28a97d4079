"""Circuits in the report: what is drawn of the edges and where, and a folder without them stays as it was."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_pages import read_page

from emotion_circuits._plain import to_plain
from emotion_circuits.components import CMD, COMPLETENESS, CPR, EMBED, FAITHFULNESS, OUTPUT, Edge, EdgeTarget
from emotion_circuits.errors import InputError
from emotion_circuits.report import write_circuit_pictures, write_figures, write_report
from emotion_circuits.report._circuit_file import read_circuits
from emotion_circuits.report._circuit_picture import (
    MOST_EDGES,
    circuit_picture_alt,
    circuit_picture_caption,
    draw_circuit_picture,
    drawn_edges,
    layout,
)
from emotion_circuits.report._static import WIDTH, svg_text
from emotion_circuits.report._style import matplotlib_settings
from emotion_circuits.statistics import Measure

TITLE = "Do heads and units form a circuit?"


def edge(source, target, effect, p=0.01, half=0.5):
    low, high = sorted((effect * (1 - half), effect * (1 + half)))
    return Edge(source, target, effect, low, high, p, 0.1, 12)


def some_edges(n_layers, seed=0):
    """Nine heads and eleven units spread over the layers, each fed by the embeddings, some by each other."""
    rng = np.random.default_rng(seed)
    heads = [f"head {layer}:{i}" for i, layer in enumerate(sorted(rng.integers(0, n_layers, 9)))]
    units = [f"unit {layer}:{1000 + i}" for i, layer in enumerate(sorted(rng.integers(0, n_layers, 11)))]
    ordered = sorted((*heads, *units), key=place)
    found = [edge(EMBED, OUTPUT, 0.2)]
    for name in ordered:
        found += [edge(EMBED, name, rng.normal() * 0.1), edge(name, OUTPUT, rng.normal() * 0.1, p=0.3)]
    found += [
        edge(a, b, rng.normal() * 0.1, p=float(rng.uniform(0, 0.1)))
        for a, b in itertools.combinations(ordered, 2)
        if place(a) != place(b)
    ]
    return found


def place(name):
    kind, _, number = name.partition(" ")
    return int(number.split(":")[0]), kind == "unit"


def write_circuits(folder: Path, model="reference/gpt2", slug="reference--gpt2", edges=None) -> Path:
    measures = [
        Measure(model, e, position, -1, "path attribution", statistic, value, value - 0.1, value + 0.1, 0.1, 0.0, 0.2,
                1.0, 0.01, 12)
        for e in ("gratitude", "apology")
        for statistic, position, value in (
            (FAITHFULNESS, "0.01", 0.31), (FAITHFULNESS, "0.05", 0.4142), (FAITHFULNESS, "1", 1.0),
            (CPR, "all sizes", 0.77), (CMD, "all sizes", 0.25), (COMPLETENESS, "0.05", 0.93),
        )
    ]  # fmt: skip
    nothing = float("nan")
    measures += [m._replace(emotion="anger", value=nothing, ci_low=nothing, ci_high=nothing) for m in measures[:6]]
    found = edges or {"gratitude": some_edges(8), "apology": [edge("head 0:1", OUTPUT, 0.1, p=0.9, half=1.5)]}
    target = EdgeTarget(OUTPUT, 0.52, 0.4, 0.6, 0.5, 0.1, 12)
    content = {
        "model": model, "ranking": "path attribution", "size": 0.05, "controls": 20, "measures": measures,
        "circuits": {
            e: {"tested": e != "anger", "heads": ["0:1", "5:3"], "units": ["7:1000"], "loss_without": {}}
            for e in ("gratitude", "anger", "apology")
        },
        "overlaps": {}, "edges": found, "edge_targets": {e: [target] for e in found},
    }  # fmt: skip
    path = folder / "circuits" / f"{slug}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(to_plain(content)))
    return path


def test_only_the_strongest_clear_edges_are_drawn():
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
def test_signs_stand_apart_and_upward(n_layers, seed, room):
    found = layout("gratitude", some_edges(n_layers, seed), room)
    assert found is not None and len(found.edges) == MOST_EDGES
    named = {n for e in found.edges for n in (e.source, e.target)} - {EMBED, OUTPUT}
    assert set(found.places) == named
    columns = sorted([p.x for p in found.places.values()] + [found.direct] * (edge(EMBED, OUTPUT, 0.2) in found.edges))
    assert all(b - a > 0.4 for a, b in itertools.pairwise(columns)), "no line to the output passes another sign"
    for a, b in itertools.permutations(named, 2):
        assert (place(a) < place(b)) == (found.places[a].y < found.places[b].y)
    sides = {kind: [p.x for n, p in found.places.items() if n.startswith(kind)] for kind in ("head", "unit")}
    assert not sides["head"] or not sides["unit"] or max(sides["head"]) < min(sides["unit"])
    assert min(columns) > 0 and max(columns) < found.width <= WIDTH
    ys = [p.y for p in found.places.values()]
    assert min(ys) > 0 and max(ys) < found.height


@pytest.mark.parametrize("n_layers", [8, 30])
def test_no_text_of_the_picture_overlaps_another(tmp_path, n_layers):
    edges = {"gratitude": some_edges(n_layers, 3), "apology": some_edges(n_layers, 4)[:12]}
    found = read_circuits(write_circuits(tmp_path, edges=edges))
    with matplotlib_settings():
        figure = draw_circuit_picture(found, title="t")
        assert figure is not None
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()
        texts = [t for axes in figure.axes for t in axes.texts] + [*figure.texts, *figure.legends[0].get_texts()]
        boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts]
        for (said, a), (other, b) in itertools.combinations(boxes, 2):
            assert not a.overlaps(b), (said, other)
        frame = figure.bbox
        assert all(b.x0 >= frame.x0 and b.x1 <= frame.x1 and b.y0 >= frame.y0 and b.y1 <= frame.y1 for _, b in boxes)
        svg = svg_text(figure)
    for emotion, own in edges.items():
        panel = layout(emotion, own)
        assert panel is not None
        for name in panel.places:
            assert f">{name.partition(' ')[2]}<" in svg
    assert svg.count("layer ") >= 2


def test_the_picture_says_what_it_leaves_out(tmp_path):
    found = read_circuits(write_circuits(tmp_path))
    caption, alt = circuit_picture_caption(found), circuit_picture_alt(found)
    assert "interval without 0: apology" in caption and "same outcome: anger" in caption and "left out" in caption
    assert "apology: no edge to draw" in alt and "anger" not in alt
    strongest = drawn_edges(found.edges["gratitude"])[0]
    assert f"{strongest.source} to {strongest.target}" in alt
    assert np.isnan(next(m.value for m in found.measures if m.emotion == "anger"))


def test_the_report_shows_circuits_where_there_are_some(folder: Path):
    write_report(folder)
    before = read_page(folder)
    assert TITLE not in before.text
    path = write_circuits(folder)
    write_report(folder)
    page = read_page(folder)
    assert page.text.count(TITLE) == 1 and len(page.of("img")) == len(before.of("img")) + 2
    rows = [r for r in page.rows if r.startswith(("CPR", "CMD", "faithfulness", "completeness"))]
    assert len(rows) == 2 * 4
    assert any("0.414" in r and "[0.314, 0.514]" in r and "0.010" in r and r.endswith("12") for r in rows)
    assert sum("0.310" in r for r in rows) == 0, "only the declared size"
    assert any("anger" in r and "not tested" in r for r in page.rows)
    assert page.text.index("Where does the emotion stand?") < page.text.index(TITLE)
    drawn = {f.name for f in write_figures(folder) if f.parent.name == "reference--gpt2"}
    assert {"circuits.png", "circuits.svg", "circuit_edges.png", "circuit_edges.svg"} <= drawn
    assert any(r.startswith("CPR") and "all sizes" in r for r in page.rows)
    # Files of before have no edges: the curves stay. A study takes areas over some sizes, and says which.
    content = json.loads(path.read_text())
    for row in content["measures"]:
        row["position"] = "sizes 0.2, 1" if row["position"] == "all sizes" else row["position"]
    del content["edges"], content["edge_targets"]
    path.write_text(json.dumps(content))
    write_report(folder)
    page = read_page(folder)
    assert len(page.of("img")) == len(before.of("img")) + 1
    for area in (CPR, CMD):
        assert sum(r.startswith(area) and "sizes 0.2, 1" in r for r in page.rows) == 2


def test_pictures_beside_the_file(tmp_path):
    path = write_circuits(tmp_path)
    files = write_circuit_pictures(path)
    assert [f.name for f in files] == [
        f"reference--gpt2{part}.{end}" for part in ("", "_edges") for end in ("png", "svg")
    ]
    first = {f: f.read_bytes() for f in files}
    assert {f: f.read_bytes() for f in write_circuit_pictures(path)} == first
    for spoilt in (
        "{}",
        '{"model": "m", "circuits": []}',
        json.dumps({**json.loads(path.read_text()), "measures": [3]}),
        path.read_text().replace('"output"', '"exit 9"'),
    ):
        path.write_text(spoilt)
        with pytest.raises(InputError, match="not a file of circuits"):
            read_circuits(path)
