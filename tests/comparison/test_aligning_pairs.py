"""Maps between whole models: the planted layer is found, the plant arrives, and what has none gives nothing."""

from __future__ import annotations

import numpy as np
import pytest
from planted_sides import activations, planted, sides, texts_of

from emotion_circuits.comparison import (
    GAIN,
    OWN_COSINE,
    PairAlignment,
    Side,
    align_pair,
    alignment_claims,
    chosen_rows,
    layer_rows,
    n_steps,
    shared_claim,
)
from emotion_circuits.errors import InputError
from emotion_circuits.statistics import judge

DRAWS = 199


@pytest.fixture(scope="module")
def pair() -> PairAlignment:
    a, b, twins_a, twins_b = sides()
    return align_pair(a, b, twins_a, twins_b, n_draws=DRAWS, n_bootstrap=400, seed=0)


def test_the_planted_layer_is_chosen_on_development_scenarios(pair: PairAlignment) -> None:
    assert (pair.row_a, pair.row_b) == (2, 2)
    assert pair.development[2, 2] == pair.development.max()


def test_a_notebook_shows_what_arrives_beside_every_null(pair: PairAlignment) -> None:
    table = pair.table()
    assert "chance" in table.columns and len(table.rows) > len(pair.gains)
    assert pair._repr_html_().count("<tr>") == len(table.rows) + 1


def test_planted_directions_arrive_and_untrained_ones_do_not(pair: PairAlignment) -> None:
    for gain in pair.gains:
        assert gain.trained > 0.95
        assert gain.gain.interval.low > 0.1
    assert pair.shared.corrected > 0.8
    floors = {floor.name: floor for floor in pair.shared_floors}
    assert set(floors) == {"untrained", "embedding"}
    for floor in floors.values():
        assert floor.level < 0.5 and floor.gain[0] > 0 and floor.p < 1e-3


def test_the_claims_of_the_plant_are_supported(pair: PairAlignment) -> None:
    claims = judge([shared_claim(pair, 0.2, "a.parquet"), *alignment_claims(pair, 0.1, "a.parquet")])
    alignment = [c for c in claims if c.id == "rq5.alignment"]
    assert [c.verdict for c in alignment] == ["supported"] * 3
    for claim in claims:
        assert claim.value is not None and claim.ci95 is not None and claim.p is not None
        assert claim.n_unique == 20


def test_models_without_a_common_plant_support_nothing() -> None:
    verdicts = []
    for seed in range(6):
        _, _, twins_a, twins_b = sides(seed)
        found = align_pair(twins_a[0], twins_b[1], twins_a[1:], twins_b[:1], n_draws=99, n_bootstrap=200, seed=seed)
        claims = judge([shared_claim(found, 0.2, "a.parquet"), *alignment_claims(found, 0.1, "a.parquet")])
        verdicts += [c.verdict for c in claims]
    assert "supported" not in verdicts


def test_every_number_stands_beside_a_null(pair: PairAlignment) -> None:
    rows = layer_rows(pair) + chosen_rows(pair)
    cells = [m for m in rows if m.statistic == OWN_COSINE and m.null == "shuffled"]
    assert len(cells) == 9
    assert all(m.null_low <= m.chance <= m.null_high for m in cells)
    for m in rows:
        assert m.n_unique > 0
        assert np.isfinite(m.chance)
    gains = [m for m in rows if m.statistic == GAIN]
    assert [m.emotion for m in gains] == ["amber", "azure", "cyan", "all"]


def test_progress_counts_every_alignment() -> None:
    a, b, twins_a, twins_b = sides()
    seen: list[int] = []
    align_pair(
        a, b, twins_a[:1], twins_b[:1], rows_a=[2], rows_b=[2], n_draws=99, n_bootstrap=50, seed=0, on_step=seen.append
    )
    assert seen == list(range(1, n_steps(2) + 1))


def test_the_result_does_not_depend_on_the_order_of_layers(pair: PairAlignment) -> None:
    a, b, twins_a, twins_b = sides()
    turned = align_pair(
        a, b, twins_a, twins_b, rows_a=[2, 1, 0], rows_b=[2, 0, 1], n_draws=DRAWS, n_bootstrap=400, seed=0
    )
    assert (turned.row_a, turned.row_b) == (pair.row_a, pair.row_b)
    assert [g.gain for g in turned.gains] == [g.gain for g in pair.gains]


@pytest.mark.parametrize("rows", [[0], [7], []])
def test_layers_that_cannot_be_aligned_are_refused(rows: list[int]) -> None:
    a, b, twins_a, twins_b = sides()
    with pytest.raises(InputError, match="cannot be aligned at these layers"):
        align_pair(a, b, twins_a, twins_b, rows_a=rows)


def test_other_texts_and_missing_twins_are_refused() -> None:
    a, b, twins_a, _ = sides()
    with pytest.raises(InputError, match="no untrained twin"):
        align_pair(a, b, [], [])
    plant = planted()
    data = texts_of(plant.labels[::-1], plant.groups[::-1])
    other = activations("B", data, [plant.emotion_b] * 3)
    with pytest.raises(InputError, match="recorded on different texts"):
        align_pair(a, Side(b.fit, other), twins_a, [])
    with pytest.raises(InputError, match="different models or runs"):
        Side(a.fit, b.explicit)
