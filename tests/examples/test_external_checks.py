"""The external checks: what is planted is found, what is not is not, and the script writes its table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA

import emotion_circuits as ec
import external_checks as checks
from emotion_circuits.directions import Activations, GenericStatistics, Source
from emotion_circuits.prompts import Dataset, Text

EMOTIONS = ("anger", "apology", "fear", "gratitude", "joy", "sadness")
VALENCE = checks.valences_of(None)
LAYERS, WIDTH, SCENARIOS, TEXTS = 8, 24, 20, 12


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, n in (("N_DRAWS", 60), ("N_AUROC_DRAWS", 60), ("N_HALVES", 4)):
        monkeypatch.setattr(checks, name, n)


def recorded(
    seed: int, vectors: NDArray[np.float64] | None = None, *, texts: int | None = None, shift: float = 0.0
) -> checks.Recorded:
    """A model whose texts are noise that one layer hands to the next, alike in all models of the same `texts`.

    Args:
        vectors: (emotions, d) or (layers, emotions, d), added to the blocks; the embedding has none.
        shift: of all generic states, along one dimension.
    """
    rng, own = np.random.default_rng(seed if texts is None else texts), np.random.default_rng([seed, 1])
    data = Dataset(
        "planted",
        tuple(
            Text(f"{e} {k}", e, str(k), "development" if k % 2 else "test")
            for k in range(SCENARIOS)
            for e in ("neutral", *EMOTIONS)
        ),
    )
    noise = (
        rng.normal(size=(LAYERS + 1, len(data), WIDTH)).cumsum(axis=0)
        / np.sqrt(np.arange(1, LAYERS + 2))[:, None, None]
    )
    values = noise @ np.linalg.qr(own.normal(size=(WIDTH, WIDTH)))[0]
    if vectors is not None:
        of_emotion = np.broadcast_to(vectors, (LAYERS, len(EMOTIONS), WIDTH))
        for k, text in enumerate(data):
            if text.emotion in EMOTIONS:
                values[1:, k] += of_emotion[:, EMOTIONS.index(text.emotion)]
    source = Source(model=f"planted-{seed}", revision="0", dtype="float32", bos=False, centred_norm=True)
    ones = np.ones(LAYERS + 1, np.float32)
    none = tuple(np.zeros((0, WIDTH), np.float32) for _ in ones)
    generic = GenericStatistics(np.zeros((LAYERS + 1, WIDTH), np.float32), ones, none, none, 8, source, ones)
    acts = Activations(source, data, {"mean": values.astype(np.float32)}, {}, generic)
    states = own.normal(size=(LAYERS + 1, TEXTS, 1, WIDTH)) + shift * np.eye(WIDTH)[0]
    return checks.Recorded(source.model, acts, acts, checks.unit(states).sum(axis=2), np.ones(TEXTS))


def along_valence() -> NDArray[np.float64]:
    return np.outer([VALENCE[e] for e in EMOTIONS], np.eye(WIDTH)[3]) * 3


def test_valence_is_found_where_it_is_planted() -> None:
    row = checks.valence_axis(recorded(0, along_valence()), VALENCE, "planted")
    assert row.value > 0.9 > row.chance_high and row.p == pytest.approx(12 / 720)  # 12 orders give the same coding
    assert (row.verdict, row.low <= row.value <= row.high) == ("agrees", True)


def test_valence_is_seldom_found_in_vectors_of_no_order() -> None:
    rng = np.random.default_rng(5)
    found = [
        checks.valence_axis(recorded(k, 3 * rng.normal(size=(6, WIDTH))), VALENCE, "none").p < checks.ALPHA
        for k in range(20)
    ]
    assert sum(found) <= 4  # 5 % would be one; five or more of 20 in 3 of 1,000


def test_the_first_axis_is_that_of_a_principal_component_analysis() -> None:
    vectors = np.random.default_rng(1).normal(size=(3, 6, 10))
    valence = np.arange(6.0) ** 2
    scores = [PCA(1).fit_transform(v)[:, 0] for v in vectors]
    expected = [abs(np.corrcoef(s, valence)[0, 1]) for s in scores]
    np.testing.assert_allclose(checks.axis_correlation(checks.first_axis(vectors), valence), expected)


def test_contrasts_are_differences_of_means() -> None:
    acts = recorded(2).explicit
    [found] = checks.contrasts(acts, [3], checks.weights_of(checks.design(acts), "matched")[None])
    values = acts.at("mean")[3]
    expected = [values[acts.labels == e].mean(axis=0) - values[acts.labels == "neutral"].mean(axis=0) for e in EMOTIONS]
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


def test_two_models_share_a_geometry_that_is_planted_in_both() -> None:
    angles = np.array([0.0, 0.3, 0.9, 2.0, 3.1, 5.0])
    vectors = 6 * np.stack([np.cos(angles), np.sin(angles), *np.zeros((WIDTH - 2, 6))], axis=1)
    turned = vectors @ np.linalg.qr(np.random.default_rng(4).normal(size=(WIDTH, WIDTH)))[0]
    row = checks.shared_geometry(recorded(0, vectors), recorded(1, turned), "explicit")
    assert row.verdict == "agrees" and row.value > 0.8


def test_the_same_texts_without_an_emotion_are_no_shared_geometry() -> None:
    """Two rotations of one noise have equal tables of cosines: only labels shuffled alike in both show that."""
    row = checks.shared_geometry(recorded(0, texts=9), recorded(1, texts=9), "explicit")
    assert row.value > 0.99 and row.chance > 0.99
    assert row.verdict == "does not agree" and "beyond chance" in row.why


def test_mean_cosine_is_that_of_all_pairs_of_tokens_of_different_texts() -> None:
    rng = np.random.default_rng(6)
    tokens = [checks.unit(rng.normal(size=(n, 5)) + 1) for n in (1, 3, 2)]
    model = replace(
        recorded(0), generic=np.stack([t.sum(axis=0) for t in tokens])[None], n_tokens=np.array([1.0, 3.0, 2.0])
    )
    pairs = [a @ b for i, x in enumerate(tokens) for j, y in enumerate(tokens) if i != j for a in x for b in y]
    assert checks.mean_cosine(model, [0], np.ones((1, 3)))[0] == pytest.approx(np.mean(pairs))


def test_anisotropy_has_an_order() -> None:
    plain, shifted = recorded(0), recorded(1, shift=10.0)
    assert checks.anisotropy(plain, shifted).value > 0.5
    assert checks.anisotropy(shifted, plain).verdict == "does not agree"
    # Shifted at the embedding too, and as much: more than chance, but nothing that blocks added.
    assert checks.anisotropy(plain, shifted).verdict == "agrees, no more than the embedding"


def test_what_rises_earlier_is_found_to_do_so() -> None:
    vectors = np.zeros((LAYERS, 6, WIDTH))
    vectors[1:, EMOTIONS.index("anger"), 0] = vectors[5:, EMOTIONS.index("gratitude"), 1] = 50.0
    model = recorded(0, vectors)
    assert np.median(checks.depths(model.implicit, "anger")) == pytest.approx(2 / LAYERS)
    row, other_way = checks.earlier(model), checks.earlier(model, "gratitude", "anger")
    assert row.value == 1.0 and row.verdict == "agrees"
    assert other_way.value == 0.0 and "order" in other_way.why


def test_neighbouring_layers_agree_beyond_the_stream_they_share() -> None:
    planted, nothing = recorded(0, 3 * np.random.default_rng(7).normal(size=(6, WIDTH))), recorded(0)
    assert checks.neighbours(planted).value > checks.neighbours(planted).chance_high
    row = checks.neighbours(nothing)
    assert row.chance > 0.7 and "beyond chance" in row.why


@pytest.mark.parametrize(
    ("order", "p", "beyond", "verdict"),
    [
        (True, 0.01, True, "agrees"),
        (True, 0.01, None, "agrees"),
        (None, 0.01, True, "agrees"),
        (None, 0.2, True, "does not agree"),
        (True, 0.01, False, "agrees, no more than the embedding"),
        (True, 0.05, True, "does not agree"),
        (False, 0.01, True, "does not agree"),
    ],
)
def test_the_rule(order: bool | None, p: float, beyond: bool | None, verdict: str) -> None:
    assert checks.judge(order, p, beyond)[0] == verdict


def test_norms_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "norms.csv"
    path.write_text("emotion,valence\n" + "".join(f"{e},{k / 2}\n" for k, e in enumerate(EMOTIONS)))
    assert [checks.valences_of(path)[e] for e in EMOTIONS] == [0, 0.5, 1, 1.5, 2, 2.5]
    path.write_text("emotion,valence\nanger,2\njoy,much\n")
    with pytest.raises(ec.InputError, match="no valence for every emotion"):
        checks.valences_of(path)


def test_the_script_fills_its_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, out = tmp_path / "page.md", tmp_path / "table.json"
    page.write_text("Before.\n<!-- table -->\nold\n<!-- /table -->\nAfter.\n")
    models = ["reference/gpt2", "reference/gpt-neox"]
    checks.main(["--models", *models, "--scenarios", "4", "--generic", "12", "--out", str(out), "--write", str(page)])
    rows = json.loads(out.read_text())["rows"]
    assert [row["check"][:2].strip() for row in rows] == ["1a", "1b", "1c", *"22334455"]
    for row in rows:
        assert 0 < row["p"] <= 1 and row["low"] <= row["high"] and row["verdict"] and row["why"]
    table = capsys.readouterr().out.strip()
    assert page.read_text() == f"Before.\n<!-- table -->\n{table}\n<!-- /table -->\nAfter.\n"
    assert {line.count("|") for line in table.splitlines()} == {10}  # no cell breaks the table


def test_a_page_without_a_place_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Nothing here.")
    with pytest.raises(ec.InputError, match="no place"):
        checks.fill(page, "table")
