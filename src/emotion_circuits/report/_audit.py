"""The figure of the audit: how an overlap goes from chance to its maximum on noise, and how it comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emotion_circuits.report._chart import Axis, Chart, Label, Level, Panel, Series
from emotion_circuits.report._sections import Picture
from emotion_circuits.report._style import number

if TYPE_CHECKING:
    import pandas as pd

_K = 10
_STAGES = {
    f"mean squared Gram entry, k = {_K}": "before any map",
    "squared entries after a map from neutral texts": "after the map, as the\nearlier project computed it",
    "squared entries, mapped basis orthonormal again": "the same map, mapped basis\nmade orthonormal",
    "S* after least squares, held out": "orthonormal, judged on\nheld-out scenarios",
}


def audit_picture(table: pd.DataFrame) -> Picture | None:
    """What `audit` found of noise, stage by stage, beside models, chance and ceiling; None for too few texts."""
    whole = table[table.metric.isin([*_STAGES]) & table.on_noise.notna()]
    first = whole[whole.metric == next(iter(_STAGES))]
    pairs = first[first.d == first.d.iloc[0]].model if len(first) else []
    stages = [whole[(whole.metric == stage) & whole.model.isin(pairs)] for stage in _STAGES]
    if not all(map(len, stages)):
        return None
    d, n, draws = (int(first[name].iloc[0]) for name in ("d", "n", "n_noise"))
    columns = ("on_noise", "noise_low", "noise_high", "on_models", "seed_value")
    # The last stage is S*: as a mean squared entry again, it has the scale of the others.
    last = (stages[-1][[*columns]] * (1 - _K / d) + _K / d) / _K
    values = [*(stage[[*columns]] for stage in stages[:-1]), last]
    noise, low, high = (tuple(float(v[name].iloc[0]) for v in values) for name in columns[:3])
    seen = [(i, sorted(v.on_models.dropna())) for i, v in enumerate(values) if v.on_models.notna().any()]
    told = [(i, float(v.seed_value.iloc[0])) for i, v in enumerate(values) if v.seed_value.notna().any()]
    x = tuple(map(float, range(len(values))))
    models = [f"models {' – '.join(dict.fromkeys(number(v) for v in (own[0], own[-1])))}" for _, own in seen]
    series = (
        Series("noise", x, noise, low, high, colour="null-strong", shaded=False, width=1.1, size=5.0),
        Series("", x, low, colour="null-strong", width=0.0, marker="", texts=tuple(f"noise {number(v)}" for v in noise),
               texts_at="below"),
        Series("models", tuple(i + 0.17 for i, own in seen for _ in own), tuple(v for _, own in seen for v in own),
               colour="all", width=0.0, size=5.0),
        Series("", tuple(i + 0.17 for i, _ in seen), tuple(own[-1] for _, own in seen), colour="all", width=0.0,
               marker="", texts=tuple(models), texts_at="right"),
        Series("earlier project", tuple(i - 0.17 for i, _ in told), tuple(v for _, v in told), colour="below",
               width=0.0, marker="D", size=6.0, hollow=True, texts_at="above",
               texts=tuple(f"earlier project {number(v)}" for _, v in told)),
    )  # fmt: skip
    notes = (
        Label(1 / _K, f"ceiling 1/{_K} = {number(1 / _K)}:\nequal subspaces", "below"),
        Label(1 / d, f"chance 1/{d} = {number(1 / d)}:\nunrelated subspaces", "muted"),
    )
    x_axis = Axis("", -0.5, len(x) - 0.15, tuple(zip(x, _STAGES.values(), strict=True)))
    y_axis = Axis("mean squared entry of the Gram matrix", min(0.0004, *low), 2.2, log=True)
    said = f"Overlap of {_K}-dimensional subspaces, {n} texts of {d} dimensions per class; 95 % of {draws} draws"
    levels = (Level(1 / _K, "", colour="below"), Level(1 / d, ""))
    panel = Panel("", x_axis, y_axis, series, levels=levels, notes=notes, subtitle=said)
    title = (
        f"The earlier project's map takes independent noise from {number(noise[0])} to {number(noise[1])}; "
        f"computed soundly, it stays at {number(noise[-1])}"
    )
    return Picture("audit/overlap_on_noise", Chart(((panel,),), (), 3.95, 1.55, 0.8), title)
