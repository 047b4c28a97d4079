"""The figure of the audit: how an overlap goes from chance to its maximum on noise, and how it comes back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from emotion_circuits.report._chart import Axis, Band, Chart, Key, Label, Level, Panel, Series
from emotion_circuits.report._sections import Picture
from emotion_circuits.report._style import number

if TYPE_CHECKING:
    from emotion_circuits.audit import OverlapOnNoise, Stage

_LOW, _HIGH = 0.0004, 2.2
_BESIDE = 0.17
"""Where models and earlier results stand, beside the noise."""
_MOST_NAMES = 4
_EARLIER = {"before": 0.001, "mapped": 0.99}
_EARLIER_WIDTH = 768
_NAMES = {
    "before": "before any map",
    "mapped": "after the map, as the\nearlier project computed it",
    "orthonormal": "the same map, mapped basis\nmade orthonormal",
    "held out": "orthonormal, judged on\nheld-out scenarios",
}


def audit_picture(overlap: OverlapOnNoise) -> Picture:
    """An audit's overlap of independent noise, stage by stage, beside models, chance and the largest possible value."""
    low = min(_LOW, *(float(stage.noise.min()) * 0.8 for stage in overlap.stages))
    n, means = len(overlap.stages), [float(stage.noise.mean()) for stage in overlap.stages]
    x_axis = Axis("", -0.5, n - 0.15, tuple((float(i), _NAMES[s.name]) for i, s in enumerate(overlap.stages)))
    ticks = tuple((t, f"{t:g}") for t in (0.001, 0.01, 0.1, 1.0))
    y_axis = Axis("mean squared entry of the Gram matrix", low, _HIGH, ticks, log=True)
    path = Series(
        "noise, mean", tuple(map(float, range(n))), tuple(means), colour="null", width=1.1, marker="", alpha=0.7
    )
    series = [path, *(one for i, stage in enumerate(overlap.stages) for one in _stage(i, stage))]
    impossible = Band((-0.5, n - 0.15), (overlap.ceiling,) * 2, (_HIGH,) * 2, "below")
    levels = (Level(overlap.ceiling, "", colour="below"), Level(overlap.chance, ""))
    notes = (
        Label(overlap.ceiling, f"ceiling 1/{overlap.k} = {number(overlap.ceiling)}:\nequal subspaces", "below"),
        Label(overlap.chance, f"chance 1/{overlap.d} = {number(overlap.chance)}:\nunrelated subspaces", "muted"),
    )
    draws = " or ".join(dict.fromkeys(str(len(stage.noise)) for stage in overlap.stages))
    keys = (
        Key(f"{draws} draws of noise, one dot each, and their mean", "null-strong"),
        *((Key(_models(overlap), "all"),) if _models(overlap) else ()),
        Key(f"what the earlier project reported, at {_EARLIER_WIDTH} dimensions", "below", "D", hollow=True),
        Key("no two orthonormal bases can be here", "below", "s", 8.0, hollow=True),
    )
    subtitle = (
        f"Overlap of two {overlap.k}-dimensional subspaces, {overlap.n} texts of {overlap.d} dimensions per class."
    )
    panel = Panel("", x_axis, y_axis, tuple(series), (impossible,), levels, notes=notes, subtitle=subtitle)
    title = (
        f"The earlier project's map takes independent noise from {number(means[0])} to {number(means[1])}; "
        f"computed soundly, it stays at {number(means[-1])}"
    )
    return Picture("audit/overlap_on_noise", Chart(((panel,),), (), 3.95, 1.55, 0.8, keys), title)


def _stage(place: int, stage: Stage) -> Iterator[Series]:
    """Noise, models and what was reported, with their numbers beside them."""
    # Spread by rank in a fixed, irregular order, so that the picture is the same on every run.
    noise = sorted(map(float, stage.noise))
    across = tuple(place + _BESIDE * ((i * 0.6180339887) % 1.0 - 0.5) for i in range(len(noise)))
    yield Series("noise", across, tuple(noise), colour="null-strong", width=0.0, size=2.6, alpha=0.55)
    said = (f"noise {number(float(stage.noise.mean()))}",)
    yield Series(
        "", (float(place),), (noise[-1],), colour="null-strong", width=0.0, marker="", texts=said, texts_at="above"
    )
    if stage.models:
        values = sorted(stage.models.values())
        low, high = number(values[0]), number(values[-1])
        said = (f"models {low}" if low == high else f"models {low} – {high}",)
        x = place + _BESIDE
        yield Series("models", (x,) * len(values), tuple(values), colour="all", width=0.0, size=5.0)
        yield Series("", (x,), (values[-1],), colour="all", width=0.0, marker="", texts=said, texts_at="right")
    if stage.name in _EARLIER:
        value = _EARLIER[stage.name]
        said, side = (f"earlier project {number(value)}",), "left" if value >= noise[0] else "below"
        yield Series("", (place - _BESIDE,), (value,), colour="below", width=0.0, marker="D", size=6.0, hollow=True,
                     texts=said, texts_at=side)  # fmt: skip


def _models(overlap: OverlapOnNoise) -> str:
    """The models, without the folder or owner in front of them; "" where no pairs of models are at hand."""
    pairs = [pair.split(" ~ ") for pair in overlap.stages[0].models]
    names = list(dict.fromkeys(name.rsplit("/", 1)[-1] for pair in pairs for name in pair))
    if not names:
        return ""
    text = ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) <= _MOST_NAMES else f"{len(names)} models"
    return f"pairs of {text}, mean over layers and emotions"
