"""What cannot be measured gives one clear error, never a number."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.geometry import (
    ALIGNERS,
    Aligner,
    BetweenClassSubspace,
    GenericCleaner,
    LDASubspace,
    PairedDifferenceSubspace,
    PerDimensionScaler,
    Ridge,
    ScenarioTable,
    ShrunkWhitening,
    SubspaceEstimator,
    WithinClassSubspace,
    align_all_layers,
    cka,
    compare_subspaces,
    evaluate_alignment,
    independent_models,
    load_aligner,
    reduce_texts,
    rotation_null,
    save_aligner,
)

MODELS = independent_models(n_fit=100, n_scenarios=8, width_a=12, width_b=12, seed=0)
X, LABELS, GROUPS = MODELS.emotion_a, MODELS.labels, MODELS.groups
ALL_ESTIMATORS = [BetweenClassSubspace(), LDASubspace(), PairedDifferenceSubspace(), WithinClassSubspace()]


def spoiled() -> np.ndarray:
    texts = X.copy()
    texts[3, 2] = np.inf
    return texts


def one_line(error: Exception) -> None:
    assert 1 <= len(str(error).splitlines()) <= 4


@pytest.mark.parametrize("estimator", ALL_ESTIMATORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize(
    ("texts", "labels", "groups", "kind"),
    [
        (spoiled(), LABELS, GROUPS, MeasurementError),
        (np.ones_like(X), LABELS, GROUPS, MeasurementError),
        (np.full_like(X, 1e6) + np.float32(1e-3) * (X > 9), LABELS, GROUPS, MeasurementError),
        (X[:, 0], LABELS, GROUPS, InputError),
        (X, LABELS[1:], GROUPS, InputError),
        (X, LABELS, GROUPS[1:], InputError),
        (X[1:], LABELS[1:], GROUPS[1:], InputError),
        (X, np.full(len(X), "neutral"), GROUPS, InputError),
        (X, LABELS, np.full(len(X), "one"), InputError),
    ],
    ids=["nan", "constant", "rounding", "1-d", "labels", "groups", "class missing", "one class", "one scenario"],
)
def test_texts_that_give_no_subspace(estimator: SubspaceEstimator, texts, labels, groups, kind) -> None:
    with pytest.raises(kind) as error:
        estimator.fit(texts, labels, groups)
    one_line(error.value)


@pytest.mark.parametrize(
    "estimator",
    [
        BetweenClassSubspace(n_components=4),
        LDASubspace(n_components=4),
        PairedDifferenceSubspace(n_components=13),
        PairedDifferenceSubspace(n_components=9, emotion="amber"),
        WithinClassSubspace(n_components=8),
        BetweenClassSubspace(n_components=0),
        PairedDifferenceSubspace(emotion="neutral"),
        PairedDifferenceSubspace(emotion="joy"),
        BetweenClassSubspace(neutral="calm"),
    ],
    ids=lambda e: f"{type(e).__name__}-{e.n_components}",
)
def test_more_dimensions_than_texts_can_give(estimator: SubspaceEstimator) -> None:
    with pytest.raises(InputError) as error:
        estimator.fit(X, LABELS, GROUPS)
    one_line(error.value)


@pytest.mark.parametrize("estimator", ALL_ESTIMATORS, ids=lambda e: type(e).__name__)
def test_rank_deficient_texts(estimator: SubspaceEstimator) -> None:
    flat = X[:, :2] @ np.random.default_rng(0).standard_normal((2, 12))
    with pytest.raises(MeasurementError, match="span fewer") as error:
        estimator.fit(flat, LABELS, GROUPS)
    one_line(error.value)


def test_two_classes_with_the_same_texts() -> None:
    same = X.copy()
    same[LABELS == "amber"] = same[LABELS == "azure"]
    with pytest.raises(MeasurementError, match="span fewer"):
        BetweenClassSubspace().fit(same, LABELS, GROUPS)


def test_half_of_the_scenarios_must_do() -> None:
    few = PairedDifferenceSubspace(n_components=6, emotion="amber")
    few.fit(X, LABELS, GROUPS)
    with pytest.raises(InputError, match="cannot give"):
        compare_subspaces(MODELS.table_a, MODELS.table_b, few, seed=0)


def test_cleaners() -> None:
    constant = X.copy()
    constant[:, 5] = 2.0
    with pytest.raises(MeasurementError, match="dimensions that are the same"):
        PerDimensionScaler().fit(constant)
    for cleaner in (GenericCleaner(), ShrunkWhitening(), PerDimensionScaler()):
        with pytest.raises(MeasurementError):
            cleaner.fit(np.ones((9, 4)))
        with pytest.raises(InputError, match="width"):
            cleaner.fit(X).transform(X[:, 1:])
    for share in (-0.1, 1.0):
        with pytest.raises(InputError):
            GenericCleaner(share).fit(X)


@pytest.mark.parametrize("kind", ALIGNERS, ids=lambda a: a.name)
def test_fits_that_are_refused(kind: type[Aligner]) -> None:
    A, B = MODELS.fit_a, MODELS.fit_b
    constant_column = A.copy()
    constant_column[:, 1] = 7.0
    nan = B.copy()
    nan[1, 1] = np.nan
    for source, target, error in (
        (A[:50], B, InputError),
        (A[:, 0], B, InputError),
        (constant_column, B, MeasurementError),
        (np.ones_like(A), B, MeasurementError),
        (A, np.ones_like(B), MeasurementError),
        (A, nan, MeasurementError),
    ):
        with pytest.raises(error) as raised:
            kind().fit(source, target)
        one_line(raised.value)
    with pytest.raises(InputError, match="not fitted"):
        kind().transform(A) if hasattr(kind(), "source_") else kind()._fitted_map()
    with pytest.raises(InputError, match="another width"):
        kind().fit(A, B).transform(A[:, 1:])
    with pytest.raises(InputError, match="different texts"):
        kind().fit(A, B).score(A, B[1:])


def test_reduction_limits() -> None:
    with pytest.raises(InputError, match="a fifth"):
        Ridge(n_components=9).fit(MODELS.fit_a[:40], MODELS.fit_b[:40])
    flat = MODELS.fit_a[:, :3] @ np.random.default_rng(0).standard_normal((3, 12))
    with pytest.raises(MeasurementError, match="span fewer"):
        reduce_texts(flat, 4)
    with pytest.raises(InputError, match="groups"):
        Ridge().fit(MODELS.fit_a, MODELS.fit_b, np.arange(5))
    with pytest.raises(InputError, match="folds"):
        Ridge().fit(MODELS.fit_a, MODELS.fit_b, np.zeros(100))


def layers(**changes):
    arguments = {
        "XA": [MODELS.fit_a],
        "XB": [MODELS.fit_b],
        "emotion_a": [MODELS.emotion_a],
        "emotion_b": [MODELS.emotion_b],
        "labels": LABELS,
        "groups": GROUPS,
        "n_draws": 9,
        "n_bootstrap": 9,
        "seed": 0,
    }
    return lambda: align_all_layers(**{**arguments, **changes})


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (layers(XA=[MODELS.fit_a[1:]]), InputError, "differ in number"),
        (layers(XA=[]), InputError, "layers"),
        (layers(emotion_a=[]), InputError, "differ in layers"),
        (layers(emotion_a=[MODELS.fit_a[: len(X)]], emotion_b=[MODELS.fit_b[: len(X)]]), InputError, "not fitted on"),
        (layers(XB=[np.ones_like(MODELS.fit_b)]), MeasurementError, "Layer 0 of the target"),
        (layers(emotion_a=[spoiled()]), MeasurementError, "NaN"),
        (layers(emotion_b=[np.ones_like(X)]), MeasurementError, "same for all texts"),
        (layers(neutral="calm"), InputError, "calm"),
        (layers(kind="raw"), InputError, "raw"),
        (layers(space="whitened"), InputError, "whitened"),
        (layers(n_jobs=0), InputError, "jobs"),
        (layers(n_draws=-1), InputError, "draws"),
        (layers(aligner=Ridge(penalties=())), InputError, "Penalties"),
    ],
)
def test_layers_that_are_refused(call: Callable[[], object], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as error:
        call()
    one_line(error.value)


def test_a_loaded_map_cannot_be_shuffled(tmp_path) -> None:
    fitted = Ridge().fit(MODELS.fit_a, MODELS.fit_b)
    loaded, _ = load_aligner(save_aligner(fitted, tmp_path / "map.safetensors"))
    texts = (MODELS.emotion_a, MODELS.emotion_b, LABELS, GROUPS)
    with pytest.raises(InputError, match="fit it again"):
        evaluate_alignment(loaded, *texts, n_draws=9, n_bootstrap=9, seed=0)
    same = [evaluate_alignment(a, *texts, n_draws=0, n_bootstrap=9, seed=0) for a in (loaded, fitted)]
    assert same[0].cosines == same[1].cosines


def test_files_that_hold_no_map(tmp_path) -> None:
    from safetensors.numpy import save_file

    (tmp_path / "text").write_text("no map")
    save_file({"x": np.zeros(3)}, tmp_path / "other.safetensors")
    for path in ("missing", "text", "other.safetensors"):
        with pytest.raises(InputError):
            load_aligner(tmp_path / path)
    with pytest.raises(InputError, match="fitted"):
        save_aligner(Ridge(), tmp_path / "map")
    fitted = Ridge().fit(MODELS.fit_a, MODELS.fit_b)
    with pytest.raises(InputError, match="JSON"):
        save_aligner(fitted, tmp_path / "map", {"layer": object()})
    with pytest.raises(InputError, match="written"):
        save_aligner(fitted, tmp_path / "text" / "map")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other.safetensors", "text"]


def test_the_same_map_gives_the_same_bytes(tmp_path) -> None:
    fitted = Ridge().fit(MODELS.fit_a, MODELS.fit_b)
    saved = {save_aligner(fitted, tmp_path / f"{i}", {"layer": 3}).read_bytes() for i in range(12)}
    assert len(saved) == 1


def test_similarity_and_tables() -> None:
    with pytest.raises(InputError):
        cka([X], [X[1:]])
    with pytest.raises(MeasurementError, match="Layer 1 of the second"):
        cka([X], [X, np.ones_like(X)])
    with pytest.raises(InputError):
        cka([], [X])
    with pytest.raises(InputError):
        rotation_null(5, 5, 2, 10, seed=0)
    table = ScenarioTable.from_texts(X, LABELS, GROUPS)
    with pytest.raises(InputError):
        table.contrasts("neutral", "raw")
    with pytest.raises(MeasurementError):
        table.mapped(lambda texts: texts * np.nan)
