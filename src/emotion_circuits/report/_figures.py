"""Which figures a study has, and their files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from emotion_circuits.report._chart import Chart
from emotion_circuits.report._circuit_picture import draw_circuit_picture
from emotion_circuits.report._circuits import draw_circuits
from emotion_circuits.report._cosines import COSINE, draw_cosines
from emotion_circuits.report._depths import depth_chart, read_depths
from emotion_circuits.report._doses import dose_charts
from emotion_circuits.report._foils import foil_charts
from emotion_circuits.report._forest import draw_forest
from emotion_circuits.report._head_maps import draw_head_maps
from emotion_circuits.report._heads import TITLE as HEADS_TITLE
from emotion_circuits.report._maps import figures_of
from emotion_circuits.report._methods import draw_methods
from emotion_circuits.report._methods_section import drawn_rows
from emotion_circuits.report._profiles import layer_profiles
from emotion_circuits.report._results import ModelResults, Results, read_results
from emotion_circuits.report._static import draw_chart, write_picture
from emotion_circuits.report._style import matplotlib_settings
from emotion_circuits.report._swaps import draw_swaps
from emotion_circuits.report._sweep_maps import draw_sweep_map, model_sweep_maps, sweep_title
from emotion_circuits.report._words import ids_of


class ModelCharts(NamedTuple):
    """A model's charts and the positions that have cosines."""

    profiles: list[Chart]
    doses: list[Chart]
    cosine_positions: tuple[str, ...]


def charts_of(model: ModelResults) -> ModelCharts:
    """Everything that can be drawn of a model."""
    return ModelCharts(
        [*layer_profiles(model), *foil_charts(model)], dose_charts(model), model.positions("cosines", COSINE)
    )


SHARED = "shared"


def figure_parts(folder: Path) -> tuple[str, ...]:
    """What `write_figures` can draw apart: each model's figures, by its folder's name, and those of no one model."""
    return (*(model.slug for model in read_results(folder).models), SHARED)


def write_figures(folder: Path, part: str | None = None) -> list[Path]:
    """Draw figures into `plots/`, as PNG and SVG: claims, maps, and per model profiles, cosines and dose curves.

    The same results give the same bytes. A figure whose table is missing is left out.

    Args:
        folder: `results/<profile>`.
        part: one of `figure_parts`; None draws all.

    Returns:
        The files, sorted.

    Raises:
        InputError: no such folder, a table that cannot be read, or a folder that cannot be written.
    """
    results = read_results(folder)
    plots = folder / "plots"
    files: list[Path] = []
    with matplotlib_settings():
        if part in (None, SHARED):
            files += _write_shared(results, plots)
        for model in results.models:
            if part in (None, model.slug):
                files += _write_model(model, plots / model.slug)
    return sorted(files)


def _write_shared(results: Results, plots: Path) -> Iterator[Path]:
    for identifier in ids_of(results.claims):
        figure = draw_forest([c for c in results.claims if c.id == identifier], with_title=True)
        if figure is not None:
            yield from write_picture(figure, plots / "claims" / identifier.replace(".", "_"))
    for slug, figure in figures_of(results.pairs):
        yield from write_picture(figure, plots / "alignment" / slug)
    depths = depth_chart(read_depths(results.folder, {m.name: m.slug for m in results.models}))
    if depths is not None:
        yield from write_picture(draw_chart(depths, with_title=True), plots / "components" / depths.key)


def _write_model(model: ModelResults, folder: Path) -> Iterator[Path]:
    charts = charts_of(model)
    for chart in (*charts.profiles, *charts.doses):
        yield from write_picture(draw_chart(chart, with_title=True), folder / chart.key)
    for position in charts.cosine_positions:
        figure = draw_cosines(model, position, with_title=True)
        if figure is not None:
            yield from write_picture(figure, folder / f"cosines_{position}")
    figure = draw_swaps(model, with_title=True)
    if figure is not None:
        yield from write_picture(figure, folder / "interchange")
    for key, found in model_sweep_maps(model).items():
        yield from write_picture(draw_sweep_map(found, title=f"{model.name}: {sweep_title(found)}"), folder / key)
    figure = draw_methods(drawn_rows(model.methods), title=f"{model.name}: effect of every method against damage")
    if figure is not None:
        yield from write_picture(figure, folder / "methods")
    figure = draw_head_maps(model.heads, title=f"{model.name}: {HEADS_TITLE}")
    if figure is not None:
        yield from write_picture(figure, folder / "heads")
    if model.circuits is not None:
        title = f"{model.name}: what circuits carry alone"
        figure = draw_circuits(model.circuits.measures, title=title)
        if figure is not None:
            yield from write_picture(figure, folder / "circuits")
        title = f"{model.name}: how the circuit's members feed each other"
        figure = draw_circuit_picture(model.circuits, title=title)
        if figure is not None:
            yield from write_picture(figure, folder / "circuit_edges")
