"""Screening: every head or unit of a model by several statistics, the best checked exactly, with p over scenarios."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from emotion_circuits.components._attribution import attribute, attribute_at_neutral
from emotion_circuits.components._components import Component, Kind, Ranking, check_components, per_layer
from emotion_circuits.components._direct import Written, attention_to_span, direct_effects
from emotion_circuits.components._exact import ExactEffects, exact_effects
from emotion_circuits.components._outcomes import Outcome, Where
from emotion_circuits.components._pairs import PairSet
from emotion_circuits.engine import DEFAULT_BATCH_TOKENS
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.statistics import MapTest, grouped_bootstrap, sign_flip_map, weighted_bootstrap

if TYPE_CHECKING:
    import pandas as pd

FloatArray = NDArray[np.float64]
BEST = 20
"""Components whose effect is measured exactly, besides all heads of the first layers."""
UNTRAINED = "untrained"
"""The column of a study's screens that holds the floor: the largest `|score|` in an untrained twin."""
ALWAYS_EXACT_LAYERS = 2
"""In SmolLM2 attribution has even the wrong sign for a head of layers 0–1, and is right from there on."""


class Agreement(NamedTuple):
    """Rank correlation of estimated and exact effects over the components that were measured exactly.

    They are the best by the estimate and all of the first layers, so the range is not that of all components. Where all
    were measured, `n` is their number.
    """

    spearman: float
    ci_low: float
    ci_high: float
    n: int
    n_pairs: int


@dataclass(frozen=True, eq=False)
class Screen:
    """All components of one kind, for one emotion and outcome. G pairs, L layers, K components in a layer.

    Attributes:
        model: its name.
        kind: `head` or `unit`.
        pairs: the prompts.
        outcome: what effects are effects on, and its unit.
        m_a, m_b: (G,) the outcome of both clean runs; their difference is what all components together carry.
        attribution: (G, L, K) estimated effects, with the gradient at the emotion's prompt.
        at_neutral: the same with the gradient at the neutral prompt, or None.
        path: (G, L, K) averaged over the path between the embeddings, or None.
        exact: of some components or of all; None if none was asked for.
        direct: what components write along the emotion's direction, or None.
        attention: value-weighted attention to the emotion's word (heads), or None.
    """

    model: str
    kind: Kind
    pairs: PairSet
    outcome: str
    m_a: FloatArray
    m_b: FloatArray
    attribution: FloatArray
    at_neutral: FloatArray | None = None
    path: FloatArray | None = None
    exact: ExactEffects | None = None
    direct: Written | None = None
    attention: Written | None = None

    @property
    def estimate(self) -> FloatArray:
        """(G, L, K) the effects that the score is the mean of: over the path if there is one, else with the mean of the
        two prompts' gradients. Either changes its sign when the prompts are exchanged, as a sign flip supposes; with
        the gradient at one prompt alone it would not, and p could be too small where nothing is there.
        """
        if self.path is not None:
            return self.path
        return self.attribution if self.at_neutral is None else (self.attribution + self.at_neutral) / 2

    @property
    def maps(self) -> dict[str, FloatArray]:
        """Statistic → (G, L, K) paired values whose mean ranks components."""
        found = {"attribution": self.attribution}
        if self.path is not None:
            found["path attribution"] = self.path
        if self.direct is not None:
            found["direct effect"] = self.direct.difference
        if self.attention is not None:
            found["attention"] = self.attention.difference
        return found

    def rankings(self) -> dict[str, Ranking]:
        """Statistic → all components in order, and `exact` those that were measured."""
        found = {by: Ranking.of_map(by, self.kind, values.mean(axis=0)) for by, values in self.maps.items()}
        if self.exact is not None:
            found["exact"] = Ranking.of("exact", self.exact.components, self.exact.effects.mean(axis=0))
        return found

    def test(self, by: str = "", *, n_draws: int = 9999, seed: int = 0) -> MapTest:
        """Sign flips over scenarios of one of the `maps` (by default the estimate), over all components at once."""
        values = self.maps[by] if by else self.estimate
        return sign_flip_map(values.reshape(len(values), -1), n_draws=n_draws, seed=seed)

    def agreement(self, *, seed: int = 0, n_draws: int = 2000) -> Agreement:
        """Spearman between estimate and exact effects, with an interval over scenarios.

        Raises:
            InputError: fewer than three components were measured exactly.
        """
        if self.exact is None or len(self.exact.components) < 3:
            raise InputError("A rank correlation needs at least three exact effects.")
        at = [(c.layer, c.number) for c in self.exact.components]
        estimate = np.stack([self.estimate[:, layer, index] for layer, index in at], axis=1)
        exact = self.exact.effects

        def of(weights: FloatArray) -> FloatArray:
            ranks = [stats.rankdata(weights @ side, axis=1) for side in (estimate, exact)]
            centred = [r - r.mean(axis=1, keepdims=True) for r in ranks]
            norms = np.sqrt(np.prod([(c**2).sum(axis=1) for c in centred], axis=0))
            result: FloatArray = (centred[0] * centred[1]).sum(axis=1) / np.where(norms > 0, norms, 1.0)
            return result

        found = weighted_bootstrap(of, len(exact), n_draws=n_draws, seed=seed)
        return Agreement(found.value, found.interval.low, found.interval.high, len(at), len(exact))

    def table(self, *, n_draws: int = 9999, seed: int = 0) -> pd.DataFrame:
        """One row for each component, by layer and number.

        Columns: `layer`, `head` or `unit`, `emotion`; `score` (mean estimated effect over pairs), `ci_low`, `ci_high`
        (of heads, and of units that were measured exactly), `p` (max-T over the map), `p_single`, `q` (Benjamini and
        Hochberg); `attribution`, `path_attribution`; `exact` with `exact_ci_low`, `exact_ci_high`; `direct`,
        `attention`, and `attention_neutral`; `outcome`, `gap` (the outcome's difference between both prompts),
        `n_pairs`, `n_scenarios`.
        """
        import pandas as pd

        test = self.test(n_draws=n_draws, seed=seed)
        layers, count = self.estimate.shape[1:]
        frame = pd.DataFrame(
            {
                "layer": np.repeat(np.arange(layers), count),
                self.kind: np.tile(np.arange(count), layers),
                "emotion": self.pairs.emotion,
                "score": test.mean,
            }
        )
        measured = {} if self.exact is None else {c: i for i, c in enumerate(self.exact.components)}
        bounded = set(measured)
        if self.kind == "head":
            bounded |= {Component("head", layer, i) for layer in range(layers) for i in range(count)}
        own, exact = np.full((2, len(frame)), np.nan), np.full((3, len(frame)), np.nan)
        for component in sorted(bounded):
            row = component.layer * count + component.number
            own[:, row] = _interval(self.estimate[:, component.layer, component.number], seed)
            if component in measured and self.exact is not None:
                effects = self.exact.effects[:, measured[component]]
                exact[:, row] = (float(effects.mean()), *_interval(effects, seed))
        frame["ci_low"], frame["ci_high"] = own
        frame["p"], frame["p_single"], frame["q"] = test.p_max_t, test.p, test.q
        frame["attribution"] = self.attribution.mean(axis=0).ravel()
        frame["path_attribution"] = np.nan if self.path is None else self.path.mean(axis=0).ravel()
        frame["exact"], frame["exact_ci_low"], frame["exact_ci_high"] = exact
        frame["direct"] = np.nan if self.direct is None else self.direct.difference.mean(axis=0).ravel()
        if self.kind == "head":
            for name, side in (("attention", 0), ("attention_neutral", 1)):
                frame[name] = np.nan if self.attention is None else self.attention[side].mean(axis=0).ravel()
        frame["outcome"], frame["gap"] = self.outcome, float((self.m_a - self.m_b).mean())
        frame["n_pairs"], frame["n_scenarios"] = len(self.pairs), self.pairs.n_scenarios
        return frame


def _interval(values: FloatArray, seed: int) -> tuple[float, float]:
    found = grouped_bootstrap(values, seed=seed, n_draws=2000).interval
    return found.low, found.high


def screen(
    lm: LoadedModel,
    outcome: Outcome,
    kind: Kind = "head",
    *,
    exact: int | Literal["all"] = BEST,
    steps: int = 0,
    unit: ArrayLike | None = None,
    where: Where | None = None,
    attention: bool = True,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    on_patched: Callable[[int], None] | None = None,
) -> Screen:
    """Every head or unit of a model: attribution, exact effects, what it writes along a direction, where it looks.

    Args:
        lm: the model.
        outcome: what effects are effects on.
        kind: `head` or `unit`.
        exact: how many of the best by the estimate are patched (and all heads of layers 0 and 1); 0 for none, "all".
        steps: points on the path between the embeddings (see `attribute`); 0 for none.
        unit: (d,) the emotion's direction, for direct effects.
        where: which tokens direct effects are the mean of; by default the last one for heads, which move the emotion
            there, and those of the emotion's word for units, which write it where it stands.
        attention: of heads, also value-weighted attention; one more forward pass of each prompt.
        batch_tokens: size of a forward pass.
        on_patched: see `exact_effects`.

    Raises:
        InputError: an outcome of several texts a pair where a statistic reads one, a number of exact effects below 0.
    """
    estimated = attribute(lm, outcome, (kind,), steps=0, batch_tokens=batch_tokens)
    at_a = np.asarray(estimated.of(kind), dtype=np.float64)
    at_neutral = path = None
    if steps:
        found = attribute(lm, outcome, (kind,), steps=steps, batch_tokens=batch_tokens)
        path = np.asarray(found.of(kind), dtype=np.float64)
    else:
        at_neutral = attribute_at_neutral(lm, outcome, (kind,), batch_tokens=batch_tokens)[kind]
    best = at_a if path is None else path
    chosen = components_to_check(lm, Ranking.of_map("estimate", kind, best.mean(axis=0)), kind, exact)
    measured = None
    if chosen:
        measured = exact_effects(lm, outcome, chosen, batch_tokens=batch_tokens, on_patched=on_patched)
    single = len(outcome.ids_a) == len(outcome.pairs)
    if unit is not None and not single:
        raise InputError("Direct effects need one text for each pair.", next_step="use another outcome")
    direct = None
    if unit is not None:
        place: Where = where or ("last" if kind == "head" else "span")
        direct = direct_effects(lm, outcome, kind, unit, place, batch_tokens=batch_tokens)
    looks = None
    if kind == "head" and attention and single:
        looks = attention_to_span(lm, outcome, batch_tokens=batch_tokens)
    return Screen(
        model=str(lm.name), kind=kind, pairs=outcome.pairs, outcome=outcome.name, m_a=estimated.m_a, m_b=estimated.m_b,
        attribution=at_a, at_neutral=at_neutral, path=path, exact=measured, direct=direct, attention=looks,
    )  # fmt: skip


def components_to_check(
    lm: LoadedModel, ranking: Ranking, kind: Kind, exact: int | Literal["all"]
) -> tuple[Component, ...]:
    """The best of a ranking and all heads of the first layers, in order of layer."""
    if exact == "all":
        chosen: Sequence[Component] = ranking.components
    elif exact < 0:
        raise InputError("So many effects cannot be measured.", found=exact, accepted='0 or more, or "all"')
    elif exact == 0:
        return ()
    else:
        early = range(min(ALWAYS_EXACT_LAYERS, lm.n_layers)) if kind == "head" else range(0)
        always = [Component(kind, layer, i) for layer in early for i in range(per_layer(lm, kind))]
        chosen = [*dict.fromkeys([*ranking.top(exact), *always])]
    check_components(lm, chosen)
    return tuple(sorted(chosen))
