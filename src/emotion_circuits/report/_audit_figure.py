"""The figure of the audit: how an overlap goes from chance to its maximum on noise, and how it comes back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emotion_circuits.report._chart import Axis, Label, spread_labels
from emotion_circuits.report._static import new_figure, write_picture
from emotion_circuits.report._style import light, matplotlib_settings, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from emotion_circuits.audit import OverlapOnNoise, Stage

_HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 5.3, 0.8, 1.55, 0.8, 0.55
_LOW, _HIGH = 0.0008, 2.2
# Where models and earlier results stand, beside the noise.
_BESIDE = 0.17
_MOST_NAMES = 4
_EARLIER = {"before": 0.001, "mapped": 0.99}
_EARLIER_WIDTH = 768
_NAMES = {
    "before": "before any map",
    "mapped": "after the map, as the\nearlier project computed it",
    "orthonormal": "the same map, mapped basis\nmade orthonormal",
    "held out": "orthonormal, judged on\nheld-out scenarios",
}
_TICKS = (0.001, 0.01, 0.1, 1.0)


def write_audit_figure(overlap: OverlapOnNoise, folder: Path) -> list[Path]:
    """Write `plots/audit/overlap_on_noise` as PNG and SVG.

    Args:
        overlap: of an audit.
        folder: `results/<profile>`.

    Raises:
        InputError: the folder cannot be written.
    """
    with matplotlib_settings():
        return write_picture(_draw(overlap), folder / "plots" / "audit" / "overlap_on_noise")


def _draw(overlap: OverlapOnNoise) -> Figure:
    from emotion_circuits.report._static import WIDTH

    figure = new_figure(_HEIGHT)
    height = _HEIGHT - _TOP - _BOTTOM
    axes = figure.add_axes((_LEFT / WIDTH, _BOTTOM / _HEIGHT, (WIDTH - _LEFT - _RIGHT) / WIDTH, height / _HEIGHT))
    low = min(_LOW, *(float(stage.noise.min()) * 0.8 for stage in overlap.stages))
    _set_axes(axes, len(overlap.stages), low)
    _draw_levels(axes, overlap, low, height)
    _draw_path(axes, overlap.stages)
    for place, stage in enumerate(overlap.stages):
        _draw_noise(axes, place, stage)
        _draw_models(axes, place, stage)
        _draw_earlier(axes, place, stage)
    axes.set_xticks(range(len(overlap.stages)), [_NAMES[stage.name] for stage in overlap.stages])
    _write_head(figure, overlap)
    return figure


def _write_head(figure: Figure, overlap: OverlapOnNoise) -> None:
    before, mapped, _, held = (float(stage.noise.mean()) for stage in overlap.stages)
    title = (
        f"The earlier project's map takes independent noise from {number(before)} to {number(mapped)}; "
        f"computed soundly, it stays at {number(held)}"
    )
    draws = " or ".join(dict.fromkeys(str(len(stage.noise)) for stage in overlap.stages))
    text = (
        f"Overlap of two {overlap.k}-dimensional subspaces, {overlap.n} texts of {overlap.d} dimensions per class. "
        f"Grey: {draws} draws of noise, one dot each, and their mean.\n{_names(overlap)} "
        f"Diamonds: what the earlier project reported, at {_EARLIER_WIDTH} dimensions."
    )
    figure.text(0.006, 1 - 0.07 / _HEIGHT, title, fontsize=11, fontweight="bold", va="top")
    figure.text(0.006, 1 - 0.33 / _HEIGHT, text, fontsize=8.5, va="top", color=light("muted"), linespacing=1.35)


def _set_axes(axes: Axes, n_stages: int, low: float) -> None:
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    axes.set_yscale("log")
    axes.set_xlim(-0.5, n_stages - 1 + 0.85)
    axes.set_ylim(low, _HIGH)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(FixedLocator(_TICKS))
    axes.yaxis.set_major_formatter(FixedFormatter([f"{tick:g}" for tick in _TICKS]))
    axes.set_ylabel("mean squared entry of the Gram matrix", fontsize=8.5, labelpad=3)
    axes.tick_params(length=2.5)
    axes.tick_params(axis="x", labelcolor=light("ink"), labelsize=9)


def _draw_levels(axes: Axes, overlap: OverlapOnNoise, low: float, height: float) -> None:
    axes.axhspan(overlap.ceiling, _HIGH, color=light("below"), alpha=0.08, lw=0, zorder=0)
    axes.axhline(overlap.ceiling, color=light("below"), lw=1.1, ls=(0, (5, 2.5)), zorder=1.5)
    axes.axhline(overlap.chance, color=light("muted"), lw=1, ls=(0, (5, 2.5)), zorder=1.5)
    axes.text(
        2.5, (overlap.ceiling * _HIGH) ** 0.5, "no two orthonormal bases can be here", ha="center", va="center",
        fontsize=9, color=light("below"), style="italic",
    )  # fmt: skip
    labels = [
        Label(overlap.ceiling, f"ceiling 1/{overlap.k} = {number(overlap.ceiling)}:\nequal subspaces", "below"),
        Label(overlap.chance, f"chance 1/{overlap.d} = {number(overlap.chance)}:\nunrelated subspaces", "muted"),
    ]
    for label in spread_labels(labels, Axis("", low, _HIGH, log=True), height, line=0.3):
        axes.annotate(
            label.text, (1.0, label.y), xycoords=("axes fraction", "data"), xytext=(5, 0), textcoords="offset points",
            va="center", fontsize=8, color=light(label.colour), annotation_clip=False, linespacing=1.25,
        )  # fmt: skip


def _draw_path(axes: Axes, stages: tuple[Stage, ...]) -> None:
    """The noise's mean from stage to stage."""
    means = [float(stage.noise.mean()) for stage in stages]
    axes.plot(range(len(means)), means, color=light("null"), lw=1.1, alpha=0.7, zorder=1.8)


def _draw_noise(axes: Axes, place: int, stage: Stage) -> None:
    # Spread by rank in a fixed, irregular order, so that the picture is the same on every run.
    n = len(stage.noise)
    across = (np.arange(n) * 0.6180339887) % 1.0 - 0.5
    axes.plot(
        place + 0.17 * across, np.sort(stage.noise), ls="none", marker="o", ms=2.6, mew=0, alpha=0.55,
        color=light("null-strong"), zorder=2.5,
    )  # fmt: skip
    axes.annotate(
        f"noise {number(float(stage.noise.mean()))}", (place, float(stage.noise.min())), xytext=(0, -6),
        textcoords="offset points", ha="center", va="top", fontsize=8, color=light("null-strong"),
    )  # fmt: skip


def _draw_models(axes: Axes, place: int, stage: Stage) -> None:
    if not stage.models:
        return
    values = sorted(stage.models.values())
    axes.plot(
        [place + _BESIDE] * len(values), values, ls="none", marker="o", ms=5, mew=0.8, mec=light("paper"),
        color=light("all"), zorder=4,
    )  # fmt: skip
    low, high = number(values[0]), number(values[-1])
    # Above the middle of the points, so that the line of chance does not run through it.
    axes.annotate(
        f"models {low}" if low == high else f"models {low} – {high}",
        (place + _BESIDE, float(np.sqrt(values[0] * values[-1]))), xytext=(7, 1), textcoords="offset points",
        va="bottom", fontsize=8, color=light("all"),
    )  # fmt: skip


def _draw_earlier(axes: Axes, place: int, stage: Stage) -> None:
    if stage.name not in _EARLIER:
        return
    value = _EARLIER[stage.name]
    axes.plot([place - _BESIDE], [value], marker="D", ms=6, mfc="none", mew=1.3, mec=light("below"), zorder=5)
    # On the side where it runs neither into the noise nor into the axis.
    left = value >= stage.noise.min()
    axes.annotate(
        f"earlier project {number(value)}", (place - _BESIDE, value), xytext=(-8 if left else 8, 0),
        textcoords="offset points", ha="right" if left else "left", va="center", fontsize=8, color=light("below"),
    )  # fmt: skip


def _names(overlap: OverlapOnNoise) -> str:
    """The models, without the folder or owner in front of them."""
    pairs = [pair.split(" ~ ") for pair in overlap.stages[0].models]
    names = list(dict.fromkeys(name.rsplit("/", 1)[-1] for pair in pairs for name in pair))
    if not names:
        return "No pairs of models are at hand."
    text = ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) <= _MOST_NAMES else f"{len(names)} models"
    return f"Purple: pairs of {text}, mean over layers and emotions."
