"""What every aligner must do, as one check for those of this package and for a user's own."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from emotion_circuits.errors import EmotionCircuitsError

from ._aligner import Aligner
from ._aligners import aligners
from ._alignment_eval import evaluate_alignment
from ._inputs import FloatArray
from ._map_files import load_aligner, save_aligner
from ._noise import independent_models
from ._planted import planted_models

# Noise may explain no more than this of fresh texts.
NOISE_R2 = 0.01


def check_aligner(aligner: Aligner) -> None:
    """Check an aligner on planted models and on noise.

    It must be linear, deterministic and indifferent to the order of texts; give the fitted map for unshuffled pairs;
    survive a file bit by bit (if it is registered); find planted directions better than under any null; explain
    nothing of fresh texts where there is noise only; and refuse what it cannot fit.

    Args:
        aligner: not fitted; it is not changed.

    Raises:
        AssertionError: naming what failed.
    """
    name = type(aligner).__name__
    planted = planted_models(
        n_fit=600, n_scenarios=24, width_a=40, width_b=32, rank=10, signal_to_noise=10.0, emotion_size=15.0, seed=0
    )
    fitted = _copy(aligner).fit(planted.fit_a, planted.fit_b)
    _check_map(name, aligner, fitted, planted.fit_a, planted.fit_b)
    if type(aligner) in aligners():
        _check_file(name, fitted, planted.emotion_a)

    report = evaluate_alignment(
        fitted, planted.emotion_a, planted.emotion_b, planted.labels, planted.groups, n_draws=99, n_bootstrap=99, seed=0
    )
    fresh = planted.fresh(300, 1)
    r2, best = fitted.score(*fresh), planted.best_r2(*fresh)
    _require(report.retrieval == 1.0, f"{name} does not retrieve planted directions: {report.cosines}")
    _require(all(null.p <= 0.01 for null in report.mean_own_nulls), f"{name} is not above its nulls on planted models")
    _require(0.5 * best < r2 <= best + 0.02, f"{name} explains {r2:.3f} of planted texts, the best map {best:.3f}")

    noise, more = (independent_models(n_fit=300, n_scenarios=24, width_a=40, width_b=32, seed=seed) for seed in (0, 1))
    blind = _copy(aligner).fit(noise.fit_a, noise.fit_b)
    found = blind.score(more.fit_a, more.fit_b)
    _require(found <= NOISE_R2, f"{name} explains {found:.3f} of noise")


def _check_map(name: str, aligner: Aligner, fitted: Aligner, source: FloatArray, target: FloatArray) -> None:
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((3, source.shape[1]))
    images = fitted.transform_direction(directions)
    _require(images.shape == (3, target.shape[1]), f"{name} gives images of shape {images.shape}")
    moved = fitted.transform(source[:3] + directions) - fitted.transform(source[:3])
    _require(np.allclose(moved, images, atol=1e-8), f"{name} moves texts otherwise than directions")
    _require(
        np.allclose(fitted.transform_direction(directions.sum(axis=0)), images.sum(axis=0)), f"{name} is not linear"
    )
    again = _copy(aligner).fit(source, target)
    _require(np.array_equal(again.map_, fitted.map_), f"{name} is not deterministic")
    order = rng.permutation(len(source))
    if getattr(aligner, "n_anchors", None) is None:
        other = _copy(aligner).fit(source[order], target[order]).transform_direction(directions)
        _require(np.allclose(other, images, rtol=1e-5, atol=1e-6), f"{name} depends on the order of texts")
    scores = fitted.source_.direction_scores(directions)
    unshuffled = fitted.shuffled(scores, np.arange(len(source))[None])[0]
    expected = scores @ fitted.map_
    error = np.abs(unshuffled - expected).max() / np.abs(expected).max()
    _require(error < 1e-3, f"{name} gives another map for unshuffled pairs (relative error {error:.1e})")
    spoiled = source.copy()
    spoiled[0, 0] = np.nan
    for bad, what in ((spoiled, "NaN"), (source[1:], "other texts"), (np.ones_like(source), "a constant layer")):
        try:
            _copy(aligner).fit(bad, target)
        except EmotionCircuitsError:
            continue
        _require(False, f"{name} fits {what}")


def _check_file(name: str, fitted: Aligner, texts: FloatArray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        loaded, metadata = load_aligner(save_aligner(fitted, Path(folder) / "map.safetensors", {"layer": 3}))
    _require(metadata == {"layer": 3}, f"{name} loses its metadata in a file")
    _require(np.array_equal(loaded.transform(texts), fitted.transform(texts)), f"{name} changes in a file")


def _copy(aligner: Aligner) -> Aligner:
    return type(aligner)(**aligner.get_params())


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
