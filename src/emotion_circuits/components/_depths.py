"""Where in a model its heads and units do what: profiles over relative depth, one for each emotion and function.

Heads of two models cannot be matched by number. What their layers do can be set side by side, so a profile adds up a
layer's components. It is linear in the pairs of prompts, so that intervals and halves over scenarios are those of the
same number. (The largest head of a layer would not be, and grows with the noise.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.components._components import Kind
from emotion_circuits.components._screen import Screen
from emotion_circuits.errors import InputError
from emotion_circuits.statistics import Measure, sign_flip_map, spearman_brown, substream, weighted_bootstrap

if TYPE_CHECKING:
    import pandas as pd

FloatArray = NDArray[np.float64]
LAYER_SHARE = "share of the function in the layer"
MIN_SCENARIOS = 4
"""Two halves of two."""
_COLUMNS = ("model", "n_layers", "emotion", "function", "scenario", "layer", "value")


class Function(NamedTuple):
    """Something that heads or units do.

    Attributes:
        name: in tables.
        kind: who does it.
        statistic: of the screen's `maps`; empty for the estimated effect.
        position: which tokens it is measured at.
        meaning: what a layer's number is, as a sentence's end.
    """

    name: str
    kind: Kind
    statistic: str
    position: str
    meaning: str


FUNCTIONS: Final = (
    Function("heads carry", "head", "", "all", "the summed estimated effect of its heads on the outcome"),
    Function("units carry", "unit", "", "all", "the summed estimated effect of its units on the outcome"),
    Function("heads write", "head", "direct effect", "last", "what its heads write along the direction, last token"),
    Function("units write", "unit", "direct effect", "word", "what its units write along the direction, at the word"),
    Function("heads read", "head", "attention", "last", "the mean share of what its heads move there from the word"),
)


class ScenarioProfile(NamedTuple):
    """A function's profile for every scenario.

    Attributes:
        scenarios: (G,) names.
        values: (G, L) of each layer, emotion minus neutral.
    """

    scenarios: tuple[str, ...]
    values: FloatArray

    @property
    def mean(self) -> FloatArray:
        """(L,)"""
        result: FloatArray = self.values.mean(axis=0)
        return result

    def only(self, scenarios: Sequence[str]) -> ScenarioProfile:
        """Some of the scenarios, in the order given."""
        at = {name: i for i, name in enumerate(self.scenarios)}
        return ScenarioProfile(tuple(scenarios), self.values[[at[name] for name in scenarios]])


@dataclass(frozen=True, eq=False)
class DepthProfiles:
    """All profiles of one model.

    Attributes:
        model: its name.
        n_layers: L.
        of: (emotion, function) → its profile.
    """

    model: str
    n_layers: int
    of: Mapping[tuple[str, str], ScenarioProfile]

    @property
    def emotions(self) -> tuple[str, ...]:
        """In order of appearance."""
        return tuple(dict.fromkeys(emotion for emotion, _ in self.of))

    @property
    def functions(self) -> tuple[str, ...]:
        """Those there are, in the order of `FUNCTIONS`."""
        found = {function for _, function in self.of}
        return tuple(f.name for f in FUNCTIONS if f.name in found)

    def table(self) -> pd.DataFrame:
        """One row for each emotion, function, scenario and layer."""
        import pandas as pd

        rows = [
            (self.model, self.n_layers, emotion, function, scenario, layer, float(value))
            for (emotion, function), profile in self.of.items()
            for scenario, values in zip(profile.scenarios, profile.values, strict=True)
            for layer, value in enumerate(values)
        ]
        return pd.DataFrame(rows, columns=list(_COLUMNS))

    @classmethod
    def of_table(cls, table: pd.DataFrame) -> DepthProfiles:
        """The inverse of `table`.

        Raises:
            InputError: another table, or one of several models.
        """
        absent = [c for c in _COLUMNS if c not in table.columns]
        if absent or not len(table) or table["model"].nunique() != 1:
            raise InputError("This is not a table of one model's profiles over depth.", accepted=", ".join(_COLUMNS))
        layers = int(table["n_layers"].iloc[0])
        found = {}
        for (emotion, function), rows in table.groupby(["emotion", "function"], sort=False):
            values = rows["value"].to_numpy(dtype=np.float64)
            if len(values) % layers or list(rows["layer"]) != list(range(layers)) * (len(values) // layers):
                raise InputError("The profiles over depth lack layers.", found=f"{emotion}, {function}")
            names = tuple(str(name) for name in rows["scenario"].iloc[::layers])
            found[str(emotion), str(function)] = ScenarioProfile(names, values.reshape(-1, layers))
        return cls(str(table["model"].iloc[0]), layers, found)


def depth_profiles(screens: Sequence[Screen]) -> DepthProfiles:
    """Profiles from a model's screens of heads and units, as many functions as they hold statistics for.

    Raises:
        InputError: no screens, screens of several models, two of one kind and emotion.
    """
    models = {s.model for s in screens}
    keys = [(s.kind, s.pairs.emotion) for s in screens]
    if len(models) != 1 or len(set(keys)) < len(keys):
        raise InputError("Profiles need screens of one model, one for each kind and emotion.", found=f"{keys}")
    found: dict[tuple[str, str], ScenarioProfile] = {}
    for screen in screens:
        for function in FUNCTIONS:
            if function.kind != screen.kind or (function.statistic and function.statistic not in screen.maps):
                continue
            values = screen.maps[function.statistic] if function.statistic else screen.estimate
            # Shares of attention do not add up over heads; effects and what is written do.
            layers = values.mean(axis=2) if function.statistic == "attention" else values.sum(axis=2)
            found[screen.pairs.emotion, function.name] = ScenarioProfile(screen.pairs.scenarios, layers)
    emotions = dict.fromkeys(emotion for _, emotion in keys)
    ordered = {(e, f.name): found[e, f.name] for e in emotions for f in FUNCTIONS if (e, f.name) in found}
    return DepthProfiles(models.pop(), screens[0].estimate.shape[1], ordered)


def shares(values: FloatArray) -> FloatArray:
    """(…, L) signed values as shares of their summed sizes; zeros where there is nothing."""
    total = np.abs(values).sum(axis=-1, keepdims=True)
    result: FloatArray = values / np.where(total > 0, total, 1.0)
    return result


def correlations(a: FloatArray, b: FloatArray) -> FloatArray:
    """(…,) Pearson's correlation over the last axis; 0 where one of the two is the same everywhere."""
    one, two = (x - x.mean(axis=-1, keepdims=True) for x in (a, b))
    lengths = np.sqrt((one**2).sum(axis=-1) * (two**2).sum(axis=-1))
    sizes = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    defined = lengths > 1e-12 * sizes
    result: FloatArray = np.where(defined, (one * two).sum(axis=-1) / np.where(defined, lengths, 1.0), 0.0)
    return np.clip(result, -1.0, 1.0)


def reliability(values: FloatArray, *, n_splits: int = 500, seed: int = 0) -> float:
    """How well a mean profile (G, L) would correlate with one of as many other scenarios: the mean correlation of two
    random halves, stepped up by Spearman and Brown. NaN where it is not above 0, or for fewer than four scenarios."""
    n = len(values)
    if n < MIN_SCENARIOS:
        return float("nan")
    order = np.argsort(np.random.default_rng(seed).random((n_splits, n)), axis=1)
    first = (order < n // 2).astype(np.float64)
    halves = [part @ values / part.sum(axis=1, keepdims=True) for part in (first, 1 - first)]
    found = spearman_brown(float(correlations(halves[0], halves[1]).mean()))
    return float("nan") if found is None else found


def depth_measures(
    profiles: DepthProfiles, *, n_draws: int = 1000, n_flips: int = 9999, seed: int = 0
) -> list[Measure]:
    """A row for each emotion, function and layer: its signed share, which is 0 by chance.

    The null flips the sign of whole scenarios; p is max-T over the layers of a profile. The ceiling is the profile's
    reliability (see `reliability`), the same for all its layers.
    """
    rows = []
    for function in FUNCTIONS:
        for emotion in profiles.emotions:
            profile = profiles.of.get((emotion, function.name))
            if profile is None or len(profile.scenarios) < 2:
                continue
            values, n = profile.values, len(profile.scenarios)
            size = float(np.abs(profile.mean).sum()) or 1.0
            test = sign_flip_map(values, n_draws=n_flips, seed=seed)
            signs = np.random.default_rng(substream(seed, 1)).choice([-1.0, 1.0], (n_draws, n))
            low, high = np.quantile(signs @ values / n / size, [0.025, 0.975], axis=0)
            ceiling = reliability(values, seed=seed)
            for layer, value in enumerate(shares(profile.mean)):

                def share(weights: FloatArray, values: FloatArray = values, layer: int = layer) -> FloatArray:
                    result: FloatArray = shares(weights @ values)[:, layer]
                    return result

                ci = weighted_bootstrap(share, n, n_draws=n_draws, seed=seed).interval
                rows.append(
                    Measure(
                        profiles.model, emotion, function.position, layer, function.name, LAYER_SHARE, float(value),
                        ci.low, ci.high, 0.0, float(low[layer]), float(high[layer]), ceiling,
                        float(test.p_max_t[layer]), n,
                    )
                )  # fmt: skip
    return rows
