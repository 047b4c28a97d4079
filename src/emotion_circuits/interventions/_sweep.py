"""Layer × dose × emotion on development contexts, the choice made there, and the test on contexts never seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emotion_circuits._parts import Parts
from emotion_circuits._row_tables import Shown, Table, row_table
from emotion_circuits.directions import DirectionSet
from emotion_circuits.engine import DEFAULT_BATCH_TOKENS, Pushes, joined
from emotion_circuits.errors import InputError
from emotion_circuits.interventions._actions import Action, bands_of, own_lines, pushes_along
from emotion_circuits.interventions._steer import Where, check_doses, continuation_outcomes, slot_outcomes
from emotion_circuits.models import LoadedModel
from emotion_circuits.scoring import ContinuationTask, SlotTask, column_of
from emotion_circuits.statistics import Measure, grouped_bootstrap

FloatArray = NDArray[np.float64]
MAX_PERPLEXITY_RATIO = 1.5
WORD_SET = "word-set log-odds, change"
CONTINUATIONS = "log p per token of own minus neutral continuations, change"
PERPLEXITY = "perplexity of neutral continuations, ratio"


class Layout(NamedTuple):
    """What a sweep varies, and how.

    Attributes:
        layers: where bands begin.
        doses: without 0.
        emotions: whose directions.
        action: what is done along a direction.
        band: layers of a band.
        where: which tokens are changed.
    """

    layers: tuple[int, ...]
    doses: tuple[float, ...]
    emotions: tuple[str, ...]
    action: Action = "add"
    band: int = 1
    where: Where = "all"

    def raises(self, dose: float) -> bool:
        """Whether this dose should raise the emotion: not if it is taken away or turned round."""
        return self.action != "ablate" and dose > 0

    def words(self, kind: str, unit: str, dose: float) -> str:
        """The name of a cell's kind, as tables and figures read it."""
        where = "" if self.where == "all" else ", last token"
        band = "" if self.band == 1 else f", {self.band} layers"
        return f"{kind}{band}{where}, {unit} {dose:g}"


@dataclass(frozen=True, eq=False)
class SweepResult(Shown):
    """Outcomes of steering, per scenario-like unit (the context).

    Attributes:
        model, kind: whose directions.
        layout: layers, doses (without 0) and emotions of the directions.
        log_odds: (layers, emotions, doses, contexts, classes) change of word-set log-odds from the clean run, nats.
        continuations: (layers, emotions, doses, contexts, continuations) change of mean log p per scored token.
        classes: those of `log_odds`.
        continuation_classes: class of each continuation.
        unit: what the doses are: "dose" (in the layer's spread), "alpha" (raw difference vectors), "ablated" (share of
            the component) or "clamped to" (the component, in spreads); "dose in norms" and "clamped in norms to" of
            directions from before, whose unit is the norm.
    """

    model: str
    position: str
    kind: str
    layout: Layout
    log_odds: FloatArray
    continuations: FloatArray
    classes: tuple[str, ...]
    continuation_classes: tuple[str, ...]
    unit: str = "dose"

    def own_log_odds(self) -> FloatArray:
        """(layers, emotions, doses, contexts): change of the steered emotion's own log-odds."""
        index = [column_of(self.classes, emotion) for emotion in self.layout.emotions]
        return np.stack([self.log_odds[:, i, :, :, c] for i, c in enumerate(index)], axis=1)

    def own_minus_neutral(self) -> FloatArray:
        """(layers, emotions, doses, contexts): own class's continuations minus neutral ones under the same edit, NaN
        where there are none."""
        classes = np.array(self.continuation_classes)
        neutral = self.continuations[..., classes == "neutral"].mean(axis=-1)
        nothing = np.full_like(neutral[:, 0], np.nan)
        own = [
            self.continuations[:, i][..., classes == e].mean(axis=-1) if e in classes else nothing
            for i, e in enumerate(self.layout.emotions)
        ]
        difference: FloatArray = np.stack(own, axis=1) - neutral
        return difference

    def perplexity_ratios(self) -> FloatArray:
        """(layers, emotions, doses): perplexity of neutral continuations, steered over clean; NaN without any."""
        neutral = self.continuations[..., np.array(self.continuation_classes, dtype=str) == "neutral"]
        if not neutral.size:
            return np.full(self.continuations.shape[:3], np.nan)
        with np.errstate(over="ignore"):
            ratio: FloatArray = np.exp(-neutral.mean(axis=(-1, -2)))
        return ratio

    def collapsed(self) -> NDArray[np.bool_]:
        """(layers, emotions, doses): where the model's numbers stopped being finite, so that there is no effect to
        state."""
        broken = np.asarray(~np.isfinite(self.log_odds).all(axis=(-1, -2)), dtype=np.bool_)
        if self.continuation_classes:
            broken |= np.asarray(~np.isfinite(self.continuations).all(axis=(-1, -2)), dtype=np.bool_)
        return broken

    def table(self) -> Table:
        """Every cell; its chance is no change, since no control directions are part of a sweep."""
        title = f"{self.model}: change of own words by layer and {self.unit}, directions at {self.position}"
        notes = (
            "Changes from the clean run, in nats; n counts contexts. Chance is no change; random directions of the "
            "same size, which change something too, stand beside it in `emotion-circuits sweep` and in a study.",
        )
        return row_table(
            self.measures(), title=title, notes=notes, hide=("model", "position"), wide=True,
            heads={"kind": f"direction, {self.unit}"},
        )  # fmt: skip

    def measures(self, seed: int = 0) -> list[Measure]:
        """One row per layer, emotion, dose and outcome; chance is no change, which the clean run defines as 0.

        Rows of a cell that is `collapsed` have no value and no interval (NaN).
        """
        rows = []
        ratios, collapsed = self.perplexity_ratios(), self.collapsed()
        outcomes = [(WORD_SET, self.own_log_odds())]
        if self.continuation_classes:
            outcomes.append((CONTINUATIONS, self.own_minus_neutral()))
        for statistic, values in outcomes:
            for (i, layer), (j, emotion), (k, dose) in _cells(self.layout):
                units = values[i, j, k]
                if statistic == CONTINUATIONS and emotion not in self.continuation_classes:
                    continue
                if collapsed[i, j, k]:
                    rows.append(self._measure(emotion, layer, dose, statistic, np.nan, (np.nan, np.nan), 0.0, units))
                    continue
                interval = grouped_bootstrap(units, n_draws=500, seed=seed).interval
                rows.append(
                    self._measure(emotion, layer, dose, statistic, float(units.mean()), interval[:2], 0.0, units)
                )
        for (i, layer), (j, emotion), (k, dose) in _cells(self.layout) if self.continuation_classes else []:
            neutral = self.continuations[i, j, k][:, np.array(self.continuation_classes) == "neutral"].mean(axis=1)
            if collapsed[i, j, k]:
                rows.append(self._measure(emotion, layer, dose, PERPLEXITY, np.nan, (np.nan, np.nan), 1.0, neutral))
                continue
            interval = grouped_bootstrap(neutral, n_draws=500, seed=seed).interval
            ends = (float(np.exp(-interval.high)), float(np.exp(-interval.low)))
            rows.append(self._measure(emotion, layer, dose, PERPLEXITY, float(ratios[i, j, k]), ends, 1.0, neutral))
        return rows

    def _measure(
        self,
        emotion: str,
        layer: int,
        dose: float,
        statistic: str,
        value: float,
        interval: tuple[float, float],
        chance: float,
        units: FloatArray,
    ) -> Measure:
        return Measure(
            model=self.model,
            emotion=emotion,
            position=self.position,
            layer=layer,
            kind=self.layout.words(self.kind, self.unit, dose),
            statistic=statistic,
            value=value,
            ci_low=float(interval[0]),
            ci_high=float(interval[1]),
            chance=chance,
            null_low=np.nan,
            null_high=np.nan,
            ceiling=np.nan,
            p=np.nan,
            n_unique=len(units),
        )


def _cells(layout: Layout) -> list[tuple[tuple[int, int], tuple[int, str], tuple[int, float]]]:
    return [
        (layer, emotion, dose)
        for layer in enumerate(layout.layers)
        for emotion in enumerate(layout.emotions)
        for dose in enumerate(layout.doses)
    ]


def relative_layers(n_layers: int, n: int = 5) -> tuple[int, ...]:
    """`n` layers at even relative depths, from a sixth of the way up to five sixths; fewer in very shallow models."""
    return tuple(sorted({k * n_layers // (n + 1) for k in range(1, n + 1)}))


def sweep_cost(lm: LoadedModel, slots: SlotTask, continuations: ContinuationTask | None, layout: Layout) -> int:
    """How many tokens a sweep sends through blocks, in whole-model equivalents."""
    tokens = sum(b.shape[0] * b.shape[1] for b in slots.batches)
    tokens += sum(b.shape[0] * b.shape[1] for b in continuations.batches) if continuations else 0
    variants = (1 + len(layout.doses)) * len(layout.emotions)  # every emotion has a clean run of its own
    depth = sum(1 - (layer + 1) / lm.n_layers for layer in layout.layers)
    if layout.where == "last":
        said = tokens - sum(b.shape[0] * b.shape[1] for b in slots.batches)
        return int(tokens + (said + len(slots.contexts)) * variants * depth)
    return int(tokens * (1 + variants * depth))


def sweep(
    lm: LoadedModel,
    directions: DirectionSet,
    slots: SlotTask,
    continuations: ContinuationTask | None,
    *,
    layers: Sequence[int],
    doses: Sequence[float],
    emotions: Sequence[str] | None = None,
    kind: str = "specific",
    alpha: bool = False,
    action: Action = "add",
    band: int = 1,
    where: Where = "all",
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    on_variants: Callable[[int], None] | None = None,
    parts: Parts | None = None,
) -> SweepResult:
    """Steer along each emotion's direction at each layer with each dose and read both outcomes.

    Args:
        lm: the model the directions were made from.
        directions: directions and the units of doses.
        slots: contexts for the word-set outcome.
        continuations: for the second outcome and the damage; None leaves both out (NaN).
        layers: block indices.
        doses: multiples of the layer's unit; 0 is left out, it is the clean run.
        emotions: whose directions; all by default.
        kind: which directions.
        alpha: doses are multiples of the raw difference vector instead (the seed's α); for `add` only.
        action: what is done along the direction, and so what doses mean.
        band: how many consecutive layers, from each of `layers` on, are changed together.
        where: `last` changes each context's last token, and in continuations every token after it.
        batch_tokens: size of a forward pass.
        on_variants: called with the number of variants after each forward pass.
        parts: keeps every layer as soon as it is done.

    Raises:
        InputError: a layer, dose or emotion that cannot be used; directions of another model.
    """
    directions.check_model(lm)
    steps = tuple(d for d in check_doses(doses) if d != 0)
    layout = Layout(tuple(layers), steps, tuple(emotions or directions.emotions), action, band, where)
    if not steps:
        raise InputError("Only dose 0 was given, which is the clean run.", accepted="at least one other dose")
    if alpha and action != "add":
        raise InputError("Multiples of the difference vector are for adding.", found=action)
    pushes = []
    for layers in bands_of(layout.layers, band, lm.n_layers):
        # The clean run is the first variant of every emotion, so that it goes through the same batch shapes.
        own = [own_lines(directions, emotion, layers, kind, alpha) for emotion in layout.emotions]
        pushes.append(joined([pushes_along(lines, steps, action, clean=True) for lines in own]))
    shape = (len(layout.emotions), len(steps) + 1)

    def outcomes(at: Sequence[Pushes]) -> dict[str, FloatArray]:
        found = slot_outcomes(lm, slots, at, where=where, batch_tokens=batch_tokens, on_variants=on_variants)
        odds = np.stack(found).reshape(len(at), *shape, *found[0].shape[1:])
        if continuations is None:
            return {"odds": odds, "likelihood": np.full((*odds.shape[:4], 0), np.nan)}
        said = continuation_outcomes(
            lm, continuations, at, where=where, batch_tokens=batch_tokens, on_variants=on_variants
        )
        return {"odds": odds, "likelihood": np.stack(said).reshape(len(at), *shape, *said[0].shape[1:])}

    if parts is None:
        found = outcomes(pushes)
    else:
        kept = [parts.kept(f"layer-{n}", partial(outcomes, [at])) for n, at in zip(layout.layers, pushes, strict=True)]
        found = {name: np.concatenate([part[name] for part in kept]) for name in kept[0]}
    odds, likelihood = found["odds"], found["likelihood"]
    said_classes = () if continuations is None else tuple(c.emotion for c in continuations.continuations)
    of_before = "" if directions.generic.spread is not None else " in norms"
    units = {"add": "alpha" if alpha else f"dose{of_before}", "ablate": "ablated", "clamp": f"clamped{of_before} to"}
    with np.errstate(invalid="ignore"):  # where numbers overflow, infinity minus infinity; `collapsed` says so
        odds, likelihood = odds[:, :, 1:] - odds[:, :, :1], likelihood[:, :, 1:] - likelihood[:, :, :1]
    about = (str(lm.name), directions.position, kind, layout)
    return SweepResult(*about, odds, likelihood, slots.classes, said_classes, units[action])


class Choice(NamedTuple):
    """The one layer and dose at which claims are tested."""

    layer: int
    dose: float


def choose_layer_and_dose(result: SweepResult) -> Choice:
    """The layer and dose ±d with the largest change of own log-odds from −d to +d, averaged over emotions.

    Only cells whose perplexity ratio stays at or below 1.5 on both sides, for every emotion, are candidates; if there
    is none, the smallest dose is taken. Ties go to the lower layer, then the lower dose.
    """
    layout = result.layout
    magnitudes = sorted({abs(d) for d in layout.doses if d > 0 and -d in layout.doses})
    if not magnitudes:
        raise InputError("Choosing a dose needs doses of both signs.", found=layout.doses, accepted="such as -.2 .2")
    if "neutral" not in result.continuation_classes:
        raise InputError("Choosing a dose needs its damage, which neutral continuations show.", found="a sweep without")
    own, ratio = result.own_log_odds().mean(axis=-1), result.perplexity_ratios()
    best: tuple[float, Choice] | None = None
    for layer, i in sorted((layer, i) for i, layer in enumerate(layout.layers)):
        for d in magnitudes:
            up, down = layout.doses.index(d), layout.doses.index(-d)
            harmless = bool((ratio[i][:, [up, down]] <= MAX_PERPLEXITY_RATIO).all())
            change = float((own[i, :, up] - own[i, :, down]).mean())
            if harmless and np.isfinite(change) and (best is None or change > best[0] + 1e-9):
                best = (change, Choice(layer, d))
    return best[1] if best else Choice(min(layout.layers), magnitudes[0])
