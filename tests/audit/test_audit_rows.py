"""What the audit says of noise, of a model in other coordinates, and of numbers given to its rule."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from audit_models import made_of, noise_model, texts, turned

from emotion_circuits.audit import AuditReport, Band, audit, audit_table, n_steps, verdict_of
from emotion_circuits.errors import InputError


@pytest.fixture(scope="module")
def noise() -> AuditReport:
    return audit([noise_model("A", 1), noise_model("B", 2)], layers=[1], n_noise=20)


def test_nothing_is_above_chance_in_noise_more_often_than_bands_allow() -> None:
    above: Counter[str] = Counter()
    for seed in range(12):
        report = audit(
            [noise_model("A", 2 * seed), noise_model("B", 2 * seed + 1)], layers=[1], n_noise=40, seed=100 * seed
        )
        above.update(row.metric for row in report.rows if row.model == "A ~ B" and row.verdict == "above chance")
    # 2.5 % of single cells lie above a band; with 40 draws hardly more than 5 %: four of twelve have p < .003.
    assert all(count < 4 for count in above.values()), above


def test_a_model_in_other_coordinates_is_found_by_the_corrected_values_only() -> None:
    model = noise_model("A", 3, n=60)
    rows = audit([model, turned(model, "B", 4)], layers=[1], n_noise=20).rows
    raw = [row for row in rows if row.metric.startswith("mean squared Gram entry")]
    assert {row.verdict for row in raw} == {"chance"}
    held_out = [row for row in rows if row.corrected_statistic == "S* after least squares, held out"]
    assert held_out and {row.corrected_verdict for row in held_out} == {"above chance"}


def test_noise_of_the_earlier_project_s_shape_gives_its_numbers() -> None:
    """70 texts of 768 dimensions; what it reported or what its formulas give there, within three deviations."""
    data = texts(70)
    models = [
        made_of(np.random.default_rng([seed, 9]).standard_normal((2, len(data), 768)), name, data)
        for seed, name in enumerate("AB")
    ]
    rows = {row.metric: row for row in audit(models, layers=[0], n_noise=10).rows}

    def on_noise(metric: str) -> float:
        value = rows[metric].on_noise
        assert value is not None
        return value

    assert on_noise("mean of the 5 largest cosines, k = 10") == pytest.approx(0.148, abs=0.033)
    for k in (2, 5, 10, 20):
        assert on_noise(f"mean squared Gram entry, k = {k}") == pytest.approx(1 / 768, abs=3 * 0.0009)
    assert 0.7 < on_noise("squared entries after a map from neutral texts") <= 1
    assert on_noise("gain by Procrustes, squared entries") == pytest.approx(0.00996, abs=0.002)
    assert on_noise("linear CKA, biased") == pytest.approx(0.92, abs=0.01)
    assert rows["squared entries after a map from neutral texts"].verdict == "artefact"


def test_every_row_has_what_json_promises(noise: AuditReport) -> None:
    table = audit_table(noise.rows)
    promised = {
        "metric", "model", "seed_value", "on_models", "on_noise", "chance", "ceiling", "corrected", "verdict",
    }  # fmt: skip
    assert promised <= set(table.columns)
    assert set(table["verdict"]) <= {"chance", "artefact", "no data", "above chance", "not shown"}
    assert len(table) == len(noise.rows)


@pytest.mark.parametrize(
    ("on_models", "noise", "ceiling", "verdict"),
    [
        (0.5, Band(0.9, 0.8, 1.0, 10), 1.0, "artefact"),
        (None, Band(0.9, 0.8, 1.0, 10), 1.0, "artefact"),
        (0.02, Band(0.0, -0.03, 0.03, 10), 1.0, "chance"),
        (0.04, Band(0.0, -0.03, 0.03, 10), 1.0, "above chance"),
        (None, Band(0.0, -0.03, 0.03, 10), 1.0, "no data"),
        (0.5, Band(math.nan, math.nan, math.nan, 0), 1.0, "no data"),
    ],
)
def test_the_rule(on_models: float | None, noise: Band, ceiling: float, verdict: str) -> None:
    assert verdict_of(on_models, noise, 0.0, ceiling) == verdict


def test_steps_are_counted_and_the_noise_is_that_of_the_seed() -> None:
    models = [noise_model("A", 1), noise_model("B", 2)]
    seen: list[int] = []
    first = audit(models, layers=[1], n_noise=3, on_step=seen.append)
    assert seen == sorted(seen) and seen[-1] <= n_steps(2, 3)
    assert audit(models, layers=[1], n_noise=3).rows == first.rows
    assert audit(models, layers=[1], n_noise=3, seed=5).rows != first.rows


def test_what_cannot_be_audited_is_refused() -> None:
    model = noise_model("A", 1)
    with pytest.raises(InputError, match="no models"):
        audit([])
    with pytest.raises(InputError):
        audit([model, model])
    with pytest.raises(InputError):
        audit([model, noise_model("B", 2, n=20)])
    with pytest.raises(InputError, match="9"):
        audit([model, noise_model("B", 2)], layers=[9])
    with pytest.raises(InputError, match="two draws"):
        audit([model], n_noise=1)
