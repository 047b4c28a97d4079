"""Pairs of models with a known shared structure, known emotion directions and a known map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emotion_circuits.errors import InputError

from ._inputs import FloatArray, Seed, generator
from ._noise import NAMES, TwoModels, emotion_design, fit_kinds

# Strongest over weakest latent component, in variance.
SPREAD = 10.0


@dataclass(frozen=True, eq=False)
class PlantedModels(TwoModels):
    """Two models that read the same latent variables, x = z W + noise, with noise of variance 1 in every dimension.

    Attributes:
        loadings_a, loadings_b: (r, d) orthonormal rows W.
        latent_variances: (r,) of z, which is signal over noise per component.
        directions_a, directions_b: (3, d) true matched directions (minus neutral) of `emotions`.
        emotions: their names, sorted.
    """

    loadings_a: FloatArray
    loadings_b: FloatArray
    latent_variances: FloatArray
    directions_a: FloatArray
    directions_b: FloatArray
    emotions: tuple[str, ...]

    @property
    def specific_a(self) -> FloatArray:
        """(3, d_a) true directions minus their mean."""
        return np.asarray(self.directions_a - self.directions_a.mean(axis=0))

    @property
    def specific_b(self) -> FloatArray:
        """(3, d_b) true directions minus their mean."""
        return np.asarray(self.directions_b - self.directions_b.mean(axis=0))

    @property
    def best_map(self) -> FloatArray:
        """(d_a, d_b) the best linear prediction of B from A, which only the planted covariance gives."""
        shrunk = self.latent_variances / (self.latent_variances + 1)
        return np.asarray((self.loadings_a.T * shrunk) @ self.loadings_b)

    def best_r2(self, X: FloatArray, Y: FloatArray) -> float:
        """R² of the best linear prediction on texts, against the training mean, in units of B's training deviations."""
        centred = Y - self.fit_b.mean(axis=0)
        residual = centred - (X - self.fit_a.mean(axis=0)) @ self.best_map
        scale = self.fit_b.std(axis=0)
        return float(1 - np.square(residual / scale).sum() / np.square(centred / scale).sum())

    def fresh(self, n_texts: int, seed: Seed) -> tuple[FloatArray, FloatArray]:
        """(n, d_a) and (n, d_b) of generic texts that no map has seen."""
        rng = generator(seed, 23)
        latent = rng.standard_normal((n_texts, len(self.latent_variances))) * np.sqrt(self.latent_variances)
        return _read(latent, self.loadings_a, rng), _read(latent, self.loadings_b, rng)


def planted_models(
    *,
    n_fit: int = 1000,
    n_scenarios: int = 70,
    width_a: int = 192,
    width_b: int = 192,
    rank: int = 40,
    signal_to_noise: float = 4.0,
    emotion_size: float = 30.0,
    seed: Seed,
) -> PlantedModels:
    """Plant a shared structure.

    Args:
        n_fit, n_scenarios, width_a, width_b: shape.
        rank: number r of latent variables.
        signal_to_noise: variance of the weakest latent variable, in units of the noise; the strongest has 10 times it.
        emotion_size: distance of each emotion's texts from neutral, in units of the noise's deviation. A direction
            estimated from G scenarios misses by about √((2 d + Σ latent variances) / G) of these units.
        seed: of everything.
    """
    n_emotions = len(NAMES) - 1
    if not n_emotions <= rank <= min(width_a, width_b) or signal_to_noise <= 0:
        raise InputError(
            "This structure cannot be planted.",
            found=f"rank {rank}, signal to noise {signal_to_noise}",
            accepted=f"rank from {n_emotions} to the smaller width, positive signal",
        )
    rng = generator(seed, 22)
    variances = signal_to_noise * np.geomspace(SPREAD, 1.0, rank)
    loadings_a, loadings_b = (np.linalg.qr(rng.standard_normal((width, rank)))[0].T for width in (width_a, width_b))
    offsets = emotion_size * np.linalg.qr(rng.standard_normal((rank, n_emotions)))[0].T
    labels, groups = emotion_design(n_scenarios)
    emotions = tuple(sorted(NAMES[1:]))
    of_class = {name: offsets[i] for i, name in enumerate(emotions)} | {"neutral": np.zeros(rank)}

    def latent(n: int) -> FloatArray:
        return np.asarray(rng.standard_normal((n, rank)) * np.sqrt(variances))

    fit = latent(n_fit)
    # A scenario's topic is half the variance and cancels in matched contrasts; the rest is each text's own.
    topic = np.repeat(latent(n_scenarios), len(NAMES), axis=0)
    emotional = (topic + latent(len(labels))) / np.sqrt(2) + np.stack([of_class[name] for name in labels])
    return PlantedModels(
        fit_a=_read(fit, loadings_a, rng),
        fit_b=_read(fit, loadings_b, rng),
        fit_labels=fit_kinds(n_fit),
        emotion_a=_read(emotional, loadings_a, rng),
        emotion_b=_read(emotional, loadings_b, rng),
        labels=labels,
        groups=groups,
        loadings_a=loadings_a,
        loadings_b=loadings_b,
        latent_variances=variances,
        directions_a=offsets @ loadings_a,
        directions_b=offsets @ loadings_b,
        emotions=emotions,
    )


def noise_twin(planted: PlantedModels, seed: Seed) -> TwoModels:
    """The same two models without the plant: each keeps its covariance, but they share no latent variable, and no text
    has an emotion."""
    rng = generator(seed, 24)
    sides = []
    for loadings in (planted.loadings_a, planted.loadings_b):
        counts = (len(planted.fit_a), len(planted.labels))
        latents = (rng.standard_normal((n, len(loadings))) * np.sqrt(planted.latent_variances) for n in counts)
        sides.append([_read(latent, loadings, rng) for latent in latents])
    (fit_a, emotion_a), (fit_b, emotion_b) = sides
    return TwoModels(fit_a, fit_b, planted.fit_labels, emotion_a, emotion_b, planted.labels, planted.groups)


def _read(latent: FloatArray, loadings: FloatArray, rng: np.random.Generator) -> FloatArray:
    return np.asarray(latent @ loadings + rng.standard_normal((len(latent), loadings.shape[1])))
