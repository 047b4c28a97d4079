"""The choice of layer and dose: its rule, its ties, and what it refuses to choose from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emotion_circuits.errors import InputError
from emotion_circuits.interventions import Choice, Layout, SweepResult, choose_layer_and_dose
from emotion_circuits.prompts import bank

CLASSES = bank().names
EMOTIONS = bank().emotions


def result_of(changes, ratios, layers, doses):
    """changes, ratios: (layers, emotions, doses) of own log-odds and of neutral perplexity."""
    changes, ratios = np.asarray(changes, float), np.asarray(ratios, float)
    log_odds = np.full((*changes.shape, 2, len(CLASSES)), 7.0)  # other classes' numbers must play no part
    for j, emotion in enumerate(EMOTIONS):
        log_odds[:, j, :, 0, CLASSES.index(emotion)] = changes[:, j] - 0.5
        log_odds[:, j, :, 1, CLASSES.index(emotion)] = changes[:, j] + 0.5
    said = np.stack([-np.log(ratios), np.full(ratios.shape, -9.0)], axis=-1)[..., None, :]
    layout = Layout(tuple(layers), tuple(doses), EMOTIONS)
    return SweepResult("m", "mean", "specific", layout, log_odds, said, CLASSES, ("neutral", "anger"))


def by_rule(changes, ratios, layers, doses):
    """Every cell by itself, straight from the words of the rule."""
    cells = []
    for i, layer in enumerate(layers):
        for d in sorted({abs(d) for d in doses if -d in doses and d > 0}):
            up, down = doses.index(d), doses.index(-d)
            if all(ratios[i][j][k] <= 1.5 for j in range(3) for k in (up, down)):
                cells.append((-round(np.mean(changes[i, :, up] - changes[i, :, down]), 9), layer, d))
    if cells:
        return Choice(*min(cells)[1:])
    return Choice(min(layers), min(d for d in doses if d > 0 and -d in doses))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10_000), st.permutations([3, 0, 7]), st.permutations([-0.2, 0.2, 0.4, -0.4, 0.8]))
def test_the_rule(seed, layers, doses):
    """Coarse numbers, so that ties are frequent; layers and doses in any order."""
    rng = np.random.default_rng(seed)
    changes = rng.integers(-2, 3, (3, 3, 5)).astype(float)
    ratios = rng.choice([0.9, 1.5, 1.6], p=[0.6, 0.3, 0.1], size=(3, 3, 5))
    assert choose_layer_and_dose(result_of(changes, ratios, layers, doses)) == by_rule(changes, ratios, layers, doses)


def grid(value):
    return np.full((2, 3, 4), value)


def test_ties_go_to_the_lower_layer_then_the_lower_dose():
    changes = grid(0.0)
    changes[:, :, 2:] = 1.0
    doses = (-0.4, -0.2, 0.2, 0.4)
    for layers in ((2, 6), (6, 2)):
        assert choose_layer_and_dose(result_of(changes, grid(1.0), layers, doses)) == Choice(2, 0.2)
    for shuffled in (doses[::-1], (0.4, -0.2, -0.4, 0.2)):
        moved = changes[:, :, [doses.index(d) for d in shuffled]]
        assert choose_layer_and_dose(result_of(moved, grid(1.0), (2, 6), shuffled)) == Choice(2, 0.2)


def test_damage_on_one_side_or_to_one_emotion_rules_a_cell_out():
    doses = (-0.4, -0.2, 0.2, 0.4)
    changes, ratios = grid(0.0), grid(1.0)
    changes[1, :, 3] = 9.0
    assert choose_layer_and_dose(result_of(changes, ratios, (2, 6), doses)) == Choice(6, 0.4)
    for spoilt in ((1, 0, 3), (1, 2, 0)):
        broken = ratios.copy()
        broken[spoilt] = 1.51
        assert choose_layer_and_dose(result_of(changes, broken, (2, 6), doses)) == Choice(2, 0.2)


def test_where_everything_does_damage_the_smallest_dose_of_the_lowest_layer_is_taken():
    doses = (0.4, -0.4, 0.2, -0.2)
    for bad in (2.0, np.inf):
        assert choose_layer_and_dose(result_of(grid(1.0), grid(bad), (6, 2), doses)) == Choice(2, 0.2)


def test_one_direction_only_is_no_choice():
    with pytest.raises(InputError, match="both signs"):
        choose_layer_and_dose(result_of(np.zeros((2, 3, 2)), np.ones((2, 3, 2)), (1, 2), (0.2, 0.4)))


def test_without_a_measure_of_damage_nothing_is_chosen():
    """It would be the smallest dose of the first layer, whatever the effects are."""
    found = result_of(grid(1.0), grid(1.0), (2, 6), (-0.4, -0.2, 0.2, 0.4))
    blind = SweepResult(
        "m", "mean", "specific", found.layout, found.log_odds, np.full((2, 3, 4, 2, 0), np.nan), CLASSES, ()
    )
    with pytest.raises(InputError, match="neutral continuations"):
        choose_layer_and_dose(blind)
