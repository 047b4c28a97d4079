"""Comparisons without a map, and subspaces of one model, on plants and noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from planted_sides import activations, planted, sides, texts_of
from safetensors.numpy import load_file
from scipy.stats import binomtest

from emotion_circuits.comparison import (
    KINDS,
    direction_rows,
    overlap_rows,
    save_subspaces,
    space_rows,
    subspace_estimator,
    subspace_rows,
)
from emotion_circuits.errors import InputError
from emotion_circuits.geometry import BetweenClassSubspace, ScenarioTable, self_overlap


def test_a_planted_subspace_is_stable() -> None:
    a, _, _, _ = sides(emotion_size=60.0)
    rows = subspace_rows(a.explicit, "mean", "between-class", [3], n_permutations=99)
    assert rows[2].value > 0.9 and rows[2].p == pytest.approx(0.01)
    assert all(m.null_low <= m.chance <= m.null_high for m in rows)


def test_the_stability_of_noise_is_significant_no_more_often_than_it_says() -> None:
    labels, scenarios = np.tile(["anger", "apology", "gratitude", "neutral"], 24), np.repeat(np.arange(24), 4)
    found = [
        self_overlap(
            ScenarioTable.from_texts(np.random.default_rng(seed).standard_normal((96, 20)), labels, scenarios),
            BetweenClassSubspace(), [3], n_splits=10, n_permutations=39, seed=seed,
        )[0]
        for seed in range(80)
    ]  # fmt: skip
    false_positives = sum(one.p <= 0.05 for one in found)
    assert binomtest(false_positives, len(found), 0.05, alternative="greater").pvalue > 0.001
    assert np.mean([one.corrected for one in found]) == pytest.approx(0, abs=0.02)


def test_raw_coordinates_of_two_models_share_nothing_until_aligned() -> None:
    a, b, _, _ = sides()
    [raw] = overlap_rows(a.explicit, b.explicit, "mean", "between-class", [3], layers=[1], n_permutations=99)
    [mapped] = overlap_rows(
        a.explicit, b.explicit, "mean", "between-class", [3], layers=[1], aligned=(a, b), n_permutations=99
    )
    assert raw.value < 0.4 < 0.8 < mapped.value
    for m in direction_rows(a.explicit, b.explicit, "mean", layers=[1]):
        assert abs(m.value) < 0.75
        assert m.null_low < 0 < m.null_high


def test_spaces_are_alike_under_any_coordinates() -> None:
    a, b, _, _ = sides()
    rows = space_rows(a.explicit, b.explicit, "mean", "cka", layers=[0, 1], n_draws=199)
    by_layers = {(m.layer_a, m.layer_b): m for m in rows}
    assert by_layers[1, 1].value > 0.5 and by_layers[1, 1].p < 0.01
    assert by_layers[0, 0].value < 0.2


def test_bases_are_saved_orthonormal(tmp_path: Path) -> None:
    a, _, _, _ = sides()
    path = save_subspaces(a.explicit, "mean", "paired", 5, tmp_path / "s.safetensors", emotions=("amber", None))
    tensors = load_file(path)
    assert set(tensors) == {"amber", "all"}
    for bases in tensors.values():
        assert bases.shape == (3, 40, 5)
        np.testing.assert_allclose(np.swapaxes(bases, 1, 2) @ bases, np.broadcast_to(np.eye(5), (3, 5, 5)), atol=1e-5)


def test_what_cannot_be_compared_is_refused() -> None:
    a, b, _, _ = sides()
    plant = planted()
    narrow = activations("N", texts_of(plant.labels, plant.groups), [plant.emotion_b[:, :30]] * 3)
    with pytest.raises(InputError, match="different width"):
        direction_rows(a.explicit, narrow, "mean")
    with pytest.raises(InputError, match="different width"):
        overlap_rows(a.explicit, narrow, "mean", "paired", [2])
    with pytest.raises(InputError, match="no layer 5"):
        overlap_rows(a.explicit, b.explicit, "mean", "paired", [2], layers=[5])
    with pytest.raises(InputError, match="belongs to one emotion"):
        subspace_estimator("within-class")
    with pytest.raises(InputError, match="all emotions together"):
        subspace_estimator("lda", 2, "anger")
    with pytest.raises(InputError, match="no subspace 'pca'"):
        subspace_estimator("pca")
    assert set(KINDS) == {"between-class", "lda", "paired", "within-class"}
