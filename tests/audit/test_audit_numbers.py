"""Every row of the audit against the earlier project's formulas computed by other means, on models and on noise."""

from __future__ import annotations

from collections.abc import Callable

import earlier
import numpy as np
import pandas as pd
import pytest
from audit_models import CLASSES, made_of, noise_model, texts, turned

import emotion_circuits as ec
from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.report import audit_picture, write_pictures

N, D, N_NOISE, K = 24, 32, 4, 10
LAYER = 1
AFTER_MAP = "squared entries after a map from neutral texts"
Pair = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]


def classes(model: ec.directions.Activations, layer: int = LAYER) -> dict[str, np.ndarray]:
    values = model.at("sentence_end")[layer + 1].astype(np.float64)
    return {name: values[model.labels == name] for name in CLASSES}


@pytest.fixture(scope="module")
def models() -> list[ec.directions.Activations]:
    return [noise_model("A", 1, N, D), noise_model("B", 2, N, D)]


@pytest.fixture(scope="module")
def table(models: list[ec.directions.Activations]) -> pd.DataFrame:
    return ec.audit(models, layers=[LAYER], n_noise=N_NOISE)


def row(table: pd.DataFrame, metric: str, model: str | None = "A ~ B") -> pd.Series:
    found = table[(table.metric == metric) & (True if model is None else table.model == model)]
    assert len(found) == 1
    return found.iloc[0]


def cells(models: list[ec.directions.Activations]) -> tuple[list[Pair], list[Pair]]:
    """Neutral and emotion texts of both models for each emotion, and those of the noise."""
    a, b = map(classes, models)
    own = [
        ({"neutral": a["neutral"], "own": a[c]}, {"neutral": b["neutral"], "own": b[c]})
        for c in CLASSES
        if c != "neutral"
    ]
    drawn = [np.random.default_rng(s).standard_normal((4, N, D)) for s in range(N_NOISE)]
    return own, [({"neutral": x[0], "own": x[2]}, {"neutral": x[1], "own": x[3]}) for x in drawn]


def of_bases(measure: Callable[..., float], k: int) -> Callable[[Pair], float]:
    return lambda pair: measure(*(earlier.basis(side["own"], k) for side in pair))


def by_rank(pair: Pair) -> float:
    a, b = (earlier.basis(side["own"], K) for side in pair)
    return earlier.squares(earlier.shortest_map(*(side["neutral"] for side in pair)).T @ a, b)


def as_meant(pair: Pair) -> float:
    a, b = (earlier.basis(side["own"], K) for side in pair)
    return earlier.squares(earlier.turned(a, b), b) - earlier.squares(a, b)


def whole(pair: Pair) -> float:
    return earlier.biased_cka(*(side["own"] for side in pair))


FORMULAS = {
    **{f"mean of the 5 largest cosines, k = {k}": of_bases(earlier.cosines, k) for k in (2, 5, 10, 20)},
    **{f"mean squared Gram entry, k = {k}": of_bases(earlier.squares, k) for k in (2, 5, 10, 20)},
    "squared entries, map by a solver that finds the rank": by_rank,
    "linear CKA, biased": whole,
}


@pytest.mark.parametrize("metric", FORMULAS)
def test_a_row_is_the_formula_s_mean_over_emotions_and_over_noise(models, table, metric):
    own, noise = cells(models)
    found = row(table, metric)
    assert found.on_models == pytest.approx(np.mean([FORMULAS[metric](pair) for pair in own]))
    drawn = [FORMULAS[metric](pair) for pair in noise]
    assert found.on_noise == pytest.approx(np.mean(drawn))
    assert [found.noise_low, found.noise_high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]))
    assert found.models_low <= found.on_models <= found.models_high and found.n_noise == N_NOISE


@pytest.mark.parametrize("name", "AB")
def test_the_cosine_of_emotions_vectors(models, table, name):
    own = classes(models["AB".index(name)])
    found = row(table, "cosine between emotions' vectors, one neutral mean", name)
    assert found.on_models == pytest.approx(earlier.pair_cosine(own))


def test_lengths_of_all_layers(models, table):
    lengths = np.array([
        [np.linalg.norm(x.mean(0) - own["neutral"].mean(0)) for c, x in own.items() if c != "neutral"]
        for m in models for own in (classes(m, layer) for layer in range(m.n_layers))
    ])  # fmt: skip
    sizes = [np.median(np.linalg.norm(block, axis=1)) for m in models for block in m.at("sentence_end")[1:]]
    doses = lengths / np.array(sizes)[:, None]
    assert row(table, "longest over shortest vector, all layers", "all").on_models == pytest.approx(
        lengths.max() / lengths.min()
    )
    assert row(table, "longest over shortest, in doses", "all").on_models == pytest.approx(doses.max() / doses.min())


def test_procrustes_gains_by_the_mean_that_it_adds(table):
    """Each inner product has 1/k from it, so that a mean square gains about 1/k²; turned the right way, nearly all."""
    assert row(table, "gain by Procrustes, squared entries").on_noise == pytest.approx(1 / K**2, rel=0.5)
    assert row(table, "gain by Procrustes if turned the right way").on_noise > 0.6 / K


def test_a_corrected_value_is_that_of_its_own_row_and_verdicts_follow_the_rule(table):
    for one in table[
        table.corrected_statistic.notna() & (table.metric != "texts whose emotion word was found in the tokens")
    ].itertuples():
        instead = row(table, one.corrected_statistic, one.model)
        assert instead.on_models == one.corrected
    for one in table[table.n_noise > 0].dropna(subset=["on_models"]).itertuples():
        room = abs(one.chance) if np.isnan(one.ceiling) else one.ceiling - one.chance
        if pd.notna(one.corrected_statistic) and one.noise_low > one.chance + 0.05 * room:
            assert one.verdict == "artefact"
        else:
            assert one.verdict == ("above chance" if one.on_models > one.noise_high else "chance")
    promised = {"metric", "model", "seed_value", "on_models", "on_noise", "chance", "ceiling", "corrected", "verdict"}
    assert promised <= {*table.columns}
    assert {*table.verdict} <= {"chance", "artefact", "no data", "above chance", "not shown"}
    assert not table.duplicated(["metric", "model"]).any()


def test_noise_of_the_earlier_project_s_shape_gives_its_numbers():
    """70 texts of 768 dimensions: what it reported, or what its formulas give there."""
    data = texts(70)
    model = made_of(np.random.default_rng(9).standard_normal((2, len(data), 768)), "A", data)
    found = ec.audit([model], layers=[0], n_noise=3).set_index("metric")
    on_noise = found.on_noise
    for k, cosine in ((2, 0.042), (5, 0.068), (10, 0.148), (20, 0.254)):
        name = f"mean of the 5 largest cosines, k = {k}"
        assert on_noise[name] == pytest.approx(cosine, abs=0.03) == found.chance[name]
        assert on_noise[f"mean squared Gram entry, k = {k}"] == pytest.approx(1 / 768, abs=0.0015)
        assert on_noise[f"S*, k = {k}"] == pytest.approx(0, abs=0.004)
    assert 0.7 < on_noise[AFTER_MAP] <= 1 and found.verdict[AFTER_MAP] == "artefact"
    assert on_noise["squared entries, map by a solver that finds the rank"] < 1 / 768
    assert on_noise["squared entries, mapped basis orthonormal again"] == pytest.approx(1 / 768, rel=0.6)
    assert on_noise["gain by Procrustes, squared entries"] == pytest.approx(0.00996, abs=0.002)
    assert on_noise["gain by Procrustes, cosines"] == pytest.approx(0.175, abs=0.05)
    assert on_noise["gain by Procrustes if turned the right way"] > 0.93 / K
    assert on_noise["linear CKA, biased"] == pytest.approx(768 / (768 + 70), abs=0.01)
    assert on_noise["R² of least squares on the texts it was fitted on"] == pytest.approx(1)
    assert on_noise["cosine between emotions' vectors, one neutral mean"] == pytest.approx(0.5, abs=0.05)
    assert on_noise["cosine, specific and standardised"] == pytest.approx(-0.5, abs=0.005)
    for name in ("S* after least squares, held out", "S* after rotation, held out", "debiased CKA"):
        assert on_noise[name] == pytest.approx(0, abs=0.03)
    for name in ("R² of ridge, held out", "R² of least squares on other texts"):
        assert on_noise[name] < 0.01
    assert found.verdict["mean squared Gram entry, k = 10"] == "no data"


def test_nothing_is_above_chance_in_noise_more_often_than_bands_allow():
    tables = [
        ec.audit([noise_model("A", 2 * s), noise_model("B", 2 * s + 1)], layers=[1], n_noise=16, seed=100 * s)
        for s in range(6)
    ]
    rows = pd.concat(tables)
    above = rows[(rows.model == "A ~ B") & (rows.verdict == "above chance")].metric.value_counts()
    # 2.5 % of single cells lie above a band, with 16 draws hardly more than 8 %: four of six have p < .001.
    assert (above < 4).all(), above


def test_a_model_in_other_coordinates_is_found_by_the_corrected_values_only():
    model = noise_model("A", 3, n=60)
    found = ec.audit([model, turned(model, "B", 4)], layers=[1], n_noise=20).set_index(["metric", "model"])
    assert {found.verdict[f"mean squared Gram entry, k = {k}", "A ~ B"] for k in (2, 5, 10, 20)} == {"chance"}
    assert found.verdict["S* after least squares, held out", "A ~ B"] == "above chance"


def test_the_noise_is_that_of_the_seed(models, table):
    pd.testing.assert_frame_equal(ec.audit(models, layers=[LAYER], n_noise=N_NOISE), table)
    assert not ec.audit(models, layers=[LAYER], n_noise=N_NOISE, seed=5).on_noise.equals(table.on_noise)


def test_widths_and_few_texts_give_no_number_where_that_means_nothing():
    found = ec.audit([noise_model("A", 1), noise_model("B", 2, d=40)], layers=[1], n_noise=2)
    raw = row(found, "mean squared Gram entry, k = 10")
    assert np.isnan(raw.on_models) and raw.verdict == "no data" and "align" in raw.note
    assert row(found, AFTER_MAP).on_models > 0 and row(found, "linear CKA, biased").on_models > 0
    found = ec.audit([noise_model("A", 1, n=8), noise_model("B", 2, n=8)], layers=[1], n_noise=2)
    assert row(found, "mean of the 5 largest cosines, k = 5").on_models > 0
    for name in ("mean of the 5 largest cosines, k = 10", AFTER_MAP):
        assert np.isnan(row(found, name).on_models) and row(found, name).verdict == "no data"


def test_what_cannot_be_audited_is_refused():
    model, other = noise_model("A", 1), noise_model("B", 2)
    for given, settings, problem in (
        ([], {}, "no models"), ([model, model], {}, "twice"),
        ([model, noise_model("B", 2, n=20)], {}, "different texts"),
        ([model, other], {"layers": [9]}, "no layer 9"), ([model], {"n_noise": 1}, "two draws"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=problem):
            ec.audit(given, **settings)
    for spoil, problem in ((0.0, "same for all texts"), (np.nan, "NaN")):
        values = model.values["sentence_end"] * np.where(np.arange(5) == 2, spoil, 1)[:, None, None]
        with pytest.raises(MeasurementError, match=problem):
            ec.audit([made_of(values, "A", texts(24)), other], layers=[1], n_noise=2)
    flat = model.values["sentence_end"].copy()
    flat[2, :, 3:] = 0
    with pytest.raises(MeasurementError, match="span fewer than"):
        ec.audit([made_of(flat, "A", texts(24)), other], layers=[1], n_noise=2)
    audited = ec.audit([model, made_of(other.values["sentence_end"], "B", texts(24, "other"))], layers=[1], n_noise=2)
    assert len(audited)  # only the name of the set differs


def test_one_model_alone_has_noise_and_its_own_rows_and_a_figure(tmp_path):
    found = ec.audit([noise_model("A", 1)], layers=[1], n_noise=4)
    raw = row(found, "mean squared Gram entry, k = 10", "–")
    assert np.isnan(raw.on_models) and raw.on_noise > 0 and raw.verdict == "no data"
    files = write_pictures([audit_picture(found)], tmp_path)
    assert [file.name for file in files] == ["overlap_on_noise.png", "overlap_on_noise.svg"]
    before = [file.read_bytes() for file in files]
    assert [file.read_bytes() for file in write_pictures([audit_picture(found)], tmp_path)] == before
    assert "chance 1/32" in files[1].read_text()
    assert audit_picture(ec.audit([noise_model("A", 1, n=8)], layers=[1], n_noise=2)) is None
