"""Profiles over relative depth of one model: what they add up, their reliability, and what the best heads do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from emotion_circuits.components import (
    FUNCTIONS,
    NOTHING,
    DepthProfiles,
    ScenarioProfile,
    Written,
    both_screens,
    correlations,
    depth_measures,
    depth_profiles,
    depths_are_of,
    head_functions,
    read_depths,
    reliability,
    screen,
    shares,
    write_depths,
)
from emotion_circuits.errors import InputError
from emotion_circuits.statistics import Measure, measures_table


def test_a_layer_of_a_profile_is_the_sum_of_its_components(case, tmp_path):
    lm, pairs, outcome = case
    unit = np.eye(lm.d_model)[1]
    heads = screen(lm, outcome, "head", exact=0, steps=2, unit=unit)
    units = screen(lm, outcome, "unit", exact=0, unit=unit)
    found = depth_profiles([heads, units])
    assert found.functions == tuple(f.name for f in FUNCTIONS) and found.emotions == ("anger",)
    expected = {
        "heads carry": heads.path.sum(axis=2), "units carry": units.estimate.sum(axis=2),
        "heads write": (heads.direct.a - heads.direct.b).sum(axis=2),
        "units write": (units.direct.a - units.direct.b).sum(axis=2),
        "heads read": (heads.attention.a - heads.attention.b).mean(axis=2),
    }  # fmt: skip
    for function, values in expected.items():
        profile = found.of["anger", function]
        assert profile.scenarios == pairs.scenarios
        np.testing.assert_allclose(profile.values, values, rtol=1e-6)
    again = DepthProfiles.of_table(found.table())
    assert list(again.of) == list(found.of) and again.n_layers == lm.n_layers
    for key, profile in found.of.items():
        np.testing.assert_array_equal(again.of[key].values, profile.values)
    heads = replace(heads, model="reference/gpt2")
    files = write_depths(tmp_path, [heads, replace(units, model="reference/gpt2")], {"revision": "r"}, "t")
    assert depths_are_of(tmp_path, "reference/gpt2", "r", "t") and not depths_are_of(
        tmp_path, "reference/gpt2", "s", "t"
    )
    assert [f.name.partition("_reference")[0] for f in files] == ["depth_values", "depths", "functions"]
    assert read_depths(tmp_path, "reference/gpt2").of.keys() == found.of.keys()


def test_screens_made_together_are_those_made_apart(contrast):
    lm, _, outcome = contrast
    unit = np.eye(lm.d_model)[1]
    both = both_screens(lm, outcome, steps=2, unit=unit)
    for kind, found in zip(("head", "unit"), both, strict=True):
        alone = screen(lm, outcome, kind, exact=0, steps=2, unit=unit)
        assert list(found.maps) == list(alone.maps) and found.kind == kind and found.outcome == alone.outcome
        for name, values in alone.maps.items():
            np.testing.assert_allclose(found.maps[name], values, rtol=1e-4, atol=1e-6)
    assert both_screens(lm, outcome, steps=0).heads.path is None


def test_screens_without_a_direction_or_attention_give_fewer_functions(case):
    lm, _, outcome = case
    heads = screen(lm, outcome, "head", exact=0, attention=False)
    assert depth_profiles([heads]).functions == ("heads carry",)
    with pytest.raises(InputError, match="one for each"):
        depth_profiles([heads, heads])
    with pytest.raises(InputError, match="one model"):
        depth_profiles([heads, replace(heads, model="another", kind="unit")])
    with pytest.raises(InputError, match="profiles over depth"):
        DepthProfiles.of_table(measures_table([]))


def test_correlations_are_pearson_s_and_0_where_there_is_none():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 5, 7))
    expected = [stats.pearsonr(x, y).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(correlations(a, b), expected)
    np.testing.assert_array_equal(correlations(np.ones((1, 7)), b[:1]), [0.0])
    np.testing.assert_array_equal(correlations(np.zeros((1, 7)), b[:1]), [0.0])
    assert np.abs(shares(a)).sum(axis=1) == pytest.approx(1)


def test_reliability_foretells_the_correlation_of_new_scenarios():
    rng = np.random.default_rng(1)
    truth = rng.standard_normal(8)
    told, seen = [], []
    for _ in range(60):
        first, second = truth + 1.5 * rng.standard_normal((2, 20, 8))
        told.append(reliability(first, n_splits=100))
        seen.append(float(correlations(first.mean(axis=0), second.mean(axis=0))))
    assert np.mean(told) == pytest.approx(np.mean(seen), abs=0.06)
    assert np.isnan(reliability(truth[None] + np.zeros((3, 8))))
    assert reliability(truth + np.zeros((4, 8))) == pytest.approx(1)


def planted(rng: np.random.Generator, effect: float) -> DepthProfiles:
    values = rng.standard_normal((20, 8)) + effect * np.eye(8)[5]
    return DepthProfiles("m", 8, {("anger", "heads carry"): ScenarioProfile(tuple(map(str, range(20))), values)})


def test_measures_of_a_planted_profile_and_of_noise():
    rows = depth_measures(planted(np.random.default_rng(2), 3.0), n_draws=500, n_flips=999)
    assert [m.layer for m in rows] == list(range(8)) and all(isinstance(m, Measure) for m in rows)
    best = max(rows, key=lambda m: m.value)
    assert best.layer == 5 and best.ci_low > best.null_high and best.p == pytest.approx(1 / 1000)
    assert sum(abs(m.value) for m in rows) == pytest.approx(1) and best.ceiling > 0.9
    draws = [depth_measures(planted(np.random.default_rng((3, k)), 0.0), n_draws=10, n_flips=199) for k in range(200)]
    false = sum(min(m.p for m in rows) <= 0.05 for rows in draws)
    assert stats.binomtest(false, 200, 0.05, alternative="greater").pvalue > 0.01


def test_what_heads_do_is_found_where_it_was_planted(case):
    lm, _, outcome = case
    made = screen(lm, outcome, exact=0, unit=np.eye(lm.d_model)[0])
    rng = np.random.default_rng(4)
    shape = (12, lm.n_layers, lm.n_heads)
    effects, attention, written = rng.standard_normal((3, *shape)) * 0.1
    effects[:, 1, 2] += 2.0
    effects[:, 0, 1] += 1.0
    attention[:, 1, 2] += 1.0
    written[:, 1, 2] -= 1.0
    nothing = np.zeros(shape)
    scenarios = tuple(replace(made.pairs.pairs[0], scenario=str(k)) for k in range(12))
    made = replace(
        made, pairs=replace(made.pairs, pairs=scenarios), attribution=effects, at_neutral=None,
        attention=Written(attention, nothing), direct=Written(written, nothing),
    )  # fmt: skip
    first, second, third = head_functions(made, 3, n_draws=999)
    assert (first.layer, first.head) == (1, 2) and first.depth == pytest.approx(1.5 / lm.n_layers)
    assert first.does == "adds to the outcome, reads the word, writes against the direction"
    assert first.p_writes <= 0.05 and first.writes_high < 0 < first.reads_low and first.n_unique == 12
    assert second.does == "adds to the outcome" and third.does == NOTHING
    alone = head_functions(replace(made, direct=None), 1)[0]
    assert np.isnan(alone.p_writes) and np.isnan(alone.writes_low) and "direction" not in alone.does
    with pytest.raises(InputError, match="heads"):
        head_functions(replace(made, kind="unit"))
