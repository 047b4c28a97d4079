"""What the residual stream is like on ordinary text: its mean, its size, and the components that dominate it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emotion_circuits._files import read_tensors, write_tensors
from emotion_circuits.directions._source import Source, source_of
from emotion_circuits.engine import EMBED, Point, point_of, record
from emotion_circuits.errors import InputError
from emotion_circuits.models import Encoded, LoadedModel

SCHEMA = "generic-1"
GENERIC_FILE = "generic.safetensors"
TOKENS_PER_TEXT = 8
MAX_SHARE = 0.7
"""Components are kept up to this share of variance; cleaning may use less."""

LEAST_SPREAD = 1e-6
DOMINATED = 0.5
"""Share of the mean squared length above which one dimension is warned of."""
SPREAD_UNIT = "spread of generic text (median distance from its mean)"
NORM_UNIT = "median residual norm"

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class GenericStatistics:
    """Statistics over tokens of generic text, position 0 left out.

    Attributes:
        mean: (layers + 1, d); row 0 is `embed`.
        norm: (layers + 1,) median norm.
        components: per layer (k, d), orthonormal, largest variance first.
        shares: per layer (k,), share of variance up to and with each component.
        n_texts: how many texts.
        source: the model; None where that is not known.
        spread: (layers + 1,) median distance from the mean; None in files of before, whose unit is the norm.
        energy: (layers + 1, 2) of the mean squared length, the share that the mean holds, and the largest that one
            dimension holds; None in files of before.
    """

    mean: FloatArray
    norm: FloatArray
    components: tuple[FloatArray, ...]
    shares: tuple[FloatArray, ...]
    n_texts: int
    source: Source | None = None
    spread: FloatArray | None = None
    energy: FloatArray | None = None

    @property
    def unit(self) -> FloatArray:
        """(layers + 1,) what doses and scores are multiples of: the spread, or in files of before the norm.

        In many models the mean and a single dimension hold most of a state's length, in some nearly all of it: half a
        norm is then a small push in one model and far outside of anything in another. The spread is not.
        """
        return self.norm if self.spread is None else self.spread

    @property
    def unit_name(self) -> str:
        """The unit in words."""
        return NORM_UNIT if self.spread is None else SPREAD_UNIT

    def clean(self, values: NDArray[Any], row: int, share: float) -> NDArray[np.float64]:
        """Project the fewest top components that hold `share` of the variance out of (..., d) values.

        Raises:
            InputError: a share outside what was kept.
        """
        if not 0 <= share <= MAX_SHARE:
            raise InputError("This share of variance cannot be removed.", found=share, accepted=f"0 to {MAX_SHARE}")
        result = np.asarray(values, dtype=np.float64)
        if share == 0:
            return result
        k = int(np.searchsorted(self.shares[row], share)) + 1
        basis = self.components[row][:k].astype(np.float64)
        cleaned: NDArray[np.float64] = result - (result @ basis.T) @ basis
        return cleaned

    def tensors(self) -> dict[str, FloatArray]:
        """For saving: ragged parts are joined, `counts` says how many components each layer has."""
        counts = np.array([len(c) for c in self.components], dtype=np.float32)
        joined = {"components": np.concatenate(self.components), "shares": np.concatenate(self.shares)}
        recorded = {"spread": self.spread, "energy": self.energy}
        own = {"mean": self.mean, "norm": self.norm, "counts": counts, **joined}
        return own | {name: values for name, values in recorded.items() if values is not None}

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, FloatArray], n_texts: int, source: Source | None = None
    ) -> GenericStatistics:
        """The inverse of `tensors`; KeyError or ValueError for others."""
        rows, width = tensors["mean"].shape
        n = int(tensors["counts"].sum())
        wanted = {
            "norm": (rows,), "spread": (rows,), "energy": (rows, 2), "counts": (rows,), "components": (n, width),
            "shares": (n,),
        }  # fmt: skip
        for name, values in tensors.items():
            if values.shape != wanted.get(name, (rows, width)) or not np.isfinite(values).all():
                raise ValueError(f"{name} of generic text has another shape, or values that are not finite")
        ends = np.cumsum(tensors["counts"].astype(int))[:-1]
        components, shares = np.split(tensors["components"], ends), np.split(tensors["shares"], ends)
        return cls(
            tensors["mean"], tensors["norm"], tuple(components), tuple(shares), n_texts, source,
            tensors.get("spread"), tensors.get("energy"),
        )  # fmt: skip


def generic_statistics(lm: LoadedModel, texts: Sequence[str]) -> GenericStatistics:
    """Statistics of every layer over up to eight evenly spaced tokens of each text.

    Raises:
        InputError: too few texts.
    """
    points = [point_of(layer) for layer in range(EMBED, lm.n_layers)]
    mean, norm, spread, energy, components, shares = [], [], [], [], [], []
    for tokens in _sampled(lm, texts, points):
        mean.append(tokens.mean(axis=0))
        norm.append(np.median(np.linalg.norm(tokens, axis=1)))
        centred = tokens - mean[-1]
        # Where all tokens are one state, a unit of rounding is left, and no division by zero.
        spread.append(max(np.median(np.linalg.norm(centred, axis=1)), LEAST_SPREAD * norm[-1]))
        squares = np.square(tokens).mean(axis=0)
        energy.append([np.square(mean[-1]).sum() / squares.sum(), squares.max() / squares.sum()])
        top, cumulative = _top_components(centred)
        components.append(top)
        shares.append(cumulative)
    return GenericStatistics(
        np.asarray(mean, np.float32),
        np.asarray(norm, np.float32),
        tuple(components),
        tuple(shares),
        sum(len(e) > 1 for e in lm.encode(texts)),
        source_of(lm),
        np.asarray(spread, np.float32),
        np.asarray(energy, np.float32),
    )


def energy_words(generic: GenericStatistics) -> list[str]:
    """What the mean and a single dimension hold of the mean squared length after blocks, and what not to read off
    then; nothing of statistics that do not know it."""
    if generic.energy is None:
        return []
    shares = generic.energy[1:]
    said = [
        f"{what} holds {own.min():.2f} to {own.max():.2f}, most at layer {int(own.argmax())}"
        for what, own in (("the mean", shares[:, 0]), ("one dimension", shares[:, 1]))
    ]
    lines = [f"Of the mean squared length of states after a block, on generic text, {'; '.join(said)}."]
    if shares[:, 1].max() > DOMINATED:
        lines.append(
            "Norms of raw states, cosines between them and whitening are about that dimension there; directions, doses "
            "and scores here are of differences and of the spread about the mean."
        )
    return lines


def generic_tokens(lm: LoadedModel, texts: Sequence[str], layer: int) -> NDArray[np.float64]:
    """(tokens, d) residual stream after a layer (-1 is `embed`) at the tokens that `generic_statistics` is over."""
    [tokens] = _sampled(lm, texts, [point_of(layer)])
    return tokens


def spread_positions(encoded: Sequence[Encoded]) -> dict[str, list[list[int]]]:
    """Up to eight evenly spaced tokens of each text but its first, as `record` takes positions: one token in each."""
    places = [np.unique(np.linspace(1, len(e) - 1, TOKENS_PER_TEXT).round().astype(int)).tolist() for e in encoded]
    return {str(k): [[p[k]] if k < len(p) else [] for p in places] for k in range(TOKENS_PER_TEXT)}


def _sampled(lm: LoadedModel, texts: Sequence[str], points: Sequence[Point]) -> Iterator[NDArray[np.float64]]:
    """Per point (tokens, d) at up to eight evenly spaced tokens of each text of two tokens or more."""
    encoded = [e for e in lm.encode(texts) if len(e) > 1]
    if len(encoded) < 8:
        raise InputError("Generic texts of at least two tokens are needed.", found=len(encoded), accepted="8 or more")
    recording = record(lm, [e.ids for e in encoded], spread_positions(encoded), points)
    for point in points:
        tokens = recording.values[point].double().numpy().reshape(-1, lm.d_model)
        yield tokens[np.isfinite(tokens).all(axis=1)]


def save_generic(generic: GenericStatistics, folder: Path) -> Path:
    """Write `generic.safetensors` into a folder of activations, beside the files of the classes."""
    path = folder / GENERIC_FILE
    header = {"schema": SCHEMA, "n_texts": str(generic.n_texts)}
    if generic.source is not None:
        header["source"] = generic.source.model_dump_json()
    write_tensors(path, generic.tensors(), header)
    return path


def load_generic(folder: Path) -> GenericStatistics:
    """Read what `save_generic` wrote into a folder.

    Raises:
        InputError: missing, corrupted, of another schema.
    """
    path = folder / GENERIC_FILE
    if not path.is_file():
        raise InputError(
            "These activations lack the statistics of generic text.",
            found=f"no {GENERIC_FILE} in {folder}",
            next_step="run `emotion-circuits extract` again",
        )
    tensors, header = read_tensors(path, SCHEMA)
    try:
        source = Source.model_validate_json(header["source"]) if "source" in header else None
        return GenericStatistics.from_tensors(tensors, int(header["n_texts"]), source)
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(f"{path} lacks what statistics of generic text hold.", found=error) from error


def _top_components(centred: NDArray[np.float64]) -> tuple[FloatArray, FloatArray]:
    variances, vectors = np.linalg.eigh(centred.T @ centred)
    variances, vectors = variances[::-1], vectors[:, ::-1]
    cumulative = np.cumsum(variances) / variances.sum()
    k = int(np.searchsorted(cumulative, MAX_SHARE)) + 1
    # An eigenvector's sign is arbitrary; fix it, so that the same study gives the same file.
    signs = np.sign(vectors[np.abs(vectors[:, :k]).argmax(axis=0), np.arange(k)])
    return (vectors[:, :k] * signs).T.astype(np.float32), cumulative[:k].astype(np.float32)
